//! Containers: who they are, what they were configured to be, what they are.
//!
//! Three answers beside each other: `configured` is what the runtime was told (OCI bundle, Docker's file, CRI), `mounts` and
//! `root_read_only` what the kernel has mounted, `running` what its processes are. Checks read one of them, or are contradictions.

use serde::{Deserialize, Serialize};

use super::{Listing, Observed, Placement, Reason, Unavailable};

/// One running container. Sensors fill everything but `running`, which derivation makes of the processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// `pod:<namespace>/<pod>/<container>`, as its processes are called; outside pods `container:<name>`, without a name the
    /// start of its id. Never a pid.
    pub subject: String,
    /// The runtime's id, in full.
    pub id: String,
    /// Who runs it: `containerd`, `cri-o`, `docker`, `podman`; empty where nothing tells.
    pub runtime: String,
    /// What the container is to its pod. Derivation makes a container of a sandbox that holds more than its one process.
    pub kind: ContainerKind,
    /// Pod, machine or other, by cgroup.
    pub placement: Placement,
    /// Namespace of its pod; unavailable (`not_present`) outside pods.
    pub namespace: Observed<String>,
    /// Name of its pod; unavailable (`not_present`) outside pods.
    pub pod: Observed<String>,
    /// Uid of its pod by cgroup; empty outside pods.
    pub pod_uid: String,
    /// The container's own name.
    pub name: Observed<String>,
    /// The image as the pod names it: `registry.example/app:v1`.
    pub image: Observed<String>,
    /// The image's digest, `sha256:…`, where a file or the runtime tells it.
    pub image_digest: Observed<String>,
    /// The program or class that runs it: `runc`, `crun`, `runsc`, `kata`.
    pub handler: Observed<String>,
    /// What the runtime was told.
    pub configured: Observed<Configured>,
    /// What of the host is mounted in it, as the kernel says, and its service account token. Volumes of the pod's own are left out.
    pub mounts: Observed<Listing<Mount>>,
    /// Is its root mounted read-only, as the kernel says.
    pub root_read_only: Observed<bool>,
    /// Derived: what its processes are. Unavailable where they could not be read.
    pub running: Observed<Running>,
}

impl Container {
    /// A container of which nothing is known but its name and id.
    pub fn unread(subject: impl Into<String>, id: impl Into<String>) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        Self {
            subject: subject.into(),
            id: id.into(),
            runtime: String::new(),
            kind: ContainerKind::Container,
            placement: Placement::Other,
            namespace: Observed::Unavailable(why.clone()),
            pod: Observed::Unavailable(why.clone()),
            pod_uid: String::new(),
            name: Observed::Unavailable(why.clone()),
            image: Observed::Unavailable(why.clone()),
            image_digest: Observed::Unavailable(why.clone()),
            handler: Observed::Unavailable(why.clone()),
            configured: Observed::Unavailable(why.clone()),
            mounts: Observed::Unavailable(why.clone()),
            root_read_only: Observed::Unavailable(why.clone()),
            running: Observed::Unavailable(why),
        }
    }
}

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// A container that somebody asked for.
    Container,
    /// The runtime's own, which holds the pod's namespaces (`pause`).
    Sandbox,
}

/// What the runtime was told. Each is unavailable where the place that was read does not say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    /// Uid of its first process, as the container sees it.
    pub user: Observed<i64>,
    /// Gid of its first process, as the container sees it.
    pub group: Observed<i64>,
    /// Started as privileged: said so, or every capability, no filter and all devices at once.
    pub privileged: Observed<bool>,
    /// Bounding capabilities by name, `SYS_ADMIN`, sorted.
    pub capabilities: Observed<Vec<String>>,
    /// `no_new_privs` is set before it starts.
    pub no_new_privileges: Observed<bool>,
    /// A seccomp profile is given.
    pub seccomp: Observed<bool>,
    /// Its AppArmor profile; empty when none is given.
    pub apparmor: Observed<String>,
    /// Its SELinux label; empty when none is given.
    pub selinux: Observed<String>,
    /// The root file system is to be read-only.
    pub root_read_only: Observed<bool>,
    /// It is to have a user namespace of its own.
    pub user_namespace: Observed<bool>,
    /// It is to use the host's network.
    pub host_network: Observed<bool>,
    /// It is to see the host's processes.
    pub host_pid: Observed<bool>,
    /// It is to share the host's IPC.
    pub host_ipc: Observed<bool>,
    /// What of the host is to be mounted, and the service account token.
    pub mounts: Observed<Listing<Mount>>,
}

/// A piece of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// What that is.
    pub kind: MountKind,
    /// Mounted writable.
    pub writable: bool,
}

/// What a mounted piece of the host is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// The socket of containerd, CRI-O, Docker or Podman, or a directory that has it.
    RuntimeSocket,
    /// `/`.
    Root,
    /// `/etc` and what is below, but Kubernetes' own.
    Etc,
    /// `/etc/kubernetes`, etcd's data: the cluster's keys.
    Kubernetes,
    /// The kubelet's directory, but the pod's own volumes.
    Kubelet,
    /// The runtime's data: images and root file systems of all.
    RuntimeData,
    /// The host's `/proc`.
    Proc,
    /// The host's `/sys`.
    Sys,
    /// The cgroup tree.
    Cgroup,
    /// The host's `/dev`, or a device below it.
    Dev,
    /// `/var/log`.
    Logs,
    /// `/root` and `/home`.
    Home,
    /// A service account token; not a piece of the host.
    Token,
    /// Any other path of the host.
    Other,
}

/// What the processes of a container are, taken together. A list of programs names each once, by its executable's name, sorted,
/// at most sixteen. One that would be empty only because something could not be read is unavailable with that reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// How many processes.
    pub processes: i64,
    /// Effective host uids.
    pub uids: Observed<Vec<i64>>,
    /// Effective host gids and supplementary groups.
    pub gids: Observed<Vec<i64>>,
    /// Programs whose effective uid is the host's root.
    pub host_root: Observed<Vec<String>>,
    /// Programs that are root only inside a user namespace.
    pub inside_root: Observed<Vec<String>>,
    /// Programs that somebody else started and that are root now: setuid.
    pub became_root: Observed<Vec<String>>,
    /// All run in a user namespace of their own.
    pub user_namespace: Observed<bool>,
    /// Effective and permitted capabilities of any of them by name, sorted. Those that made a user namespace of their own do not count, where
    /// others did not.
    pub capabilities: Observed<Vec<String>>,
    /// Bounding capabilities of the same by name, sorted.
    pub capabilities_bounding: Observed<Vec<String>>,
    /// Programs without a seccomp filter.
    pub unfiltered: Observed<Vec<String>>,
    /// Programs without `no_new_privs`.
    pub may_gain: Observed<Vec<String>>,
    /// Labels by AppArmor or SELinux.
    pub labels: Observed<Vec<String>>,
    /// Any is in the host's network namespace.
    pub host_network: Observed<bool>,
    /// Any sees the host's processes.
    pub host_pid: Observed<bool>,
    /// Any shares the host's IPC.
    pub host_ipc: Observed<bool>,
    /// Any is in the host's mount namespace.
    pub host_mounts: Observed<bool>,
    /// Programs that were removed or replaced since they started.
    pub deleted: Observed<Vec<String>>,
    /// Programs that run from memory and never were a file.
    pub memory: Observed<Vec<String>>,
    /// Programs in places that everybody may write to.
    pub world_writable: Observed<Vec<String>>,
    /// Programs that were started in it from outside (`kubectl exec`) and have run for long.
    pub exec_sessions: Observed<Vec<String>>,
}
