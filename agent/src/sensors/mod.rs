//! Sensors: one per fact group. They fill facts with what was read, and say of everything else why it is not known.
//!
//! Each runs on a thread of its own within a deadline and a byte budget; a sensor that hangs or panics makes its group
//! unavailable, never a dead agent. Must not know checks, verdicts or the collector; derives nothing.

mod ages;
mod aside;
mod certificates;
mod components;
mod config;
mod containers;
mod cri;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod kernel;
mod listeners;
mod network;
mod node;
mod origins;
mod os;
mod packages;
mod probes;
mod processes;
mod programs;
mod redact;
mod runtimes;
mod sight;
mod sockets;
mod supervisor;
mod system;
mod watched;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::facts::{
    Container, Group, Listener, Listing, NodeFacts, Observed, Reason, Source, SourceKind, Unavailable, not_running,
};

use crate::host::{Host, HostError};
use crate::own::Own;
use crate::profiles::Profiles;
pub use cri::CriEndpoint;
use packages::Packages;
pub use probes::ConfigzOptions;
pub(crate) use probes::ask_stranger;
use processes::{Cache, ProcessTable};
use sight::Sight;
use supervisor::{Allowance, Supervisor};
pub use system::{KnownBinaries, KnownBinariesError};

/// Where and how to read.
#[derive(Debug, Clone)]
pub struct SensorOptions {
    /// The directory that is the host's `/`.
    pub host_root: PathBuf,
    /// The directory that is the host's `/proc`.
    pub proc: PathBuf,
    /// Send requests to this node's own Kubernetes ports.
    pub probe: bool,
    /// Ask kubelets for their own account of their configuration; `None`: never.
    pub configz: Option<ConfigzOptions>,
    /// Hashes of the programs that belong on the node; `None`: programs are not hashed.
    pub known_binaries: Option<KnownBinaries>,
    /// Ask the container runtime too.
    pub cri: CriEndpoint,
    /// The node's name; `None`: the host's name.
    pub node_name: Option<String>,
    /// The cluster's name; may be empty.
    pub cluster: String,
}

/// Every sensor of one host.
#[derive(Debug)]
pub struct Sensors {
    options: SensorOptions,
    host: Host,
    supervisor: Supervisor,
    cache: Cache,
    owners: listeners::Owners,
    asked: probes::Memory,
    mounted: containers::Memory,
    runtime: cri::Memory,
    due: BTreeSet<Group>,
    runtimes: runtimes::Daemons,
    profiles: Arc<Profiles>,
    /// How processes are heard of: see [`holdfast_checks::facts::Node::process_events`].
    process_events: Observed<bool>,
    hashes: system::Hashes,
    packages: Arc<Packages>,
    /// For the files of log shippers in pods.
    shippers: Arc<aside::Aside>,
    own: Own,
    /// Whether what is read is the host's.
    sight: Sight,
    /// The programs that the system group was about when it was last read.
    cast: BTreeSet<(i64, i64)>,
}

/// The order of a pass: what others build on comes first.
const ORDER: [Group; 17] = [
    Group::Os,
    Group::Kernel,
    Group::Processes,
    Group::Kubelets,
    Group::Components,
    Group::Listeners,
    Group::Node,
    Group::Files,
    Group::Certificates,
    Group::Probes,
    Group::Handshakes,
    Group::Runtimes,
    Group::Containers,
    Group::Network,
    Group::System,
    Group::Agent,
    Group::Versions,
];

const MIB: u64 = 1024 * 1024;

/// Time and bytes of one pass of one sensor.
fn allowance(group: Group) -> Allowance {
    let (seconds, mib) = match group {
        Group::Processes => (10, 256),
        Group::Kernel => (5, 64),
        Group::Listeners => (5, 256),
        // 500 containers, each with a bundle and a table of mounts of 100 KiB.
        Group::Containers => (10, 128),
        Group::Probes => (10, 1),
        Group::Handshakes => (10, 32),
        // Programs are hashed where there is a list to compare them with.
        Group::System => (10, 1024),
        _ => (5, 32),
    };
    Allowance { time: Duration::from_secs(seconds), bytes: mib * MIB }
}

/// Unix milliseconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Sensors {
    /// Opens the host. Reads nothing of it yet but a recording's description.
    ///
    /// # Errors
    /// [`HostError`] when a directory cannot be opened or the kernel lacks `openat2`.
    pub fn open(options: SensorOptions) -> Result<Self, HostError> {
        let host = Host::open(&options.host_root, &options.proc)?;
        let profiles = Arc::new(Profiles::built_in().map_err(|source| HostError::Profiles { source })?);
        let why = if host.live() { "a single scan watches nothing" } else { "a recorded tree does not change by itself" };
        Ok(Self {
            process_events: Observed::unavailable_because(Reason::NotSupported, why),
            options,
            host,
            supervisor: Supervisor::default(),
            cache: Cache::default(),
            owners: listeners::Owners::default(),
            asked: probes::Memory::default(),
            mounted: containers::Memory::default(),
            runtime: cri::Memory::default(),
            due: BTreeSet::new(),
            runtimes: runtimes::Daemons::default(),
            profiles,
            hashes: system::Hashes::default(),
            packages: Arc::default(),
            shippers: Arc::default(),
            own: Own::default(),
            sight: Sight::default(),
            cast: BTreeSet::new(),
        })
    }

    /// Reads every group anew; `progress` hears of each sensor before it starts. Derives nothing. Blocks: for a thread of its own.
    pub fn read_all(&mut self, progress: &mut dyn FnMut(Group)) -> NodeFacts {
        let unread = Unavailable::new(Reason::NotSupported, "not read yet");
        let mut facts = NodeFacts::unread(node::unread(&self.options, &self.host), &unread);
        facts.node.process_events = self.process_events.clone();
        self.cache.forget();
        self.runtime.forget();
        self.owners = listeners::Owners::default();
        self.mounted = containers::Memory::default();
        self.read(&mut facts, &Group::ALL.into_iter().collect(), progress);
        facts
    }

    /// Reads `groups` again into `facts`, and what turns out to hang on them. Gives all that was read. Blocks.
    pub fn refresh(&mut self, facts: &mut NodeFacts, groups: &BTreeSet<Group>) -> BTreeSet<Group> {
        self.read(facts, groups, &mut |_| {})
    }

    /// Gives the account that the part which delivers keeps. Without it nobody delivers anything.
    pub fn set_own(&mut self, own: Own) {
        self.own = own;
    }

    /// Tells how processes are heard of from now on.
    pub fn set_process_events(&mut self, told: Observed<bool>) {
        self.process_events = told;
    }

    /// These processes, by pid, changed after they were read: they are read anew the next time. `None`: any may have.
    pub fn touched(&mut self, pids: Option<&BTreeSet<i64>>) {
        match pids {
            Some(pids) => self.cache.touched(pids),
            None => self.cache.forget(),
        }
    }

    /// Directories of this file system whose change touches groups, for inotify, whether they are there or not. `None` when
    /// looking at them hangs, as it may on a network file system: then what was watched before is still right.
    pub fn watched(&mut self, facts: &NodeFacts) -> Option<Vec<(PathBuf, BTreeSet<Group>)>> {
        let wanted = watched::wanted(facts, self.profiles.locations(&facts.node.profile));
        self.supervisor.run(Group::Files, allowance(Group::Files), &self.host, move |host| watched::outside(&host, wanted)).ok()
    }

    /// Groups whose sensor timed out or crashed when it last read.
    pub fn troubled(&self) -> BTreeSet<Group> {
        self.supervisor.troubled().clone()
    }

    /// Groups that what was read last has made outdated, and that take too long to be read before it is judged.
    pub fn due(&self) -> &BTreeSet<Group> {
        &self.due
    }

    fn read(&mut self, facts: &mut NodeFacts, groups: &BTreeSet<Group>, progress: &mut dyn FnMut(Group)) -> BTreeSet<Group> {
        let mut groups = groups.clone();
        if groups.contains(&Group::Files) {
            groups.insert(Group::Certificates);
        }
        self.supervisor.forget(&groups);
        let needs_processes =
            [Group::Processes, Group::Kubelets, Group::Components, Group::Listeners, Group::Runtimes, Group::Containers, Group::System];
        let mut table = Err(Unavailable::new(Reason::NotSupported, "processes were not read"));
        if needs_processes.iter().any(|group| groups.contains(group)) {
            progress(Group::Processes);
            table = self.processes();
            self.sight = Sight::of(&self.host, &self.options, table.as_deref().ok());
            // What a container's own processes are says nothing about the node.
            if let Some(why) = self.sight.no_processes() {
                table = Err(why);
            }
            if table.as_ref().is_ok_and(|table| self.owners.outdated(table)) {
                groups.insert(Group::Listeners);
            }
            if table.as_ref().is_ok_and(|table| self.runtimes.changed(table)) {
                groups.insert(Group::Runtimes);
            }
            if let Ok(table) = &table {
                let cast = system::Cast::of(table).fingerprint();
                if self.cast != cast {
                    self.cast = cast;
                    groups.insert(Group::System);
                }
            }
        }
        for group in ORDER {
            if !groups.contains(&group) {
                continue;
            }
            // Processes were announced above; these have no sensor to wait for.
            if !matches!(group, Group::Processes | Group::Versions) {
                progress(group);
            }
            let profile = facts.node.profile.clone();
            self.read_group(group, facts, &table);
            self.sight.withhold(group, facts);
            if facts.node.profile != profile {
                // Its files lie elsewhere.
                groups.extend([Group::Files, Group::Network]);
            }
        }
        self.due.clear();
        if groups.contains(&Group::Probes) && !groups.contains(&Group::Handshakes) && self.handshakes_outdated(facts) {
            self.due.insert(Group::Handshakes);
        }
        groups
    }

    fn read_group(&mut self, group: Group, facts: &mut NodeFacts, table: &Result<Arc<ProcessTable>, Unavailable>) {
        match group {
            Group::Os => facts.os = self.observe(group, |host| os::read(&host)),
            Group::Kernel => {
                let packages = Arc::clone(&self.packages);
                facts.kernel = self.observe(group, move |host| kernel::read(&host, &packages));
            }
            Group::Processes => facts.processes = flatten(table.as_ref().map(|table| table.facts()).map_err(Clone::clone)),
            Group::Kubelets => {
                facts.kubelets = self.of_processes(group, table, components::kubelets);
                self.asked.tell(facts, self.options.configz.is_some());
            }
            Group::Components => facts.components = self.of_processes(group, table, components::components),
            Group::Listeners => facts.listeners = self.listeners(table),
            Group::Files => {
                let (named, profile) = (files::named(facts), facts.node.profile.clone());
                let profiles = Arc::clone(&self.profiles);
                facts.files = self.observe(group, move |host| files::read(&host, named, profiles.locations(&profile)));
            }
            Group::Certificates => {
                let named = files::named(facts);
                facts.certificates = match certificates::wanted(facts) {
                    Ok(wanted) => self.observe(group, move |host| certificates::read(&host, wanted, named)),
                    Err(why) => Observed::Unavailable(why),
                };
            }
            Group::Probes => {
                facts.probes = self.ask(group, facts, probes::read);
                self.asked.tell(facts, self.options.configz.is_some());
            }
            Group::Handshakes => facts.handshakes = self.ask(group, facts, probes::handshakes),
            Group::Node => {
                let options = self.options.clone();
                let (running, profiles) = (node::Running::of(facts), Arc::clone(&self.profiles));
                let read = move |host: Host| node::read(&options, &host, &running, &profiles);
                let read = self.supervisor.run(group, allowance(group), &self.host, read);
                if let Ok(node) = read {
                    // What was heard of the runtime was heard with the containers.
                    let cri = std::mem::replace(&mut facts.node, node).cri;
                    facts.node.cri = cri;
                }
                facts.node.process_events = self.process_events.clone();
            }
            Group::Runtimes => {
                let packages = Arc::clone(&self.packages);
                let read = move |host: &Host, table: &ProcessTable| runtimes::read(host, table, &packages);
                facts.runtimes = self.of_processes(group, table, read);
            }
            Group::Containers => {
                facts.containers = self.containers(table);
                self.ask_runtime(facts);
            }
            Group::System => {
                let (os, hashes, known) = (facts.os.clone(), self.hashes.clone(), self.options.known_binaries.clone());
                let beside = system::Beside { os, hashes, known, aside: Arc::clone(&self.shippers) };
                facts.system = self.of_processes(group, table, move |host, table| system::read(host, table, &beside));
            }
            Group::Network => {
                let (running, profile) = (network::Running::of(facts), facts.node.profile.clone());
                let profiles = Arc::clone(&self.profiles);
                facts.network = self.observe(group, move |host| network::read(&host, &running, profiles.locations(&profile)));
            }
            Group::Agent => {
                let mut own = self.own.get();
                if let Some(privileges) = self.own.privileges() {
                    own.tested = true;
                    own.privileges = Observed::known(self.sight.tell(privileges), Source::new(SourceKind::Agent, "self-test"), now());
                }
                // Nobody delivers: the same at any time, also in a capture that is judged later.
                let same = !own.running && !own.tested;
                facts.agent = if same { not_running() } else { Observed::known(own, Source::new(SourceKind::Agent, ""), now()) };
            }
            Group::Versions => facts.versions = no_sensor(),
        }
    }
}

impl Sensors {
    fn observe<T: Send + 'static>(&mut self, group: Group, read: impl FnOnce(Host) -> Observed<T> + Send + 'static) -> Observed<T> {
        flatten(self.supervisor.run(group, allowance(group), &self.host, read))
    }

    /// The process table of this pass. A sensor that hangs takes the cache with it; the next pass starts a new one.
    fn processes(&mut self) -> Result<Arc<ProcessTable>, Unavailable> {
        let mut cache = std::mem::take(&mut self.cache);
        let pass = move |host: Host| {
            let table = cache.pass(&host);
            (cache, table)
        };
        let (cache, table) = self.supervisor.run(Group::Processes, allowance(Group::Processes), &self.host, pass)?;
        self.cache = cache;
        table.map(Arc::new).map_err(|error| error.unavailable())
    }

    fn of_processes<T: Send + 'static>(
        &mut self,
        group: Group,
        table: &Result<Arc<ProcessTable>, Unavailable>,
        read: impl FnOnce(&Host, &ProcessTable) -> Observed<T> + Send + 'static,
    ) -> Observed<T> {
        match table {
            Ok(table) => {
                let table = Arc::clone(table);
                self.observe(group, move |host| read(&host, &table))
            }
            Err(why) => Observed::Unavailable(why.clone()),
        }
    }

    fn listeners(&mut self, table: &Result<Arc<ProcessTable>, Unavailable>) -> Observed<Listing<Listener>> {
        let mut owners = std::mem::take(&mut self.owners);
        let table = table.clone();
        let read = move |host: Host| {
            let listing = listeners::read(&host, &table, &mut owners);
            (owners, listing)
        };
        match self.supervisor.run(Group::Listeners, allowance(Group::Listeners), &self.host, read) {
            Ok((owners, listing)) => {
                self.owners = owners;
                listing
            }
            Err(why) => Observed::Unavailable(why),
        }
    }
}

impl Sensors {
    fn containers(&mut self, table: &Result<Arc<ProcessTable>, Unavailable>) -> Observed<Listing<Container>> {
        let table = match table {
            Ok(table) => Arc::clone(table),
            Err(why) => return Observed::Unavailable(why.clone()),
        };
        let mut mounted = std::mem::take(&mut self.mounted);
        let group = Group::Containers;
        let read = self.supervisor.run(group, allowance(group), &self.host, move |host| {
            let listing = containers::read(&host, &table, &mut mounted);
            (mounted, listing)
        });
        match read {
            Ok((mounted, listing)) => {
                self.mounted = mounted;
                listing
            }
            Err(why) => Observed::Unavailable(why),
        }
    }
}

impl Sensors {
    /// Asks this node's own sockets, with what is remembered of earlier answers. A sensor that hangs takes that with it.
    fn ask<T: Send + 'static>(
        &mut self,
        group: Group,
        facts: &NodeFacts,
        ask: impl FnOnce(&Host, bool, &probes::Plan, &mut probes::Memory) -> Observed<T> + Send + 'static,
    ) -> Observed<T> {
        let mut memory = std::mem::take(&mut self.asked);
        let (probe, plan) = (self.options.probe, probes::Plan::new(facts, self.options.configz.as_ref()));
        let asked = self.supervisor.run(group, allowance(group), &self.host, move |host| {
            let answers = ask(&host, probe, &plan, &mut memory);
            (memory, answers)
        });
        match asked {
            Ok((memory, answers)) => {
                self.asked = memory;
                answers
            }
            Err(why) => Observed::Unavailable(why),
        }
    }

    /// Lays what the runtime says of its containers over what files gave, where it may be asked.
    fn ask_runtime(&mut self, facts: &mut NodeFacts) {
        let visit = match self.runtime.plan(&self.options.cri, facts, &self.host) {
            Ok(visit) => visit,
            Err(why) => {
                facts.node.cri = Observed::Unavailable(why);
                return;
            }
        };
        let (path, ids) = (visit.path.clone(), cri::known_ids(facts));
        let answer = if let Some(answer) = self.runtime.still_true(&visit, &ids) {
            Ok(answer)
        } else {
            let (group, allowed) = (Group::Containers, allowance(Group::Containers));
            let asked = self.supervisor.run(group, allowed, &self.host, move |host| cri::ask(&host, &visit));
            let answer = asked.and_then(|answer| answer);
            self.runtime.note(path.clone(), ids, &answer);
            answer
        };
        match answer {
            Ok(answer) => {
                let source = Source::new(SourceKind::Probe, format!("unix://{path}"));
                facts.node.cri = Observed::known(format!("{} {}", answer.runtime, answer.version), source, now());
                cri::lay_over(&mut facts.containers, answer, &path, now());
            }
            Err(why) => facts.node.cri = Observed::Unavailable(why),
        }
    }

    fn handshakes_outdated(&self, facts: &NodeFacts) -> bool {
        let asks = self.options.probe && self.host.live() && facts.probes.value().is_some();
        asks && self.asked.outdated(&probes::Plan::new(facts, None))
    }
}

fn flatten<T>(result: Result<Observed<T>, Unavailable>) -> Observed<T> {
    result.unwrap_or_else(Observed::Unavailable)
}

fn no_sensor<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, "no sensor in this version")
}
