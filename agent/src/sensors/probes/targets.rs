//! What may be asked, and of which listeners: a list that is compiled in, GET only, and nothing on it changes or runs anything.
//! Pure: from facts to targets.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use holdfast_checks::facts::{BindScope, ConfigDocument, Listener, Listing, NodeFacts, Observed, Reason, Skipped};
use serde_json::Value;

/// The most listeners of one node that are asked. A control-plane node has about fifteen.
const MAX_TARGETS: usize = 32;

/// In which tongue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// In clear: what listens there never speaks TLS.
    Plain,
    Tls,
    /// By TLS, and in clear when that is refused.
    Either,
}

type Request = (Speech, &'static [&'static str]);

/// Ports by which everybody knows what listens there, also where one program is several components.
const PORTS: [(u16, Request); 16] = [
    (10250, (Speech::Tls, &["/pods", "/healthz"])),
    (10255, (Speech::Plain, &["/pods"])),
    (10248, (Speech::Plain, &["/healthz"])),
    (10249, (Speech::Plain, &["/metrics"])),
    (10256, (Speech::Plain, &["/healthz"])),
    (10257, (Speech::Either, &["/healthz", "/metrics"])),
    (10258, (Speech::Either, &["/healthz", "/metrics"])),
    (10259, (Speech::Either, &["/healthz", "/metrics"])),
    (2379, (Speech::Either, &["/version", "/health"])),
    (2380, (Speech::Either, &["/version", "/health"])),
    (2381, (Speech::Either, &["/metrics", "/health"])),
    (6443, (Speech::Tls, &["/version"])),
    (6444, (Speech::Either, &["/version"])),
    (16443, (Speech::Either, &["/version"])),
    (8443, (Speech::Either, &["/version"])),
    (8080, (Speech::Either, &["/version"])),
];

/// Other ports, by whose they are.
const COMPONENTS: [(&str, Request); 6] = [
    ("kubelet", (Speech::Either, &["/pods", "/healthz"])),
    ("kube-apiserver", (Speech::Either, &["/version"])),
    ("kube-controller-manager", (Speech::Either, &["/healthz", "/metrics"])),
    ("kube-scheduler", (Speech::Either, &["/healthz", "/metrics"])),
    ("etcd", (Speech::Either, &["/version", "/health"])),
    (KUBE_PROXY, (Speech::Plain, &["/healthz", "/metrics"])),
];

/// It may hold the ports of services open, behind which anybody's program answers.
const KUBE_PROXY: &str = "kube-proxy";

/// One listener to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// See [`super::wire::Visit::otherwise`].
    pub(super) otherwise: Option<Ipv4Addr>,
    pub(super) speech: Speech,
    pub(super) paths: &'static [&'static str],
    /// Changes with the process that listens, its command line and its documents.
    pub(super) basis: u64,
    pub(super) pid: i64,
}

/// The listeners of components, each address once, and those that are too many.
pub(super) fn targets(facts: &NodeFacts) -> (Vec<Target>, Vec<Skipped>) {
    let (mut targets, mut skipped): (Vec<Target>, Vec<Skipped>) = Default::default();
    let listeners = facts.listeners.value().map(|listing| listing.items.as_slice()).unwrap_or_default();
    for listener in listeners {
        let Some(target) = target(facts, listener, listeners) else { continue };
        if targets.iter().any(|known| known.address == target.address) {
            continue;
        }
        if targets.len() < MAX_TARGETS {
            targets.push(target);
        } else {
            skipped.push(Skipped { what: target.address.to_string(), reason: Reason::TooLarge });
        }
    }
    (targets, skipped)
}

fn target(facts: &NodeFacts, listener: &Listener, all: &[Listener]) -> Option<Target> {
    let owner = listener.owner.value().filter(|owner| listener.protocol == "tcp" && !owner.component.is_empty())?;
    let port = u16::try_from(listener.port).ok()?;
    let known = PORTS.iter().find(|(known, _)| *known == port).map(|(_, request)| *request);
    let by_component = || {
        let named = owner.component != KUBE_PROXY || names_port(facts, owner.pid, listener.port);
        COMPONENTS.iter().find(|(name, _)| *name == owner.component && named).map(|(_, request)| *request)
    };
    let (speech, paths) = known.or_else(by_component)?;
    let bound: IpAddr = listener.address.parse().ok()?;
    let (ip, otherwise) = match (listener.scope, bound) {
        (BindScope::All, IpAddr::V4(_)) => (IpAddr::V4(Ipv4Addr::LOCALHOST), None),
        (BindScope::All, IpAddr::V6(_)) => {
            let taken = |other: &Listener| other.protocol == "tcp" && other.port == listener.port && is_v4(&other.address);
            (IpAddr::V6(Ipv6Addr::LOCALHOST), (!all.iter().any(taken)).then_some(Ipv4Addr::LOCALHOST))
        }
        (_, bound) => (bound.to_canonical(), None),
    };
    Some(Target { address: SocketAddr::new(ip, port), otherwise, speech, paths, basis: basis(facts, owner.pid), pid: owner.pid })
}

fn is_v4(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_ipv4())
}

/// When the process started, in ticks since boot; 0 where that is not known.
pub(super) fn started(facts: &NodeFacts, pid: i64) -> i64 {
    let processes = facts.processes.value().into_iter().flat_map(|listing| &listing.items);
    processes.filter(|process| process.pid == pid).map(|process| process.start_ticks).next().unwrap_or_default()
}

fn basis(facts: &NodeFacts, pid: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (pid, started(facts, pid)).hash(&mut hasher);
    for (argv, documents) in described(facts, pid) {
        argv.hash(&mut hasher);
        for document in contents(documents) {
            document.to_string().hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Command line and documents of every component that the process is.
fn described(facts: &NodeFacts, pid: i64) -> impl Iterator<Item = (&[String], &Observed<Listing<ConfigDocument>>)> {
    let kubelets = facts.kubelets.value().into_iter().flat_map(|listing| &listing.items);
    let kubelets = kubelets.filter(move |kubelet| kubelet.pid == pid).map(|kubelet| (kubelet.argv.as_slice(), &kubelet.documents));
    let others = facts.components.value().into_iter().flat_map(|listing| &listing.items);
    let others = others.filter(move |component| component.pid == pid).map(|component| (component.argv.as_slice(), &component.documents));
    kubelets.chain(others)
}

fn contents(documents: &Observed<Listing<ConfigDocument>>) -> impl Iterator<Item = &Value> {
    documents.value().into_iter().flat_map(|listing| &listing.items).filter_map(|document| document.content.value())
}

/// Does the process's command line or one of its documents name the port: as a number, or behind an address.
fn names_port(facts: &NodeFacts, pid: i64, port: i64) -> bool {
    let number = port.to_string();
    let ends = |text: &str| text.rsplit([':', '=']).next() == Some(number.as_str());
    described(facts, pid).any(|(argv, documents)| {
        let mut values = contents(documents).filter_map(Value::as_object).flat_map(serde_json::Map::values);
        argv.iter().any(|argument| ends(argument)) || values.any(|value| value.as_i64() == Some(port) || value.as_str().is_some_and(ends))
    })
}

#[cfg(test)]
mod tests {
    use holdfast_checks::facts::{Component, Kubelet, Node, Owner, Source, SourceKind, Unavailable};

    use super::*;

    fn known<T>(value: T) -> Observed<T> {
        Observed::known(value, Source::new(SourceKind::Process, ""), 0)
    }

    fn listener(component: &str, pid: i64, address: &str, port: i64) -> Listener {
        let text = String::new;
        let owner = Owner { pid, name: text(), exe: text(), component: component.to_owned(), unit: text() };
        let ip: IpAddr = address.parse().unwrap();
        let scope = if ip.is_unspecified() { BindScope::All } else { BindScope::Node };
        Listener { subject: text(), protocol: "tcp".to_owned(), address: address.to_owned(), port, scope, owner: known(owner) }
    }

    fn facts(listeners: Vec<Listener>) -> NodeFacts {
        let text = String::new;
        let node = Node {
            name: text(),
            uid: text(),
            cluster: text(),
            role: text(),
            provider: text(),
            profile: text(),
            profile_because: text(),
            ..Node::unnamed()
        };
        let mut facts = NodeFacts::unread(node, &Unavailable::new(Reason::NotSupported, ""));
        facts.listeners = known(Listing::complete(listeners));
        facts.kubelets = known(Listing::complete(vec![Kubelet::unread("kubelet", 1, "kubelet")]));
        let proxy = Component {
            argv: vec!["kube-proxy".to_owned(), "--healthz-bind-address=0.0.0.0:31256".to_owned()],
            ..Component::unread("kube-proxy", 2)
        };
        facts.components = known(Listing::complete(vec![proxy]));
        facts
    }

    fn asked(facts: &NodeFacts) -> Vec<String> {
        let show = |target: &Target| format!("{} {:?} {}", target.address, target.speech, target.paths.join(" "));
        targets(facts).0.iter().map(show).collect()
    }

    #[test]
    fn listeners_of_components_are_asked_for_what_they_are() {
        let facts = facts(vec![
            listener("kubelet", 1, "::", 10250),
            listener("kubelet", 1, "0.0.0.0", 10300),
            listener("", 9, "0.0.0.0", 8080),
            listener("kube-proxy", 2, "0.0.0.0", 30001),
            listener("kube-proxy", 2, "0.0.0.0", 31256),
            listener("etcd", 3, "10.0.0.1", 2379),
            listener("etcd", 3, "::ffff:10.0.0.1", 2379),
            listener("kube-apiserver", 4, "0.0.0.0", 16443),
        ]);
        assert_eq!(
            asked(&facts),
            [
                "[::1]:10250 Tls /pods /healthz",
                "127.0.0.1:10300 Either /pods /healthz",
                "127.0.0.1:31256 Plain /healthz /metrics",
                "10.0.0.1:2379 Either /version /health",
                "127.0.0.1:16443 Either /version",
            ]
        );
        assert_eq!(targets(&facts).0[0].otherwise, Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn nothing_is_asked_that_changes_or_runs_anything() {
        let requests = PORTS.iter().map(|(_, request)| request).chain(COMPONENTS.iter().map(|(_, request)| request));
        for path in requests.flat_map(|(_, paths)| *paths) {
            assert!(["/pods", "/healthz", "/health", "/metrics", "/version"].contains(path), "{path}");
        }
    }

    #[test]
    fn the_basis_changes_with_the_process_and_its_settings() {
        let before = facts(vec![listener("kubelet", 1, "::", 10250)]);
        let mut after = before.clone();
        assert_eq!(targets(&before).0, targets(&after).0);
        after.kubelets.value_mut().unwrap().items[0].argv.push("--anonymous-auth=true".to_owned());
        assert_ne!(targets(&before).0[0].basis, targets(&after).0[0].basis);
    }

    #[test]
    fn too_many_are_said_to_be_too_many() {
        let facts = facts((1..=40).map(|port| listener("kubelet", 1, "0.0.0.0", port)).collect());
        let (targets, skipped) = targets(&facts);
        assert_eq!((targets.len(), skipped.len()), (32, 8));
    }
}
