//! User-space processes as the host sees them.

use serde::{Deserialize, Serialize};

use super::Observed;

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
    /// `comm`.
    pub name: String,
    /// The executable's path in the process's own root; ends in ` (deleted)` when replaced.
    pub exe: Observed<String>,
    /// Host effective uid.
    pub uid: i64,
    /// Host effective gid.
    pub gid: i64,
    /// The effective uid as the process itself sees it, through `uid_map`.
    pub inside_uid: Observed<i64>,
    /// Runs in a user namespace of its own, where root is not host root.
    pub user_namespace: Observed<bool>,
    /// Effective capability mask, `CapEff`.
    pub cap_effective: i64,
    /// `NoNewPrivs`.
    pub no_new_privileges: bool,
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub seccomp: i64,
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
