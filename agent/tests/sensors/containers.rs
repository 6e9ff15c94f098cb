//! Containers of recorded nodes and of trees laid out as other runtimes lay them out.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_checks::facts::{Configured, Container, ContainerKind, MountKind, NodeFacts, Observed, Placement, Reason};
use rstest::rstest;
use tempfile::TempDir;

use super::{complete, known, options, read, recorded};

fn node(name: &str) -> NodeFacts {
    let tree = recorded(name);
    read(options(&tree.join("host"), &tree.join("proc")))
}

/// The container whose subject starts so.
fn of<'a>(facts: &'a NodeFacts, subject: &str) -> &'a Container {
    let named = |container: &&Container| container.subject.starts_with(subject) && container.kind == ContainerKind::Container;
    let mut found = complete(&facts.containers).iter().filter(named);
    found.next().unwrap_or_else(|| panic!("{subject}"))
}

fn configured(container: &Container) -> &Configured {
    known(&container.configured)
}

/// Source, target, kind and whether it can be written, tokens left out.
fn pieces(container: &Container) -> Vec<(&str, &str, MountKind, bool)> {
    let of_host = complete(&container.mounts).iter().filter(|mount| mount.kind != MountKind::Token);
    of_host.map(|mount| (mount.source.as_str(), mount.target.as_str(), mount.kind, mount.writable)).collect()
}

fn has_token(container: &Container) -> bool {
    complete(&container.mounts).iter().any(|mount| mount.kind == MountKind::Token)
}

const RECORDED: [&str; 4] = ["hardened", "misconfigured", "static-controlplane", "cgroupv2-systemd"];

/// What containerd gives a container that asks for nothing.
const USUAL: [&str; 14] = [
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
];

#[test]
fn every_container_of_a_recording_is_known_as_its_processes_are() {
    for name in RECORDED {
        let facts = node(name);
        let containers = complete(&facts.containers);
        let mut ids: Vec<&str> = containers.iter().map(|container| container.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), containers.len(), "{name}: each once");
        for process in complete(&facts.processes).iter().filter(|process| !process.container_id.is_empty()) {
            let container = containers.iter().find(|container| container.id == process.container_id).unwrap();
            assert_eq!(container.subject, process.subject, "{name}");
            assert_eq!((container.pod_uid.as_str(), container.placement), (process.pod_uid.as_str(), Placement::Pod));
        }
        for container in containers {
            assert_eq!(container.runtime, "containerd");
            let names = [known(&container.namespace), known(&container.pod), known(&container.name)].map(String::as_str);
            assert_eq!(container.subject, format!("pod:{}", names.join("/")));
            assert_eq!(container.image_digest.unavailable().unwrap().reason, Reason::NotPresent, "containerd's files do not tell it");
        }
    }
}

#[test]
fn each_workload_is_what_its_name_says() {
    for name in RECORDED {
        let facts = node(name);
        let root = of(&facts, "pod:testbed/root-default/");
        assert_eq!(known(&root.image), "registry.testbed.local/testbox:v1");
        let told = configured(root);
        assert_eq!((*known(&told.user), *known(&told.group), *known(&told.privileged)), (0, 0, false), "{name}");
        assert_eq!(*known(&told.capabilities), USUAL);
        assert_eq!((*known(&told.no_new_privileges), *known(&told.seccomp), *known(&told.root_read_only)), (false, false, false));
        assert_eq!((*known(&told.user_namespace), *known(&told.host_pid), *known(&told.host_ipc)), (false, false, false));
        assert!(!*known(&root.root_read_only) && pieces(root).is_empty() && has_token(root));

        let restricted = of(&facts, "pod:testbed/nonroot-restricted/");
        assert_eq!(known(&restricted.image), "registry.testbed.local/testbox-nonroot:v1");
        let told = configured(restricted);
        assert_eq!((*known(&told.user), *known(&told.group), known(&told.capabilities).len()), (1000, 1000, 0));
        assert!(*known(&told.no_new_privileges) && *known(&told.seccomp) && *known(&told.root_read_only));
        assert!(*known(&restricted.root_read_only) && pieces(restricted).is_empty() && !has_token(restricted));

        let privileged = of(&facts, "pod:testbed/privileged/");
        let told = configured(privileged);
        assert!(*known(&told.privileged) && known(&told.capabilities).len() >= 40 && !*known(&told.seccomp));
        let cgroups = [("/sys/fs/cgroup", "/sys/fs/cgroup", MountKind::Cgroup, true)];
        // On cgroup v1 it sees its own part only.
        assert_eq!(pieces(privileged), if name == "cgroupv2-systemd" { &cgroups[..] } else { &[] });

        let added = configured(of(&facts, "pod:testbed/caps-added/"));
        let beyond: Vec<&String> = known(&added.capabilities).iter().filter(|name| !USUAL.contains(&name.as_str())).collect();
        assert_eq!(beyond, ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"]);
        assert!(!*known(&added.privileged));

        let network = of(&facts, "pod:testbed/hostnetwork/");
        let why = configured(network).host_network.unavailable().unwrap();
        assert!(why.reason == Reason::NotPresent && why.detail.contains("of its sandbox"), "its sandbox's bundle was not recorded: {why:?}");
        assert!(pieces(network).is_empty(), "/sys comes with the network");

        let shared = of(&facts, "pod:testbed/hostpid-hostipc/");
        assert!(*known(&configured(shared).host_ipc), "it has the host's shared memory");
        assert!(configured(shared).host_pid.unavailable().is_some());
        assert!(pieces(shared).is_empty(), "shared memory comes with IPC: {:?}", pieces(shared));

        let socket = of(&facts, "pod:testbed/hostpath-sock/");
        let expected = [
            ("/etc", "/host/etc", MountKind::Etc, false),
            ("/run/containerd/containerd.sock", "/run/containerd/containerd.sock", MountKind::RuntimeSocket, true),
        ];
        assert_eq!(pieces(socket), expected);
        assert_eq!(known(&configured(socket).mounts).items, known(&socket.mounts).items, "{name}: as it was told");

        let mapped = of(&facts, "pod:testbed/userns/");
        assert!(*known(&configured(mapped).user_namespace));
        assert_eq!(*known(&configured(mapped).user), 0);
        assert!(pieces(mapped).is_empty(), "devices that all have are bound from the host: {:?}", pieces(mapped));

        for container in ["a", "b"] {
            let told = configured(of(&facts, &format!("pod:testbed/guaranteed-two/{container}")));
            assert_eq!(*known(&told.user), 0);
            assert!(told.host_network.value() != Some(&true) && told.host_pid.value() != Some(&true));
        }
        let sandboxes = complete(&facts.containers).iter().filter(|container| container.kind == ContainerKind::Sandbox);
        for sandbox in sandboxes {
            let in_pod = |other: &&Container| other.pod_uid == sandbox.pod_uid;
            for container in complete(&facts.containers).iter().filter(in_pod) {
                assert!(!*known(&configured(container).host_network) && !*known(&configured(container).host_pid), "its sandbox tells");
            }
            assert_eq!(known(&sandbox.image), "registry.testbed.local/pause:3.10");
            assert_eq!((known(&sandbox.name).as_str(), *known(&configured(sandbox).user)), ("POD", 65_535));
            assert!(*known(&sandbox.root_read_only) && !*known(&configured(sandbox).host_network) && pieces(sandbox).is_empty());
        }
    }
}

/// Its bind of `/` is read-only, but what is mounted below is not: a recursive bind keeps that as it is.
#[test]
fn a_read_only_bind_of_the_host_leaves_its_mounts_writable() {
    for name in RECORDED {
        let facts = node(name);
        let agent = of(&facts, "pod:testbed/node-agent-");
        assert!(*known(&agent.root_read_only) && *known(&configured(agent).root_read_only) && has_token(agent));
        let pieces = pieces(agent);
        for expected in [
            ("/", "/host", MountKind::Root, false),
            ("/dev", "/host/dev", MountKind::Dev, true),
            ("/proc", "/host/proc", MountKind::Proc, true),
            ("/sys", "/host/sys", MountKind::Sys, true),
        ] {
            assert!(pieces.contains(&expected), "{name}: {expected:?} in {pieces:#?}");
        }
        let run = ("/run", "/host/run", MountKind::RuntimeSocket, true);
        assert_eq!(pieces.contains(&run), name == "cgroupv2-systemd", "there /run is a mount of its own");
        assert!(pieces.len() < 10, "each kind once: {pieces:#?}");
        assert_eq!(complete(&known(&agent.configured).mounts).len(), 2);
    }
}

#[test]
fn control_plane_containers_have_the_clusters_keys() {
    let facts = node("static-controlplane");
    let etcd = of(&facts, "pod:kube-system/etcd-");
    let expected = [
        ("/etc/kubernetes/pki/etcd", "/etc/kubernetes/pki/etcd", MountKind::Kubernetes, true),
        ("/var/lib/etcd", "/var/lib/etcd", MountKind::Kubernetes, true),
    ];
    assert_eq!(pieces(etcd), expected);
}

#[test]
#[ignore = "prints"]
fn print_containers() {
    for name in ["hardened", "cgroupv2-systemd"] {
        println!("{}", serde_json::to_string_pretty(&node(name).containers).unwrap());
    }
}
