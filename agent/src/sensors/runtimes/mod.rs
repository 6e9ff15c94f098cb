//! Container runtimes of this host: containerd, CRI-O and Docker, found by their daemons.
//!
//! Each is read as its daemon sees the host: through its own root. Their sockets stay closed: what they would answer is not asked.
//! A daemon inside a pod or a container, or one that is not root's, is no runtime of this node. Must not know what a document makes
//! a runtime do, beyond which other documents it leads to.

mod containerd;
mod crio;
mod docker;
mod documents;
mod engine;
mod glob;
mod programs;
mod sockets;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_checks::facts::{Listing, Observed, Placement, Reason, Runtime, Skipped, Source, SourceKind, Unavailable};

use self::documents::Documents;
use self::engine::{Engine, Kind};
use self::programs::Files;
use super::packages::Packages;
use super::processes::{ProcessTable, Seen, arguments};
use super::programs::Wanted;
use super::{config, now, redact};
use crate::host::Host;

/// More runtimes than a node has.
const MAX_RUNTIMES: usize = 8;
/// The longest command line that is read.
const ARGV_CAP: u64 = 1024 * 1024;
/// Where Docker keeps the containerd it starts for itself.
const OF_DOCKER: &str = "/docker/containerd/";
/// CRI-O writes its version here when it starts (`pkg/config`, `CrioVersionPathTmp`).
const CRIO_VERSION: &str = "/run/crio/version";

/// A daemon, with its command line or why that is not known.
struct Daemon {
    engine: Engine,
    seen: Arc<Seen>,
    argv: Result<Vec<String>, Unavailable>,
}

/// The processes that may be daemons, to know when one starts or ends without reading any.
#[derive(Debug, Default)]
pub(super) struct Daemons(BTreeSet<(i64, i64)>);

impl Daemons {
    /// Are they others than before.
    pub(super) fn changed(&mut self, table: &ProcessTable) -> bool {
        let processes = table.processes.iter().filter(|seen| of_host(seen) && may_be(seen));
        let now = processes.map(|seen| (seen.fact.pid, seen.fact.start_ticks)).collect();
        let before = std::mem::replace(&mut self.0, now);
        before != self.0
    }
}

/// One fact per daemon. None is a complete answer where every process could be seen.
pub(super) fn read(host: &Host, table: &ProcessTable, packages: &Packages) -> Observed<Listing<Runtime>> {
    let mut skipped = table.skipped.clone();
    // A daemon is told by its program. One whose program may not be looked at is there all the same.
    let hidden = table.processes.iter().filter(|seen| of_host(seen) && DAEMONS.contains(&seen.fact.name.as_str()));
    let why = |seen: &Arc<Seen>| seen.fact.exe.unavailable().filter(|why| why.reason == Reason::PermissionDenied).cloned();
    skipped.extend(hidden.filter_map(|seen| Some(Skipped::because(format!("the process {}", seen.fact.name), &why(seen)?))));
    let mut found: Vec<Daemon> = table.processes.iter().filter(|seen| of_host(seen)).filter_map(|seen| daemon(host, seen)).collect();
    found.sort_by_key(|daemon| (daemon.engine.kind, daemon.rank(), daemon.seen.fact.start_ticks, daemon.seen.fact.pid));
    if found.len() > MAX_RUNTIMES {
        skipped.push(Skipped { what: "further processes that are runtimes by name".to_owned(), reason: Reason::TooLarge });
        found.truncate(MAX_RUNTIMES);
    }
    let mut taken: Vec<String> = Vec::new();
    let mut items = Vec::new();
    for daemon in found {
        let subject = daemon.subject(&taken);
        taken.push(subject.clone());
        items.push(runtime(host, table, packages, &daemon, subject));
    }
    Observed::known(Listing { items, skipped }, Source::new(SourceKind::Process, "running processes"), table.at)
}

/// Can it be the node's: root's, in the host's network, and no container.
fn of_host(seen: &Seen) -> bool {
    let contained = matches!(seen.fact.placement, Placement::Pod | Placement::Machine) || !seen.fact.container_id.is_empty();
    !contained && seen.fact.uid == 0 && seen.fact.host_network.value() != Some(&false) && seen.fact.user_namespace.value() != Some(&true)
}

/// What daemons are called, by the kernel too: `k3s` is `k3s-server` or `k3s-agent` there.
const DAEMONS: [&str; 6] = ["containerd", "crio", "dockerd", "k3s", "k3s-server", "k3s-agent"];

/// Most processes are no daemon by their program's name alone, and cost nothing more.
fn may_be(seen: &Seen) -> bool {
    let program = seen.fact.exe.value().map(|exe| exe.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default());
    matches!(program, Some("containerd" | "crio" | "dockerd" | "k3s"))
}

fn daemon(host: &Host, seen: &Arc<Seen>) -> Option<Daemon> {
    let exe = seen.fact.exe.value().filter(|_| may_be(seen))?;
    let read = host.proc.process(seen.fact.pid).and_then(|process| process.read_capped("cmdline", ARGV_CAP));
    let argv = read.map(|content| arguments(&content)).map_err(|error| error.unavailable());
    let engine = engine::engine(exe, argv.as_deref().unwrap_or_default())?;
    Some(Daemon { engine, seen: Arc::clone(seen), argv })
}

impl Daemon {
    fn of_docker(&self) -> bool {
        self.engine.kind == Kind::Containerd && self.argv.iter().flatten().any(|argument| argument.contains(OF_DOCKER))
    }

    /// The node's own first: the service that is made for it, then any other, then what Docker started for itself.
    fn rank(&self) -> u8 {
        match () {
            () if self.of_docker() => 2,
            () if self.seen.unit == self.engine.kind.unit() => 0,
            () => 1,
        }
    }

    /// A name that outlives the process.
    fn subject(&self, taken: &[String]) -> String {
        let name = self.engine.kind.name();
        let free = |candidate: &String| !taken.contains(candidate);
        if !self.of_docker() && free(&name.to_owned()) {
            return name.to_owned();
        }
        let unit = self.seen.unit.trim_end_matches(".service");
        let instance = match (self.of_docker(), self.engine.flavour, unit) {
            (true, ..) => "docker",
            (false, "", "") => "unnamed",
            (false, "", unit) => unit,
            (false, flavour, _) => flavour,
        };
        let first = format!("{name}:{instance}");
        let numbered = (2..=taken.len() + 2).map(|number| format!("{name}:{instance}:{number}"));
        std::iter::once(first.clone()).chain(numbered).find(free).unwrap_or(first)
    }
}

fn runtime(host: &Host, table: &ProcessTable, packages: &Packages, daemon: &Daemon, subject: String) -> Runtime {
    let Daemon { engine, seen, argv } = daemon;
    let wanted = match engine.kind {
        Kind::Containerd => Wanted::Containerd,
        Kind::Crio => Wanted::Crio,
        Kind::Docker => Wanted::Docker,
    };
    let program = table.programs.read_as(host, seen, wanted);
    let mut runtime = Runtime {
        flavour: engine.flavour.to_owned(),
        version: program.version,
        executable: program.executable,
        installed: program.installed,
        ..Runtime::unread(subject, engine.kind.name(), seen.fact.pid)
    };
    let argv = match argv {
        Ok(argv) => argv,
        Err(why) => {
            let why = Unavailable::new(why.reason, format!("its command line: {}", why.detail));
            runtime.documents = Observed::Unavailable(why.clone());
            runtime.sockets = Observed::Unavailable(why);
            return runtime;
        }
    };
    runtime.argv = redact::arguments(argv);
    let read = config::with_root(host, seen, |root, cwd| {
        if engine.kind == Kind::Crio && runtime.version.value().is_none() {
            runtime.version = crio_version(root, std::mem::replace(&mut runtime.version, unread()));
            if runtime.executable.value().is_some_and(|executable| !executable.replaced) {
                runtime.installed = runtime.version.clone();
            }
        }
        runtime.package = match &runtime.executable {
            Observed::Known { value, .. } => packages.owner(root, &value.path, runtime.installed.value().map(String::as_str)),
            Observed::Unavailable(why) => Observed::Unavailable(why.clone()),
        };
        let mut documents = Documents::new(host, root, seen, cwd);
        match engine.kind {
            Kind::Containerd => containerd::read(&mut documents, argv, &runtime.version),
            Kind::Crio => crio::read(&mut documents, argv),
            Kind::Docker => docker::read(&mut documents, argv),
        }
        let documents = documents.listing;
        let own = runtime.executable.value().and_then(|executable| Some(executable.path.rsplit_once('/')?.0.to_owned()));
        let own = own.filter(|_| !engine.flavour.is_empty());
        let programs = programs::read(root, &Files { programs: &table.programs, packages }, own.as_deref(), &documents.items);
        let sockets = sockets::read(root, *engine, argv, &documents.items);
        (documents, programs, sockets)
    });
    match read {
        Ok((documents, programs, sockets)) => {
            runtime.documents = Observed::known(documents, Source::new(SourceKind::Process, "command line"), now());
            (runtime.programs, runtime.sockets) = (programs, sockets);
        }
        Err(error) => {
            runtime.documents = error.observed();
            runtime.programs = error.observed();
            runtime.sockets = error.observed();
        }
    }
    runtime
}

/// TOML and JSON as they become facts, secrets taken out.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) -> [Result<serde_json::Value, String>; 2] {
    [documents::toml(text), documents::json(text)].map(|read| read.map(documents::cleaned))
}

fn unread<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, "not read")
}

/// What CRI-O wrote when it started: its version in quotes.
fn crio_version(root: &crate::host::Root, program: Observed<String>) -> Observed<String> {
    let Ok(text) = root.read_text(CRIO_VERSION) else { return program };
    let version = text.trim().trim_matches('"');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+~".contains(&byte);
    if version.is_empty() || version.len() > 64 || !version.bytes().all(plain) || !version.starts_with(|first: char| first.is_ascii_digit())
    {
        return program;
    }
    Observed::known(version.to_owned(), Source::new(SourceKind::File, CRIO_VERSION), now())
}
