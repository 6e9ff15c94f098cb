//! Processes: read once per life, then only checked for being the same.
//!
//! [`ProcessTable`] is what the sensors for kubelets, components, listeners and processes share in one pass. Kernel threads and
//! dead processes are left out; one that ends while it is read was never there. Must not know kubelet settings or sockets.
//!
//! What is noticed of a process that was read before, and when:
//!
//! | what | how | when |
//! |---|---|---|
//! | it ended | its pid is gone, or its directory is another | next pass |
//! | another uid or gid in effect: a setuid program, `setuid()` | the owner of its directory | next pass; services of the host 15 s |
//! | another program, with capabilities of its own | the link `exe` | next pass; services of the host 15 s |
//! | everything, of one younger than five seconds | read in full | next pass |
//! | another name, other capabilities within what it was permitted, seccomp, `NoNewPrivs`, groups | `stat`, of others than services of the host `status` | 15 s |
//! | another cgroup, other namespaces | read in full | 15 min |
//!
//! More than it was permitted a process gets only by running another program, or by becoming root: the second and the third row.

mod cgroup;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod label;
mod namespaces;
mod parse;
mod place;
mod role;
mod seen;
mod table;

pub(super) use parse::arguments;
pub(super) use role::{Role, Workload, role_of};
pub(super) use seen::Seen;
pub(super) use table::{Cache, ProcessTable};

/// Does this process table show threads of the kernel: only that of the first pid namespace does.
pub(super) fn has_kernel_threads(host: &crate::host::Host) -> bool {
    namespaces::kernel_thread(host).is_some()
}
