//! The documents of the inventory, one type per kind. Both sides use them: the node writes, the collector reads.
//!
//! `None` is left out of the JSON: the fact was not known, and `group/<name>` says why. Readers ignore members they do not
//! know, so that a newer agent can add some.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::{
    Address, BindScope, BootEntry, Capability, ContainerKind, Deployment, Disk, Executable, FeatureState, Firewall, LogShipper, Mount,
    Package, Placement, Reason, RebootSentinel, Recreated, Registry, RuntimeSocket, SpoolKind,
};

/// `node/self`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDocument {
    /// See [`crate::facts::Node::name`].
    pub name: String,
    /// See [`crate::facts::Node::role`].
    pub role: String,
    /// See [`crate::facts::Node::provider`].
    pub provider: String,
    /// See [`crate::facts::Node::profile`].
    pub profile: String,
    /// See [`crate::facts::Node::profile_because`].
    pub profile_because: String,
    /// See [`crate::facts::Node::process_events`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_events: Option<bool>,
    /// Why the kernel does not tell of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_events_unknown: Option<String>,
}

/// `agent/self`: where a running agent keeps what it has not delivered, and how delivery goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentDocument {
    /// In a file, or in memory only.
    pub spool: SpoolKind,
    /// The file; empty when none was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Why not in the file, see [`crate::facts::SpoolState::reason`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// A file that would not open was set aside and a new one begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Recreated>,
    /// How many findings change more often than they are told.
    pub flapping: i64,
    /// See [`crate::facts::Agent::truncated_transitions`].
    pub truncated_transitions: i64,
    /// What it may do on the node; absent where it did not test itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileges: Option<PrivilegesDocument>,
}

/// What an agent found out about its own privileges when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegesDocument {
    /// Effective uid.
    pub uid: i64,
    /// Effective capabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// What it would use and does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// How many attempts there were of what it must not be able to do.
    pub attempts: i64,
    /// Those that were not refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worked: Vec<String>,
}

/// `kernel/self`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDocument {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `/proc/version_signature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The package of the running kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<i64>,
    /// Active security modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsms: Option<Vec<String>>,
    /// Lockdown mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<String>,
    /// The taint mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taint: Option<i64>,
    /// Active livepatches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub livepatches: Option<Vec<String>>,
    /// Installed kernels, one for each release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Vec<InstalledDocument>>,
    /// Files that say a reboot waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reboot_sentinels: Option<Vec<RebootSentinel>>,
    /// What the boot loader starts next time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_default: Option<BootEntry>,
    /// The system image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// Parts of the kernel that known vulnerabilities are in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<BTreeMap<String, FeatureState>>,
    /// May users without privileges make user namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprivileged_user_namespaces: Option<bool>,
    /// `kernel.unprivileged_bpf_disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprivileged_bpf_disabled: Option<i64>,
    /// `net.ipv4.conf.all.route_localnet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_localnet: Option<i64>,
    /// The version of the control groups that limit resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<i64>,
    /// Why members are absent that version verdicts need, by member: a reason, `: ` and the detail.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
    /// What is missing from members that are lists, by member: each a reason, `: ` and its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, Vec<String>>,
}

/// A kernel that could be booted. Older agents told of its release only, as a plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredInstalled")]
pub struct InstalledDocument {
    /// Its release.
    pub release: String,
    /// The build string in its image; of the running release and those that are newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// When its image was written: Unix seconds; of the same ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<i64>,
    /// Of the running one's flavour, and newer; see [`crate::facts::Kernel::newer_installed`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub newer: bool,
}

/// [`InstalledDocument`] as it is stored.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredInstalled {
    Release(String),
    Kernel {
        release: String,
        #[serde(default)]
        build: Option<String>,
        #[serde(default)]
        modified: Option<i64>,
        #[serde(default)]
        newer: bool,
    },
}

impl From<StoredInstalled> for InstalledDocument {
    fn from(stored: StoredInstalled) -> Self {
        match stored {
            StoredInstalled::Release(release) => Self { release, ..Self::default() },
            StoredInstalled::Kernel { release, build, modified, newer } => Self { release, build, modified, newer },
        }
    }
}

/// `component/<subject>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentDocument {
    /// `kubelet`, `kube-proxy`, ….
    pub name: String,
    /// What contains it: `kubelet`, `k3s`, …; the component's own name where nothing else does.
    pub flavour: String,
    /// The running version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of the file that is now at its program's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// The program file, and whether another has taken its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Executable>,
    /// Shares the host's network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Why members are absent that version verdicts need, by member: a reason, `: ` and the detail.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
}

/// `setting/<subject>/<setting>`: either `value` and `source`, or `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingDocument {
    /// The effective value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// Where it comes from, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why there is no value: a reason, `: ` and the detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// What each place says, weakest first; absent where only a default holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<SaidDocument>,
    /// What the component's behaviour shows; absent where it shows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<SaidDocument>,
    /// Why behaviour, which could show it, did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unobserved: Option<String>,
    /// What the component itself says, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<SaidDocument>,
}

/// A setting as one place has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidDocument {
    /// The value there.
    pub value: serde_json::Value,
    /// The place, for a person.
    pub source: String,
}

/// `listener/<protocol>/<address>/<port>`: `owner`, or `owner_unknown` with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerDocument {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The bound address.
    pub address: String,
    /// The bound port.
    pub port: i64,
    /// How far the address reaches.
    pub scope: BindScope,
    /// Who holds the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerDocument>,
    /// Why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_unknown: Option<String>,
}

/// The process behind a listener, without its pid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnerDocument {
    /// See [`crate::facts::Owner::name`].
    pub name: String,
    /// See [`crate::facts::Owner::exe`].
    pub exe: String,
    /// See [`crate::facts::Owner::component`].
    pub component: String,
    /// See [`crate::facts::Owner::unit`].
    pub unit: String,
}

/// `handshake/<vantage>/<address>/<port>`: TLS as one socket speaks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeDocument {
    /// Every version that was offered alone, and whether it was taken. One that could not be tried is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<BTreeMap<String, bool>>,
    /// The suites of TLS 1.2 and older that it takes; absent where they could not be listed to the end, or did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suites: Option<Vec<String>>,
    /// Asks its clients for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_certificate: Option<bool>,
    /// The certificate it showed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ShownCertificateDocument>,
    /// The file with the authority that signed it; absent where none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<String>,
}

/// The certificate of a [`HandshakeDocument`]; each member as in [`crate::facts::Certificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCertificateDocument {
    /// Whom it names.
    pub name: String,
    /// Who issued it.
    pub issuer: String,
    /// Its own key signed it.
    pub self_signed: bool,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    /// The kind of key.
    pub key: String,
    /// Its size in bits.
    pub key_bits: i64,
    /// SHA-256 of the whole, hexadecimal.
    pub fingerprint: String,
}

/// `network/self`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDocument {
    /// Addresses by which others reach the node, those the whole world routes first. Without loopback and link-local ones: each pod's
    /// interface brings one of the latter. Absent when not known or too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<Address>>,
    /// What filters packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Firewall>,
    /// The pod network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<PodNetworkDocument>,
}

/// The pod network in a [`NetworkDocument`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNetworkDocument {
    /// See [`crate::facts::Cni::name`].
    pub name: String,
    /// See [`crate::facts::Cni::plugins`].
    pub plugins: Vec<String>,
    /// See [`crate::facts::Cni::enforces_policies`].
    pub enforces_policies: String,
    /// See [`crate::facts::Cni::because`].
    pub because: String,
}

/// `certificate/<subject>`: what is known of the certificate, or `unknown`. Its alternative names and fingerprints stay on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDocument {
    /// See [`crate::facts::CertificateFact::path`].
    pub path: String,
    /// See [`crate::facts::CertificateFact::role`].
    pub role: String,
    /// See [`crate::facts::CertificateFact::user`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// See [`crate::facts::CertificateFact::issued_by`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub issued_by: String,
    /// What it says.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSaid>,
    /// Why there is nothing: a reason, `: ` and the detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// The part of [`crate::facts::Certificate`] that travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSaid {
    /// See [`crate::facts::Certificate::name`].
    pub name: String,
    /// See [`crate::facts::Certificate::common_name`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub common_name: String,
    /// See [`crate::facts::Certificate::organizations`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// See [`crate::facts::Certificate::issuer`].
    pub issuer: String,
    /// See [`crate::facts::Certificate::self_signed`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_signed: bool,
    /// See [`crate::facts::Certificate::authority`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authority: bool,
    /// See [`crate::facts::Certificate::not_before`].
    pub not_before: i64,
    /// See [`crate::facts::Certificate::not_after`].
    pub not_after: i64,
    /// See [`crate::facts::Certificate::key`].
    pub key: String,
    /// See [`crate::facts::Certificate::key_bits`].
    pub key_bits: i64,
    /// See [`crate::facts::Certificate::signature`].
    pub signature: String,
}

/// `root-process/<subject>`: the processes of one subject that run with host uid 0, and the least that confines any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootProcessDocument {
    /// The executable; absent when not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Which part of the host they belong to.
    pub placement: Placement,
    /// Do all of them live in a user namespace of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<bool>,
    /// The uid they see, when all see the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_uid: Option<i64>,
    /// Have all of them given up gaining privileges.
    pub no_new_privileges: bool,
    /// The weakest seccomp mode: 0 off, 1 strict, 2 filter.
    pub seccomp: i64,
    /// How many processes.
    pub count: i64,
}

/// `container/<subject>`: one container and what its processes are. A member is absent where it is not known. How many they are is not
/// told: the document would change, and travel, with every one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDocument {
    /// Container or sandbox.
    pub kind: ContainerKind,
    /// Pod, machine or other.
    pub placement: Placement,
    /// See [`crate::facts::Container::runtime`]; empty where nothing tells.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Namespace of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The image as the pod names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// Programs that are the host's root; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_root: Option<Vec<String>>,
    /// Programs that are root only in a user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_root: Option<Vec<String>>,
    /// Why `host_root` is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Effective host uids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uids: Option<Vec<i64>>,
    /// Was it started as privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// All of it runs in a user namespace of its own: what it may do, it may do there. Absent where that is not so, or not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user_namespace: bool,
    /// Effective capabilities by name; `["ALL"]` for every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Every process runs under a seccomp filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<bool>,
    /// Every process has given up gaining privileges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_new_privileges: Option<bool>,
    /// Namespaces shared with the host, of `network`, `pid`, `ipc`, `mounts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<String>,
    /// Those of which it is not known whether they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares_unknown: Vec<String>,
    /// The root is mounted read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Pieces of the host in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    /// The uid its first process was configured to have, as the container sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_user: Option<i64>,
}

/// `runtime/<subject>`: one container runtime. Its settings are `setting/<subject>/<setting>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeDocument {
    /// `containerd`, `cri-o` or `docker`.
    pub name: String,
    /// The distribution that brought it; empty for the host's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flavour: String,
    /// The running version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of the file that is now at its program's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// The program file, and whether another has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<Executable>,
    /// The package that brought that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// OCI runtimes and shims that it would find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<Vec<ProgramDocument>>,
    /// Does a kubelet of this node use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by_kubelet: Option<bool>,
    /// What it can run containers with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handlers: Option<Vec<HandlerDocument>>,
    /// Registries that something is said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registries: Option<Vec<Registry>>,
    /// Socket files with mode, owner and group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Vec<RuntimeSocket>>,
    /// Can pods have user namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespaces: Option<Capability>,
    /// Why members are absent that version verdicts need, by member: a reason, `: ` and the detail.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
}

/// A program file of a runtime's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramDocument {
    /// Path on the host.
    pub path: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The package that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// Why these are absent, by member: a reason, `: ` and the detail.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
}

/// One way to run a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerDocument {
    /// The name a `RuntimeClass` uses.
    pub name: String,
    /// `runc`, `crun`, `gvisor`, `kata`, `wasm` or `other`.
    pub kind: String,
    /// Pods that name none get it.
    pub default: bool,
    /// Path of its program; empty where the runtime searches it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// Version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// `system/self`: the host as a server. A member is absent where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemDocument {
    /// File systems that fill up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<Vec<Disk>>,
    /// Programs that carry logs elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shippers: Option<Vec<LogShipper>>,
    /// Is there a journal on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_persistent: Option<bool>,
    /// Programs that set the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_services: Option<Vec<String>>,
    /// Ways by which updates are installed by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<Vec<String>>,
    /// Programs that watch for intrusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Vec<String>>,
}

/// What is known of a fact group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// It was read.
    Known,
    /// It was not.
    Unavailable,
}

/// `group/<fact group>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDocument {
    /// Was the group read.
    pub state: GroupState,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Path and operation of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How many items a list has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
    /// How many items of the list could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<usize>,
    /// How many documents were left out because they do not fit into the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<usize>,
}
