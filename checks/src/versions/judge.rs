//! The verdict on a kernel: whose it is, by whose dates it is judged, and what they say today.

use std::sync::LazyLock;

use jiff::civil::Date;

use super::family::{self, Family};
use super::identity::{Identity, KernelStrings, identify};
use super::lifecycle::{Extension, Lifecycle, LifecycleError, Row, Standing};
use super::{KernelVerdict, VersionFacts};
use crate::facts::{Kernel, NodeFacts, Observed, Os, Reason, Source, SourceKind, Unavailable};

/// After so many days, data that announces no end for a short-lived series says nothing any more.
const STALE_DAYS: i32 = 45;

/// The product name of upstream's series.
const UPSTREAM: &str = "linux-kernel";

static BUILT_IN: LazyLock<Result<Lifecycle, LifecycleError>> = LazyLock::new(Lifecycle::built_in);

/// Fills [`NodeFacts::versions`] from the other groups by the built-in data. Idempotent.
pub fn judge(facts: &mut NodeFacts, today: Date) {
    let kernel = judge_kernel(&facts.kernel, &facts.os, today);
    let at = observed_at(&facts.kernel);
    facts.versions = Observed::known(VersionFacts { kernel }, Source::new(SourceKind::Derived, "version knowledge"), at);
}

/// Judges the running kernel by the built-in data.
pub fn judge_kernel(kernel: &Observed<Kernel>, os: &Observed<Os>, today: Date) -> Observed<KernelVerdict> {
    match &*BUILT_IN {
        Ok(data) => judge_kernel_by(data, kernel, os, today),
        Err(error) => Observed::unavailable_because(Reason::Malformed, format!("built-in lifecycle data: {error}")),
    }
}

/// Judges the running kernel: a distribution's kernel by its distribution's dates, upstream's series only where the family
/// ships upstream's releases as they are.
pub fn judge_kernel_by(data: &Lifecycle, kernel: &Observed<Kernel>, os: &Observed<Os>, today: Date) -> Observed<KernelVerdict> {
    let at = observed_at(kernel);
    let running = match kernel {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
    };
    let signature = running.signature.value().map(String::as_str);
    let strings = KernelStrings { release: &running.release, version: &running.version, signature, os: os.value() };
    let identity = identify(&strings);
    let verdict = match find(data, &identity, os, &running.release, today) {
        Ok(found) => found.verdict(&identity, today, at),
        Err(why) => verdict(&identity, Observed::Unavailable(why)),
    };
    Observed::known(verdict, Source::new(SourceKind::Derived, "kernel identity and lifecycle data"), at)
}

/// The lifecycle row that judges a kernel.
struct Found<'a> {
    product: &'static str,
    row: &'a Row,
    standing: Standing,
}

fn find<'a>(data: &'a Lifecycle, identity: &Identity, os: &Observed<Os>, release: &str, today: Date) -> Result<Found<'a>, Unavailable> {
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
        _ => match family::product_of(os).filter(|_| !own.is_empty()) {
            Some(found) => found,
            None if identity.family.tracks_stable() && identity.upstream.is_some() => (UPSTREAM, identity.series.clone()),
            None => return Err(unsupported(format!("the release of {on} is not known, so its support dates cannot be looked up"))),
        },
    };
    let (row, standing) = data.find(product, &cycle, today).ok_or_else(|| {
        let dated = data.as_of().map(|day| format!(" of {day}")).unwrap_or_default();
        unsupported(format!("the lifecycle data{dated} has no row for {product} {cycle}"))
    })?;
    Ok(Found { product, row, standing })
}

impl Found<'_> {
    fn verdict(&self, identity: &Identity, today: Date, at: i64) -> KernelVerdict {
        let Self { product, row, standing } = self;
        let judged_by = if row.cycle.starts_with(product) { row.cycle.clone() } else { format!("{product} {}", row.cycle) };
        let place = format!("{judged_by}, data of {}, {}", row.as_of, row.source);
        let say = |said: &str| Observed::known(said.to_owned(), Source::new(SourceKind::Derived, place.clone()), at);
        let unknown = |detail: String| Observed::unavailable_because(Reason::NotSupported, detail);
        let free_end = row.eol.day();
        let last_end = row.extended.and_then(super::lifecycle::End::day);
        let age = today.since(row.as_of).map_or(0, |span| span.get_days());
        let (lifecycle, support, eol) = match standing {
            Standing::Supported if *product == UPSTREAM && !row.lts && free_end.is_none() && age > STALE_DAYS => {
                let detail =
                    format!("{judged_by} had no end announced on {}, which is {age} days ago: short-lived series end sooner", row.as_of);
                (unknown(detail), "", None)
            }
            Standing::Supported => (say("supported"), "standard", free_end),
            Standing::Extended(Extension::Free) => (say("supported"), "extended", last_end),
            Standing::Extended(Extension::Paid) => {
                let day = |day: Option<Date>| day.map_or_else(|| "an unknown day".to_owned(), |day| day.to_string());
                let (ended, until) = (day(free_end), day(last_end));
                let detail = format!(
                    "{judged_by}: free support ended on {ended}; a paid extension lasts until {until}, and a node does not tell whether it is bought"
                );
                (unknown(detail), "", free_end)
            }
            Standing::EndOfLife => (say("end_of_life"), "none", last_end.or(free_end)),
        };
        KernelVerdict {
            support: support.to_owned(),
            eol: eol.map(|day| day.to_string()),
            judged_by,
            data_date: row.as_of.to_string(),
            source: row.source.clone(),
            ..verdict(identity, lifecycle)
        }
    }
}

/// A verdict without dates.
fn verdict(identity: &Identity, lifecycle: Observed<String>) -> KernelVerdict {
    KernelVerdict {
        family: identity.family.name().to_owned(),
        tracks_stable: identity.family.tracks_stable(),
        series: identity.series.clone(),
        lifecycle,
        support: String::new(),
        eol: None,
        judged_by: String::new(),
        data_date: String::new(),
        source: String::new(),
    }
}

fn observed_at<T>(fact: &Observed<T>) -> i64 {
    match fact {
        Observed::Known { at, .. } => *at,
        Observed::Unavailable(_) => 0,
    }
}
