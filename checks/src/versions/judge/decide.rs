//! Which known vulnerabilities a version has: the distribution's own records first, then builds that advisories list, then
//! upstream's numbers, as far as they tell anything of it.
//!
//! One decision for each vulnerability that is known. What cannot be decided is counted, never dropped. Must not know the node's
//! facts: what waits for a reboot is decided like what runs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::civil::Date;

use super::target::{Stream, Target};
use crate::versions::knowledge::lifecycle::End;
use crate::versions::knowledge::{Advisory, FixedBuild, Knowledge, Outcome, PackageOutcome};
use crate::versions::{Confidence, Family, Scheme, compare};

/// What is known of a version.
#[derive(Debug, Default)]
pub(super) struct Decided<'k> {
    /// What affects it, or may.
    pub affected: Vec<Affected<'k>>,
    /// How many it is fixed against.
    pub fixed: usize,
    /// How many never affected it.
    pub never: usize,
    /// Ids that nothing decides, besides those that may affect it.
    pub undecided: Vec<&'k str>,
    /// Where it was looked up.
    pub judged_by: Vec<String>,
    /// The newest day that any of that was true on.
    pub as_of: Option<Date>,
    /// The newest version of the package that the distribution's records name as a fix, and where that is from.
    pub newest_fix: Option<NewestFix>,
}

/// The newest fix that a distribution's records name.
#[derive(Debug, Clone)]
pub(super) struct NewestFix {
    /// The version asked about, as the records write versions.
    pub asked: String,
    /// The fix.
    pub version: String,
    /// How they compare.
    pub scheme: Scheme,
    /// The day the records were true on.
    pub as_of: Date,
    /// Where they come from.
    pub source: String,
    /// Are they all that the distribution has: else a newer fix may be among those that are missing.
    pub complete: bool,
}

/// A vulnerability that affects a version, or may.
#[derive(Debug)]
pub(super) struct Affected<'k> {
    /// The CVE.
    pub id: String,
    /// Upstream's record, where there is one.
    pub advisory: Option<&'k Advisory>,
    /// How certain.
    pub confidence: Confidence,
    /// The fix in the stream that was compared.
    pub fixed: Option<String>,
    /// By which numbers it was compared.
    pub by: By,
    /// The pair and the comparator.
    pub compared: String,
    /// The record.
    pub record: String,
    /// Where that comes from.
    pub source: String,
    /// The fix needs a subscription.
    pub subscription: bool,
}

/// By which numbers versions were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The package's.
    Package(Scheme),
    /// Upstream's.
    Upstream,
}

impl By {
    fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Package(scheme) => scheme.compare(a, b),
            Self::Upstream => compare::suffixed(a, b),
        }
    }
}

impl Decided<'_> {
    /// How many are known at all.
    pub(super) fn known(&self) -> usize {
        self.affected.len().saturating_add(self.fixed).saturating_add(self.never).saturating_add(self.undecided.len())
    }

    /// Ids that are not known to be out of the way.
    pub(super) fn open(&self) -> BTreeSet<&str> {
        self.affected.iter().map(|one| one.id.as_str()).chain(self.undecided.iter().copied()).collect()
    }
}

/// The version that has every fix there is for `of`: of the package where it was compared, else of upstream.
pub(super) fn fix_of<'a>(of: impl Iterator<Item = &'a Affected<'a>>) -> Option<String> {
    let mut newest: Option<(By, &str)> = None;
    for one in of {
        let Some(fixed) = one.fixed.as_deref() else { continue };
        newest = Some(match newest {
            None => (one.by, fixed),
            Some((by, other)) if by == one.by => (by, if by.compare(fixed, other).is_gt() { fixed } else { other }),
            // A package's version begins with upstream's: the one that is not lower has the other's fix too.
            Some((_, other)) if compare::suffixed(fixed, other).is_gt() => (one.by, fixed),
            Some(kept) => kept,
        });
    }
    newest.map(|(_, version)| version.to_owned())
}

/// Decides everything that is known of `target`.
pub(super) fn decide<'k>(target: &Target, knowledge: &'k Knowledge) -> Decided<'k> {
    let mut decided = Decided::default();
    let mut seen: HashSet<String> = HashSet::new();
    by_distribution(target, knowledge, &mut decided, &mut seen);
    by_advisories(target, knowledge, &mut decided, &seen);
    decided.affected.sort_by(|a, b| a.id.cmp(&b.id));
    decided.judged_by.sort();
    decided.judged_by.dedup();
    decided
}

fn by_distribution<'k>(target: &Target, knowledge: &'k Knowledge, decided: &mut Decided<'k>, seen: &mut HashSet<String>) {
    // The same vulnerability in several of a distribution's streams: one that has the fix decides.
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Fixed { .. } => 0,
        Outcome::NotAffected => 1,
        Outcome::Affected { fixed: Some(_) } => 2,
        Outcome::Affected { fixed: None } => 3,
    };
    // A kernel has thousands: nothing that is the same for all of them is kept with each.
    let mut outcomes: HashMap<String, (PackageOutcome, usize, bool)> = HashMap::new();
    let mut sources: BTreeMap<usize, String> = BTreeMap::new();
    for (asked, question) in target.questions.iter().enumerate() {
        let Some(answer) = knowledge.package(&question.ecosystem, &question.package, question.scheme, &question.version) else { continue };
        decided.judged_by.push(format!("{} ({}, {})", answer.ecosystem, answer.source, answer.as_of));
        decided.as_of = decided.as_of.max(Some(answer.as_of));
        let lent = answer.ecosystem.split(':').next() != question.ecosystem.split(':').next();
        for outcome in answer.outcomes {
            let fix = match &outcome.outcome {
                Outcome::Fixed { since } => Some(since),
                Outcome::Affected { fixed } => fixed.as_ref(),
                Outcome::NotAffected => None,
            };
            // What has to be bought is not what the machine would get.
            if let Some(fix) = fix.filter(|_| !outcome.subscription)
                && decided.newest_fix.as_ref().is_none_or(|newest| question.scheme.compare(fix, &newest.version).is_gt())
            {
                decided.newest_fix = Some(NewestFix {
                    asked: question.version.clone(),
                    version: fix.clone(),
                    scheme: question.scheme,
                    as_of: answer.as_of,
                    source: answer.source.clone(),
                    complete: answer.complete,
                });
            }
            match outcomes.get(&outcome.id) {
                Some((kept, ..)) if rank(&kept.outcome) <= rank(&outcome.outcome) => {}
                _ => drop(outcomes.insert(outcome.id.clone(), (outcome, asked, lent))),
            }
        }
        sources.insert(asked, answer.source);
    }
    for (id, (outcome, asked, lent)) in outcomes {
        let Some(question) = target.questions.get(asked) else { continue };
        match outcome.outcome {
            Outcome::Fixed { .. } => decided.fixed = decided.fixed.saturating_add(1),
            Outcome::NotAffected => decided.never = decided.never.saturating_add(1),
            Outcome::Affected { fixed } => {
                let scheme = question.scheme.name();
                let compared = match &fixed {
                    Some(fixed) => format!("{} < {fixed} ({scheme})", question.version),
                    None => format!("{}: no fix yet ({scheme})", question.version),
                };
                decided.affected.push(Affected {
                    advisory: knowledge.advisory(&target.component, &id),
                    id: id.clone(),
                    confidence: if lent { of_stream(target.stream.as_ref(), fixed.as_deref()) } else { Confidence::Confirmed },
                    fixed,
                    by: By::Package(question.scheme),
                    compared,
                    record: outcome.record,
                    source: sources.get(&asked).cloned().unwrap_or_default(),
                    subscription: outcome.subscription,
                });
            }
        }
        seen.insert(id);
    }
}

fn by_advisories<'k>(target: &Target, knowledge: &'k Knowledge, decided: &mut Decided<'k>, seen: &HashSet<String>) {
    let judged: HashMap<&str, Outcome> = match target.upstream.version.as_deref() {
        Some(version) => {
            knowledge.upstream(&target.component, version).into_iter().map(|(one, outcome)| (one.id.as_str(), outcome)).collect()
        }
        None => HashMap::new(),
    };
    let mut used = false;
    for advisory in knowledge.advisories(&target.component) {
        let known = |id: &String| seen.contains(id.as_str());
        if known(&advisory.id) || advisory.aliases.iter().any(known) {
            continue;
        }
        if advisory.only_family.as_deref().is_some_and(|family| target.family.is_none_or(|own| own.name() != family)) {
            continue;
        }
        used = true;
        match verdict(target, knowledge, advisory, judged.get(advisory.id.as_str())) {
            Verdict::Affected(affected) => decided.affected.push(*affected),
            Verdict::Fixed => decided.fixed = decided.fixed.saturating_add(1),
            Verdict::Never => decided.never = decided.never.saturating_add(1),
            Verdict::Undecided => decided.undecided.push(&advisory.id),
        }
    }
    if used {
        let day = knowledge.feeds().first().map(|feed| feed.as_of);
        let day = day.max(knowledge.feeds().iter().filter(|feed| upstream_feed(&feed.name)).map(|feed| feed.as_of).max());
        decided.as_of = decided.as_of.max(day);
        let dated = day.map_or_else(String::new, |day| format!(", data of {day}"));
        let what =
            if target.stream.as_ref().is_some_and(|stream| stream.listed) { "fixed builds in advisories" } else { "upstream ranges" };
        decided.judged_by.push(format!("{what}{dated}"));
    }
}

/// Feeds that speak in upstream's version numbers.
fn upstream_feed(name: &str) -> bool {
    matches!(name, "osv/Go" | "osv/Linux" | "osv/Kubernetes" | "kernel-cve")
}

enum Verdict<'k> {
    Affected(Box<Affected<'k>>),
    Fixed,
    Never,
    Undecided,
}

fn verdict<'k>(target: &Target, knowledge: &Knowledge, advisory: &'k Advisory, outcome: Option<&Outcome>) -> Verdict<'k> {
    if let Some(decided) = by_builds(target, advisory) {
        return decided;
    }
    // What only this family has says nothing in upstream's numbers.
    if advisory.only_family.is_some() && advisory.ranges.is_empty() {
        return Verdict::Undecided;
    }
    let upstream = &target.upstream;
    let (Some(version), Some(outcome)) = (upstream.version.as_deref(), outcome) else { return Verdict::Undecided };
    match outcome {
        Outcome::Fixed { .. } if upstream.clears => Verdict::Fixed,
        Outcome::NotAffected if upstream.clears => Verdict::Never,
        Outcome::Fixed { .. } | Outcome::NotAffected => Verdict::Undecided,
        Outcome::Affected { fixed } => {
            let fixed = fixed.clone();
            let Some(mut confidence) = upstream.below else { return Verdict::Undecided };
            if fixed.is_none() && target.is_kernel() && chance_of_fix(target, advisory, knowledge) {
                confidence = Confidence::Possible;
            }
            // A fix that is recorded for X.Y came in one of its candidates, and nobody says in which.
            let candidate = target.family == Some(Family::Prerelease);
            if candidate && fixed.as_deref().is_some_and(|fixed| in_series(fixed, &target.series) && !fixed.contains("-rc")) {
                confidence = Confidence::Possible;
            }
            let least = if upstream.exact { "" } else { "at least " };
            let compared = match &fixed {
                Some(fixed) => format!("{least}{version} < {fixed} (upstream)"),
                None => format!("{least}{version}: no fix in its series is listed (upstream)"),
            };
            Verdict::Affected(Box::new(Affected {
                id: advisory.id.clone(),
                advisory: Some(advisory),
                confidence,
                fixed,
                by: By::Upstream,
                compared,
                record: advisory.record.clone(),
                source: advisory.source.clone(),
                subscription: false,
            }))
        }
    }
}

/// Is it the first release of the series, `7.0` or `7.0.0` of 7.0.
fn in_series(fixed: &str, series: &str) -> bool {
    fixed == series || fixed.strip_prefix(series) == Some(".0")
}

/// Was the series maintained when the vulnerability was named: then it had its chance of a fix, which the record may not list. One that
/// had ended before has none.
fn chance_of_fix(target: &Target, advisory: &Advisory, knowledge: &Knowledge) -> bool {
    let named = advisory.id.split('-').nth(1).and_then(|year| year.parse::<i16>().ok());
    let end = knowledge.cycle("linux-kernel", &target.series, Date::ZERO).map(|cycle| cycle.row.eol);
    match (named, end) {
        (Some(named), Some(End::Day(end))) => named < end.year() || (named == end.year() && end.month() > 6),
        (_, Some(End::Reached(over))) => !over,
        _ => true,
    }
}

/// By the builds of Enterprise Linux that the advisory lists: of the same stream, else the lowest of the same major release. Never by
/// just any: each stream is numbered on its own.
fn by_builds<'k>(target: &Target, advisory: &'k Advisory) -> Option<Verdict<'k>> {
    let stream = target.stream.as_ref().filter(|stream| stream.listed)?;
    let (running, _) = target.package.as_ref()?;
    let major = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    let lowest = |a: &&FixedBuild, b: &&FixedBuild| compare::rpm(&a.fixed, &b.fixed);
    // `ALSA-2026:A001`: a build that `AlmaLinux` made before or beside the others.
    let builds = || advisory.builds.iter().filter(|build| stream.same_builds || !build.record.contains(":A"));
    let same = builds().filter(|build| build.stream == stream.name).min_by(lowest);
    let (build, exact) = match same {
        Some(build) => (build, true),
        None => (builds().filter(|build| major(&build.stream) == major(&stream.name)).min_by(lowest)?, false),
    };
    if compare::rpm(running, &build.fixed).is_ge() {
        return Some(Verdict::Fixed);
    }
    let confidence = of_stream(Some(stream), Some(&build.fixed));
    let note =
        if exact { String::new() } else { format!("; no fix of {} is listed, this is the lowest of {}", stream.name, major(&stream.name)) };
    Some(Verdict::Affected(Box::new(Affected {
        id: advisory.id.clone(),
        advisory: Some(advisory),
        confidence,
        fixed: Some(build.fixed.clone()),
        by: By::Package(Scheme::Rpm),
        compared: format!("{running} < {} (rpm{note})", build.fixed),
        record: build.record.clone(),
        source: advisory.source.clone(),
        subscription: false,
    })))
}

/// How certain it is to be affected below that fix: of the own stream for certain, of another one as far as the own has none.
fn of_stream(own: Option<&Stream>, fixed: Option<&str>) -> Confidence {
    let Some(stream) = own else { return Confidence::Confirmed };
    let same = fixed.is_none_or(|fixed| fixed.ends_with(&stream.name));
    match (same, stream.extended, stream.same_builds) {
        (true, ..) | (false, false, true) => Confidence::Confirmed,
        (false, true, _) => Confidence::Possible,
        (false, false, false) => Confidence::Likely,
    }
}
