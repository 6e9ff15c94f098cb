//! One kubelet: what its process was started with, what its files declare, what derivation makes of both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Executable, Handshake, Listener, Listing, Observed, Probe, Reason, Source, Unavailable};

/// A kubelet process. Sensors fill everything up to `documents`; derivation the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kubelet {
    /// `kubelet` for the node's own: it shares the host's network and is no pod. `kubelet:<instance>` for any other on this host
    /// (a node of kind is a container here, and a node elsewhere), named after its unit, pod or container. Stable over restarts.
    pub subject: String,
    /// Process id. For joining with listeners and processes only: never evidence, never inventory.
    pub pid: i64,
    /// What contains it: `kubelet`, `k3s`, `rke2`, `kubelite`, `hyperkube`.
    pub flavour: String,
    /// Does it share the host's network namespace.
    pub host_network: Observed<bool>,
    /// Does it share the host's mount namespace. One that does not (kind, vcluster) has files of its own.
    pub host_mounts: Observed<bool>,
    /// The running version as `v1.36.2`, with the vendor's suffix, read from the program file and never by executing it.
    pub version: Observed<String>,
    /// The program file it runs.
    pub executable: Observed<Executable>,
    /// The version of the file that is now at that path: what runs after a restart. Equals `version` where the file was not replaced.
    pub installed: Observed<String>,
    /// The kubelet's command line, secrets redacted. Of one inside another program: its flags where that program takes them from
    /// a file of flags (`kubelet` first), else the program's own. Empty where it could not be read: `documents` says why.
    pub argv: Vec<String>,
    /// Units and environment that name its flags: evidence of where a flag came from, never a setting.
    pub origins: Observed<Listing<FlagOrigin>>,
    /// Configuration documents in merge order: the `--config` file first, then drop-ins.
    pub documents: Observed<Listing<ConfigDocument>>,
    /// What the kubelet itself says of its configuration (`/configz`, the `kubeletconfig` object), where the agent may ask.
    pub configz: Observed<serde_json::Value>,
    /// Derived: effective settings under upstream's names, each with its source.
    pub settings: Settings,
    /// Derived: the settings that behaviour can show (its ports, addresses, anonymous access, authorization, TLS), as a socket or an
    /// answer shows them. One that nothing it did tells is unavailable, with the reason; those behaviour never shows are missing.
    pub observed: Settings,
    /// Derived: the same settings as [`Kubelet::configz`] gives them. Empty without it.
    pub reported: Settings,
    /// Derived: settings that `reported` gives otherwise than `settings`. One that only the kubelet's own answer tells is skipped.
    /// Unavailable without [`Kubelet::configz`].
    pub differences: Observed<Listing<Difference>>,
    /// Derived: fields of its documents that no kubelet of its version knows.
    pub unknown_fields: Observed<Listing<UnknownField>>,
    /// Derived: sockets this process listens on. Read by the sensor where it has a network namespace of its own.
    pub listeners: Observed<Listing<Listener>>,
    /// Derived: probe answers from those sockets.
    pub probes: Observed<Listing<Probe>>,
    /// Derived: TLS as those sockets speak it.
    pub handshakes: Observed<Listing<Handshake>>,
}

impl Kubelet {
    /// A kubelet of which nothing is known but that it runs.
    pub fn unread(subject: impl Into<String>, pid: i64, flavour: impl Into<String>) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        Self {
            subject: subject.into(),
            pid,
            flavour: flavour.into(),
            host_network: Observed::Unavailable(why.clone()),
            host_mounts: Observed::Unavailable(why.clone()),
            version: Observed::Unavailable(why.clone()),
            executable: Observed::Unavailable(why.clone()),
            installed: Observed::Unavailable(why.clone()),
            argv: Vec::new(),
            origins: Observed::Unavailable(why.clone()),
            documents: Observed::Unavailable(why.clone()),
            configz: Observed::Unavailable(why.clone()),
            settings: Settings::new(),
            observed: Settings::new(),
            reported: Settings::new(),
            differences: Observed::Unavailable(why.clone()),
            unknown_fields: Observed::Unavailable(why.clone()),
            listeners: Observed::Unavailable(why.clone()),
            probes: Observed::Unavailable(why.clone()),
            handshakes: Observed::Unavailable(why),
        }
    }
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
    /// Every place that says something about it, weakest first; the last one decided. Empty where only a default holds.
    pub declared: Vec<Declared>,
}

/// What one place says about a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// The value there, typed like the setting; null where a drop-in removes it.
    pub value: serde_json::Value,
    /// Which place.
    pub source: Source,
}

/// A setting of which the running kubelet says another value than its flags and files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The setting's name.
    pub setting: String,
    /// Its value by flags, files and defaults.
    pub effective: serde_json::Value,
    /// What decided that.
    pub source: Source,
    /// The value the kubelet reports.
    pub reported: serde_json::Value,
}

/// A field of a configuration document that its reader does not know, and so does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownField {
    /// The field with those around it: `authentication.anonymus`.
    pub field: String,
    /// The document's path.
    pub path: String,
}

/// A place outside the process that names flags of its command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagOrigin {
    /// The file, or the environment variable's name.
    pub place: String,
    /// What it is.
    pub kind: FlagOriginKind,
    /// The flags it gives, as written, secrets redacted.
    pub flags: Vec<String>,
}

/// What a [`FlagOrigin`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagOriginKind {
    /// A systemd unit or a drop-in of one.
    Unit,
    /// A file that a unit reads variables from.
    EnvironmentFile,
    /// A variable in the process's own environment.
    Environment,
    /// A configuration file of the program that the kubelet is inside of, or a file of flags that its command line names.
    File,
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
