//! One gRPC stream: feeds a [`Session`] and carries out what it says. The only place where ingest waits.
//!
//! `end` has how it ends and `words` what the agent is told then, `credentials` whose session it is, `account` what everybody else learns of it.

mod account;
mod credentials;
mod end;
pub(super) mod words;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use holdfast_proto::v1;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tonic::{Status, Streaming};

use self::credentials::{leave_at, taken_over};
use self::end::{End, unreadable};
use super::convert;
use super::reauth::Reauth;
use super::service::Ingest;
use super::session::{Close, Input, Output, Session};
use crate::accept::SessionPlace;
use crate::identity::Admitted;
use crate::nodes::Claim;
use crate::policy::Policies;
use crate::refusals::Refusal;
use crate::store::StoreError;
use crate::store::ingest::{NodeWrite, Written};
use crate::store::nodes::SessionStart;

/// How long an agent may take to read what it is told.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the store may take where the session waits for nothing else: as long as an agent waits for an acknowledgement.
const STORE_PATIENCE: Duration = Duration::from_mins(1);
/// Commits under way after which no more is read from the stream.
const MAX_PENDING: usize = 16;
/// Every how many ticks it is looked up whether the session is the newest: whoever takes over says so, and this is for what was missed.
const LOOK_UP_EVERY: u32 = 10;
/// The session's own clock.
const TICK: Duration = Duration::from_secs(1);

/// A message on its way to an agent. A queue reserves room for many, which nearly always stand empty: boxed, they take next to none.
pub(super) type Told = Box<Result<v1::CollectorMessage, Status>>;
type Commit = BoxFuture<'static, (u64, Result<Written, StoreError>)>;

pub(super) struct Connection {
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
    pub(super) place: Option<SessionPlace>,
}

impl Connection {
    pub(super) fn new(ingest: Arc<Ingest>, admitted: Admitted, peer: Option<SocketAddr>, outbox: mpsc::Sender<Told>) -> Self {
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

    pub(super) async fn run(mut self, stream: Streaming<v1::AgentMessage>) {
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
                        let taken_over = self.claim.as_ref().map(|claim| claim.taken_over.clone()).unwrap_or_default();
                        let opened = patiently(self.ingest.writer.open_unless(start, taken_over.clone())).await?;
                        let Some(opened) = opened.filter(|_| !taken_over.is_cancelled()) else { return Err(self.taken_over()) };
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
            ack.refused.iter().for_each(|refused| self.ingest.metrics.refused(convert::counted(refused.code())));
            // One line for all: an agent chooses how many it has refused.
            if let Some(first) = ack.refused.first() {
                let key = first.key.as_ref().map_or("", |key| key.key.as_str());
                let (code, n) = (convert::counted(first.code()), ack.refused.len());
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

#[cfg(test)]
mod tests {
    use super::{Connection, Session};

    /// What the function's future takes up.
    fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// There are tens of thousands of them: what is rare is boxed where it is large.
    #[test]
    fn a_session_s_task_is_small() {
        let (task, machine) = (size_of_future(Connection::run), size_of::<Session>());
        assert!(task <= 5 * 1024, "the task of a session has {task} bytes");
        assert!(machine <= 512, "the machine in it has {machine} bytes");
    }
}
