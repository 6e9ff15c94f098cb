//! The node model: what sensors read and what derivation adds, as typed serde values.
//!
//! Must not know Linux paths, CEL or the wire. Every integer is an `i64` (CEL has no other signed integer), every name
//! that an expression can use is `snake_case` here, except kubelet and component settings, which keep upstream's names.

mod component;
mod file;
mod kernel;
mod kubelet;
mod listener;
mod node;
mod observed;
mod probe;
mod process;

use serde::{Deserialize, Serialize};

pub use component::Component;
pub use file::{FileFact, FileKind};
pub use kernel::{CpuVulnerability, InstalledKernel, Kernel, KernelPackage, RebootSentinel, Selinux, Swap, Sysctls};
pub use kubelet::{ConfigDocument, DocumentKind, Kubelet, Setting, Settings};
pub use listener::{BindScope, Listener, Owner};
pub use node::{Node, Os};
pub(crate) use observed::{LISTING_NAME, OBSERVED_NAME};
pub use observed::{Listing, Observed, Reason, Skipped, Source, SourceKind, Unavailable};
pub use probe::{Probe, ProbeOutcome};
pub use process::{Placement, Process};

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
    /// Listening sockets of the host network namespace.
    pub listeners: Observed<Listing<Listener>>,
    /// User-space processes (kernel threads are left out by the sensor and not counted as skipped).
    pub processes: Observed<Listing<Process>>,
    /// Answers to active, unauthenticated requests.
    pub probes: Observed<Listing<Probe>>,
    /// The container runtime's effective configuration. Not read yet: always unavailable in this version.
    pub runtime: Observed<Undescribed>,
    /// Containers as configured. Not read yet: always unavailable in this version.
    pub containers: Observed<Listing<Undescribed>>,
    /// Firewall, addresses, routes and CNI. Not read yet: always unavailable in this version.
    pub network: Observed<Undescribed>,
    /// Derived on the collector, or by `scan`: version verdicts. Unavailable on the agent's stream, where no date is judged.
    pub versions: Observed<VersionFacts>,
}

/// A group that is declared so that checks can name it, but that no sensor fills yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undescribed {}

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
    /// See [`NodeFacts::listeners`].
    Listeners,
    /// See [`NodeFacts::processes`].
    Processes,
    /// See [`NodeFacts::probes`].
    Probes,
    /// See [`NodeFacts::runtime`].
    Runtime,
    /// See [`NodeFacts::containers`].
    Containers,
    /// See [`NodeFacts::network`].
    Network,
    /// See [`NodeFacts::versions`].
    Versions,
}

impl Group {
    /// Every group, in display order.
    pub const ALL: [Self; 13] = [
        Self::Node,
        Self::Os,
        Self::Kernel,
        Self::Kubelets,
        Self::Components,
        Self::Files,
        Self::Listeners,
        Self::Processes,
        Self::Probes,
        Self::Runtime,
        Self::Containers,
        Self::Network,
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
            Self::Listeners => "listeners",
            Self::Processes => "processes",
            Self::Probes => "probes",
            Self::Runtime => "runtime",
            Self::Containers => "containers",
            Self::Network => "network",
            Self::Versions => "versions",
        }
    }
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
            listeners: Observed::Unavailable(why.clone()),
            processes: Observed::Unavailable(why.clone()),
            probes: Observed::Unavailable(why.clone()),
            runtime: Observed::Unavailable(why.clone()),
            containers: Observed::Unavailable(why.clone()),
            network: Observed::Unavailable(why.clone()),
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
            Group::Listeners => self.listeners.unavailable(),
            Group::Processes => self.processes.unavailable(),
            Group::Probes => self.probes.unavailable(),
            Group::Runtime => self.runtime.unavailable(),
            Group::Containers => self.containers.unavailable(),
            Group::Network => self.network.unavailable(),
            Group::Versions => self.versions.unavailable(),
        }
    }
}
