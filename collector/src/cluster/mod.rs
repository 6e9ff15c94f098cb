//! The cluster as its API server tells it: its Node objects, our DaemonSet and that one's pods, followed by watches; and what a
//! service-account token is, asked once each.
//!
//! Lookups are from memory and never wait. While the API server is away they answer from what was known last and say so. Must not
//! know sessions, the store or pages.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

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

/// What is known of the cluster now.
#[derive(Debug, Default)]
struct Known {
    /// By name. Names of nodes are unique at any time.
    nodes: BTreeMap<String, NodeObject>,
    /// By uid.
    pods: BTreeMap<String, AgentPod>,
    /// The uid of our DaemonSet, once seen.
    daemon_set: Option<String>,
    /// Were all three listed at least once.
    listed: bool,
    /// Why the API server does not answer, since when (Unix milliseconds).
    away: Option<(String, i64)>,
}

/// One cluster. Shared.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    known: Mutex<Known>,
    changed: watch::Sender<u64>,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), known: Mutex::default(), changed: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Were nodes, pods and the DaemonSet listed at least once: before that, absence says nothing.
    pub fn listed(&self) -> bool {
        self.lock().listed
    }

    /// Why the API server does not answer, and since when (Unix milliseconds).
    pub fn away(&self) -> Option<(String, i64)> {
        self.lock().away.clone()
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
        self.update(|known| {
            known.nodes = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
            known.pods = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
            (known.daemon_set, known.listed) = (daemon_set, true);
        });
    }

    /// Notes that the API server answers, or why it does not.
    pub fn answers(&self, away: Option<(String, i64)>) {
        self.update(|known| known.away = away);
    }
}
