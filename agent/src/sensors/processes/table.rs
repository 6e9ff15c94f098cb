//! One pass over all processes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Listing, Observed, Placement, Process, Reason, Skipped, Source, SourceKind, Unavailable};

use super::namespaces::Namespaces;
use super::role::{CommandLine, Role};
use super::{cgroup, parse};
use crate::host::{Host, ProcessDir, ReadError};
use crate::sensors::aside::Aside;
use crate::sensors::containers::Bundles;
use crate::sensors::now;
use crate::sensors::programs::Programs;

/// A process may still change its name, its uid and its namespaces for this long after it was first seen.
const SETTLING: Duration = Duration::from_secs(5);
/// A process this old is read again, in case it changed its uid or capabilities late.
const STALE: Duration = Duration::from_mins(15);
/// A settled process is not looked at between two of these: on a busy host a process starts every second, and asking each of
/// thousands whether it is still itself would cost more than all else. Its pid could be another's that soon only if all pids
/// were used up between two passes.
const SURE: Duration = Duration::from_secs(15);

/// A process as it was read once.
#[derive(Debug)]
pub(in crate::sensors) struct Seen {
    pub(in crate::sensors) fact: Process,
    /// Its part in Kubernetes.
    pub(in crate::sensors) role: Option<Role>,
    /// Kept for Kubernetes components only: arguments are other people's secrets.
    pub(in crate::sensors) argv: Vec<String>,
    /// Why a component's `argv` is empty.
    pub(in crate::sensors) argv_unread: Option<Unavailable>,
    /// Does it share the host's mounts.
    pub(in crate::sensors) host_mounts: Observed<bool>,
    /// What tells a component from others of its kind: unit, pod or container by name, never a number that changes. Empty for
    /// others, and where nothing does.
    pub(in crate::sensors) instance: String,
    /// systemd unit or pod uid; empty when neither.
    pub(in crate::sensors) unit: String,
    first: Instant,
    read: Instant,
}

/// Every process of one pass, by pid.
#[derive(Debug)]
pub(in crate::sensors) struct ProcessTable {
    pub(in crate::sensors) processes: Vec<Arc<Seen>>,
    pub(in crate::sensors) skipped: Vec<Skipped>,
    pub(in crate::sensors) at: i64,
    /// What is known of the programs they run.
    pub(in crate::sensors) programs: Arc<Programs>,
    /// For reading those that are not the node's.
    pub(in crate::sensors) aside: Arc<Aside>,
    /// What files say of containers.
    pub(in crate::sensors) bundles: Arc<Bundles>,
}

/// What earlier passes read, by pid.
#[derive(Debug, Default)]
pub(in crate::sensors) struct Cache {
    seen: HashMap<i64, Known>,
    namespaces: Option<Namespaces>,
    programs: Arc<Programs>,
    aside: Arc<Aside>,
    bundles: Arc<Bundles>,
}

/// A process, and when it was last found to be still itself.
#[derive(Debug)]
struct Known {
    seen: Arc<Seen>,
    verified: Instant,
}

/// What one process turned out to be.
enum Read {
    Process(Known),
    /// A thread of the kernel, a dead process, or one that ended meanwhile.
    Nothing,
}

impl Cache {
    /// Forgets every process. What is known of files stays: it is looked up by what they are.
    pub(in crate::sensors) fn forget(&mut self) {
        self.seen.clear();
        self.namespaces = None;
    }

    /// Looks at every process; reads those not read before.
    pub(in crate::sensors) fn pass(&mut self, host: &Host) -> Result<ProcessTable, ReadError> {
        let pids = host.proc.pids()?;
        let namespaces = self.namespaces.get_or_insert_with(|| Namespaces::of_host(host, &pids)).clone();
        let (programs, aside) = (Arc::clone(&self.programs), Arc::clone(&self.aside));
        let bundles = Arc::clone(&self.bundles);
        let mut table = ProcessTable { processes: Vec::new(), skipped: Vec::new(), at: now(), programs, aside, bundles };
        if host.live() && pids.first() != Some(&1) {
            // Process 1 always runs. Where it is not listed, /proc is mounted with hidepid, and others are hidden too.
            table.skipped.push(Skipped { what: "processes hidden from the agent".to_owned(), reason: Reason::PermissionDenied });
        }
        let mut seen = HashMap::with_capacity(pids.len());
        for pid in pids {
            match self.process(host, pid, &namespaces) {
                Ok(Read::Process(known)) => {
                    table.processes.push(Arc::clone(&known.seen));
                    seen.insert(pid, known);
                }
                Ok(Read::Nothing) => {}
                Err(error @ ReadError::TimedOut { .. }) => return Err(error),
                Err(error) => table.skipped.push(error.skipped(format!("process {pid}"))),
            }
        }
        self.seen = seen;
        Ok(table)
    }

    fn process(&self, host: &Host, pid: i64, namespaces: &Namespaces) -> Result<Read, ReadError> {
        let known = self.seen.get(&pid);
        if let Some(Known { seen, verified }) = known.filter(|known| known.is_sure()) {
            return Ok(Read::Process(Known { seen: Arc::clone(seen), verified: *verified }));
        }
        let read = || -> Result<Read, ReadError> {
            let process = host.proc.process(pid)?;
            let stat = parse::stat(&process.read("stat")?).ok_or_else(|| ReadError::content("stat", "a process's stat"))?;
            if stat.dead || stat.kernel_thread {
                return Ok(Read::Nothing);
            }
            let before =
                known.map(|known| &known.seen).filter(|seen| seen.fact.start_ticks == stat.start_ticks && seen.fact.name == stat.name);
            if let Some(seen) = before.filter(|seen| seen.settled()) {
                return Ok(Read::Process(Known { seen: Arc::clone(seen), verified: Instant::now() }));
            }
            let first = before.map_or_else(Instant::now, |seen| seen.first);
            let seen = Arc::new(Seen::read(host, &process, stat, namespaces, &self.bundles, first)?);
            Ok(Read::Process(Known { seen, verified: Instant::now() }))
        };
        match read() {
            Err(error) if error.is_absent() => Ok(Read::Nothing),
            other => other,
        }
    }
}

impl Known {
    /// Is it not worth another look yet. The few components of Kubernetes always are.
    fn is_sure(&self) -> bool {
        self.seen.role.is_none() && self.seen.settled() && self.verified.elapsed() < SURE
    }
}

impl Seen {
    /// Read after it had time to settle, and not too long ago.
    fn settled(&self) -> bool {
        self.read.duration_since(self.first) >= SETTLING && self.read.elapsed() < STALE
    }

    /// Is the directory still that of the same process.
    pub(in crate::sensors) fn still_runs(&self, process: &ProcessDir) -> bool {
        let stat = process.read("stat").ok().and_then(|content| parse::stat(&content));
        stat.is_some_and(|stat| stat.start_ticks == self.fact.start_ticks)
    }

    fn read(host: &Host, process: &ProcessDir, stat: parse::Stat, host_namespaces: &Namespaces, bundles: &Bundles, first: Instant) -> Result<Self, ReadError> {
        let at = now();
        let status = parse::status(&process.read("status")?).ok_or_else(|| ReadError::content("status", "a process's status"))?;
        let cgroup = String::from_utf8_lossy(&process.read("cgroup")?).into_owned();
        let cgroup = cgroup::cgroup(&cgroup, host_namespaces.cgroup_is_ours);
        let exe = process.link("exe");
        let own_user = process.link("ns/user");
        let uid_map = match (&own_user, &host_namespaces.user, &host_namespaces.uid_map) {
            // The map is the namespace's: most processes share the host's.
            (Ok(own), Some(host), Some(map)) if own == host => Ok(Cow::Borrowed(map.as_str())),
            _ => process.read("uid_map").map(|map| Cow::Owned(String::from_utf8_lossy(&map).into_owned())),
        };
        let CommandLine { role, argv, unread: argv_unread } = CommandLine::read(process, exe.as_deref().ok(), cgroup.placement);
        let of_process = |place: &str| Source::new(SourceKind::Process, place);
        let unreadable = |error: &ReadError| Unavailable::new(error.reason(), format!("{}: {error}", stat.name));
        let host_network = match (process.link("ns/net"), &host_namespaces.net) {
            (Ok(own), Ok(host)) => Observed::known(own == *host, of_process("ns/net"), at),
            (Err(error), _) => Observed::Unavailable(unreadable(&error)),
            (Ok(_), Err(why)) => Observed::Unavailable(why.clone()),
        };
        let host_mounts = match (process.link("ns/mnt"), &host_namespaces.mounts) {
            (Ok(own), Ok(host)) => Observed::known(own == *host, of_process("ns/mnt"), at),
            (Err(error), _) => Observed::Unavailable(unreadable(&error)),
            (Ok(_), Err(why)) => Observed::Unavailable(why.clone()),
        };
        let user_namespace = match (&own_user, &host_namespaces.user, &uid_map) {
            (Ok(own), Some(host), _) => Observed::known(own != host, of_process("ns/user"), at),
            (_, _, Ok(map)) => Observed::known(!parse::identity_map(map), of_process("uid_map"), at),
            (_, _, Err(error)) => Observed::Unavailable(unreadable(error)),
        };
        let inside_uid = match &uid_map {
            Ok(map) => match parse::inside_uid(map, status.uid) {
                Some(uid) => Observed::known(uid, of_process("uid_map"), at),
                None => Observed::unavailable_because(Reason::NotSupported, format!("{}: its uid has no name inside", stat.name)),
            },
            Err(error) => Observed::Unavailable(unreadable(error)),
        };
        let fact = Process {
            subject: subject(host, bundles, &cgroup, exe.as_deref().unwrap_or(&stat.name)),
            start_ticks: stat.start_ticks,
            exe: match exe {
                Ok(exe) => Observed::known(exe, of_process("exe"), at),
                Err(error) => Observed::Unavailable(unreadable(&error)),
            },
            uid: status.uid,
            gid: status.gid,
            inside_uid,
            user_namespace,
            cap_effective: status.cap_effective,
            no_new_privileges: status.no_new_privileges,
            seccomp: status.seccomp,
            placement: cgroup.placement,
            pod_uid: cgroup.pod_uid.clone(),
            container_id: cgroup.container_id,
            cgroup: cgroup.path,
            host_network,
            name: stat.name,
            ..Process::unread(String::new(), process.pid)
        };
        let instance = if role.is_some() { instance(host, bundles, &fact, &cgroup.unit) } else { String::new() };
        let unit = if cgroup.pod_uid.is_empty() { cgroup.unit } else { cgroup.pod_uid };
        Ok(Self { fact, role, argv, argv_unread, host_mounts, instance, unit, first, read: Instant::now() })
    }
}

/// See [`Seen::instance`].
fn instance(host: &Host, bundles: &Bundles, fact: &Process, unit: &str) -> String {
    if fact.subject.starts_with("pod:") {
        return fact.subject.clone();
    }
    if !fact.container_id.is_empty() {
        return bundles.called(host, &fact.container_id);
    }
    if fact.placement == Placement::Machine {
        // `/machine.slice/systemd-nspawn@name.service/payload/…`: the machine, not the unit inside it.
        let parts = fact.cgroup.split('/').filter(|part| !part.is_empty());
        return parts.filter(|part| part.strip_suffix(".slice").is_none()).take(1).collect();
    }
    unit.to_owned()
}

/// A name that outlives the process: see [`Process::subject`].
fn subject(host: &Host, bundles: &Bundles, cgroup: &cgroup::Cgroup, exe: &str) -> String {
    let executable = exe.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default();
    if !cgroup.container_id.is_empty()
        && let Some(name) = bundles.name_of(host, &cgroup.container_id, &cgroup.pod_uid)
    {
        return format!("pod:{name}");
    }
    match cgroup.placement {
        Placement::Pod => format!("pod:{}/{executable}", cgroup.pod_uid),
        Placement::Host if cgroup.unit.is_empty() => format!("service:{}/{executable}", cgroup.path.trim_matches('/')),
        Placement::Host => format!("service:{}/{executable}", cgroup.unit),
        Placement::User | Placement::Machine | Placement::Other => {
            // A session's number changes with every login.
            let path = cgroup.path.trim_matches('/');
            let stable = path.rsplit_once('/').filter(|(_, last)| last.starts_with("session-")).map_or(path, |(parent, _)| parent);
            format!("process:{stable}/{executable}")
        }
    }
}

impl ProcessTable {
    /// As facts.
    pub(in crate::sensors) fn facts(&self) -> Observed<Listing<Process>> {
        let items = self.processes.iter().map(|seen| seen.fact.clone()).collect();
        Observed::known(Listing { items, skipped: self.skipped.clone() }, Source::new(SourceKind::Kernel, "/proc"), self.at)
    }
}
