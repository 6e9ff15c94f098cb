//! What to do, in one sentence, and what would settle the rest. Commands differ by distribution, so it names packages and versions.

use jiff::civil::Date;

use super::found::Found;
use super::target::Target;
use super::{Scene, Waiting, activation, days};
use crate::facts::Observed;
use crate::versions::knowledge::lifecycle::{End, Standing};
use crate::versions::{
    ActivationState, Family, Headline, Link, PatchState, SOON_DAYS, STALE_DAYS, Support, SupportState, VulnerabilityState, compare,
};

/// What to do; empty when there is nothing.
pub(super) fn action(scene: &Scene<'_>, target: &Target, link: &Link, waiting: Option<&Waiting>) -> String {
    let reboot = reboot(link);
    let move_on = move_on(scene, target, link);
    let patched = patched_by_waiting(link, waiting);
    let newer = newer(link);
    let steps: Vec<String> = match link.headline {
        Headline::KnownExploited | Headline::PatchBehind => match (reboot, patched) {
            (Some(reboot), true) => vec![reboot],
            (Some(reboot), false) => vec![update(scene, target, newer), format!("until then: {reboot}")],
            (None, _) => vec![update(scene, target, newer)],
        },
        Headline::EndOfLife => vec![move_on.clone().unwrap_or_else(|| leave(target))],
        Headline::RebootPending => reboot.into_iter().collect(),
        Headline::Unknown | Headline::Supported => newer.map(|newer| update(scene, target, Some(newer))).into_iter().collect(),
    };
    let soon = |support: &&Support| match support.state {
        SupportState::EolSoon => true,
        SupportState::ExtendedFree | SupportState::ExtendedPaid => support.days_left.is_some_and(|left| left <= SOON_DAYS),
        SupportState::Supported | SupportState::Eol => false,
    };
    let ending = link.support.value().filter(soon).and(move_on);
    let ending = ending.filter(|_| link.headline != Headline::EndOfLife);
    steps.into_iter().chain(ending).collect::<Vec<_>>().join("; ")
}

/// Does what waits fix all that certainly affects what runs.
fn patched_by_waiting(link: &Link, waiting: Option<&Waiting>) -> bool {
    let certain = link.vulnerability.value().is_some_and(|found| found.affecting > 0);
    waiting.is_some_and(|waiting| certain && waiting.leaves == 0 && !waiting.fixes.is_empty())
}

/// Brings what is installed to run.
fn reboot(link: &Link) -> Option<String> {
    let activation = link.activation.value()?;
    let what = link.installed.value().cloned();
    let since = activation.since.map_or_else(String::new, |since| format!(" since {}", activation::day(since)));
    Some(match (activation.state, what) {
        (ActivationState::Active, _) => return None,
        (ActivationState::RebootPending, Some(what)) => format!("reboot: {what} is installed{since}"),
        (ActivationState::RebootPending, None) => "reboot".to_owned(),
        (ActivationState::RestartPending, Some(what)) => format!("restart {}: {what} is on disk", link.subject),
        (ActivationState::RestartPending, None) => format!("restart {}", link.subject),
        (ActivationState::NewerNotSelected, Some(what)) => format!("make {what} the default boot entry and reboot"),
        (ActivationState::NewerNotSelected, None) => "make the newest kernel the default boot entry and reboot".to_owned(),
    })
}

/// The version to go to: the one with every fix that is needed, or the newest of the series where that is newer.
fn newer(link: &Link) -> Option<(String, bool)> {
    let fix = link.vulnerability.value().filter(|found| found.affecting > 0).and_then(|found| found.fixed_in.clone());
    let newest = link.patch.value().filter(|patch| patch.state == PatchState::Behind).map(|patch| patch.newest.clone());
    // The newest of a series that has no fix is no advice.
    let unfixed = link.vulnerability.value().is_some_and(|found| found.affecting > 0 && found.fixed_in.is_none());
    match (fix, newest.filter(|_| !unfixed)) {
        (Some(fix), Some(newest)) if compare::suffixed(&newest, &fix).is_gt() => Some((newest, true)),
        (Some(fix), _) => Some((fix, true)),
        (None, newest) => newest.map(|newest| (newest, true)),
    }
}

/// How a thing is brought to a version.
fn update(scene: &Scene<'_>, target: &Target, to: Option<(String, bool)>) -> String {
    let Some((to, _)) = to else { return format!("watch for a fix of {}: none is known", target.component) };
    // A version of upstream's that a distribution's package has to contain, not to carry.
    let upstream = target.package.is_some() && !to.contains('-');
    let flavour = |default: &str| if target.flavour.is_empty() { default.to_owned() } else { target.flavour.clone() };
    let what = match (target.component.as_str(), target.family) {
        ("kernel", Some(Family::Cos | Family::Talos | Family::Flatcar | Family::Bottlerocket)) => {
            return format!("move the node to an image with Linux {to} or newer");
        }
        ("kernel", Some(Family::Debian | Family::DebianBackports | Family::Ubuntu)) => format!("linux-image-{}", flavour("generic")),
        ("kernel", Some(Family::Suse)) => format!("kernel-{}", flavour("default")),
        ("kernel", Some(Family::EnterpriseLinux)) if !target.flavour.is_empty() => format!("kernel-{}", target.flavour),
        ("kernel", Some(Family::Uek)) => "kernel-uek".to_owned(),
        ("kernel", _) => "the kernel".to_owned(),
        ("os", _) if to.starts_with(&target.vendor) => return format!("move the node to {to} or newer"),
        ("os", _) => return format!("move the node to {} {to} or newer", target.vendor),
        (component, _) if scene.on_image() => return format!("move the node to an image with {component} {to} or newer"),
        (component, _) if embedded(target) => return format!("move to a release of {} with {component} {to} or newer", target.vendor),
        (component, _) => component.to_owned(),
    };
    let to = if upstream { format!("a build with the fixes of {} {to}", upstream_name(target)) } else { format!("{to} or newer") };
    let then = match target.component.as_str() {
        "kernel" => " and reboot",
        "runc" | "crun" => "; running containers keep what they were started with",
        _ => "",
    };
    format!("update {what} to {to}{then}")
}

/// Part of a distribution of Kubernetes, which brings it.
fn embedded(target: &Target) -> bool {
    !target.component.starts_with("kube") && matches!(target.vendor.as_str(), "k3s" | "rke2" | "k0s" | "microk8s")
}

fn upstream_name(target: &Target) -> &str {
    if target.is_kernel() { "Linux" } else { &target.component }
}

/// Where to go from a release that ends: `move to 1.36 before 2027-02-28`.
fn move_on(scene: &Scene<'_>, target: &Target, link: &Link) -> Option<String> {
    let support = link.support.value()?;
    let (product, cycle) = target.rows.iter().find(|(product, cycle)| scene.knowledge.cycle(product, cycle, scene.today).is_some())?;
    let (next, until) = next(scene, product, cycle)?;
    let until = until.map_or_else(String::new, |until| format!(", which is maintained until {until}"));
    let what = match *product {
        "linux-kernel" => format!("a kernel of {next}"),
        "kubernetes" | "amazon-eks" | "google-kubernetes-engine" | "azure-kubernetes-service" => format!("Kubernetes {next}"),
        _ if next.starts_with(product) => next,
        _ if scene.on_image() && !target.is_kernel() && target.component != "os" => format!("an image with {product} {next}"),
        _ if embedded(target) => format!("a release of {} with {product} {next}", target.vendor),
        _ => format!("{product} {next}"),
    };
    match support.state {
        SupportState::Eol => Some(format!("move to {what}{until}")),
        SupportState::ExtendedFree | SupportState::ExtendedPaid => {
            support.extended_ends.as_ref().map(|end| format!("move to {what} before {end}"))
        }
        _ => support.ends.as_ref().map(|end| format!("move to {what} before {end}")),
    }
}

fn leave(target: &Target) -> String {
    match target.component.as_str() {
        "kernel" | "os" => format!("move the node to a release of {} that is maintained", target.vendor),
        component => format!("move to a release of {component} that is maintained"),
    }
}

/// The next release to be on. Kubernetes moves one minor at a time and rarely skips: the first with time left. Elsewhere the one that
/// is maintained longest.
fn next(scene: &Scene<'_>, product: &str, cycle: &str) -> Option<(String, Option<Date>)> {
    let row = |cycle: &String| Some((cycle.clone(), scene.knowledge.cycle(product, cycle, scene.today)?));
    let maintained = |cycle: &String| {
        let found = scene.knowledge.cycle(product, cycle, scene.today)?;
        let day = found.row.eol.day();
        let left = day.map_or(i64::MAX, |day| days(scene.today, day));
        let known = !matches!(found.row.eol, End::Reached(true)) && (day.is_some() || found.row.lts);
        (found.standing == Standing::Supported && left > SOON_DAYS && known).then(|| (cycle.clone(), day))
    };
    let first = matches!(
        product,
        "kubernetes"
            | "amazon-eks"
            | "google-kubernetes-engine"
            | "azure-kubernetes-service"
            | "red-hat-openshift"
            | "cri-o"
            | "k3s"
            | "rke2"
    );
    let names = after(cycle);
    let mut later = names.iter().filter_map(maintained);
    let found = if first { later.next() } else { later.max_by_key(|(_, day)| *day) };
    // Where no end is announced, the newest is maintained longest.
    found.or_else(|| {
        let mut open = names.iter().filter_map(row).filter(|(_, found)| matches!(found.row.eol, End::Reached(false)));
        open.next_back().map(|(cycle, _)| (cycle, None))
    })
}

/// Names that later releases of a product could have, in order.
fn after(cycle: &str) -> Vec<String> {
    let digits = cycle.find(|c: char| c.is_ascii_digit()).unwrap_or(cycle.len());
    let (name, number) = cycle.split_at_checked(digits).unwrap_or((cycle, ""));
    match number.split_once('.') {
        None => {
            let Ok(major) = number.parse::<u32>() else { return Vec::new() };
            (1..=16).map(|step| format!("{name}{}", major.saturating_add(step))).collect()
        }
        // Ubuntu's numbers are dates.
        Some((year, "04" | "10")) if year.len() == 2 => {
            let Ok(year) = year.parse::<u32>() else { return Vec::new() };
            (1..=6).map(|step| format!("{name}{}.04", year.saturating_add(step))).collect()
        }
        Some((major, minor)) => {
            let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else { return Vec::new() };
            let same = (1..=24).map(|step| format!("{name}{major}.{}", minor.saturating_add(step)));
            let next = (1..=3).flat_map(|step| (0..=24).map(move |minor| (step, minor)));
            same.chain(next.map(|(step, minor)| format!("{name}{}.{minor}", major.saturating_add(step)))).collect()
        }
    }
}

/// What would settle what is open, or change the verdict.
pub(super) fn settles(scene: &Scene<'_>, target: &Target, link: &Link, found: Option<&Found>) -> String {
    let mut open = Vec::new();
    if let Some(Found { known, unsure, looked_up, .. }) = found {
        let (known, unsure) = (*known, *unsure);
        let missing = !looked_up || link.patch.unavailable().is_some();
        if !target.feed.is_empty() && !scene.imported(&target.feed) && (unsure > 0 || missing) {
            let of = if unsure > 0 { format!(", which decides {unsure} of {known} known vulnerabilities") } else { String::new() };
            open.push(format!("import {}{of}", target.feed));
        } else if unsure > 0 {
            open.push(format!("{unsure} of {known} known vulnerabilities cannot be decided: {}", super::vulnerability::why(scene, target)));
        }
    }
    if let Observed::Unavailable(why) = &link.activation
        && found.is_some()
    {
        open.push(format!("what a reboot or restart brings: {}", why.detail));
    }
    if let Some(support) = link.support.value()
        && support.state == SupportState::ExtendedPaid
    {
        open.push("whether extended support was bought".to_owned());
    }
    if let Some(found) = link.vulnerability.value()
        && found.state == VulnerabilityState::Livepatched
    {
        open.push("which fixes the active livepatch brings".to_owned());
    }
    let dates = [link.patch.value().map(|patch| patch.data_date.as_str()), link.support.value().map(|support| support.data_date.as_str())];
    let oldest = dates.into_iter().flatten().filter_map(|day| day.parse::<Date>().ok()).min();
    if let Some(age) = oldest.map(|day| days(day, scene.today)).filter(|age| *age > STALE_DAYS) {
        open.push(format!("newer data: some of this is of {age} days ago"));
    }
    open.join("; ")
}
