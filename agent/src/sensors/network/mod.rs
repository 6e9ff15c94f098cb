//! The node's place in the network: addresses, packet filters, the pod network's configuration, the SSH server's.
//!
//! Only files are read. The rules of nftables are not: asking for them needs `CAP_NET_ADMIN`, which would let the agent change
//! them, so a firewall is only known by its service or by the old tables the kernel has.

mod addresses;
mod cni;
mod firewall;
pub(super) mod sshd;

use holdfast_checks::facts::{Network, NodeFacts, Observed, Placement, Source, SourceKind, Unavailable};

use super::now;
use crate::host::Host;
use crate::profiles::Location;

/// What the group builds on: the names of the host's own processes, and which of them are SSH servers.
pub(super) struct Running {
    services: Result<Vec<String>, Unavailable>,
    ssh_servers: Vec<i64>,
}

impl Running {
    pub(super) fn of(facts: &NodeFacts) -> Self {
        let services = match &facts.processes {
            Observed::Known { value, .. } => {
                let own = value.items.iter().filter(|process| process.placement == Placement::Host);
                Ok(own.map(|process| process.name.clone()).collect())
            }
            Observed::Unavailable(why) => Err(why.clone()),
        };
        let all = facts.processes.value().into_iter().flat_map(|listing| &listing.items);
        let servers = all.filter(|process| process.placement == Placement::Host && process.name == "sshd");
        Self { services, ssh_servers: servers.map(|process| process.pid).collect() }
    }
}

/// Everything; `locations` are those of the node's profile.
pub(super) fn read(host: &Host, running: &Running, locations: &[Location]) -> Observed<Network> {
    let network = Network {
        addresses: addresses::read(host),
        firewall: firewall::read(host, &running.services),
        firewall_rules: firewall::rules(),
        cni: cni::read(host, locations),
        sshd: sshd::overridden(host, &running.ssh_servers).unwrap_or_else(|| sshd::read(host)),
    };
    Observed::known(network, Source::new(SourceKind::Kernel, "/proc and files"), now())
}
