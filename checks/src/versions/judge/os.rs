//! The link of the system: its release's dates, the age of its image where it is one, and reboots that wait for more than a kernel.
//!
//! Packages beside the kernel and the runtimes are not judged, so a system made of packages never counts as patched.

use super::activation::{Sentinel, day};
use super::support::support;
use super::target::{Target, Upstream};
use super::{Scene, headline, observed_at};
use crate::facts::{Observed, Os, Reason, Source, SourceKind, Unavailable};
use crate::versions::ecosystem::feed;
use crate::versions::kernel::product_of;
use crate::versions::{Activation, ActivationState, Link, Patch, PatchState};

/// Judges the system.
pub(super) fn judge(scene: &Scene<'_>) -> Observed<Link> {
    let at = observed_at(&scene.facts.os);
    let os = match &scene.facts.os {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
    };
    let target = target(os, at);
    let mut link = target.link();
    link.support = support(scene, &target);
    link.patch = image_age(scene, os, &target);
    link.vulnerability = Observed::unavailable_because(Reason::NotSupported, "packages beside the kernel and the runtimes are not judged");
    link.activation = activation(scene, at);
    link.installed = Observed::unavailable_because(Reason::NotSupported, "a system has no other version beside it");
    headline::settle(scene, &target, &mut link, None);
    Observed::known(link, Source::new(SourceKind::Derived, "os-release and version knowledge"), at)
}

fn target(os: &Os, at: i64) -> Target {
    let named = if os.version_id.is_empty() { os.id.clone() } else { format!("{} {}", os.id, os.version_id) };
    let running = if os.pretty_name.is_empty() { named.clone() } else { os.pretty_name.clone() };
    Target {
        subject: "os".to_owned(),
        component: "os".to_owned(),
        running,
        vendor: if os.id.is_empty() { "unlisted".to_owned() } else { os.id.clone() },
        tracks_upstream: false,
        series: os.version_id.clone(),
        upstream: Upstream::silent(),
        package: None,
        questions: Vec::new(),
        feed: feed(os).unwrap_or_default(),
        stream: None,
        family: None,
        flavour: String::new(),
        rows: product_of(os).into_iter().collect(),
        no_rows: Unavailable::new(Reason::NotSupported, format!("the lifecycle data does not cover {named}")),
        newest: product_of(os).into_iter().collect(),
        at,
    }
}

/// An image by its own number against the newest of its release; a release with minor ones by those.
fn image_age(scene: &Scene<'_>, os: &Os, target: &Target) -> Observed<Patch> {
    let unknown = |detail: String| Observed::unavailable_because(Reason::NotSupported, detail);
    let Some((product, cycle)) = target.newest.first() else {
        return unknown(format!("the newest release of {} is not in any data", target.running));
    };
    let Some(version) = image(os) else {
        return unknown(if os.fields.contains_key("OSTREE_VERSION") {
            format!("the newest image of {} is not in any data", target.running)
        } else {
            format!("{} is made of packages and has no patch level of its own", target.running)
        });
    };
    let Some(behind) = scene.knowledge.behind(product, cycle, &version) else {
        return unknown(format!("the newest image of {product} {cycle} is not in the data of {}", scene.knowledge.as_of()));
    };
    let overtaken = behind.overtaken.map(|day| super::days(day, scene.today).max(0));
    let (state, days) = match behind.order {
        std::cmp::Ordering::Less => (PatchState::Behind, overtaken),
        std::cmp::Ordering::Equal => (PatchState::Current, Some(0)),
        std::cmp::Ordering::Greater => (PatchState::AheadOfData, Some(0)),
    };
    let patch = Patch {
        state,
        days,
        releases: if state == PatchState::Behind { behind.releases } else { Some(0) },
        newest: behind.newest,
        newest_date: behind.newest_date.map(|day| day.to_string()),
        data_date: behind.as_of.to_string(),
        source: behind.source.clone(),
    };
    Observed::known(patch, Source::new(SourceKind::Derived, format!("{}, data of {}", behind.source, behind.as_of)), target.at)
}

/// The number of an image, as the lifecycle data writes it; `None` for a release whose packages are updated one by one.
fn image(os: &Os) -> Option<String> {
    let build = os.fields.get("BUILD_ID").map(String::as_str).unwrap_or_default();
    match os.id.as_str() {
        "cos" if !build.is_empty() => Some(format!("cos-{}-{}", os.version_id, build.replace('.', "-"))),
        // Their minor releases end with the next one: who stays gets nothing more.
        "almalinux" | "rocky" | "alpine" if os.version_id.contains('.') => Some(os.version_id.clone()),
        "flatcar" | "talos" | "bottlerocket" if !os.version_id.is_empty() => Some(os.version_id.clone()),
        _ => None,
    }
}

/// A reboot that waits for whatever it is that was updated.
fn activation(scene: &Scene<'_>, at: i64) -> Observed<Activation> {
    let kernel = match &scene.facts.kernel {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
    };
    let staged = kernel.deployment.value().and_then(|deployment| Some((deployment, deployment.staged.as_ref()?)));
    let (since, because) = match (Sentinel::find(kernel), staged) {
        (_, Some((deployment, staged))) => {
            (None, format!("another image {staged} is staged, {} runs", deployment.booted).replace("  ", " "))
        }
        (Some(found), None) => (Some(found.since), found.text),
        (None, None) => {
            let booted = kernel.boot_time.value().map_or_else(String::new, |boot| format!(" (booted {})", day(*boot)));
            let detail = format!("nothing says that a reboot waits{booted}, which proves nothing");
            return Observed::unavailable_because(Reason::NotSupported, detail);
        }
    };
    let activation = Activation { state: ActivationState::RebootPending, since, because, security: None };
    Observed::known(activation, Source::new(SourceKind::Derived, "reboot sentinels"), at)
}
