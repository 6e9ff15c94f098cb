//! One kubelet: what its process was started with, what its files declare, what derivation makes of both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Listener, Listing, Observed, Probe, Source};

/// A kubelet process. Sensors fill everything up to `documents`; derivation the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kubelet {
    /// `kubelet`, or `kubelet:<instance>` where several run on one host. Stable over restarts.
    pub subject: String,
    /// Process id. For joining with listeners and processes only: never evidence, never inventory.
    pub pid: i64,
    /// What contains it: `kubelet`, `k3s`, `rke2`, `kubelite`, `hyperkube`.
    pub flavour: String,
    /// Does it share the host's network namespace.
    pub host_network: Observed<bool>,
    /// The running version, where it could be read without executing anything.
    pub version: Observed<String>,
    /// The command line, secrets redacted.
    pub argv: Vec<String>,
    /// Configuration documents in merge order: the `--config` file first, then drop-ins.
    pub documents: Observed<Listing<ConfigDocument>>,
    /// Derived: effective settings under upstream's names, each with its source.
    pub settings: Settings,
    /// Derived: sockets this process listens on.
    pub listeners: Observed<Listing<Listener>>,
    /// Derived: probe answers from those sockets.
    pub probes: Observed<Listing<Probe>>,
}

/// Effective settings by upstream name. A setting that cannot be decided (its file was unreadable) is unavailable.
pub type Settings = BTreeMap<String, Observed<Setting>>;

/// One effective setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The typed value: booleans are booleans, durations whole seconds, sizes bytes, lists lists.
    pub value: serde_json::Value,
    /// Flag, drop-in, file or default.
    pub source: Source,
}

/// A configuration file as parsed, secrets redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// Path inside the process's own root.
    pub path: String,
    /// Main file or drop-in.
    pub kind: DocumentKind,
    /// The parsed document, or why there is none.
    pub content: Observed<serde_json::Value>,
}

/// The role of a [`ConfigDocument`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// Named by `--config`.
    Main,
    /// Found under `--config-dir`.
    DropIn,
}
