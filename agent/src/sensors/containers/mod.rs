//! Containers: those that have processes, joined with what files say of them and what the kernel has mounted in them.
//!
//! The process table says which containers there are and to which pods they belong, by cgroup; files only add to that. A bundle
//! without a process is what is left of a container, unless its processes are elsewhere by design (Kata, gVisor) and the shim
//! that runs them is alive. Must not know checks, nor what processes are allowed to do.

mod bundles;
mod docker;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod mountinfo;
mod mounts;
mod names;
mod places;
mod spec;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{
    Configured, Container, ContainerKind, Listing, Mount, MountKind, Observed, Placement, Reason, Skipped, Source, SourceKind, Unavailable,
};

pub(super) use bundles::Bundles;
use bundles::Told;
use mountinfo::Mounts;
use mounts::{HostMounts, Shared};
use places::{Places, Whose};
use spec::Sandbox;

use super::now;
use super::processes::{ProcessTable, Seen, Workload};
use crate::host::{Host, ReadError};

/// Kubernetes recommends 110 pods a node, and nodes of 500 exist: sandboxes and several containers each.
const MOST: usize = 2000;
/// A container's mounts may still change for this long after its first process was started: until then that may be its runtime.
const SETTLING: Duration = Duration::from_secs(5);
/// Mounts this old are read again.
const STALE: Duration = Duration::from_mins(15);

/// What is on the host is not looked at again sooner.
const SURE: Duration = Duration::from_secs(15);

/// What earlier passes read.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By pid and start time.
    mounts: HashMap<(i64, i64), Kept>,
    places: Option<(Instant, Places)>,
}

#[derive(Debug, Clone)]
struct Kept {
    read: Instant,
    mounts: InContainer,
}

/// What the kernel has mounted in one container.
#[derive(Debug, Clone)]
struct InContainer {
    of_host: Observed<Listing<Mount>>,
    root_read_only: Observed<bool>,
}

/// One container and its processes.
struct Found<'a> {
    id: String,
    /// The one it was made for; `None` where its processes are not the host's.
    first: Option<&'a Arc<Seen>>,
    told: Arc<Told>,
    placement: Placement,
    pod_uid: String,
    /// By the shim that runs it.
    handler: Option<String>,
}

/// Every running container.
pub(super) fn read(host: &Host, table: &ProcessTable, memory: &mut Memory) -> Observed<Listing<Container>> {
    let known = memory.places.take().filter(|(looked, _)| looked.elapsed() < SURE);
    let (looked, places) = known.unwrap_or_else(|| (Instant::now(), Places::of(host, table)));
    let mut pass = Pass { host, table, places, of_host: None, known: std::mem::take(&mut memory.mounts), kept: HashMap::new() };
    let mut found = by_cgroup(host, table);
    found.extend(in_sandboxes(host, table, &found));
    let mut skipped = Vec::new();
    if let Some(unread) = table.skipped.first() {
        skipped.push(Skipped { what: "containers of processes that were not read".to_owned(), reason: unread.reason });
    }
    if found.len() > MOST {
        skipped.push(Skipped { what: format!("containers after the first {MOST}"), reason: Reason::TooLarge });
        found.truncate(MOST);
    }
    let ids: HashSet<&str> = found.iter().flat_map(|found| [found.id.as_str(), found.told.names.sandbox.as_str()]).collect();
    let mut items: Vec<Container> = found.iter().map(|found| pass.container(found)).collect();
    items.sort_by(|a, b| (&a.subject, &a.id).cmp(&(&b.subject, &b.id)));
    table.bundles.retain(&ids);
    *memory = Memory { mounts: pass.kept, places: Some((looked, pass.places)) };
    Observed::known(Listing { items, skipped }, Source::new(SourceKind::Derived, "processes and runtimes' files"), table.at)
}

/// Containers that processes are in.
fn by_cgroup<'a>(host: &Host, table: &'a ProcessTable) -> Vec<Found<'a>> {
    let mut first: BTreeMap<&str, &Arc<Seen>> = BTreeMap::new();
    // The oldest: a pid namespace with a first process, and other mounts in it, a later one can make for itself.
    let rank = |seen: &Seen| (seen.fact.start_ticks, seen.fact.inside_pid != 1, seen.fact.pid);
    for seen in table.processes.iter().filter(|seen| !seen.fact.container_id.is_empty()) {
        let known = first.entry(&seen.fact.container_id).or_insert(seen);
        if rank(seen) < rank(known) {
            *known = seen;
        }
    }
    let runs = |seen: &Seen| {
        // They are in the order of their ids.
        let parent = table.processes.binary_search_by_key(&seen.fact.parent, |process| process.fact.pid).ok()?;
        shim(table.processes.get(parent)?)
    };
    // What nobody is told of is not looked up either; one more shows that there are more.
    first
        .into_iter()
        .take(MOST + 1)
        .map(|(id, seen)| Found {
            id: id.to_owned(),
            first: Some(seen),
            told: table.bundles.of(host, id),
            placement: seen.fact.placement,
            pod_uid: seen.fact.pod_uid.clone(),
            handler: runs(seen),
        })
        .collect()
}

/// Containers in sandboxes of their own (Kata, gVisor): their processes are not the host's, or not in their cgroup. The shim of such
/// a sandbox runs in the sandbox's bundle, and beside it lie those of its containers.
fn in_sandboxes<'a>(host: &Host, table: &'a ProcessTable, known: &[Found<'a>]) -> Vec<Found<'a>> {
    let mut found: Vec<Found<'a>> = Vec::new();
    for shim in &table.processes {
        let Some(class) = sandboxing(shim) else { continue };
        let Some(bundle) = host.proc.process(shim.fact.pid).ok().and_then(|process| process.link("cwd").ok()) else { continue };
        let Some((tasks, sandbox)) = bundle.rsplit_once('/') else { continue };
        for entry in host.root.list(tasks).unwrap_or_default() {
            let told = table.bundles.of(host, &entry.name);
            let same = entry.name == sandbox || told.names.sandbox == sandbox;
            if !same || told.runtime.is_empty() || known.iter().chain(&found).any(|known| known.id == entry.name) {
                continue;
            }
            let pod_uid = told.names.pod_uid.clone();
            let placement = if pod_uid.is_empty() { Placement::Other } else { Placement::Pod };
            found.push(Found { id: entry.name, first: None, told, placement, pod_uid, handler: Some(class.clone()) });
        }
    }
    found.truncate(MOST);
    found
}

/// What a shim runs that keeps containers in a sandbox of their own; `None` for what is no such shim.
fn sandboxing(shim: &Seen) -> Option<String> {
    self::shim(shim).filter(|class| is_sandbox(class))
}

/// What it runs, if it is one of containerd's shims. In a container anybody may start a program of that name, and also one that has
/// left its container's cgroup for its pod's; a shim has the host's mounts.
fn shim(seen: &Seen) -> Option<String> {
    let outside = seen.fact.container_id.is_empty() && (seen.fact.placement == Placement::Host || seen.host_mounts.value() == Some(&true));
    let program = seen.fact.exe.value().filter(|_| outside)?.trim_end_matches(" (deleted)");
    bundles::shim_runs(program.rsplit('/').next()?)
}

/// Does it keep what runs in a container from the host's kernel, so that the host's tables do not show it.
fn is_sandbox(class: &str) -> bool {
    class.starts_with("kata") || class.starts_with("runsc")
}

/// One pass.
struct Pass<'a> {
    host: &'a Host,
    table: &'a ProcessTable,
    places: Places,
    /// The host's mounts, once they are needed.
    of_host: Option<Result<HostMounts, Unavailable>>,
    /// What the last pass remembered.
    known: HashMap<(i64, i64), Kept>,
    /// What the next pass is to remember.
    kept: HashMap<(i64, i64), Kept>,
}

impl Pass<'_> {
    fn container(&mut self, found: &Found<'_>) -> Container {
        let told = &found.told;
        let names = &told.names;
        let at = self.table.at;
        let pod = if found.placement == Placement::Pod {
            told.pod(&found.pod_uid)
        } else {
            Err(Unavailable::new(Reason::NotPresent, "it belongs to no pod"))
        };
        let source = || Source::new(SourceKind::File, &*told.path);
        let mut container = Container::unread(String::new(), &*found.id);
        container.subject = match &pod {
            Ok(names) => format!("pod:{}/{}/{}", names.namespace, names.pod, names.container),
            Err(_) if !found.pod_uid.is_empty() => format!("pod:{}/{:.12}", found.pod_uid, found.id),
            Err(_) => format!("container:{}", self.table.bundles.called(self.host, &found.id)),
        };
        told.runtime.clone_into(&mut container.runtime);
        if container.runtime.is_empty()
            && let Some(seen) = found.first
        {
            by_cgroup_name(&seen.fact.cgroup, &found.id).clone_into(&mut container.runtime);
        }
        container.kind = match (names.kind, &pod) {
            // Outside pods there are none: whoever starts a container by hand annotates it as he likes.
            (Some(ContainerKind::Sandbox), _) if found.placement == Placement::Machine => ContainerKind::Container,
            (Some(kind), _) => kind,
            (None, Ok(names)) if names.container == names::SANDBOX_NAME => ContainerKind::Sandbox,
            (None, _) => ContainerKind::Container,
        };
        container.placement = found.placement;
        container.pod_uid.clone_from(&found.pod_uid);
        let unnamed = |why: &Unavailable| Observed::Unavailable(why.clone());
        (container.namespace, container.pod, container.name) = match &pod {
            Ok(names) => (
                Observed::known(names.namespace.clone(), source(), at),
                Observed::known(names.pod.clone(), source(), at),
                Observed::known(names.container.clone(), source(), at),
            ),
            Err(why) if found.pod_uid.is_empty() => {
                let name = names.name.clone();
                let nameless = || Observed::unavailable_because(Reason::NotPresent, untold(found, "a name"));
                (unnamed(why), unnamed(why), name.map_or_else(nameless, |name| Observed::known(name, source(), at)))
            }
            Err(why) => match Told::pod_in_logs(self.host, &found.pod_uid) {
                Some((namespace, pod, place)) => {
                    let source = || Source::new(SourceKind::File, &*place);
                    (Observed::known(namespace, source(), at), Observed::known(pod, source(), at), unnamed(why))
                }
                None => (unnamed(why), unnamed(why), unnamed(why)),
            },
        };
        let believed = told.of_pod(&found.pod_uid);
        let text = |value: &Option<String>, what: &str| match (&believed, value) {
            (Err(why), _) => Observed::Unavailable(why.clone()),
            (Ok(()), Some(value)) => Observed::known(value.clone(), source(), at),
            (Ok(()), None) => match &told.spec {
                Err(why) if told.docker.is_none() => Observed::Unavailable(why.clone()),
                _ => Observed::unavailable_because(Reason::NotPresent, untold(found, what)),
            },
        };
        container.image = text(&names.image, "an image's name");
        container.image_digest = text(&names.digest, "an image's digest");
        container.handler = match &found.handler {
            Some(handler) if names.handler.is_none() => Observed::known(handler.clone(), Source::new(SourceKind::Process, "its shim"), at),
            _ => text(&names.handler, "what runs it"),
        };
        container.configured = match believed {
            Ok(()) => self.configured(found),
            Err(why) => Observed::Unavailable(why),
        };
        let in_container = self.mounts(found, &container);
        container.mounts = in_container.of_host;
        container.root_read_only = in_container.root_read_only;
        container
    }

    fn configured(&self, found: &Found<'_>) -> Observed<Configured> {
        let (told, at) = (&found.told, self.table.at);
        let source = || Source::new(SourceKind::File, &*told.path);
        let whose = whose(found);
        let sandbox = (told.names.kind != Some(ContainerKind::Sandbox) && !whose.sandbox.is_empty() && whose.sandbox != whose.id)
            .then(|| self.table.bundles.of(self.host, whose.sandbox));
        let joined = match sandbox.as_deref().map(|sandbox| &sandbox.spec) {
            None => Sandbox::Itself,
            Some(Ok(spec)) => Sandbox::Told(spec),
            Some(Err(why)) => Sandbox::Unread(why),
        };
        let mut configured = match (&told.spec, &told.docker) {
            (Ok(spec), _) => spec.configured(&told.path, at, joined, &self.places, whose),
            (Err(_), Some(docker)) => docker.config.configured(&docker.paths, at, docker.host.as_ref(), &self.places, whose),
            (Err(why), None) => return Observed::Unavailable(why.clone()),
        };
        if let Some(docker) = &told.docker
            && let Ok(options) = &docker.host
        {
            options.lay_over(&mut configured, &docker.paths, at);
            self.joined_in_docker(options, &mut configured);
        }
        Observed::known(configured, source(), at)
    }

    /// `--network container:<id>`: as that one has it.
    fn joined_in_docker(&self, options: &docker::HostConfig, configured: &mut Configured) {
        let answers = [&mut configured.host_network, &mut configured.host_pid, &mut configured.host_ipc];
        for ((kind, joins), answer) in options.joins().into_iter().enumerate().zip(answers) {
            let Some(id) = joins else { continue };
            let other = self.table.bundles.of(self.host, id);
            let host = other.docker.as_ref().and_then(|docker| {
                let value = docker.host.as_ref().ok()?.is_host().into_iter().nth(kind)??;
                Some(Observed::known(value, Source::new(SourceKind::File, &*docker.paths.host_config), self.table.at))
            });
            *answer = host.unwrap_or_else(|| {
                let detail = format!("it joins a namespace of container {id:.12}, of which nothing tells");
                Observed::unavailable_because(Reason::NotPresent, detail)
            });
        }
    }

    /// What the kernel has mounted in it, read once for its first process.
    fn mounts(&mut self, found: &Found<'_>, container: &Container) -> InContainer {
        let handler = container.handler.value().map(String::as_str).unwrap_or_default();
        if is_sandbox(handler) || found.handler.as_deref().is_some_and(is_sandbox) {
            let detail = format!("{handler} keeps its own mounts, which the host's kernel does not show");
            return InContainer::unavailable(&Unavailable::new(Reason::NotSupported, detail));
        }
        let Some(seen) = found.first else {
            return InContainer::unavailable(&Unavailable::new(Reason::NotPresent, "none of its processes is the host's"));
        };
        let key = (seen.fact.pid, seen.fact.start_ticks);
        let known = self.known.get(&key);
        if let Some(kept) = known.filter(|kept| kept.read.duration_since(seen.first) >= SETTLING && kept.read.elapsed() < STALE) {
            let mounts = kept.mounts.clone();
            self.kept.insert(key, kept.clone());
            return mounts;
        }
        // Before it becomes what it was made for, its process is the runtime's own. Only for so long: the name is its own choice.
        let young = seen.first.elapsed() < SETTLING;
        let mounts = if young && BEING_STARTED.iter().any(|name| seen.fact.name.starts_with(name)) {
            InContainer::unavailable(&being_started())
        } else {
            self.read_mounts(seen, found, container, young).unwrap_or_else(|why| InContainer::unavailable(&why))
        };
        // A pass that ran out of time says nothing about the container.
        if mounts.of_host.unavailable().is_none_or(|why| why.reason != Reason::TimedOut) {
            self.kept.insert(key, Kept { read: Instant::now(), mounts: mounts.clone() });
        }
        mounts
    }

    fn read_mounts(&mut self, seen: &Seen, found: &Found<'_>, container: &Container, young: bool) -> Result<InContainer, Unavailable> {
        let process = self.host.proc.process(seen.fact.pid).map_err(|error| error.unavailable())?;
        let mounts = table_of(&process)?;
        if !seen.still_runs(&process) || mounts.all.is_empty() {
            return Err(Unavailable::new(Reason::NotPresent, "its first process ended"));
        }
        let source = Source::new(SourceKind::Process, "mountinfo");
        let at = now();
        let visible = mounts.visible();
        let root_read_only = match mounts::root_read_only(&visible) {
            Some(read_only) => Observed::known(read_only, source.clone(), at),
            None if mounts.cut => Observed::unavailable_because(Reason::TooLarge, "mountinfo: cut before the root's line"),
            None => Observed::unavailable_because(Reason::NotSupported, "mountinfo: its root is no mount of its own"),
        };
        let configured = container.configured.value();
        let either = |kernel: Option<bool>, file: Option<&Observed<bool>>| kernel.or_else(|| file?.value().copied()) == Some(true);
        let kernel = seen.fact.shares.value();
        let shared = Shared {
            pid: either(kernel.map(|shares| shares.pid), configured.map(|configured| &configured.host_pid)),
            network: either(seen.fact.host_network.value().copied(), configured.map(|configured| &configured.host_network)),
            ipc: either(kernel.map(|shares| shares.ipc), configured.map(|configured| &configured.host_ipc)),
        };
        let (host, table) = (self.host, self.table);
        let of_host = match self.of_host.get_or_insert_with(|| mounts_of_host(host, table)) {
            Ok(of_host) => {
                let pieces = mounts::of_host(visible, mounts.cut, of_host, &self.places, whose(found), shared);
                if young && pieces.items.first().is_some_and(|mount| mount.target == "/" && mount.kind == MountKind::Root) {
                    // It has not been given a root of its own yet.
                    return Err(being_started());
                }
                Observed::known(pieces, source, at)
            }
            Err(why) => Observed::Unavailable(why.clone()),
        };
        Ok(InContainer { of_host, root_read_only })
    }
}

/// What runtimes call the process that becomes a container.
const BEING_STARTED: [&str; 3] = ["runc:[", "youki:[", "crun"];

fn being_started() -> Unavailable {
    Unavailable::new(Reason::NotPresent, "it is being started")
}

impl InContainer {
    fn unavailable(why: &Unavailable) -> Self {
        Self { of_host: Observed::Unavailable(why.clone()), root_read_only: Observed::Unavailable(why.clone()) }
    }
}

fn untold(found: &Found<'_>, what: &str) -> String {
    let path = if found.told.path.is_empty() { "no runtime's file" } else { &found.told.path };
    format!("{path}: it does not tell {what}")
}

fn whose<'a>(found: &'a Found<'_>) -> Whose<'a> {
    Whose { id: &found.id, sandbox: &found.told.names.sandbox, pod_uid: &found.pod_uid }
}

fn table_of(process: &crate::host::ProcessDir) -> Result<Mounts, Unavailable> {
    let file = process.open("mountinfo").map_err(|error| error.unavailable())?;
    Mounts::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => ReadError::TimedOut { path: "mountinfo".to_owned() }.unavailable(),
        std::io::ErrorKind::PermissionDenied => Unavailable::new(Reason::PermissionDenied, "mountinfo: permission denied"),
        _ => Unavailable::new(Reason::NotPresent, format!("mountinfo: {error}")),
    })
}

/// The host's own mounts: those of process 1, else of a kubelet or another service that has no others.
fn mounts_of_host(host: &Host, table: &ProcessTable) -> Result<HostMounts, Unavailable> {
    let of = |pid: i64| {
        let process = host.proc.process(pid).map_err(|error| error.unavailable())?;
        let mounts = table_of(&process)?;
        if mounts.all.is_empty() { Err(Unavailable::new(Reason::NotPresent, "mountinfo: empty")) } else { Ok(HostMounts::of(&mounts)) }
    };
    let first = of(1);
    let of_services = || {
        let on_host = |seen: &&Arc<Seen>| seen.fact.placement == Placement::Host && seen.host_mounts.value() != Some(&false);
        let kubelet = |seen: &&Arc<Seen>| seen.role.is_some_and(|role| role.workload == Workload::Kubelet);
        table.processes.iter().filter(on_host).filter(kubelet).find_map(|seen| of(seen.fact.pid).ok())
    };
    first.or_else(|why| {
        let detail = format!("the host's own mounts, process 1: {}", why.detail);
        of_services().ok_or_else(|| Unavailable::new(why.reason, detail))
    })
}

/// Where no file tells: runtimes write their name before a container's id.
fn by_cgroup_name(cgroup: &str, id: &str) -> &'static str {
    let before = cgroup.split(['/', ':']).find_map(|part| part.strip_suffix(".scope").unwrap_or(part).strip_suffix(id));
    match before.unwrap_or_default().trim_end_matches('-') {
        "cri-containerd" => "containerd",
        "crio" => "cri-o",
        "libpod" => "podman",
        "docker" => "docker",
        _ => "",
    }
}
