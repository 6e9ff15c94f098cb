//! The task that has agents ask: reads lists and the store, follows the schedule, stores what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::peers::{Refusal, outcome_name};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::nodes;
use super::roster::{Heard, Roster};
use super::schedule::{Answer, Ask, Asker, NotTaken, Pace, Schedule, Target};
use super::targets::{ListedNode, Plan};
use crate::alerts::Clock;
use crate::changes::{Change, ChangeFeed, ChangeKind};
use crate::cluster::Cluster;
use crate::files::Stamp;
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::policy::Policies;
use crate::store::peers::{Met, PeerAnswer, PeerNode};
use crate::store::{Store, StoreError};

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How soon after one change of nodes the next is looked at.
const REFRESH: Duration = Duration::from_secs(1);
/// How often the list's file is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How many rounds an answer tells something: one may be missed.
const ROUNDS: u64 = 3;
/// Answers stored in one transaction.
const BATCH: usize = 256;
/// What agents say is logged one by one at most this often: they are hostile.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Where the nodes to ask about come from.
#[derive(Debug)]
pub struct Sources {
    /// The administrator's list, and its file, read again when it changes.
    pub list: Option<(PathBuf, Plan)>,
    /// The cluster whose Node objects are followed.
    pub api: Option<Arc<Cluster>>,
}

/// What `run` keeps.
struct Desk {
    shared: Shared,
    schedule: Schedule,
    plan: Plan,
    from_api: Vec<ListedNode>,
    /// By node id, as stored.
    nodes: BTreeMap<i64, PeerNode>,
    wanted: Wanted,
    started: Instant,
    refreshed: Option<Instant>,
    refusals: Voice,
    not_taken: Voice,
}

/// A kind of line that agents can cause: one a second at most, and how many there were in between.
#[derive(Default)]
struct Voice {
    said: Option<Instant>,
    unsaid: u64,
}

impl Voice {
    /// Is it time for a line again; then how many were left out since the last.
    fn may_say(&mut self) -> Option<u64> {
        if self.said.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// The parts of the collector that peer probes use.
#[derive(Clone)]
pub struct Shared {
    /// What agents are to hold: pools decide who may ask whom.
    pub policies: watch::Receiver<Arc<Policies>>,
    /// The way to the sessions.
    pub roster: Arc<Roster>,
    /// Where answers go.
    pub store: Store,
    /// Whom to tell.
    pub changes: ChangeFeed,
    /// Where they are counted.
    pub metrics: Metrics,
    /// The wall clock.
    pub clock: Clock,
}

/// Has agents ask until `cancel`.
pub async fn run(sources: Sources, shared: Shared, cancel: CancellationToken) {
    let Some(mut results) = shared.roster.results() else { return };
    let mut feed = shared.changes.follow();
    let Sources { list, api } = sources;
    let (path, plan) = list.map_or((None, Plan::default()), |(path, plan)| (Some(path), plan));
    let mut file = path.map(|path| (Stamp::of(&path), path));
    let mut desk = Desk::new(shared, plan);
    let mut nodes = api.map(|cluster| {
        let mut told = cluster.follow();
        told.mark_changed();
        (cluster, told)
    });
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {
                if looked.elapsed() >= LOOK {
                    looked = Instant::now();
                    desk.look(&mut file);
                }
                if let Some((cluster, told)) = &mut nodes {
                    desk.list(cluster, told);
                }
                desk.refresh().await;
                desk.tick();
            }
            Some(heard) = results.recv() => desk.hear(heard, &mut results).await,
            change = feed.recv() => desk.wanted.add(&change),
        }
    }
}

/// Which nodes have to be read again.
enum Wanted {
    Everything,
    Nodes(BTreeSet<i64>),
}

impl Wanted {
    fn add(&mut self, change: &Result<Change, broadcast::error::RecvError>) {
        match (change, &mut *self) {
            (Ok(Change { kind: ChangeKind::Inventory | ChangeKind::Node, node_id, .. }), Self::Nodes(nodes)) => {
                nodes.insert(*node_id);
            }
            (Ok(_), _) => {}
            (Err(_), _) => *self = Self::Everything,
        }
    }
}

fn pace(plan: &Plan) -> Pace {
    Pace { every_ms: plan.every_ms, vantages: plan.vantages }
}

impl Desk {
    fn new(shared: Shared, plan: Plan) -> Self {
        // The seed only spreads the work: without entropy it is spread the same way after every start.
        let schedule = Schedule::new(pace(&plan), getrandom::u64().unwrap_or_default());
        Self {
            shared,
            schedule,
            plan,
            from_api: Vec::new(),
            nodes: BTreeMap::new(),
            wanted: Wanted::Everything,
            started: Instant::now(),
            refreshed: None,
            refusals: Voice::default(),
            not_taken: Voice::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads the administrator's list again when its file has changed.
    fn look(&mut self, file: &mut Option<(Option<Stamp>, PathBuf)>) {
        let Some((seen, path)) = file else { return };
        let now = Stamp::of(path);
        if std::mem::replace(seen, now) == now {
            return;
        }
        match Plan::load(path) {
            Ok(plan) => {
                tracing::info!(path = %path.display(), nodes = plan.nodes.len(), "peer-probe list read again");
                self.schedule.set_pace(pace(&plan));
                self.plan = plan;
                self.wanted = Wanted::Everything;
            }
            Err(error) => {
                tracing::error!(path = %path.display(), error = cause(&error), "peer-probe list not usable: keeping the one read before");
            }
        }
    }

    /// Takes the Node objects anew when one of them has changed. Before they were listed for the first time there are none.
    fn list(&mut self, cluster: &Cluster, told: &mut watch::Receiver<u64>) {
        if !cluster.listed() || !told.has_changed().unwrap_or(false) {
            return;
        }
        told.mark_unchanged();
        let nodes = nodes::listed(cluster);
        if self.from_api != nodes {
            tracing::info!(nodes = nodes.len(), "Node objects for peer probes");
            self.from_api = nodes;
            self.wanted = Wanted::Everything;
        }
    }

    /// Reads what changed, at most once a second, and tells the schedule.
    async fn refresh(&mut self) {
        let idle = matches!(&self.wanted, Wanted::Nodes(nodes) if nodes.is_empty());
        if idle || self.refreshed.is_some_and(|at| at.elapsed() < REFRESH) {
            return;
        }
        self.refreshed = Some(Instant::now());
        let wanted = std::mem::replace(&mut self.wanted, Wanted::Nodes(BTreeSet::new()));
        if let Err(error) = self.read(wanted).await {
            tracing::error!(error = cause(&error), "nodes cannot be read for peer probes; it is tried again");
            self.wanted = Wanted::Everything;
            return;
        }
        let now = self.now_ms();
        let targets = targets(&self.nodes, self.from_api.iter().chain(&self.plan.nodes));
        let gone: Vec<i64> = self.shared.roster.targets().into_iter().filter(|node_id| !targets.contains_key(node_id)).collect();
        for node_id in gone {
            self.schedule.drop_target(node_id);
        }
        self.shared.roster.set_targets(targets.keys().copied().collect());
        for target in targets.into_values() {
            self.schedule.set_target(target, now);
        }
    }

    async fn read(&mut self, wanted: Wanted) -> Result<(), StoreError> {
        match wanted {
            Wanted::Everything => {
                self.nodes = self.shared.store.peer_nodes(None).await?.into_iter().map(|node| (node.node_id, node)).collect();
            }
            Wanted::Nodes(changed) => {
                for node_id in changed {
                    match self.shared.store.peer_nodes(Some(node_id)).await?.pop() {
                        Some(node) => drop(self.nodes.insert(node_id, node)),
                        None => drop(self.nodes.remove(&node_id)),
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends what is due.
    fn tick(&mut self) {
        let now_pools = Arc::clone(&self.shared.policies.borrow_and_update());
        self.schedule.set_policies(now_pools);
        let listed = listed(self.from_api.iter().chain(&self.plan.nodes));
        let asker = |(node_id, session): (i64, i64)| {
            let node = self.nodes.get(&node_id)?;
            let listed = listed.get(&(node.cluster.as_str(), node.name.as_str()));
            let pool = listed.map(|listed| listed.pool.clone()).unwrap_or_default();
            let addresses = listed.map(|listed| listed.addresses.clone()).unwrap_or_default();
            let (cluster, control_plane) = (node.cluster.clone(), node.control_plane);
            Some(Asker { node_id, session, cluster, pool, addresses, control_plane })
        };
        let askers: Vec<Asker> = self.shared.roster.members().into_iter().filter_map(asker).collect();
        self.schedule.set_askers(askers);
        let now = self.now_ms();
        // Without entropy nobody is asked: a request's name must not be guessed.
        let mut random = || getrandom::u64().unwrap_or_default();
        for Ask { vantage, session, request } in self.schedule.tick(now, &mut random) {
            let id = request.request;
            if self.shared.roster.ask(vantage, session, request) {
                self.shared.metrics.peer_asked();
            } else {
                self.schedule.unsent(id, now);
            }
        }
    }

    /// Takes a result and those that wait behind it.
    async fn hear(&mut self, first: Heard, results: &mut mpsc::Receiver<Heard>) {
        let mut answers: Vec<PeerAnswer> = self.take(&first).into_iter().collect();
        while answers.len() < BATCH
            && let Ok(heard) = results.try_recv()
        {
            answers.extend(self.take(&heard));
        }
        if answers.is_empty() {
            return;
        }
        match self.shared.store.write_peer_answers(&answers).await {
            Ok(changes) => changes.into_iter().for_each(|change| self.shared.changes.publish(change)),
            Err(error) => tracing::error!(error = cause(&error), "answers of peers not stored: the next round brings them again"),
        }
    }

    /// What is to be stored of a result.
    fn take(&mut self, heard: &Heard) -> Option<PeerAnswer> {
        let Heard { vantage, session, result } = heard;
        let now = self.now_ms();
        let answer = match self.schedule.answered(*vantage, *session, result, now) {
            Ok(answer) => answer,
            Err(why) => {
                self.shared.metrics.peer_result_refused(why.name());
                if why == NotTaken::Foreign {
                    self.shared.roster.foreign(*vantage, (self.shared.clock)());
                }
                if let Some(unlogged) = self.not_taken.may_say() {
                    tracing::warn!(agent = self.name(*vantage), reason = %why, unlogged = NonZeroU64::new(unlogged), "refused a peer-probe result");
                }
                return None;
            }
        };
        match answer.met {
            Met::Asked(outcome, status) => {
                self.shared.metrics.peer_answered(outcome_name(outcome));
                let (target, agent) = (self.name(answer.node_id), self.name(*vantage));
                tracing::debug!(target, agent, port = answer.question.port, outcome = outcome_name(outcome), status, "a peer asked");
            }
            Met::Refused(refusal) => {
                self.shared.metrics.peer_refused(refusal.name());
                if let Some(unlogged) = self.refusals.may_say() {
                    let (target, agent) = (self.name(answer.node_id), self.name(*vantage));
                    tracing::warn!(
                        agent,
                        target,
                        address = %answer.address,
                        port = answer.question.port,
                        reason = refusal.name(),
                        unlogged = NonZeroU64::new(unlogged),
                        "an agent refused to ask another node's port: its own --peer-probes-cidrs, its built-in limits or the pools of its policy do not allow it"
                    );
                }
                if matches!(refusal, Refusal::TooMany | Refusal::Busy) {
                    return None;
                }
            }
        }
        self.schedule.is_target(answer.node_id).then(|| self.to_store(&answer))
    }

    fn to_store(&self, answer: &Answer) -> PeerAnswer {
        let at = (self.shared.clock)();
        let lasts = self.schedule.pace().every_ms.saturating_mul(ROUNDS);
        PeerAnswer {
            node_id: answer.node_id,
            address: answer.address.to_string(),
            port: answer.question.port.into(),
            path: answer.question.path.to_owned(),
            tls: answer.question.tls,
            vantage_id: answer.vantage,
            met: answer.met,
            at,
            stale_at: at.saturating_add_unsigned(lasts),
        }
    }

    fn name(&self, node_id: i64) -> &str {
        self.nodes.get(&node_id).map_or("a node that is gone", |node| &node.name)
    }
}

/// Listed nodes by cluster and name; what is listed later wins.
fn listed<'a>(listed: impl Iterator<Item = &'a ListedNode>) -> BTreeMap<(&'a str, &'a str), &'a ListedNode> {
    listed.map(|node| ((node.cluster.as_str(), node.name.as_str()), node)).collect()
}

/// The nodes to ask about: listed, the later list before the earlier one, and known to the store.
fn targets<'a>(nodes: &BTreeMap<i64, PeerNode>, listed: impl Iterator<Item = &'a ListedNode>) -> BTreeMap<i64, Target> {
    // A node that was replaced left one of the same name behind: the connected one, then the newest stands for both.
    let mut known: BTreeMap<(&str, &str), &PeerNode> = BTreeMap::new();
    for node in nodes.values() {
        let key = (node.cluster.as_str(), node.name.as_str());
        if known.get(&key).is_none_or(|other| (other.connected, other.node_id) < (node.connected, node.node_id)) {
            known.insert(key, node);
        }
    }
    let listed = self::listed(listed);
    let target = |(key, listed): ((&str, &str), &ListedNode)| {
        let node = known.get(&key).filter(|_| listed.probe)?;
        let target = Target {
            node_id: node.node_id,
            cluster: node.cluster.clone(),
            pool: listed.pool.clone(),
            addresses: listed.addresses.clone(),
            listening: node.listening.clone(),
        };
        Some((node.node_id, target))
    };
    listed.into_iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node_id: i64, name: &str, connected: bool) -> PeerNode {
        let (cluster, listening) = ("c".to_owned(), BTreeSet::new());
        PeerNode { node_id, cluster, name: name.to_owned(), connected, listening, control_plane: false }
    }

    fn listed(name: &str, address: &str, probe: bool) -> ListedNode {
        let addresses = vec![address.parse().unwrap()];
        ListedNode { cluster: "c".to_owned(), name: name.to_owned(), addresses, pool: String::new(), probe }
    }

    #[test]
    fn only_listed_nodes_that_report_are_targets_and_the_administrator_has_the_last_word() {
        let nodes = [node(1, "old", false), node(2, "old", true), node(3, "old", false), node(4, "unlisted", true), node(5, "left", true)];
        let nodes = nodes.into_iter().map(|node| (node.node_id, node)).collect();
        let api = [listed("old", "10.0.0.1", true), listed("left", "10.0.0.5", true), listed("never-reported", "10.0.0.9", true)];
        let list = [listed("left", "10.0.0.5", false), listed("old", "10.0.0.2", true)];
        let found = targets(&nodes, api.iter().chain(&list));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(found[&2].addresses[0].to_string(), "10.0.0.2");
    }
}
