//! Objects as the API server gives them, alone, in lists and in lines of a watch: for tests/fuzzing, no product is built with it.
//!
//! It panics where their readers do, and where what is kept of an object is beyond its bounds.

use kube::core::{ObjectList, WatchEvent};
use serde::de::DeserializeOwned;

use super::objects::{SeenDaemonSet, SeenNode, SeenPod};
use super::{AgentPod, NodeObject};

/// A Node object.
pub(crate) fn node(content: &[u8]) -> Option<NodeObject> {
    let node = serde_json::from_slice::<SeenNode>(content).ok()?.kept()?;
    is_name(&node.name);
    is_name(&node.uid);
    assert!(node.addresses.len() <= 8 && node.addresses.is_sorted() && node.zone.len() <= 253, "{node:?}");
    Some(node)
}

/// A pod.
pub(crate) fn pod(content: &[u8]) -> Option<AgentPod> {
    let pod = serde_json::from_slice::<SeenPod>(content).ok()?.kept()?;
    is_name(&pod.name);
    is_name(&pod.uid);
    Some(pod)
}

/// The uid of a DaemonSet.
pub(crate) fn daemon_set(content: &[u8]) -> Option<String> {
    let uid = serde_json::from_slice::<SeenDaemonSet>(content).ok()?.uid()?;
    is_name(&uid);
    Some(uid)
}

/// A page of a list, or a line of a watch.
pub(crate) fn followed(content: &[u8]) {
    for node in seen::<SeenNode>(content) {
        if let Some(node) = node.kept() {
            is_name(&node.name);
        }
    }
    for pod in seen::<SeenPod>(content) {
        drop(pod.kept());
    }
    for daemon_set in seen::<SeenDaemonSet>(content) {
        drop(daemon_set.uid());
    }
}

fn seen<T: DeserializeOwned + Clone>(content: &[u8]) -> Vec<T> {
    if let Ok(page) = serde_json::from_slice::<ObjectList<T>>(content) {
        return page.items;
    }
    match serde_json::from_slice::<WatchEvent<T>>(content) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) => vec![object],
        _ => Vec::new(),
    }
}

fn is_name(text: &str) {
    assert!(!text.is_empty() && text.len() <= 253 && !text.chars().any(char::is_control), "{text:?} is taken for a name");
}
