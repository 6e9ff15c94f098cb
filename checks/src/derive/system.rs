//! What follows from the host's settings: journald's defaults, who may make user namespaces, which kernels wait for a reboot.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::facts::{Kernel, Listing, Observed, Reason, Setting, Settings, Source, SourceKind, System};
use crate::versions::compare::rpm;

/// The largest journal that journald keeps by itself, whatever the file system's size.
const JOURNAL_CAP: i64 = 4 * 1024 * 1024 * 1024;
/// Architectures as rpm writes them at the end of a kernel's release.
const ARCHITECTURES: [&str; 5] = [".x86_64", ".aarch64", ".ppc64le", ".s390x", ".riscv64"];

/// What journald does where nothing says otherwise (`journald.conf(5)`). What it forwards to syslog differs by distribution and is
/// left unknown.
fn defaults() -> [(&'static str, Value, &'static str); 6] {
    [
        ("Storage", json!("auto"), "systemd"),
        ("SystemMaxUse", json!(JOURNAL_CAP), "systemd: a tenth of the file system, at most 4 GiB"),
        ("SystemMaxFiles", json!(100), "systemd"),
        ("MaxRetentionSec", json!(0), "systemd: no limit"),
        ("RateLimitIntervalSec", json!(30), "systemd"),
        ("RateLimitBurst", json!(10_000), "systemd"),
    ]
}

/// Adds journald's defaults, and what they make of the journal on disk.
pub(super) fn of_journal(system: &mut System) {
    let Observed::Known { value: settings, at, .. } = &mut system.journald else { return };
    for (name, value, place) in defaults() {
        settings.entry(name.to_owned()).or_insert_with(|| {
            let source = Source::new(SourceKind::Default, place);
            Observed::known(Setting { value, source: source.clone(), declared: Vec::new() }, source, *at)
        });
    }
    settings
        .entry("ForwardToSyslog".to_owned())
        .or_insert_with(|| Observed::unavailable_because(Reason::NotSupported, "not set, and distributions build in different defaults"));
    system.journal_persistent = persistent(settings, &system.journal_persistent);
}

/// A journal of earlier days may lie there though journald no longer writes it.
fn persistent(settings: &Settings, there: &Observed<bool>) -> Observed<bool> {
    match settings.get("Storage") {
        Some(Observed::Known { value, at, .. }) if matches!(value.value.as_str(), Some("volatile" | "none")) => {
            Observed::known(false, value.source.clone(), *at)
        }
        Some(Observed::Unavailable(why)) => Observed::Unavailable(why.clone()),
        _ => there.clone(),
    }
}

/// Adds what follows from the kernel's settings and from the kernels beside it.
pub(super) fn of_kernel(kernel: &mut Observed<Kernel>) {
    let Observed::Known { value: kernel, at, .. } = kernel else { return };
    kernel.unprivileged_user_namespaces = user_namespaces(kernel, *at);
    kernel.newer_installed = match &kernel.installed {
        Observed::Known { value, at, .. } => {
            let mut items: Vec<String> = value.items.iter().map(|one| one.release.clone()).collect();
            items.retain(|release| newer(release, &kernel.release));
            items.sort_by(|a, b| rpm(b, a));
            items.dedup();
            Observed::known(Listing { items, skipped: value.skipped.clone() }, Source::new(SourceKind::Derived, "installed kernels"), *at)
        }
        Observed::Unavailable(why) => Observed::Unavailable(why.clone()),
    };
}

/// Any one switch is enough to forbid it; that it is allowed is known only when every switch this kernel has was read.
fn user_namespaces(kernel: &Kernel, at: i64) -> Observed<bool> {
    let sysctls = &kernel.sysctls;
    // Without AppArmor its restriction restricts nothing.
    let by_apparmor = kernel.apparmor.value() == Some(&true);
    let switches = [
        ("user.max_user_namespaces", &sysctls.max_user_namespaces, 0, true),
        ("kernel.unprivileged_userns_clone", &sysctls.unprivileged_userns_clone, 0, true),
        ("kernel.apparmor_restrict_unprivileged_userns", &sysctls.apparmor_restrict_unprivileged_userns, 1, by_apparmor),
    ];
    let closed = switches.iter().find(|(_, value, closes, counts)| *counts && value.value() == Some(closes));
    if let Some((name, ..)) = closed {
        return Observed::known(false, Source::new(SourceKind::Kernel, *name), at);
    }
    let common = &sysctls.max_user_namespaces;
    // The others are patches of distributions: a kernel that has the common one and not these has no such switch.
    let unread = switches.iter().find_map(|(_, value, ..)| {
        let why = value.unavailable()?;
        (common.value().is_none() || why.reason != Reason::NotPresent).then_some(why)
    });
    match unread {
        Some(why) => Observed::Unavailable(why.clone()),
        None => Observed::known(true, Source::new(SourceKind::Kernel, "user.max_user_namespaces"), at),
    }
}

/// Is `release` a later kernel of the flavour and line of `running`: `6.8.0-60-generic` beside `6.8.0-51-generic`, not
/// `6.8.0-60-aws`.
fn newer(release: &str, running: &str) -> bool {
    let ((version, flavour), (before, of)) = (split(release), split(running));
    flavour == of && same_line(version, before) && rpm(version, before) == Ordering::Greater
}

/// Lines that a distribution maintains beside each other, under names of packages that a release does not show: Oracle's own kernel
/// beside Red Hat's, and Amazon's 6.1, 6.12 and 6.18. One does not follow another when the system is updated.
fn same_line(version: &str, before: &str) -> bool {
    let series = |version: &str| version.split(['.', '-']).take(2).map(str::to_owned).collect::<Vec<_>>();
    let uek = |version: &str| version.ends_with("uek");
    uek(version) == uek(before) && (!before.contains(".amzn") || series(version) == series(before))
}

/// A release's version and flavour: the words at its end that do not begin with a digit, or the architecture and what follows it.
fn split(release: &str) -> (&str, &str) {
    if let Some(at) = ARCHITECTURES.iter().find_map(|name| release.rfind(name)) {
        return release.split_at_checked(at).unwrap_or((release, ""));
    }
    let mut version = release;
    while let Some((before, word)) = version.rsplit_once('-')
        && word.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && before.contains('.')
    {
        // `6.9.1-arch1-1` ends in its package's number, `6.13.0-rc3` in that of a candidate.
        if word.starts_with("rc") {
            break;
        }
        version = before;
    }
    release.split_at_checked(version.len()).unwrap_or((release, ""))
}

#[cfg(test)]
mod tests;
