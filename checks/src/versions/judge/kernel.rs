//! The link of the running kernel: whose it is, and what each axis says of it. Only the running one counts.

use super::activation::{Activated, of_kernel};
use super::target::{Stream, Target, Upstream};
use super::{Scene, observed_at};
use crate::facts::{Kernel, Observed, Os, Reason, Source, SourceKind, Unavailable};
use crate::versions::compare;
use crate::versions::ecosystem::{about_kernel, feed};
use crate::versions::kernel::product_of;
use crate::versions::{Base, Confidence, Family, Identity, KernelStrings, Link, identify};

/// The product name of upstream's series.
pub(super) const UPSTREAM: &str = "linux-kernel";

/// Judges the running kernel.
pub(super) fn judge(scene: &Scene<'_>) -> Observed<Link> {
    let at = observed_at(&scene.facts.kernel);
    let running = match &scene.facts.kernel {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
    };
    let os = scene.facts.os.value();
    let signature = running.signature.value().map(String::as_str);
    let identity = identify(&KernelStrings { release: &running.release, version: &running.version, signature, os });
    let target = target(scene, running, &identity, &running.release, at);
    let activated = of_kernel(running, os, &identity, at);
    let waits = waits(scene, &activated, at);
    let livepatched = running.livepatches.value().is_some_and(|names| !names.is_empty());
    let link = super::assemble(scene, &target, activated, waits.as_ref(), None, livepatched);
    Observed::known(link, Source::new(SourceKind::Derived, "kernel identity and version knowledge"), at)
}

/// What is installed and waits, judged like what runs.
fn waits(scene: &Scene<'_>, activated: &Activated, at: i64) -> Option<Target> {
    let (release, build) = activated.waits.as_ref()?;
    let waiting =
        Kernel { package: Observed::unavailable_because(Reason::NotSupported, "another kernel's"), ..Kernel::unread(release, build) };
    let strings = KernelStrings { release, version: build, signature: None, os: scene.facts.os.value() };
    let identity = identify(&strings);
    Some(target(scene, &waiting, &identity, release, at))
}

/// What a kernel's identity means to records.
fn target(scene: &Scene<'_>, kernel: &Kernel, identity: &Identity, release: &str, at: i64) -> Target {
    let os = &scene.facts.os;
    let package = kernel.package.value();
    let complete = identity.package.as_ref().filter(|package| package.complete).map(|package| (package.text.clone(), package.scheme));
    let (rows, no_rows) = match rows(identity, os, release) {
        Ok(rows) => (rows, Unavailable::new(Reason::NotSupported, "")),
        Err(why) => (Vec::new(), why),
    };
    let own = os.value().filter(|os| identity.family.distributions().contains(&os.id.as_str()));
    let tracks = identity.family.tracks_stable();
    Target {
        subject: "kernel".to_owned(),
        component: "kernel".to_owned(),
        running: release.to_owned(),
        vendor: identity.family.name().to_owned(),
        tracks_upstream: tracks,
        series: identity.series.clone(),
        upstream: upstream(identity, release),
        package: complete,
        questions: own.map_or_else(Vec::new, |os| about_kernel(identity, os, package)),
        feed: own.and_then(feed).unwrap_or_default(),
        stream: stream(identity, os.value()),
        family: Some(identity.family),
        flavour: identity.flavour.clone(),
        rows,
        no_rows,
        newest: if tracks { vec![(UPSTREAM, identity.series.clone())] } else { Vec::new() },
        at,
    }
}

/// What upstream's numbers tell of a family's kernel.
fn upstream(identity: &Identity, release: &str) -> Upstream {
    let family = identity.family;
    let exact = identity.upstream.clone();
    match (family, family.base()) {
        (Family::Prerelease, _) => Upstream { version: exact, exact: true, below: Some(Confidence::Likely), clears: true },
        // Somebody's own build of about this release.
        (Family::Unlisted, _) => Upstream {
            version: compare::upstream(release).map(|version| version.to_string()),
            exact: false,
            below: Some(Confidence::Possible),
            clears: false,
        },
        (_, Base::Divergent) => Upstream::silent(),
        (_, base) => match exact {
            Some(exact) => {
                // Debian ships upstream's releases and adds little; Ubuntu picks much.
                let debian = matches!(family, Family::Debian | Family::DebianBackports | Family::RaspberryPi);
                let below = if debian { Some(Confidence::Likely) } else { base.affected_below() };
                Upstream { version: Some(exact), exact: true, below, clears: base.fixed_above() }
            }
            None if identity.series.is_empty() => Upstream::silent(),
            None => Upstream {
                version: Some(format!("{}.0", identity.series)),
                exact: false,
                below: Some(Confidence::Possible),
                clears: base.fixed_above(),
            },
        },
    }
}

fn stream(identity: &Identity, os: Option<&Os>) -> Option<Stream> {
    if identity.family != Family::EnterpriseLinux || identity.stream.is_empty() {
        return None;
    }
    let id = os.map(|os| os.id.as_str()).unwrap_or_default();
    // CentOS Stream runs ahead and numbers on its own; Oracle's builds are Oracle's.
    let listed = match id {
        "rhel" | "rhcos" | "rocky" | "almalinux" => true,
        "centos" => !os.and_then(|os| os.fields.get("NAME")).is_some_and(|name| name.contains("Stream")),
        _ => false,
    };
    let minor = identity.stream.split_once('_').and_then(|(_, minor)| minor.parse::<u32>().ok());
    let extended = id == "rhcos" || (id == "rhel" && minor.is_some_and(|minor| minor.is_multiple_of(2)));
    Some(Stream { name: identity.stream.clone(), listed, extended, same_builds: id == "almalinux" })
}

/// By whose dates a kernel is judged: its distribution's, upstream's series only where the family ships upstream's releases as they
/// are.
fn rows(identity: &Identity, os: &Observed<Os>, release: &str) -> Result<Vec<(&'static str, String)>, Unavailable> {
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
    let tracks = identity.family.tracks_stable() && identity.upstream.is_some();
    let series = || (UPSTREAM, identity.series.clone());
    match identity.family {
        Family::Unlisted => {
            Err(unsupported(format!("kernel {release} is not one of {on}: nothing tells who maintains it, or its patch level")))
        }
        Family::Prerelease => Err(unsupported(format!("kernel {release} is a release candidate, which has no support dates"))),
        Family::DebianBackports => Err(unsupported(format!("kernel {release} is a backport, which the dates of {on} do not cover"))),
        _ if own.is_empty() && !identity.family.tracks_stable() => {
            Err(unsupported(format!("kernel {release} is of the family {name}, whose support dates are not in the built-in data")))
        }
        _ => match product_of(os).filter(|_| !own.is_empty()) {
            Some(found) => Ok(std::iter::once(found).chain(tracks.then(series)).collect()),
            None if tracks => Ok(vec![series()]),
            None => Err(unsupported(format!("the release of {on} is not known, so its support dates cannot be looked up"))),
        },
    }
}
