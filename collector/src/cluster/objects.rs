//! What is read of an object of the API, and what is kept of that. The rest (managed fields, images, conditions) is passed over while
//! the answer is read: a Node object takes tens of kilobytes, and what is wanted of it a few hundred bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::{Deserialize, Deserializer};

use super::{AgentPod, NodeObject};

/// The longest name taken, in bytes.
const MAX_NAME_BYTES: usize = 253;
/// The most addresses of one node.
const MOST_ADDRESSES: usize = 8;
/// Where a Node object says in which zone it is.
const ZONE: &str = "topology.kubernetes.io/zone";

/// An object of the kind `K`, read as far as `B`.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default, T: Deserialize<'de> + Default"))]
pub(super) struct Seen<K, S = Nothing, T = Nothing> {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: T,
    #[serde(skip)]
    kind: PhantomData<K>,
}

/// Of a part that is not read.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Nothing {}

impl<K, S, T> kube::Resource for Seen<K, S, T>
where
    K: k8s_openapi::Resource,
{
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        K::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        K::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::URL_PATH_SEGMENT.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The metadata that anybody asks for.
fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Metadata {
        name: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let Metadata { name, uid, resource_version, creation_timestamp, labels, owner_references } = Metadata::deserialize(from)?;
    Ok(ObjectMeta { name, uid, resource_version, creation_timestamp, labels, owner_references, ..ObjectMeta::default() })
}

/// A Node object.
pub(super) type SeenNode = Seen<k8s_openapi::api::core::v1::Node, Nothing, NodeStatus>;
/// A pod.
pub(super) type SeenPod = Seen<k8s_openapi::api::core::v1::Pod, PodSpec, PodStatus>;
/// A DaemonSet, of which only the uid is of interest.
pub(super) type SeenDaemonSet = Seen<k8s_openapi::api::apps::v1::DaemonSet>;

/// Of a Node object's status.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct NodeStatus {
    #[serde(default)]
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeAddress {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    address: String,
}

/// Of a pod's spec.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct PodSpec {
    #[serde(default, rename = "nodeName")]
    node_name: Option<String>,
}

/// Of a pod's status.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct PodStatus {
    #[serde(default)]
    phase: Option<String>,
}

/// Name and uid, if they are any.
fn named(metadata: &mut ObjectMeta) -> Option<(String, String)> {
    let (name, uid) = (metadata.name.take()?, metadata.uid.take()?);
    let fits = |text: &str| !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
    (fits(&name) && fits(&uid)).then_some((name, uid))
}

impl SeenNode {
    /// What is kept of it.
    pub(super) fn kept(mut self) -> Option<NodeObject> {
        let (name, uid) = named(&mut self.metadata)?;
        let labels = self.metadata.labels.unwrap_or_default();
        let own = self.status.addresses.unwrap_or_default().into_iter();
        let own = own.filter(|address| matches!(address.kind.as_str(), "InternalIP" | "ExternalIP"));
        let mut addresses: Vec<IpAddr> = own.filter_map(|address| address.address.parse().ok()).take(MOST_ADDRESSES).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let created_at = self.metadata.creation_timestamp.map_or(0, |at| at.0.as_millisecond());
        let zone = labels.get(ZONE).filter(|zone| zone.len() <= MAX_NAME_BYTES).cloned().unwrap_or_default();
        Some(NodeObject { name, uid, addresses, zone, unwatchable: unwatchable(&labels), created_at })
    }
}

/// Why the DaemonSet has no agent there: what its node selector and affinity leave out (`deploy/kustomize/base/agent-daemonset.yaml`).
fn unwatchable(labels: &BTreeMap<String, String>) -> Option<&'static str> {
    let is = |label: &str, value: &str| labels.get(label).is_some_and(|said| said == value);
    if is("type", "virtual-kubelet") {
        return Some("a virtual node (type=virtual-kubelet) has no kernel to look at");
    }
    if is("eks.amazonaws.com/compute-type", "fargate") {
        return Some("a Fargate node takes no DaemonSet's pods");
    }
    if !is("kubernetes.io/os", "linux") {
        return Some("not a Linux node: its label kubernetes.io/os is not `linux`");
    }
    None
}

impl SeenPod {
    /// What is kept of it.
    pub(super) fn kept(mut self) -> Option<AgentPod> {
        let (name, uid) = named(&mut self.metadata)?;
        let mut owners = self.metadata.owner_references.unwrap_or_default().into_iter();
        let controller = owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid).unwrap_or_default();
        let ended = matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        Some(AgentPod { uid, name, node: self.spec.node_name.unwrap_or_default(), controller, ended })
    }
}

impl SeenDaemonSet {
    /// Its uid.
    pub(super) fn uid(mut self) -> Option<String> {
        named(&mut self.metadata).map(|(_, uid)| uid)
    }
}
