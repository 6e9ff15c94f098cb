//! Which namespaces are the host's.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Placement, Shares, Unavailable};

use super::{cgroup, parse};
use crate::host::{Host, ProcessDir, ReadError};
use crate::sensors::sockets::Sockets;

/// The parent of the kernel's threads, in the table of the host's first pid namespace and in no other.
const KTHREADD: i64 = 2;
/// The first namespaces have the same numbers on every kernel since 3.8 (`include/linux/proc_ns.h`, `uapi/linux/nsfs.h`).
const FIRST: [(&str, &str); 3] = [("ns/ipc", "ipc:[4026531839]"), ("ns/uts", "uts:[4026531838]"), ("ns/cgroup", "cgroup:[4026531835]")];
/// So many processes of the host are asked where the mounts are that most of them share.
const ASKED: usize = 64;

/// The host's own namespaces, as their links name them.
#[derive(Debug, Clone)]
pub(super) struct Namespaces {
    pub(super) net: Result<String, Unavailable>,
    pub(super) mounts: Result<String, Unavailable>,
    pub(super) user: Option<String>,
    pid: Result<String, Unavailable>,
    ipc: Result<String, Unavailable>,
    uts: Result<String, Unavailable>,
    cgroup: Result<String, Unavailable>,
    /// The reader lives in a cgroup namespace of its own.
    pub(super) cgroup_is_ours: bool,
}

impl Namespaces {
    /// Those of process 1. Some hosts let nobody look at it, and recordings may lack it; then instead
    /// - those of the kernel's threads, which are in the first namespaces like process 1. Not their mounts: newer kernels keep
    ///   them in an empty file system of their own;
    /// - the network namespace of a process that holds one of the sockets listed for process 1;
    /// - the mounts that most services of the host share;
    /// - in a recording, which has no threads of the kernel, the numbers that the first namespaces always have.
    pub(super) fn of_host(host: &Host, pids: &[i64]) -> Self {
        let init = host.proc.process(1);
        let kernel = kernel_thread(host);
        let of_init = |name: &str| match &init {
            Ok(init) => init.link(name),
            Err(error) => Err(ReadError::Absent { path: error.to_string() }),
        };
        let link = |name: &str| {
            of_init(name).or_else(|error| match kernel.as_ref().map(|thread| thread.link(name)) {
                Some(Ok(link)) => Ok(link),
                _ => FIRST.iter().find(|(of, _)| *of == name && !host.live()).map(|(_, link)| (*link).to_owned()).ok_or(error),
            })
        };
        let told = |error: ReadError| Unavailable::new(error.reason(), format!("process 1: {error}"));
        let cgroup = host.proc.root().read_text("1/cgroup").unwrap_or_default();
        let cgroup_is_ours = cgroup.lines().any(|line| line.rsplit(':').next().is_some_and(|path| path.starts_with("/..")));
        Self {
            net: link("ns/net").or_else(|error| by_socket(host, pids).ok_or_else(|| told(error))),
            mounts: of_init("ns/mnt").or_else(|error| by_services(host, pids, cgroup_is_ours).ok_or_else(|| told(error))),
            user: link("ns/user").ok(),
            pid: link("ns/pid").map_err(told),
            ipc: link("ns/ipc").map_err(told),
            uts: link("ns/uts").map_err(told),
            cgroup: link("ns/cgroup").map_err(told),
            cgroup_is_ours,
        }
    }

    /// What `process` shares with the host. `ids` are its own by pid namespace: only one means that it is in the one whose
    /// table this is.
    pub(super) fn shares(&self, process: &ProcessDir, ids: &[i64], mounts: &Result<String, ReadError>) -> Result<Shares, Unavailable> {
        let same = |link: Result<&String, &ReadError>, host: &Result<String, Unavailable>| match (link, host) {
            (Ok(own), Ok(host)) => Ok(own == host),
            (Err(error), _) => Err(Unavailable::new(error.reason(), error.to_string())),
            (Ok(_), Err(why)) => Err(why.clone()),
        };
        let read = |name: &str, host: &Result<String, Unavailable>| same(process.link(name).as_ref(), host);
        Ok(Shares {
            pid: if ids.is_empty() { read("ns/pid", &self.pid)? } else { ids.len() == 1 },
            ipc: read("ns/ipc", &self.ipc)?,
            uts: read("ns/uts", &self.uts)?,
            mounts: same(mounts.as_ref(), &self.mounts)?,
            cgroup: read("ns/cgroup", &self.cgroup)?,
        })
    }
}

/// A thread of the kernel, if this is the host's own table.
pub(super) fn kernel_thread(host: &Host) -> Option<ProcessDir> {
    let process = host.proc.process(KTHREADD).ok()?;
    let stat = parse::stat(&process.read("stat").ok()?)?;
    // Only the kernel can make one of these.
    (stat.kernel_thread && host.live()).then_some(process)
}

fn by_socket(host: &Host, pids: &[i64]) -> Option<String> {
    let sockets = Sockets::read(host).ok()?;
    pids.iter().filter_map(|pid| host.proc.process(*pid).ok()).find_map(|process| {
        let holds = |name: &String| process.link(&format!("fd/{name}")).is_ok_and(|target| sockets.lists(&target));
        process.descriptors().ok()?.iter().any(holds).then(|| process.link("ns/net").ok())?
    })
}

/// Services may have mounts of their own, but each has others: more than half of those asked must agree. Where the host has no
/// services, whoever is in no container is asked.
fn by_services(host: &Host, pids: &[i64], namespaced: bool) -> Option<String> {
    let outside_containers = |pid: &i64| {
        let process = host.proc.process(*pid).ok()?;
        // A thread of the kernel runs no program.
        let mounts = process.link("exe").and_then(|_| process.link("ns/mnt")).ok()?;
        let cgroup = String::from_utf8_lossy(&process.read("cgroup").ok()?).into_owned();
        match cgroup::cgroup(&cgroup, namespaced).placement {
            Placement::Pod | Placement::Machine => None,
            placement => Some((placement == Placement::Host, mounts)),
        }
    };
    let asked: Vec<(bool, String)> = pids.iter().filter_map(outside_containers).take(ASKED).collect();
    let services = asked.iter().any(|(service, _)| *service);
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, mounts) in asked.iter().filter(|(service, _)| *service || !services) {
        *counted.entry(mounts).or_default() += 1;
    }
    let all: usize = counted.values().sum();
    counted.into_iter().find(|(_, count)| count * 2 > all).map(|(mounts, _)| mounts.to_owned())
}
