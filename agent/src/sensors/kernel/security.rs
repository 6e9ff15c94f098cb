//! Security modules and lockdown.
//!
//! A file that is not there says "no such module" only where its directory's parent is there: a tree without `/sys` says nothing.

use holdfast_checks::facts::{Observed, Selinux, Source, SourceKind};

use super::{Place, now, parsed, text};
use crate::host::Host;

pub(super) fn lsms(host: &Host) -> Observed<Vec<String>> {
    let list = text(host, Place::Host, "/sys/kernel/security/lsm");
    list.map(|list| list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

pub(super) fn apparmor(host: &Host) -> Observed<bool> {
    let path = "/sys/module/apparmor/parameters/enabled";
    let enabled = parsed(text(host, Place::Host, path), path, |text| match text {
        "Y" => Some(true),
        "N" => Some(false),
        _ => None,
    });
    absent_means(enabled, host, "/sys/module", false)
}

/// A kernel that was built without signatures has no such parameter; one that was built without modules loads none.
pub(super) fn module_signatures(host: &Host) -> Observed<bool> {
    if host.root.list("/sys/module").is_ok_and(|entries| !entries.is_empty())
        && host.proc.root().metadata("modules").is_err_and(|error| error.is_absent())
    {
        return Observed::known(true, Source::new(SourceKind::Kernel, "no /proc/modules"), now());
    }
    let path = "/sys/module/module/parameters/sig_enforce";
    let enforced = parsed(text(host, Place::Host, path), path, |text| match text {
        "Y" => Some(true),
        "N" => Some(false),
        _ => None,
    });
    absent_means(enforced, host, "/sys/module", false)
}

pub(super) fn selinux(host: &Host) -> Observed<Selinux> {
    let path = "/sys/fs/selinux/enforce";
    let read = parsed(text(host, Place::Host, path), path, |text| match text {
        "0" => Some(Selinux { enabled: true, enforcing: false }),
        "1" => Some(Selinux { enabled: true, enforcing: true }),
        _ => None,
    });
    // The directory is there when the module is, even where its file system is not mounted.
    if read.value().is_none() && host.root.metadata("/sys/fs/selinux").is_ok() {
        return read;
    }
    absent_means(read, host, "/sys/fs", Selinux { enabled: false, enforcing: false })
}

pub(super) fn seccomp(host: &Host) -> Observed<bool> {
    let actions = text(host, Place::Proc, "sys/kernel/seccomp/actions_avail").map(|_| true);
    if actions.value().is_some() {
        return actions;
    }
    let pids = host.proc.pids().unwrap_or_default();
    match pids.into_iter().find_map(|pid| host.proc.process(pid).ok()?.read("status").ok()) {
        Some(status) => {
            let filters = String::from_utf8_lossy(&status).lines().any(|line| line.starts_with("Seccomp:"));
            Observed::known(filters, Source::new(SourceKind::Kernel, "a process's status"), now())
        }
        None => actions,
    }
}

/// `none [integrity] confidentiality`: the one in brackets.
pub(super) fn lockdown(host: &Host) -> Observed<String> {
    let path = "/sys/kernel/security/lockdown";
    let mode = parsed(text(host, Place::Host, path), path, |text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned()));
    // Where the module is not among the active ones nothing locks the kernel down.
    absent_means(mode, host, "/sys/kernel/security", "none".to_owned())
}

/// Where `read` found nothing but `beside` is there and readable, the answer is `value`.
fn absent_means<T>(read: Observed<T>, host: &Host, beside: &str, value: T) -> Observed<T> {
    let absent = read.unavailable().is_some_and(|why| why.reason == holdfast_checks::facts::Reason::NotPresent);
    if absent && host.root.list(beside).is_ok_and(|entries| !entries.is_empty()) {
        return Observed::known(value, Source::new(SourceKind::Kernel, beside), now());
    }
    read
}
