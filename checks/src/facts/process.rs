//! User-space processes as the host sees them.

use serde::{Deserialize, Serialize};

use super::{Observed, Reason, Unavailable};

/// One process. `name`, `exe` and `argv0` are attacker-controlled text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// `pod:<namespace>/<name>/<container>` where the container's files tell, else `pod:<pod uid>/<executable>`, else
    /// `service:<unit>/<executable>` or `process:<cgroup>/<executable>`. Never a pid.
    pub subject: String,
    /// Process id. For joining only.
    pub pid: i64,
    /// Start time in clock ticks since boot; with `pid` it identifies the process.
    pub start_ticks: i64,
    /// For how long it had run when processes were read, in milliseconds. `None`: the reader has no clock that fits, as in a recording.
    #[serde(default)]
    pub age_ms: Option<i64>,
    /// Process id of its parent. For joining only.
    pub parent: i64,
    /// Its id in its own pid namespace, the last of `NSpid`; 1 is what the namespace was made for. Zero where the kernel does not
    /// tell.
    pub inside_pid: i64,
    /// `comm`.
    pub name: String,
    /// The executable's path in the process's own root; ends in ` (deleted)` when replaced.
    pub exe: Observed<String>,
    /// What sort of place the executable is in.
    pub exe_place: Observed<ExePlace>,
    /// Host effective uid.
    pub uid: i64,
    /// Host real uid: who started it. Differs from `uid` in a setuid program.
    pub real_uid: i64,
    /// Host effective gid.
    pub gid: i64,
    /// Supplementary groups, host ids, as many as the sensor keeps.
    pub groups: Vec<i64>,
    /// The effective uid as the process itself sees it, through `uid_map`.
    pub inside_uid: Observed<i64>,
    /// Runs in a user namespace of its own, where root is not host root.
    pub user_namespace: Observed<bool>,
    /// Effective capability mask, `CapEff`.
    pub cap_effective: i64,
    /// Permitted capability mask, `CapPrm`.
    pub cap_permitted: i64,
    /// Bounding set, `CapBnd`: what it could still gain.
    pub cap_bounding: i64,
    /// `NoNewPrivs`.
    pub no_new_privileges: bool,
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub seccomp: i64,
    /// Its label by AppArmor (`cri-containerd.apparmor.d (enforce)`, `unconfined`) or SELinux (`system_u:system_r:container_t:s0`).
    /// Unavailable where no such module runs.
    pub label: Observed<String>,
    /// The cgroup path (v2, or the v1 `name=systemd` hierarchy, else the longest).
    pub cgroup: String,
    /// Which part of the host it belongs to, by cgroup.
    pub placement: Placement,
    /// Pod uid; empty outside pods.
    pub pod_uid: String,
    /// Container id; empty outside containers.
    pub container_id: String,
    /// Shares the host's network namespace.
    pub host_network: Observed<bool>,
    /// Which other namespaces it shares with the host. Not read for services of the host, which share all.
    pub shares: Observed<Shares>,
}

impl Process {
    /// A process of which nothing is known but who it is: no root, without capabilities, outside pods.
    pub fn unread(subject: impl Into<String>, pid: i64) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        Self {
            subject: subject.into(),
            pid,
            start_ticks: 0,
            age_ms: None,
            parent: 0,
            inside_pid: 0,
            name: String::new(),
            exe: Observed::Unavailable(why.clone()),
            exe_place: Observed::Unavailable(why.clone()),
            uid: 65_534,
            real_uid: 65_534,
            gid: 65_534,
            groups: Vec::new(),
            inside_uid: Observed::Unavailable(why.clone()),
            user_namespace: Observed::Unavailable(why.clone()),
            cap_effective: 0,
            cap_permitted: 0,
            cap_bounding: 0,
            no_new_privileges: false,
            seccomp: 0,
            label: Observed::Unavailable(why.clone()),
            cgroup: String::new(),
            placement: Placement::Other,
            pod_uid: String::new(),
            container_id: String::new(),
            host_network: Observed::Unavailable(why.clone()),
            shares: Observed::Unavailable(why),
        }
    }
}

/// Namespaces that a process has in common with process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "one per namespace, as the kernel has them")]
pub struct Shares {
    /// Process ids: it sees, and as root may signal, every process of the host.
    pub pid: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host name.
    pub uts: bool,
    /// Mounts: it sees the host's file system itself.
    pub mounts: bool,
    /// The cgroup tree's root.
    pub cgroup: bool,
}

/// Where the file lies that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExePlace {
    /// A directory that not everybody may write to.
    Ordinary,
    /// A directory that everybody may write to, `/tmp` and its like.
    WorldWritable,
    /// Memory: `memfd_create`, never a file.
    Memory,
    /// It was removed or replaced since.
    Deleted,
}

/// Which part of the host a process belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// A service of the host: a cgroup under `system.slice`, `init.scope`, the root cgroup or a distribution's own name for
    /// these, or a service in a slice of the administrator's. A runtime's monitor of a container is one too.
    Host,
    /// A Kubernetes pod: `kubepods`.
    Pod,
    /// A container or machine outside Kubernetes: `machine.slice`, `docker`, `libpod`.
    Machine,
    /// A person's session: `user.slice`.
    User,
    /// None of these.
    Other,
}
