//! Which namespaces are the host's.

use holdfast_checks::facts::Unavailable;

use crate::host::{Host, ReadError};
use crate::sensors::sockets::Sockets;

/// The host's own namespaces, as their links name them.
#[derive(Debug, Clone)]
pub(super) struct Namespaces {
    pub(super) net: Result<String, Unavailable>,
    pub(super) mounts: Result<String, Unavailable>,
    pub(super) user: Option<String>,
    /// Of the host's user namespace, as the reader sees it.
    pub(super) uid_map: Option<String>,
    /// The reader lives in a cgroup namespace of its own.
    pub(super) cgroup_is_ours: bool,
}

impl Namespaces {
    /// Those of process 1. Where its links are missing (in a recording) or refused, the network namespace is that of a process
    /// which holds one of the sockets listed for process 1.
    pub(super) fn of_host(host: &Host, pids: &[i64]) -> Self {
        let init = host.proc.process(1);
        let link = |name: &str| match &init {
            Ok(init) => init.link(name),
            Err(error) => Err(ReadError::Absent { path: error.to_string() }),
        };
        let net = match link("ns/net") {
            Ok(own) => Ok(own),
            Err(error) => by_socket(host, pids).ok_or_else(|| Unavailable::new(error.reason(), format!("process 1: {error}"))),
        };
        let mounts = link("ns/mnt").map_err(|error| Unavailable::new(error.reason(), format!("process 1: {error}")));
        let cgroup = host.proc.root().read_text("1/cgroup").unwrap_or_default();
        let cgroup_is_ours = cgroup.lines().any(|line| line.rsplit(':').next().is_some_and(|path| path.starts_with("/..")));
        Self { net, mounts, user: link("ns/user").ok(), uid_map: host.proc.root().read_text("1/uid_map").ok(), cgroup_is_ours }
    }
}

fn by_socket(host: &Host, pids: &[i64]) -> Option<String> {
    let sockets = Sockets::read(host).ok()?;
    pids.iter().filter_map(|pid| host.proc.process(*pid).ok()).find_map(|process| {
        let holds = |name: &String| process.link(&format!("fd/{name}")).is_ok_and(|target| sockets.lists(&target));
        process.descriptors().ok()?.iter().any(holds).then(|| process.link("ns/net").ok())?
    })
}
