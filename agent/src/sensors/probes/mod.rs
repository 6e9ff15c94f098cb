//! Active, unauthenticated requests from the node to its own Kubernetes ports. GET only, without credentials, each within two
//! seconds; bodies are read to 4 KiB and dropped. Nothing is asked that no component of this node listens on.

mod request;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use holdfast_checks::facts::{BindScope, Listing, NodeFacts, Observed, Probe, ProbeOutcome, Reason, Skipped, Source, SourceKind};

use super::now;
use crate::host::{Host, RecordedProbe};

/// The most requests of one pass.
const MAX_REQUESTS: usize = 20;

/// What may be asked: port, TLS, path. Nothing else is ever sent.
const REQUESTS: [(u16, bool, &str); 13] = [
    (10250, true, "/pods"),
    (10250, true, "/healthz"),
    (10255, false, "/pods"),
    (10248, false, "/healthz"),
    (10249, false, "/metrics"),
    (10256, false, "/healthz"),
    (10257, true, "/healthz"),
    (10257, true, "/metrics"),
    (10259, true, "/healthz"),
    (10259, true, "/metrics"),
    (2381, false, "/metrics"),
    (6443, true, "/version"),
    (8080, false, "/version"),
];

/// One request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    address: SocketAddr,
    tls: bool,
    path: &'static str,
}

/// The requests for those listeners that Kubernetes components hold. A wildcard is asked on the loopback address.
pub(super) fn targets(facts: &NodeFacts) -> Vec<Target> {
    let listeners = facts.listeners.value().into_iter().flat_map(|listing| &listing.items);
    let ours =
        listeners.filter(|listener| listener.protocol == "tcp" && listener.owner.value().is_some_and(|owner| !owner.component.is_empty()));
    let mut targets = Vec::new();
    for listener in ours {
        let address = match (listener.scope, listener.address.parse::<IpAddr>()) {
            (BindScope::All, Ok(IpAddr::V4(_))) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            // Dual-stack sockets take IPv4 too; one that does not refuses, and then ::1 would have answered.
            (BindScope::All, Ok(IpAddr::V6(_))) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            (_, Ok(address)) => address,
            (_, Err(_)) => continue,
        };
        for (port, tls, path) in REQUESTS.into_iter().filter(|(port, _, _)| i64::from(*port) == listener.port) {
            let target = Target { address: SocketAddr::new(address, port), tls, path };
            if !targets.contains(&target) && targets.len() < MAX_REQUESTS {
                targets.push(target);
            }
        }
    }
    targets
}

/// The answers: a recording's, or those of this node now.
pub(super) fn read(host: &Host, probe: bool, targets: &[Target]) -> Observed<Listing<Probe>> {
    if !probe {
        return Observed::unavailable_because(Reason::NotSupported, "probing is switched off");
    }
    if !host.live() {
        let recorded = host.recording.as_ref().and_then(|recording| recording.probes.as_ref());
        return match recorded {
            Some(probes) => {
                let items = probes.iter().map(fact).collect();
                Observed::known(Listing::complete(items), Source::new(SourceKind::Recorded, crate::host::RECORDING_FILE), now())
            }
            None => Observed::unavailable_because(Reason::NotSupported, "the tree gives no probe answers"),
        };
    }
    Observed::known(ask(targets), Source::new(SourceKind::Probe, "this node"), now())
}

/// One request beyond this node, as `peers` makes them: the same client, without credentials and without trust.
pub(crate) fn ask_stranger(address: SocketAddr, tls: bool, path: &str) -> (ProbeOutcome, u16) {
    request::Client::new().get(address, tls, path)
}

/// Asks all at once: one that never answers delays no other.
fn ask(targets: &[Target]) -> Listing<Probe> {
    let client = request::Client::new();
    let mut listing = Listing::complete(Vec::new());
    std::thread::scope(|scope| {
        let asked: Vec<_> = targets
            .iter()
            .map(|target| {
                let get = || client.get(target.address, target.tls, target.path);
                (target, std::thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, get))
            })
            .collect();
        for (target, thread) in asked {
            if let Ok(Ok((outcome, status))) = thread.map(std::thread::ScopedJoinHandle::join) {
                listing.items.push(answer(target, outcome, status));
            } else {
                let what = format!("{}{}", target.address, target.path);
                listing.skipped.push(Skipped { what, reason: Reason::NotSupported });
            }
        }
    });
    listing
}

fn answer(target: &Target, outcome: ProbeOutcome, status: u16) -> Probe {
    Probe {
        vantage: "node".to_owned(),
        address: target.address.ip().to_string(),
        port: i64::from(target.address.port()),
        path: target.path.to_owned(),
        tls: target.tls,
        outcome,
        status: i64::from(status),
        body: String::new(),
    }
}

fn fact(recorded: &RecordedProbe) -> Probe {
    let outcome = recorded.outcome.unwrap_or(if recorded.status == 0 { ProbeOutcome::NotHttp } else { ProbeOutcome::Answered });
    Probe {
        vantage: "node".to_owned(),
        address: recorded.address.clone(),
        port: i64::from(recorded.port),
        path: recorded.path.clone(),
        tls: recorded.tls,
        outcome,
        status: i64::from(recorded.status),
        body: String::new(),
    }
}
