//! Kubelets and the other Kubernetes components among the processes.
//!
//! A kubelet is found by its process, wherever that runs. The node's own is the one that shares the host's network and is no
//! pod; it alone is called `kubelet`, so that nobody takes over its findings by starting a process of that name in a pod. Others
//! (nodes of kind or k3d in containers, a kubelet in a pod) are judged too, each under its own name: a kubelet that anybody
//! can command is a way into this host, but it says nothing about this node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Component, Kubelet, Listing, Observed, Placement, Reason, Skipped, Source, SourceKind, Unavailable};

use super::origins::{self, FlagsFile};
use super::processes::{ProcessTable, Role, Seen, Workload};
use super::programs::Programs;
use super::{config, listeners, redact};
use crate::host::{Budget, Host};

/// Where k3s keeps its etcd; without it the state is in a database.
const K3S_ETCD: &str = "/var/lib/rancher/k3s/server/db/etcd";
/// The name of the node's own kubelet.
pub(super) const OWN: &str = "kubelet";
/// More kubelets than anybody runs beside a node's own. Whoever may start processes in a pod could start any number.
const MAX_KUBELETS: usize = 33;
/// What may be spent on all of them but the node's own.
const OTHERS_TIME: Duration = Duration::from_secs(2);
const OTHERS_BYTES: u64 = 32 * 1024 * 1024;

/// One fact per kubelet process, the node's own first. None is a complete answer: this host runs no Kubernetes.
pub(super) fn kubelets(host: &Host, table: &ProcessTable) -> Observed<Listing<Kubelet>> {
    let is_kubelet = |role: &Role| role.workload == Workload::Kubelet;
    let mut found: Vec<(Role, &Arc<Seen>)> =
        table.processes.iter().filter_map(|seen| seen.role.filter(is_kubelet).map(|role| (role, seen))).collect();
    found.retain(|(role, seen)| role.flavour != "k3s" || !seen.argv.iter().any(|argument| without_agent(argument)));
    found.sort_by(|(_, a), (_, b)| {
        let order = |seen: &Seen| (kubelet_rank(seen), seen.fact.start_ticks, seen.fact.pid);
        order(a).0.cmp(&order(b).0).then_with(|| a.instance.cmp(&b.instance)).then_with(|| order(a).cmp(&order(b)))
    });
    let mut skipped = table.skipped.clone();
    if found.len() > MAX_KUBELETS {
        skipped.push(Skipped { what: "further processes that are kubelets by name".to_owned(), reason: Reason::TooLarge });
        found.truncate(MAX_KUBELETS);
    }
    let mut found = found.into_iter().peekable();
    let own = found.next_if(|(_, seen)| of_node(seen)).map(|(role, seen)| kubelet(host, &table.programs, seen, role, OWN.to_owned()));
    let mut taken: Vec<String> = Vec::new();
    let others = found.map(|(role, seen)| {
        let subject = other(OWN, &seen.instance, &taken);
        taken.push(subject.clone());
        Other { role, seen: Arc::clone(seen), subject }
    });
    let others: Vec<Other> = others.collect();
    let items = own.into_iter().chain(read_others(host, table, others)).collect();
    Observed::known(Listing { items, skipped }, Source::new(SourceKind::Process, "running processes"), table.at)
}

/// A kubelet that is not the node's.
#[derive(Clone)]
struct Other {
    role: Role,
    seen: Arc<Seen>,
    subject: String,
}

/// The kubelets that are not the node's: read apart from it, on a thread and within bounds of their own, as their files may be
/// on file systems that never answer and their programs made to be read for ever.
fn read_others(host: &Host, table: &ProcessTable, others: Vec<Other>) -> Vec<Kubelet> {
    if others.is_empty() {
        return Vec::new();
    }
    let until = Instant::now() + OTHERS_TIME;
    let apart = host.within(&Budget::new(OTHERS_TIME, OTHERS_BYTES));
    let programs = Arc::clone(&table.programs);
    let read = move |Other { role, seen, subject }: Other| kubelet(&apart, &programs, &seen, role, subject);
    let results = table.aside.run(others.clone().into_iter().map(read));
    let left = || until.saturating_duration_since(Instant::now());
    let read = others.into_iter().map(|other| {
        let result = results.as_ref().and_then(|results| results.recv_timeout(left()).ok());
        result.filter(|kubelet| kubelet.subject == other.subject).unwrap_or_else(|| {
            let why = format!("{}, in its own root, did not answer within {} s", other.subject, OTHERS_TIME.as_secs());
            Kubelet {
                host_network: other.seen.fact.host_network.clone(),
                host_mounts: other.seen.host_mounts.clone(),
                documents: Observed::unavailable_because(Reason::TimedOut, why),
                ..Kubelet::unread(other.subject, other.seen.fact.pid, other.role.flavour)
            }
        })
    });
    read.collect()
}

fn kubelet(host: &Host, programs: &Programs, seen: &Seen, role: Role, subject: String) -> Kubelet {
    let program = programs.read(host, seen);
    let mut kubelet = Kubelet {
        host_network: seen.fact.host_network.clone(),
        host_mounts: seen.host_mounts.clone(),
        version: program.version,
        executable: program.executable,
        installed: program.installed,
        argv: redact::arguments(&seen.argv),
        ..Kubelet::unread(subject, seen.fact.pid, role.flavour)
    };
    let flags = origins::flags_file(host, seen, role);
    kubelet.origins = origins::read(host, seen, role, flags.as_ref());
    kubelet.documents = match (&seen.argv_unread, &flags) {
        (Some(why), _) => Observed::Unavailable(why.clone()),
        (None, Some(FlagsFile { content: Ok(argv), .. })) => {
            kubelet.argv = redact::arguments(argv);
            config::documents(host, seen, argv)
        }
        (None, Some(FlagsFile { path, content: Err(why) })) => {
            let detail = format!("its flags are in {path}, which could not be read: {}", why.detail);
            Observed::Unavailable(Unavailable::new(why.reason, detail))
        }
        (None, None) if embedded(role) => {
            let detail = format!("{} sets up its kubelet inside its own process, where its settings cannot be read", role.flavour);
            Observed::unavailable_because(Reason::NotSupported, detail)
        }
        (None, None) => config::documents(host, seen, &seen.argv),
    };
    if seen.fact.host_network.value() == Some(&false) {
        kubelet.listeners = listeners::of_process(host, seen);
    }
    kubelet
}

/// Can it be this node's kubelet: as root, in the host's network, and no pod.
fn of_node(seen: &Seen) -> bool {
    seen.fact.placement != Placement::Pod && seen.fact.host_network.value() != Some(&false) && seen.fact.uid == 0
}

/// Which of several is the node's own: the service that is made for it, then any service, then what else may be.
fn kubelet_rank(seen: &Seen) -> u8 {
    const UNITS: [&str; 6] = ["kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "snap.microk8s.daemon-kubelite"];
    let unit = seen.unit.strip_suffix(".service").unwrap_or_default();
    match seen.fact.placement {
        _ if !of_node(seen) => 3,
        Placement::Host if UNITS.contains(&unit) => 0,
        Placement::Host => 1,
        _ => 2,
    }
}

/// `k3s server --disable-agent` is a control plane without a kubelet.
fn without_agent(argument: &str) -> bool {
    matches!(argument, "--disable-agent" | "--disable-agent=true")
}

/// A name for one that is not the first, stable as long as its instance is.
fn other(name: &str, instance: &str, taken: &[String]) -> String {
    let free = |candidate: &String| !taken.contains(candidate);
    let named = if instance.is_empty() { "unnamed" } else { instance };
    let first = format!("{name}:{named}");
    let numbered = (2..=taken.len() + 2).map(|number| format!("{name}:{named}:{number}"));
    std::iter::once(first.clone()).chain(numbered).find(free).unwrap_or(first)
}

/// One fact per process of kube-proxy or the control plane.
pub(super) fn components(host: &Host, table: &ProcessTable) -> Observed<Listing<Component>> {
    let own = listing(table, |seen, role, subject| {
        let program = table.programs.read(host, seen);
        Component {
            subject,
            host_network: seen.fact.host_network.clone(),
            version: program.version,
            executable: program.executable,
            installed: program.installed,
            argv: redact::arguments(&seen.argv),
            documents: match &seen.argv_unread {
                Some(why) => Observed::Unavailable(why.clone()),
                None => config::documents(host, seen, &seen.argv),
            },
            ..Component::unread(role.name, seen.fact.pid)
        }
    });
    own.map(|mut listing| {
        let kubelets = table
            .processes
            .iter()
            .filter(|seen| !of_workload(seen))
            .filter_map(|seen| seen.role.filter(|role| embedded(*role)).map(|role| (seen, role)));
        for (seen, role) in kubelets {
            for name in inside(host, role, &seen.argv) {
                if listing.items.iter().all(|component| component.subject != name) {
                    listing.items.push(embedded_component(host, table, seen, role, name));
                }
            }
        }
        listing
    })
}

/// What else runs inside a process with a kubelet. It is there, whatever cannot be read of it.
fn inside(host: &Host, role: Role, argv: &[String]) -> Vec<&'static str> {
    let given = |argument: &str| argv.iter().any(|given| given == argument);
    let name = argv.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let server = match role.flavour {
        "k3s" => name == "k3s-server" || argv.get(1).is_some_and(|verb| verb == "server"),
        _ => given("--start-control-plane=true"),
    };
    let mut names = vec!["kube-proxy"];
    if server {
        names.extend(["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
        if role.flavour == "k3s" && host.root.metadata(K3S_ETCD).is_ok() {
            names.push("etcd");
        }
    }
    names.retain(|name| {
        // `--disable-apiserver`, `--disable-kube-proxy`.
        let short = name.trim_start_matches("kube-");
        !given(&format!("--disable-{name}")) && !given(&format!("--disable-{short}"))
    });
    names
}

fn embedded_component(host: &Host, table: &ProcessTable, seen: &Seen, role: Role, name: &str) -> Component {
    let program = table.programs.read(host, seen);
    let detail = format!("{} runs {name} inside its own process, where its settings cannot be read", role.flavour);
    Component {
        inside: role.flavour.to_owned(),
        host_network: seen.fact.host_network.clone(),
        version: program.version,
        executable: program.executable,
        installed: program.installed,
        // Its program's flags are not its own: `argv` stays empty.
        documents: Observed::unavailable_because(Reason::NotSupported, detail),
        ..Component::unread(name, seen.fact.pid)
    }
}

/// Does the process contain a kubelet whose flags are not its own.
fn embedded(role: Role) -> bool {
    matches!(role.flavour, "k3s" | "kubelite")
}

fn listing<T>(table: &ProcessTable, fact: impl Fn(&Seen, Role, String) -> T) -> Observed<Listing<T>> {
    let is_component = |role: &Role| role.workload == Workload::Component;
    let of_node = table.processes.iter().filter(|seen| !of_workload(seen));
    let mut found: Vec<(Role, &Arc<Seen>)> = of_node.filter_map(|seen| seen.role.filter(is_component).map(|role| (role, seen))).collect();
    found.sort_by_key(|(_, seen)| (rank(seen), seen.fact.start_ticks, seen.fact.pid));
    let mut taken: Vec<String> = Vec::new();
    let mut items = Vec::new();
    for (role, seen) in found {
        let plain = role.name.to_owned();
        let subject = if taken.contains(&plain) { other(role.name, &seen.instance, &taken) } else { plain };
        taken.push(subject.clone());
        items.push(fact(seen, role, subject));
    }
    let place = Source::new(SourceKind::Process, "running processes");
    Observed::known(Listing { items, skipped: table.skipped.clone() }, place, table.at)
}

/// Is it a container with a network of its own: the etcd of somebody's application, the API server of a virtual cluster. What
/// belongs to the node shares its network.
fn of_workload(seen: &Seen) -> bool {
    matches!(seen.fact.placement, Placement::Pod | Placement::Machine) && seen.fact.host_network.value() == Some(&false)
}

fn rank(seen: &Seen) -> u8 {
    match (seen.fact.placement, seen.fact.host_network.value()) {
        (Placement::Host, _) => 0,
        (_, Some(true)) => 1,
        _ => 2,
    }
}
