//! The node's place in the network: its addresses, what filters them, its pod network and its SSH server.

use serde::{Deserialize, Serialize};

use super::{BindScope, Listing, Observed, Settings};

/// Addresses, firewall, pod network, SSH.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Every address of the host's network namespace.
    pub addresses: Observed<Listing<Address>>,
    /// Whether something filters what comes in. Rules themselves need `CAP_NET_ADMIN`, which the agent has not.
    pub firewall: Observed<Firewall>,
    /// How many rules filter packets. Unavailable by default: nftables shows its rules to `CAP_NET_ADMIN` only, which could also
    /// change them.
    pub firewall_rules: Observed<i64>,
    /// The pod network as its configuration files name it.
    pub cni: Observed<Cni>,
    /// The SSH server's effective settings under `sshd_config`'s names (`PermitRootLogin`), each with its source; the defaults are
    /// derived. `Match` has the blocks that are noted and not applied: a list of `{criteria, settings}`. Unavailable (`not_present`)
    /// where no `sshd_config` is.
    pub sshd: Observed<Settings>,
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The interface's name; empty where only the address is known.
    pub interface: String,
    /// The address in text.
    pub address: String,
    /// How far it reaches, by the address alone.
    pub scope: BindScope,
}

/// What is known of packet filters without asking for their rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// The tables of the old iptables that the kernel has: `filter`, `nat`. Empty says nothing of nftables.
    pub legacy_tables: Vec<String>,
    /// Services on this host that filter: `firewalld`, `ufw`, `nftables`, by their running process or enabled unit.
    pub services: Vec<String>,
}

/// The configuration the runtime uses, which is the first of its directory by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cni {
    /// Its path.
    pub path: String,
    /// The network's name.
    pub name: String,
    /// The plug-ins' types in order: `calico`, `portmap`.
    pub plugins: Vec<String>,
    /// Derived: whether network policies are enforced: `yes`, `no`, `unknown`.
    pub enforces_policies: String,
    /// Derived: what that rests on.
    pub because: String,
}
