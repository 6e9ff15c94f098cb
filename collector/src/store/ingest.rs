//! The one writer: takes what sessions want stored, commits in groups and answers each after its commit.
//!
//! Adaptive group commit: whatever waits when the last commit is done becomes the next transaction, up to
//! a thousand rows. A lone write is committed at once; under load the commits themselves make the groups. When a group
//! fails, each of its jobs is tried alone, so that one poisoned message cannot hold back the others. While the store itself fails,
//! it is tried again by the writer alone: every agent may have been sent away.
//! Must not know the wire or connections.

mod apply;
mod judged;
mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::entries::{Body, Digest, Entry, Finding, Hash, Key, Transition};
use prometheus_client::metrics::gauge::Gauge;
use sqlx::SqliteConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::apply::Collapsed;
use super::nodes::{self, Opened, SessionStart, StateChange, Vitals};
use super::{Health, Store, StoreError, breaches, health};
use crate::changes::{Change, ChangeFeed};
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::nodes::BreachRow;
use crate::refusals::{self, Refusals};

/// The most findings stored for one node.
pub const MAX_FINDINGS: usize = 20_000;
/// The most inventory stored for one node, in bytes of JSON and keys: twice what an agent may send.
pub const MAX_INVENTORY: usize = 512 * 1024;
/// Transitions that a node may tell at once: all that its agent keeps of an outage, and one more for each finding it has. What is
/// beyond is counted as missing from history; the findings themselves are always what was said last.
pub const HISTORY_BURST: usize = 10_000;
/// How many of them it may tell again after an hour.
pub const HISTORY_PER_HOUR: i64 = 2_000;
/// The most entries stored for one node that this version does not know.
pub const MAX_OPAQUE: usize = 5_000;
/// Rows after which a group is committed.
const GROUP_ROWS: usize = 1000;
/// Jobs waiting for the writer; beyond that senders wait.
const QUEUE: usize = 1024;

/// Bytes of what was decoded and is not committed; beyond that senders wait.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// How long after a failure of the store it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Why an entry is not stored. The numbers are the wire's `Refused.Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// Not an entry this version understands.
    Malformed,
    /// A part is longer than allowed.
    TooLarge,
    /// The node has too many.
    Quota,
    /// It is for the collector alone to judge.
    Foreign,
}

impl RefusalCode {
    /// The number in the store.
    pub fn number(self) -> i64 {
        match self {
            Self::Malformed => 1,
            Self::TooLarge => 2,
            Self::Quota => 3,
            Self::Foreign => 4,
        }
    }

    /// The code of a number in the store; `None` for one of a later version.
    pub fn of(number: i64) -> Option<Self> {
        [Self::Malformed, Self::TooLarge, Self::Quota, Self::Foreign].into_iter().find(|code| code.number() == number)
    }

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Quota => "quota",
            Self::Foreign => "foreign",
        }
    }
}

/// An entry that is not stored, under the key as it was sent, which may be no key at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the kind, as sent.
    pub kind: i32,
    /// The key, as sent.
    pub key: String,
    /// The hash, as sent.
    pub hash: Vec<u8>,
    /// Why.
    pub code: RefusalCode,
}

/// An entry of a kind or with a body this version does not know: that it is there, and what it says hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// Its identity on the node.
    pub key: Key,
    /// The hash of its content.
    pub hash: Hash,
}

/// How a write moves the node's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Part of an unfinished snapshot, or a change while one is owed: entries are stored, and there is no position until the
    /// snapshot is complete.
    Partial,
    /// Changes since the stored position.
    Delta,
    /// The last, verified part of a snapshot: whatever is not in it goes.
    Snapshot {
        /// The keys of the whole snapshot.
        keep: BTreeSet<Key>,
    },
}

/// What one message of a session wants stored.
#[derive(Debug, Clone)]
pub struct NodeWrite {
    /// The node.
    pub node_id: i64,
    /// The fence.
    pub session: i64,
    /// The agent's epoch.
    pub epoch: u64,
    /// The message's number in the epoch.
    pub seq: u64,
    /// Collector time, Unix milliseconds.
    pub at: i64,
    /// New or changed entries. A later one of the same key wins.
    pub upserts: Vec<Entry>,
    /// The same of what this version does not know.
    pub opaque: Vec<Opaque>,
    /// Keys that are no longer there.
    pub gone: Vec<Key>,
    /// Verdicts that moved.
    pub transitions: Vec<Transition>,
    /// Entries refused before they came here.
    pub refused: Vec<Refusal>,
    /// Transitions the agent lost, in this epoch.
    pub truncated_transitions: u64,
    /// What becomes of the position.
    pub progress: Progress,
}

impl NodeWrite {
    /// Changes of message `seq`, of which none is in it yet.
    pub fn delta(opened: &Opened, epoch: u64, seq: u64, at: i64) -> Self {
        Self {
            node_id: opened.node_id,
            session: opened.session,
            epoch,
            seq,
            at,
            upserts: Vec::new(),
            opaque: Vec::new(),
            gone: Vec::new(),
            transitions: Vec::new(),
            refused: Vec::new(),
            truncated_transitions: 0,
            progress: Progress::Delta,
        }
    }

    fn rows(&self) -> usize {
        self.upserts.len() + self.opaque.len() + self.gone.len() + self.transitions.len() + self.refused.len()
    }

    /// About what it takes up in memory: its texts, and what a row is wrapped in.
    fn bytes(&self) -> usize {
        let finding = |finding: &Finding| {
            let evidence = finding.evidence.iter().map(|item| 256 + item.path.len() + item.source.len());
            2 * finding.subject.len() + finding.title.len() + finding.reason.len() + evidence.sum::<usize>()
        };
        let body = |entry: &Entry| match &entry.body {
            Body::Finding(of) => finding(of),
            Body::Inventory(of) => of.json.len() + entry.key.as_str().len(),
        };
        let upserts: usize = self.upserts.iter().map(body).sum();
        let said: usize = self.transitions.iter().map(|moved| moved.because.len() + moved.reason.len()).sum();
        self.rows() * 256 + upserts + said
    }
}

/// What became of a [`NodeWrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Durable, now or since an earlier time.
    Committed {
        /// Every refused entry of the message.
        refused: Vec<Refusal>,
        /// In it the agent calls the node as another one of its cluster is called. For everybody but the agent.
        misnamed: bool,
        /// The digest of what is stored now.
        digest: Digest,
    },
    /// A newer session of the node has been opened: nothing was stored.
    Fenced,
}

/// Answers a waiting session.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    /// Unless somebody else has taken the node over by then.
    Open(Box<(SessionStart, CancellationToken)>, Reply<Option<Opened>>),
    Write(Box<NodeWrite>, Reply<Written>),
    States(Vec<StateChange>, Reply<()>),
    Breaches(Vec<BreachRow>, Reply<()>),
    Vitals(Vec<Vitals>, Reply<()>),
}

enum Done {
    Opened(Option<Opened>),
    Written(Written, Option<Collapsed>),
    Nothing,
}

impl Done {
    fn collapsed(&self) -> Option<&Collapsed> {
        if let Self::Written(_, collapsed) = self { collapsed.as_ref() } else { None }
    }
}

impl Job {
    fn rows(&self) -> usize {
        match self {
            Self::Open(..) => 2,
            Self::Write(write, _) => write.rows() + 1,
            Self::States(states, _) => states.len(),
            Self::Breaches(rows, _) => rows.len(),
            Self::Vitals(vitals, _) => vitals.len(),
        }
    }

    /// About what it takes up in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Open(..) => 1024,
            Self::Write(write, _) => write.bytes(),
            Self::States(states, _) => states.len() * 128,
            Self::Vitals(vitals, _) => vitals.len() * 128,
            Self::Breaches(breaches, _) => breaches.len() * 512,
        }
    }

    async fn apply(&self, conn: &mut SqliteConnection, log: &mut Vec<Change>) -> Result<Done, StoreError> {
        match self {
            Self::Open(open, _) => {
                let (start, taken_over) = &**open;
                // Asked here, where all are opened one after the other: whoever took over opens after this one, or has opened already.
                if taken_over.is_cancelled() {
                    return Ok(Done::Opened(None));
                }
                let (opened, changes) = nodes::open_session(conn, start).await?;
                log.extend(changes);
                Ok(Done::Opened(Some(opened)))
            }
            Self::Write(write, _) => {
                let applied = apply::apply(conn, write).await?;
                log.extend(applied.changes);
                Ok(Done::Written(applied.written, applied.collapsed))
            }
            Self::States(states, _) => {
                log.extend(nodes::write_states(conn, states).await?);
                Ok(Done::Nothing)
            }
            Self::Breaches(rows, _) => {
                log.extend(breaches::write(conn, rows).await?);
                Ok(Done::Nothing)
            }
            Self::Vitals(vitals, _) => nodes::write_vitals(conn, vitals).await.map(|()| Done::Nothing),
        }
    }

    /// Tells the waiting session. One that went away in the meantime does not mind.
    fn reply(self, result: Result<Done, StoreError>) {
        let heard = match (self, result) {
            (Self::Open(_, reply), Ok(Done::Opened(opened))) => reply.send(Ok(opened)).is_ok(),
            (Self::Write(_, reply), Ok(Done::Written(written, _))) => reply.send(Ok(written)).is_ok(),
            (Self::States(_, reply) | Self::Vitals(_, reply) | Self::Breaches(_, reply), Ok(_)) => reply.send(Ok(())).is_ok(),
            (Self::Open(_, reply), Err(error)) => reply.send(Err(error)).is_ok(),
            (Self::Write(_, reply), Err(error)) => reply.send(Err(error)).is_ok(),
            (Self::States(_, reply) | Self::Vitals(_, reply) | Self::Breaches(_, reply), Err(error)) => reply.send(Err(error)).is_ok(),
            (Self::Open(..) | Self::Write(..), Ok(_)) => false,
        };
        if !heard {
            tracing::trace!("nobody waits for this commit any more");
        }
    }
}

/// Counts a job from when somebody wants it until it is answered, and holds its share of the bytes under way.
struct Ticket {
    under_way: Gauge,
    #[allow(dead_code, reason = "held until it is dropped")]
    share: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    fn new(under_way: &Gauge) -> Self {
        under_way.inc();
        Self { under_way: under_way.clone(), share: None }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.under_way.dec();
    }
}

/// A job on its way.
type Queued = (Job, Ticket);

/// The way to the writer. Cloned freely; the queue behind it is bounded.
#[derive(Debug, Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Queued>,
    under_way: Gauge,
    /// Bytes that may still be under way.
    room: Arc<Semaphore>,
    health: Health,
}

impl Writer {
    /// How many jobs are under way: waiting, or being committed.
    pub fn under_way(&self) -> usize {
        usize::try_from(self.under_way.get()).unwrap_or(0)
    }

    /// Why nothing can be committed at present; `None` when all is well.
    pub fn failing(&self) -> Option<String> {
        self.health.failing()
    }

    /// Opens a session: fences out older ones.
    pub async fn open_session(&self, start: SessionStart) -> Result<Opened, StoreError> {
        self.open_unless(start, CancellationToken::new()).await?.ok_or(StoreError::Stopped)
    }

    /// The same, unless its node was taken over before its turn came: sessions are as old as the claims on their node, whichever of two
    /// came here first. `None`: it was.
    pub async fn open_unless(&self, start: SessionStart, taken_over: CancellationToken) -> Result<Option<Opened>, StoreError> {
        self.ask(|reply| Job::Open(Box::new((start, taken_over)), reply)).await
    }

    /// Stores a message; answers after the commit.
    pub async fn write(&self, write: NodeWrite) -> Result<Written, StoreError> {
        self.submit(write).await?.await
    }

    /// Enqueues a message and gives a future of its commit. Messages are stored in the order they were submitted.
    pub async fn submit(&self, write: NodeWrite) -> Result<impl Future<Output = Result<Written, StoreError>> + Send + use<>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Write(Box::new(write), reply)).await?;
        Ok(async move { answer.await.map_err(|_| StoreError::Stopped)? })
    }

    /// Stores states of nodes.
    pub async fn write_states(&self, states: Vec<StateChange>) -> Result<(), StoreError> {
        self.ask(|reply| Job::States(states, reply)).await
    }

    /// Stores what was refused of nodes.
    pub async fn write_breaches(&self, rows: Vec<BreachRow>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Breaches(rows, reply)).await
    }

    /// Flushes heartbeats.
    pub async fn write_vitals(&self, vitals: Vec<Vitals>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Vitals(vitals, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(job(reply)).await?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    async fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let mut ticket = Ticket::new(&self.under_way);
        let bytes = u32::try_from(job.bytes().min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        ticket.share = Arc::clone(&self.room).acquire_many_owned(bytes).await.ok();
        self.jobs.send((job, ticket)).await.map_err(|_| StoreError::Stopped)
    }
}

impl Store {
    /// The writer's handle and its loop, which commits what is queued when `stop` is cancelled, and then ends.
    pub fn writer(&self, feed: ChangeFeed, metrics: Metrics, stop: CancellationToken) -> (Writer, impl Future<Output = ()> + Send + use<>) {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let store = self.clone();
        let refusals = Refusals::new(metrics.clone());
        let writer =
            Writer { jobs, under_way: metrics.writer_jobs(), room: Arc::new(Semaphore::new(QUEUE_BYTES)), health: self.health.clone() };
        (writer, async move { store.write_groups(receiver, &feed, (&metrics, &refusals), &stop).await })
    }

    async fn write_groups(
        &self,
        mut jobs: mpsc::Receiver<Queued>,
        feed: &ChangeFeed,
        (metrics, refusals): (&Metrics, &Refusals),
        stop: &CancellationToken,
    ) {
        let mut try_at = Instant::now();
        loop {
            let failing = self.health.failing().is_some();
            let first = tokio::select! {
                biased;
                () = sleep_until(try_at), if failing && !jobs.is_closed() => {
                    self.try_room(metrics).await;
                    try_at = Instant::now() + TRY_AGAIN;
                    continue;
                }
                () = stop.cancelled(), if !jobs.is_closed() => {
                    jobs.close();
                    continue;
                }
                first = jobs.recv() => first,
            };
            let Some(first) = first else { return };
            let group = gather(first, &mut jobs);
            self.write_group(group, feed, (metrics, refusals)).await;
            if !failing {
                try_at = Instant::now() + TRY_AGAIN;
            }
        }
    }

    async fn write_group(&self, (group, tickets): (Vec<Job>, Vec<Ticket>), feed: &ChangeFeed, (metrics, refusals): (&Metrics, &Refusals)) {
        let started = Instant::now();
        match self.commit(&group, feed, refusals).await {
            Ok(done) => {
                metrics.committed(started.elapsed());
                group.into_iter().zip(done).for_each(|(job, done)| job.reply(Ok(done)));
            }
            Err(error) if group.len() == 1 => {
                self.note(&error, metrics);
                answer_alone(group, error);
            }
            Err(error) => {
                tracing::debug!(error = cause(&error), jobs = group.len(), "commit failed: trying each alone");
                for job in group {
                    let done = self.commit(std::slice::from_ref(&job), feed, refusals).await;
                    if let Err(error) = &done {
                        self.note(error, metrics);
                    }
                    job.reply(done.and_then(|done| done.into_iter().next().ok_or(StoreError::Stopped)));
                }
            }
        }
        drop(tickets);
    }

    /// A job could not be committed, even alone.
    fn note(&self, error: &StoreError, metrics: &Metrics) {
        metrics.commit_failed();
        if health::is_of_the_store(error) {
            self.health.failed(error, metrics);
        } else {
            tracing::error!(error = cause(error), "a write cannot be stored: it was not acknowledged, its agent keeps it and comes back");
        }
    }

    async fn try_room(&self, metrics: &Metrics) {
        let failed = match self.writer.acquire().await {
            Ok(mut writer) => match health::try_room(&mut writer).await {
                Ok(()) => return self.health.recovered(metrics),
                Err(error) => {
                    // One that was opened while the file system was read-only stays so: the next try has another.
                    if let Err(error) = writer.close().await {
                        tracing::debug!(error = cause(&error), "a failed connection did not close by itself");
                    }
                    error
                }
            },
            Err(source) => StoreError::Query { operation: "connect to the store", source },
        };
        self.health.failed(&failed, metrics);
    }

    /// One transaction over a group; publishes its changes after the commit.
    async fn commit(&self, group: &[Job], feed: &ChangeFeed, refusals: &Refusals) -> Result<Vec<Done>, StoreError> {
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let mut log = Vec::new();
        let mut done = Vec::with_capacity(group.len());
        for job in group {
            done.push(job.apply(&mut transaction, &mut log).await?);
        }
        transaction.commit().await.map_err(StoreError::query("commit"))?;
        for change in log {
            feed.publish(change);
        }
        for collapsed in done.iter().filter_map(Done::collapsed) {
            let reason = format_args!("more history than {HISTORY_PER_HOUR} changes an hour: {} are not kept", collapsed.transitions);
            refusals.note(refusals::Refusal::TransitionQuota, None, Some(&collapsed.node), &reason);
        }
        Ok(done)
    }
}

/// The next group: what waits, up to a bound.
fn gather((first, ticket): Queued, jobs: &mut mpsc::Receiver<Queued>) -> (Vec<Job>, Vec<Ticket>) {
    let mut rows = first.rows();
    let (mut group, mut tickets) = (vec![first], vec![ticket]);
    while rows < GROUP_ROWS
        && let Ok((job, ticket)) = jobs.try_recv()
    {
        rows += job.rows();
        group.push(job);
        tickets.push(ticket);
    }
    (group, tickets)
}

/// A statement's rows as one JSON parameter.
pub(super) fn json<T: serde::Serialize + ?Sized>(rows: &T) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|source| StoreError::Malformed { operation: "write rows as JSON", problem: source.to_string() })
}

/// A hash as stored, read back for the digest.
fn parse_hash(text: &str) -> Result<Hash, StoreError> {
    let bytes = u128::from_str_radix(text, 16).map(u128::to_be_bytes);
    bytes
        .map(Hash)
        .map_err(|_| StoreError::Malformed { operation: "read an entry's hash", problem: format!("`{text}` is not 32 hex digits") })
}

/// Answers a group of one with its error.
fn answer_alone(group: Vec<Job>, error: StoreError) {
    let mut error = Some(error);
    for job in group {
        job.reply(Err(error.take().unwrap_or(StoreError::Stopped)));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use holdfast_checks::entries::{Kind, Severity};

    use super::*;
    use crate::store::nodes::Resume;

    fn write(said: usize) -> NodeWrite {
        let refused = vec![Refusal { kind: 1, key: "k".into(), hash: Vec::new(), code: RefusalCode::Malformed }];
        let key = Key::parse(Kind::Finding, "a/1").unwrap();
        let because = "x".repeat(said);
        let (number, reason, severity) = (1, String::new(), Severity::Low);
        let moved = Transition { number, key, from: None, to: None, reason, severity, because, at: 0 };
        let opened = Opened { node_id: 1, session: 1, resume: Resume::Delta, position: 0, digest: Digest::EMPTY };
        NodeWrite { transitions: vec![moved], refused, ..NodeWrite::delta(&opened, 1, 1, 1) }
    }

    /// However fast the agents are and however slow the disk.
    #[tokio::test]
    async fn writes_under_way_take_up_a_bounded_number_of_bytes() {
        let (jobs, mut receiver) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        let metrics = Metrics::default();
        let writer = Writer { jobs, under_way: metrics.writer_jobs(), room: Arc::clone(&room), health: Health::default() };
        let one = write(QUEUE_BYTES / 8);
        assert!(one.bytes() > QUEUE_BYTES / 8);
        let mut answers = Vec::new();
        while let Some(answer) = writer.submit(one.clone()).now_or_never() {
            answers.push(answer.unwrap());
        }
        assert_eq!(answers.len(), QUEUE_BYTES / one.bytes());
        assert!(room.available_permits() < one.bytes());
        // Whoever waits comes in when one is done, and one that is larger than all of it when it is alone.
        let waiting = writer.submit(one.clone());
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(receiver.recv().await);
        drop(waiting.now_or_never().expect("there is room").unwrap());
        while receiver.try_recv().is_ok() {}
        assert_eq!((room.available_permits(), writer.under_way()), (QUEUE_BYTES, 0));
        assert!(writer.submit(write(QUEUE_BYTES + 1)).now_or_never().is_some());
        assert_eq!(room.available_permits(), 0);
    }
}
