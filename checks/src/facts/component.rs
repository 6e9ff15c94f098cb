//! kube-proxy and the control-plane processes of this node.

use serde::{Deserialize, Serialize};

use super::{ConfigDocument, Listener, Listing, Observed, Probe, Settings};

/// A Kubernetes component other than the kubelet. Sensors fill everything up to `documents`; derivation the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// The component's name; with `:<instance>` where several run.
    pub subject: String,
    /// `kube-proxy`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler` or `etcd`.
    pub name: String,
    /// The program it runs inside of (`k3s`, `kubelite`), which keeps its flags to itself; empty where it is a process of its own.
    #[serde(default)]
    pub inside: String,
    /// Process id. For joining only.
    pub pid: i64,
    /// Does it share the host's network namespace.
    pub host_network: Observed<bool>,
    /// The running version, where it could be read without executing anything.
    pub version: Observed<String>,
    /// The command line, secrets redacted.
    pub argv: Vec<String>,
    /// Configuration files named on the command line.
    pub documents: Observed<Listing<ConfigDocument>>,
    /// Derived: effective settings under upstream's flag or field names.
    pub settings: Settings,
    /// Derived: sockets this process listens on.
    pub listeners: Observed<Listing<Listener>>,
    /// Derived: probe answers from those sockets.
    pub probes: Observed<Listing<Probe>>,
}
