//! The line to the collector: drives the session over one connection after another, and takes judgements into the spool.
//!
//! How a connection is made is passed in, so that a simulator and a simulated network drive the same code. Must not know sensors,
//! checks or TLS.

mod damping;
mod judgement;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::causes::causes;
use crate::connect::backoff::{Backoff, Ended};
use crate::connect::{Connect, ConnectError, Stream};
use crate::health::{Gauges, vitals};
use crate::peers::Peers;
use crate::session::{Closed, Input, Moment, Output, Session, Vitals};
use crate::spool::Spool;
pub use judgement::{Judgement, Took};

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

enum Link {
    /// Nothing until then.
    Down { until: Instant },
    /// On the way.
    Dialing(JoinHandle<Result<Stream, ConnectError>>),
    /// A stream is open.
    Up { stream: Stream, since: Instant },
}

/// One agent's way to its collector.
pub struct Line<C> {
    target: C,
    session: Session,
    spool: Spool,
    peers: Peers,
    gauges: Arc<Gauges>,
    backoff: Backoff,
    link: Link,
    wake: Option<Instant>,
    start: Instant,
    /// Why the present stream was closed from here.
    closed: Option<Closed>,
    welcomed: bool,
    /// How far a simulated node's wall clock is off; 0 on a real one.
    skew_ms: i64,
}

enum Event {
    Stop,
    Judged(Option<Judgement>),
    Dial,
    Dialled(Result<Stream, ConnectError>),
    Heard(Option<Result<v1::CollectorMessage, ConnectError>>),
    Probed(v1::ProbeResult),
    Wake,
}

impl<C: Connect> Line<C> {
    /// A line that has not dialled yet.
    pub fn new(target: C, session: Session, spool: Spool, peers: Peers, gauges: Arc<Gauges>) -> Self {
        let start = Instant::now();
        let link = Link::Down { until: start };
        Self {
            target,
            session,
            spool,
            peers,
            gauges,
            backoff: Backoff::default(),
            link,
            wake: None,
            start,
            closed: None,
            welcomed: false,
            skew_ms: 0,
        }
    }

    /// The same on a node whose wall clock is off by this many milliseconds.
    #[must_use]
    pub fn with_skew(self, skew_ms: i64) -> Self {
        Self { skew_ms, ..self }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, mut judgements: mpsc::Receiver<Judgement>, cancel: CancellationToken) {
        // Before the first scan there is nothing to say: a Hello now would be answered with a snapshot of nothing.
        tokio::select! {
            () = cancel.cancelled() => return,
            first = judgements.recv() => match first {
                Some(first) => self.take(first),
                None => std::future::pending().await,
            },
        }
        loop {
            match self.next(&mut judgements, &cancel).await {
                Event::Stop => return self.goodbye().await,
                // The judge died: its supervisor ends the agent, without a goodbye, so that the collector sees it fall silent.
                Event::Judged(None) => std::future::pending().await,
                Event::Judged(Some(judgement)) => {
                    self.take(judgement);
                    self.step(Input::Changed);
                }
                Event::Dial => {
                    let target = self.target.clone();
                    self.link = Link::Dialing(tokio::spawn(async move { target.connect().await }));
                }
                Event::Dialled(Ok(stream)) => {
                    self.link = Link::Up { stream, since: Instant::now() };
                    self.welcomed = false;
                    self.step(Input::Connected);
                }
                Event::Dialled(Err(error)) => self.down(Some(&error)),
                Event::Heard(Some(Ok(message))) => {
                    self.step(Input::Received(message));
                    self.log_welcome();
                }
                Event::Heard(Some(Err(error))) => self.lost(Some(&error)),
                Event::Heard(None) => self.lost(None),
                Event::Probed(result) => self.step(Input::Probed(result)),
                Event::Wake => self.step(Input::Tick),
            }
            if self.closed.is_some() {
                self.lost(None);
            }
            self.measure();
        }
    }

    async fn next(&mut self, judgements: &mut mpsc::Receiver<Judgement>, cancel: &CancellationToken) -> Event {
        let wake = self.wake;
        let awake = async move {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let link = async {
            match &mut self.link {
                Link::Down { until } => {
                    tokio::time::sleep_until(*until).await;
                    Event::Dial
                }
                Link::Dialing(dialling) => match dialling.await {
                    Ok(result) => Event::Dialled(result),
                    Err(error) => {
                        tracing::error!(%error, "connecting died: report this");
                        Event::Dialled(Err(ConnectError::Timeout { address: self.target.name(), what: "connect" }))
                    }
                },
                Link::Up { stream, .. } => Event::Heard(stream.incoming.recv().await),
            }
        };
        tokio::select! {
            () = cancel.cancelled() => Event::Stop,
            judged = judgements.recv() => Event::Judged(judged),
            event = link => event,
            result = self.peers.next() => Event::Probed(result),
            () = awake => Event::Wake,
        }
    }

    fn take(&mut self, judgement: Judgement) {
        let Judgement { at, .. } = judgement;
        let mut judgement = judgement;
        let fresh = std::mem::take(&mut judgement.entries);
        let changes = self.spool.state().compare(fresh, |key| judgement.covers(key), at);
        if !changes.is_empty() {
            let (upserts, gone, transitions) = (changes.upserts.len(), changes.gone.len(), changes.transitions.len());
            tracing::debug!(upserts, gone, transitions, entries = self.spool.state().len(), "the node's state changed");
            self.spool.apply(changes);
        }
        self.measure();
    }

    /// One step of the session, and what it asks for.
    fn step(&mut self, input: Input) {
        let moment = self.moment();
        let acked = self.spool.last_acked();
        let outputs = self.session.step(input, &mut self.spool, &moment);
        if self.spool.last_acked() != acked {
            self.gauges.acked_at_ms.store(moment.wall_ms, Ordering::Relaxed);
        }
        self.wake = None;
        for output in outputs {
            match output {
                Output::WakeAt(at_ms) => self.wake = Some(self.start + Duration::from_millis(at_ms)),
                Output::Close(why) => self.closed = Some(why),
                Output::Send(message) => self.send(message),
                Output::Policy(policy) => {
                    let reason = "this version takes its intervals and checks from its own configuration only".to_owned();
                    self.send(v1::AgentMessage {
                        message: Some(Say::PolicyStatus(v1::PolicyStatus { hash: policy.hash, applied: false, reason })),
                    });
                }
                Output::Probe(request) => {
                    if let Some(refused) = self.peers.ask(&request) {
                        self.send(v1::AgentMessage { message: Some(Say::ProbeResult(refused)) });
                    }
                }
            }
        }
    }

    fn send(&mut self, message: v1::AgentMessage) {
        log_sent(&message);
        if let Link::Up { stream, .. } = &self.link
            && stream.outgoing.try_send(message).is_err()
        {
            self.closed.get_or_insert(Closed::Silent("did not take messages"));
        }
    }

    fn moment(&self) -> Moment {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wall_ms = jiff::Timestamp::now().as_millisecond().saturating_add(self.skew_ms);
        Moment { now_ms, wall_ms, draw: draw(), vitals: Vitals { dropped: 0, ..vitals() } }
    }

    fn log_welcome(&mut self) {
        if self.session.is_open() && !std::mem::replace(&mut self.welcomed, true) {
            self.gauges.sessions.fetch_add(1, Ordering::Relaxed);
            tracing::info!(collector = self.target.name(), entries = self.spool.entries(), unsent = self.spool.queued(), "connected");
        }
    }

    /// The stream is gone, or was closed from here.
    fn lost(&mut self, error: Option<&ConnectError>) {
        let closed = self.closed.take();
        let Link::Up { since, .. } = &self.link else { return };
        let up_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ended = match &closed {
            Some(Closed::Drained { min_ms, max_ms }) => Ended::Drained { min_ms: *min_ms, max_ms: *max_ms },
            _ if error.is_some_and(ConnectError::is_hopeless) => Ended::Hopeless,
            _ if self.welcomed => Ended::Lost { up_ms, acked: self.session.was_healthy(), spread_ms: self.session.reconnect_spread_ms() },
            _ => Ended::Failed,
        };
        self.step(Input::Disconnected);
        self.peers.forget();
        self.closed = None;
        self.wait(ended, error, closed.as_ref());
    }

    fn down(&mut self, error: Option<&ConnectError>) {
        self.wait(Ended::Failed, error, None);
    }

    fn wait(&mut self, ended: Ended, error: Option<&ConnectError>, closed: Option<&Closed>) {
        let welcomed = std::mem::take(&mut self.welcomed);
        let delay = Duration::from_millis(self.backoff.delay_ms(ended, draw()));
        self.link = Link::Down { until: Instant::now() + delay };
        let retry = format!("{:.1} s", delay.as_secs_f64());
        match (error, closed) {
            (Some(error), _) if welcomed => tracing::warn!(retry, "disconnected: {}", causes(error)),
            (Some(error), _) => tracing::warn!(retry, "not connected: {}", causes(error)),
            (None, Some(closed)) => tracing::info!(retry, "disconnected: {closed}"),
            (None, None) => tracing::info!(retry, "disconnected: the collector ended the stream"),
        }
    }

    /// Bye, and a bounded wait for the collector to have heard it.
    async fn goodbye(mut self) {
        self.step(Input::Stop("the agent was told to stop".to_owned()));
        if let Link::Up { mut stream, .. } = self.link {
            let (closing, _) = mpsc::channel(1);
            // Dropping the only sender ends our half; the collector answers by ending its own.
            drop(std::mem::replace(&mut stream.outgoing, closing));
            let heard = tokio::time::timeout(GOODBYE, async { while stream.incoming.recv().await.is_some() {} }).await;
            tracing::info!(heard = heard.is_ok(), "said goodbye to the collector");
        }
    }

    fn measure(&self) {
        let gauge = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        self.gauges.entries.store(gauge(self.spool.state().len()), Ordering::Relaxed);
        self.gauges.refused.store(gauge(self.spool.refused_entries()), Ordering::Relaxed);
        self.gauges.unsent.store(gauge(self.spool.queued() + self.spool.in_flight()), Ordering::Relaxed);
        self.gauges.dropped.store(self.spool.truncated(), Ordering::Relaxed);
        self.gauges.connected.store(self.session.is_open(), Ordering::Relaxed);
    }
}

fn draw() -> u32 {
    // Without entropy every agent waits the mean: worse spread, still correct.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

fn log_sent(message: &v1::AgentMessage) {
    match &message.message {
        // A busy node changes every second: a log of that is the collector's history, not this one's.
        Some(Say::Delta(delta)) => tracing::debug!(
            seq = delta.seq,
            upserts = delta.upserts.len(),
            gone = delta.gone.len(),
            transitions = delta.transitions.len(),
            "sent changes"
        ),
        Some(Say::Snapshot(part)) if part.last => tracing::info!(seq = part.seq, parts = part.part + 1, "sent the whole state"),
        Some(Say::Heartbeat(_)) => tracing::debug!("sent a heartbeat"),
        _ => {}
    }
}
