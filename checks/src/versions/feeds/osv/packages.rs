//! Packages of distributions: which ecosystems and which packages make a node's patch chain, and by what name they are asked for.

use std::collections::BTreeMap;

use super::super::document::{Document, ignore_many};
use super::super::{Content, FeedError};
use super::ranges::{self, Order};
use super::{Affected, Osv};
use crate::versions::knowledge::{PackageFix, Range, Record};

/// Distributions: the ecosystem before the first colon, and how its packages compare.
const DISTRIBUTIONS: [(&str, Order); 10] = [
    ("AlmaLinux", Order::Rpm),
    ("Alpine", Order::Dpkg),
    ("Azure Linux", Order::Rpm),
    ("Debian", Order::Dpkg),
    ("Photon OS", Order::Rpm),
    ("Red Hat", Order::Rpm),
    ("Rocky Linux", Order::Rpm),
    ("SUSE", Order::Rpm),
    ("Ubuntu", Order::Dpkg),
    ("openSUSE", Order::Rpm),
];

/// What runs containers and pods, by the starts of the names that distributions give it: a version may follow (`cri-o1.31`).
const PROGRAMS: [&str; 13] = [
    "containerd",
    "cri-o",
    "crun",
    "docker",
    "docker-ce",
    "docker-stable",
    "docker.io",
    "kubelet",
    "kubernetes",
    "moby-containerd",
    "moby-engine",
    "moby-runc",
    "runc",
];

/// Start like a kernel and are none: `linux-firmware`, `kernel-srpm-macros`.
const NO_KERNELS: [&str; 20] = [
    "linux-api-headers",
    "linux-apfs",
    "linux-atm",
    "linux-base",
    "linux-firmware",
    "linux-ftpd",
    "linux-igd",
    "linux-kbuild",
    "linux-libc",
    "linux-meta",
    "linux-ntfs",
    "linux-pam",
    "linux-restricted",
    "linux-signed",
    "linux-tools",
    "linux-user-chroot",
    "kernel-firmware",
    "kernel-livepatch",
    "kernel-srpm-macros",
    "kernel-wedge",
];

/// What is known of one package in one release.
#[derive(Default)]
struct Known {
    ranges: Vec<Range>,
    versions: Vec<String>,
}

/// Keeps what the record says of distributions' packages; what belongs to other ecosystems is returned.
pub(super) fn parse<'r, 'a>(
    document: &Document<'_>,
    content: &mut Content,
    read: &'r Osv<'a>,
    record: &str,
    ids: &[String],
) -> Result<Vec<&'r Affected<'a>>, FeedError> {
    let mut rest = Vec::new();
    let mut packages: BTreeMap<(&str, &str), Known> = BTreeMap::new();
    let (mut other, mut bare, mut empty, mut unimportant) = (0, 0, 0, 0);
    for (index, affected) in read.affected.0.iter().enumerate() {
        let Some(package) = &affected.package else {
            rest.push(affected);
            continue;
        };
        let ecosystem = package.ecosystem.as_str();
        let (family, release) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
        let Some((family, order)) = DISTRIBUTIONS.into_iter().find(|(name, _)| *name == family) else {
            rest.push(affected);
            continue;
        };
        let Some(name) = kept(family, package.name.as_str()) else {
            other += 1;
            continue;
        };
        if release.is_empty() {
            bare += 1;
            continue;
        }
        // What Debian rates so is no vulnerability as it is built there, and stays open for ever.
        let urgency = affected.ecosystem_specific.as_ref().and_then(|specific| specific.urgency.as_ref());
        if family == "Debian" && urgency.is_some_and(|urgency| urgency.as_str() == "unimportant") {
            unimportant += 1;
            continue;
        }
        let place = format!("affected[{index}] ({record}, {})", package.name.as_str());
        let ranges = ranges::read(document, content, order, &place, &affected.ranges.0)?;
        // The last affected version is affected for certain, whatever came after it.
        let last = affected
            .ranges
            .0
            .iter()
            .filter(|span| span.kind.as_str() != "GIT")
            .flat_map(|span| &span.events.0)
            .filter_map(|event| event.last_affected.as_ref());
        let versions: Vec<_> = if ranges.is_empty() { affected.versions.0.iter().chain(last).collect() } else { Vec::new() };
        if ranges.is_empty() && versions.is_empty() {
            empty += 1;
            continue;
        }
        let known = packages.entry((ecosystem, name)).or_default();
        for range in ranges {
            ranges::push(&mut known.ranges, range);
        }
        for version in versions {
            known.versions.push(document.version(format_args!("{place}.versions"), version.as_str())?);
        }
    }
    for ((ecosystem, package), Known { ranges, mut versions }) in packages {
        versions.sort_unstable();
        versions.dedup();
        let fix = PackageFix {
            ecosystem: document.id("affected[].package.ecosystem", ecosystem)?,
            package: document.id("affected[].package.name", package)?,
            ids: ids.to_vec(),
            record: record.to_owned(),
            ranges,
            versions,
            subscription: ecosystem.contains(":Pro:"),
        };
        let family = ecosystem.split(':').next().unwrap_or_default();
        document.keep(content, &format!("osv/{family}"), Record::Package(fix))?;
    }
    ignore_many(content, "the package is not part of the patch chain", other);
    ignore_many(content, "the package is of no release of its distribution", bare);
    ignore_many(content, "Debian rates it unimportant", unimportant);
    ignore_many(content, "the package has no version that could be compared", empty);
    Ok(rest)
}

/// The name under which a package is asked for; `None` where no node is judged by it.
fn kept<'n>(family: &str, name: &'n str) -> Option<&'n str> {
    let starts = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if NO_KERNELS.iter().any(|prefix| starts(prefix)) {
        return None;
    }
    let kernel = match family {
        // Their records list the packages that a kernel is built into, sometimes only its tools: all have its version.
        "AlmaLinux" | "Rocky Linux" | "Red Hat" if starts("kernel-rt") => Some("kernel-rt"),
        "AlmaLinux" | "Rocky Linux" | "Red Hat" if starts("kernel") => Some("kernel"),
        "Azure Linux" | "SUSE" | "openSUSE" if starts("kernel") => Some(name),
        "Alpine" | "Debian" | "Photon OS" | "Ubuntu" if starts("linux") => Some(name),
        _ => None,
    };
    kernel.or_else(|| program(name))
}

/// A program by its name: `containerd`, `containerd-app`, `containerd2`, `cri-o1.31`, `kubernetes-1.31`.
fn program(name: &str) -> Option<&str> {
    let version = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let found = PROGRAMS
        .iter()
        .any(|program| name.strip_prefix(program).is_some_and(|rest| rest == "-app" || version(rest.strip_prefix('-').unwrap_or(rest))));
    found.then_some(name)
}
