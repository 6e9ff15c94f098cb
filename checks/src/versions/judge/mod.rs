//! The verdict on a kernel: whose it is, by whose dates it is judged, and what they say today.

use jiff::civil::Date;

use super::kernel::{Family, Identity, KernelStrings, identify, product_of};
use super::knowledge::Knowledge;
use super::knowledge::lifecycle::{Extension, Row, Standing};
use super::{Headline, KnowledgeFacts, Link, SOON_DAYS, STALE_DAYS, Support, SupportState, VersionFacts};
use crate::facts::{Kernel, NodeFacts, Observed, Os, Reason, Source, SourceKind, Unavailable};

/// The product name of upstream's series.
const UPSTREAM: &str = "linux-kernel";

/// Fills [`NodeFacts::versions`] from the other groups. Idempotent.
pub fn judge(facts: &mut NodeFacts, knowledge: &Knowledge, today: Date) {
    let at = observed_at(&facts.kernel);
    let kernel = judge_kernel(knowledge, &facts.kernel, &facts.os, today);
    let as_of = knowledge.as_of();
    let age_days = days(as_of, today);
    let feeds = knowledge.feeds().iter().skip(1).map(|feed| feed.name.clone()).collect();
    let versions = VersionFacts {
        os: not_judged(),
        kernel,
        components: not_judged(),
        knowledge: KnowledgeFacts { as_of: as_of.to_string(), age_days, feeds, wanted: String::new() },
    };
    facts.versions = Observed::known(versions, Source::new(SourceKind::Derived, "version knowledge"), at);
}

fn not_judged<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, "not judged")
}

fn days(from: Date, to: Date) -> i64 {
    to.since(from).map_or(0, |span| i64::from(span.get_days()))
}

/// Judges the running kernel: a distribution's kernel by its distribution's dates, upstream's series only where the family
/// ships upstream's releases as they are.
fn judge_kernel(data: &Knowledge, kernel: &Observed<Kernel>, os: &Observed<Os>, today: Date) -> Observed<Link> {
    let at = observed_at(kernel);
    let running = match kernel {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
    };
    let signature = running.signature.value().map(String::as_str);
    let strings = KernelStrings { release: &running.release, version: &running.version, signature, os: os.value() };
    let identity = identify(&strings);
    let support = match find(data, &identity, os, &running.release, today) {
        Ok(found) => found.support(today, at),
        Err(why) => Observed::Unavailable(why),
    };
    let headline = match support.value().map(|support| support.state) {
        Some(SupportState::Eol) => Headline::EndOfLife,
        _ => Headline::Unknown,
    };
    let link = Link {
        vendor: identity.family.name().to_owned(),
        tracks_upstream: identity.family.tracks_stable(),
        series: identity.series.clone(),
        support,
        headline,
        ..Link::unread("kernel", "kernel", running.release.clone())
    };
    Observed::known(link, Source::new(SourceKind::Derived, "kernel identity and version knowledge"), at)
}

/// The lifecycle row that judges a kernel.
struct Found<'a> {
    product: &'static str,
    row: &'a Row,
    standing: Standing,
}

fn find<'a>(data: &'a Knowledge, identity: &Identity, os: &Observed<Os>, release: &str, today: Date) -> Result<Found<'a>, Unavailable> {
    let unsupported = |detail: String| Unavailable::new(Reason::NotSupported, detail);
    let os = match os {
        Observed::Known { value, .. } => value,
        // A bare release on an unknown system may be anybody's.
        Observed::Unavailable(why) => return Err(Unavailable::new(why.reason, format!("the distribution is not known: {}", why.detail))),
    };
    let on = if os.version_id.is_empty() { os.id.clone() } else { format!("{} {}", os.id, os.version_id) };
    let name = identity.family.name();
    let own = identity.family.distributions();
    if !own.is_empty() && !own.contains(&os.id.as_str()) {
        return Err(unsupported(format!("kernel {release} is of the family {name}, the node runs {on}: nobody's dates cover the pair")));
    }
    let (product, cycle) = match identity.family {
        Family::Unlisted => {
            return Err(unsupported(format!("kernel {release} is not one of {on}: nothing tells who maintains it, or its patch level")));
        }
        Family::Prerelease => return Err(unsupported(format!("kernel {release} is a release candidate, which has no support dates"))),
        Family::DebianBackports => {
            return Err(unsupported(format!("kernel {release} is a backport, which the dates of {on} do not cover")));
        }
        _ if own.is_empty() && !identity.family.tracks_stable() => {
            return Err(unsupported(format!("kernel {release} is of the family {name}, whose support dates are not in the built-in data")));
        }
        _ => match product_of(os).filter(|_| !own.is_empty()) {
            Some(found) => found,
            None if identity.family.tracks_stable() && identity.upstream.is_some() => (UPSTREAM, identity.series.clone()),
            None => return Err(unsupported(format!("the release of {on} is not known, so its support dates cannot be looked up"))),
        },
    };
    let found = data
        .cycle(product, &cycle, today)
        .ok_or_else(|| unsupported(format!("the lifecycle data of {} has no row for {product} {cycle}", data.as_of())))?;
    Ok(Found { product, row: found.row, standing: found.standing })
}

impl Found<'_> {
    fn support(&self, today: Date, at: i64) -> Observed<Support> {
        let Self { product, row, standing } = self;
        let judged_by = if row.cycle.starts_with(product) { row.cycle.clone() } else { format!("{product} {}", row.cycle) };
        let free_end = row.eol.day();
        let last_end = row.extended.and_then(super::knowledge::lifecycle::End::day);
        let age = days(row.as_of, today);
        if *standing == Standing::Supported && *product == UPSTREAM && !row.lts && free_end.is_none() && age > STALE_DAYS {
            let detail =
                format!("{judged_by} had no end announced on {}, which is {age} days ago: short-lived series end sooner", row.as_of);
            return Observed::unavailable_because(Reason::NotSupported, detail);
        }
        let left = |end: Option<Date>| end.map(|end| days(today, end));
        let (state, days_left) = match standing {
            Standing::Supported if left(free_end).is_some_and(|left| left <= SOON_DAYS) => (SupportState::EolSoon, left(free_end)),
            Standing::Supported => (SupportState::Supported, left(free_end)),
            Standing::Extended(Extension::Free) => (SupportState::ExtendedFree, left(last_end)),
            Standing::Extended(Extension::Paid) => (SupportState::ExtendedPaid, left(last_end)),
            Standing::EndOfLife => (SupportState::Eol, left(last_end.or(free_end))),
        };
        let support = Support {
            state,
            ends: free_end.map(|day| day.to_string()),
            extended_ends: last_end.map(|day| day.to_string()),
            days_left,
            upstream_says: String::new(),
            data_date: row.as_of.to_string(),
            source: row.source.clone(),
            judged_by: judged_by.clone(),
        };
        Observed::known(support, Source::new(SourceKind::Derived, format!("{judged_by}, data of {}, {}", row.as_of, row.source)), at)
    }
}

fn observed_at<T>(fact: &Observed<T>) -> i64 {
    match fact {
        Observed::Known { at, .. } => *at,
        Observed::Unavailable(_) => 0,
    }
}
