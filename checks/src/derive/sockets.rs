//! Which listening sockets are a component's own, and what answered there.
//!
//! A socket whose owner is not known may be anybody's: it is never claimed, and the list says that it may lack one.

use crate::facts::{Handshake, Listener, Listing, Observed, Probe, ProbeOutcome, Reason, Settings, Skipped};

/// The sockets that process `pid` listens on. Complete only when every owner is known and the process lives in the host's
/// network namespace, the only one whose sockets are read.
pub(super) fn listeners_of(
    pid: i64,
    host_network: &Observed<bool>,
    listeners: &Observed<Listing<Listener>>,
) -> Observed<Listing<Listener>> {
    if host_network.value() == Some(&false) {
        return Observed::unavailable_because(Reason::NotSupported, "it has a network namespace of its own, whose sockets are not read");
    }
    listeners.clone().map(|listening| {
        let mut skipped = listening.skipped;
        if let Some(why) = host_network.unavailable() {
            skipped.push(Skipped::because("its network namespace", why));
        }
        let mut items = Vec::new();
        for listener in listening.items {
            match &listener.owner {
                Observed::Known { value, .. } if value.pid == pid => items.push(listener),
                Observed::Known { .. } => {}
                // Every process was asked and none holds it: it is the kernel's own (a file server's, a tunnel's).
                Observed::Unavailable(why) if why.reason == Reason::NotPresent => {}
                Observed::Unavailable(why) => {
                    skipped.push(Skipped::because(format!("owner of {}", listener.subject), why));
                }
            }
        }
        Listing { items, skipped }
    })
}

/// The ports that `settings` say are served, of those in `names`. Zero and unknown ones are none.
pub(super) fn served_ports(settings: &Settings, names: &[&str]) -> Vec<i64> {
    let port = |name: &&str| settings.get(*name)?.value()?.value.as_i64();
    names.iter().filter_map(port).filter(|port| *port != 0).collect()
}

/// The answers that came from `own` sockets whose port is `theirs`: one process can be kubelet and API server at once. Of
/// the ports in `asked`, one that is listened on and was never asked, or gave no answer in time to anything, is skipped:
/// silence is no refusal.
pub(super) fn probes_of(
    own: &Observed<Listing<Listener>>,
    probes: &Observed<Listing<Probe>>,
    asked: &[i64],
    theirs: impl Fn(i64) -> bool,
) -> Observed<Listing<Probe>> {
    let own = match own {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    probes.clone().map(|answers| {
        let listens = |port: i64| theirs(port) && own.items.iter().any(|listener| listener.protocol == "tcp" && listener.port == port);
        let mut skipped = own.skipped.clone();
        skipped.extend(answers.skipped);
        let items: Vec<Probe> = answers.items.into_iter().filter(|probe| listens(probe.port)).collect();
        let answered = |port: i64| items.iter().any(|probe| probe.port == port && probe.outcome == ProbeOutcome::Answered);
        let silent = items.iter().filter(|probe| probe.outcome == ProbeOutcome::TimedOut && !answered(probe.port));
        skipped.extend(silent.map(|probe| Skipped { what: format!("port {}{}", probe.port, probe.path), reason: Reason::TimedOut }));
        let unasked = asked.iter().filter(|port| listens(**port) && !items.iter().any(|probe| probe.port == **port));
        skipped.extend(unasked.map(|port| Skipped { what: format!("port {port}, which was not asked"), reason: Reason::NotSupported }));
        Listing { items, skipped }
    })
}

/// The handshakes with `own` sockets whose port is `theirs`. Of the ports in `asked`, one that is listened on and that no
/// handshake was tried with is skipped.
pub(super) fn handshakes_of(
    own: &Observed<Listing<Listener>>,
    handshakes: &Observed<Listing<Handshake>>,
    asked: &[i64],
    theirs: impl Fn(i64) -> bool,
) -> Observed<Listing<Handshake>> {
    let own = match own {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    handshakes.clone().map(|tried| {
        let listens = |port: i64| theirs(port) && own.items.iter().any(|listener| listener.protocol == "tcp" && listener.port == port);
        let mut skipped = own.skipped.clone();
        skipped.extend(tried.skipped);
        let items: Vec<Handshake> = tried.items.into_iter().filter(|tried| listens(tried.port)).collect();
        let untried = asked.iter().filter(|port| listens(**port) && !items.iter().any(|tried| tried.port == **port));
        skipped.extend(untried.map(|port| Skipped { what: format!("TLS of port {port}"), reason: Reason::NotSupported }));
        Listing { items, skipped }
    })
}

#[cfg(test)]
mod tests;
