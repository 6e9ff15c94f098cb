//! Which directories decide which groups.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use holdfast_checks::facts::{DocumentRole, Group, Kubelet, NodeFacts, Runtime, SourceKind};

use super::components::OWN;
use super::config::absolute;
use super::files;
use super::origins::UNIT_DIRECTORIES;
use crate::host::Host;
use crate::profiles::Location;

/// Paths that matter on every host: whatever is in a directory, or that a file comes, goes or is written.
const USUAL: [(&str, &[Group]); 56] = [
    ("/etc/os-release", &[Group::Os]),
    ("/usr/lib/os-release", &[Group::Os]),
    ("/etc/kubernetes", &[Group::Files, Group::Node]),
    ("/etc/kubernetes/manifests", &[Group::Files]),
    ("/etc/kubernetes/pki", &[Group::Files]),
    ("/etc/kubernetes/pki/etcd", &[Group::Files]),
    ("/etc/cni/net.d", &[Group::Files, Group::Network]),
    ("/etc/ssh", &[Group::Network]),
    ("/etc/ssh/sshd_config.d", &[Group::Network]),
    ("/usr/etc/ssh", &[Group::Network]),
    ("/etc/ufw", &[Group::Network]),
    // Where enabling a firewall's unit leaves a link.
    ("/etc/systemd/system/multi-user.target.wants", &[Group::Network]),
    ("/etc/systemd/system/sysinit.target.wants", &[Group::Network]),
    // What is logged, where to, and what installs updates.
    ("/etc/systemd/journald.conf", &[Group::System]),
    ("/etc/systemd/journald.conf.d", &[Group::System]),
    ("/etc/systemd/journal-upload.conf", &[Group::System]),
    ("/var/log/journal", &[Group::System]),
    ("/etc/rsyslog.conf", &[Group::System]),
    ("/etc/rsyslog.d", &[Group::System]),
    ("/etc/apt/apt.conf.d", &[Group::System]),
    ("/etc/dnf/automatic.conf", &[Group::System]),
    ("/etc/systemd/system/timers.target.wants", &[Group::System]),
    ("/run/systemd/timesync/synchronized", &[Group::System]),
    ("/var/lib/kubelet", &[Group::Files, Group::Kubelets]),
    ("/var/lib/kubelet/pki", &[Group::Files]),
    // By name: files that concern nobody come and go in /run every second, such as the lock of iptables.
    ("/run/reboot-required", &[Group::Kernel]),
    ("/run/reboot-required.pkgs", &[Group::Kernel]),
    ("/run/reboot-needed", &[Group::Kernel]),
    ("/run/ostree/staged-deployment", &[Group::Kernel]),
    ("/boot", &[Group::Kernel]),
    ("/boot/loader/entries", &[Group::Kernel]),
    ("/boot/loader/loader.conf", &[Group::Kernel]),
    ("/boot/grub/grub.cfg", &[Group::Kernel]),
    ("/boot/grub/grubenv", &[Group::Kernel]),
    ("/boot/grub2/grub.cfg", &[Group::Kernel]),
    ("/boot/grub2/grubenv", &[Group::Kernel]),
    ("/lib/modules", &[Group::Kernel]),
    ("/usr/lib/modules", &[Group::Kernel]),
    ("/etc/modprobe.d", &[Group::Kernel]),
    // dpkg puts another in its place for each package it touches.
    ("/var/lib/dpkg/status", &[Group::Kernel, Group::Runtimes]),
    ("/etc/systemd/system/kubelet.service.d", &[Group::Files]),
    ("/run/systemd/system/kubelet.service.d", &[Group::Files]),
    ("/usr/lib/systemd/system/kubelet.service.d", &[Group::Files]),
    ("/lib/systemd/system/kubelet.service.d", &[Group::Files]),
    ("/root/.kube/config", &[Group::Files]),
    ("/etc/containerd", &[Group::Runtimes]),
    ("/etc/containerd/conf.d", &[Group::Runtimes]),
    ("/etc/containerd/certs.d", &[Group::Runtimes]),
    ("/etc/docker", &[Group::Runtimes]),
    ("/etc/crio", &[Group::Runtimes]),
    ("/etc/crio/crio.conf.d", &[Group::Runtimes]),
    ("/etc/containers", &[Group::Runtimes]),
    ("/etc/containers/registries.conf.d", &[Group::Runtimes]),
    // Their modes are who may be root.
    ("/run/containerd/containerd.sock", &[Group::Runtimes]),
    ("/run/crio/crio.sock", &[Group::Runtimes]),
    ("/run/docker.sock", &[Group::Runtimes]),
];

/// Files of variables that units of kubelets usually read.
const ENVIRONMENT_FILES: [&str; 3] = ["/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet"];

/// A place to watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The process below whose root the path is; `None`: the host's.
    pid: Option<i64>,
    path: String,
}

/// What is wanted, place by place.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<Place, BTreeSet<Group>>);

impl Wanted {
    fn want(&mut self, pid: Option<i64>, path: &str, groups: &[Group]) {
        if path.starts_with('/') {
            self.0.entry(Place { pid, path: path.to_owned() }).or_default().extend(groups);
        }
    }
}

/// What decides `facts`.
pub(super) fn wanted(facts: &NodeFacts, locations: &[Location]) -> Wanted {
    let mut wanted = Wanted::default();
    for (directory, groups) in USUAL {
        wanted.want(None, directory, groups);
    }
    if let Some(kernel) = facts.kernel.value() {
        wanted.want(None, &format!("/lib/modules/{}/modules.dep", kernel.release), &[Group::Kernel]);
    }
    // Directories of the node's profile, in which files may appear. Those of single files are watched once the file is there.
    for location in locations.iter().filter(|location| location.ending.is_some()) {
        wanted.want(None, &location.path, if location.role == "cni_config" { &[Group::Files, Group::Network] } else { &[Group::Files] });
    }
    for file in facts.files.value().iter().flat_map(|listing| &listing.items) {
        wanted.want(None, parent(&file.path), &[Group::Files]);
        if !file.target.is_empty() {
            wanted.want(None, parent(&absolute(&file.target, parent(&file.path))), &[Group::Files]);
        }
    }
    // What processes name and is not there yet, and directories in which nothing is yet.
    for named in files::named(facts) {
        wanted.want(None, &named.path, &[Group::Files]);
    }
    // A kubeconfig may lead to certificates elsewhere.
    for certificate in facts.certificates.value().iter().flat_map(|listing| &listing.items) {
        wanted.want(None, parent(&certificate.path), &[Group::Files]);
    }
    for kubelet in facts.kubelets.value().iter().flat_map(|listing| &listing.items) {
        let processes = facts.processes.value().map(|listing| listing.items.as_slice()).unwrap_or_default();
        let process = processes.iter().find(|process| process.pid == kubelet.pid);
        let unit = process.and_then(|process| process.subject.strip_prefix("service:")?.split('/').next());
        of_kubelet(kubelet, unit, &mut wanted);
    }
    // Files that the SSH server's configuration includes from elsewhere.
    let sshd = facts.network.value().and_then(|network| network.sshd.value());
    for setting in sshd.into_iter().flatten().filter_map(|(_, setting)| setting.value()) {
        for source in setting.declared.iter().map(|declared| &declared.source).filter(|source| source.kind == SourceKind::DropIn) {
            wanted.want(None, &source.place, &[Group::Network]);
        }
    }
    // Files that shippers of logs read; where those run in pods, they lie elsewhere and are read again with the full pass.
    for shipper in facts.system.value().and_then(|system| system.shippers.value()).iter().flat_map(|listing| &listing.items) {
        wanted.want(None, &shipper.source, &[Group::System]);
    }
    for component in facts.components.value().into_iter().flat_map(|listing| &listing.items) {
        for document in component.documents.value().iter().flat_map(|listing| &listing.items) {
            wanted.want(None, parent(&document.path), &[Group::Components, Group::Files]);
        }
        // By name: a directory of programs is no concern of ours.
        if let Some(program) = component.executable.value() {
            wanted.want(None, &program.path, &[Group::Components]);
        }
    }
    for runtime in facts.runtimes.value().into_iter().flat_map(|listing| &listing.items) {
        of_runtime(runtime, &mut wanted);
    }
    wanted
}

fn of_runtime(runtime: &Runtime, wanted: &mut Wanted) {
    for document in runtime.documents.value().iter().flat_map(|listing| &listing.items) {
        wanted.want(None, parent(&document.path), &[Group::Runtimes]);
        if document.role == DocumentRole::RegistryHosts {
            // Where another registry's may appear.
            wanted.want(None, parent(parent(&document.path)), &[Group::Runtimes]);
        }
    }
    // By name, as what lies beside them is no concern of ours.
    for socket in runtime.sockets.value().iter().flat_map(|listing| &listing.items) {
        wanted.want(None, &socket.path, &[Group::Runtimes]);
    }
    for program in runtime.programs.value().iter().flat_map(|listing| &listing.items) {
        wanted.want(None, &program.path, &[Group::Runtimes]);
    }
    if let Some(program) = runtime.executable.value() {
        wanted.want(None, &program.path, &[Group::Runtimes]);
    }
}

fn of_kubelet(kubelet: &Kubelet, unit: Option<&str>, wanted: &mut Wanted) {
    // One with mounts of its own has other files under the same paths.
    let pid = (kubelet.host_mounts.value() == Some(&false)).then_some(kubelet.pid);
    if pid.is_some() && kubelet.subject != OWN {
        // Anybody's in a pod, by its name: looking for what is to be watched on a file system that never answers would end all
        // watching. The next pass sees its changes.
        return;
    }
    let of_documents = [Group::Kubelets, Group::Files];
    for document in kubelet.documents.value().iter().flat_map(|listing| &listing.items) {
        wanted.want(pid, parent(&document.path), &of_documents);
    }
    if let Some(directory) = super::config::flag(&kubelet.argv, "config-dir") {
        wanted.want(pid, directory, &of_documents);
    }
    if let Some(program) = kubelet.executable.value() {
        wanted.want(pid, &program.path, &[Group::Kubelets]);
    }
    for origin in kubelet.origins.value().iter().flat_map(|listing| &listing.items) {
        // By name, as these lie among files of others.
        wanted.want(pid, &origin.place, &[Group::Kubelets]);
    }
    // What names no flag today may tomorrow.
    for unit in [Some("kubelet.service"), unit].into_iter().flatten().filter(|unit| unit.strip_suffix(".service").is_some()) {
        for directory in UNIT_DIRECTORIES {
            wanted.want(pid, &format!("{directory}/{unit}"), &[Group::Kubelets]);
            wanted.want(pid, &format!("{directory}/{unit}.d"), &[Group::Kubelets]);
        }
    }
    for path in ENVIRONMENT_FILES {
        wanted.want(pid, path, &[Group::Kubelets]);
    }
    if matches!(kubelet.flavour.as_str(), "k3s" | "rke2") {
        wanted.want(pid, &format!("/etc/rancher/{}", kubelet.flavour), &[Group::Kubelets]);
        wanted.want(pid, &format!("/etc/rancher/{}/config.yaml.d", kubelet.flavour), &[Group::Kubelets]);
    }
    if let Some(path) = super::config::flag(&kubelet.argv, "kubelet-args-file") {
        wanted.want(pid, path, &[Group::Kubelets]);
    }
}

/// The same as paths of this file system: each as it is called, which may come and go, and as it is found, because a link of
/// the host leads elsewhere seen from here. Looks at each.
pub(super) fn outside(host: &Host, wanted: Wanted) -> Vec<(PathBuf, BTreeSet<Group>)> {
    let mut paths = Vec::new();
    for (Place { pid, path }, groups) in wanted.0 {
        let called = match pid {
            None => host.outside(&path),
            Some(pid) => {
                // Only from outside: what is in another's mounts has no name in ours.
                if let Some(proc) = host.live().then(|| host.proc.root().found_at(".")).flatten() {
                    paths.push((proc.join(format!("{pid}/root{path}")), groups));
                }
                continue;
            }
        };
        if let Some(found) = host.root.found_at(&path).filter(|found| *found != called) {
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

#[cfg(test)]
mod tests {
    use holdfast_checks::facts::{Listing, Node, Observed, Reason, Source, Unavailable};

    use super::*;

    #[test]
    fn only_the_nodes_own_kubelet_is_watched_below_a_root_of_its_own() {
        let kubelet = |subject: &str, pid| {
            let source = Source::new(SourceKind::Process, "ns/mnt");
            Kubelet { host_mounts: Observed::known(false, source, 0), ..Kubelet::unread(subject, pid, "kubelet") }
        };
        let mut facts = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not read"));
        let kubelets = vec![kubelet(OWN, 7), kubelet("kubelet:pod:a/b/c", 8)];
        facts.kubelets = Observed::known(Listing::complete(kubelets), Source::new(SourceKind::Process, "/proc"), 0);
        let pids: BTreeSet<i64> = wanted(&facts, &[]).0.into_keys().filter_map(|place| place.pid).collect();
        assert_eq!(pids, BTreeSet::from([7]));
    }
}
