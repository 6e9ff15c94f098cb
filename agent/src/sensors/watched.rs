//! Which directories decide which groups.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use holdfast_checks::facts::{Group, NodeFacts};

use super::config::absolute;
use crate::host::Host;
use crate::profiles::Location;

/// Paths that matter on every host: whatever is in a directory, or that a file comes, goes or is written.
const USUAL: [(&str, &[Group]); 18] = [
    ("/etc/os-release", &[Group::Os]),
    ("/usr/lib/os-release", &[Group::Os]),
    ("/etc/kubernetes", &[Group::Files, Group::Node]),
    ("/etc/kubernetes/manifests", &[Group::Files]),
    ("/etc/kubernetes/pki", &[Group::Files]),
    ("/etc/kubernetes/pki/etcd", &[Group::Files]),
    ("/etc/cni/net.d", &[Group::Files, Group::Network]),
    ("/etc/ssh", &[Group::Network]),
    ("/etc/ssh/sshd_config.d", &[Group::Network]),
    ("/etc/ufw", &[Group::Network]),
    ("/var/lib/kubelet", &[Group::Files, Group::Kubelets]),
    ("/var/lib/kubelet/pki", &[Group::Files]),
    // By name: files that concern nobody come and go in /run every second, such as the lock of iptables.
    ("/run/reboot-required", &[Group::Kernel]),
    ("/run/reboot-required.pkgs", &[Group::Kernel]),
    ("/run/reboot-needed", &[Group::Kernel]),
    ("/boot", &[Group::Kernel]),
    ("/lib/modules", &[Group::Kernel]),
    ("/etc/systemd/system/kubelet.service.d", &[Group::Files]),
];

/// What decides `facts`, as paths of the host.
pub(super) fn wanted(facts: &NodeFacts, locations: &[Location]) -> BTreeMap<String, BTreeSet<Group>> {
    let mut wanted: BTreeMap<String, BTreeSet<Group>> = BTreeMap::new();
    let mut want = |directory: &str, groups: &[Group]| wanted.entry(directory.to_owned()).or_default().extend(groups);
    for (directory, groups) in USUAL {
        want(directory, groups);
    }
    // Directories of the node's profile, in which files may appear. Those of single files are watched once the file is there.
    for location in locations.iter().filter(|location| location.ending.is_some()) {
        want(&location.path, if location.role == "cni_config" { &[Group::Files, Group::Network] } else { &[Group::Files] });
    }
    for file in facts.files.value().iter().flat_map(|listing| &listing.items) {
        want(parent(&file.path), &[Group::Files]);
        if !file.target.is_empty() {
            want(parent(&absolute(&file.target, parent(&file.path))), &[Group::Files]);
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
    wanted
}

/// The same as paths of this file system: each as it is called, which may come and go, and as it is found, because a link of
/// the host leads elsewhere seen from here. Looks at each.
pub(super) fn outside(host: &Host, wanted: BTreeMap<String, BTreeSet<Group>>) -> Vec<(PathBuf, BTreeSet<Group>)> {
    let mut paths = Vec::new();
    for (directory, groups) in wanted {
        let called = host.outside(&directory);
        if let Some(found) = host.root.found_at(&directory).filter(|found| *found != called) {
            paths.push((found, groups.clone()));
        }
        paths.push((called, groups));
    }
    paths
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
