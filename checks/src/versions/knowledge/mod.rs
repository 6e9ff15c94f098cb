//! Everything known about versions: the snapshot of this build, and what was imported over it.
//!
//! Built from [`Record`]s in one place, so that the snapshot and a feed go the same way; asked by the judge. Must not know
//! nodes, files or formats.

pub mod lifecycle;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use records::{Advisory, Dated, Exploited, FixedBuild, Need, PackageFix, PublicExploit, Range, Record, Release, Title};

use self::lifecycle::{Lifecycle, LifecycleError, Row, Standing};
use super::Scheme;

/// Parts of the kernel that conditions of known vulnerabilities name, as modules are called. Agents report these.
pub const FEATURES: &[&str] = &["algif_aead", "esp4", "esp6", "io_uring", "ksmbd", "nf_tables", "overlay", "rxrpc", "tls", "vsock"];

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
}

/// Everything known, as one value that never changes: whoever imports makes another.
#[derive(Debug, Clone)]
pub struct Knowledge {
    lifecycle: Lifecycle,
    advisories: BTreeMap<String, Vec<Advisory>>,
    exploited: BTreeMap<String, Exploited>,
    exploits: BTreeMap<String, PublicExploit>,
    titles: BTreeMap<String, Title>,
    feeds: Vec<FeedInfo>,
}

/// Puts feeds over the snapshot. The order does not matter: what is newer wins.
#[derive(Debug)]
pub struct Builder {
    knowledge: Knowledge,
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
    /// The day the release after the running one came out; `None` where dates are not known, or it is the newest.
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
}

impl Knowledge {
    /// What this build ships.
    ///
    /// # Errors
    /// Only when a build shipped bad data, which a test of this crate prevents.
    pub fn built_in() -> Result<Arc<Self>, LifecycleError> {
        Ok(Arc::new(Builder::new()?.build()))
    }

    /// A release cycle: `("debian", "12")`, `("linux-kernel", "6.12")`, `("amazon-eks", "1.33")`.
    pub fn cycle(&self, product: &str, cycle: &str, today: Date) -> Option<Cycle<'_>> {
        self.lifecycle.find(product, cycle, today).map(|(row, standing)| Cycle { row, standing })
    }

    /// How `version` stands to the newest of its cycle. `None` where no newest is known.
    pub fn behind(&self, _product: &str, _cycle: &str, _version: &str) -> Option<Behind> {
        None
    }

    /// Every upstream record about `component` (`kernel`, `containerd`, …) in exactly this upstream version.
    pub fn upstream(&self, _component: &str, _version: &str) -> Vec<(&Advisory, Outcome)> {
        Vec::new()
    }

    /// Every upstream record about `component`.
    pub fn advisories(&self, component: &str) -> &[Advisory] {
        self.advisories.get(component).map_or(&[], Vec::as_slice)
    }

    /// The upstream record about a CVE in `component`.
    pub fn advisory(&self, component: &str, id: &str) -> Option<&Advisory> {
        self.advisories(component).iter().find(|advisory| advisory.id == id)
    }

    /// What the distribution's feed says of `package` in `version`; `None` where no feed of that ecosystem is known.
    pub fn package(&self, _ecosystem: &str, _package: &str, _scheme: Scheme, _version: &str) -> Option<PackageAnswer> {
        None
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
        self.feeds.iter().map(|feed| format!("{}\0{}\0{}\0", feed.name, feed.as_of, feed.digest)).collect()
    }

    /// The newest day that any data was true on.
    pub fn as_of(&self) -> Date {
        self.feeds.iter().map(|feed| feed.as_of).max().unwrap_or(Date::ZERO)
    }
}

impl Builder {
    /// Starts from what this build ships.
    ///
    /// # Errors
    /// Only when a build shipped bad data.
    pub fn new() -> Result<Self, LifecycleError> {
        let lifecycle = Lifecycle::built_in()?;
        let as_of = lifecycle.as_of().unwrap_or(Date::ZERO);
        let feeds = vec![FeedInfo { name: "built-in".to_owned(), as_of, source: "built-in snapshot".to_owned(), digest: String::new() }];
        let knowledge = Knowledge {
            lifecycle,
            advisories: BTreeMap::new(),
            exploited: BTreeMap::new(),
            exploits: BTreeMap::new(),
            titles: BTreeMap::new(),
            feeds,
        };
        Ok(Self { knowledge })
    }

    /// Adds a feed.
    pub fn feed(&mut self, info: FeedInfo, records: impl IntoIterator<Item = Record>) {
        for record in records {
            match record {
                Record::Advisory(advisory) => {
                    self.knowledge.advisories.entry(advisory.component.clone()).or_default().push(advisory);
                }
                Record::Exploited(exploited) => drop(self.knowledge.exploited.insert(exploited.id.clone(), exploited)),
                Record::Exploit(exploit) => drop(self.knowledge.exploits.insert(exploit.id.clone(), exploit)),
                Record::Title(title) => drop(self.knowledge.titles.insert(title.id.clone(), title)),
                Record::Release(_) | Record::Dated(_) | Record::Package(_) => {}
            }
        }
        self.knowledge.feeds.push(info);
    }

    /// Everything that was added.
    pub fn build(self) -> Knowledge {
        self.knowledge
    }
}
