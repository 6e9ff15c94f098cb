//! The watches that keep [`Cluster`] true: list page by page, then follow, list again when too much was missed. They recover by
//! themselves, at first soon and then every few seconds; an event changes one entry.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::bounds::LASTS;
use super::client::{AGENT, ApiServer};
use super::objects::{SeenDaemonSet, SeenNode, SeenPod};
use super::{Cluster, MOST, Resource};

/// Objects in one page.
const PAGE: u32 = 100;
/// How soon a failed request is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Follows Node objects, and with `identity` our DaemonSet and its pods too, until `stop`.
pub async fn follow(api: ApiServer, identity: bool, stop: CancellationToken) {
    let cluster = Arc::clone(api.cluster());
    let all = [Resource::Nodes, Resource::Pods, Resource::DaemonSets];
    cluster.awaits(if identity { &all } else { &all[..1] });
    let nodes = follow_one(api.nodes(), config(), Nodes { cluster: Arc::clone(&cluster), listing: Vec::new() });
    if !identity {
        stop.run_until_cancelled(Box::pin(nodes)).await;
        return;
    }
    let ours = config().labels(&format!("app.kubernetes.io/name={AGENT}"));
    let pods = follow_one(api.pods(), ours, Pods { cluster: Arc::clone(&cluster), listing: Vec::new() });
    let ours = config().fields(&format!("metadata.name={AGENT}"));
    let daemon_set = follow_one(api.daemon_sets(), ours, DaemonSets { cluster, listing: None });
    let all = async { tokio::join!(nodes, pods, daemon_set, ask_for_reviews(&api)) };
    stop.run_until_cancelled(Box::pin(all)).await;
}

/// Has a token reviewed that is none: at first, so that a missing right is known before the first agent comes, and while reviews are not
/// answered, so that it is known when they are again.
async fn ask_for_reviews(api: &ApiServer) {
    loop {
        while api.review("none", AGENT).await.is_err() {
            tokio::time::sleep(AGAIN.1).await;
        }
        while !api.cluster().is_troubled(Resource::TokenReviews) {
            tokio::time::sleep(AGAIN.1).await;
        }
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE).timeout(LASTS)
}

/// Somebody who takes what a watch says.
trait Follower {
    type Object;
    const RESOURCE: Resource;
    fn cluster(&self) -> &Cluster;
    /// A list begins.
    fn begin(&mut self);
    /// One object of the list.
    fn listed(&mut self, object: Self::Object);
    /// The list is whole.
    fn done(&mut self);
    fn applied(&mut self, object: Self::Object);
    fn deleted(&mut self, object: Self::Object);
}

async fn follow_one<F>(api: Api<F::Object>, config: watcher::Config, mut follower: F)
where
    F: Follower,
    F::Object: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = pin!(watcher::watcher(api, config));
    // kube's own backoff starts over with every list that is tried, so that one that fails would be tried twice a second for ever.
    let mut again = AGAIN.0;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => follower.begin(),
            Ok(Event::InitApply(object)) => follower.listed(object),
            Ok(Event::InitDone) => {
                follower.done();
                follower.cluster().answering(F::RESOURCE);
                again = AGAIN.0;
            }
            Ok(Event::Apply(object)) => follower.applied(object),
            Ok(Event::Delete(object)) => follower.deleted(object),
            Err(error) => {
                if let Some(reason) = reason(F::RESOURCE, &error) {
                    follower.cluster().troubled(F::RESOURCE, &reason, jiff::Timestamp::now().as_millisecond());
                } else {
                    tracing::debug!(error = crate::logs::cause(&error), "a watch ended and is begun anew");
                    // One that is beyond its bounds would be so again at once.
                    again = if follower.cluster().is_troubled(F::RESOURCE) { again } else { AGAIN.0 };
                }
                tokio::time::sleep(again).await;
                again = (again * 2).min(AGAIN.1);
            }
        }
    }
}

/// Why the API server cannot be followed; `None` for an end that is part of following it.
fn reason(resource: Resource, error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => Some(match error {
            kube::Error::Api(status) => super::client::refused(resource, "list and watch", status.code, &status.message),
            error => super::client::chain(error),
        }),
        watcher::Error::NoResourceVersion => Some(format!("its list of {} has no resourceVersion", resource.name())),
        // The next request shows whether it is more than that.
        watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) => None,
    }
}

struct Nodes {
    cluster: Arc<Cluster>,
    listing: Vec<super::NodeObject>,
}

impl Follower for Nodes {
    type Object = SeenNode;
    const RESOURCE: Resource = Resource::Nodes;

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn begin(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: SeenNode) {
        keep(&mut self.listing, object.kept());
    }

    fn done(&mut self) {
        let nodes = std::mem::take(&mut self.listing);
        tracing::info!(nodes = nodes.len(), "Node objects listed");
        full(nodes.len(), Resource::Nodes);
        self.cluster.replace_nodes(nodes);
    }

    fn applied(&mut self, object: SeenNode) {
        object.kept().into_iter().for_each(|node| self.cluster.upsert_node(node));
    }

    fn deleted(&mut self, object: SeenNode) {
        object.kept().into_iter().for_each(|node| self.cluster.remove_node(&node));
    }
}

struct Pods {
    cluster: Arc<Cluster>,
    listing: Vec<super::AgentPod>,
}

impl Follower for Pods {
    type Object = SeenPod;
    const RESOURCE: Resource = Resource::Pods;

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn begin(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: SeenPod) {
        keep(&mut self.listing, object.kept());
    }

    fn done(&mut self) {
        let pods = std::mem::take(&mut self.listing);
        tracing::info!(pods = pods.len(), "agents' pods listed");
        full(pods.len(), Resource::Pods);
        self.cluster.replace_pods(pods);
    }

    fn applied(&mut self, object: SeenPod) {
        object.kept().into_iter().for_each(|pod| self.cluster.upsert_pod(pod));
    }

    fn deleted(&mut self, object: SeenPod) {
        object.kept().into_iter().for_each(|pod| self.cluster.remove_pod(&pod.uid));
    }
}

struct DaemonSets {
    cluster: Arc<Cluster>,
    listing: Option<String>,
}

impl Follower for DaemonSets {
    type Object = SeenDaemonSet;
    const RESOURCE: Resource = Resource::DaemonSets;

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn begin(&mut self) {
        self.listing = None;
    }

    fn listed(&mut self, object: SeenDaemonSet) {
        self.listing = object.uid();
    }

    fn done(&mut self) {
        if self.listing.is_none() {
            tracing::error!(
                "there is no DaemonSet {AGENT} in the agents' namespace: no agent's pod can be told from another pod, and none is let in"
            );
        }
        self.cluster.set_daemon_set(self.listing.take());
    }

    fn applied(&mut self, object: SeenDaemonSet) {
        self.cluster.set_daemon_set(object.uid());
    }

    fn deleted(&mut self, object: SeenDaemonSet) {
        // Made again under the same name before this was heard: then the other one stands.
        if self.cluster.daemon_set() == object.uid() {
            tracing::warn!("the DaemonSet {AGENT} was deleted: new agents are not let in");
            self.cluster.set_daemon_set(None);
        }
    }
}

fn keep<T>(listing: &mut Vec<T>, object: Option<T>) {
    if listing.len() < MOST {
        listing.extend(object);
    }
}

fn full(n: usize, resource: Resource) {
    if n >= MOST {
        tracing::error!(most = MOST, asked = resource.name(), "the cluster has more than are kept: the rest is not known here");
    }
}
