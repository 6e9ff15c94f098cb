//! The cluster as its API server tells it: its Node objects, our DaemonSet and that one's pods, followed by watches; and what a
//! service-account token is, asked once each.
//!
//! `client` is the way there, `bounds` what an answer may cost, `objects` what is kept of an answer, `watches` keeps [`Cluster`] true. Lookups are from memory and never
//! wait. While the API server is away they answer from what was known last and say so. Must not know sessions, the store or pages.

mod bounds;
mod client;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod objects;
mod watches;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use client::{ApiServer, ConnectError, Unanswered};
pub use watches::follow;

use crate::metrics::Metrics;

/// The most Node objects kept, and the most pods.
pub const MOST: usize = 50_000;
/// Deleted pods remembered: what was asked for before must not bring one back.
const GRAVES: usize = 4_096;

/// A Node object, as much of it as anybody here needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeObject {
    /// Its name.
    pub name: String,
    /// Its uid: another one after the node was deleted and made again.
    pub uid: String,
    /// Its own literal addresses.
    pub addresses: Vec<IpAddr>,
    /// `topology.kubernetes.io/zone`, or empty.
    pub zone: String,
    /// Why no agent can run there (Windows, a virtual node), or `None` where one is expected.
    pub unwatchable: Option<&'static str>,
    /// When it was made, Unix milliseconds.
    pub created_at: i64,
}

/// A pod in the agents' namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPod {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The node it is bound to; empty while it waits for one.
    pub node: String,
    /// The uid of its controller, of whatever kind; empty without one.
    pub controller: String,
    /// Has it ended: succeeded, failed, or gone from the API.
    pub ended: bool,
}

/// What the API server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Node objects.
    Nodes,
    /// The agents' pods.
    Pods,
    /// Our DaemonSet.
    DaemonSets,
    /// Whose a token is.
    TokenReviews,
}

impl Resource {
    /// The API's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::DaemonSets => "daemonsets",
            Self::TokenReviews => "tokenreviews",
        }
    }
}

/// What is known of the cluster now.
#[derive(Debug, Default)]
struct Known {
    /// By name. Names of nodes are unique at any time.
    nodes: BTreeMap<String, NodeObject>,
    /// By uid.
    pods: BTreeMap<String, AgentPod>,
    /// Uids of pods that were deleted, oldest first.
    graves: VecDeque<String>,
    /// The uid of our DaemonSet, once seen.
    daemon_set: Option<String>,
    /// What is yet to be listed for the first time, once that is known.
    awaited: Option<BTreeSet<Resource>>,
    /// Why the API server does not answer, since when (Unix milliseconds).
    away: BTreeMap<Resource, (String, i64)>,
}

/// One cluster. Shared.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    metrics: Metrics,
    known: Mutex<Known>,
    changed: watch::Sender<u64>,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(name: &str) -> Arc<Self> {
        Self::counted(name, Metrics::default())
    }

    /// The same, which counts in `metrics` what the API server answers.
    pub fn counted(name: &str, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), metrics, known: Mutex::default(), changed: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and tells of it when `change` says that something is different.
    fn update(&self, change: impl FnOnce(&mut Known) -> bool) {
        let different = change(&mut self.lock());
        if different {
            self.changed.send_modify(|version| *version = version.wrapping_add(1));
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Were nodes, pods and the DaemonSet, as many of them as are watched, listed at least once: before that, absence says nothing.
    pub fn listed(&self) -> bool {
        self.lock().awaited.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Why the API server does not answer, and since when (Unix milliseconds).
    pub fn away(&self) -> Option<(String, i64)> {
        self.lock().away.values().min_by_key(|(_, since)| *since).cloned()
    }

    /// Are requests of that kind not answered now.
    pub fn is_troubled(&self, resource: Resource) -> bool {
        self.lock().away.contains_key(&resource)
    }

    /// The Node object of that name.
    pub fn node(&self, name: &str) -> Option<NodeObject> {
        self.lock().nodes.get(name).cloned()
    }

    /// Every Node object.
    pub fn nodes(&self) -> Vec<NodeObject> {
        self.lock().nodes.values().cloned().collect()
    }

    /// The pod of that uid.
    pub fn pod(&self, uid: &str) -> Option<AgentPod> {
        self.lock().pods.get(uid).cloned()
    }

    /// Is there no pod of that uid, as far as absence says something.
    pub fn lacks_pod(&self, uid: &str) -> bool {
        let known = self.lock();
        let whole = known.awaited.as_ref().is_some_and(BTreeSet::is_empty) && known.pods.len() < MOST;
        whole && !known.pods.contains_key(uid)
    }

    /// The uid of our DaemonSet.
    pub fn daemon_set(&self) -> Option<String> {
        self.lock().daemon_set.clone()
    }

    /// Tells that something changed, never what.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes what was listed: all there is.
    pub fn replace(&self, nodes: Vec<NodeObject>, pods: Vec<AgentPod>, daemon_set: Option<String>) {
        self.replace_nodes(nodes);
        self.replace_pods(pods);
        self.set_daemon_set(daemon_set);
        self.update(|known| known.awaited.replace(BTreeSet::new()).is_none_or(|awaited| !awaited.is_empty()));
    }

    /// Absence says something once these were listed.
    pub fn awaits(&self, resources: &[Resource]) {
        self.update(|known| {
            known.awaited = Some(resources.iter().copied().collect());
            false
        });
    }

    /// Takes every Node object there is.
    pub fn replace_nodes(&self, nodes: Vec<NodeObject>) {
        let nodes: BTreeMap<_, _> = nodes.into_iter().take(MOST).map(|node| (node.name.clone(), node)).collect();
        self.update(|known| {
            let first = known.came(Resource::Nodes);
            std::mem::replace(&mut known.nodes, nodes) != known.nodes || first
        });
    }

    /// Takes a Node object that is new or has changed.
    pub fn upsert_node(&self, node: NodeObject) {
        self.update(|known| {
            let room = known.nodes.len() < MOST || known.nodes.contains_key(&node.name);
            let news = room && known.nodes.get(&node.name) != Some(&node);
            if news {
                known.nodes.insert(node.name.clone(), node);
            }
            news
        });
    }

    /// Forgets a Node object: that one, and not its successor of the same name.
    pub fn remove_node(&self, node: &NodeObject) {
        self.update(|known| {
            let same = known.nodes.get(&node.name).is_some_and(|known| known.uid == node.uid);
            same && known.nodes.remove(&node.name).is_some()
        });
    }

    /// Takes every pod of the agents there is.
    pub fn replace_pods(&self, pods: Vec<AgentPod>) {
        let pods: BTreeMap<_, _> = pods.into_iter().take(MOST).map(|pod| (pod.uid.clone(), pod)).collect();
        self.update(|known| {
            let first = known.came(Resource::Pods);
            std::mem::replace(&mut known.pods, pods) != known.pods || first
        });
    }

    /// Takes a pod that is new or has changed; one that was deleted stays so.
    pub fn upsert_pod(&self, pod: AgentPod) {
        self.update(|known| {
            let room = known.pods.len() < MOST || known.pods.contains_key(&pod.uid);
            let buried = known.graves.contains(&pod.uid);
            let news = room && !buried && known.pods.get(&pod.uid) != Some(&pod);
            if news {
                known.pods.insert(pod.uid.clone(), pod);
            }
            news
        });
    }

    /// Forgets a pod that was deleted.
    pub fn remove_pod(&self, uid: &str) {
        self.update(|known| {
            if known.graves.len() >= GRAVES {
                known.graves.pop_front();
            }
            known.graves.push_back(uid.to_owned());
            known.pods.remove(uid).is_some()
        });
    }

    /// Notes the uid of our DaemonSet, or that there is none.
    pub fn set_daemon_set(&self, uid: Option<String>) {
        self.update(|known| {
            let first = known.came(Resource::DaemonSets);
            std::mem::replace(&mut known.daemon_set, uid) != known.daemon_set || first
        });
    }

    /// Notes that the API server answers, or why it does not.
    pub fn answers(&self, away: Option<(String, i64)>) {
        self.update(|known| {
            known.away = away.into_iter().map(|away| (Resource::TokenReviews, away)).collect();
            true
        });
    }

    /// Notes why the API server does not answer a request of that kind; said in the log once.
    pub fn troubled(&self, resource: Resource, reason: &str, now: i64) {
        let mut first = false;
        self.update(|known| {
            first = known.away.is_empty();
            let since = known.away.get(&resource).map_or(now, |(_, since)| *since);
            known.away.insert(resource, (reason.to_owned(), since)).is_none()
        });
        self.metrics.apiserver(resource.name(), false);
        if first {
            let asked = resource.name();
            tracing::error!(
                asked,
                reason,
                "the API server does not answer: sessions live on by what was known before, new agents have to wait"
            );
        } else {
            tracing::debug!(asked = resource.name(), reason, "the API server does not answer");
        }
    }

    /// Notes that the API server answers requests of that kind.
    pub fn answering(&self, resource: Resource) {
        let mut last = None;
        self.update(|known| {
            let was = known.away.remove(&resource);
            last = was.clone().filter(|_| known.away.is_empty());
            was.is_some()
        });
        self.metrics.apiserver(resource.name(), true);
        if let Some((reason, since)) = last {
            tracing::info!(reason, since_unix_ms = since, "the API server answers again");
        }
    }
}

impl Known {
    /// Was this the first time.
    fn came(&mut self, resource: Resource) -> bool {
        self.awaited.as_mut().is_some_and(|awaited| awaited.remove(&resource))
    }
}

#[cfg(test)]
mod tests;
