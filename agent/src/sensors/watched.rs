//! Which directories decide which groups.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use holdfast_checks::facts::{Group, NodeFacts};

use crate::host::{Host, NodeKind};

/// Directories that matter on every host.
const USUAL: [(&str, &[Group]); 11] = [
    ("/etc", &[Group::Os]),
    ("/etc/kubernetes", &[Group::Files, Group::Node]),
    ("/etc/kubernetes/manifests", &[Group::Files]),
    ("/etc/kubernetes/pki", &[Group::Files]),
    ("/etc/kubernetes/pki/etcd", &[Group::Files]),
    ("/etc/cni/net.d", &[Group::Files]),
    ("/var/lib/kubelet", &[Group::Files, Group::Kubelets]),
    ("/var/lib/kubelet/pki", &[Group::Files]),
    ("/run", &[Group::Kernel]),
    ("/boot", &[Group::Kernel]),
    ("/lib/modules", &[Group::Kernel]),
];

pub(super) fn watched(host: &Host, facts: &NodeFacts) -> Vec<(PathBuf, BTreeSet<Group>)> {
    let mut wanted: BTreeMap<String, BTreeSet<Group>> = BTreeMap::new();
    let mut want = |directory: &str, groups: &[Group]| wanted.entry(directory.to_owned()).or_default().extend(groups);
    for (directory, groups) in USUAL {
        want(directory, groups);
    }
    for file in facts.files.value().iter().flat_map(|listing| &listing.items) {
        want(parent(&file.path), &[Group::Files]);
        if file.target.starts_with('/') {
            want(parent(&file.target), &[Group::Files]);
        }
    }
    let kubelets = facts.kubelets.value().into_iter().flat_map(|listing| &listing.items);
    let documents = kubelets.filter_map(|kubelet| kubelet.documents.value());
    for document in documents.flat_map(|listing| &listing.items) {
        want(parent(&document.path), &[Group::Kubelets, Group::Files]);
    }
    for kubelet in facts.kubelets.value().iter().flat_map(|listing| &listing.items) {
        if let Some(directory) = super::config::flag(&kubelet.argv, "config-dir").filter(|path| path.starts_with('/')) {
            want(directory, &[Group::Kubelets, Group::Files]);
        }
    }
    let components = facts.components.value().into_iter().flat_map(|listing| &listing.items);
    let documents = components.filter_map(|component| component.documents.value());
    for document in documents.flat_map(|listing| &listing.items) {
        want(parent(&document.path), &[Group::Components, Group::Files]);
    }
    let there = |directory: &str| host.root.metadata(directory).is_ok_and(|status| status.kind == NodeKind::Directory);
    wanted.into_iter().filter(|(directory, _)| there(directory)).map(|(directory, groups)| (host.outside(&directory), groups)).collect()
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
