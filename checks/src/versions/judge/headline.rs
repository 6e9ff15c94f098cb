//! The line under the axes: the worst that is known for certain, what it rests on, what to do, and what would settle the rest.
//!
//! Known-exploited, end of life, a reboot that waits, behind, unknown, supported. What is only possible never sets it.

use super::found::Found;
use super::target::Target;
use super::{Scene, Waiting, advice, days};
use crate::facts::Observed;
use crate::versions::{
    ActivationState, Confidence, Exposure, Headline, LAG_DAYS, Link, Match, Patch, PatchState, STALE_DAYS, Support, SupportState,
    Vulnerability, VulnerabilityState,
};

/// Fills headline, because, action and settles from the axes.
pub(super) fn settle(scene: &Scene<'_>, target: &Target, link: &mut Link, found: Option<&Found>) {
    let waiting = found.and_then(|found| found.waiting.as_ref());
    let (headline, because) = headline(scene, link, waiting);
    link.headline = headline;
    link.because = because;
    link.action = advice::action(scene, target, link, waiting);
    link.settles = advice::settles(scene, target, link, found);
}

fn headline(scene: &Scene<'_>, link: &Link, waiting: Option<&Waiting>) -> (Headline, String) {
    let support = link.support.value();
    let patch = link.patch.value();
    let vulnerability = link.vulnerability.value();
    if let Some(found) = vulnerability.filter(|found| found.state == VulnerabilityState::KnownExploited) {
        return (Headline::KnownExploited, affected(found));
    }
    if let Some(support) = support.filter(|support| support.state == SupportState::Eol) {
        return (Headline::EndOfLife, maintained(support));
    }
    if let Some(because) = waits(link, waiting) {
        return (Headline::RebootPending, because);
    }
    if let Some(found) = vulnerability.filter(|found| fixable(found)) {
        return (Headline::PatchBehind, affected(found));
    }
    if let Some(patch) = patch.filter(|patch| lag(scene, patch).is_some_and(|lag| lag > LAG_DAYS)) {
        return (Headline::PatchBehind, behind(scene, patch));
    }
    if let Some(because) = open(scene, link) {
        return (Headline::Unknown, because);
    }
    let parts = [support.map(maintained), patch.map(|patch| behind(scene, patch)), vulnerability.map(none_known)];
    (Headline::Supported, parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// Does something newer wait that is not known to fix nothing.
fn waits(link: &Link, waiting: Option<&Waiting>) -> Option<String> {
    let activation = link.activation.value().filter(|activation| activation.state != ActivationState::Active)?;
    let because = &activation.because;
    match activation.security {
        Some(true) => {
            let fixes = waiting.map_or_else(String::new, |waiting| list(&waiting.fixes));
            Some(format!("{because}; it fixes {fixes}"))
        }
        None => Some(format!("{because}; whether it fixes something that affects this node is not known")),
        Some(false) => None,
    }
}

/// Certainly affected by something that has a fix.
fn fixable(found: &Vulnerability) -> bool {
    let certain = matches!(found.state, VulnerabilityState::PublicExploit | VulnerabilityState::Vulnerable);
    certain && found.fixed_in.is_some()
}

/// For how many days a newer one has been there, or at least.
pub(super) fn lag(scene: &Scene<'_>, patch: &Patch) -> Option<i64> {
    if patch.state != PatchState::Behind {
        return Some(0);
    }
    let newest = || patch.newest_date.as_ref().and_then(|day| day.parse().ok()).map(|day| days(day, scene.today).max(0));
    patch.days.or_else(newest)
}

/// What keeps it from being supported.
fn open(scene: &Scene<'_>, link: &Link) -> Option<String> {
    let mut open = Vec::new();
    match &link.support {
        Observed::Unavailable(why) => open.push(why.detail.clone()),
        // Of a system nothing else is judged.
        Observed::Known { value, .. } if value.state == SupportState::ExtendedPaid || link.component == "os" => {
            open.push(maintained(value));
        }
        Observed::Known { .. } => {}
    }
    match &link.vulnerability {
        Observed::Unavailable(why) => open.push(why.detail.clone()),
        Observed::Known { value, .. } => match value.state {
            VulnerabilityState::NoneKnown => {}
            VulnerabilityState::Livepatched => {
                open.push(format!("{}; a livepatch is active, and which of them it covers is not known", affected(value)));
            }
            VulnerabilityState::Undecided => open.push(undecided(value)),
            _ => open.push(affected(value)),
        },
    }
    match &link.patch {
        Observed::Unavailable(why) => open.push(why.detail.clone()),
        Observed::Known { value, .. } if lag(scene, value).is_none() => open.push(behind(scene, value)),
        Observed::Known { .. } => {}
    }
    (!open.is_empty()).then(|| open.join("; "))
}

/// `affected by CVE-… (…), known to be exploited since …: a < b (rpm), ALSA-…, confirmed`.
fn affected(found: &Vulnerability) -> String {
    let worst = found.matches.items.iter().find(|one| counts(one));
    let Some(worst) = worst else { return format!("affected by {}", count(found.affecting)) };
    let title = if worst.title.is_empty() { String::new() } else { format!(" ({})", shortened(&worst.title)) };
    let known = match &worst.exploited {
        Some(entry) => format!(", known to be exploited since {}", entry.added),
        None if worst.public_exploit => ", which has a published exploit".to_owned(),
        None => String::new(),
    };
    let confidence = if worst.confidence == Confidence::Confirmed { "confirmed" } else { "likely" };
    let exposed = if worst.exposure_because.is_empty() { String::new() } else { format!("; {}", worst.exposure_because) };
    let others = found.affecting.saturating_sub(1);
    let others = if others > 0 { format!("; and {others} more") } else { String::new() };
    format!("affected by {}{title}{known}: {} by {}, {confidence}{exposed}{others}", worst.id, worst.compared, worst.record)
}

fn counts(one: &Match) -> bool {
    one.confidence != Confidence::Possible && one.exposure != Exposure::PreconditionMissing
}

fn undecided(found: &Vulnerability) -> String {
    let possible: Vec<String> =
        found.matches.items.iter().filter(|one| one.confidence == Confidence::Possible).map(|one| one.id.clone()).collect();
    if possible.is_empty() {
        "no known vulnerability is certain to affect it, and some could not be decided".to_owned()
    } else {
        format!("{} may affect it, which its version alone does not decide", list(&possible))
    }
}

fn none_known(found: &Vulnerability) -> String {
    let out = match found.unreachable {
        0 => String::new(),
        number => format!(", {} out of reach here{}", count(number), exploited_out_of_reach(found)),
    };
    format!("none of the known vulnerabilities affects it{out} ({})", found.judged_by)
}

/// What is known to be exploited and only not here deserves its reason in words.
fn exploited_out_of_reach(found: &Vulnerability) -> String {
    let away = |one: &&Match| one.exploited.is_some() && one.exposure == Exposure::PreconditionMissing;
    found
        .matches
        .items
        .iter()
        .find(away)
        .map_or_else(String::new, |one| format!(" ({}, which is known to be exploited: {})", one.id, one.exposure_because))
}

fn count(number: i64) -> String {
    if number == 1 { "1 vulnerability".to_owned() } else { format!("{number} vulnerabilities") }
}

/// Up to three of a list, and how many more.
pub(super) fn list(items: &[String]) -> String {
    let shown = items.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A title as it fits a sentence.
fn shortened(title: &str) -> String {
    const MOST: usize = 80;
    match title.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", title.get(..at).unwrap_or_default().trim_end()),
        None => title.to_owned(),
    }
}

fn maintained(support: &Support) -> String {
    let Support { judged_by, ends, extended_ends, upstream_says, data_date, .. } = support;
    let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "an unknown day".to_owned());
    let beside = if upstream_says.is_empty() { String::new() } else { format!(" ({upstream_says})") };
    match support.state {
        SupportState::Supported if ends.is_none() => format!("{judged_by} is maintained, no end was announced on {data_date}{beside}"),
        SupportState::Supported => format!("{judged_by} is maintained until {}{beside}", end(ends)),
        SupportState::EolSoon => {
            let left = support.days_left.unwrap_or_default();
            format!("{judged_by} is maintained until {}, {left} days from now{beside}", end(ends))
        }
        SupportState::ExtendedFree => {
            format!("{judged_by} is in long-term support until {}, regular support ended {}{beside}", end(extended_ends), end(ends))
        }
        SupportState::ExtendedPaid => format!(
            "regular support of {judged_by} ended {}; extended support until {} has to be bought, which a node does not show{beside}",
            end(ends),
            end(extended_ends)
        ),
        SupportState::Eol => match (ends, extended_ends) {
            (_, Some(last)) => format!("nobody maintains {judged_by} since {last}, when extended support ended{beside}"),
            (Some(last), None) => format!("nobody maintains {judged_by} since {last}{beside}"),
            (None, None) => format!("nobody maintains {judged_by} any more{beside}"),
        },
    }
}

fn behind(scene: &Scene<'_>, patch: &Patch) -> String {
    let Patch { newest, newest_date, releases, data_date, .. } = patch;
    let age = data_date.parse().map_or(0, |day| days(day, scene.today));
    let as_of = if age > STALE_DAYS { format!(" as of {data_date}, {age} days ago") } else { format!(" as of {data_date}") };
    match patch.state {
        PatchState::Current => format!("{newest} is the newest known{as_of}"),
        PatchState::AheadOfData => format!("newer than {newest}, the newest known{as_of}"),
        PatchState::Behind => {
            let out = newest_date.as_ref().map_or_else(String::new, |day| format!(" of {day}"));
            let many = releases.map_or_else(String::new, |many| format!(", {many} release{} behind", if many == 1 { "" } else { "s" }));
            match patch.days {
                Some(days) => {
                    let least = if releases.is_some() { "" } else { "at least " };
                    format!("a newer one has been there for {least}{days} days: {newest}{out}{many} (data of {data_date})")
                }
                None => format!("{newest}{out} is newer{many} (data of {data_date})"),
            }
        }
    }
}
