//! Is what is installed also what runs: kernels by their list, builds, boot entry and sentinels; daemons by their replaced files.
//!
//! An image-based system has no list, and the absence of a sentinel proves nothing there. Uptime is never a verdict.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::facts::{Executable, InstalledKernel, Kernel, Observed, Os, Reason, RebootSentinel, Source, SourceKind, Unavailable};
use crate::versions::{Activation, ActivationState, Family, Identity, KernelStrings, compare, identify};

/// What a reboot or a restart brings.
#[derive(Debug)]
pub(super) struct Activated {
    /// The axis.
    pub activation: Observed<Activation>,
    /// The newest that is installed.
    pub installed: Observed<String>,
    /// What waits, where its identity is known: release and build string.
    pub waits: Option<(String, String)>,
}

/// A kernel that is installed, and whose it is.
struct Candidate<'a> {
    installed: &'a InstalledKernel,
    identity: Identity,
}

/// Unix seconds as a day.
pub(super) fn day(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_zoned(TimeZone::UTC).date().to_string())
}

/// Judges the running kernel against those installed.
pub(super) fn of_kernel(kernel: &Kernel, os: Option<&Os>, identity: &Identity, at: i64) -> Activated {
    let sentinel = Sentinel::find(kernel);
    if let Some(image) = image_based(kernel, os, identity) {
        return of_image(kernel, &image, sentinel.as_ref(), at);
    }
    let unavailable = |why: &Unavailable| match &sentinel {
        Some(found) if found.about_kernel || found.unsaid => Activated {
            activation: pending(ActivationState::RebootPending, Some(found.since), found.text.clone(), at),
            installed: Observed::Unavailable(why.clone()),
            waits: None,
        },
        _ => Activated { activation: Observed::Unavailable(why.clone()), installed: Observed::Unavailable(why.clone()), waits: None },
    };
    let listing = match &kernel.installed {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return unavailable(why),
    };
    let running_line = line(identity);
    let candidates = listing.items.iter().map(|installed| Candidate { installed, identity: identity_of(installed, os) });
    let of_line =
        |one: &Candidate<'_>| one.installed.release == kernel.release || line(&one.identity) == running_line || derived(kernel, one);
    let newest = candidates.filter(of_line).reduce(|newest, one| if order(&one, &newest).is_gt() { one } else { newest });
    let running = Candidate { installed: &InstalledKernel::unread(kernel.release.clone(), ""), identity: identity.clone() };
    match newest {
        Some(newest) if newest.installed.release != kernel.release && order(&newest, &running).is_gt() => {
            newer(kernel, &newest, sentinel.as_ref(), at)
        }
        _ => same(kernel, identity, sentinel.as_ref(), at).unwrap_or_else(|why| unavailable(&why)),
    }
}

/// Another release is installed, and it is newer.
fn newer(kernel: &Kernel, newest: &Candidate<'_>, sentinel: Option<&Sentinel>, at: i64) -> Activated {
    let release = &newest.installed.release;
    let since = sentinel.filter(|found| found.about_kernel).map(|found| found.since).or(newest.installed.modified.value().copied());
    let installed = since.map_or_else(String::new, |since| format!(" since {}", day(since)));
    let booted = kernel.boot_time.value().map_or_else(String::new, |boot| format!(" since {}", day(*boot)));
    let mut because = format!("{release} is installed{installed}, {} runs{booted}", kernel.release);
    let state = match kernel.boot_default.value() {
        Some(entry) if entry.release != *release => {
            because = format!("{because}; the boot loader starts {} by default ({})", entry.release, entry.path);
            ActivationState::NewerNotSelected
        }
        _ => ActivationState::RebootPending,
    };
    if let Some(found) = sentinel {
        because = format!("{because}; {}", found.text);
    }
    let build = newest.installed.build.value().cloned().unwrap_or_default();
    Activated {
        activation: pending(state, since, because, at),
        installed: derived_text(release.clone(), at),
        waits: Some((release.clone(), build)),
    }
}

/// No other release is newer: is the build on disk the one that runs.
fn same(kernel: &Kernel, identity: &Identity, sentinel: Option<&Sentinel>, at: i64) -> Result<Activated, Unavailable> {
    let unknown = |detail: String| Unavailable::new(Reason::NotSupported, detail);
    let Some(listing) = kernel.installed.value() else { return Err(unknown("installed kernels are not known".to_owned())) };
    let mine: Vec<&InstalledKernel> = listing.items.iter().filter(|one| one.release == kernel.release).collect();
    if mine.is_empty() {
        let detail = format!("the running kernel {} is not among those installed: what a reboot starts is not known", kernel.release);
        return Err(unknown(detail));
    }
    let builds = || mine.iter().filter_map(|one| one.build.value().map(|build| (*one, build)));
    let other = builds().find(|(_, build)| !kernel.version.is_empty() && !same_build(build, &kernel.version));
    if let Some((one, build)) = other {
        let since = one.modified.value().copied();
        let on_disk = identify(&KernelStrings { release: &kernel.release, version: build, signature: None, os: None });
        let package = on_disk.package.filter(|package| package.complete).map_or_else(|| build.clone(), |package| package.text);
        let because = format!("another build of {} is on disk: {build}; {} runs", kernel.release, kernel.version);
        return Ok(Activated {
            activation: pending(ActivationState::RebootPending, since, because, at),
            installed: derived_text(format!("{} ({package})", kernel.release), at),
            waits: Some((kernel.release.clone(), build.clone())),
        });
    }
    let confirmed = builds().next().is_some() && !kernel.version.is_empty();
    if let Some(found) = sentinel.filter(|found| found.about_kernel || (found.unsaid && !confirmed)) {
        return Ok(Activated {
            activation: pending(ActivationState::RebootPending, Some(found.since), found.text.clone(), at),
            installed: Observed::Unavailable(unknown("a reboot waits, and no other kernel is listed".to_owned())),
            waits: None,
        });
    }
    // Releases of rpm's world name the build. Elsewhere several builds share a name, and only the file's age tells.
    let shared = matches!(identity.family, Family::Ubuntu | Family::Debian | Family::DebianBackports | Family::Proxmox);
    let written = mine.iter().filter_map(|one| one.modified.value()).max();
    if let (false, true, Some(written), Some(boot)) = (confirmed, shared, written, kernel.boot_time.value())
        && written > boot
    {
        let because = format!(
            "the image or modules of {} were written on {}, after the boot of {}: probably another build (its build string was not read)",
            kernel.release,
            day(*written),
            day(*boot)
        );
        return Ok(Activated {
            activation: pending(ActivationState::RebootPending, Some(*written), because, at),
            installed: Observed::Unavailable(unknown("the build on disk was not read".to_owned())),
            waits: None,
        });
    }
    if !listing.skipped.is_empty() {
        return Err(Unavailable::new(Reason::NotSupported, "the list of installed kernels is incomplete"));
    }
    if shared && !confirmed && (written.is_none() || kernel.boot_time.value().is_none()) {
        let detail = format!("several builds share the name {}, and which of them is on disk was not read", kernel.release);
        return Err(unknown(detail));
    }
    let mut because = format!("{} is the newest installed of its line", kernel.release);
    if let Some(entry) = kernel.boot_default.value().filter(|entry| entry.release != kernel.release) {
        because = format!("{because}; the boot loader starts {} by default ({})", entry.release, entry.path);
    }
    if let Some(found) = sentinel {
        because = format!("{because}; {}", found.text);
    }
    let activation = Activation { state: ActivationState::Active, since: None, because, security: Some(false) };
    Ok(Activated { activation: derived_fact(activation, at), installed: derived_text(kernel.release.clone(), at), waits: None })
}

/// A system that is updated as one image: what it is called.
fn image_based(kernel: &Kernel, os: Option<&Os>, identity: &Identity) -> Option<String> {
    if let Some(deployment) = kernel.deployment.value() {
        return Some(deployment.kind.clone());
    }
    // The last ones are updated in a new snapshot of their root, which the running one does not show.
    let known = ["bottlerocket", "talos", "cos", "flatcar", "sle-micro", "sl-micro", "opensuse-microos", "opensuse-leap-micro"];
    let by_os = os.filter(|os| known.contains(&os.id.as_str()) || os.fields.contains_key("OSTREE_VERSION")).map(|os| os.id.clone());
    let by_kernel = matches!(identity.family, Family::Bottlerocket | Family::Talos | Family::Cos | Family::Flatcar);
    by_os.or(by_kernel.then(|| identity.family.name().to_owned()))
}

fn of_image(kernel: &Kernel, kind: &str, sentinel: Option<&Sentinel>, at: i64) -> Activated {
    let why =
        format!("{kind} is updated as one image and has no list of installed kernels: nothing on the node tells what a reboot starts");
    let installed = || Observed::unavailable_because(Reason::NotSupported, why.clone());
    if let Some(deployment) = kernel.deployment.value()
        && let Some(staged) = &deployment.staged
    {
        let named = if staged.is_empty() { "another image".to_owned() } else { format!("image {staged}") };
        let because = format!("{named} is staged, {} runs", deployment.booted);
        let installed = if staged.is_empty() { installed() } else { derived_text(staged.clone(), at) };
        return Activated {
            activation: pending(ActivationState::RebootPending, sentinel.map(|found| found.since), because, at),
            installed,
            waits: None,
        };
    }
    let activation = match sentinel {
        Some(found) => pending(ActivationState::RebootPending, Some(found.since), found.text.clone(), at),
        None => Observed::unavailable_because(Reason::NotSupported, why.clone()),
    };
    Activated { activation, installed: installed(), waits: None }
}

/// A daemon: its file was replaced since it started.
pub(super) fn of_daemon(executable: &Observed<Executable>, version: &Observed<String>, installed: &Observed<String>, at: i64) -> Activated {
    let executable = match executable {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => {
            return Activated { activation: Observed::Unavailable(why.clone()), installed: installed.clone(), waits: None };
        }
    };
    if !executable.replaced {
        let activation = Activation {
            state: ActivationState::Active,
            since: None,
            because: format!("{} is the file that runs", executable.path),
            security: Some(false),
        };
        let installed = installed.value().or(version.value()).cloned();
        let installed = installed.map_or_else(|| version.clone(), |installed| derived_text(installed, at));
        return Activated { activation: derived_fact(activation, at), installed, waits: None };
    }
    let because = match (installed.value(), version.value()) {
        (Some(new), Some(old)) if new == old => format!("{} was replaced by another build of {new} since it started", executable.path),
        (Some(new), Some(old)) => format!("{} was replaced since it started: {new} is on disk, {old} runs", executable.path),
        (Some(new), None) => format!("{} was replaced since it started: {new} is on disk", executable.path),
        (None, _) => format!("{} was replaced or removed since it started; the version on disk is not known", executable.path),
    };
    Activated {
        activation: pending(ActivationState::RestartPending, None, because, at),
        installed: installed.clone(),
        waits: installed.value().map(|new| (new.clone(), String::new())),
    }
}

/// A program that is started for each container: what is installed is what the next one gets.
pub(super) fn of_program(version: &str, at: i64) -> Activated {
    let activation = Activation {
        state: ActivationState::Active,
        since: None,
        because: "started anew for each container".to_owned(),
        security: Some(false),
    };
    Activated { activation: derived_fact(activation, at), installed: derived_text(version.to_owned(), at), waits: None }
}

/// The sentinels together: what asks for a reboot, since when, for what.
pub(super) struct Sentinel {
    /// Since when, Unix seconds.
    pub since: i64,
    /// In words.
    pub text: String,
    /// One of its packages is a kernel's.
    pub about_kernel: bool,
    /// It names no package.
    pub unsaid: bool,
}

impl Sentinel {
    /// The oldest of those that are there.
    pub(super) fn find(kernel: &Kernel) -> Option<Self> {
        let listing = kernel.reboot_sentinels.value()?;
        let first = listing.items.iter().min_by_key(|one| one.since)?;
        let mut packages: Vec<&str> = listing.items.iter().flat_map(|one: &RebootSentinel| &one.packages).map(String::as_str).collect();
        packages.sort_unstable();
        packages.dedup();
        let kernels = ["linux-image", "linux-base", "linux-modules", "kernel"];
        let about_kernel = packages.iter().any(|package| kernels.iter().any(|kernel| package.starts_with(kernel)));
        let shown = packages.iter().take(4).copied().collect::<Vec<_>>().join(", ");
        let more = packages.len().saturating_sub(4);
        let reason = match (packages.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!(" for {shown}"),
            (false, more) => format!(" for {shown} and {more} more"),
        };
        let text = format!("{} of {} asks for a reboot{reason}", first.path, day(first.since));
        Some(Self { since: first.since, text, about_kernel, unsaid: packages.is_empty() })
    }
}

fn identity_of(installed: &InstalledKernel, os: Option<&Os>) -> Identity {
    let version = installed.build.value().map_or("", String::as_str);
    identify(&KernelStrings { release: &installed.release, version, signature: None, os })
}

/// Kernels that replace each other: of one builder and flavour, and where a distribution keeps several series under several names, of
/// one series.
fn line(identity: &Identity) -> (Family, &str, &str) {
    let series = if matches!(identity.family, Family::Amazon | Family::AzureLinux | Family::Uek) { identity.series.as_str() } else { "" };
    (identity.family, identity.flavour.as_str(), series)
}

/// Of two releases that no rule knows, derivation may say that one replaces the other.
fn derived(kernel: &Kernel, one: &Candidate<'_>) -> bool {
    one.identity.family == Family::Unlisted
        && kernel.newer_installed.value().is_some_and(|newer| newer.items.contains(&one.installed.release))
}

/// By package versions where both are whole, else by the releases' names.
fn order(a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    let whole = |one: &Candidate<'_>| one.identity.package.clone().filter(|package| package.complete);
    if let (Some(a), Some(b)) = (whole(a), whole(b))
        && a.scheme == b.scheme
    {
        return a.scheme.compare(&a.text, &b.text);
    }
    compare::rpm(&a.installed.release, &b.installed.release)
}

/// The kernel's own memory of its build string ends after 64 characters.
fn same_build(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    !a.is_empty() && !b.is_empty() && (a.starts_with(b) || b.starts_with(a))
}

fn pending(state: ActivationState, since: Option<i64>, because: String, at: i64) -> Observed<Activation> {
    derived_fact(Activation { state, since, because, security: None }, at)
}

fn derived_text(text: String, at: i64) -> Observed<String> {
    derived_fact(text, at)
}

fn derived_fact<T>(value: T, at: i64) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Derived, "what is installed and what runs"), at)
}
