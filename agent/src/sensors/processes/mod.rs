//! Processes: read once per life, then only checked for being the same.
//!
//! [`ProcessTable`] is what the sensors for kubelets, components, listeners and processes share in one pass. Kernel threads and
//! dead processes are left out; one that ends while it is read was never there. Must not know kubelet settings or sockets.

mod bundles;
mod cgroup;
mod namespaces;
mod parse;
mod role;
mod table;

pub(super) use parse::arguments;
pub(super) use role::{Role, Workload, role_of};
pub(super) use table::{Cache, ProcessTable, Seen};
