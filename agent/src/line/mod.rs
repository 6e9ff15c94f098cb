//! The line to the collector: drives the session over one connection after another, and takes judgements into the spool.
//!
//! How a connection is made is passed in, so that a simulator and a simulated network drive the same code. What changes all the time
//! is damped on the way in (`damping`), the spool is brought to disk beside it (`saving`, `disk`), and how that goes is told
//! (`account`, `timings`). Must not know sensors, checks or TLS.

mod account;
mod damping;
mod disk;
mod judgement;
mod saving;
mod timings;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_checks::entries::Changes;
use holdfast_checks::facts::Agent;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::causes::causes;
use crate::connect::backoff::{Backoff, Ended};
use crate::connect::{Connect, ConnectError, Stream};
use crate::health::{Gauges, vitals};
use crate::peers::Peers;
use crate::policy::Policies;
use crate::session::{Closed, Input, Moment, Output, Session, Vitals};
use crate::spool::Spool;
use crate::spool::writer;
use account::Account;
use damping::Damping;
pub use disk::Disk;
use disk::Turn;
pub use judgement::{Judgement, Took};
use timings::Timings;

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
    policies: Policies,
    gauges: Arc<Gauges>,
    backoff: Backoff,
    link: Link,
    /// When the session wants to be woken, in milliseconds since `start`.
    wake_ms: Option<u64>,
    start: Instant,
    /// Why the present stream was closed from here.
    closed: Option<Closed>,
    welcomed: bool,
    /// How far a simulated node's wall clock is off; 0 on a real one.
    skew_ms: i64,
    damping: Damping,
    disk: Disk,
    account: Account,
    timings: Timings,
    /// Rotated tokens.
    tokens: Option<mpsc::Receiver<String>>,
    /// Tells that there are fresh credentials to connect with.
    renewed: Option<watch::Receiver<u64>>,
}

enum Event {
    Renewed,
    Stop,
    Judged(Option<Judgement>),
    Dial,
    Dialled(Result<Stream, ConnectError>),
    Heard(Option<Result<v1::CollectorMessage, ConnectError>>),
    Probed(v1::ProbeResult),
    Kept(writer::Event),
    Rotated(Option<String>),
    Wake,
}

impl<C: Connect> Line<C> {
    /// A line that has not dialled yet, with a spool in memory only.
    pub fn new(target: C, session: Session, spool: Spool, peers: Peers, gauges: Arc<Gauges>) -> Self {
        let start = Instant::now();
        let link = Link::Down { until: start };
        Self {
            target,
            session,
            spool,
            peers,
            policies: Policies::default(),
            backoff: Backoff::default(),
            link,
            wake_ms: None,
            start,
            closed: None,
            welcomed: false,
            skew_ms: 0,
            damping: Damping::default(),
            disk: Disk::none(Arc::clone(&gauges)),
            account: Account::default(),
            timings: Timings::new(Arc::clone(&gauges)),
            renewed: None,
            gauges,
            tokens: None,
        }
    }

    /// The same, showing the tokens that come out of `tokens` in the session that is open then.
    #[must_use]
    pub fn reauthenticating(self, tokens: mpsc::Receiver<String>) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// The same, with policies taken by `policies`.
    #[must_use]
    pub fn policed_by(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// The same with its spool kept on `disk`, as the spool has been told already.
    #[must_use]
    pub fn kept_on(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }

    /// The same, giving `tell` the agent's account of its own delivery, now and whenever that changes.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(&Agent) + Send + 'static) -> Self {
        self.account = Account::to(Box::new(tell));
        self.account.update(self.disk.state(), &self.spool, &self.damping, 0);
        self
    }

    /// The same, telling every change as it comes, also of what changes all the time.
    #[must_use]
    pub fn undamped(self) -> Self {
        Self { damping: Damping::off(), ..self }
    }

    /// The same, connecting anew whenever `renewed` says that there are fresh credentials: a session ends with those it came with.
    #[must_use]
    pub fn renewed_by(self, renewed: watch::Receiver<u64>) -> Self {
        Self { renewed: Some(renewed), ..self }
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
                Event::Renewed => self.reconnect(),
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
                Event::Kept(event) => {
                    let now_ms = self.now_ms();
                    let durable = self.disk.heard(event, &mut self.spool, now_ms);
                    self.timings.saved(durable);
                    self.step(Input::Changed);
                }
                Event::Rotated(Some(token)) => {
                    tracing::info!("the token was rotated: showing the new one");
                    self.step(Input::Rotated(token));
                }
                // Whoever looked at the file is gone: connections go on reading it.
                Event::Rotated(None) => self.tokens = None,
                Event::Wake if self.wake_ms.is_some_and(|wake| wake <= self.now_ms()) => self.step(Input::Tick),
                Event::Wake => {}
            }
            self.settle();
            if self.closed.is_some() {
                self.lost(None);
            }
            self.measure();
        }
    }

    async fn next(&mut self, judgements: &mut mpsc::Receiver<Judgement>, cancel: &CancellationToken) -> Event {
        let now_ms = self.now_ms();
        let spool = self.disk.next_ms(&self.spool, now_ms);
        let wake = [self.wake_ms, spool, self.damping.next_ms(), self.account.next_ms()].into_iter().flatten().min();
        let start = self.start;
        let awake = async move {
            match wake {
                Some(ms) => tokio::time::sleep_until(start + Duration::from_millis(ms)).await,
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
            () = fresh(&mut self.renewed) => Event::Renewed,
            judged = judgements.recv() => Event::Judged(judged),
            event = link => event,
            result = self.peers.next() => Event::Probed(result),
            event = self.disk.next() => Event::Kept(event),
            token = rotated(&mut self.tokens) => Event::Rotated(token),
            () = awake => Event::Wake,
        }
    }

    fn take(&mut self, judgement: Judgement) {
        let (took, now_ms) = (judgement.took, self.now_ms());
        let changes = self.damping.admit(judgement, self.spool.state(), now_ms);
        if !changes.is_empty() {
            self.timings.taken(took, self.disk.is_file());
            self.apply(changes);
        }
    }

    fn apply(&mut self, changes: Changes) {
        let (upserts, gone, transitions) = (changes.upserts.len(), changes.gone.len(), changes.transitions.len());
        tracing::debug!(upserts, gone, transitions, entries = self.spool.state().len(), "the node's state changed");
        self.spool.apply(changes);
    }

    /// What is due by the clock beside the session: changes that were held back, saves, the account.
    fn settle(&mut self) {
        let now_ms = self.now_ms();
        let released = self.damping.release(self.spool.state(), now_ms);
        if !released.is_empty() {
            self.apply(released);
            self.step(Input::Changed);
        }
        match self.disk.turn(&mut self.spool, now_ms) {
            Turn::Nothing => {}
            Turn::Began => self.timings.saving(),
            Turn::GaveUp => {
                self.timings.saved(false);
                self.step(Input::Changed);
            }
        }
        self.account.update(self.disk.state(), &self.spool, &self.damping, now_ms);
    }

    /// One step of the session, and what it asks for.
    fn step(&mut self, input: Input) {
        // Only a heartbeat tells the agent's own cost, and only a tick makes one.
        let moment = self.moment(matches!(input, Input::Tick));
        if let Input::Received(v1::CollectorMessage { message: Some(Hear::Ack(ack)) }) = &input {
            self.timings.acked(ack.seq);
        }
        let acked = self.spool.last_acked();
        let outputs = self.session.step(input, &mut self.spool, &moment);
        if self.spool.last_acked() != acked {
            self.gauges.acked_at_ms.store(moment.wall_ms, Ordering::Relaxed);
        }
        self.wake_ms = None;
        let mut policed = None;
        for output in outputs {
            match output {
                Output::WakeAt(at_ms) => self.wake_ms = Some(at_ms),
                Output::Close(why) => self.closed = Some(why),
                Output::Send(message) => self.send(message),
                Output::Policy(policy) => policed = Some(self.policies.take(&policy, &mut self.spool)),
                Output::Probe(request) => {
                    if let Some(refused) = self.peers.ask(&request) {
                        self.send(v1::AgentMessage { message: Some(Say::ProbeResult(refused)) });
                    }
                }
            }
        }
        // A step of its own, after what this one asked for.
        if let Some(status) = policed {
            self.step(Input::Policed(status));
        }
    }

    fn send(&mut self, message: v1::AgentMessage) {
        log_sent(&message);
        if let Some(Say::Delta(delta)) = &message.message {
            self.timings.sent(delta.seq);
        }
        if let Link::Up { stream, .. } = &self.link
            && stream.outgoing.try_send(message).is_err()
        {
            self.closed.get_or_insert(Closed::Silent("did not take messages"));
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moment(&self, vital: bool) -> Moment {
        let wall_ms = jiff::Timestamp::now().as_millisecond().saturating_add(self.skew_ms);
        let vitals = if vital { vitals() } else { Vitals::default() };
        Moment { now_ms: self.now_ms(), wall_ms, draw: draw(), vitals }
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
            Some(Closed::Drained { min_ms, max_ms }) => Ended::Drained { up_ms, min_ms: *min_ms, max_ms: *max_ms },
            _ if error.is_some_and(ConnectError::is_hopeless) => Ended::Hopeless,
            _ if self.welcomed => Ended::Lost { up_ms, acked: self.session.was_healthy(), spread_ms: self.session.reconnect_spread_ms() },
            _ => Ended::Failed,
        };
        self.step(Input::Disconnected);
        self.peers.forget();
        self.timings.lost();
        self.closed = None;
        self.wait(ended, error, closed.as_ref());
    }

    /// Leaves the present connection for one with fresh credentials, at once and without counting it as a loss.
    fn reconnect(&mut self) {
        if matches!(self.link, Link::Up { .. }) {
            self.step(Input::Disconnected);
            self.peers.forget();
            self.timings.lost();
            tracing::info!("connecting anew, with the new certificate");
        }
        if let Link::Dialing(dialling) = &self.link {
            dialling.abort();
        }
        (self.closed, self.welcomed) = (None, false);
        self.link = Link::Down { until: Instant::now() };
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
            // Whoever enrols says what keeps it from doing so, and this goes on at once when it has.
            (Some(error @ ConnectError::NotEnrolled), _) => tracing::debug!(retry, "not connected: {error}"),
            (Some(error), _) => tracing::warn!(retry, "not connected: {}", causes(error)),
            (None, Some(closed)) => tracing::info!(retry, "disconnected: {closed}"),
            (None, None) => tracing::info!(retry, "disconnected: the collector ended the stream"),
        }
    }

    /// Bye, and a bounded wait for the collector to have heard it and for the disk to have the spool.
    async fn goodbye(mut self) {
        self.step(Input::Stop("the agent was told to stop".to_owned()));
        let Self { link, disk, mut spool, start, .. } = self;
        let bye = async {
            let Link::Up { mut stream, .. } = link else { return };
            let (closing, _) = mpsc::channel(1);
            // Dropping the only sender ends our half; the collector answers by ending its own.
            drop(std::mem::replace(&mut stream.outgoing, closing));
            let heard = tokio::time::timeout(GOODBYE, async { while stream.incoming.recv().await.is_some() {} }).await;
            tracing::info!(heard = heard.is_ok(), "said goodbye to the collector");
        };
        tokio::join!(bye, disk.finish(&mut spool, start));
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

async fn rotated(tokens: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match tokens {
        Some(tokens) => tokens.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for fresh credentials.
async fn fresh(renewed: &mut Option<watch::Receiver<u64>>) {
    if let Some(renewed) = renewed
        && renewed.changed().await.is_ok()
    {
        return;
    }
    // Nobody renews, or whoever did has ended, and with it the agent.
    std::future::pending::<()>().await;
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
