//! Nodes beside the Node objects of their cluster: which of them exist there, and rows for those that exist and have no agent.
//!
//! Must not know the API server or time; `nodes::membership` decides.

use serde::Serialize;

use super::nodes::{NodeState, StateChange, write_states};
use super::{Store, StoreError, changes};
use crate::changes::{Change, ChangeKind};

/// So many nodes are told of one by one; beyond that everybody reads everything again.
const TOLD: usize = 100;

/// Is there a Node object with a node's uid, as was known last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// Not known, or not yet.
    #[default]
    #[serde(rename = "")]
    Unknown,
    /// There is, and an agent is expected.
    Listed,
    /// There is, and no agent can run there.
    Unwatchable,
    /// There is none, and there never was.
    Absent,
    /// There was one.
    Deleted,
}

impl Membership {
    const ALL: [Self; 5] = [Self::Unknown, Self::Listed, Self::Unwatchable, Self::Absent, Self::Deleted];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Listed => "listed",
            Self::Unwatchable => "unwatchable",
            Self::Absent => "absent",
            Self::Deleted => "deleted",
        }
    }

    /// Reads the stored name. What no version wrote is not known.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|membership| membership.name() == name).unwrap_or_default()
    }

    /// Is there a Node object.
    pub fn listed(self) -> bool {
        matches!(self, Self::Listed | Self::Unwatchable)
    }
}

/// A node of a cluster, as far as its Node object matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node_id: i64,
    /// Its uid.
    pub uid: String,
    /// Its newest session.
    pub session: i64,
    /// Its state.
    pub state: NodeState,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// Did an agent ever speak for it.
    pub spoke: bool,
    /// What is stored of its Node object.
    pub membership: Membership,
    /// Why no agent can run there; empty where one is expected.
    pub unwatchable: String,
}

/// A Node object without a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrived {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Why no agent can run there; empty where one is expected.
    pub unwatchable: String,
    /// What to say of its state.
    pub reason: String,
    /// `listed` or `unwatchable`.
    pub membership: Membership,
}

/// A node whose Node object came, went or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The node.
    pub node_id: i64,
    /// As it is now.
    pub membership: Membership,
    /// Why no agent can run there; empty where one is expected.
    pub unwatchable: String,
}

/// What makes the store say what the API server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Nodes to make rows for.
    pub arrived: Vec<Arrived>,
    /// Nodes to change.
    pub moved: Vec<Moved>,
    /// States that follow.
    pub states: Vec<StateChange>,
}

impl Difference {
    /// Is there nothing to write.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty() && self.moved.is_empty() && self.states.is_empty()
    }
}

impl Store {
    /// The nodes of `cluster` that are no recordings.
    pub async fn members(&self, cluster: &str) -> Result<Vec<Member>, StoreError> {
        let select = "select node_id, uid, session, state, state_since, last_seen > 0, membership, unwatchable from nodes \
                      where cluster = $1 and origin <> 'recorded' order by node_id";
        let query = sqlx::query_as::<_, (i64, String, i64, String, i64, bool, String, String)>(select).bind(cluster);
        let rows = query.fetch_all(&self.reader).await.map_err(StoreError::query("read the nodes of a cluster"))?;
        let members = rows.into_iter().filter_map(|(node_id, uid, session, state, since, spoke, membership, unwatchable)| {
            let (state, membership) = (NodeState::from_name(&state)?, Membership::from_name(&membership));
            Some(Member { node_id, uid, session, state, since, spoke, membership, unwatchable })
        });
        Ok(members.collect())
    }

    /// Writes what `cluster` differs in, in one transaction and one statement a table whatever their number; returns what to publish.
    ///
    /// A node whose agent opened a session meanwhile keeps its row and its state: states are fenced, and a row is made only where there
    /// is none.
    pub async fn write_membership(&self, cluster: &str, difference: &Difference, at: i64) -> Result<Vec<Change>, StoreError> {
        let failed = StoreError::query("write which nodes exist");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(&failed)?;
        let mut log = Vec::new();
        // The session starts at the time, as that of a node which comes by itself: above that of a deleted node whose number it gets.
        let insert = "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
                      agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, \
                      agent_dropped, clock_skew_ms, truncated_transitions, membership, membership_since, unwatchable) \
                      select (select coalesce(max(node_id), 0) from nodes) + row_number() over (), $1, value ->> 'uid', value ->> 'name', \
                      'agent', 'unwatched', value ->> 'reason', $2, $2, '', 0, $3, '', '', '', $2, 0, 0, 0, 0, 0, 0, 0, 0, \
                      value ->> 'membership', $2, value ->> 'unwatchable' \
                      from json_each($4) where true on conflict (cluster, uid) do nothing returning node_id";
        let arrived: Vec<i64> = sqlx::query_scalar(insert)
            .bind(cluster)
            .bind(at)
            .bind(holdfast_checks::entries::Digest::EMPTY.to_string())
            .bind(super::ingest::json(&difference.arrived)?)
            .fetch_all(&mut *transaction)
            .await
            .map_err(&failed)?;
        let update = "update nodes set membership = v.membership, membership_since = $1, unwatchable = v.unwatchable \
                      from (select value ->> 'node_id' as node_id, value ->> 'membership' as membership, \
                      value ->> 'unwatchable' as unwatchable from json_each($2)) as v where nodes.node_id = v.node_id";
        let update = sqlx::query(update).bind(at).bind(super::ingest::json(&difference.moved)?);
        update.execute(&mut *transaction).await.map_err(&failed)?;
        let moved: Vec<i64> = difference.moved.iter().map(|moved| moved.node_id).collect();
        for (nodes, summary) in [(arrived, "unwatched"), (moved, "membership")] {
            let told = if nodes.len() > TOLD { vec![0] } else { nodes };
            for node_id in told {
                log.push(changes::append(&mut transaction, at, node_id, ChangeKind::Node, summary).await?);
            }
        }
        log.extend(write_states(&mut transaction, &difference.states).await?);
        transaction.commit().await.map_err(&failed)?;
        Ok(log)
    }
}
