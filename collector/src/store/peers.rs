//! What agents met at other nodes' ports: the latest answer per target, address, port and vantage.
//!
//! Must not know who asks whom and when, or what an answer means.

use std::collections::BTreeSet;

use holdfast_checks::facts::ProbeOutcome;
use holdfast_checks::peers::{Refusal, outcome_name, outcome_of};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::nodes::NodeState;
use super::{Store, StoreError, changes};
use crate::changes::{Change, ChangeKind};

/// The stored word for a request that the agent did not make.
pub(super) const REFUSED_BY_AGENT: &str = "refused_by_agent";

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// The agent asked. The status is 0 unless it was answered.
    Asked(ProbeOutcome, i64),
    /// The agent did not ask.
    Refused(Refusal),
}

/// One answer to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAnswer {
    /// The node that was asked.
    pub node_id: i64,
    /// At which of its addresses.
    pub address: String,
    /// At which port.
    pub port: i64,
    /// For which path.
    pub path: String,
    /// Over TLS.
    pub tls: bool,
    /// The node whose agent asked.
    pub vantage_id: i64,
    /// What came of it.
    pub met: Met,
    /// Collector time, Unix milliseconds.
    pub at: i64,
    /// From then on it tells nothing any more, Unix milliseconds.
    pub stale_at: i64,
}

/// One answer as stored, with the name of the node whose agent asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// What was stored.
    pub answer: PeerAnswer,
    /// The vantage's name.
    pub vantage: String,
}

/// A node as peer probes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNode {
    /// The node.
    pub node_id: i64,
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// It has a session.
    pub connected: bool,
    /// Ports that its own inventory says listen beyond loopback, TCP.
    pub listening: BTreeSet<i64>,
    /// Its own inventory says that it belongs to the control plane.
    pub control_plane: bool,
}

impl FromRow<'_, SqliteRow> for StoredAnswer {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let outcome: String = row.try_get("outcome")?;
        let met = match outcome_of(&outcome) {
            Some(outcome) => Met::Asked(outcome, row.try_get("status")?),
            None => Met::Refused(Refusal::of(&row.try_get::<String, _>("refusal")?)),
        };
        let answer = PeerAnswer {
            node_id: row.try_get("node_id")?,
            address: row.try_get("address")?,
            port: row.try_get("port")?,
            path: row.try_get("path")?,
            tls: row.try_get::<i64, _>("tls")? != 0,
            vantage_id: row.try_get("vantage_id")?,
            met,
            at: row.try_get("at")?,
            stale_at: row.try_get("stale_at")?,
        };
        Ok(Self { answer, vantage: row.try_get("vantage")? })
    }
}

impl Store {
    /// Stores answers in one transaction. Returns the changes to publish: one for each target about which something new was said.
    pub async fn write_peer_answers(&self, answers: &[PeerAnswer]) -> Result<Vec<Change>, StoreError> {
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let mut moved = BTreeSet::new();
        for answer in answers {
            if write(&mut transaction, answer).await? {
                moved.insert((answer.node_id, answer.at));
            }
        }
        let mut log = Vec::with_capacity(moved.len());
        for (node_id, at) in moved {
            log.push(changes::append(&mut transaction, at, node_id, ChangeKind::Inventory, "peers").await?);
        }
        transaction.commit().await.map_err(StoreError::query("commit peers' answers"))?;
        Ok(log)
    }

    /// Every answer about a node's ports, in key order.
    pub async fn peer_answers(&self, node_id: i64) -> Result<Vec<StoredAnswer>, StoreError> {
        let select = "select p.*, v.name as vantage from peer_probes p join nodes v on v.node_id = p.vantage_id \
                      where p.node_id = $1 order by p.port, p.address, v.name, p.vantage_id";
        sqlx::query_as(select).bind(node_id).fetch_all(&self.reader).await.map_err(StoreError::query("read peers' answers"))
    }

    /// The nodes that peers were asked about.
    pub async fn nodes_with_peer_answers(&self) -> Result<BTreeSet<i64>, StoreError> {
        let select = "select distinct node_id from peer_probes";
        let ids: Vec<i64> = sqlx::query_scalar(select).fetch_all(&self.reader).await.map_err(StoreError::query("read peers' targets"))?;
        Ok(ids.into_iter().collect())
    }

    /// Nodes that are not gone, or the one asked for, with what of their inventory decides whom to ask about what.
    pub async fn peer_nodes(&self, only: Option<i64>) -> Result<Vec<PeerNode>, StoreError> {
        let failed = StoreError::query("read nodes for peer probes");
        let select = "select n.node_id, n.cluster, n.name, n.state, coalesce((select json from inventory i where i.node_id = n.node_id \
                      and i.kind = 'node' and i.name = 'self'), '{}') as self from nodes n \
                      where n.state <> 'gone' and n.origin = 'agent' and ($1 is null or n.node_id = $1) order by n.node_id";
        let rows =
            sqlx::query_as::<_, (i64, String, String, String, String)>(select).bind(only).fetch_all(&self.reader).await.map_err(&failed)?;
        let mut nodes = Vec::with_capacity(rows.len());
        for (node_id, cluster, name, state, json) in rows {
            let says: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
            let control_plane = says.get("role").and_then(serde_json::Value::as_str) == Some("control-plane");
            let connected = state == NodeState::Connected.name();
            nodes.push(PeerNode { node_id, cluster, name, connected, listening: BTreeSet::new(), control_plane });
        }
        // Two statements, because one for both would read every node's listeners for each node that changes.
        let select = match only {
            Some(_) => "select node_id, json from inventory where node_id = $1 and kind = 'listener' and name like 'tcp/%'",
            None => "select node_id, json from inventory where $1 is null and kind = 'listener' and name like 'tcp/%'",
        };
        let rows = sqlx::query_as::<_, (i64, String)>(select).bind(only).fetch_all(&self.reader).await.map_err(&failed)?;
        let mut listening: std::collections::BTreeMap<i64, BTreeSet<i64>> = std::collections::BTreeMap::new();
        for (node_id, json) in rows {
            let Ok(says) = serde_json::from_str::<serde_json::Value>(&json) else { continue };
            let port =
                says.get("port").and_then(serde_json::Value::as_i64).filter(|port| holdfast_checks::peers::question(*port).is_some());
            if let Some(port) = port.filter(|_| says.get("scope").and_then(serde_json::Value::as_str) != Some("loopback")) {
                listening.entry(node_id).or_default().insert(port);
            }
        }
        for node in &mut nodes {
            node.listening = listening.remove(&node.node_id).unwrap_or_default();
        }
        Ok(nodes)
    }
}

/// Stores one answer; `true` when it says something else than the one before. Nodes that are not there any more get none.
async fn write(conn: &mut SqliteConnection, answer: &PeerAnswer) -> Result<bool, StoreError> {
    let failed = StoreError::query("write a peer's answer");
    let (outcome, refusal, status) = match answer.met {
        Met::Asked(outcome, status) => (outcome_name(outcome), "", status),
        Met::Refused(refusal) => (REFUSED_BY_AGENT, refusal.name(), 0),
    };
    let select =
        "select outcome, refusal, status, stale_at from peer_probes where node_id = $1 and address = $2 and port = $3 and vantage_id = $4";
    let query = sqlx::query_as::<_, (String, String, i64, i64)>(select).bind(answer.node_id).bind(&answer.address);
    let before = query.bind(answer.port).bind(answer.vantage_id).fetch_optional(&mut *conn).await.map_err(&failed)?;
    let insert = "insert into peer_probes (node_id, address, port, vantage_id, path, tls, outcome, refusal, status, at, stale_at) \
                  select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 where exists (select 1 from nodes where node_id = $1) \
                  and exists (select 1 from nodes where node_id = $4) \
                  on conflict (node_id, address, port, vantage_id) do update set path = excluded.path, tls = excluded.tls, \
                  outcome = excluded.outcome, refusal = excluded.refusal, status = excluded.status, at = excluded.at, \
                  stale_at = excluded.stale_at";
    let query = sqlx::query(insert).bind(answer.node_id).bind(&answer.address).bind(answer.port).bind(answer.vantage_id);
    let query = query.bind(&answer.path).bind(i64::from(answer.tls)).bind(outcome).bind(refusal).bind(status);
    let written = query.bind(answer.at).bind(answer.stale_at).execute(&mut *conn).await.map_err(&failed)?.rows_affected() > 0;
    let same =
        before.is_some_and(|before| (before.0.as_str(), before.1.as_str(), before.2) == (outcome, refusal, status) && before.3 > answer.at);
    Ok(written && !same)
}
