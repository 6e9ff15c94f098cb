//! Container runtimes: containerd, CRI-O, Docker, with what their files and flags make them do.

use serde::{Deserialize, Serialize};

use super::{Executable, Listener, Listing, Observed, Package, Reason, Settings, Unavailable};

/// One runtime's process. Sensors fill everything up to `sockets`; derivation the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    /// `containerd`, `cri-o` or `docker` for the node's own; with `:<instance>` where several run.
    pub subject: String,
    /// `containerd`, `cri-o` or `docker`.
    pub name: String,
    /// The distribution that brought it (`k3s`, `rke2`, `microk8s`); empty where it is the host's own.
    pub flavour: String,
    /// Process id. For joining only.
    pub pid: i64,
    /// The running version, from the program file, never by executing it.
    pub version: Observed<String>,
    /// The program file it runs.
    pub executable: Observed<Executable>,
    /// The version of the file that is now at that path: what runs after a restart. Equals `version` where the file was not replaced.
    pub installed: Observed<String>,
    /// The package that brought that file.
    pub package: Observed<Package>,
    /// The command line, secrets redacted.
    pub argv: Vec<String>,
    /// Every document that has a say, in the order the runtime reads them, secrets redacted.
    pub documents: Observed<Listing<RuntimeDocument>>,
    /// Program files that its configuration names or that it would find: OCI runtimes and shims.
    pub programs: Observed<Listing<RuntimeProgram>>,
    /// Sockets it serves its API on that are files.
    pub sockets: Observed<Listing<RuntimeSocket>>,
    /// Derived: the version of the configuration's own format, and effective settings under one name for every runtime, each with
    /// its source.
    pub settings: Settings,
    /// Derived: what it can run containers with.
    pub handlers: Observed<Listing<Handler>>,
    /// Derived: registries that something is said of.
    pub registries: Observed<Listing<Registry>>,
    /// Derived: sockets it listens on over the network.
    pub listeners: Observed<Listing<Listener>>,
    /// Derived: is it the one that a kubelet of this node uses.
    pub used_by_kubelet: Observed<bool>,
    /// Derived: can pods have user namespaces with this kernel, runtime and OCI runtime.
    pub user_namespaces: Observed<Capability>,
}

impl Runtime {
    /// A runtime of which nothing is known but that it runs.
    pub fn unread(subject: impl Into<String>, name: impl Into<String>, pid: i64) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        Self {
            subject: subject.into(),
            name: name.into(),
            flavour: String::new(),
            pid,
            version: Observed::Unavailable(why.clone()),
            executable: Observed::Unavailable(why.clone()),
            installed: Observed::Unavailable(why.clone()),
            package: Observed::Unavailable(why.clone()),
            argv: Vec::new(),
            documents: Observed::Unavailable(why.clone()),
            programs: Observed::Unavailable(why.clone()),
            sockets: Observed::Unavailable(why.clone()),
            settings: Settings::new(),
            handlers: Observed::Unavailable(why.clone()),
            registries: Observed::Unavailable(why.clone()),
            listeners: Observed::Unavailable(why.clone()),
            used_by_kubelet: Observed::Unavailable(why.clone()),
            user_namespaces: Observed::Unavailable(why),
        }
    }
}

/// A file that a runtime reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeDocument {
    /// Path on the host.
    pub path: String,
    /// What the runtime takes it for.
    pub role: DocumentRole,
    /// As parsed, or why it is not. `not_present` where the runtime would read it and it is not there.
    pub content: Observed<serde_json::Value>,
}

/// What a runtime takes a document for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentRole {
    /// `config.toml`, `crio.conf`, `daemon.json`.
    Main,
    /// A file that the main one imports, or a drop-in.
    DropIn,
    /// containerd's `certs.d/<host>/hosts.toml`.
    RegistryHosts,
    /// `registries.conf` and its drop-ins.
    Registries,
    /// `policy.json`, the image signature policy.
    SignaturePolicy,
}

/// A program file of a runtime's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeProgram {
    /// Path on the host.
    pub path: String,
    /// Its version, from the file, never by executing it.
    pub version: Observed<String>,
    /// The package that brought it.
    pub package: Observed<Package>,
}

/// A socket file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeSocket {
    /// `socket:` and the path.
    pub subject: String,
    /// Path on the host.
    pub path: String,
    /// Permission bits.
    pub mode: i64,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
}

/// One way to run a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handler {
    /// The name a `RuntimeClass` uses.
    pub name: String,
    /// Pods that name none get it.
    pub default: bool,
    /// `runc`, `crun`, `gvisor`, `kata`, `wasm` or `other`.
    pub kind: String,
    /// Path of its program; empty where the runtime searches it.
    pub program: String,
    /// Version of that program.
    pub version: Observed<String>,
    /// Cgroups are made by systemd.
    pub systemd_cgroup: Observed<bool>,
    /// Privileged containers get no devices of the host.
    pub privileged_without_host_devices: Observed<bool>,
    /// The document that names it, or `default`.
    pub source: String,
}

/// A registry, as far as something is said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// `registry:` and the host.
    pub subject: String,
    /// Host, with port; `*` for all.
    pub host: String,
    /// Where its images are really asked for.
    pub endpoint: String,
    /// Over TLS.
    pub tls: bool,
    /// The certificate is verified.
    pub verified: bool,
    /// The document or flag that says so.
    pub source: String,
}

/// Something the node can or cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Can it.
    pub capable: bool,
    /// What that rests on.
    pub because: String,
}
