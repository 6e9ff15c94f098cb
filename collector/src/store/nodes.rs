//! Nodes: who they are, their state, their session's fence and position.
//!
//! Everything that writes runs inside the writer's transaction. Must not know connections or time: `at` is passed in.

use holdfast_checks::entries::{Digest, Hash};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::{Store, StoreError, changes, delivery};
use crate::changes::{Change, ChangeKind};
use crate::nodes::BreachRow;

/// Where a node's findings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A live agent.
    #[default]
    Agent,
    /// A recording, shown for demonstration.
    Recorded,
}

impl Origin {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Recorded => "recorded",
        }
    }
}

/// Who a node is, as its credentials say. Never taken from a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeIdentity {
    /// The cluster's name.
    pub cluster: String,
    /// The node's uid, unique in the cluster.
    pub uid: String,
    /// The node's name, for people.
    pub name: String,
    /// Live or recorded.
    pub origin: Origin,
}

/// What a node is doing, as far as the collector knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It has a session.
    Connected,
    /// Heartbeats are missing or the stream was lost. The only state that alerts.
    Silent,
    /// It said good-bye.
    Stopped,
    /// Its Node object was deleted, or it was silent for so long that nobody waits any more.
    Gone,
    /// Its Node object is there and no agent ever spoke for it.
    Unwatched,
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Connected, Self::Silent, Self::Stopped, Self::Gone, Self::Unwatched];

    /// The name in the store, in JSON and in filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
            Self::Unwatched => "unwatched",
        }
    }

    /// Reads the stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What an agent says of itself when a session starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStart {
    /// Who it is, from its credentials.
    pub identity: NodeIdentity,
    /// Changes only when the agent lost its spool.
    pub epoch: u64,
    /// The last sequence number of this epoch the agent knows to be stored.
    pub last_acked: u64,
    /// Up to which number of this epoch the agent knows what it sent. `None`: an older agent, which goes on from its own numbers and
    /// does not say.
    pub sent: Option<u64>,
    /// The digest of its state.
    pub digest: Digest,
    /// Its version.
    pub agent_version: String,
    /// The hash of its check catalogue, hex.
    pub catalogue_hash: String,
    /// The boot it runs in.
    pub boot_id: String,
    /// Who opens it, as [`crate::identity::Holder::text`] writes it.
    pub holder: String,
    /// Collector time, Unix milliseconds.
    pub at: i64,
}

/// How a session brings both sides together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resume {
    /// The digests are equal: nothing is sent.
    InSync,
    /// Changes since the acknowledged message.
    Delta,
    /// A snapshot.
    Full,
}

impl Resume {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Delta => "delta",
            Self::Full => "full",
        }
    }

    /// Decides from where the stored state stands: its epoch (empty while a snapshot is owed), seq and digest, and whether all of it is
    /// wanted, for what no digest shows.
    fn decide(stored: &Position, start: &SessionStart) -> Self {
        let known = number(start.last_acked)..=number(start.sent.unwrap_or(start.last_acked));
        if stored.whole_wanted {
            Self::Full
        } else if stored.digest == start.digest.to_string() {
            Self::InSync
        } else if stored.epoch == epoch_text(start.epoch) && known.contains(&stored.seq) {
            Self::Delta
        } else {
            Self::Full
        }
    }
}

/// A session the store has fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The node.
    pub node_id: i64,
    /// The fence: later writes carry it, and lose when a newer session has been opened.
    pub session: i64,
    /// What has to be sent.
    pub resume: Resume,
    /// Where this side stands: what follows has a higher number. With a snapshot to come, where the agent stood last.
    pub position: u64,
    /// The digest of what is stored.
    pub digest: Digest,
}

/// A state to write. `session` fences it: an older session's end says nothing about a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The node.
    pub node_id: i64,
    /// The session it speaks of.
    pub session: i64,
    /// The new state.
    pub state: NodeState,
    /// Why, for a person.
    pub reason: String,
    /// Unix milliseconds.
    pub at: i64,
}

/// What the last heartbeat said, as flushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vitals {
    /// The node.
    pub node_id: i64,
    /// The session it came in.
    pub session: i64,
    /// Collector time of the last message, Unix milliseconds.
    pub last_seen: i64,
    /// Collector time of the last message whose digest matched, 0 when none did.
    pub confirmed_at: i64,
    /// The agent's resident memory in bytes.
    pub rss: i64,
    /// The agent's CPU time in milliseconds.
    pub cpu_ms: i64,
    /// Entries waiting in the agent.
    pub queued: i64,
    /// Things the agent dropped because a queue was full.
    pub dropped: i64,
    /// The agent's clock minus ours, in milliseconds.
    pub skew_ms: i64,
    /// When that was measured, Unix milliseconds; 0: never.
    pub skew_at: i64,
}

/// How far a node's clock is off, and when that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Milliseconds by which it is ahead; negative when behind. Smaller than the truth by the time a heartbeat takes to get here.
    pub ahead_ms: i64,
    /// By our clock, Unix milliseconds.
    pub at: i64,
}

/// What the registry needs to know of a stored node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// The node.
    pub node_id: i64,
    /// Its last session.
    pub session: i64,
    /// Its state.
    pub state: NodeState,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// Last message, Unix milliseconds.
    pub last_seen: i64,
    /// How far its clock was off when that was last measured.
    pub clock: Option<Offset>,
    /// What was refused of it lately, by hour.
    pub breaches: Vec<BreachRow>,
    /// Is its Node object there, as was known last.
    pub listed: bool,
}

/// An epoch as stored.
pub(super) fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

/// A sequence number as stored. What a Hello may say is far below the largest.
fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A digest as stored.
pub(super) fn parse_digest(text: &str) -> Result<Digest, StoreError> {
    let number = u128::from_str_radix(text, 16).ok().and_then(|number| Digest::from_slice(&number.to_le_bytes()));
    number.ok_or_else(|| StoreError::Malformed { operation: "read a node's digest", problem: format!("`{text}` is not 32 hex digits") })
}

/// The stable name of a finding in links: 80 bits of the hash of its full key, hex.
pub fn finding_id(cluster: &str, uid: &str, check: &str, subject: &str) -> String {
    let hash = Hash::of_fields([cluster.as_bytes(), uid.as_bytes(), check.as_bytes(), subject.as_bytes()]).to_string();
    hash.get(..20).unwrap_or_default().to_owned()
}

struct Position {
    node_id: i64,
    session: i64,
    epoch: String,
    seq: i64,
    digest: String,
    state: String,
    whole_wanted: bool,
}

impl FromRow<'_, SqliteRow> for Position {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            node_id: row.try_get("node_id")?,
            session: row.try_get("session")?,
            epoch: row.try_get("epoch")?,
            seq: row.try_get("seq")?,
            digest: row.try_get("digest")?,
            state: row.try_get("state")?,
            whole_wanted: row.try_get("whole_wanted")?,
        })
    }
}

/// Fences a new session, decides how it resumes and notes where it starts.
///
/// The position is the number of the last message whose content is stored, in the agent's epoch; while a snapshot is owed the epoch is
/// empty, so that a session lost in the middle of it is followed by another snapshot. An agent that crashed comes back with an older
/// file, and may send changes only when everything that is stored is known to that file, as sure or as unsure. It is, when
/// `last_acked <= position <= sent`, because of what both sides keep to:
///
/// - Nothing is stored without moving the position to its number or, while a snapshot is owed, emptying the epoch; and numbers only
///   grow. So a position of at most `sent` means: nothing is stored that was sent after the file was written.
/// - The file holds everything sent up to `sent` as unsure, unless it was acknowledged; nothing is acknowledged before it is stored. So
///   a position of at least `last_acked` means: nothing is missing here that the file believes stored. A store that was brought back
///   from a copy stands below that.
/// - Equal digests are no position yet: where the stored one is of another epoch, it stays empty until the agent, having heard that it
///   is in sync, stores something.
/// - A session begins at `max(position, sent)`, and the agent is told and numbers on from there. A file that does not know of it stands
///   below the position as soon as anything is stored after it.
///
/// So a stale file can meet a position that means other content only as one outside its range, which leads to a snapshot. An older
/// agent keeps nothing over a crash and numbers what follows from its own `last_acked`: that is its position, and its whole range.
pub(super) async fn open_session(conn: &mut SqliteConnection, start: &SessionStart) -> Result<(Opened, Vec<Change>), StoreError> {
    let identity = &start.identity;
    // The fence of a new node starts at the time, above that of a deleted node whose number it may get.
    let insert = "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
                  agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, \
                  agent_dropped, clock_skew_ms, truncated_transitions) \
                  select coalesce(max(node_id), 0) + 1, $1, $2, $3, $4, '', '', $5, $5, '', 0, $6, '', '', '', $5, $5, 0, 0, 0, 0, 0, 0, 0 \
                  from nodes where true on conflict (cluster, uid) do nothing";
    let query = sqlx::query(insert).bind(&identity.cluster).bind(&identity.uid).bind(&identity.name).bind(identity.origin.name());
    let query = query.bind(start.at).bind(Digest::EMPTY.to_string());
    query.execute(&mut *conn).await.map_err(StoreError::query("insert a node"))?;

    let select = "select node_id, session, epoch, seq, digest, state, whole_wanted <> 0 as whole_wanted from nodes \
                  where cluster = $1 and uid = $2";
    let query = sqlx::query_as(select).bind(&identity.cluster).bind(&identity.uid);
    let stored: Position = query.fetch_one(&mut *conn).await.map_err(StoreError::query("read a node"))?;
    let resume = Resume::decide(&stored, start);
    let session = stored.session.saturating_add(1);
    let epoch = epoch_text(start.epoch);
    let here = u64::try_from(stored.seq).ok().filter(|_| stored.epoch == epoch).unwrap_or(0);
    // In sync with another epoch, or while a snapshot is owed: the agent may never hear it, and then knows nothing of what is stored.
    let known = stored.epoch == epoch && resume != Resume::Full;
    let position = match (resume, start.sent) {
        (Resume::InSync | Resume::Delta, Some(sent)) => here.max(sent),
        _ => start.last_acked,
    };
    let epoch = if known { epoch } else { String::new() };
    let seq = if epoch.is_empty() { 0 } else { number(position) };
    let moved = stored.state != NodeState::Connected.name();
    let confirmed = if resume == Resume::InSync { start.at } else { 0 };
    let update = "update nodes set name = $2, origin = $3, session = $4, epoch = $5, seq = $6, agent_version = $7, catalogue_hash = $8, \
                  boot_id = $9, last_seen = $10, confirmed_at = max(confirmed_at, $11), state = 'connected', state_reason = '', \
                  holder_since = case when holder = $12 then holder_since else $10 end, holder = $12, \
                  state_since = case when state = 'connected' then state_since else $10 end where node_id = $1";
    let query = sqlx::query(update).bind(stored.node_id).bind(&identity.name).bind(identity.origin.name()).bind(session);
    let query = query.bind(epoch).bind(seq).bind(&start.agent_version).bind(&start.catalogue_hash).bind(&start.boot_id);
    query.bind(start.at).bind(confirmed).bind(&start.holder).execute(&mut *conn).await.map_err(StoreError::query("open a session"))?;

    delivery::opened(conn, stored.node_id, start, resume).await?;

    let mut log = Vec::new();
    if moved {
        log.push(changes::append(conn, start.at, stored.node_id, ChangeKind::Node, "connected").await?);
    }
    let opened = Opened { node_id: stored.node_id, session, resume, position, digest: parse_digest(&stored.digest)? };
    Ok((opened, log))
}

/// Writes states, each only when its session is still the newest and the state is new.
pub(super) async fn write_states(conn: &mut SqliteConnection, states: &[StateChange]) -> Result<Vec<Change>, StoreError> {
    let mut log = Vec::new();
    for change in states {
        let sql = "update nodes set state = $3, state_reason = $4, state_since = $5 where node_id = $1 and session = $2 and state <> $3";
        let query = sqlx::query(sql).bind(change.node_id).bind(change.session).bind(change.state.name()).bind(&change.reason);
        let done = query.bind(change.at).execute(&mut *conn).await.map_err(StoreError::query("write a node's state"))?;
        if done.rows_affected() > 0 {
            log.push(changes::append(conn, change.at, change.node_id, ChangeKind::Node, change.state.name()).await?);
        }
    }
    Ok(log)
}

/// Flushes heartbeats in one statement. PostgreSQL: `json_to_recordset` in place of `json_each`.
pub(super) async fn write_vitals(conn: &mut SqliteConnection, vitals: &[Vitals]) -> Result<(), StoreError> {
    let rows = super::ingest::json(vitals)?;
    let sql = "update nodes set last_seen = max(nodes.last_seen, v.last_seen), confirmed_at = max(nodes.confirmed_at, v.confirmed_at), \
               agent_rss = v.rss, agent_cpu_ms = v.cpu_ms, agent_queued = v.queued, agent_dropped = v.dropped, clock_skew_ms = v.skew_ms \
               from (select value ->> 'node_id' as node_id, value ->> 'session' as session, value ->> 'last_seen' as last_seen, \
               value ->> 'confirmed_at' as confirmed_at, value ->> 'rss' as rss, value ->> 'cpu_ms' as cpu_ms, \
               value ->> 'queued' as queued, value ->> 'dropped' as dropped, value ->> 'skew_ms' as skew_ms from json_each($1)) as v \
               where nodes.node_id = v.node_id and nodes.session = v.session";
    sqlx::query(sql).bind(&rows).execute(&mut *conn).await.map_err(StoreError::query("flush heartbeats"))?;
    delivery::clocks_measured(conn, &rows).await
}

impl Store {
    /// Every node with its session and state: what the registry starts from.
    pub async fn known_nodes(&self) -> Result<Vec<KnownNode>, StoreError> {
        let mut breaches = self.latest_breaches().await?;
        let sql = "select n.node_id, n.session, n.state, n.state_since, n.last_seen, n.clock_skew_ms, coalesce(d.clock_measured_at, 0), \
                   n.membership in ('listed', 'unwatchable') from nodes n left join delivery d on d.node_id = n.node_id \
                   order by n.node_id";
        let query = sqlx::query_as::<_, (i64, i64, String, i64, i64, i64, i64, bool)>(sql);
        let rows = query.fetch_all(&self.reader).await.map_err(StoreError::query("read nodes"))?;
        let known = rows.into_iter().map(|(node_id, session, state, since, last_seen, ahead_ms, at, listed)| {
            let state = NodeState::from_name(&state).ok_or_else(|| StoreError::Malformed {
                operation: "read nodes",
                problem: format!("node {node_id} has the unknown state `{state}`"),
            })?;
            let clock = (at > 0).then_some(Offset { ahead_ms, at });
            let breaches = breaches.remove(&node_id).unwrap_or_default();
            Ok(KnownNode { node_id, session, state, since, last_seen, clock, breaches, listed })
        });
        known.collect()
    }
}
