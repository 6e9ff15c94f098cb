//! What a path of the host is good for, and which paths are a pod's own.
//!
//! Must not know where a path was read.

use holdfast_checks::facts::{MountKind, Placement};

use crate::host::Host;
use crate::sensors::config::flag;
use crate::sensors::processes::{ProcessTable, Workload};

/// The kubelet's directory where no flag says otherwise, and where distributions put it.
const KUBELETS: [&str; 3] = ["/var/lib/kubelet", "/var/snap/microk8s/common/var/lib/kubelet", "/var/lib/k0s/kubelet"];

/// Sockets that whoever may write to them is root through.
const SOCKETS: [&str; 14] = [
    "/run/containerd/containerd.sock",
    "/run/containerd/containerd.sock.ttrpc",
    "/run/docker/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock.ttrpc",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/cri-dockerd.sock",
    "/run/dockershim.sock",
    "/run/podman/podman.sock",
    "/run/nri/nri.sock",
    "/run/balena-engine.sock",
];

/// Directories in which each user has sockets of that name.
const SOCKETS_OF_USERS: (&str, [&str; 3]) = ("/run/user/", ["/docker.sock", "/podman/podman.sock", "/containerd/containerd.sock"]);

/// Images, root file systems and state of all containers.
const RUNTIME_DATA: [&str; 14] = [
    "/var/lib/containerd",
    "/run/containerd",
    "/var/lib/docker",
    "/run/docker",
    "/var/lib/containers",
    "/run/containers",
    "/var/lib/crio",
    "/run/crio",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/lib/rancher/rke2/agent/containerd",
    "/run/k3s/containerd",
    "/var/lib/k0s/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
    "/var/snap/microk8s/common/run/containerd",
];

/// Keys of the cluster.
const KUBERNETES: [&str; 10] = [
    "/etc/kubernetes",
    "/var/lib/etcd",
    "/var/lib/rancher/k3s/server",
    "/var/lib/rancher/rke2/server",
    "/etc/rancher",
    "/var/lib/k0s/pki",
    "/var/lib/k0s/etcd",
    "/var/lib/minikube",
    "/var/snap/microk8s/current",
    "/srv/kubernetes",
];

/// Devices that every container has (OCI runtime specification, "Default Devices").
const DEFAULT_DEVICES: [&str; 7] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];

/// What is where on this host.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    kubelets: Vec<String>,
    data: Vec<String>,
    sockets: Vec<String>,
    /// Those that are there, for directories.
    present: Vec<String>,
}

/// Whom a path may belong to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Whose<'a> {
    /// The container's id.
    pub(super) id: &'a str,
    /// Its sandbox's; empty where it is not known.
    pub(super) sandbox: &'a str,
    /// Its pod's uid; empty outside pods.
    pub(super) pod_uid: &'a str,
}

/// What a path is to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A volume of its pod, or what the runtime made for it.
    Own,
    /// A part of a volume, bound once more by the kubelet: of which, this path does not tell.
    PartOfOwn,
    /// A service account token of its pod.
    Token,
    /// The host's.
    Host(MountKind),
}

impl Places {
    pub(super) fn of(host: &Host, table: &ProcessTable) -> Self {
        // In a pod anybody may start a process of that name.
        let on_host = table.processes.iter().filter(|seen| seen.fact.placement == Placement::Host);
        let kubelets = || on_host.clone().filter(|seen| seen.role.is_some_and(|role| role.workload == Workload::Kubelet));
        let mut places = Self::default();
        places.kubelets.extend(KUBELETS.map(str::to_owned));
        places.kubelets.extend(kubelets().filter_map(|seen| flag(&seen.argv, "root-dir")).map(plain));
        let endpoints = kubelets().filter_map(|seen| flag(&seen.argv, "container-runtime-endpoint"));
        places.data.extend(RUNTIME_DATA.map(str::to_owned));
        for paths in [&mut places.kubelets, &mut places.data] {
            // Where a link leads, mounts say.
            let elsewhere: Vec<String> = paths.iter().filter_map(|path| real(host, path)).collect();
            paths.extend(elsewhere);
        }
        places.sockets.extend(SOCKETS.map(str::to_owned));
        places.sockets.extend(endpoints.map(|endpoint| plain(endpoint.strip_prefix("unix://").unwrap_or(endpoint))));
        let recorded = |path: &str| host.recording.as_ref().is_some_and(|recording| recording.files.contains_key(path));
        // One that may not be looked at may be there.
        let there = |path: &String| recorded(path) || host.root.stamp(path).err().is_none_or(|error| !error.is_absent());
        places.present = places.sockets.iter().filter(|path| there(path)).cloned().collect();
        places
    }

    /// A node with one socket.
    #[cfg(test)]
    pub(super) fn usual(socket: &str) -> Self {
        let sockets = SOCKETS.map(str::to_owned).to_vec();
        let data = RUNTIME_DATA.map(str::to_owned).to_vec();
        Self { kubelets: vec!["/var/lib/kubelet".to_owned()], data, sockets, present: vec![socket.to_owned()] }
    }

    /// What a plain path of the host is.
    pub(super) fn kind(&self, path: &str) -> MountKind {
        let user_socket = || {
            let below = path.strip_prefix(SOCKETS_OF_USERS.0).and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
            below.is_some_and(|below| SOCKETS_OF_USERS.1.contains(&below))
        };
        let any = |paths: &[&str]| paths.iter().any(|parent| within(path, parent));
        if path == "/" {
            MountKind::Root
        } else if self.sockets.iter().any(|socket| socket == path)
            || self.present.iter().any(|socket| within(socket, path))
            || user_socket()
        {
            MountKind::RuntimeSocket
        } else if any(&KUBERNETES) {
            MountKind::Kubernetes
        } else if self.kubelets.iter().any(|kubelet| within(path, kubelet)) {
            MountKind::Kubelet
        } else if self.data.iter().any(|data| within(path, data)) {
            MountKind::RuntimeData
        } else if within(path, "/etc") {
            MountKind::Etc
        } else if within(path, "/proc") {
            MountKind::Proc
        } else if within(path, "/sys/fs/cgroup") {
            MountKind::Cgroup
        } else if within(path, "/sys") {
            MountKind::Sys
        } else if within(path, "/dev") && !within(path, "/dev/shm") {
            MountKind::Dev
        } else if within(path, "/var/log") {
            MountKind::Logs
        } else if any(&["/root", "/home"]) {
            MountKind::Home
        } else if matches!(path, "/var" | "/var/lib") || self.kubelets.iter().any(|kubelet| within(kubelet, path)) {
            // What holds the kubelet's directory holds what is in it.
            MountKind::Kubelet
        } else if path == "/var/lib/rancher" || path == "/var/lib/k0s" {
            MountKind::Kubernetes
        } else {
            MountKind::Other
        }
    }

    /// What a path of the host is to one container.
    pub(super) fn place(&self, path: &str, whose: Whose<'_>) -> Place {
        if DEFAULT_DEVICES.contains(&path) {
            return Place::Own;
        }
        let kind = self.kind(path);
        match kind {
            MountKind::Kubelet => self.in_pod(path, whose).unwrap_or(Place::Host(kind)),
            MountKind::RuntimeData | MountKind::RuntimeSocket if has_own_id(path, whose) || is_volume(path) => Place::Own,
            // A runtime may keep its data anywhere. Before it makes a container nobody knows its id, to name a directory so.
            MountKind::Other if has_own_id(path, whose) => Place::Own,
            _ => Place::Host(kind),
        }
    }

    /// `<kubelet>/pods/<uid>/…` of the container's own pod.
    fn in_pod(&self, path: &str, whose: Whose<'_>) -> Option<Place> {
        if whose.pod_uid.is_empty() {
            return None;
        }
        let rest = self.kubelets.iter().find_map(|kubelet| path.strip_prefix(kubelet.as_str())?.strip_prefix("/pods/"))?;
        let rest = rest.strip_prefix(whose.pod_uid)?.strip_prefix('/')?;
        let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
        match first {
            "volumes" if is_token(rest) => Some(Place::Token),
            "volumes" | "etc-hosts" | "containers" => Some(Place::Own),
            "volume-subpaths" => Some(Place::PartOfOwn),
            _ => None,
        }
    }
}

/// `kubernetes.io~projected/kube-api-access-x7k2p`; before Kubernetes 1.21 `kubernetes.io~secret/default-token-x7k2p`.
fn is_token(volume: &str) -> bool {
    let name = |kind: &str| volume.strip_prefix(kind)?.strip_prefix('/')?.split('/').next();
    name("kubernetes.io~projected").is_some_and(|name| name.starts_with("kube-api-access-"))
        || name("kubernetes.io~secret").is_some_and(|name| name.contains("-token-"))
}

/// What the runtime made for the container or its sandbox.
fn has_own_id(path: &str, whose: Whose<'_>) -> bool {
    let own = |part: &str| !part.is_empty() && (part == whose.id || part == whose.sandbox);
    path.split('/').any(own)
}

/// A volume that the runtime keeps: `/var/lib/docker/volumes/<name>/_data`, `/var/lib/containers/storage/volumes/<name>/_data`.
fn is_volume(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let at = parts.by_ref().position(|part| part == "volumes");
    at.is_some_and(|at| at <= 4) && parts.nth(1) == Some("_data")
}

/// Where a directory really is, when a link is on the way to it.
fn real(host: &Host, path: &str) -> Option<String> {
    let (mut real, mut linked) = (String::new(), false);
    let mut left: Vec<String> = path.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned).collect();
    for _ in 0..MOST_PARTS {
        let Some(part) = left.pop() else { return (linked && !real.is_empty()).then_some(real) };
        if part == ".." {
            real.truncate(real.rfind('/').unwrap_or(0));
            continue;
        }
        let next = format!("{real}/{part}");
        let Some(target) = host.root.link_at(&next).ok()? else {
            real = next;
            continue;
        };
        linked = true;
        if target.starts_with('/') {
            real.clear();
        }
        left.extend(target.split('/').rev().filter(|part| !matches!(*part, "" | ".")).map(str::to_owned));
    }
    None
}

/// More parts than a path with links has; some lead in circles.
const MOST_PARTS: usize = 64;

/// Is `path` that of `parent` or below it.
pub(super) fn within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || parent == "/")
}

/// A path as the kernel would write it, as far as a text tells: `/var/run` is `/run` everywhere.
pub(super) fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.first() == Some(&"var") && parts.get(1) == Some(&"run") {
        parts.remove(0);
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const UID: &str = "8c0a2ef1-7b98-45d7-ba20-30e060ff9b58";
    const ID: &str = "80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537";
    const SANDBOX: &str = "1f05c5e3eee706504a52ed2243f6ada30ab4a2f37dfeb476763afb6df1c56b3d";

    fn places() -> Places {
        Places::usual("/run/containerd/containerd.sock")
    }

    #[rstest]
    #[case("/", MountKind::Root)]
    #[case("/run/containerd/containerd.sock", MountKind::RuntimeSocket)]
    #[case("/run/crio/crio.sock", MountKind::RuntimeSocket)]
    #[case("/run/user/1000/podman/podman.sock", MountKind::RuntimeSocket)]
    #[case("/run", MountKind::RuntimeSocket)]
    #[case("/run/containerd", MountKind::RuntimeSocket)]
    #[case("/run/containerd/io.containerd.runtime.v2.task", MountKind::RuntimeData)]
    #[case::its_socket_is_not_there("/run/crio", MountKind::RuntimeData)]
    #[case("/run/systemd", MountKind::Other)]
    #[case("/etc", MountKind::Etc)]
    #[case("/etc/ssl/certs", MountKind::Etc)]
    #[case("/etcd", MountKind::Other)]
    #[case("/etc/kubernetes/pki", MountKind::Kubernetes)]
    #[case("/var/lib/etcd", MountKind::Kubernetes)]
    #[case("/var/lib/kubelet", MountKind::Kubelet)]
    #[case("/var/lib/kubelet/device-plugins", MountKind::Kubelet)]
    #[case("/var/lib", MountKind::Kubelet)]
    #[case("/var", MountKind::Kubelet)]
    #[case("/var/lib/containerd/x", MountKind::RuntimeData)]
    #[case("/var/lib/containers/storage/overlay", MountKind::RuntimeData)]
    #[case("/proc", MountKind::Proc)]
    #[case("/proc/sys", MountKind::Proc)]
    #[case("/sys", MountKind::Sys)]
    #[case("/sys/fs/bpf", MountKind::Sys)]
    #[case("/sys/fs/cgroup/unified", MountKind::Cgroup)]
    #[case("/dev", MountKind::Dev)]
    #[case("/dev/kmsg", MountKind::Dev)]
    #[case("/dev/shm", MountKind::Other)]
    #[case("/var/log/pods", MountKind::Logs)]
    #[case("/root/.ssh", MountKind::Home)]
    #[case("/home", MountKind::Home)]
    #[case("/opt/cni/bin", MountKind::Other)]
    #[case("/lib/modules", MountKind::Other)]
    fn paths_are_classified(#[case] path: &str, #[case] kind: MountKind) {
        assert_eq!(places().kind(path), kind, "{path}");
    }

    #[rstest]
    #[case(format!("/var/lib/kubelet/pods/{UID}/etc-hosts"), Place::Own)]
    #[case(format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/tmp"), Place::Own)]
    #[case(format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~projected/kube-api-access-abcde"), Place::Token)]
    #[case(format!("/var/lib/kubelet/pods/{UID}/volume-subpaths/v/c/0"), Place::PartOfOwn)]
    #[case(format!("/var/lib/kubelet/pods/{UID}"), Place::Host(MountKind::Kubelet))]
    #[case(
        "/var/lib/kubelet/pods/11111111-7b98-45d7-ba20-30e060ff9b58/volumes/kubernetes.io~projected/kube-api-access-abcde".to_owned(),
        Place::Host(MountKind::Kubelet)
    )]
    #[case(format!("/tmp/pods/{UID}/volumes/x"), Place::Host(MountKind::Other))]
    #[case(format!("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{SANDBOX}/shm"), Place::Own)]
    #[case(format!("/data/docker/containers/{ID}/resolv.conf"), Place::Own)]
    #[case(format!("/etc/{ID}"), Place::Host(MountKind::Etc))]
    #[case(format!("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}x/shm"), Place::Host(MountKind::RuntimeData))]
    #[case(format!("/run/containers/storage/overlay-containers/{ID}/userdata/run/secrets"), Place::Own)]
    #[case("/var/lib/docker/volumes/data/_data".to_owned(), Place::Own)]
    #[case("/var/lib/docker/volumes".to_owned(), Place::Host(MountKind::RuntimeData))]
    #[case("/dev/null".to_owned(), Place::Own)]
    fn what_is_the_pods_own_is_not_the_hosts(#[case] path: String, #[case] expected: Place) {
        let whose = Whose { id: ID, sandbox: SANDBOX, pod_uid: UID };
        assert_eq!(places().place(&path, whose), expected, "{path}");
    }

    #[rstest]
    #[case("/var/run/docker.sock", "/run/docker.sock")]
    #[case("/var//run/", "/run")]
    #[case("/a/./b/../c", "/a/c")]
    #[case("/../..", "/")]
    #[case("", "/")]
    fn texts_are_made_plain(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(plain(path), expected);
    }
}
