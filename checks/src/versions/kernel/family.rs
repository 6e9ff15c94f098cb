//! Families of kernels: who builds them, whether they follow upstream's stable releases, and whose dates judge them.

use serde::{Deserialize, Serialize};

use crate::facts::Os;
use crate::versions::Confidence;

/// Who builds a kernel, as far as its own strings tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Canonical.
    Ubuntu,
    /// Debian.
    Debian,
    /// Debian, rebuilt for an older release.
    DebianBackports,
    /// Raspberry Pi OS.
    RaspberryPi,
    /// Proxmox VE, built from Ubuntu's sources.
    Proxmox,
    /// RHEL and its rebuilds: features and fixes are backported on an old base.
    EnterpriseLinux,
    /// Oracle's Unbreakable Enterprise Kernel.
    Uek,
    /// Amazon Linux.
    Amazon,
    /// Azure Linux and CBL-Mariner.
    AzureLinux,
    /// Photon OS.
    Photon,
    /// Fedora.
    Fedora,
    /// SUSE and openSUSE.
    Suse,
    /// openSUSE's rolling release.
    Tumbleweed,
    /// `openEuler`.
    OpenEuler,
    /// Alibaba Cloud Linux and Anolis.
    AlibabaLinux,
    /// `TencentOS`.
    TencentOs,
    /// Google's Container-Optimized OS.
    Cos,
    /// Talos.
    Talos,
    /// Flatcar.
    Flatcar,
    /// Bottlerocket.
    Bottlerocket,
    /// Alpine.
    Alpine,
    /// Arch.
    Arch,
    /// `NixOS`.
    Nixos,
    /// Docker Desktop and friends.
    Linuxkit,
    /// Microsoft's kernel for WSL 2.
    Wsl2,
    /// Android.
    Android,
    /// gVisor: no kernel at all, `uname` is made up.
    Gvisor,
    /// A release candidate of upstream.
    Prerelease,
    /// Upstream's release without any local mark.
    Vanilla,
    /// Nothing tells who built it.
    Unlisted,
}

impl Family {
    /// The name in facts and evidence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ubuntu => "ubuntu",
            Self::Debian => "debian",
            Self::DebianBackports => "debian-backports",
            Self::RaspberryPi => "raspberry-pi",
            Self::Proxmox => "proxmox",
            Self::EnterpriseLinux => "enterprise-linux",
            Self::Uek => "uek",
            Self::Amazon => "amazon",
            Self::AzureLinux => "azure-linux",
            Self::Photon => "photon",
            Self::Fedora => "fedora",
            Self::Suse => "suse",
            Self::Tumbleweed => "tumbleweed",
            Self::OpenEuler => "openeuler",
            Self::AlibabaLinux => "alibaba-linux",
            Self::TencentOs => "tencentos",
            Self::Cos => "cos",
            Self::Talos => "talos",
            Self::Flatcar => "flatcar",
            Self::Bottlerocket => "bottlerocket",
            Self::Alpine => "alpine",
            Self::Arch => "arch",
            Self::Nixos => "nixos",
            Self::Linuxkit => "linuxkit",
            Self::Wsl2 => "wsl2",
            Self::Android => "android",
            Self::Gvisor => "gvisor",
            Self::Prerelease => "prerelease",
            Self::Vanilla => "vanilla",
            Self::Unlisted => "unlisted",
        }
    }

    /// Does it ship upstream's stable releases as they are, so that the end of a series is the end of its fixes.
    pub fn tracks_stable(self) -> bool {
        self.base() == Base::Stable
    }

    /// What upstream's numbers in it are worth.
    pub fn base(self) -> Base {
        match self {
            Self::Amazon
            | Self::AzureLinux
            | Self::Photon
            | Self::Fedora
            | Self::Tumbleweed
            | Self::Cos
            | Self::Talos
            | Self::Flatcar
            | Self::Bottlerocket
            | Self::Alpine
            | Self::Arch
            | Self::Nixos
            | Self::Vanilla => Base::Stable,
            Self::Ubuntu | Self::Debian | Self::DebianBackports | Self::RaspberryPi | Self::Proxmox | Self::Linuxkit | Self::Wsl2 => {
                Base::OwnPicks
            }
            Self::EnterpriseLinux
            | Self::Uek
            | Self::Suse
            | Self::OpenEuler
            | Self::AlibabaLinux
            | Self::TencentOs
            | Self::Android
            | Self::Gvisor
            | Self::Prerelease
            | Self::Unlisted => Base::Divergent,
        }
    }

    /// The `ID`s of the distributions that ship it. Empty for kernels that belong to none.
    pub fn distributions(self) -> &'static [&'static str] {
        match self {
            Self::Ubuntu => &["ubuntu"],
            Self::Debian | Self::DebianBackports => &["debian"],
            Self::EnterpriseLinux => &["rhel", "rocky", "almalinux", "centos", "ol", "rhcos"],
            Self::Uek => &["ol"],
            Self::Amazon => &["amzn"],
            Self::AzureLinux => &["azurelinux", "mariner"],
            Self::Photon => &["photon"],
            Self::Fedora => &["fedora"],
            Self::Suse => &["sles", "sle-micro", "sl-micro", "opensuse-leap"],
            Self::Tumbleweed => &["opensuse-tumbleweed", "opensuse-microos"],
            Self::OpenEuler => &["openEuler", "openeuler"],
            Self::AlibabaLinux => &["alinux", "anolis"],
            Self::TencentOs => &["tencentos"],
            Self::Cos => &["cos"],
            Self::Talos => &["talos"],
            Self::Flatcar => &["flatcar"],
            Self::Bottlerocket => &["bottlerocket"],
            Self::Alpine => &["alpine"],
            Self::Arch => &["arch"],
            Self::Nixos => &["nixos"],
            _ => &[],
        }
    }
}

/// What a builder makes of upstream's releases, and so what the upstream version in a build tells without the builder's own records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Ships them as they are. At or above a fix of the same series is fixed; below it is likely affected.
    Stable,
    /// Ships them and adds fixes of its own. At or above a fix of the same series is fixed; below it is possibly affected.
    OwnPicks,
    /// Carries features and fixes over to an old base. The version tells nothing, in neither direction.
    Divergent,
}

impl Base {
    /// Does a version at or above a fix of its series have that fix.
    pub fn fixed_above(self) -> bool {
        self != Self::Divergent
    }

    /// How certain it is that a version below a fix of its series is affected; `None`: it tells nothing.
    pub fn affected_below(self) -> Option<Confidence> {
        match self {
            Self::Stable => Some(Confidence::Likely),
            Self::OwnPicks => Some(Confidence::Possible),
            Self::Divergent => None,
        }
    }
}

/// Product and cycle of the lifecycle data that a distribution release is judged by; `None` when no data covers it.
pub(in crate::versions) fn product_of(os: &Os) -> Option<(&'static str, String)> {
    let version = os.version_id.as_str();
    let major = || version.split('.').next().unwrap_or_default().to_owned();
    let minor = || version.split('.').take(2).collect::<Vec<_>>().join(".");
    let stream = || os.fields.get("NAME").is_some_and(|name| name.contains("Stream"));
    let found = match os.id.as_str() {
        "ubuntu" => ("ubuntu", version.to_owned()),
        "debian" => ("debian", major()),
        "rhel" => ("rhel", major()),
        "rhcos" => {
            let release = os.fields.get("OPENSHIFT_VERSION").cloned().unwrap_or_else(minor);
            return release.starts_with("4.").then_some(("red-hat-openshift", release));
        }
        "rocky" => ("rocky-linux", major()),
        "almalinux" => ("almalinux", major()),
        "centos" if stream() => ("centos-stream", major()),
        "centos" => ("centos", major()),
        "ol" => ("oracle-linux", major()),
        "amzn" => ("amazon-linux", version.to_owned()),
        "photon" => ("vmware-photon", version.to_owned()),
        "fedora" => ("fedora", version.to_owned()),
        "sles" => ("sles", if version.contains('.') { version.to_owned() } else { format!("{version}.0") }),
        "sle-micro" | "sl-micro" => ("suse-linux-micro", minor()),
        "opensuse-leap" => ("opensuse", minor()),
        "cos" => ("cos", format!("cos-{version}")),
        "alpine" => ("alpine-linux", minor()),
        _ => return None,
    };
    (!version.is_empty()).then_some(found)
}
