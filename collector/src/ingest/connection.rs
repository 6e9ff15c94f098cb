//! One gRPC stream: feeds a [`Session`] and carries out what it says. The only place where ingest waits.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, Map, StreamExt};
use holdfast_checks::entries::Hash;
use holdfast_proto::v1;
use holdfast_proto::v1::posture_server::Posture;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Settings;
use super::pace::Paces;
use super::reauth::{Reauth, replaces};
use super::session::{Close, Input, Moment, Output, Policed, Session};
use crate::accept::{Peer, SessionPlace};
use crate::identity::{Admitted, Identities, Presented, Rejection};
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::nodes::{Breach, Claim, Heartbeat, Holders, Registry, Speaker};
use crate::peers::Roster;
use crate::policy::{self, Desk, Policies};
use crate::refusals::{Refusal, Refusals};
use crate::store::StoreError;
use crate::store::ingest::{NodeWrite, Writer, Written};
use crate::store::nodes::{Opened, SessionStart};
use crate::store::policy::PolicyNote;

/// Messages to an agent that may wait.
const OUTBOX: usize = 16;
/// How long an agent may take to read what it is told.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the store may take where the session waits for nothing else: as long as an agent waits for an acknowledgement.
const STORE_PATIENCE: Duration = Duration::from_mins(1);
/// Commits under way after which no more is read from the stream.
const MAX_PENDING: usize = 16;
/// Every how many ticks it is looked up whether the session is the newest: whoever takes over says so, and this is for what was missed.
const LOOK_UP_EVERY: u32 = 10;
/// The longest before its credentials end that an agent without fresh ones is sent to come back with what it has then, in milliseconds.
const LEAVE_BEFORE_MS: i64 = 60_000;
/// What an agent is told that may not have the node's session. Its credentials are good, and it is its own node.
const ANOTHER_AGENT: &str = "another agent of this node is connected";
/// A message on its way to an agent. A queue reserves room for many, which nearly always stand empty: boxed, they take next to none.
type Told = Box<Result<v1::CollectorMessage, Status>>;
/// What an agent is told whose message is not stored.
const CANNOT_COMMIT: &str = "the store cannot commit: come back later";
/// What an agent is told that comes while the collector stops.
const STOPPING: &str = "the collector is stopping";
/// What is told to whoever says what is no message.
const NO_MESSAGE: &str = "what came is no message, or too large a one";
/// What is told to whoever opens another session in a connection.
const ONE_SESSION: &str = "there is a session in this connection";
/// What an agent is told whose credentials are not accepted, whatever the reason.
const NOT_ACCEPTED: &str = "credentials not accepted";
/// What an agent is told whose credentials cannot be looked at now.
const CANNOT_DECIDE: &str = "credentials cannot be checked now: come back later";
/// How long an agent that broke the contract waits to hear so: trying again at once should not be free.
const PENALTY: Duration = Duration::from_secs(1);
/// The session's own clock.
const TICK: Duration = Duration::from_secs(1);

/// What every session shares.
#[derive(Debug)]
pub struct Ingest {
    writer: Writer,
    identities: Arc<Identities>,
    holders: Holders,
    registry: Arc<Registry>,
    roster: Arc<Roster>,
    policies: Arc<Desk>,
    paces: Paces,
    metrics: Metrics,
    refusals: Refusals,
    settings: Settings,
    grants: Arc<Semaphore>,
    started: Instant,
    draining: CancellationToken,
    closing: CancellationToken,
    sessions: TaskTracker,
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service(pub Arc<Ingest>);

impl Ingest {
    /// Ready for streams.
    pub fn new(
        writer: Writer,
        identities: Identities,
        registry: Arc<Registry>,
        roster: Arc<Roster>,
        metrics: Metrics,
        settings: Settings,
        started: Instant,
    ) -> Self {
        Self {
            writer,
            identities: Arc::new(identities),
            holders: Holders::default(),
            registry,
            roster,
            policies: Arc::default(),
            paces: Paces::default(),
            refusals: Refusals::new(metrics.clone()),
            metrics,
            grants: Arc::new(Semaphore::new(settings.grants)),
            settings,
            started,
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            sessions: TaskTracker::new(),
        }
    }

    /// Has agents hold the policies of `desk`.
    #[must_use]
    pub fn policed_by(mut self, desk: Arc<Desk>) -> Self {
        self.policies = desk;
        self
    }

    /// Notes refusals through `refusals`, which others share.
    #[must_use]
    pub fn refusing_through(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// Tells every agent to come back later, and waits until they have gone, at most `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.draining.cancel();
        self.sessions.close();
        if timeout(patience, self.sessions.wait()).await.is_err() {
            tracing::info!(sessions = self.sessions.len(), "closing sessions that did not end by themselves");
            self.closing.cancel();
            self.sessions.wait().await;
        }
    }

    /// The moment by this process's clocks.
    pub fn now(&self) -> Moment {
        let mono = self.started.elapsed().as_millis();
        Moment { mono_ms: u64::try_from(mono).unwrap_or(u64::MAX), wall_ms: jiff::Timestamp::now().as_millisecond() }
    }

    async fn admit(&self, request: &Request<Streaming<v1::AgentMessage>>) -> Result<Admitted, Status> {
        let peer = request.extensions().get::<Peer>();
        let authorization = request.metadata().get("authorization").map(tonic::metadata::MetadataValue::as_bytes);
        let presented = Presented { authorization, certificate: peer.and_then(Peer::certificate), from: peer.map(Peer::origin) };
        let admitted = self.identities.admit(presented).await;
        if let (Ok(_), Some(peer)) = (&admitted, peer) {
            peer.accepted();
        }
        admitted.map_err(|rejection| {
            self.refusals.note(rejection.refusal, peer.map(|peer| peer.address), None, &rejection);
            if rejection.undecided() { Status::unavailable(CANNOT_DECIDE) } else { Status::unauthenticated(NOT_ACCEPTED) }
        })
    }
}

#[tonic::async_trait]
impl Posture for Service {
    type SessionStream = Map<ReceiverStream<Told>, fn(Told) -> Result<v1::CollectorMessage, Status>>;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let (peer, refusals) = (request.extensions().get::<Peer>(), &self.0.refusals);
        let address = peer.map(|peer| peer.address);
        if self.0.draining.is_cancelled() {
            refusals.note(Refusal::Draining, address, None, &STOPPING);
            return Err(Status::unavailable(STOPPING));
        }
        // Whoever comes now could not be welcomed. Said before anything is looked up: a fleet that was sent away comes back for it.
        if self.0.writer.failing().is_some() {
            refusals.note(Refusal::Store, address, None, &CANNOT_COMMIT);
            return Err(Status::unavailable(CANNOT_COMMIT));
        }
        let admitted = self.0.admit(&request).await?;
        let place = match peer.map(Peer::begin_session) {
            Some(None) => {
                refusals.note(Refusal::SecondSession, address, Some(&admitted.node.name), &ONE_SESSION);
                return Err(Status::resource_exhausted(ONE_SESSION));
            }
            place => place.flatten(),
        };
        let (outbox, answers) = mpsc::channel(OUTBOX);
        let mut connection = Connection::new(Arc::clone(&self.0), admitted, address, outbox);
        connection.place = place;
        self.0.sessions.spawn(connection.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(answers).map(|told| *told)))
    }
}

/// Why the stream is over.
#[derive(Debug)]
enum End {
    /// The session ended it.
    Closed(Close),
    /// The agent's side went away.
    Lost(String),
    /// It does not read what it is told, or what came was no message.
    Refused(Refusal, String),
    /// The store cannot commit: the agent keeps what it has and comes back.
    Store(StoreError),
    /// The credentials do not hold any longer, or a rotated token was not accepted.
    Credentials(Rejection),
    /// Another agent holds the node.
    Duplicate(String),
    /// The collector stops.
    Stopping,
}

type Commit = BoxFuture<'static, (u64, Result<Written, StoreError>)>;

struct Connection {
    ingest: Arc<Ingest>,
    admitted: Arc<Admitted>,
    /// The node is this session's, unless another one takes over.
    claim: Option<Claim>,
    reauth: Reauth,
    /// When an agent that showed no fresh credentials is sent to come back, Unix milliseconds.
    leave_at: Option<i64>,
    peer: Option<SocketAddr>,
    session: Session,
    outbox: mpsc::Sender<Told>,
    commits: FuturesOrdered<Commit>,
    grant: Option<OwnedSemaphorePermit>,
    wanted: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    /// What the agent is to ask other nodes, once it said that it does.
    questions: Option<mpsc::Receiver<v1::ProbeRequest>>,
    /// What agents are to hold.
    policies: watch::Receiver<Arc<Policies>>,
    stopped: bool,
    /// That it is the one session of its gRPC connection.
    place: Option<SessionPlace>,
}

impl Connection {
    fn new(ingest: Arc<Ingest>, admitted: Admitted, peer: Option<SocketAddr>, outbox: mpsc::Sender<Told>) -> Self {
        let leave_at = leave_at(&admitted, ingest.now().wall_ms);
        let session = Session::new(admitted.node.clone(), ingest.settings.clone(), ingest.now());
        let policies = ingest.policies.follow();
        Self {
            policies,
            ingest,
            admitted: Arc::new(admitted),
            claim: None,
            reauth: Reauth::default(),
            leave_at,
            peer,
            session,
            outbox,
            commits: FuturesOrdered::new(),
            grant: None,
            wanted: None,
            questions: None,
            stopped: false,
            place: None,
        }
    }

    async fn run(mut self, stream: Streaming<v1::AgentMessage>) {
        self.ingest.metrics.session(1);
        let end = self.talk(stream).await;
        self.ingest.metrics.session(-1);
        self.finish(end).await;
    }

    async fn talk(&mut self, mut stream: Streaming<v1::AgentMessage>) -> End {
        let pace = self.ingest.paces.of(&self.admitted, self.ingest.now().mono_ms);
        let mut read_at = Instant::now();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut draining = false;
        let mut ticks = 0_u32;
        loop {
            let may_read = self.commits.len() < MAX_PENDING;
            let input = tokio::select! {
                message = async { sleep_until(read_at).await; stream.message().await }, if may_read => match message {
                    Ok(Some(message)) => {
                        read_at = Instant::now() + pace.take(message.encoded_len(), self.ingest.now().mono_ms);
                        Input::Message(Box::new(message))
                    }
                    Ok(None) => return End::Lost("the agent closed the stream".to_owned()),
                    Err(status) => return unreadable(&status),
                },
                Some((seq, written)) = self.commits.next() => match written {
                    Ok(written) => Input::Written(seq, written),
                    Err(error) => return End::Store(error),
                },
                permit = granted(&mut self.wanted) => {
                    self.wanted = None;
                    self.grant = permit;
                    Input::Granted
                }
                Some(request) = question(&mut self.questions), if self.session.may_be_asked() => Input::Probe(request),
                Ok(()) = self.policies.changed() => self.policy(),
                () = taken_over(self.claim.as_ref()) => return self.taken_over(),
                decided = self.reauth.decided(&self.ingest.identities) => match self.renew(decided) {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    if let Err(rejection) = self.ingest.identities.standing(&self.admitted, self.ingest.now().wall_ms) {
                        return End::Credentials(rejection);
                    }
                    if ticks.is_multiple_of(LOOK_UP_EVERY) && self.superseded() {
                        return End::Closed(Close::Superseded);
                    }
                    if !draining && self.session.may_be_asked() && self.leave_at.is_some_and(|at| self.ingest.now().wall_ms >= at) {
                        // Alone, and not with the fleet: it is to be back before anybody takes it for silent.
                        draining = true;
                        self.session.fleet(0);
                        Input::Drain
                    } else {
                        Input::Tick
                    }
                }
                () = self.ingest.draining.cancelled(), if !draining => {
                    draining = true;
                    self.session.fleet(self.ingest.registry.connected_nodes());
                    Input::Drain
                }
                () = self.ingest.closing.cancelled() => return End::Stopping,
            };
            if let Err(end) = self.step(input).await {
                return end;
            }
        }
    }

    /// Why another session took over: it is of the same holder, or this one's credentials do not hold any longer.
    fn taken_over(&self) -> End {
        match self.ingest.identities.standing(&self.admitted, self.ingest.now().wall_ms) {
            Ok(()) => End::Closed(Close::Superseded),
            Err(rejection) => End::Credentials(rejection),
        }
    }

    /// Has the node, or is told that another agent has it; nothing is stored of that one's position then.
    fn claim(&mut self, start: &SessionStart) -> Result<(), End> {
        let (ingest, now) = (&self.ingest, self.ingest.now());
        let stands = |admitted: &Admitted| ingest.identities.standing(admitted, now.wall_ms).is_ok();
        let speaker = Speaker::new(&start.boot_id, start.epoch);
        let from = self.peer.map_or_else(|| "somewhere".to_owned(), |peer| peer.ip().to_string());
        match ingest.holders.claim(&self.admitted, speaker, now.mono_ms, stands) {
            Ok(claim) => {
                self.claim = Some(claim);
                Ok(())
            }
            Err(taken) => {
                let holder = self.admitted.holder.text();
                let detail = format!("{holder} came from {from} while {} had the session", taken.holder);
                if let Some(node_id) = taken.node_id {
                    ingest.registry.breached(node_id, Breach::Duplicate, &detail, now.wall_ms);
                }
                Err(End::Duplicate(detail))
            }
        }
    }

    /// The session is open, and known to be this node's.
    fn opened(&self, opened: &Opened) {
        let (ingest, now) = (&self.ingest, self.ingest.now());
        ingest.registry.connected(opened.node_id, opened.session, self.admitted.holder.credential(), now);
        ingest.metrics.resumed(opened.resume.name());
        let (node, session, resume) = (self.admitted.node.name.as_str(), opened.session, opened.resume.name());
        tracing::info!(node, session, resume, holder = self.admitted.holder.text(), "session opened");
        let Some(claim) = &self.claim else { return };
        ingest.holders.opened(&self.admitted, claim.number, opened.node_id);
        if claim.alternates {
            let from = self.peer.map_or_else(|| "somewhere".to_owned(), |peer| peer.ip().to_string());
            let detail =
                format!("two machines show the same credentials in turns: the one that came back now, from {from}, is not the one before");
            tracing::warn!(node, detail, "a copied identity");
            ingest.registry.breached(opened.node_id, Breach::Alternation, &detail, now.wall_ms);
        }
    }

    /// Something was said that is not this agent's to say.
    fn foreign(&self, what: &str) {
        let node = self.admitted.node.name.as_str();
        self.ingest.refusals.note(Refusal::ForeignWrite, self.peer, Some(node), &what);
        if let Some(opened) = self.session.opened() {
            self.ingest.registry.breached(opened.node_id, Breach::ForeignWrite, what, self.ingest.now().wall_ms);
        }
    }

    /// A rotated token was accepted, or ends the session.
    fn renew(&mut self, decided: Result<Admitted, Rejection>) -> Result<(), End> {
        let fresh = replaces(&self.admitted, decided).map_err(End::Credentials)?;
        let now = self.ingest.now();
        tracing::debug!(node = fresh.node.name, expires_at = fresh.expires_at, "fresh credentials");
        self.leave_at = leave_at(&fresh, now.wall_ms);
        self.admitted = Arc::new(fresh);
        if let Some(claim) = &self.claim {
            self.ingest.holders.renewed(&self.admitted, claim.number);
        }
        Ok(())
    }

    /// Has a newer session of the node been opened. One that says nothing would find out by its next heartbeat only.
    fn superseded(&self) -> bool {
        self.session.opened().is_some_and(|opened| !self.ingest.registry.is_newest(opened.node_id, opened.session))
    }

    /// Feeds an input and carries out what follows from it.
    async fn step(&mut self, input: Input) -> Result<(), End> {
        let mut inputs = std::collections::VecDeque::from([input]);
        let mut joining = None;
        while let Some(input) = inputs.pop_front() {
            let outputs = self.session.handle(input, self.ingest.now());
            if let Some((node_id, session)) = joining.take_if(|_| self.session.probes_peers()) {
                self.questions = self.ingest.roster.join(node_id, session);
            }
            for output in outputs {
                match output {
                    Output::Send(message) => self.send(message).await?,
                    Output::Open(start) => {
                        self.claim(&start)?;
                        let start = SessionStart { holder: self.admitted.holder.text(), ..*start };
                        let opened = patiently(self.ingest.writer.open_session(start)).await?;
                        if self.claim.as_ref().is_some_and(|claim| claim.taken_over.is_cancelled()) {
                            return Err(self.taken_over());
                        }
                        self.opened(&opened);
                        let (node_id, session) = (opened.node_id, opened.session);
                        inputs.push_back(Input::Opened(opened, self.ingest.registry.connected_nodes()));
                        inputs.push_back(self.policy());
                        joining = Some((node_id, session));
                    }
                    Output::Write(write) => self.write(*write).await?,
                    Output::AskGrant => inputs.push_back(self.ask_grant()),
                    Output::ReleaseGrant => self.grant = None,
                    Output::Heard { vitals, confirmed } => self.heard(vitals, confirmed)?,
                    Output::Stopped(reason) => self.stopped(reason).await?,
                    Output::Probed(result) => self.probed(result),
                    Output::Policed(policed) => self.policed(policed),
                    Output::Reauth(token) => self.reauth.take(&token),
                    Output::Foreign(what) => self.foreign(&what),
                    Output::Dropped(reason, n) => {
                        tracing::debug!(node = self.admitted.node.name, reason, n, "dropped");
                        (0..n.min(100)).for_each(|_| self.ingest.metrics.refused(reason));
                    }
                    Output::Close(close) => return Err(End::Closed(close)),
                }
            }
        }
        Ok(())
    }

    fn ask_grant(&mut self) -> Input {
        self.grant = Arc::clone(&self.ingest.grants).try_acquire_owned().ok();
        if self.grant.is_some() {
            return Input::Granted;
        }
        let grants = Arc::clone(&self.ingest.grants);
        self.wanted = Some(Box::pin(async move { grants.acquire_owned().await.ok() }));
        Input::Queued
    }

    async fn send(&mut self, message: v1::CollectorMessage) -> Result<(), End> {
        if let Some(v1::collector_message::Message::Ack(ack)) = &message.message {
            ack.refused.iter().for_each(|_| self.ingest.metrics.refused("entry"));
            // One line for all: an agent chooses how many it has refused.
            if let Some(first) = ack.refused.first() {
                let key = first.key.as_ref().map_or("", |key| key.key.as_str());
                let (code, n) = (first.code().as_str_name(), ack.refused.len());
                tracing::info!(node = self.admitted.node.name, key = ?key, code, n, "entries refused: this is the first of them");
            }
        }
        match timeout(SEND_TIMEOUT, self.outbox.send(Box::new(Ok(message)))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Lost("the agent closed the stream".to_owned())),
            Err(_) => Err(End::Refused(Refusal::SlowReader, format!("nothing was read for {} s", SEND_TIMEOUT.as_secs()))),
        }
    }

    /// Enqueues in this task, so that writes of one session keep their order; the answer is awaited beside the stream.
    async fn write(&mut self, write: NodeWrite) -> Result<(), End> {
        let metrics = &self.ingest.metrics;
        metrics.rows("entry", write.upserts.len());
        metrics.rows("gone", write.gone.len());
        metrics.rows("transition", write.transitions.len());
        let seq = write.seq;
        let answer = patiently(self.ingest.writer.submit(write)).await?;
        self.commits.push_back(Box::pin(async move { (seq, answer.await) }));
        Ok(())
    }

    fn heard(&self, vitals: Option<v1::Heartbeat>, confirmed: bool) -> Result<(), End> {
        let Some(opened) = self.session.opened() else { return Ok(()) };
        let now = self.ingest.now();
        let heartbeat = vitals.map(|said| Heartbeat {
            rss: number(said.rss_bytes),
            cpu_ms: number(said.cpu_ms_total),
            queued: i64::from(said.queued),
            dropped: number(said.dropped_total),
            skew_ms: (said.wall_ms != 0).then(|| said.wall_ms.saturating_sub(now.wall_ms)),
        });
        let newest = self.ingest.registry.heard(opened.node_id, opened.session, now, heartbeat, confirmed);
        if newest { Ok(()) } else { Err(End::Closed(Close::Superseded)) }
    }

    async fn stopped(&mut self, reason: String) -> Result<(), End> {
        self.stopped = true;
        if let Some(claim) = &self.claim {
            self.ingest.holders.left(&self.admitted, claim.number);
        }
        let Some(opened) = self.session.opened() else { return Ok(()) };
        let change = self.ingest.registry.stopped(opened.node_id, opened.session, &reason, self.ingest.now());
        match change {
            Some(change) => patiently(self.ingest.writer.write_states(vec![change])).await,
            None => Ok(()),
        }
    }

    fn probed(&self, result: v1::ProbeResult) {
        if let Some(opened) = self.session.opened() {
            self.ingest.roster.heard(opened.node_id, opened.session, result);
        }
    }

    /// What this agent is to hold now.
    fn policy(&mut self) -> Input {
        let policies = Arc::clone(&self.policies.borrow_and_update());
        Input::Policy(Arc::new(policy::to_wire(policies.of(&self.admitted.node.cluster))))
    }

    fn policed(&self, policed: Policed) {
        let Some(opened) = self.session.opened() else { return };
        let Policed { hash, held, state, reason } = policed;
        if state == "refused" {
            tracing::warn!(node = self.admitted.node.name, policy = hash, reason = ?reason.as_deref().unwrap_or_default(), "an agent refused its policy");
        } else {
            tracing::debug!(node = self.admitted.node.name, policy = hash, state, "policy");
        }
        let (node_id, session, at) = (opened.node_id, opened.session, self.ingest.now().wall_ms);
        self.ingest.policies.note(PolicyNote { node_id, session, hash, held, state, reason, at });
    }

    /// Notes the end and tells the agent why, if it still listens.
    async fn finish(mut self, end: End) {
        // Others wait for the grant; the agent may take its time to hear why its session is over.
        (self.grant, self.wanted) = (None, None);
        if let Some(opened) = self.session.opened() {
            self.ingest.roster.leave(opened.node_id, opened.session);
        }
        let admitted = Arc::clone(&self.admitted);
        let node = admitted.node.name.as_str();
        let (status, patient) = match &end {
            End::Closed(Close::Bye) => (None, true),
            End::Closed(close) => {
                if let Some(refusal) = close.refusal() {
                    self.ingest.refusals.note(refusal, None, Some(node), close);
                }
                // Three heartbeats were patience enough.
                (Some(status(close)), !matches!(close, Close::Late("three heartbeats")))
            }
            End::Lost(reason) => {
                tracing::info!(node, reason, "session lost");
                (None, true)
            }
            End::Refused(refusal, reason) => {
                self.ingest.refusals.note(*refusal, None, Some(node), reason);
                // Whoever does not read would not hear it.
                ((*refusal == Refusal::Protocol).then(|| Status::invalid_argument(NO_MESSAGE)), true)
            }
            End::Store(error) => {
                // The writer has said it for all.
                tracing::debug!(node, error = cause(error), "session ended: the store cannot commit");
                self.ingest.refusals.note(Refusal::Store, None, Some(node), &CANNOT_COMMIT);
                (Some(Status::unavailable(CANNOT_COMMIT)), true)
            }
            End::Credentials(rejection) => {
                self.ingest.refusals.note(rejection.refusal, None, Some(node), rejection);
                (Some(Status::unauthenticated(NOT_ACCEPTED)), true)
            }
            End::Duplicate(reason) => {
                self.ingest.refusals.note(Refusal::DuplicateAgent, self.peer, Some(node), reason);
                (Some(Status::already_exists(ANOTHER_AGENT)), true)
            }
            End::Stopping => (Some(Status::unavailable(STOPPING)), true),
        };
        if let Some(opened) = self.session.opened().filter(|_| !self.stopped) {
            self.ingest.registry.lost(opened.node_id, opened.session, patient, self.ingest.now());
        }
        // Others wait for the node too.
        self.release();
        if matches!(&end, End::Refused(Refusal::Protocol, _) | End::Closed(Close::Protocol(_))) {
            tokio::select! {
                () = sleep(PENALTY) => {}
                () = self.ingest.closing.cancelled() => {}
            }
        }
        if let Some(status) = status
            && timeout(SEND_TIMEOUT, self.outbox.send(Box::new(Err(status)))).await.is_err()
        {
            tracing::debug!(node, "the agent did not hear why its session ended");
        }
    }
}

impl Connection {
    /// The stream is over: the node is this holder's for a short while yet.
    fn release(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.ingest.holders.lost(&self.admitted, claim.number, self.ingest.now().mono_ms);
        }
    }
}

/// However a session's task ends, the node does not stay taken.
impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}

/// When an agent that shows no fresh credentials is sent to come back with what it has then: within the last minute before these end,
/// or the second half of what is left of them, each agent at a time of its own.
fn leave_at(admitted: &Admitted, now: i64) -> Option<i64> {
    let end = admitted.expires_at?;
    let spread = LEAVE_BEFORE_MS.min(end.saturating_sub(now).max(0) / 2);
    let of = Hash::of_fields([admitted.node.cluster.as_bytes(), admitted.node.uid.as_bytes(), &end.to_be_bytes()]);
    let draw = of.0.first().copied().map_or(0, i64::from);
    // Not with the last second: it takes a moment to leave.
    Some(end.saturating_sub(spread * (draw + 16) / (255 + 16)))
}

/// Another session took over.
async fn taken_over(claim: Option<&Claim>) {
    match claim {
        Some(claim) => claim.taken_over.cancelled().await,
        None => pending().await,
    }
}

/// What the store does, as long as an agent waits for it. A disk that hangs must not keep the sessions of agents that left long ago.
async fn patiently<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, End> {
    match timeout(STORE_PATIENCE, work).await {
        Ok(done) => done.map_err(End::Store),
        Err(_) => Err(End::Lost(format!("the store has not answered for {} s", STORE_PATIENCE.as_secs()))),
    }
}

/// The grant asked for, once it is there.
async fn granted(wanted: &mut Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>) -> Option<OwnedSemaphorePermit> {
    match wanted {
        Some(wanted) => wanted.await,
        None => pending().await,
    }
}

/// The next thing to ask the agent.
async fn question(questions: &mut Option<mpsc::Receiver<v1::ProbeRequest>>) -> Option<v1::ProbeRequest> {
    match questions {
        Some(questions) => questions.recv().await,
        None => pending().await,
    }
}

/// What the agent's gRPC library is told.
fn status(close: &Close) -> Status {
    let text = close.to_string();
    match close {
        Close::Bye => Status::ok(text),
        Close::Protocol(_) => Status::invalid_argument(text),
        Close::Incompatible(_) => Status::failed_precondition(text),
        Close::Late(_) => Status::deadline_exceeded(text),
        Close::Superseded => Status::aborted(text),
    }
}

/// The stream gave an error instead of a message: the agent's side broke the contract, or went away.
fn unreadable(status: &Status) -> End {
    let reason = status.message().to_owned();
    // What the library could not decode has no source of its own; what HTTP/2 found wrong says so, and what it was told does not.
    let undecodable = matches!(status.code(), Code::OutOfRange | Code::Internal) && std::error::Error::source(status).is_none();
    if undecodable || reason.contains("error detected") { End::Refused(Refusal::Protocol, reason) } else { End::Lost(reason) }
}

fn number(said: u64) -> i64 {
    i64::try_from(said).unwrap_or(i64::MAX)
}
