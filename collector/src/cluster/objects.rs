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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(labels: &Value) -> NodeObject {
        let metadata = json!({
            "name": "worker-1", "uid": "u1", "resourceVersion": "7", "labels": labels, "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:images": {}}}}],
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        });
        let addresses = json!([
            {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "10.9.9.9"}, {"type": "ExternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "not an address"}, {"type": "InternalDNS", "address": "worker-1.internal"},
        ]);
        let status = json!({"addresses": addresses, "images": [{"names": ["a"], "sizeBytes": 1}], "conditions": "of another shape"});
        let seen: SeenNode = serde_json::from_value(json!({"metadata": metadata, "spec": {"taints": []}, "status": status})).unwrap();
        assert_eq!(seen.metadata.managed_fields, None);
        seen.kept().unwrap()
    }

    #[test]
    fn of_a_node_object_is_kept_what_is_wanted() {
        let node = node(&json!({"kubernetes.io/os": "linux", ZONE: "a"}));
        let addresses = vec!["10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let (name, uid, zone, created_at) = ("worker-1".to_owned(), "u1".to_owned(), "a".to_owned(), 1_767_323_045_000);
        assert_eq!(node, NodeObject { name, uid, addresses, zone, unwatchable: None, created_at });
    }

    #[test]
    fn a_pod_is_of_its_controller_and_not_of_another_owner() {
        let pod = |owners: Value, phase: &str| -> AgentPod {
            let metadata = json!({"name": "agent-x", "uid": "p1", "ownerReferences": owners});
            let seen: SeenPod =
                serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": phase}})).unwrap();
            seen.kept().unwrap()
        };
        let owner =
            |uid: &str, controller: Value| json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": controller});
        let mixed = pod(json!([owner("no", json!(null)), owner("neither", json!(false)), owner("yes", json!(true))]), "Running");
        assert_eq!((mixed.controller.as_str(), mixed.node.as_str(), mixed.ended), ("yes", "n", false));
        assert_eq!(pod(json!([owner("no", json!(false))]), "Failed").controller, "");
        assert!(pod(json!([]), "Failed").ended && pod(json!([]), "Succeeded").ended);
    }

    #[test]
    fn an_object_without_a_name_is_none() {
        for metadata in
            [json!({}), json!({"name": "", "uid": "u"}), json!({"name": "n\n", "uid": "u"}), json!({"name": "n".repeat(300), "uid": "u"})]
        {
            let seen: SeenNode = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            assert_eq!(seen.kept(), None);
        }
    }

    /// No agent is expected exactly where the DaemonSet puts none.
    #[test]
    fn a_node_is_unwatchable_where_the_daemon_set_leaves_it_out() {
        let text = include_str!("../../../deploy/kustomize/base/agent-daemonset.yaml");
        let daemon_set: Value = serde_saphyr::from_str(text).unwrap();
        let spec = &daemon_set["spec"]["template"]["spec"];
        let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        let selector = spec["nodeSelector"].as_object().unwrap();
        let linux = json!({"kubernetes.io/os": "linux"});
        assert_eq!(node(&linux).unwatchable, None);
        for (label, value) in selector {
            for other in [json!({}), json!({label: format!("not-{value}")})] {
                assert!(node(&other).unwatchable.is_some(), "{label}");
            }
        }
        assert_eq!(selector.len(), 1);
        let expressions = terms[0]["matchExpressions"].as_array().unwrap();
        for expression in expressions {
            let mut labels = linux.clone();
            labels[expression["key"].as_str().unwrap()] = expression["values"][0].clone();
            assert!(node(&labels).unwatchable.is_some(), "{expression}");
        }
        assert_eq!(expressions.len(), 2, "one more condition has to be known here too");
    }
}
