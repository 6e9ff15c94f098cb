//! The node's identity and its operating system.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Observed, Reason};

/// Who this node is, from the agent's configuration and the files that tell a distribution's profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The node's name: configured, else the host name.
    pub name: String,
    /// The Node object's uid where known; else empty. The collector's identity never comes from here.
    pub uid: String,
    /// The cluster's name as configured; may be empty for a single host.
    pub cluster: String,
    /// `control-plane`, `worker` or `none` (no kubelet runs here).
    pub role: String,
    /// Whose machine it is, by the profile, else by the firmware: `aws`, `azure`, `gcp`, `none`.
    pub provider: String,
    /// Distribution profile: `kubeadm`, `k3s`, `rke2`, …, `plain`, or `none` without Kubernetes.
    pub profile: String,
    /// Which observation chose the profile.
    pub profile_because: String,
    /// How the agent hears of new and changed processes: `true`, the kernel tells it (process connector); unavailable with the reason
    /// where it looks every second instead, or once.
    pub process_events: Observed<bool>,
    /// May the agent speak to a container runtime's socket (`--cri`): who may is as good as root, so one that may is a finding.
    pub cri_allowed: Observed<bool>,
    /// The runtime that answered there and its version, `containerd 1.6.20`. Unavailable where none was asked or none answered.
    pub cri: Observed<String>,
    /// The node's clock as the collector measures it. `None` where nobody measures: on the node itself, in a scan, of a recording.
    #[serde(default)]
    pub clock: Option<Observed<Clock>>,
    /// Who has spoken for the node, as the collector saw. `None` where nobody says: on the node itself, in a scan, of a recording.
    #[serde(default)]
    pub admission: Option<Observed<Admission>>,
    /// The node beside the Node objects of its cluster. `None` as above.
    #[serde(default)]
    pub membership: Option<Observed<Membership>>,
}

/// Who spoke for a node. Counts are of the last hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// How its agent proves who it is: `pod`, `enrolment` or `token`.
    pub credential: String,
    /// Sessions of another agent that were refused while the node's own was there.
    pub duplicates: i64,
    /// How often one and the same credential came from two machines in turns.
    pub alternations: i64,
    /// Messages that spoke of another node, or of what only the collector judges.
    pub foreign_writes: i64,
    /// The last of those, for a person; empty without any.
    pub last: String,
}

/// A node beside the Node objects of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Is there a Node object with this node's uid.
    pub listed: bool,
    /// Did an agent ever speak for it.
    pub agent: bool,
    /// Why no agent can run there; empty where one is expected.
    pub unwatchable: String,
    /// For how many seconds there has been a Node object and no agent; 0 with an agent.
    pub waited_seconds: i64,
}

/// A node's clock beside the collector's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Whole seconds by which the node's clock is ahead; negative when it is behind. The way of a heartbeat makes it smaller by its delay.
    pub ahead_seconds: i64,
}

impl Node {
    /// A node of which nothing is known, not even its name.
    pub fn unnamed() -> Self {
        Self {
            name: String::new(),
            uid: String::new(),
            cluster: String::new(),
            role: String::new(),
            provider: String::new(),
            profile: String::new(),
            profile_because: String::new(),
            process_events: Observed::unavailable_because(Reason::NotSupported, "not watched"),
            cri_allowed: Observed::unavailable_because(Reason::NotSupported, "not read"),
            cri: Observed::unavailable_because(Reason::NotSupported, "no runtime was asked"),
            clock: None,
            admission: None,
            membership: None,
        }
    }
}

/// `/etc/os-release`, else `/usr/lib/os-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `ID`, lower case.
    pub id: String,
    /// `ID_LIKE`, split at spaces.
    pub id_like: Vec<String>,
    /// `VERSION_ID`; empty on rolling releases.
    pub version_id: String,
    /// `PRETTY_NAME`.
    pub pretty_name: String,
    /// Every key of the file, for the families that need more (`VARIANT_ID`, `BUILD_ID`, `IMAGE_VERSION`, `OSTREE_VERSION`).
    pub fields: BTreeMap<String, String>,
}
