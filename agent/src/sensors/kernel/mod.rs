//! The running kernel, its settings, and the kernels installed beside it.
//!
//! Each fact is read on its own and says on its own why it is not known. Must not know which kernel is good.

mod boot;
mod deployment;
mod features;
mod image;
mod installed;
mod loader;
mod security;
mod sysctls;

use holdfast_checks::facts::{CpuVulnerability, Kernel, Listing, Observed, Reason, Source, SourceKind, Swap};

use super::packages::Packages;
use super::{now, os};
use crate::host::{Host, ReadError};

/// Reads the kernel group. Without a release nothing else of it would mean anything.
pub(super) fn read(host: &Host, packages: &Packages) -> Observed<Kernel> {
    let (release, version, source) = match identity(host) {
        Ok(identity) => identity,
        Err(error) => return error.observed(),
    };
    let command_line = text(host, Place::Proc, "cmdline").map(|line| line.split_ascii_whitespace().map(str::to_owned).collect());
    let next = loader::next(&host.root);
    let kernel = Kernel {
        signature: text(host, Place::Proc, "version_signature"),
        package: packages.named(&host.root, &package_names(&release), &format!("the kernel {release}")),
        boot_time: boot::time(host),
        sysctls: sysctls::read(host),
        lsms: security::lsms(host),
        apparmor: security::apparmor(host),
        selinux: security::selinux(host),
        seccomp: security::seccomp(host),
        lockdown: security::lockdown(host),
        module_signatures: security::module_signatures(host),
        taint: number(host, "sys/kernel/tainted"),
        cpu_vulnerabilities: cpu_vulnerabilities(host),
        swaps: swaps(host),
        installed: installed::read(host, &release),
        reboot_sentinels: boot::sentinels(host),
        boot_default: loader::entry(&host.root, &next),
        deployment: deployment::read(host, &os::read(host), &command_line, &next),
        livepatches: boot::livepatches(host),
        features: features::read(host, &release),
        cgroup: cgroup(host),
        command_line,
        ..Kernel::unread(release, version)
    };
    Observed::known(kernel, source, now())
}

/// `uname`: the kernel's own, or the recording's. A tree without one may have it under `sys/kernel`.
fn identity(host: &Host) -> Result<(String, String, Source), ReadError> {
    if let Some(uname) = host.recording.as_ref().and_then(|recording| recording.uname.as_ref()) {
        let source = Source::new(SourceKind::Recorded, crate::host::RECORDING_FILE);
        return Ok((uname.release.clone(), uname.version.clone(), source));
    }
    if host.live()
        && let Ok(uname) = nix::sys::utsname::uname()
    {
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        return Ok((text(uname.release()), text(uname.version()), Source::new(SourceKind::Kernel, "uname")));
    }
    let read = |path: &str| host.proc.root().read_text(path).map(|text| text.trim().to_owned());
    let version = read("sys/kernel/version").unwrap_or_default();
    Ok((read("sys/kernel/osrelease")?, version, Source::new(SourceKind::Kernel, "/proc/sys/kernel/osrelease")))
}

/// What the package of a kernel of this release is called: by Debian and Ubuntu, and by Proxmox.
fn package_names(release: &str) -> [String; 5] {
    [
        format!("linux-image-{release}"),
        format!("linux-image-unsigned-{release}"),
        format!("proxmox-kernel-{release}-signed"),
        format!("proxmox-kernel-{release}"),
        format!("pve-kernel-{release}"),
    ]
}

/// The version of control groups by what is mounted where they are: the second has its list of controllers at the top.
fn cgroup(host: &Host) -> Observed<i64> {
    let directory = "/sys/fs/cgroup";
    let version = |version| Observed::known(version, Source::new(SourceKind::Kernel, directory), now());
    match host.root.stamp(&format!("{directory}/cgroup.controllers")) {
        Ok(_) => version(2),
        Err(error) if error.is_absent() => match host.root.stamp(&format!("{directory}/memory")) {
            Ok(_) => version(1),
            Err(error) => error.observed(),
        },
        Err(error) => error.observed(),
    }
}

/// Which root a kernel file is below.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// `<proc>`.
    Proc,
    /// The host root, for `/sys`.
    Host,
}

/// A small file's text, trimmed.
fn text(host: &Host, place: Place, path: &str) -> Observed<String> {
    let (root, shown) = match place {
        Place::Proc => (host.proc.root(), format!("/proc/{path}")),
        Place::Host => (&host.root, path.to_owned()),
    };
    match root.read_text(path) {
        Ok(text) => Observed::known(text.trim().to_owned(), Source::new(SourceKind::Kernel, shown), now()),
        Err(error) => error.observed(),
    }
}

/// A number below `<proc>`.
fn number(host: &Host, path: &str) -> Observed<i64> {
    parsed(text(host, Place::Proc, path), path, |text| text.parse().ok())
}

fn parsed<T>(text: Observed<String>, path: &str, parse: impl FnOnce(&str) -> Option<T>) -> Observed<T> {
    match text {
        Observed::Known { value, source, at } => match parse(&value) {
            Some(value) => Observed::Known { value, source, at },
            None => Observed::unavailable_because(Reason::Malformed, format!("{path}: not what the kernel writes there")),
        },
        Observed::Unavailable(why) => Observed::Unavailable(why),
    }
}

fn cpu_vulnerabilities(host: &Host) -> Observed<Listing<CpuVulnerability>> {
    let directory = "/sys/devices/system/cpu/vulnerabilities";
    let entries = match host.root.list(directory) {
        Ok(entries) => entries,
        Err(error) => return error.observed(),
    };
    let mut listing = Listing::complete(Vec::new());
    for name in entries.into_iter().map(|entry| entry.name) {
        match host.root.read_text(&format!("{directory}/{name}")) {
            Ok(status) => {
                listing.items.push(CpuVulnerability { subject: format!("cpu:{name}"), name, status: status.trim().to_owned() });
            }
            Err(error) => listing.skipped.push(error.skipped(name)),
        }
    }
    Observed::known(listing, Source::new(SourceKind::Kernel, directory), now())
}

/// GRUB's menu.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    loader::fuzz(text);
}

fn swaps(host: &Host) -> Observed<Listing<Swap>> {
    // Blanks in a path are written as octal escapes, so that columns hold.
    let swap = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let (path, kind, size) = (columns.next()?, columns.next()?, columns.next()?);
        Some(Swap { path: path.to_owned(), kind: kind.to_owned(), size_kib: size.parse().ok()? })
    };
    let table = |text: &str| text.lines().skip(1).map(swap).collect::<Option<Vec<_>>>().map(Listing::complete);
    parsed(text(host, Place::Proc, "swaps"), "swaps", table)
}
