//! The live registry: which node has a session, since when it is quiet, and what its agent last said of itself. Beside it `holders`:
//! who may have a node's session; and `breaches`: what was refused of whoever has it, or wanted it.
//!
//! Memory only, flushed by [`keeper`]; at start every node that was connected is given time to come back. States follow
//! from what was heard: connected, stopped after a good-bye, silent after the grace or where nobody comes back, gone after a day. [`membership`] knows of the
//! Node objects, and which of them nobody speaks for. Must not know
//! streams or SQL; the moment is passed in.

mod breaches;
mod clock;
mod holders;
pub mod keeper;
pub mod membership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ingest::session::Moment;
use crate::metrics::AgentTotals;
use crate::store::membership::Member;
use crate::store::nodes::{KnownNode, NodeState, StateChange, Vitals};
use breaches::Breaches;
pub(crate) use breaches::HOUR_MS;
pub use breaches::{Admission, Breach, BreachRow};
pub use clock::Clock;
use clock::Readings;
pub use holders::{Claim, Holders, Speaker, Taken};

/// How long things may take before a node's state moves, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From a lost stream to silent: a reconnect in between is nobody's business.
    pub grace_ms: u64,
    /// From the collector's start to silent, for nodes that were connected before.
    pub warm_up_ms: u64,
    /// From a good-bye to silent, for a node that its cluster still lists: an agent that is updated is back by then, and one that was
    /// ended by whoever took the node must not keep quiet for ever by saying so.
    pub back_ms: i64,
    /// From silent to gone.
    pub gone_ms: i64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { grace_ms: 10_000, warm_up_ms: 180_000, back_ms: 15 * 60 * 1000, gone_ms: 24 * 60 * 60 * 1000 }
    }
}

/// What a heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Resident memory, bytes.
    pub rss: i64,
    /// CPU time since the agent's start, milliseconds.
    pub cpu_ms: i64,
    /// Entries waiting.
    pub queued: i64,
    /// Dropped since the agent's start.
    pub dropped: i64,
    /// The agent's clock minus ours, milliseconds; `None` where it does not say what time it is.
    pub skew_ms: Option<i64>,
}

#[derive(Debug)]
struct Node {
    session: i64,
    state: NodeState,
    since: i64,
    /// When the grace of a lost stream ends, by the monotonic clock, and why it was lost.
    silent_at: Option<(u64, &'static str)>,
    heartbeat: Heartbeat,
    clock: Readings,
    last_seen: i64,
    confirmed_at: i64,
    /// Heard since the last flush.
    unflushed: bool,
    /// Hardly any node has some.
    breaches: Option<Box<Breaches>>,
    /// Its Node object is there: then it is awaited for as long as it is silent.
    listed: bool,
}

impl Node {
    fn clock(&self) -> Clock {
        match (self.state, self.clock.judged()) {
            (NodeState::Connected, Some(offset)) => Clock::Measured(offset),
            (NodeState::Connected, None) => Clock::NotMeasured,
            _ => Clock::NotHeard,
        }
    }
}

/// Every node the collector knows. Locked for moments, never across a wait.
#[derive(Debug)]
pub struct Registry {
    patience: Patience,
    nodes: Mutex<BTreeMap<i64, Node>>,
}

impl Registry {
    /// Starts from what is stored.
    pub fn new(known: Vec<KnownNode>, patience: Patience, now: Moment) -> Self {
        let nodes = known.into_iter().map(|known| {
            let warm = now.mono_ms.saturating_add(patience.warm_up_ms);
            let node = Node {
                session: known.session,
                state: known.state,
                since: known.since,
                silent_at: (known.state == NodeState::Connected).then_some((warm, "not heard since the collector started")),
                heartbeat: Heartbeat::default(),
                clock: Readings::from_stored(known.clock),
                last_seen: known.last_seen,
                confirmed_at: 0,
                unflushed: false,
                breaches: (!known.breaches.is_empty()).then(|| {
                    let mut breaches = Breaches::default();
                    known.breaches.iter().for_each(|row| breaches.recall(row));
                    Box::new(breaches)
                }),
                listed: known.listed,
            };
            (known.node_id, node)
        });
        Self { patience, nodes: Mutex::new(nodes.collect()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Node>> {
        // A panic while it was held leaves numbers, not broken invariants.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session was opened.
    pub fn connected(&self, node_id: i64, session: i64, now: Moment) {
        let mut nodes = self.lock();
        let node = nodes.entry(node_id).or_insert_with(|| Node {
            session,
            state: NodeState::Connected,
            since: now.wall_ms,
            silent_at: None,
            heartbeat: Heartbeat::default(),
            clock: Readings::default(),
            last_seen: now.wall_ms,
            confirmed_at: 0,
            unflushed: false,
            breaches: None,
            listed: false,
        });
        if session < node.session {
            return;
        }
        if node.state != NodeState::Connected {
            (node.state, node.since) = (NodeState::Connected, now.wall_ms);
        }
        (node.session, node.silent_at, node.last_seen) = (session, None, now.wall_ms);
    }

    /// Something was heard in a session. `false`: a newer session of the node has taken over.
    pub fn heard(&self, node_id: i64, session: i64, now: Moment, heartbeat: Option<Heartbeat>, confirmed: bool) -> bool {
        let mut nodes = self.lock();
        let Some(node) = nodes.get_mut(&node_id).filter(|node| node.session <= session) else { return false };
        node.last_seen = now.wall_ms;
        node.unflushed = true;
        if let Some(heartbeat) = heartbeat {
            node.heartbeat = heartbeat;
            if let Some(ahead_ms) = heartbeat.skew_ms {
                node.clock.add(ahead_ms, now);
            }
        }
        if confirmed {
            node.confirmed_at = now.wall_ms;
        }
        true
    }

    /// Is this the newest session of its node.
    pub fn is_newest(&self, node_id: i64, session: i64) -> bool {
        self.lock().get(&node_id).is_none_or(|node| node.session <= session)
    }

    /// The stream of a session is lost. Without patience the node has been quiet for long enough already.
    pub fn lost(&self, node_id: i64, session: i64, patient: bool, now: Moment) {
        let mut nodes = self.lock();
        if let Some(node) = nodes.get_mut(&node_id).filter(|node| node.session == session && node.state == NodeState::Connected) {
            let grace = if patient { self.patience.grace_ms } else { 0 };
            let reason = if patient { "the connection was lost" } else { "three heartbeats missed" };
            node.silent_at = Some((now.mono_ms.saturating_add(grace), reason));
        }
    }

    /// The agent said good-bye; what to store, unless a newer session is there.
    pub fn stopped(&self, node_id: i64, session: i64, reason: &str, now: Moment) -> Option<StateChange> {
        let mut nodes = self.lock();
        let node = nodes.get_mut(&node_id).filter(|node| node.session == session)?;
        (node.state, node.since, node.silent_at) = (NodeState::Stopped, now.wall_ms, None);
        let reason = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        Some(StateChange { node_id, session, state: NodeState::Stopped, reason, at: now.wall_ms })
    }

    /// States that time alone has moved. They stand in memory only after [`Registry::settle`].
    pub fn due(&self, now: Moment) -> Vec<StateChange> {
        let nodes = self.lock();
        let due = nodes.iter().filter_map(|(node_id, node)| {
            let (state, reason) = match (node.state, node.silent_at) {
                (NodeState::Connected, Some((at, reason))) if now.mono_ms >= at => (NodeState::Silent, reason.to_owned()),
                (NodeState::Stopped, _) if node.listed && now.wall_ms.saturating_sub(node.since) >= self.patience.back_ms => {
                    let minutes = self.patience.back_ms / 60_000;
                    (
                        NodeState::Silent,
                        format!("its agent said good-bye {minutes} minutes ago and none came back, and its cluster lists the node"),
                    )
                }
                (NodeState::Silent, _) if !node.listed && now.wall_ms.saturating_sub(node.since) >= self.patience.gone_ms => {
                    (NodeState::Gone, format!("silent for {} hours", self.patience.gone_ms / 3_600_000))
                }
                _ => return None,
            };
            Some(StateChange { node_id: *node_id, session: node.session, state, reason, at: now.wall_ms })
        });
        due.collect()
    }

    /// What was due has been stored.
    pub fn settle(&self, stored: &[StateChange]) {
        let mut nodes = self.lock();
        for change in stored {
            if let Some(node) = nodes.get_mut(&change.node_id).filter(|node| node.session == change.session) {
                (node.state, node.since, node.silent_at) = (change.state, change.at, None);
            }
        }
    }

    /// Takes in which nodes have a Node object, and those for which no agent ever spoke.
    pub fn members<'a>(&self, members: impl IntoIterator<Item = &'a Member>) {
        let mut nodes = self.lock();
        for member in members {
            let listed = member.membership.listed();
            if let Some(node) = nodes.get_mut(&member.node_id) {
                node.listed = listed;
            } else if member.state == NodeState::Unwatched {
                let node = Node {
                    session: member.session,
                    state: member.state,
                    since: member.since,
                    silent_at: None,
                    heartbeat: Heartbeat::default(),
                    clock: Readings::default(),
                    last_seen: 0,
                    confirmed_at: 0,
                    unflushed: false,
                    breaches: None,
                    listed,
                };
                nodes.insert(member.node_id, node);
            }
        }
    }

    /// Forgets nodes that are gone and not among the `stored` ones any longer: a cluster may have new ones every hour.
    pub fn forget_gone(&self, stored: &BTreeSet<i64>) {
        self.lock().retain(|node_id, node| node.state != NodeState::Gone || stored.contains(node_id));
    }

    /// What was heard since the last call, for one statement.
    pub fn take_vitals(&self) -> Vec<Vitals> {
        let mut nodes = self.lock();
        let unflushed = nodes.iter_mut().filter(|(_, node)| node.unflushed);
        let vitals = unflushed.map(|(node_id, node)| {
            node.unflushed = false;
            let clock = node.clock.measured();
            Vitals {
                node_id: *node_id,
                session: node.session,
                last_seen: node.last_seen,
                confirmed_at: node.confirmed_at,
                rss: node.heartbeat.rss,
                cpu_ms: node.heartbeat.cpu_ms,
                queued: node.heartbeat.queued,
                dropped: node.heartbeat.dropped,
                skew_ms: clock.map_or(0, |offset| offset.ahead_ms),
                skew_at: clock.map_or(0, |offset| offset.at),
            }
        });
        vitals.collect()
    }

    /// What there is to judge a node's clock by.
    pub fn clock(&self, node_id: i64) -> Clock {
        self.lock().get(&node_id).map_or(Clock::NotHeard, Node::clock)
    }

    /// The same of every node that is connected.
    pub fn clocks(&self) -> BTreeMap<i64, Clock> {
        let nodes = self.lock();
        nodes.iter().filter(|(_, node)| node.state == NodeState::Connected).map(|(node_id, node)| (*node_id, node.clock())).collect()
    }

    /// Something was refused of a node whose credentials were good. Stored by [`keeper`].
    pub fn breached(&self, node_id: i64, breach: Breach, detail: &str, now: i64) {
        if let Some(node) = self.lock().get_mut(&node_id) {
            node.breaches.get_or_insert_default().add(breach, detail, now);
        }
    }

    /// Breaches that are not stored yet. They count as stored only after [`Registry::settle_breaches`].
    pub fn breaches_due(&self) -> Vec<BreachRow> {
        let nodes = self.lock();
        let due = nodes.iter().filter_map(|(node_id, node)| node.breaches.as_ref().map(|breaches| breaches.due(*node_id)));
        due.flatten().collect()
    }

    /// What was due has been stored.
    pub fn settle_breaches(&self, stored: &[BreachRow]) {
        let mut nodes = self.lock();
        for row in stored {
            if let Some(breaches) = nodes.get_mut(&row.node_id).and_then(|node| node.breaches.as_mut()) {
                breaches.settle(row);
            }
        }
    }

    /// What was refused lately, of every node of which something was. A node that differs from before has to be judged again, by what is
    /// stored of it.
    pub fn breached_lately(&self, now: i64) -> BTreeMap<i64, Admission> {
        let mut nodes = self.lock();
        let mut lately = BTreeMap::new();
        for (node_id, node) in nodes.iter_mut() {
            node.breaches.take_if(|breaches| breaches.is_over(now));
            lately.extend(node.breaches.as_ref().and_then(|breaches| breaches.admission(now)).map(|admission| (*node_id, admission)));
        }
        lately
    }

    /// How many nodes are connected.
    pub fn connected_nodes(&self) -> usize {
        self.lock().values().filter(|node| node.state == NodeState::Connected).count()
    }

    /// Nodes by state, and what the connected agents say of themselves, added up.
    pub fn totals(&self) -> ([(NodeState, usize); 5], AgentTotals) {
        let nodes = self.lock();
        let count = |state| (state, nodes.values().filter(|node| node.state == state).count());
        let mut totals = AgentTotals::default();
        for Node { heartbeat, .. } in nodes.values().filter(|node| node.state == NodeState::Connected) {
            totals.rss_bytes = totals.rss_bytes.saturating_add(heartbeat.rss);
            totals.rss_max_bytes = totals.rss_max_bytes.max(heartbeat.rss);
            totals.cpu_ms = totals.cpu_ms.saturating_add(heartbeat.cpu_ms);
            totals.dropped = totals.dropped.saturating_add(heartbeat.dropped);
            totals.queued = totals.queued.saturating_add(heartbeat.queued);
        }
        (NodeState::ALL.map(count), totals)
    }
}

#[cfg(test)]
mod tests;
