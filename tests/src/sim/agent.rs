//! One simulated agent: the real line to the collector, fed with judgements that this makes up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_agent::health::Gauges;
use holdfast_agent::line::{Judgement, Line};
use holdfast_agent::peers::Peers;
use holdfast_agent::session::{Introduction, Session};
use holdfast_agent::spool::Spool;
use holdfast_checks::entries::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::content::Node;
use super::dial::Dial;
use super::dice::Dice;
use super::meter::Account;

/// Judgements that may wait.
const JUDGEMENTS: usize = 4;

/// What can be seen of an agent from outside.
#[derive(Debug)]
pub(super) struct View {
    pub(super) name: String,
    gauges: Arc<Gauges>,
    account: Arc<Mutex<Account>>,
    digest: Mutex<Digest>,
    flips: AtomicU64,
    /// Where its line takes judgements from.
    judged: Mutex<Option<mpsc::WeakSender<Judgement>>>,
}

impl View {
    pub(super) fn new(name: String, digest: Digest) -> Self {
        Self {
            name,
            gauges: Arc::default(),
            account: Arc::default(),
            digest: Mutex::new(digest),
            flips: AtomicU64::new(0),
            judged: Mutex::default(),
        }
    }

    pub(super) fn account(&self) -> Arc<Mutex<Account>> {
        Arc::clone(&self.account)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.gauges.connected.load(Ordering::Relaxed)
    }

    /// Has the collector acknowledged everything, or said that it has it.
    pub(super) fn is_in_sync(&self) -> bool {
        let settled = self.account.lock().unwrap_or_else(PoisonError::into_inner).settled();
        settled && !self.has_more_to_say() && self.is_connected() && self.gauges.unsent.load(Ordering::Relaxed) == 0
    }

    /// Is there a judgement that its line has not taken yet.
    fn has_more_to_say(&self) -> bool {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.as_ref().and_then(mpsc::WeakSender::upgrade).is_some_and(|judged| judged.capacity() < judged.max_capacity())
    }

    /// The digest of what the node is.
    pub(super) fn digest(&self) -> Digest {
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many verdicts have flipped.
    pub(super) fn flips(&self) -> u64 {
        self.flips.load(Ordering::Relaxed)
    }
}

/// What an agent goes through.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) view: Arc<View>,
    pub(super) node: Node,
    pub(super) dial: Dial,
    pub(super) introduction: Introduction,
    pub(super) dice: Dice,
    /// Verdicts that flip, a second.
    pub(super) flips: f64,
    /// While it is set nothing flips.
    pub(super) quiet: Arc<AtomicBool>,
    /// How often the spool is lost, a second.
    pub(super) losses: f64,
    pub(super) skew_ms: i64,
}

/// One life of an agent, until it is killed or stopped.
struct Life {
    judged: mpsc::Sender<Judgement>,
    stop: CancellationToken,
    line: JoinHandle<()>,
}

impl Agent {
    /// Begins after `delay` and goes on until cancelled; then it says goodbye.
    pub(super) async fn live(mut self, delay: Duration, cancel: CancellationToken) {
        if cancel.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
            return;
        }
        loop {
            let life = self.start().await;
            if cancel.run_until_cancelled(self.go_through(&life)).await.is_none() {
                life.stop.cancel();
                drop(life.line.await);
                return;
            }
            // As by a power cut: no goodbye, and nothing that was known is kept.
            life.line.abort();
        }
    }

    async fn start(&mut self) -> Life {
        let gauges = Arc::clone(&self.view.gauges);
        let peers = Peers::new(Vec::new(), Arc::clone(&gauges));
        let session = Session::new(self.introduction.clone());
        let line = Line::new(self.dial.clone(), session, Spool::in_memory(self.dice.draw()), peers, gauges);
        // Damped, a verdict that flips would be told when it rests: every flip is to be counted.
        let line = line.undamped().with_skew(self.skew_ms);
        let (judged, judgements) = mpsc::channel(JUDGEMENTS);
        *self.view.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged.downgrade());
        let stop = CancellationToken::new();
        let line = tokio::spawn(Box::pin(line.run(judgements, stop.clone())));
        // Nobody listens only when the line died, and then that shows as an agent that is not connected.
        drop(judged.send(self.node.whole(self.now())).await);
        Life { judged, stop, line }
    }

    /// Flips verdicts until the spool is lost.
    async fn go_through(&mut self, life: &Life) {
        let lost = self.dice.until_next(self.losses);
        let lost = async move {
            match lost {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = lost => {}
            () = self.flip(life) => {}
        }
    }

    async fn flip(&mut self, life: &Life) {
        while let Some(after) = self.dice.until_next(self.flips) {
            tokio::time::sleep(after).await;
            if !self.quiet.load(Ordering::Relaxed) {
                let now = self.now();
                let room = life.judged.reserve().await;
                if let Ok(room) = room {
                    room.send(self.node.flip(&mut self.dice, now));
                    *self.view.digest.lock().unwrap_or_else(PoisonError::into_inner) = self.node.digest();
                    self.view.flips.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// The node's wall clock, Unix milliseconds.
    fn now(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_add(self.skew_ms)
    }
}
