//! How delivery from a node goes: its session, what its agent says of itself, what was refused, how far its clock is off.

use std::collections::BTreeMap;

use holdfast_checks::facts::SpoolKind;
use holdfast_checks::inventory::{AgentDocument, PrivilegesDocument, kinds};
use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::At;
use super::nodes::NodeRow;
use super::{ViewError, Views, failed};
use crate::store::ingest::RefusalCode;

/// The most hours of breaches listed.
const MOST_BREACHES: i64 = 24;
/// The most refused entries listed.
const MOST_REFUSED: i64 = 50;

/// How delivery from a node goes.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct NodeDelivery {
    /// The session that is open, or was last; `null` where none was noted.
    pub session: Option<SessionRow>,
    /// Who speaks for the node: how its agent last proved who it is; `null` where none did, or an earlier version did not note it.
    pub holder: Option<HolderRow>,
    /// What was refused of whoever had the node's credentials or wanted its session, newest hour first, up to 24.
    pub breaches: Vec<BreachedRow>,
    /// The last change of what is stored of the node; `null` before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_change_at: At,
    /// Last time both sides were seen to hold the same; `null` before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirmed_at: At,
    /// The agent's account of where it keeps state and history; `null` where it gives none.
    pub spool: Option<SpoolRow>,
    /// What the agent may do on the node, as it tried on itself when it started; `null` where it did not say.
    pub privileges: Option<PrivilegesRow>,
    /// The node's clock beside the collector's; `null` when it was never measured.
    pub clock: Option<ClockRow>,
    /// Entries and transitions that waited in the agent at its last heartbeat.
    pub queued: i64,
    /// What the agent has dropped since it started because a queue was full, by its last heartbeat.
    pub dropped: i64,
    /// How many entries the collector does not store.
    pub refused_total: i64,
    /// The newest of them, up to 50.
    pub refused: Vec<RefusedRow>,
    /// Transitions that are not in the history: the node was away for too long, or told more than is kept.
    pub truncated_transitions: i64,
    /// Findings that change more often than they are told; `null` where the agent does not say.
    pub flapping: Option<i64>,
    /// The agent's resident memory in bytes, by its last heartbeat.
    pub agent_rss: i64,
    /// CPU time the agent has used since it started, in milliseconds, by its last heartbeat.
    pub agent_cpu_ms: i64,
}

/// Who speaks for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HolderRow {
    /// `pod`, `enrolment` or `token`.
    pub credential: String,
    /// The uid of the pod, or of the enrolled machine; empty for a token.
    pub id: String,
    /// Since when it is the same.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: At,
}

/// What was refused in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BreachedRow {
    /// `duplicate` (another agent came while the node's own was there), `alternation` (two machines came in turns with the same
    /// credentials) or `foreign_write` (something was said of another node, or of what only the collector judges).
    pub kind: String,
    /// How many in this hour.
    pub n: i64,
    /// The last of them.
    pub last: String,
    /// When that was.
    #[schema(value_type = String, format = DateTime)]
    pub at: At,
}

/// A session and the epochs before it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SessionRow {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: At,
    /// How both sides were brought together: `in_sync` (nothing was sent), `delta` (what had changed), `full` (everything).
    pub resumed: String,
    /// Since when the agent counts from what it counts from now: it begins anew when it lost its spool, or keeps none and restarts.
    #[schema(value_type = String, format = DateTime)]
    pub epoch_since: At,
    /// How often it began anew.
    pub epoch_changes: i64,
}

/// Where an agent keeps what is not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SpoolRow {
    /// `file` or `memory`.
    #[schema(value_type = String)]
    pub kind: SpoolKind,
    /// The file; empty when the agent was given no directory.
    pub path: String,
    /// Why not in the file: `not_configured`, `disk_full`, `read_only`, `permission_denied`, `in_use`, `too_large`, `io`; empty for a file.
    pub reason: String,
    /// The same for a person.
    pub detail: String,
    /// When a file that would not open was last set aside; `null` when none was since the agent started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub recreated_at: At,
    /// What was wrong with it.
    pub recreated_because: String,
    /// Where it is.
    pub set_aside: String,
}

/// What an agent may do on its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PrivilegesRow {
    /// Its effective uid.
    pub uid: i64,
    /// Its effective capabilities.
    pub capabilities: Vec<String>,
    /// What it would use and does not have: `CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`, `host_pid`, `host_network`, `host_files`.
    pub lacks: Vec<String>,
    /// How many things it tried that it must not be able to do.
    pub attempts: i64,
    /// Those that were not refused.
    pub worked: Vec<String>,
}

/// A clock beside the collector's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClockRow {
    /// Milliseconds by which it is ahead; negative when behind.
    pub ahead_ms: i64,
    /// When that was measured last.
    #[schema(value_type = String, format = DateTime)]
    pub measured_at: At,
}

/// An entry that is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RefusedRow {
    /// Its key as it was sent.
    pub key: String,
    /// `malformed`, `too_large`, `quota` or `foreign` (about another node, or for the collector alone to judge).
    pub code: &'static str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: At,
}

impl Views {
    /// How delivery from `node` goes.
    pub async fn delivery(&self, node: &NodeRow) -> Result<NodeDelivery, ViewError> {
        let sql = "select n.holder, n.holder_since, n.agent_queued, n.agent_dropped, n.agent_cpu_ms, d.opened_at, d.resume, d.epoch_since, d.epochs, \
                   d.clock_measured_at, (select count(*) from refused r where r.node_id = n.node_id) as refused, \
                   max(coalesce((select max(f.updated_at) from findings f where f.node_id = n.node_id and f.origin = 'node'), 0), \
                   coalesce((select max(i.changed_at) from inventory i where i.node_id = n.node_id), 0)) as changed \
                   from nodes n left join delivery d on d.node_id = n.node_id where n.node_id = $1";
        let row = sqlx::query(sql).bind(node.node_id).fetch_one(&self.reader).await.map_err(failed("read a node's delivery"))?;
        let session = row.get::<Option<i64>, _>("opened_at").map(|since| SessionRow {
            since: At(since),
            resumed: row.get("resume"),
            epoch_since: At(row.get("epoch_since")),
            epoch_changes: row.get::<i64, _>("epochs").saturating_sub(1),
        });
        let measured_at = row.get::<Option<i64>, _>("clock_measured_at").filter(|at| *at > 0);
        let agent = self.inventory(node, kinds::AGENT).await?;
        let agent: Option<AgentDocument> = agent.into_iter().next().and_then(|row| serde_json::from_value(row.document).ok());
        let holder: String = row.get("holder");
        let (credential, id) = holder.split_once(':').unwrap_or((&holder, ""));
        let since = At(row.get("holder_since"));
        Ok(NodeDelivery {
            holder: (!holder.is_empty()).then(|| HolderRow { credential: credential.to_owned(), id: id.to_owned(), since }),
            breaches: self.breaches(node).await?,
            session,
            last_change_at: At(row.get("changed")),
            confirmed_at: node.confirmed_at,
            clock: measured_at.map(|at| ClockRow { ahead_ms: node.clock_skew_ms, measured_at: At(at) }),
            queued: row.get("agent_queued"),
            dropped: row.get("agent_dropped"),
            refused_total: row.get("refused"),
            refused: self.refused(node).await?,
            truncated_transitions: node.truncated_transitions,
            flapping: agent.as_ref().map(|agent| agent.flapping),
            privileges: agent.as_ref().and_then(|agent| agent.privileges.clone()).map(privileges),
            spool: agent.map(spool),
            agent_rss: node.agent_rss,
            agent_cpu_ms: row.get("agent_cpu_ms"),
        })
    }

    async fn breaches(&self, node: &NodeRow) -> Result<Vec<BreachedRow>, ViewError> {
        let sql = "select kind, n, detail, at from breaches where node_id = $1 order by at desc, kind limit $2";
        let query = sqlx::query(sql).bind(node.node_id).bind(MOST_BREACHES);
        let rows = query.fetch_all(&self.reader).await.map_err(failed("read what was refused of a node"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| BreachedRow {
            kind: row.get("kind"),
            n: row.get("n"),
            last: row.get("detail"),
            at: At(row.get("at")),
        };
        Ok(rows.iter().map(read).collect())
    }

    async fn refused(&self, node: &NodeRow) -> Result<Vec<RefusedRow>, ViewError> {
        let sql = "select key, code, at from refused where node_id = $1 order by at desc, kind, key limit $2";
        let query = sqlx::query(sql).bind(node.node_id).bind(MOST_REFUSED);
        let rows = query.fetch_all(&self.reader).await.map_err(failed("read refused entries"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| RefusedRow {
            key: row.get("key"),
            code: RefusalCode::of(row.get("code")).map_or("unknown", RefusalCode::name),
            at: At(row.get("at")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// What is remarkable in the delivery of each of `nodes`, in their order: mostly nothing.
    pub async fn remarks(&self, nodes: &[NodeRow]) -> Result<Vec<Remarks>, ViewError> {
        let mut found = BTreeMap::new();
        for chunk in nodes.chunks(500) {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
                "select n.node_id, (select count(*) from refused r where r.node_id = n.node_id) as refused, \
                 i.json ->> 'spool' = 'memory' as memory from nodes n left join inventory i on i.node_id = n.node_id and i.kind = ",
            );
            query.push_bind(kinds::AGENT).push(" and i.name = 'self' and json_valid(i.json) where n.node_id in (");
            let mut list = query.separated(", ");
            for node in chunk {
                list.push_bind(node.node_id);
            }
            query.push(")");
            for row in query.build().fetch_all(&self.reader).await.map_err(failed("read nodes' delivery"))? {
                let remarks =
                    Remarks { refused: row.get("refused"), in_memory: row.get::<Option<i64>, _>("memory") == Some(1), truncated: 0 };
                found.insert(row.get::<i64, _>("node_id"), remarks);
            }
        }
        let of =
            |node: &NodeRow| Remarks { truncated: node.truncated_transitions, ..found.get(&node.node_id).copied().unwrap_or_default() };
        Ok(nodes.iter().map(of).collect())
    }
}

/// What is remarkable in a node's delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Entries that are not stored.
    pub refused: i64,
    /// Its agent keeps no file.
    pub in_memory: bool,
    /// Transitions that are missing from its history.
    pub truncated: i64,
}

fn privileges(tested: PrivilegesDocument) -> PrivilegesRow {
    let PrivilegesDocument { uid, capabilities, lacks, attempts, worked } = tested;
    PrivilegesRow { uid, capabilities, lacks, attempts, worked }
}

fn spool(agent: AgentDocument) -> SpoolRow {
    let (recreated_at, recreated_because, set_aside) = match agent.recreated {
        Some(anew) => (At(anew.at), anew.because, anew.set_aside),
        None => (At(0), String::new(), String::new()),
    };
    let AgentDocument { spool: kind, path, reason, detail, .. } = agent;
    SpoolRow { kind, path, reason, detail, recreated_at, recreated_because, set_aside }
}
