//! How far it is behind: by the dates of upstream's releases where it is one of them, by the newest fix that the distribution's
//! records name where it is a package.

use std::cmp::Ordering;

use super::decide::NewestFix;
use super::target::Target;
use super::{Scene, days};
use crate::facts::{Observed, Reason, Source, SourceKind};
use crate::versions::{Patch, PatchState};

/// Compares with the newest that is known.
pub(super) fn patch(scene: &Scene<'_>, target: &Target, newest: Option<&NewestFix>) -> Observed<Patch> {
    if let Some(patch) = newest.and_then(|newest| by_distribution(target, newest)) {
        return patch;
    }
    by_upstream(scene, target).unwrap_or_else(|| Observed::unavailable_because(Reason::NotSupported, why(scene, target)))
}

/// Behind some fix is behind; not behind those that are known is current only where all are.
fn by_distribution(target: &Target, newest: &NewestFix) -> Option<Observed<Patch>> {
    let behind = newest.scheme.compare(&newest.asked, &newest.version) == Ordering::Less;
    if !behind && !newest.complete {
        return None;
    }
    let patch = Patch {
        state: if behind { PatchState::Behind } else { PatchState::Current },
        days: (!behind).then_some(0),
        releases: None,
        newest: if behind { newest.version.clone() } else { newest.asked.clone() },
        newest_date: None,
        data_date: newest.as_of.to_string(),
        source: newest.source.clone(),
    };
    let source = Source::new(SourceKind::Derived, format!("newest fix known of the package, {}, data of {}", newest.source, newest.as_of));
    Some(Observed::known(patch, source, target.at))
}

fn by_upstream(scene: &Scene<'_>, target: &Target) -> Option<Observed<Patch>> {
    let version = target.upstream.version.as_deref().filter(|_| target.upstream.exact)?;
    let found = target.newest.iter().find_map(|(product, cycle)| scene.knowledge.behind(product, cycle, version));
    let behind = found?;
    let (state, days) = match behind.order {
        Ordering::Less => (PatchState::Behind, behind.overtaken.map(|day| days(day, scene.today).max(0))),
        Ordering::Equal => (PatchState::Current, Some(0)),
        Ordering::Greater => (PatchState::AheadOfData, Some(0)),
    };
    let patch = Patch {
        state,
        days,
        releases: if behind.order == Ordering::Less { behind.releases } else { Some(0) },
        newest: behind.newest,
        newest_date: behind.newest_date.map(|day| day.to_string()),
        data_date: behind.as_of.to_string(),
        source: behind.source.clone(),
    };
    let source = Source::new(SourceKind::Derived, format!("upstream's releases, {}, data of {}", behind.source, behind.as_of));
    Some(Observed::known(patch, source, target.at))
}

fn why(scene: &Scene<'_>, target: &Target) -> String {
    if target.newest.is_empty() {
        let what = if target.is_kernel() { "kernel" } else { "package" };
        if target.vendor == "unlisted" {
            return format!("who built it is not known, so neither is their newest {what}");
        }
        let what = format!("the newest {what} of {}", target.vendor);
        return match target.feed.as_str() {
            "" => format!("{what} is not in any data"),
            feed if scene.imported(feed) => format!("{what} is not in {feed}"),
            feed => format!("{what} is not in the built-in data; {feed} has it"),
        };
    }
    if !target.upstream.exact {
        return format!("{} does not tell its exact upstream version", target.running);
    }
    let asked = target.newest.iter().map(|(product, cycle)| format!("{product} {cycle}")).collect::<Vec<_>>().join(" or ");
    format!("the newest of {asked} is not in the data of {}", scene.knowledge.as_of())
}
