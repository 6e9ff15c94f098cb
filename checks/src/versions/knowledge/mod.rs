//! Everything known about versions: the snapshot of this build, and what was imported over it.
//!
//! Built from [`Record`]s in one place, so that the snapshot and a feed go the same way; asked by the judge. Must not know
//! nodes, files or formats.

mod advisories;
mod builder;
mod features;
mod level;
pub mod lifecycle;
mod packages;
mod records;
mod releases;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use records::{Advisory, Dated, Exploited, FixedBuild, Need, PackageFix, PublicExploit, Range, Record, Release, Title};

pub use self::builder::Builder;
pub use self::features::{FEATURES, kernel_option};

use self::advisories::Advisories;
use self::lifecycle::{Lifecycle, Row, Standing};
use self::packages::Packages;
use self::releases::Releases;
use super::Scheme;

/// kernel.org's list of maintained series: it says which live, not until when.
const KERNEL_RELEASES: &str = "kernel-releases";
/// Feeds that name vulnerabilities and no version: a newer copy makes what versions are judged by no newer.
const WITHOUT_VERSIONS: [&str; 2] = ["kev", "kubernetes-cve"];

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedInfo {
    /// `endoflife/debian`, `osv/Ubuntu`, `kev`, …; `built-in` for the snapshot.
    pub name: String,
    /// The day it was true on.
    pub as_of: Date,
    /// What a person calls it: `endoflife.date`, `OSV, Ubuntu`.
    pub source: String,
    /// Stands for its content: the same again changes no verdict.
    pub digest: String,
    /// Is it all that its publisher has. Of records one by one, silence says nothing.
    pub complete: bool,
}

impl FeedInfo {
    /// Does it say anything of versions.
    pub fn has_versions(&self) -> bool {
        !WITHOUT_VERSIONS.contains(&self.name.as_str())
    }
}

/// Everything known, as one value that never changes: whoever imports makes another.
#[derive(Debug, Clone)]
pub struct Knowledge {
    lifecycle: Lifecycle,
    releases: Releases,
    advisories: Advisories,
    exploited: BTreeMap<String, Exploited>,
    exploits: BTreeMap<String, PublicExploit>,
    titles: BTreeMap<String, Title>,
    packages: Packages,
    feeds: Vec<FeedInfo>,
}

/// Why data of this build was refused.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// It is not a document of the expected shape.
    #[error("{file} is not version knowledge")]
    Malformed {
        /// The document.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A lifecycle row cannot be right.
    #[error("{file}: {product} {cycle}: {problem}")]
    Row {
        /// The document.
        file: String,
        /// The product.
        product: String,
        /// The row.
        cycle: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another entry cannot be right.
    #[error("{file}: {entry}: {problem}")]
    Entry {
        /// The document.
        file: String,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What is known of a release cycle on a day.
#[derive(Debug, Clone, Copy)]
pub struct Cycle<'a> {
    /// The row.
    pub row: &'a Row,
    /// Where it stands.
    pub standing: Standing,
}

/// How a version stands to the newest of its cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The newest version that is known.
    pub newest: String,
    /// When it came out.
    pub newest_date: Option<Date>,
    /// How the running one compares with it.
    pub order: std::cmp::Ordering,
    /// The day the release after the running one came out, or, where those between are not known one by one, the day by which
    /// the newest was there: it has been behind for so long at least. `None` when it is the newest.
    pub overtaken: Option<Date>,
    /// How many came since; `None` where they are not known one by one.
    pub releases: Option<i64>,
    /// The day the data was true on.
    pub as_of: Date,
    /// Where it comes from.
    pub source: String,
}

/// What a record says of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Affected; fixed in that version of its stream, where there is one.
    Affected {
        /// The fix.
        fixed: Option<String>,
    },
    /// It was affected, and is fixed since that version.
    Fixed {
        /// The fix.
        since: String,
    },
    /// Never affected.
    NotAffected,
}

/// A package record about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageOutcome {
    /// The CVE.
    pub id: String,
    /// The record.
    pub record: String,
    /// The fix needs a subscription.
    pub subscription: bool,
    /// What it says.
    pub outcome: Outcome,
}

/// What a distribution's feed says of a package in a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageAnswer {
    /// Each vulnerability once, by id: where several records name one, the deciding one.
    pub outcomes: Vec<PackageOutcome>,
    /// The ecosystem that was asked: `Debian:12`.
    pub ecosystem: String,
    /// The day it was true on.
    pub as_of: Date,
    /// Where it comes from.
    pub source: String,
    /// Is that all the distribution publishes: only then is the newest fix in it the newest there is.
    pub complete: bool,
}

impl Knowledge {
    /// What this build ships.
    ///
    /// # Errors
    /// Only when a build shipped bad data, which a test of this crate prevents.
    pub fn built_in() -> Result<Arc<Self>, KnowledgeError> {
        Ok(Arc::new(Builder::new()?.build()))
    }

    /// A release cycle: `("debian", "12")`, `("linux-kernel", "6.12")`, `("amazon-eks", "1.33")`, `("k3s", "1.33")`.
    pub fn cycle(&self, product: &str, cycle: &str, today: Date) -> Option<Cycle<'_>> {
        self.lifecycle.find(product, cycle, today).map(|(row, standing)| Cycle { row, standing })
    }

    /// Every row.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// How `version` stands to the newest of its cycle. `None` where no newest is known.
    pub fn behind(&self, product: &str, cycle: &str, version: &str) -> Option<Behind> {
        let product = self.lifecycle.patches(product);
        self.releases.behind(product, cycle, version, self.lifecycle.row(product, cycle))
    }

    /// Every upstream record about `component` (`kernel`, `containerd`, …) in exactly this upstream version. Records that do not
    /// know the version are left out: that is not evidence of safety.
    pub fn upstream(&self, component: &str, version: &str) -> Vec<(&Advisory, Outcome)> {
        self.advisories.judge(component, version)
    }

    /// Every upstream record about `component`, by id.
    pub fn advisories(&self, component: &str) -> &[Advisory] {
        self.advisories.of(component)
    }

    /// The upstream record about a CVE in `component`.
    pub fn advisory(&self, component: &str, id: &str) -> Option<&Advisory> {
        self.advisories.find(component, id)
    }

    /// What the distribution's feed says of `package` in `version`; `None` where no feed of that ecosystem is known, or its versions
    /// compare in another way. No outcome for a vulnerability is not evidence of safety.
    ///
    /// Any of a kernel's package names stands for the kernel. A Debian backport is looked up in the release that it was rebuilt from.
    /// Red Hat and Rocky Linux are answered from the records of `AlmaLinux` where they have none themselves, but for those about
    /// builds of its own; the answer names the ecosystem that it is from.
    pub fn package(&self, ecosystem: &str, package: &str, scheme: Scheme, version: &str) -> Option<PackageAnswer> {
        self.packages.ask(ecosystem, package, scheme, version)
    }

    /// How many ranges of distributions' records are held, and the bytes that they take.
    pub fn package_records(&self) -> (usize, usize) {
        self.packages.size()
    }

    /// CISA's entry for a CVE.
    pub fn exploited(&self, id: &str) -> Option<&Exploited> {
        self.exploited.get(id)
    }

    /// A published exploit for a CVE.
    pub fn exploit(&self, id: &str) -> Option<&PublicExploit> {
        self.exploits.get(id)
    }

    /// The Kubernetes feed's entry for a CVE.
    pub fn title(&self, id: &str) -> Option<&Title> {
        self.titles.get(id)
    }

    /// Where everything comes from: the snapshot first, then feeds by name.
    pub fn feeds(&self) -> &[FeedInfo] {
        &self.feeds
    }

    /// Stands for all of it: verdicts judged by the same are the same.
    pub fn basis(&self) -> String {
        let mut basis = String::new();
        for FeedInfo { name, as_of, digest, .. } in &self.feeds {
            basis.extend([name, "\0", &as_of.to_string(), "\0", digest, "\0"]);
        }
        basis
    }

    /// The newest day that any data on versions was true on.
    pub fn as_of(&self) -> Date {
        self.feeds.iter().filter(|feed| feed.has_versions()).map(|feed| feed.as_of).max().unwrap_or(Date::ZERO)
    }
}
