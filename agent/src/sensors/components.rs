//! Kubelets and the other Kubernetes components among the processes.

use std::sync::Arc;

use holdfast_checks::facts::{Component, Kubelet, Listing, Observed, Placement, Reason, Source, SourceKind};

use super::processes::{ProcessTable, Role, Seen, Workload};
use super::{config, redact};
use crate::host::Host;

/// Where k3s keeps its etcd; without it the state is in a database.
const K3S_ETCD: &str = "/var/lib/rancher/k3s/server/db/etcd";

/// One fact per kubelet process. None is a complete answer: this host runs no Kubernetes.
pub(super) fn kubelets(host: &Host, table: &ProcessTable) -> Observed<Listing<Kubelet>> {
    listing(table, Workload::Kubelet, |seen, role, subject| Kubelet {
        host_network: seen.fact.host_network.clone(),
        version: no_version(),
        argv: redact::arguments(&seen.argv),
        documents: if embedded(role) {
            let detail = format!("{} sets up its kubelet inside its own process, where its settings cannot be read", role.flavour);
            Observed::unavailable_because(Reason::NotSupported, detail)
        } else {
            config::documents(host, seen)
        },
        ..Kubelet::unread(subject, seen.fact.pid, role.flavour)
    })
}

/// One fact per process of kube-proxy or the control plane.
pub(super) fn components(host: &Host, table: &ProcessTable) -> Observed<Listing<Component>> {
    let own = listing(table, Workload::Component, |seen, role, subject| Component {
        subject,
        host_network: seen.fact.host_network.clone(),
        version: no_version(),
        argv: redact::arguments(&seen.argv),
        documents: config::documents(host, seen),
        ..Component::unread(role.name, seen.fact.pid)
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
                    listing.items.push(embedded_component(seen, role, name));
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

fn embedded_component(seen: &Seen, role: Role, name: &str) -> Component {
    let detail = format!("{} runs {name} inside its own process, where its settings cannot be read", role.flavour);
    Component {
        inside: role.flavour.to_owned(),
        host_network: seen.fact.host_network.clone(),
        version: no_version(),
        // Its program's flags are not its own: `argv` stays empty.
        documents: Observed::unavailable_because(Reason::NotSupported, detail),
        ..Component::unread(name, seen.fact.pid)
    }
}

/// Does the process contain a kubelet whose flags are not its own.
fn embedded(role: Role) -> bool {
    matches!(role.flavour, "k3s" | "kubelite")
}

fn no_version<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, "the version cannot be read without running the program")
}

fn listing<T>(table: &ProcessTable, workload: Workload, fact: impl Fn(&Seen, Role, String) -> T) -> Observed<Listing<T>> {
    let mut found: Vec<(Role, &Arc<Seen>)> = Vec::new();
    let of_node = table.processes.iter().filter(|seen| !of_workload(seen));
    found.extend(of_node.filter_map(|seen| seen.role.filter(|role| role.workload == workload).map(|role| (role, seen))));
    // The node's own comes first: whoever starts another kubelet in a pod does not take over its name.
    found.sort_by_key(|(_, seen)| (rank(seen), seen.fact.start_ticks, seen.fact.pid));
    let mut taken: Vec<String> = Vec::new();
    let mut items = Vec::new();
    for (role, seen) in found {
        let subject = subject(role.name, seen, &taken);
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

/// The component's name; with its unit, pod or number where that is taken.
fn subject(name: &str, seen: &Seen, taken: &[String]) -> String {
    let free = |candidate: &String| !taken.contains(candidate);
    let plain = name.to_owned();
    if free(&plain) {
        return plain;
    }
    let named = if seen.fact.subject.starts_with("pod:") { seen.fact.subject.clone() } else { seen.unit.clone() };
    let instance = format!("{name}:{named}");
    if !named.is_empty() && free(&instance) {
        return instance;
    }
    (2..=taken.len() + 2).map(|number| format!("{name}:{number}")).find(free).unwrap_or(plain)
}
