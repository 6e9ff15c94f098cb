//! Profiles: where a distribution of Kubernetes keeps the files that matter, and by what its nodes are recognised.
//!
//! They are data (`agent/profiles/*.yaml`), overlays over `base`. A profile never says what a kubelet does: the running
//! process's own flags decide that; it says which further files matter and what they are. Chosen per node from what was
//! observed there, never from a Kubernetes version: an unknown newer one takes the profile and the reason says so.
//! Must not know how anything is read.

mod choose;
mod load;
mod machine;

use serde::Deserialize;
use std::collections::BTreeMap;

pub use choose::{Chosen, Clues};
pub use load::ProfileError;
pub use machine::{Machine, Provider};

/// What every profile extends; it is never chosen.
const BASE: &str = "base";

/// The built-in profiles, the most specific first: of several that match the first is chosen. Immutable systems that carry their
/// name stand before what is told by a path, a provider's layout before what others imitate, and what matches everything last.
const BUILT_IN: [(&str, &str); 12] = [
    ("base.yaml", include_str!("../../profiles/base.yaml")),
    ("talos.yaml", include_str!("../../profiles/talos.yaml")),
    ("bottlerocket.yaml", include_str!("../../profiles/bottlerocket.yaml")),
    ("openshift.yaml", include_str!("../../profiles/openshift.yaml")),
    ("microk8s.yaml", include_str!("../../profiles/microk8s.yaml")),
    ("k3s.yaml", include_str!("../../profiles/k3s.yaml")),
    ("rke2.yaml", include_str!("../../profiles/rke2.yaml")),
    ("eks-al2023.yaml", include_str!("../../profiles/eks-al2023.yaml")),
    ("aks.yaml", include_str!("../../profiles/aks.yaml")),
    ("gke-cos.yaml", include_str!("../../profiles/gke-cos.yaml")),
    ("kubeadm.yaml", include_str!("../../profiles/kubeadm.yaml")),
    ("plain.yaml", include_str!("../../profiles/plain.yaml")),
];

/// Every profile, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Profiles {
    all: Vec<Profile>,
    base: Vec<Location>,
}

/// One profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name, as [`holdfast_checks::facts::Node::profile`] gives it.
    pub name: String,
    /// Whose machines it runs on, where that is certain.
    pub provider: Provider,
    /// What recognises it: any one of these. None: it is chosen when no other is.
    pub detect: Vec<Rule>,
    /// Files that matter, this profile's own first: of two roles for one path the first holds.
    pub locations: Vec<Location>,
    /// The Kubernetes versions whose layout was looked at.
    pub versions: Versions,
    /// Where the layout is published.
    pub source: Vec<String>,
}

/// Observations that together recognise a profile. Those left out do not matter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// What contains the kubelet: see [`holdfast_checks::facts::Kubelet::flavour`].
    pub flavour: Option<String>,
    /// What the path of its program begins with.
    pub exe: Option<String>,
    /// Flags of the kubelet and their exact values.
    pub flags: BTreeMap<String, String>,
    /// `ID` of os-release.
    pub os: Option<String>,
    /// What `VERSION_ID` begins with.
    pub os_version: Option<String>,
    /// What `VARIANT_ID` begins with.
    pub variant: Option<String>,
    /// Whose machine it is.
    pub machine: Option<Provider>,
    /// Files that are there, all of them.
    pub files: Vec<String>,
    /// The provider where this rule tells it.
    pub provider: Option<Provider>,
}

/// A place and what lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// See [`holdfast_checks::facts::FileFact::role`].
    pub role: String,
    /// A file or directory; with `ending` the directory of the files meant.
    pub path: String,
    /// What their names end with; empty: every file of the directory.
    pub ending: Option<String>,
}

/// Kubernetes minor versions, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub from: (u32, u32),
    /// The newest.
    pub to: (u32, u32),
}

impl Profiles {
    /// The profiles of this build.
    ///
    /// # Errors
    /// [`ProfileError`] only when a build shipped a bad profile, which a test of this crate prevents.
    pub fn built_in() -> Result<Self, ProfileError> {
        load::load(&BUILT_IN)
    }

    /// Every profile that can be chosen, in order.
    pub fn all(&self) -> &[Profile] {
        &self.all
    }

    /// Where the files of a node with the profile `name` lie; those of every node where there is no such profile.
    pub fn locations(&self, name: &str) -> &[Location] {
        self.all.iter().find(|profile| profile.name == name).map_or(&self.base, |profile| &profile.locations)
    }
}
