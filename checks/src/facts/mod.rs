//! The node model: what sensors read and what derivation adds, as typed serde values.
//!
//! Must not know Linux paths, CEL or the wire. Every integer is an `i64` (CEL has no other signed integer), every name
//! that an expression can use is `snake_case` here, except kubelet and component settings, which keep upstream's names.

mod agent;
mod certificate;
mod component;
mod container;
mod file;
mod handshake;
mod kernel;
mod kubelet;
mod listener;
mod network;
mod node;
mod observed;
mod package;
mod probe;
mod process;
mod runtime;
mod system;

use serde::{Deserialize, Serialize};

pub use agent::{Agent, Attempt, Flapping, Privileges, Recreated, RefusedEntry, SpoolKind, SpoolState};
pub use certificate::{Certificate, CertificateFact};
pub use component::{Component, Executable};
pub use container::{Configured, Container, ContainerKind, Mount, MountKind, Running};
pub use file::{Access, AclEntry, FileFact, FileKind, Step};
pub use handshake::{Handshake, TlsVersion};
pub use kernel::{
    BootEntry, CpuVulnerability, Deployment, Feature, FeatureState, InstalledKernel, Kernel, RebootSentinel, Selinux, Swap, Sysctls,
};
pub use kubelet::{
    ConfigDocument, Declared, Difference, DocumentKind, FlagOrigin, FlagOriginKind, Kubelet, Setting, Settings, UnknownField,
};
pub use listener::{BindScope, Listener, Owner};
pub use network::{Address, Cni, Firewall, Network};
pub use node::{Admission, Clock, Membership, Node, Os};
pub(crate) use observed::{LISTING_NAME, OBSERVED_NAME};
pub use observed::{Listing, Observed, Reason, Skipped, Source, SourceKind, Unavailable};
pub use package::Package;
pub use probe::{Probe, ProbeOutcome};
pub use process::{ExePlace, Placement, Process, Shares};
pub use runtime::{Capability, DocumentRole, Handler, Registry, Runtime, RuntimeDocument, RuntimeProgram, RuntimeSocket};
pub use system::{Binary, Disk, LogShipper, MountPoint, ServiceSeen, System};

use crate::versions::VersionFacts;

/// Everything known about one node at one time.
///
/// Sensors fill the groups that were read; [`crate::derive::derive`] adds what follows from them. A group whose sensor
/// does not exist yet, or could not run, is [`Unavailable`] with the reason: never empty, never a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Name, cluster, role and profile. Always known: it comes from the agent's own configuration.
    pub node: Node,
    /// `os-release`.
    pub os: Observed<Os>,
    /// The running kernel, its settings, and the kernels installed beside it.
    pub kernel: Observed<Kernel>,
    /// One per kubelet process.
    pub kubelets: Observed<Listing<Kubelet>>,
    /// kube-proxy and the control-plane processes.
    pub components: Observed<Listing<Component>>,
    /// Every path that matters to a check.
    pub files: Observed<Listing<FileFact>>,
    /// The certificates in those files.
    pub certificates: Observed<Listing<CertificateFact>>,
    /// Listening sockets of the host network namespace.
    pub listeners: Observed<Listing<Listener>>,
    /// User-space processes (kernel threads are left out by the sensor and not counted as skipped).
    pub processes: Observed<Listing<Process>>,
    /// Answers to active, unauthenticated requests.
    pub probes: Observed<Listing<Probe>>,
    /// TLS as the components' sockets speak it.
    pub handshakes: Observed<Listing<Handshake>>,
    /// containerd, CRI-O, Docker: one per process.
    pub runtimes: Observed<Listing<Runtime>>,
    /// Running containers.
    pub containers: Observed<Listing<Container>>,
    /// Disks, logs, clock, programs.
    pub system: Observed<System>,
    /// Addresses, firewall, pod network, SSH.
    pub network: Observed<Network>,
    /// The agent's account of its own delivery.
    #[serde(default = "not_running")]
    pub agent: Observed<Agent>,
    /// Derived on the collector, or by `scan`: version verdicts. Unavailable on the agent's stream, where no date is judged.
    pub versions: Observed<VersionFacts>,
}

/// The names of the fact groups, in the order they are shown. Sensors, invalidation and coverage use these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// See [`NodeFacts::node`].
    Node,
    /// See [`NodeFacts::os`].
    Os,
    /// See [`NodeFacts::kernel`].
    Kernel,
    /// See [`NodeFacts::kubelets`].
    Kubelets,
    /// See [`NodeFacts::components`].
    Components,
    /// See [`NodeFacts::files`].
    Files,
    /// See [`NodeFacts::certificates`].
    Certificates,
    /// See [`NodeFacts::listeners`].
    Listeners,
    /// See [`NodeFacts::processes`].
    Processes,
    /// See [`NodeFacts::probes`].
    Probes,
    /// See [`NodeFacts::handshakes`].
    Handshakes,
    /// See [`NodeFacts::runtimes`].
    Runtimes,
    /// See [`NodeFacts::containers`].
    Containers,
    /// See [`NodeFacts::system`].
    System,
    /// See [`NodeFacts::network`].
    Network,
    /// See [`NodeFacts::agent`].
    Agent,
    /// See [`NodeFacts::versions`].
    Versions,
}

impl Group {
    /// Every group, in display order.
    pub const ALL: [Self; 17] = [
        Self::Node,
        Self::Os,
        Self::Kernel,
        Self::Kubelets,
        Self::Components,
        Self::Files,
        Self::Certificates,
        Self::Listeners,
        Self::Processes,
        Self::Probes,
        Self::Handshakes,
        Self::Runtimes,
        Self::Containers,
        Self::System,
        Self::Network,
        Self::Agent,
        Self::Versions,
    ];

    /// The group's name as expressions and inventory keys write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Os => "os",
            Self::Kernel => "kernel",
            Self::Kubelets => "kubelets",
            Self::Components => "components",
            Self::Files => "files",
            Self::Certificates => "certificates",
            Self::Listeners => "listeners",
            Self::Processes => "processes",
            Self::Probes => "probes",
            Self::Handshakes => "handshakes",
            Self::Runtimes => "runtimes",
            Self::Containers => "containers",
            Self::System => "system",
            Self::Network => "network",
            Self::Agent => "agent",
            Self::Versions => "versions",
        }
    }
}

/// [`NodeFacts::agent`] where nobody delivers anything: in a scan, and in what an older version recorded.
pub fn not_running() -> Observed<Agent> {
    Observed::known(Agent::not_running(), Source::new(SourceKind::Agent, ""), 0)
}

impl NodeFacts {
    /// Facts in which nothing but the node's identity is known; every group is unavailable for `why`.
    ///
    /// Sensors start from this, so that a sensor that never ran cannot look like an empty answer.
    pub fn unread(node: Node, why: &Unavailable) -> Self {
        Self {
            node,
            os: Observed::Unavailable(why.clone()),
            kernel: Observed::Unavailable(why.clone()),
            kubelets: Observed::Unavailable(why.clone()),
            components: Observed::Unavailable(why.clone()),
            files: Observed::Unavailable(why.clone()),
            certificates: Observed::Unavailable(why.clone()),
            listeners: Observed::Unavailable(why.clone()),
            processes: Observed::Unavailable(why.clone()),
            probes: Observed::Unavailable(why.clone()),
            handshakes: Observed::Unavailable(why.clone()),
            runtimes: Observed::Unavailable(why.clone()),
            containers: Observed::Unavailable(why.clone()),
            system: Observed::Unavailable(why.clone()),
            network: Observed::Unavailable(why.clone()),
            agent: not_running(),
            versions: Observed::Unavailable(why.clone()),
        }
    }

    /// Why `group` is not known, or `None` when it is.
    pub fn unavailable(&self, group: Group) -> Option<&Unavailable> {
        match group {
            Group::Node => None,
            Group::Os => self.os.unavailable(),
            Group::Kernel => self.kernel.unavailable(),
            Group::Kubelets => self.kubelets.unavailable(),
            Group::Components => self.components.unavailable(),
            Group::Files => self.files.unavailable(),
            Group::Certificates => self.certificates.unavailable(),
            Group::Listeners => self.listeners.unavailable(),
            Group::Processes => self.processes.unavailable(),
            Group::Probes => self.probes.unavailable(),
            Group::Handshakes => self.handshakes.unavailable(),
            Group::Runtimes => self.runtimes.unavailable(),
            Group::Containers => self.containers.unavailable(),
            Group::System => self.system.unavailable(),
            Group::Network => self.network.unavailable(),
            Group::Agent => self.agent.unavailable(),
            Group::Versions => self.versions.unavailable(),
        }
    }
}
