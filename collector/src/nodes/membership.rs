//! Nodes beside the Node objects of the followed cluster: a Node object nobody speaks for, a node nobody lists, and one that was deleted.
//!
//! [`Watch`] is pure: Node objects, stored nodes and the time go in, what to write comes out. [`keep`] feeds it, by difference and one
//! transaction a round, however many nodes move. While the API server is away, or has not listed its nodes yet, nothing is concluded, and
//! waiting starts anew once it is back: agents cannot prove who they are meanwhile. Must not know checks or pages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Registry;
use crate::alerts::Clock;
use crate::changes::{ChangeFeed, ChangeKind};
use crate::cluster::{Cluster, NodeObject};
use crate::ingest::session::Moment;
use crate::logs::cause;
use crate::store::membership::{Arrived, Difference, Member, Membership, Moved};
use crate::store::nodes::{NodeState, StateChange};
use crate::store::{Store, StoreError};

/// States written in one round: a cluster that is deleted at once takes a few.
const STATES: usize = 1000;
/// A round takes at most a tenth of the time, however often nodes move.
const REST: u32 = 9;

/// How long things may take before something is concluded from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// From a Node object, seen by this collector, to its agent, in milliseconds: an image is pulled, a taint goes.
    pub agent_ms: i64,
    /// From an agent to its Node object, in milliseconds: a watch may be behind.
    pub object_ms: i64,
    /// How often time alone is looked at.
    pub tick: Duration,
    /// The least time between two rounds.
    pub pace: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { agent_ms: 300_000, object_ms: 120_000, tick: Duration::from_secs(10), pace: Duration::from_secs(1) }
    }
}

impl Waiting {
    /// For an agent for so many milliseconds; for a Node object no longer.
    pub fn after(agent_ms: i64) -> Self {
        let usual = Self::default();
        Self { agent_ms, object_ms: usual.object_ms.min(agent_ms), ..usual }
    }
}

/// Who has been waited for, since when by a clock that nobody sets: an hour forward is nobody's absence.
#[derive(Debug, Default)]
pub struct Watch {
    waiting: Waiting,
    /// Node objects without a row, by uid: since when they are known.
    arriving: BTreeMap<String, u64>,
    /// Nodes without a Node object, since when.
    missing: BTreeMap<i64, u64>,
}

impl Watch {
    /// Nobody is waited for yet.
    pub fn new(waiting: Waiting) -> Self {
        Self { waiting, ..Self::default() }
    }

    /// Forgets since when: the API server is away.
    pub fn pause(&mut self) {
        self.arriving.clear();
        self.missing.clear();
    }

    /// What has to be written `now`, with every Node object in `objects` and every stored node in `members`.
    pub fn compare(&mut self, objects: &[NodeObject], members: &[Member], now: Moment) -> Difference {
        let waited = |since: u64, ms: i64| i64::try_from(now.mono_ms.saturating_sub(since)).unwrap_or(i64::MAX) >= ms;
        let by_uid: BTreeMap<&str, &NodeObject> = objects.iter().map(|object| (object.uid.as_str(), object)).collect();
        let known: BTreeSet<&str> = members.iter().map(|member| member.uid.as_str()).collect();
        let mut difference = Difference::default();
        self.arriving.retain(|uid, _| by_uid.contains_key(uid.as_str()) && !known.contains(uid.as_str()));
        for object in objects.iter().filter(|object| !known.contains(object.uid.as_str())) {
            let since = *self.arriving.entry(object.uid.clone()).or_insert(now.mono_ms);
            // Where none can run nobody is waited for.
            if object.unwatchable.is_some() || waited(since, self.waiting.agent_ms) {
                difference.arrived.push(arrived(object));
            }
        }
        let mut missing = BTreeMap::new();
        for member in members {
            let object = by_uid.get(member.uid.as_str()).copied();
            if object.is_none() && member.state != NodeState::Gone {
                missing.insert(member.node_id, self.missing.get(&member.node_id).copied().unwrap_or(now.mono_ms));
            }
            let missed = missing.get(&member.node_id).is_some_and(|since| waited(*since, self.waiting.object_ms));
            let membership = membership(member, object, missed);
            let unwatchable = object.and_then(|object| object.unwatchable).unwrap_or_default();
            if membership != member.membership || membership.listed() && unwatchable != member.unwatchable {
                difference.moved.push(Moved { node_id: member.node_id, membership, unwatchable: unwatchable.to_owned() });
            }
            if difference.states.len() < STATES
                && let Some((state, reason)) = state(member, object, membership)
            {
                let (node_id, session) = (member.node_id, member.session);
                difference.states.push(StateChange { node_id, session, state, reason, at: now.wall_ms });
            }
        }
        self.missing = missing;
        difference
    }
}

fn arrived(object: &NodeObject) -> Arrived {
    let unwatchable = object.unwatchable.unwrap_or_default();
    let (membership, reason) = match object.unwatchable {
        Some(why) => (Membership::Unwatchable, format!("no agent can run here: {why}")),
        None => (Membership::Listed, NO_AGENT.to_owned()),
    };
    Arrived { uid: object.uid.clone(), name: object.name.clone(), unwatchable: unwatchable.to_owned(), reason, membership }
}

const NO_AGENT: &str = "there is a Node object, and no agent has spoken for it";

/// What the node's membership is now. Without an object, one that has a session is given time: a watch may be behind.
fn membership(member: &Member, object: Option<&NodeObject>, waited: bool) -> Membership {
    match (object, member.membership) {
        (Some(object), _) if object.unwatchable.is_some() => Membership::Unwatchable,
        (Some(_), _) => Membership::Listed,
        (None, Membership::Listed | Membership::Unwatchable) if waited || member.state != NodeState::Connected => Membership::Deleted,
        (None, Membership::Unknown) if waited => Membership::Absent,
        (None, as_it_was) => as_it_was,
    }
}

/// The state that follows, and why; `None`: as it is.
fn state(member: &Member, object: Option<&NodeObject>, membership: Membership) -> Option<(NodeState, String)> {
    match (member.state, object) {
        (NodeState::Silent | NodeState::Stopped | NodeState::Unwatched, None) if membership == Membership::Deleted => {
            Some((NodeState::Gone, "its Node object was deleted".to_owned()))
        }
        (NodeState::Gone, Some(_)) if member.spoke => Some((NodeState::Silent, "its Node object is there, its agent is not".to_owned())),
        (NodeState::Gone, Some(object)) => Some((NodeState::Unwatched, arrived(object).reason)),
        _ => None,
    }
}

/// What the task works with.
pub struct Keeping {
    /// The followed cluster.
    pub cluster: Arc<Cluster>,
    /// Where nodes are.
    pub store: Store,
    /// Who hears of changes, and tells of sessions.
    pub changes: ChangeFeed,
    /// The live registry.
    pub registry: Arc<Registry>,
    /// Unix milliseconds.
    pub clock: Clock,
    /// Milliseconds since some time or other, by a clock that nobody sets.
    pub elapsed: Clock,
    /// How long things may take.
    pub waiting: Waiting,
}

/// Keeps stored nodes up with the Node objects until `cancel`. A store that fails is tried again.
pub async fn keep(keeping: Keeping, cancel: CancellationToken) {
    let Waiting { tick, pace, .. } = keeping.waiting;
    let mut watch = Watch::new(keeping.waiting);
    let (mut objects_moved, mut feed) = (keeping.cluster.follow(), keeping.changes.follow());
    let mut last: Option<Vec<NodeObject>> = None;
    let mut failing = false;
    loop {
        let began = Instant::now();
        objects_moved.mark_unchanged();
        let outcome = tokio::select! { () = cancel.cancelled() => return, outcome = keeping.round(&mut watch) => outcome };
        match &outcome {
            Err(error) if !failing => tracing::error!(error = cause(error), "Node objects cannot be compared; it is tried again"),
            Ok(_) if failing => tracing::info!("Node objects are compared again"),
            _ => {}
        }
        failing = outcome.is_err();
        if let Ok(objects) = outcome {
            last = objects;
        }
        let rest = pace.max(began.elapsed().saturating_mul(REST));
        tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(rest) => {} }
        let until = began + tick.max(rest);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(until) => break,
                // Its sender lives as long as the cluster does, which is here. Node objects change all the time in what does not matter.
                Ok(()) = objects_moved.changed() => {
                    if keeping.seen() != last { break }
                    tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(pace) => {} }
                }
                heard = feed.recv() => match heard {
                    Ok(change) if change.kind == ChangeKind::Node => break,
                    Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

impl Keeping {
    /// Every Node object, in what matters here; `None`: nothing may be concluded.
    fn seen(&self) -> Option<Vec<NodeObject>> {
        if !self.cluster.listed() || self.cluster.away().is_some() {
            return None;
        }
        let essence = |node: NodeObject| NodeObject { addresses: Vec::new(), zone: String::new(), created_at: 0, ..node };
        Some(self.cluster.nodes().into_iter().map(essence).collect())
    }

    /// Compares once, and returns by what.
    async fn round(&self, watch: &mut Watch) -> Result<Option<Vec<NodeObject>>, StoreError> {
        let Some(objects) = self.seen() else {
            watch.pause();
            return Ok(None);
        };
        let members = self.store.members(self.cluster.name()).await?;
        self.registry.members(&members);
        let mono_ms = u64::try_from((self.elapsed)()).unwrap_or_default();
        let now = Moment { mono_ms, wall_ms: (self.clock)() };
        let difference = watch.compare(&objects, &members, now);
        if !difference.is_empty() {
            let changes = self.store.write_membership(self.cluster.name(), &difference, now.wall_ms).await?;
            self.registry.members(&self.store.members(self.cluster.name()).await?);
            self.registry.settle(&difference.states);
            for change in changes {
                self.changes.publish(change);
            }
        }
        Ok(Some(objects))
    }
}

#[cfg(test)]
mod tests;
