//! What verdicts on versions rest on: the line that says how old it is, and the page of feeds.

use std::collections::BTreeMap;

use askama::Template;
use holdfast_checks::versions::STALE_DAYS;
use jiff::civil::Date;

use super::marks;
use super::pages::{Ask, Rendered};
use crate::feeds::{FeedStatus, Library, Refused};
use crate::http::{Failure, Site};
use crate::store::views::At;

/// A kind of data and its age.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: String,
    /// The day the oldest of it was true on.
    pub(super) as_of: String,
    pub(super) age: i64,
}

/// What is known at this moment.
#[derive(Debug, Clone, Template)]
#[template(path = "knowledge.html")]
pub(super) struct Known {
    /// The newest day any data on versions was true on.
    as_of: String,
    age: i64,
    sources: Vec<Source>,
    /// Was anything imported.
    imported: bool,
    refused: i64,
}

impl Known {
    pub(super) fn of(site: &Site, now: i64) -> Self {
        let library = site.app.library.borrow().clone();
        let as_of = library.knowledge.as_of();
        let mut sources: BTreeMap<&'static str, Date> = BTreeMap::new();
        for feed in &library.feeds {
            // A feed whose day cannot be read is as old as can be.
            let day = feed.as_of.parse().unwrap_or(Date::ZERO);
            sources.entry(kind(&feed.name)).and_modify(|oldest| *oldest = day.min(*oldest)).or_insert(day);
        }
        let age = |day: Date| marks::age_days(&day.to_string(), now).unwrap_or(0);
        let source = |(name, day): (&'static str, Date)| Source { name: name.to_owned(), as_of: day.to_string(), age: age(day) };
        Self {
            as_of: as_of.to_string(),
            age: age(as_of),
            sources: sources.into_iter().map(source).collect(),
            imported: !library.feeds.is_empty(),
            refused: i64::try_from(library.refused.len()).unwrap_or(i64::MAX),
        }
    }

    /// Is it too old to say what is.
    fn stale(&self) -> bool {
        self.age > STALE_DAYS
    }
}

/// What people call a family of feeds.
fn kind(name: &str) -> &'static str {
    match name.split('/').next().unwrap_or_default() {
        "kev" => "KEV",
        "endoflife" => "endoflife.date",
        "osv" => "OSV",
        "kernel-releases" => "kernel.org",
        "kernel-cve" => "kernel CVEs",
        "kubernetes-cve" => "Kubernetes CVEs",
        _ => "other",
    }
}

#[derive(Template)]
#[template(path = "feeds.html")]
struct Feeds {
    now: i64,
    known: Known,
    built_in: String,
    built_in_age: i64,
    imported: Vec<FeedStatus>,
    refused: Vec<Refused>,
}

pub(super) fn feeds(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let library = ask.site.app.library.borrow().clone();
    let built_in = built_in(&library);
    let page = Feeds {
        now: ask.now,
        known: Known::of(ask.site, ask.now),
        built_in_age: marks::age_days(&built_in, ask.now).unwrap_or(0),
        built_in,
        imported: library.feeds.clone(),
        refused: library.refused.clone(),
    };
    Rendered::new("Feeds", &page)
}

/// The day of the snapshot this build ships.
fn built_in(library: &Library) -> String {
    library.knowledge.feeds().first().map_or(Date::ZERO, |feed| feed.as_of).to_string()
}

impl Feeds {
    fn age(&self, feed: &FeedStatus) -> String {
        marks::age_days(&feed.as_of, self.now).map_or_else(|| "age not known".to_owned(), |age| marks::counted(age, "day old", "days old"))
    }

    fn is_stale(&self, feed: &FeedStatus) -> bool {
        marks::age_days(&feed.as_of, self.now).is_none_or(|age| age > STALE_DAYS)
    }
}
