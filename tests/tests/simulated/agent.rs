//! The agents under simulation: the real line and session, fed with the judgements of a node that is made up.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use holdfast_agent::health::Gauges;
use holdfast_agent::line::{Disk, Judgement, Line};
use holdfast_agent::peers::Peers;
use holdfast_agent::session::{Introduction, Session};
use holdfast_agent::spool::Spool;
use holdfast_checks::entries::{Hash, State, Transition};
use holdfast_tests::restless::Node;
use holdfast_tests::sim::dice::Dice;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::disk::SpoolDisk;
use crate::network::Dialer;

/// An agent from outside: what it runs with, what it was told, and what outlives its process.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) dialer: Dialer,
    pub(crate) node: Node,
    pub(crate) disk: SpoolDisk,
    gauges: Arc<Gauges>,
    slot: Slot,
    judgements: Option<mpsc::Sender<Judgement>>,
    stop: CancellationToken,
    /// What was not taken in yet.
    waiting: Option<Judgement>,
    /// What an agent that never died has made of what it was told.
    mirror: State,
    pub(crate) history: Vec<Transition>,
    /// Spools it had.
    pub(crate) epochs: usize,
    pub(crate) died: bool,
    /// Keys that change all the time are told seldom.
    pub(crate) damped: bool,
    /// It was killed while its disk did not take what it did.
    pub(crate) forgot: bool,
    sessions: u64,
}

/// What a starting agent finds.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Start>>>);

struct Start {
    dialer: Dialer,
    spool: Spool,
    disk: Disk,
    gauges: Arc<Gauges>,
    judgements: mpsc::Receiver<Judgement>,
    stop: CancellationToken,
    damped: bool,
}

impl Slot {
    /// The software of the simulated host.
    pub(crate) async fn run(self) -> turmoil::Result {
        let start = self.0.lock().unwrap().take().expect("somebody prepared this start");
        let Start { dialer, spool, disk, gauges, judgements, stop, damped } = start;
        let introduction = Introduction {
            agent_version: "simulated".into(),
            catalogue_hash: Hash([1; 16]),
            boot_id: "boot".into(),
            node_name: "node".into(),
            capabilities: 0,
        };
        let peers = Peers::new(Vec::new(), Arc::clone(&gauges));
        let line = Line::new(dialer, Session::new(introduction), spool, peers, gauges).kept_on(disk);
        let line = if damped { line } else { line.undamped() };
        line.run(judgements, stop).await;
        Ok(())
    }
}

impl Agent {
    pub(crate) fn new(name: String, token: &str, damped: bool) -> Self {
        Self {
            name,
            dialer: Dialer::new(token),
            node: Node::default(),
            disk: SpoolDisk::default(),
            gauges: Arc::default(),
            slot: Slot::default(),
            judgements: None,
            stop: CancellationToken::new(),
            waiting: None,
            mirror: State::default(),
            history: Vec::new(),
            epochs: 0,
            died: false,
            damped,
            forgot: false,
            sessions: 0,
        }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot.clone()
    }

    /// Prepares a start of its process. Its first pass judges everything.
    pub(crate) fn prepare(&mut self, dice: &mut Dice, at: i64) {
        let (told, judgements) = mpsc::channel(4);
        self.judgements = Some(told);
        self.stop = CancellationToken::new();
        self.gauges = Arc::default();
        let (dialer, gauges, stop, damped) = (self.dialer.clone(), Arc::clone(&self.gauges), self.stop.clone(), self.damped);
        let (image, writer) = self.disk.open();
        let spool = match image {
            Some(image) => Spool::restore(image, dice.draw()),
            None => {
                self.epochs += 1;
                let mut spool = Spool::in_memory(dice.draw());
                spool.keep_in_file();
                spool
            }
        };
        let disk = Disk::file(Path::new("/simulated"), writer, None, Arc::clone(&gauges));
        *self.slot.0.lock().unwrap() = Some(Start { dialer, spool, disk, gauges, judgements, stop, damped });
        self.tell(self.node.judged(None, at));
    }

    /// Its process ended, on purpose or not.
    pub(crate) fn ended(&mut self, dice: &mut Dice) {
        self.sessions = self.sessions();
        self.gauges = Arc::default();
        self.judgements = None;
        self.waiting = None;
        self.died = true;
        self.forgot |= self.disk.failed;
        self.disk.close(dice);
    }

    /// Asks it to end in good order.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Hands over a judgement, or keeps a whole one for later where the agent is busy.
    pub(crate) fn tell(&mut self, judgement: Judgement) {
        let judgement = if self.waiting.take().is_some() { self.node.judged(None, judgement.at) } else { judgement };
        let Some(judgements) = &self.judgements else { return };
        match judgements.try_reserve() {
            Ok(permit) => {
                let changes = self.mirror.compare(judgement.entries.clone(), |key| judgement.covers(key), judgement.at);
                self.mirror.apply(&changes);
                self.history.extend(changes.transitions);
                permit.send(judgement);
            }
            Err(_) => self.waiting = Some(judgement),
        }
    }

    pub(crate) fn retell(&mut self, at: i64) {
        if self.waiting.is_some() {
            self.tell(self.node.judged(None, at));
        }
    }

    /// How many sessions it had.
    pub(crate) fn sessions(&self) -> u64 {
        self.sessions + self.gauges.sessions.load(Ordering::Relaxed)
    }

    /// How many transitions it was to report.
    pub(crate) fn made(&self) -> u64 {
        u64::try_from(self.history.len()).unwrap()
    }

    /// Does it think that everything is told and acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.gauges.connected.load(Ordering::Relaxed) && self.gauges.unsent.load(Ordering::Relaxed) == 0
    }
}
