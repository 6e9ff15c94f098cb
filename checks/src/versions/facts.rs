//! The verdicts on versions, as facts that checks read: one [`Link`] for each thing of the patch chain.
//!
//! Six axes that stand beside each other (support, patch, vulnerability with its confidence, activation, exposure) and one
//! headline. Every axis says what it rests on. Must not know where knowledge comes from.

use serde::{Deserialize, Serialize};

use crate::facts::{Listing, Observed, Reason, Unavailable};

/// Version verdicts of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// The system: its distribution and release.
    pub os: Observed<Link>,
    /// The running kernel.
    pub kernel: Observed<Link>,
    /// Container runtimes, the programs that they run containers with, and the components of Kubernetes. The nodes' own `crun` and
    /// other programs that no data covers are in it too, and unknown.
    pub components: Observed<Listing<Link>>,
    /// What the verdicts were judged by.
    pub knowledge: KnowledgeFacts,
}

/// One link of the patch chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// `os`, `kernel`, the subject of a runtime or component (`containerd`, `kubelet`), or `<runtime>/<program>`
    /// (`containerd/runc`). Stable over restarts.
    pub subject: String,
    /// The product: `os`, `kernel`, `containerd`, `cri-o`, `docker`, `runc`, `crun`, `kubelet`, `kube-proxy`, `kube-apiserver`,
    /// `kube-controller-manager`, `kube-scheduler`, `etcd`.
    pub component: String,
    /// What runs, in its own words: `6.8.0-51-generic`, `v1.33.5-eks-abcdef0`, `Debian 12`.
    pub running: String,
    /// Who built it: a kernel family (`debian`, `enterprise-linux`), a distribution whose package it is, a provider (`eks`, `gke`,
    /// `k3s`), `upstream`, or `unlisted` when nothing tells.
    pub vendor: String,
    /// Is it upstream's own, or one that ships upstream's releases as they are.
    pub tracks_upstream: bool,
    /// The upstream series: `6.12`, `1.34`. Empty when the version does not start with one.
    pub series: String,
    /// The exact upstream version, where it is known.
    pub upstream: Observed<String>,
    /// The package version, where it is known: what a distribution's advisories are compared with.
    pub package: Observed<String>,
    /// The newest that is installed here and could run instead: what a reboot or a restart brings. Equals what runs when nothing
    /// newer waits.
    pub installed: Observed<String>,
    /// Until when it is maintained.
    pub support: Observed<Support>,
    /// How far it is behind the newest of its series.
    pub patch: Observed<Patch>,
    /// Known vulnerabilities.
    pub vulnerability: Observed<Vulnerability>,
    /// Is what is installed also what runs.
    pub activation: Observed<Activation>,
    /// Its place among the nodes of the same image; judged on the collector only.
    pub fleet: Observed<FleetPlace>,
    /// The worst that is known for certain.
    pub headline: Headline,
    /// What that rests on, in one sentence.
    pub because: String,
    /// What to do, in one sentence; empty when there is nothing to do.
    pub action: String,
    /// What would settle what is not known, or change the verdict: a feed to import, a privilege to give. Empty when nothing is open.
    pub settles: String,
}

impl Link {
    /// A link of which only is known what it is: every axis is unavailable, the headline unknown.
    pub fn unread(subject: impl Into<String>, component: impl Into<String>, running: impl Into<String>) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not judged");
        Self {
            subject: subject.into(),
            component: component.into(),
            running: running.into(),
            vendor: "unlisted".to_owned(),
            tracks_upstream: false,
            series: String::new(),
            upstream: Observed::Unavailable(why.clone()),
            package: Observed::Unavailable(why.clone()),
            installed: Observed::Unavailable(why.clone()),
            support: Observed::Unavailable(why.clone()),
            patch: Observed::Unavailable(why.clone()),
            vulnerability: Observed::Unavailable(why.clone()),
            activation: Observed::Unavailable(why.clone()),
            fleet: Observed::Unavailable(why),
            headline: Headline::Unknown,
            because: String::new(),
            action: String::new(),
            settles: String::new(),
        }
    }
}

/// Where a link stands, the worst first: the order in which lists sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Headline {
    /// Affected, confirmed or likely, by what is known to be exploited, and nothing it needs is known to be missing.
    KnownExploited,
    /// Nobody maintains it any more.
    EndOfLife,
    /// Something newer is installed and waits for a reboot or a restart, and it is not known to fix nothing.
    RebootPending,
    /// Behind by more days than the policy allows, or affected (confirmed or likely) by a vulnerability that has a fix.
    PatchBehind,
    /// Not enough is known.
    Unknown,
    /// Maintained, and its patch level is known and current enough.
    Supported,
}

impl Headline {
    /// Every headline, the worst first.
    pub const ALL: [Self; 6] =
        [Self::KnownExploited, Self::EndOfLife, Self::RebootPending, Self::PatchBehind, Self::Unknown, Self::Supported];

    /// The name in facts, JSON and the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::KnownExploited => "known_exploited",
            Self::EndOfLife => "end_of_life",
            Self::RebootPending => "reboot_pending",
            Self::PatchBehind => "patch_behind",
            Self::Unknown => "unknown",
            Self::Supported => "supported",
        }
    }

    /// The headline of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|headline| headline.name() == name)
    }
}

/// Until when a link is maintained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// Where it stands.
    pub state: SupportState,
    /// The last day of the support everybody has, `2028-06-30`; `None` when none is announced.
    pub ends: Option<String>,
    /// The last day of extended support, where there is one.
    pub extended_ends: Option<String>,
    /// Days until `ends` (or `extended_ends` when only that is left); negative afterwards.
    pub days_left: Option<i64>,
    /// The rows it was judged by: `debian 12`, `amazon-eks 1.33`.
    pub judged_by: String,
    /// What upstream says of the same series where a provider's dates were used: `kubernetes 1.33: ends 2026-06-28`. Empty otherwise.
    pub upstream_says: String,
    /// The day the row was true on.
    pub data_date: String,
    /// Where the row comes from.
    pub source: String,
}

/// Where a link stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupportState {
    /// Maintained.
    Supported,
    /// Maintained, and the last day is at most [`super::SOON_DAYS`] away.
    EolSoon,
    /// Only in extended support that is free and on by default.
    ExtendedFree,
    /// Only in extended support that has to be bought, which a node does not show.
    ExtendedPaid,
    /// Over.
    Eol,
}

/// How far a link is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Behind, current, or newer than the data.
    pub state: PatchState,
    /// Days between the release that came next after the running one and the day of judgement: for how long a newer one has been
    /// there. `None` when dates are not known; 0 when current.
    pub days: Option<i64>,
    /// How many releases came since in the same series.
    pub releases: Option<i64>,
    /// The newest of the series that the data knows.
    pub newest: String,
    /// When it was released.
    pub newest_date: Option<String>,
    /// The day the data was true on.
    pub data_date: String,
    /// Where the data comes from.
    pub source: String,
}

/// Which way a link differs from the newest of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchState {
    /// The newest, as of the data's day.
    Current,
    /// An older one.
    Behind,
    /// Newer than any the data knows.
    AheadOfData,
}

/// What is known of vulnerabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// The worst of what counts: confirmed or likely, and not known to be out of reach.
    pub state: VulnerabilityState,
    /// How many affect it, confirmed or likely, its condition not known to be missing.
    pub affecting: i64,
    /// How many of those are known to be exploited (CISA KEV).
    pub exploited: i64,
    /// How many of those have a published exploit.
    pub public_exploits: i64,
    /// How many would affect it, but what they need is known to be missing here.
    pub unreachable: i64,
    /// How many may affect it: only the series is known. They never alert.
    pub possible: i64,
    /// How many of the known ones nothing decides, besides those that may affect it. While there are any, that none affects it is
    /// not known.
    #[serde(default)]
    pub undecided: i64,
    /// How many of the known ones it is fixed against.
    pub fixed: i64,
    /// The version that is fixed against everything that affects it and has a fix, where the data tells one.
    pub fixed_in: Option<String>,
    /// Those that affect it or may, the gravest first, at most [`super::MAX_MATCHES`]; what is beyond is skipped.
    pub matches: Listing<Match>,
    /// What these were looked up in: `Debian:12 (OSV, 2026-11-18)`, `upstream ranges, data of 2026-09-08`.
    pub judged_by: String,
    /// The day that data was true on.
    pub data_date: String,
}

/// The worst known vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VulnerabilityState {
    /// Affected by one that CISA lists as exploited.
    KnownExploited,
    /// Affected by one with a published exploit.
    PublicExploit,
    /// Affected.
    Vulnerable,
    /// A livepatch is active; which of them it covers is not known.
    Livepatched,
    /// None is known for certain to affect it, but some could not be decided: never a pass.
    Undecided,
    /// Every known one was decided, and none affects it.
    NoneKnown,
}

/// One vulnerability that affects a link, or may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The CVE; the record's own id where it has none.
    pub id: String,
    /// Its name or title; may be empty.
    pub title: String,
    /// How certain it is.
    pub confidence: Confidence,
    /// The version that fixes it in the stream that was compared; `None` when there is no fix yet.
    pub fixed_in: Option<String>,
    /// The pair and the comparator: `5.14.0-611.20.1.el9_7 < 5.14.0-611.54.1.el9_7 (rpm)`.
    pub compared: String,
    /// The record: `ALSA-2026:13565`.
    pub record: String,
    /// Where the record comes from.
    pub source: String,
    /// When CISA listed it as exploited, and until when it asks to have it fixed.
    pub exploited: Option<Exploitation>,
    /// Is there a published exploit.
    pub public_exploit: bool,
    /// Is what it needs there.
    pub exposure: Exposure,
    /// The fact that says so: `kernel.unprivileged_user_namespaces = false`. Empty when it needs nothing.
    pub exposure_because: String,
    /// Needs a subscription to be fixed (Ubuntu Pro).
    pub subscription: bool,
}

/// How certain a match is. Only the first two count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// By the package or the exact build, against the distributor's or the vendor's own record.
    Confirmed,
    /// By the exact upstream version.
    Likely,
    /// Only the series or a changed build is known.
    Possible,
}

/// CISA's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exploitation {
    /// Listed on.
    pub added: String,
    /// To be fixed by; empty when not said.
    pub due: String,
    /// Known to be used for ransomware.
    pub ransomware: bool,
}

/// Is what a vulnerability needs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// Everything it is known to need is there.
    Exposed,
    /// Something it needs is known to be missing.
    PreconditionMissing,
    /// Not known: no condition is known, or a fact is missing. Counts like exposed.
    Unknown,
}

/// Is what is installed also what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Does something wait.
    pub state: ActivationState,
    /// For how long it has been waiting: Unix seconds of the sentinel or the image, where known.
    pub since: Option<i64>,
    /// What says so.
    pub because: String,
    /// Does what waits fix something that affects what runs. `None` when that is not known.
    pub security: Option<bool>,
}

/// What an installed version waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationState {
    /// Nothing: it runs.
    Active,
    /// A reboot.
    RebootPending,
    /// A restart of the daemon.
    RestartPending,
    /// To be chosen: a newer kernel is installed, and the boot loader would start another.
    NewerNotSelected,
}

/// A link among those of the same image and line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetPlace {
    /// The newest that enough nodes of the same image and line run to count, this one included.
    pub newest: String,
    /// How many nodes run that, at least: up to ten exactly, above that rounded down to 10, 20, 50, 100, ….
    pub nodes: i64,
    /// Is this one older.
    pub behind: bool,
}

/// What verdicts were judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnowledgeFacts {
    /// The newest day that any data on versions was true on. What is known to be exploited says nothing of versions.
    pub as_of: String,
    /// Its age in days on the day of judgement.
    pub age_days: i64,
    /// Names of feeds that were imported: `osv/Debian`, `kev`. Empty when only the built-in data is there.
    pub feeds: Vec<String>,
    /// The feed that would settle most for this node and is not imported: `osv/Debian`. Empty when none is missing.
    pub wanted: String,
}
