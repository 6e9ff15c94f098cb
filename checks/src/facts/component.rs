//! kube-proxy and the control-plane processes of this node.

use serde::{Deserialize, Serialize};

use super::{ConfigDocument, Handshake, Listener, Listing, Observed, Probe, Reason, Settings, Unavailable};

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
    /// The program file it runs.
    pub executable: Observed<Executable>,
    /// The version of the file that is now at that path: what runs after a restart. Equals `version` where the file was not replaced.
    pub installed: Observed<String>,
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
    /// Derived: TLS as those sockets speak it.
    pub handshakes: Observed<Listing<Handshake>>,
}

impl Component {
    /// A component of which nothing is known but that it runs.
    pub fn unread(name: impl Into<String>, pid: i64) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        let name = name.into();
        Self {
            subject: name.clone(),
            name,
            inside: String::new(),
            pid,
            host_network: Observed::Unavailable(why.clone()),
            version: Observed::Unavailable(why.clone()),
            executable: Observed::Unavailable(why.clone()),
            installed: Observed::Unavailable(why.clone()),
            argv: Vec::new(),
            documents: Observed::Unavailable(why.clone()),
            settings: Settings::new(),
            listeners: Observed::Unavailable(why.clone()),
            probes: Observed::Unavailable(why.clone()),
            handshakes: Observed::Unavailable(why),
        }
    }
}

/// The program file of a running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// Its path in the process's own root.
    pub path: String,
    /// The file at that path is not the one that runs: it was replaced or removed, and takes effect at the next start.
    pub replaced: bool,
}
