//! Vulnerabilities by upstream's version numbers: which version a record affects, and how records about one vulnerability make one.
//!
//! Records of this build were corrected by hand: their ranges stand, imports add what they do not have. Fixes of the kernel's
//! series are the exception, stable releases come every week: those of all records count, and of each series the highest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::level::Level;
use super::{Advisory, Outcome, Range};

/// The component whose ranges go by series.
const KERNEL: &str = "kernel";

/// Every advisory about a component, ready to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Advisories {
    components: BTreeMap<String, Component>,
}

#[derive(Debug, Clone, Default)]
struct Component {
    /// Sorted by id; as long as `spans`.
    advisories: Vec<Advisory>,
    spans: Vec<Spans>,
}

/// A record as a feed said it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Of this build: its ranges stand.
    pub(super) curated: bool,
    /// Below this version it knows nothing.
    pub(super) unknown_below: Option<String>,
    pub(super) as_of: Date,
    pub(super) feed: String,
    pub(super) advisory: Advisory,
}

/// Ranges that can be compared.
#[derive(Debug, Clone, Default)]
struct Spans {
    by_series: bool,
    unknown_below: Option<Level>,
    /// Sorted by their beginning.
    ranges: Vec<Span>,
    /// Every version that fixes it, ascending.
    fixes: Vec<(Level, String)>,
}

#[derive(Debug, Clone)]
struct Span {
    introduced: Level,
    end: Option<Level>,
}

impl Advisories {
    /// Makes one record of all that name the same vulnerability of a component.
    pub(super) fn new(mut candidates: Vec<Candidate>) -> Self {
        // Curated first, then the newest; what is left to decide is text, so that the order of feeds never counts.
        candidates
            .sort_by(|a, b| (b.curated, b.as_of, &a.feed, &a.advisory.record).cmp(&(a.curated, a.as_of, &b.feed, &b.advisory.record)));
        let mut names: BTreeMap<(String, String), String> = BTreeMap::new();
        let mut merged: BTreeMap<(String, String), Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            let Advisory { component, id, aliases, .. } = &candidate.advisory;
            let all = || std::iter::once(id).chain(aliases);
            let known = all().find_map(|name| names.get(&(component.clone(), name.clone()))).unwrap_or(id).clone();
            for name in all() {
                names.entry((component.clone(), name.clone())).or_insert_with(|| known.clone());
            }
            merged.entry((component.clone(), known)).or_default().push(candidate);
        }
        let mut components: BTreeMap<String, Component> = BTreeMap::new();
        for ((component, id), candidates) in merged {
            let Some((advisory, unknown_below)) = merge(id, candidates) else { continue };
            let of = components.entry(component).or_default();
            of.spans.push(Spans::new(&advisory, unknown_below.as_deref()));
            of.advisories.push(advisory);
        }
        Self { components }
    }

    pub(super) fn of(&self, component: &str) -> &[Advisory] {
        self.components.get(component).map_or(&[], |component| component.advisories.as_slice())
    }

    pub(super) fn find(&self, component: &str, id: &str) -> Option<&Advisory> {
        let advisories = self.of(component);
        let at = advisories.binary_search_by(|advisory| advisory.id.as_str().cmp(id)).ok()?;
        advisories.get(at)
    }

    /// What each record about the component says of a version; those that do not know it are left out.
    pub(super) fn judge(&self, component: &str, version: &str) -> Vec<(&Advisory, Outcome)> {
        let (Some(known), Some(level)) = (self.components.get(component), Level::running(version)) else { return Vec::new() };
        let all = known.advisories.iter().zip(&known.spans);
        all.filter_map(|(advisory, spans)| Some((advisory, spans.judge(&level)?))).collect()
    }
}

/// The first of the candidates with what the others add.
fn merge(id: String, candidates: Vec<Candidate>) -> Option<(Advisory, Option<String>)> {
    let mut candidates = candidates.into_iter();
    let Candidate { mut advisory, mut unknown_below, curated, as_of, feed } = candidates.next()?;
    advisory.id = id;
    let start = advisory.ranges.iter().filter_map(|range| Level::bound(&range.introduced)).min().filter(|_| unknown_below.is_none());
    let mut aliases: BTreeSet<String> = advisory.aliases.drain(..).collect();
    let mut imported: BTreeMap<String, Date> = BTreeMap::new();
    if !curated {
        imported.insert(advisory.record.clone(), as_of);
    }
    for candidate in candidates {
        let other = candidate.advisory;
        // An older copy of a record says nothing that the newer one does not.
        if *imported.entry(other.record.clone()).or_insert(candidate.as_of) > candidate.as_of {
            continue;
        }
        // One record may speak of a component's versions in parts: 1.x and 2.x are two modules.
        let same = other.record == advisory.record && candidate.as_of == as_of && candidate.feed == feed;
        aliases.extend(other.aliases);
        if other.id != advisory.id {
            aliases.insert(other.id);
        }
        if advisory.title.is_empty() {
            advisory.title = other.title;
        }
        if advisory.needs.is_empty() && !curated {
            advisory.needs = other.needs;
        }
        advisory.only_family = advisory.only_family.or(other.only_family);
        advisory.score = advisory.score.or(other.score);
        for build in other.builds {
            if !advisory.builds.iter().any(|known| known.stream == build.stream) {
                advisory.builds.push(build);
            }
        }
        if advisory.component == KERNEL && advisory.only_family.is_none() && !other.ranges.is_empty() {
            // Another record completes it.
            unknown_below = None;
            add_ranges(&mut advisory.ranges, other.ranges, start.as_ref());
        } else if same && !curated {
            add_ranges(&mut advisory.ranges, other.ranges, None);
        }
    }
    aliases.remove(&advisory.id);
    advisory.aliases = aliases.into_iter().collect();
    Some((advisory, unknown_below))
}

/// Adds ranges that are not there yet. None begins before the curated record says that the fault did.
fn add_ranges(ranges: &mut Vec<Range>, others: Vec<Range>, start: Option<&Level>) {
    let beginning = ranges.iter().find(|range| Level::bound(&range.introduced).as_ref() == start).map(|range| range.introduced.clone());
    for mut other in others {
        if let (Some(start), Some(beginning)) = (start, &beginning)
            && Level::bound(&other.introduced).is_some_and(|introduced| introduced < *start)
        {
            other.introduced.clone_from(beginning);
        }
        if !ranges.contains(&other) {
            ranges.push(other);
        }
    }
}

impl Spans {
    fn new(advisory: &Advisory, unknown_below: Option<&str>) -> Self {
        let by_series = advisory.component == KERNEL;
        let mut fixes = Vec::new();
        let mut ended: Vec<(Level, Level)> = Vec::new();
        let mut open: Vec<Level> = Vec::new();
        for said in &advisory.ranges {
            let Some(introduced) = Level::bound(&said.introduced) else { continue };
            match said.fixed.as_deref().map(|text| (Level::bound(text), text)) {
                None => open.push(introduced),
                Some((None, _)) => {}
                Some((Some(end), text)) => {
                    // Lists of fixes that were paired with beginnings put a second fix of a series into a range that is none:
                    // the range says nothing, the fix does, where the series has one.
                    let holds = introduced < end;
                    if holds || (by_series && advisory.ranges.iter().any(|other| is_fix_of(other, end.series()))) {
                        fixes.push((end.clone(), text.to_owned()));
                    }
                    if holds {
                        ended.push((introduced, end));
                    }
                }
            }
        }
        fixes.sort();
        fixes.dedup_by(|a, b| a.0 == b.0);
        ended.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        let mut spans: Vec<Span> = Vec::new();
        for (introduced, fixed) in ended {
            // `< 1.7.29` beside `< 2.0.7`: the second is about its own branch only.
            let swallows = spans.iter().filter_map(|span| span.end.as_ref()).any(|end| introduced < *end && end.series() < fixed.series());
            let introduced = if swallows && !by_series { introduced.max(fixed.series_start()) } else { introduced };
            spans.push(Span { introduced, end: Some(fixed) });
        }
        for introduced in open {
            // Without an end, up to where another range begins to tell more.
            let end = spans.iter().filter(|span| span.end.is_some()).map(|span| &span.introduced).filter(|next| **next > introduced).min();
            let end = end.cloned();
            spans.push(Span { introduced, end });
        }
        spans.sort_by(|a, b| (&a.introduced, &a.end).cmp(&(&b.introduced, &b.end)));
        Self { by_series, unknown_below: unknown_below.and_then(Level::bound), ranges: spans, fixes }
    }

    /// `None` where the record does not know the version.
    fn judge(&self, version: &Level) -> Option<Outcome> {
        if self.ranges.is_empty() {
            return None;
        }
        let of_series = |(fix, _): &&(Level, String)| fix.series() == version.series();
        let own = self.fixes.iter().rfind(of_series);
        // Fixed in its own series is fixed, unless it came back later in the same series.
        let since = own.map(|(fix, _)| fix).filter(|fix| *fix <= version);
        let affected = self.ranges.iter().any(|span| {
            span.introduced <= *version
                && span.end.as_ref().is_none_or(|end| version < end)
                && since.is_none_or(|since| span.introduced >= *since)
        });
        // Where the record is incomplete, only a fix of the own series tells.
        if own.is_none() && self.unknown_below.as_ref().is_some_and(|from| version < from) {
            return None;
        }
        let affected = affected || own.is_some_and(|(fix, _)| version < fix && self.below_a_second_fix(version));
        if affected {
            let fixed = match own.filter(|(fix, _)| version < fix) {
                Some((_, text)) => Some(text.clone()),
                None if self.by_series => None,
                None => self.fixes.iter().find(|(fix, _)| version < fix).map(|(_, text)| text.clone()),
            };
            return Some(Outcome::Affected { fixed });
        }
        let last = self.fixes.last();
        let passed = self
            .fixes
            .iter()
            .rfind(|(fix, _)| fix <= version)
            .filter(|(fix, _)| !self.by_series || fix.series() == version.series() || last.is_some_and(|(last, _)| last == fix));
        Some(passed.map_or(Outcome::NotAffected, |(_, since)| Outcome::Fixed { since: since.clone() }))
    }

    /// Between two fixes of one series: the first alone did not do.
    fn below_a_second_fix(&self, version: &Level) -> bool {
        self.by_series && self.fixes.iter().any(|(fix, _)| fix.series() == version.series() && fix <= version)
    }
}

fn is_fix_of(range: &Range, series: (u64, u64)) -> bool {
    let (Some(introduced), Some(fixed)) = (Level::bound(&range.introduced), range.fixed.as_deref().and_then(Level::bound)) else {
        return false;
    };
    introduced < fixed && fixed.series() == series
}
