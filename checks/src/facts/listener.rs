//! Listening sockets of the host network namespace.

use serde::{Deserialize, Serialize};

use super::Observed;

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// `port:tcp/10255`. Sockets of one port and protocol share it; the worst verdict stands for them.
    pub subject: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The bound address in text; `::` and `0.0.0.0` are wildcards.
    pub address: String,
    /// The bound port.
    pub port: i64,
    /// How far the bound address reaches.
    pub scope: BindScope,
    /// The process that holds the socket.
    pub owner: Observed<Owner>,
}

/// How far a bound address reaches, by the address alone: firewalls are another fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindScope {
    /// 127.0.0.0/8, `::1`, and their IPv4-mapped forms.
    Loopback,
    /// One private, link-local or unique-local address of this node.
    Node,
    /// One globally routable address.
    Public,
    /// A wildcard: every address of this node.
    All,
}

/// The process behind a listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id. For joining only.
    pub pid: i64,
    /// `comm`, as the kernel has it: attacker-controlled text.
    pub name: String,
    /// Executable path; empty when not readable.
    pub exe: String,
    /// The component this process is (`kubelet`, `kube-proxy`, …); empty when none.
    pub component: String,
    /// systemd unit or pod uid it belongs to; empty when neither.
    pub unit: String,
}
