//! One process, read in full.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{ExePlace, Observed, Placement, Process, Reason, Shares, Source, SourceKind, Unavailable};

use super::label::Labels;
use super::namespaces::Namespaces;
use super::place::{Places, Wanted};
use super::role::{CommandLine, Role};
use super::{cgroup, parse};
use crate::host::{Buffer, Host, ProcessDir, ReadError};
use crate::sensors::containers::Bundles;
use crate::sensors::now;

/// A process may still change its name, its uid and its namespaces for this long after it was started.
const SETTLING: Duration = Duration::from_secs(5);
/// A process this old is read again, in case it changed something late that nothing tells of.
const STALE: Duration = Duration::from_mins(15);
/// What is not read of a service of the host.
const OF_THE_HOST: &str = "not read of a service of the host";

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
    /// When it was started, or first seen where that is not known.
    pub(in crate::sensors) first: Instant,
    read: Instant,
    /// Its program's directory, while that is not looked up.
    pub(super) wanted: Option<Wanted>,
}

/// What reading one process needs of the pass it is part of.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    pub(super) host: &'a Host,
    pub(super) namespaces: &'a Namespaces,
    pub(super) labels: Labels,
    pub(super) places: &'a mut Places,
    pub(super) bundles: &'a Bundles,
    pub(super) buffer: &'a mut Buffer,
}

impl Seen {
    /// Read after it had time to settle, and not too long ago.
    pub(super) fn settled(&self) -> bool {
        self.read.duration_since(self.first) >= SETTLING && self.read.elapsed() < STALE
    }

    /// Is the directory still that of the same process.
    pub(in crate::sensors) fn still_runs(&self, process: &ProcessDir) -> bool {
        let stat = process.read("stat").ok().and_then(|content| parse::stat(&content));
        stat.is_some_and(|stat| stat.start_ticks == self.fact.start_ticks)
    }

    /// Is what `status` says what it said.
    pub(super) fn agrees(&self, status: &parse::Status) -> bool {
        let fact = &self.fact;
        let ids = (status.uid, status.real_uid, status.gid, &status.groups);
        let masks = (status.cap_effective, status.cap_permitted, status.cap_bounding);
        let restrictions = (status.no_new_privileges, status.seccomp);
        ids == (fact.uid, fact.real_uid, fact.gid, &fact.groups)
            && masks == (fact.cap_effective, fact.cap_permitted, fact.cap_bounding)
            && restrictions == (fact.no_new_privileges, fact.seccomp)
    }

    pub(super) fn read(pass: &mut Pass<'_>, process: &ProcessDir, stat: parse::Stat, first: Instant) -> Result<Self, ReadError> {
        let at = now();
        let own = pass.namespaces;
        let status = parse::status(process.read_into("status", pass.buffer)?);
        let status = status.ok_or_else(|| ReadError::content("status", "a process's status"))?;
        let cgroup = cgroup::cgroup(&String::from_utf8_lossy(process.read_into("cgroup", pass.buffer)?), own.cgroup_is_ours);
        let exe = process.link("exe");
        let user = process.link("ns/user");
        let mounts = process.link("ns/mnt");
        let uid_map = match (&user, &own.user, &own.uid_map) {
            // The map is the namespace's: most processes share the host's.
            (Ok(user), Some(host), Some(map)) if user == host => Ok(Cow::Borrowed(map.as_str())),
            _ => process.read("uid_map").map(|map| Cow::Owned(String::from_utf8_lossy(&map).into_owned())),
        };
        let CommandLine { role, argv, unread: argv_unread } =
            CommandLine::read(process, exe.as_deref().ok(), cgroup.placement, pass.buffer);

        let facts = Facts { name: &stat.name, at };
        let same = |link: &Result<String, ReadError>, host: &Result<String, Unavailable>, place: &str| match (link, host) {
            (Ok(own), Ok(host)) => facts.known(own == host, place),
            (Err(error), _) => facts.unread(error),
            (Ok(_), Err(why)) => Observed::Unavailable(why.clone()),
        };
        let user_namespace = match (&user, &own.user, &uid_map) {
            (Ok(user), Some(host), _) => facts.known(user != host, "ns/user"),
            (_, _, Ok(map)) => facts.known(!parse::identity_map(map), "uid_map"),
            (_, _, Err(error)) => facts.unread(error),
        };
        let inside_uid = match &uid_map {
            Ok(map) => match parse::inside_uid(map, status.uid) {
                Some(uid) => facts.known(uid, "uid_map"),
                None => Observed::unavailable_because(Reason::NotSupported, format!("{}: its uid has no name inside", stat.name)),
            },
            Err(error) => facts.unread(error),
        };
        let (exe_place, wanted) = exe_place(pass, &facts, exe.as_deref(), &mounts, process.pid, stat.start_ticks);
        let of_container = matches!(cgroup.placement, Placement::Pod | Placement::Machine) || !cgroup.container_id.is_empty();
        let fact = Process {
            subject: subject(pass, &cgroup, exe.as_deref().unwrap_or(&stat.name)),
            pid: process.pid,
            start_ticks: stat.start_ticks,
            age_ms: None, // told once for all, when the pass is over
            parent: stat.parent,
            inside_pid: status.ids.last().copied().unwrap_or(0),
            exe_place,
            uid: status.uid,
            real_uid: status.real_uid,
            gid: status.gid,
            inside_uid,
            user_namespace,
            cap_effective: status.cap_effective,
            cap_permitted: status.cap_permitted,
            cap_bounding: status.cap_bounding,
            no_new_privileges: status.no_new_privileges,
            seccomp: status.seccomp,
            label: if of_container { label(pass, &facts, process) } else { not_read("not read outside containers") },
            placement: cgroup.placement,
            pod_uid: cgroup.pod_uid.clone(),
            container_id: cgroup.container_id,
            cgroup: cgroup.path,
            host_network: same(&process.link("ns/net"), &own.net, "ns/net"),
            shares: match cgroup.placement {
                Placement::Host => not_read(OF_THE_HOST),
                _ => shares(own, &facts, process, &status.ids, &mounts),
            },
            groups: status.groups,
            exe: match exe {
                Ok(exe) => facts.known(exe, "exe"),
                Err(error) => facts.unread(&error),
            },
            name: stat.name.clone(),
        };
        let host_mounts = same(&mounts, &own.mounts, "ns/mnt");
        let instance = if role.is_some() { instance(pass.host, pass.bundles, &fact, &cgroup.unit) } else { String::new() };
        let unit = if cgroup.pod_uid.is_empty() { cgroup.unit } else { cgroup.pod_uid };
        Ok(Self { fact, role, argv, argv_unread, host_mounts, instance, unit, first, read: Instant::now(), wanted })
    }
}

/// Makes observations of one process.
struct Facts<'a> {
    name: &'a str,
    at: i64,
}

impl Facts<'_> {
    fn known<T>(&self, value: T, place: &str) -> Observed<T> {
        Observed::known(value, Source::new(SourceKind::Process, place), self.at)
    }

    fn unread<T>(&self, error: &ReadError) -> Observed<T> {
        Observed::unavailable_because(error.reason(), format!("{}: {error}", self.name))
    }

    fn because<T>(&self, why: &Unavailable) -> Observed<T> {
        Observed::unavailable_because(why.reason, format!("{}: {}", self.name, why.detail))
    }
}

fn not_read<T>(why: &str) -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, why)
}

fn label(pass: &mut Pass<'_>, facts: &Facts<'_>, process: &ProcessDir) -> Observed<String> {
    match pass.labels.read(process, pass.buffer) {
        Ok((label, file)) => facts.known(label, file),
        Err(why) => Observed::Unavailable(why),
    }
}

fn shares(own: &Namespaces, facts: &Facts<'_>, process: &ProcessDir, ids: &[i64], mounts: &Result<String, ReadError>) -> Observed<Shares> {
    match own.shares(process, ids, mounts) {
        Ok(shares) => facts.known(shares, "ns"),
        Err(why) => facts.because(&why),
    }
}

/// Where the program is, or what to look up to know it.
fn exe_place(
    pass: &mut Pass<'_>,
    facts: &Facts<'_>,
    exe: Result<&str, &ReadError>,
    mounts: &Result<String, ReadError>,
    pid: i64,
    start_ticks: i64,
) -> (Observed<ExePlace>, Option<Wanted>) {
    let (exe, mounts) = match (exe, mounts) {
        (Ok(exe), Ok(mounts)) => (exe, mounts.as_str()),
        // A recording of a host without this has one root.
        (Ok(exe), Err(_)) if !pass.host.live() => (exe, ""),
        (Err(error), _) | (_, Err(error)) => return (facts.unread(error), None),
    };
    let of_host = pass.namespaces.mounts.as_deref().is_ok_and(|host| host == mounts);
    let wanted = Wanted::new(exe, if of_host { "" } else { mounts }, pid, start_ticks);
    match pass.places.of(pass.host, exe, &wanted) {
        Some(Ok(place)) => (facts.known(place, "exe"), None),
        Some(Err(why)) => (facts.because(&why), None),
        None => (not_read("not looked up"), Some(wanted)),
    }
}

impl Seen {
    /// Says what was found of the directory it was waiting for.
    pub(super) fn settle_place(&mut self, found: Result<ExePlace, Unavailable>) {
        let facts = Facts { name: &self.fact.name, at: now() };
        self.fact.exe_place = match found {
            Ok(place) => facts.known(place, "exe"),
            Err(why) => facts.because(&why),
        };
        self.wanted = None;
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
fn subject(pass: &Pass<'_>, cgroup: &cgroup::Cgroup, exe: &str) -> String {
    let executable = exe.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default();
    if cgroup.placement == Placement::Pod
        && !cgroup.container_id.is_empty()
        && let Some(name) = pass.bundles.name_of(pass.host, &cgroup.container_id, &cgroup.pod_uid)
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
