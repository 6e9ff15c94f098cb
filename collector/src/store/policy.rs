//! What agents made of policies: the last word of each node.
//!
//! Must not know which policy is wanted now, or what one says.

use sqlx::SqliteConnection;

use super::{Store, StoreError, changes};
use crate::changes::{Change, ChangeKind};

/// A session's word about its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyNote {
    /// The node.
    pub node_id: i64,
    /// The session it was said in: an older session's word does not count.
    pub session: i64,
    /// The policy it is about, hex; empty for "none any more".
    pub hash: String,
    /// The policy in force on the node, hex; empty for none.
    pub held: String,
    /// `applied`, `refused`, `pending` or `unsupported`.
    pub state: &'static str,
    /// What the agent said; `None`: nothing since, so that what it said before stands.
    pub reason: Option<String>,
    /// Collector time, Unix milliseconds.
    pub at: i64,
}

/// The last word of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredPolicy {
    /// See [`PolicyNote::hash`].
    pub hash: String,
    /// See [`PolicyNote::held`].
    pub held: String,
    /// See [`PolicyNote::state`].
    pub state: String,
    /// What the agent said.
    pub reason: String,
    /// Since when it stands so, Unix milliseconds.
    pub since: i64,
}

/// Nodes of a cluster that said the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCount {
    /// The cluster.
    pub cluster: String,
    /// Policy and state; `None`: nothing was ever said.
    pub stored: Option<(String, String)>,
    /// How many.
    pub nodes: i64,
}

impl Store {
    /// Stores words of nodes in one transaction. Returns the changes to publish: one for each node that stands otherwise now.
    pub async fn write_policy_notes(&self, notes: &[PolicyNote]) -> Result<Vec<Change>, StoreError> {
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let mut log = Vec::new();
        for note in notes {
            if write(&mut transaction, note).await? {
                log.push(changes::append(&mut transaction, note.at, note.node_id, ChangeKind::Node, "policy").await?);
            }
        }
        transaction.commit().await.map_err(StoreError::query("commit what agents made of policies"))?;
        Ok(log)
    }

    /// How many nodes that are not gone said what.
    pub async fn policy_counts(&self) -> Result<Vec<PolicyCount>, StoreError> {
        super::views::policy_counts(&self.reader).await.map_err(StoreError::query("count nodes by policy"))
    }
}

/// Stores one word, if its session is still the newest; `true` when the node stands otherwise than before.
async fn write(conn: &mut SqliteConnection, note: &PolicyNote) -> Result<bool, StoreError> {
    let failed = StoreError::query("write what an agent made of a policy");
    if note.hash.is_empty() && note.held.is_empty() {
        // Nothing is wanted and nothing is held: as if there had never been a policy.
        let sql = "delete from policy_status where node_id = $1 and exists (select 1 from nodes where node_id = $1 and session = $2)";
        let query = sqlx::query(sql).bind(note.node_id).bind(note.session);
        return Ok(query.execute(conn).await.map_err(&failed)?.rows_affected() > 0);
    }
    let sql = "insert into policy_status (node_id, hash, held, state, reason, since) select $1, $2, $3, $4, coalesce($5, ''), $6 \
               where exists (select 1 from nodes where node_id = $1 and session = $7) \
               on conflict (node_id) do update set hash = excluded.hash, held = excluded.held, state = excluded.state, \
               reason = case when $5 is null and policy_status.hash = excluded.hash and policy_status.state = excluded.state \
               then policy_status.reason else excluded.reason end, \
               since = case when policy_status.hash = excluded.hash and policy_status.state = excluded.state \
               then policy_status.since else excluded.since end \
               where policy_status.hash <> excluded.hash or policy_status.held <> excluded.held or policy_status.state <> excluded.state \
               or ($5 is not null and policy_status.reason <> excluded.reason)";
    let query = sqlx::query(sql).bind(note.node_id).bind(&note.hash).bind(&note.held).bind(note.state).bind(note.reason.as_deref());
    let done = query.bind(note.at).bind(note.session).execute(conn).await.map_err(&failed)?;
    Ok(done.rows_affected() > 0)
}
