//! What alerts need to know of version knowledge: how old it is, and what was refused. Pure.

use holdfast_checks::versions::STALE_DAYS;
use holdfast_checks::versions::knowledge::FeedInfo;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::rule::KnowledgeState;
use crate::feeds::Library;

/// A day in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Version knowledge at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Imported feeds; the built-in data too where none of them has versions.
    pub data: Vec<Dated>,
    /// Files that were refused: name and reason, and when.
    pub refused: Vec<Dated>,
}

/// Something with a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// What, in words for a person.
    pub what: String,
    /// Unix milliseconds: the day it was true on, or when it happened.
    pub at: i64,
}

impl Known {
    /// Takes what matters out of a library.
    pub fn of(library: &Library) -> Self {
        let feeds = library.knowledge.feeds();
        let replaced = feeds.iter().skip(1).any(FeedInfo::has_versions);
        let counted = feeds.iter().skip(usize::from(replaced));
        let data = counted.map(|feed| Dated { what: format!("{} is of {}", feed.name, feed.as_of), at: midnight(feed.as_of) });
        let refused = library.refused.iter().map(|refused| Dated { what: format!("{}: {}", refused.file, refused.reason), at: refused.at });
        Self { data: data.collect(), refused: refused.collect() }
    }

    /// Since when it is in that state at `now`, and what is; `None` when it is not.
    pub(super) fn wrong(&self, state: KnowledgeState, now: i64) -> Option<(i64, Vec<&str>)> {
        let stale_from = |dated: &Dated| dated.at.saturating_add((STALE_DAYS + 1).saturating_mul(DAY));
        let since = |dated: &Dated| match state {
            KnowledgeState::Stale => stale_from(dated),
            KnowledgeState::Refused => dated.at,
        };
        let all = match state {
            KnowledgeState::Stale => &self.data,
            KnowledgeState::Refused => &self.refused,
        };
        let wrong: Vec<&Dated> = all.iter().filter(|dated| since(dated) <= now).collect();
        let first = wrong.iter().map(|dated| since(dated)).min()?;
        Some((first, wrong.into_iter().map(|dated| dated.what.as_str()).collect()))
    }
}

/// A date that cannot be told as a time is long ago.
fn midnight(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(0, |start| start.timestamp().as_millisecond())
}
