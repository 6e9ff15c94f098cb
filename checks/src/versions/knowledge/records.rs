//! What feeds say, in one vocabulary: every format is read into these records, the built-in snapshot too, and the collector
//! keeps them in this form.
//!
//! Plain data as it serialises (`{"kind": "release", …}`); validation is the parser's, meaning is [`super::Knowledge`]'s.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::lifecycle::{End, Precision};

/// One statement of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A release cycle of a product.
    Release(Release),
    /// The day one version of a product came out.
    Dated(Dated),
    /// A vulnerability in upstream's version numbers.
    Advisory(Advisory),
    /// A vulnerability in a distribution's package versions.
    Package(PackageFix),
    /// Known to be exploited.
    Exploited(Exploited),
    /// There is a published exploit.
    Exploit(PublicExploit),
    /// Title and state of a published vulnerability, without versions.
    Title(Title),
}

/// A release cycle: `debian 12`, `linux-kernel 6.12`. Product names are endoflife.date's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The product.
    pub product: String,
    /// The cycle.
    pub cycle: String,
    /// When it came out.
    pub released: Option<Date>,
    /// End of the support everybody has.
    pub eol: End,
    /// End of extended support, where there is one.
    pub extended: Option<End>,
    /// Is it a long-term release.
    #[serde(default)]
    pub lts: bool,
    /// How exact `eol` is.
    pub precision: Option<Precision>,
    /// The newest version in it.
    pub latest: Option<String>,
    /// When that came out.
    pub latest_date: Option<Date>,
}

/// `containerd 1.7.30` came out on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated {
    /// The product.
    pub product: String,
    /// The version.
    pub version: String,
    /// The day.
    pub date: Date,
}

/// A vulnerability by upstream's version numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    /// The CVE; the record's own id where it has none.
    pub id: String,
    /// Other names: GHSA, GO.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is in: `kernel`, `containerd`, `runc`, `cri-o`, `docker`, `kubelet`, `kube-apiserver`, ….
    pub component: String,
    /// Name or summary; may be empty.
    #[serde(default)]
    pub title: String,
    /// Affected where any of these holds.
    pub ranges: Vec<Range>,
    /// Fixed builds of distributions that the record itself names, by stream: `("el9_7", "5.14.0-611.54.1.el9_7", "ALSA-2026:13565")`.
    #[serde(default)]
    pub builds: Vec<FixedBuild>,
    /// What it needs. Empty: nothing is known.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Only kernels of this family are affected: `ubuntu`.
    #[serde(default)]
    pub only_family: Option<String>,
    /// CVSS base score, where it was read in a record.
    #[serde(default)]
    pub score: Option<f64>,
    /// The record that says so, for evidence: `GO-2026-5758`, `CVE-2026-31431`.
    pub record: String,
    /// Where it was read.
    pub source: String,
}

/// Affected from `introduced` to below `fixed`.
///
/// Kernel: a range never reaches over its series but for the last, which ends with mainline's fix; the parser makes one range
/// a series. `introduced` `0` is the beginning of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First affected version, inclusive.
    pub introduced: String,
    /// First fixed version, exclusive; `None`: no fix is known.
    pub fixed: Option<String>,
}

/// A distribution's first fixed build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedBuild {
    /// The stream: `el9_7`.
    pub stream: String,
    /// The first fixed build.
    pub fixed: String,
    /// The advisory that says so.
    pub record: String,
}

/// Something that a vulnerability needs. All of a list must be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Need {
    /// Users without privileges can make user namespaces.
    UserNamespaces,
    /// Users without privileges can load BPF programs.
    UnprivilegedBpf,
    /// Any of these parts of the kernel, of [`super::FEATURES`].
    AnyFeature(Vec<String>),
    /// The kubelet's read-only port is open.
    KubeletReadOnlyPort,
    /// The runtime's default seccomp profile allows it: true below these versions of containerd, by series. Not known to be blocked
    /// elsewhere.
    SeccompGap(Vec<String>),
    /// The kernel runs cgroup v1.
    CgroupV1,
    /// `net.ipv4.conf.all.route_localnet` is 1.
    RouteLocalnet,
    /// A feature gate or a use that nothing on the node shows: always unknown, said in evidence.
    Other(String),
}

/// A vulnerability by a distribution's package versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFix {
    /// OSV's ecosystem: `Ubuntu:22.04:LTS`, `Debian:12`, `AlmaLinux:9`.
    pub ecosystem: String,
    /// The package: the source package for deb, `AlmaLinux` and Rocky.
    pub package: String,
    /// CVEs, or the record's own id where it names none.
    pub ids: Vec<String>,
    /// The record: `UBUNTU-CVE-2024-21626`, `ALSA-2026:13565`.
    pub record: String,
    /// Affected where any holds. `fixed: None` is no fix yet.
    pub ranges: Vec<Range>,
    /// Affected versions one by one, where the record has no usable range.
    #[serde(default)]
    pub versions: Vec<String>,
    /// The fix needs a subscription.
    #[serde(default)]
    pub subscription: bool,
}

/// An entry of CISA's catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exploited {
    /// The CVE.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// Listed on.
    pub added: Date,
    /// To be fixed by.
    pub due: Option<Date>,
    /// Known to be used for ransomware.
    pub ransomware: bool,
}

/// A published exploit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicExploit {
    /// The CVE.
    pub id: String,
    /// Where: `kernelCTF`.
    pub origin: String,
    /// What the exploit needs.
    #[serde(default)]
    pub needs: Vec<Need>,
}

/// An entry of the Kubernetes CVE feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// The CVE.
    pub id: String,
    /// Its title.
    pub title: String,
    /// `fixed`, `open`, `unfixed` or `unknown`.
    pub status: String,
    /// The announcement.
    pub url: String,
}
