//! Who builds Kubernetes, and under whose dates: providers by the marks that they leave in versions, or by the node's profile.

use serde::{Deserialize, Serialize};

use crate::facts::Node;
use crate::versions::Base;

/// A provider or distribution of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Amazon EKS, EKS Distro and Bottlerocket's Kubernetes.
    Eks,
    /// Google Kubernetes Engine.
    Gke,
    /// Azure Kubernetes Service, whose kubelets carry no mark.
    Aks,
    /// K3s.
    K3s,
    /// RKE2.
    Rke2,
    /// Rancher's older RKE.
    Rke,
    /// `OpenShift` and OKD.
    Openshift,
    /// MicroK8s, whose kubelets carry no mark.
    Microk8s,
    /// k0s.
    K0s,
    /// Alibaba Cloud's.
    Ack,
    /// Tencent Cloud's.
    Tke,
    /// Huawei Cloud's.
    Cce,
    /// Volcano Engine's.
    Vke,
    /// `VMware`'s.
    Vmware,
    /// IBM Cloud's.
    Ibm,
    /// Mirantis.
    Mirantis,
}

impl Provider {
    /// The name in facts and evidence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eks => "eks",
            Self::Gke => "gke",
            Self::Aks => "aks",
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
            Self::Rke => "rke",
            Self::Openshift => "openshift",
            Self::Microk8s => "microk8s",
            Self::K0s => "k0s",
            Self::Ack => "ack",
            Self::Tke => "tke",
            Self::Cce => "cce",
            Self::Vke => "vke",
            Self::Vmware => "vmware",
            Self::Ibm => "ibm",
            Self::Mirantis => "mirantis",
        }
    }

    /// By the node's profile, for the providers whose versions carry no mark. The cloud a machine stands in alone tells nothing: a
    /// cluster of one's own on it is judged by upstream's dates.
    pub fn of_node(node: &Node) -> Option<Self> {
        let profile = node.profile.as_str();
        let starts = |name: &str| profile.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        [
            ("eks", Self::Eks),
            ("gke", Self::Gke),
            ("aks", Self::Aks),
            ("k3s", Self::K3s),
            ("rke2", Self::Rke2),
            ("openshift", Self::Openshift),
            ("microk8s", Self::Microk8s),
            ("k0s", Self::K0s),
        ]
        .into_iter()
        .find_map(|(name, provider)| starts(name).then_some(provider))
    }

    /// Product and cycle of the lifecycle data that its Kubernetes of `series` (`1.33`) follows; `None` where it publishes none of its
    /// own that anybody collects: upstream's dates hold then, which K3s and RKE2 follow.
    pub fn lifecycle(self, series: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Eks => Some(("amazon-eks", series.to_owned())),
            Self::Gke => Some(("google-kubernetes-engine", series.to_owned())),
            Self::Aks => Some(("azure-kubernetes-service", series.to_owned())),
            // OpenShift 4.N has brought Kubernetes 1.(N + 13) since 4.3.
            Self::Openshift => {
                let minor: u32 = series.strip_prefix("1.")?.parse().ok()?;
                Some(("red-hat-openshift", format!("4.{}", minor.checked_sub(13).filter(|minor| *minor >= 3)?)))
            }
            _ => None,
        }
    }

    /// How it makes its builds from upstream's releases.
    pub fn base(self) -> Base {
        match self {
            Self::K3s | Self::Rke2 | Self::Rke | Self::K0s | Self::Microk8s | Self::Aks => Base::Stable,
            Self::Eks
            | Self::Gke
            | Self::Openshift
            | Self::Ack
            | Self::Tke
            | Self::Cce
            | Self::Vke
            | Self::Vmware
            | Self::Ibm
            | Self::Mirantis => Base::OwnPicks,
        }
    }
}

/// What follows upstream's numbers names a provider: `-eks-a483404`, `+rke2r1`.
pub(super) fn marked(suffix: &str) -> Option<Provider> {
    const MARKS: [(&str, Provider); 16] = [
        ("eks", Provider::Eks),
        ("gke", Provider::Gke),
        ("k3s", Provider::K3s),
        ("rke2r", Provider::Rke2),
        ("rke2", Provider::Rke2),
        ("rancher", Provider::Rke),
        ("k0s", Provider::K0s),
        ("aliyun", Provider::Ack),
        ("aliyuncs", Provider::Ack),
        ("tke", Provider::Tke),
        ("CCE", Provider::Cce),
        ("r0-CCE", Provider::Cce),
        ("vke", Provider::Vke),
        ("vmware", Provider::Vmware),
        ("IKS", Provider::Ibm),
        ("mirantis", Provider::Mirantis),
    ];
    let said = suffix.strip_prefix(['-', '+'])?;
    MARKS.iter().find_map(|(mark, provider)| {
        let rest = said.strip_prefix(mark)?;
        // A number or more of the build follows, nothing that makes another word of it.
        (!rest.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(*provider)
    })
}
