//! Puts feeds over the snapshot of this build. Statements are collected as they come and weighed when all are there.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::advisories::{Advisories, Candidate};
use super::lifecycle::{Lifecycle, Policy, Statement};
use super::packages::Collected;
use super::releases::Releases;
use super::snapshot::Snapshot;
use super::{Exploited, FeedInfo, KERNEL_RELEASES, Knowledge, KnowledgeError, PublicExploit, Record, Title};

/// Puts feeds over the snapshot. The order does not matter: what is newer wins.
#[derive(Debug, Default)]
pub struct Builder {
    feeds: Vec<FeedInfo>,
    policies: BTreeMap<String, Policy>,
    statements: Vec<Statement>,
    releases: Releases,
    candidates: Vec<Candidate>,
    /// The catalogue as each feed has it; the snapshot's is cut to what its advisories name.
    catalogues: BTreeMap<Copy, BTreeMap<String, Exploited>>,
    exploits: BTreeMap<String, (Copy, PublicExploit)>,
    titles: BTreeMap<String, (Copy, Title)>,
    packages: Collected,
}

/// A feed's copy of something: the newest stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    as_of: Date,
    imported: bool,
    feed: String,
    digest: String,
}

impl Builder {
    /// Starts from what this build ships.
    ///
    /// # Errors
    /// Only when a build shipped bad data, which a test of this crate prevents.
    pub fn new() -> Result<Self, KnowledgeError> {
        Ok(Self::with(Snapshot::read()?))
    }

    /// Starts from a snapshot.
    pub(super) fn with(snapshot: Snapshot) -> Self {
        let mut builder = Self { policies: snapshot.policies, statements: snapshot.statements, ..Self::default() };
        for part in snapshot.parts {
            for record in part.records {
                builder.record(&part.info, false, None, record);
            }
        }
        for (info, advisory, unknown_below) in snapshot.advisories {
            builder.record(&info, false, unknown_below, Record::Advisory(advisory));
        }
        builder.feeds.push(snapshot.info);
        builder
    }

    /// Adds a feed.
    pub fn feed(&mut self, info: FeedInfo, records: impl IntoIterator<Item = Record>) {
        if info.name == "kev" {
            // A catalogue without entries is one too.
            self.catalogues.entry(Copy::new(&info, true)).or_default();
        }
        for record in records {
            self.record(&info, true, None, record);
        }
        self.feeds.push(info);
    }

    fn record(&mut self, info: &FeedInfo, imported: bool, unknown_below: Option<String>, record: Record) {
        match record {
            Record::Release(release) => self.statements.push(Statement {
                release,
                as_of: info.as_of,
                feed: info.name.clone(),
                source: info.source.clone(),
                ends: info.name != KERNEL_RELEASES,
                rolling: false,
            }),
            Record::Dated(dated) => self.releases.add(dated, info.as_of, &info.source),
            Record::Advisory(advisory) => {
                let (as_of, feed) = (info.as_of, info.name.clone());
                self.candidates.push(Candidate { curated: !imported, unknown_below, as_of, feed, advisory });
            }
            Record::Package(fix) => self.packages.add(info, &fix),
            Record::Exploited(exploited) => {
                let catalogue = self.catalogues.entry(Copy::new(info, imported)).or_default();
                catalogue.insert(exploited.id.clone(), exploited);
            }
            Record::Exploit(exploit) => keep(&mut self.exploits, exploit.id.clone(), Copy::new(info, imported), exploit),
            Record::Title(title) => keep(&mut self.titles, title.id.clone(), Copy::new(info, imported), title),
        }
    }

    /// Everything that was added.
    pub fn build(self) -> Knowledge {
        // Of imports the newest stands whole: what CISA took off is off. The snapshot's are a part of the catalogue, beside any
        // import; of one entry the newer text counts.
        let (mut exploited, mut newest) = (BTreeMap::new(), None);
        let mut snapshot = BTreeMap::new();
        for (copy, catalogue) in self.catalogues {
            if copy.imported {
                (exploited, newest) = (catalogue, Some(copy.as_of));
            } else {
                snapshot = catalogue.into_iter().map(|(id, entry)| (id, (copy.as_of, entry))).collect();
            }
        }
        for (id, (as_of, entry)) in snapshot {
            if newest.is_none_or(|newest| newest < as_of) {
                exploited.insert(id, entry);
            } else {
                exploited.entry(id).or_insert(entry);
            }
        }
        Knowledge {
            lifecycle: Lifecycle::new(self.policies, self.statements),
            releases: self.releases,
            advisories: Advisories::new(self.candidates),
            exploited,
            exploits: self.exploits.into_iter().map(|(id, (_, exploit))| (id, exploit)).collect(),
            titles: self.titles.into_iter().map(|(id, (_, title))| (id, title)).collect(),
            packages: self.packages.build(),
            feeds: by_name(self.feeds),
        }
    }
}

impl Copy {
    fn new(info: &FeedInfo, imported: bool) -> Self {
        Self { as_of: info.as_of, imported, feed: info.name.clone(), digest: info.digest.clone() }
    }
}

/// Keeps the newest copy.
fn keep<T>(all: &mut BTreeMap<String, (Copy, T)>, id: String, copy: Copy, value: T) {
    if all.get(&id).is_none_or(|(known, _)| *known <= copy) {
        all.insert(id, (copy, value));
    }
}

/// The snapshot first, then feeds by name, each name once with its newest day.
fn by_name(feeds: Vec<FeedInfo>) -> Vec<FeedInfo> {
    let mut feeds = feeds.into_iter();
    let first = feeds.next();
    let mut rest: Vec<FeedInfo> = feeds.collect();
    rest.sort_by(|a, b| (&a.name, b.as_of, &a.digest).cmp(&(&b.name, a.as_of, &b.digest)));
    rest.dedup_by(|later, kept| later.name == kept.name);
    first.into_iter().chain(rest).collect()
}
