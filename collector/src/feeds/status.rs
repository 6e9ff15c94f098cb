//! What is known, how old it is and what is missing, for people and programs.
//!
//! Must not know where feeds are kept.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use holdfast_checks::versions::STALE_DAYS;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::library::source_of;
use super::{Library, Refused};

/// Feeds that verdicts gain from: how names begin, what for, where to get them.
const USEFUL: [(&str, &str, &str); 5] = [
    ("endoflife/", "until when releases are supported, and the newest of each", "https://endoflife.date/api/v1/products/full"),
    (
        "kev",
        "which vulnerabilities are known to be exploited",
        "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
    ),
    (
        "osv/",
        "what your distributions fixed in which package; without it their kernels are `unknown`",
        "https://osv-vulnerabilities.storage.googleapis.com/<ecosystem>/all.zip",
    ),
    ("osv/Go", "vulnerabilities of container runtimes and Kubernetes", "https://osv-vulnerabilities.storage.googleapis.com/Go/all.zip"),
    ("kernel-releases", "the newest release of each kernel series", "https://www.kernel.org/releases.json"),
];

/// What `feeds status` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    schema: u32,
    today: String,
    built_in: BuiltIn,
    feeds: Vec<Feed>,
    refused: Vec<Refused>,
    absent: Vec<Absent>,
}

/// The snapshot of this build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct BuiltIn {
    as_of: String,
    age_days: i64,
    stale: bool,
}

/// An imported feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Feed {
    name: String,
    source: String,
    file: String,
    sha256: String,
    as_of: String,
    age_days: i64,
    stale: bool,
    imported_at: String,
    records: u64,
    ignored: BTreeMap<String, u64>,
}

/// A feed that would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Absent {
    feed: &'static str,
    gives: &'static str,
    from: &'static str,
}

impl Report {
    /// Of a library, on a day.
    pub fn new(library: &Library, today: Date) -> Self {
        let built_in = library.knowledge.feeds().first().map_or(Date::ZERO, |feed| feed.as_of);
        let age = |as_of: Date| i64::from(as_of.until(today).map_or(0, |span| span.get_days()));
        let feeds = library.feeds.iter().map(|feed| {
            let age_days = age(feed.as_of.parse().unwrap_or(Date::ZERO));
            Feed {
                name: feed.name.clone(),
                source: source_of(&feed.name),
                file: feed.file.clone(),
                sha256: feed.sha256.clone(),
                as_of: feed.as_of.clone(),
                age_days,
                stale: age_days > STALE_DAYS,
                imported_at: Timestamp::from_millisecond(feed.imported_at).unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
                records: feed.records,
                ignored: feed.ignored.clone(),
            }
        });
        let there = |prefix: &str| {
            // Go is no distribution.
            let other = |name: &str| prefix == "osv/" && name == "osv/Go";
            library.feeds.iter().any(|feed| feed.name.starts_with(prefix) && !other(&feed.name))
        };
        let absent = USEFUL.iter().filter(|(prefix, ..)| !there(prefix));
        Self {
            schema: 1,
            today: today.to_string(),
            built_in: BuiltIn { as_of: built_in.to_string(), age_days: age(built_in), stale: age(built_in) > STALE_DAYS },
            feeds: feeds.collect(),
            refused: library.refused.clone(),
            absent: absent.map(|(feed, gives, from)| Absent { feed, gives, from }).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["FEED", "AS OF", "AGE", "RECORDS", "IMPORTED", "FILE"].map(str::to_owned)];
        let days = |age: i64, stale: bool| format!("{age} days{}", if stale { ", stale" } else { "" });
        let (as_of, age) = (self.built_in.as_of.clone(), days(self.built_in.age_days, self.built_in.stale));
        rows.push(["built-in".to_owned(), as_of, age, "-".to_owned(), "-".to_owned(), "-".to_owned()]);
        for feed in &self.feeds {
            let (name, as_of, file) = (feed.name.clone(), feed.as_of.clone(), feed.file.clone());
            let imported = feed.imported_at.split('T').next().unwrap_or_default().to_owned();
            rows.push([name, as_of, days(feed.age_days, feed.stale), feed.records.to_string(), imported, file]);
        }
        write_table(f, &rows)?;
        let left_out: Vec<&Feed> = self.feeds.iter().filter(|feed| !feed.ignored.is_empty()).collect();
        if !left_out.is_empty() {
            writeln!(f, "\nLeft out:")?;
            for feed in left_out {
                writeln!(f, "  {}: {}", feed.name, counts(&feed.ignored))?;
            }
        }
        if !self.refused.is_empty() {
            writeln!(f, "\nNot used:")?;
            for refused in &self.refused {
                writeln!(f, "  {} ({}): {}", refused.file, date_of(refused.at), refused.reason)?;
            }
        }
        if !self.absent.is_empty() {
            writeln!(f, "\nNot imported, and useful:")?;
            for absent in &self.absent {
                let name = if absent.feed.ends_with('/') { format!("{}…", absent.feed) } else { absent.feed.to_owned() };
                writeln!(f, "  {name}: {}\n    {}", absent.gives, absent.from)?;
            }
        }
        if self.built_in.stale || self.feeds.iter().any(|feed| feed.stale) {
            writeln!(f, "\nStale: older than {STALE_DAYS} days, says what was, not what is. Import a newer one.")?;
        }
        Ok(())
    }
}

/// `12 withdrawn, 3 for another product`.
pub(crate) fn counts(ignored: &BTreeMap<String, u64>) -> String {
    ignored.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}

fn date_of(at: i64) -> String {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date().to_string()
}

fn write_table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            write!(line, "{cell:<width$}  ", width = *width)?;
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
