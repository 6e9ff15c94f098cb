//! Which records of a distribution speak of a package: OSV's ecosystems of a system, and the names that a package is found under.
//!
//! OSV has ecosystems for Debian, Ubuntu, `AlmaLinux`, Rocky, Red Hat, SUSE, openSUSE, `openEuler`, Azure Linux, Photon and Alpine; for
//! Amazon Linux, Oracle Linux and Fedora it has none.

use super::compare::{Scheme, without_backport, without_epoch, without_rebuild};
use super::software::Software;
use super::{Family, Identity, PackageVersion};
use crate::facts::{Os, Package};

/// One question to a distribution's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// OSV's ecosystem: `Debian:12`.
    pub ecosystem: String,
    /// The package there.
    pub package: String,
    /// The version as that ecosystem's records write it.
    pub version: String,
    /// How that compares.
    pub scheme: Scheme,
}

/// The ecosystems of a system, the most specific first; none where OSV has none.
pub fn ecosystems(os: &Os) -> Vec<String> {
    let version = os.version_id.as_str();
    let (major, minor) = (version.split('.').next().unwrap_or_default(), version.split('.').take(2).collect::<Vec<_>>().join("."));
    if version.is_empty() {
        return if os.id == "opensuse-tumbleweed" { vec!["openSUSE:Tumbleweed".to_owned()] } else { Vec::new() };
    }
    match os.id.as_str() {
        "debian" => vec![format!("Debian:{major}")],
        "ubuntu" => ubuntu(version),
        "almalinux" => vec![format!("AlmaLinux:{major}")],
        "rocky" => vec![format!("Rocky Linux:{major}")],
        "rhel" => red_hat(version, major),
        "rhcos" => openshift(os),
        "azurelinux" | "mariner" => vec![format!("Azure Linux:{major}")],
        "photon" => vec![format!("Photon OS:{minor}")],
        "alpine" => vec![format!("Alpine:v{minor}")],
        "opensuse-leap" => vec![format!("openSUSE:Leap {minor}")],
        "opensuse-tumbleweed" => vec!["openSUSE:Tumbleweed".to_owned()],
        "sles" | "sle-micro" | "sl-micro" => suse(os, major, &minor),
        "openEuler" | "openeuler" => open_euler(os),
        _ => Vec::new(),
    }
}

/// The feed with a system's records: `osv/Debian`; `None` where there is none.
pub fn feed(os: &Os) -> Option<String> {
    let name = match os.id.as_str() {
        "debian" => "Debian",
        "ubuntu" => "Ubuntu",
        "almalinux" => "AlmaLinux",
        "rocky" => "Rocky Linux",
        "rhel" | "rhcos" => "Red Hat",
        "azurelinux" | "mariner" => "Azure Linux",
        "photon" => "Photon OS",
        "alpine" => "Alpine",
        "opensuse-leap" | "opensuse-tumbleweed" => "openSUSE",
        "sles" | "sle-micro" | "sl-micro" => "SUSE",
        "openEuler" | "openeuler" => "openEuler",
        _ => return None,
    };
    Some(format!("osv/{name}"))
}

/// What to ask about the running kernel. Empty where the version of its package is not known, where it is not its system's own, or
/// where no records are.
pub fn about_kernel(identity: &Identity, os: &Os, package: Option<&Package>) -> Vec<Question> {
    if !identity.family.distributions().contains(&os.id.as_str()) {
        return Vec::new();
    }
    // What the package database adds counts only where it is the running build's.
    let identity = &package.map_or_else(|| identity.clone(), |package| identity.clone().with_package(package));
    let Some(PackageVersion { text: version, scheme, .. }) = identity.package.as_ref().filter(|package| package.complete) else {
        return Vec::new();
    };
    let names = kernel_packages(identity, package);
    let version = without_epoch(without_rebuild(version));
    let ecosystems = if identity.family == Family::DebianBackports { backported_from(version) } else { ecosystems(os) };
    questions(&ecosystems, &names, without_backport(version), *scheme)
}

/// What to ask about a program that the distribution packaged. Empty for others.
pub fn about_software(software: &Software, os: &Os) -> Vec<Question> {
    let Some(package) = software.package.as_ref().filter(|_| software.vendor == os.id) else { return Vec::new() };
    let mut names = Vec::new();
    if !software.origin.is_empty() {
        names.push(software.origin.clone());
    }
    names.extend(known_names(&software.component).iter().map(|name| (*name).to_owned()));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    // Debian and Ubuntu name the source package; one of another name is another program.
    if package.scheme == Scheme::Dpkg && !software.origin.is_empty() {
        names.truncate(1);
    }
    let version = without_rebuild(&package.text);
    let ecosystems = if version.contains("~bpo") { backported_from(version) } else { ecosystems(os) };
    questions(&ecosystems, &names, without_backport(version), package.scheme)
}

/// The names that a distribution's records may have for a kernel, the likeliest first.
pub fn kernel_packages(identity: &Identity, package: Option<&Package>) -> Vec<String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    match identity.family {
        Family::Ubuntu | Family::Debian | Family::DebianBackports => {
            let guess = if identity.source_guess.is_empty() { "linux" } else { identity.source_guess.as_str() };
            vec![package.and_then(|package| kernel_source(&package.origin)).unwrap_or_else(|| guess.to_owned())]
        }
        // Records may name only parts that are built with a kernel, of the same version.
        Family::EnterpriseLinux => match identity.flavour.as_str() {
            "rt" => owned(&["kernel-rt", "kernel", "kernel-abi-stablelists", "kernel-tools-libs-devel"]),
            "64k" => owned(&["kernel-64k", "kernel", "kernel-abi-stablelists", "kernel-tools-libs-devel"]),
            _ => owned(&["kernel", "kernel-core", "kernel-abi-stablelists", "kernel-tools-libs-devel"]),
        },
        Family::Uek => owned(&["kernel-uek"]),
        Family::Amazon => match package.map(|package| package.name.as_str()) {
            Some(name) if name.starts_with("kernel") => vec![name.to_owned()],
            _ => match identity.series.as_str() {
                // The first kernel of Amazon Linux 2023 has the plain name, later ones carry their series.
                "6.1" | "4.14" => owned(&["kernel"]),
                series => vec![format!("kernel{series}")],
            },
        },
        Family::AzureLinux => match identity.flavour.as_str() {
            "" => owned(&["kernel"]),
            flavour => vec![format!("kernel-{flavour}"), "kernel".to_owned()],
        },
        Family::Photon => match identity.flavour.as_str() {
            "" => owned(&["linux"]),
            flavour => vec![format!("linux-{flavour}"), "linux".to_owned()],
        },
        Family::Suse | Family::Tumbleweed => {
            vec![format!("kernel-{}", if identity.flavour.is_empty() { "default" } else { &identity.flavour })]
        }
        Family::Alpine => match identity.flavour.as_str() {
            "" | "virt" => owned(&["linux-lts"]),
            flavour => vec![format!("linux-{flavour}")],
        },
        Family::OpenEuler => owned(&["kernel"]),
        _ => Vec::new(),
    }
}

/// The source package of a Debian or Ubuntu kernel, by the origin of its binary package: what is signed or only points to a kernel
/// has a source package of its own, whose name begins otherwise.
pub(super) fn kernel_source(origin: &str) -> Option<String> {
    let wrapped = ["linux-signed", "linux-meta", "linux-unsigned"]
        .iter()
        .filter_map(|wrapper| origin.strip_prefix(wrapper))
        .find(|rest| rest.is_empty() || rest.starts_with('-'));
    let name = wrapped.map_or_else(|| origin.to_owned(), |rest| format!("linux{rest}"));
    // Debian signs each architecture on its own.
    let architectures = ["-amd64", "-arm64", "-i386", "-armhf", "-ppc64el", "-s390x", "-riscv64"];
    let name = architectures.iter().find_map(|architecture| name.strip_suffix(architecture)).unwrap_or(&name).to_owned();
    (name == "linux" || name.starts_with("linux-")).then_some(name)
}

/// The source packages that a program comes from on distributions.
fn known_names(component: &str) -> &'static [&'static str] {
    match component {
        "containerd" => &["containerd", "containerd-app", "containerd2", "moby-containerd"],
        "runc" => &["runc", "runc-app", "moby-runc"],
        "crun" => &["crun"],
        "docker" => &["docker.io", "docker.io-app", "moby-engine", "docker", "moby"],
        "cri-o" => &["cri-o"],
        "etcd" => &["etcd"],
        _ => &["kubernetes"],
    }
}

/// A backport comes from the suite after the one it is for.
fn backported_from(version: &str) -> Vec<String> {
    let suite = version.rsplit_once("~bpo").and_then(|(_, mark)| mark.split('+').next()).and_then(|suite| suite.parse::<u32>().ok());
    suite.and_then(|suite| suite.checked_add(1)).map(|suite| format!("Debian:{suite}")).into_iter().collect()
}

fn questions(ecosystems: &[String], packages: &[String], version: &str, scheme: Scheme) -> Vec<Question> {
    let ask = |ecosystem: &String| {
        let ecosystem = ecosystem.clone();
        packages.iter().map(move |package| Question {
            ecosystem: ecosystem.clone(),
            package: package.clone(),
            version: version.to_owned(),
            scheme,
        })
    };
    ecosystems.iter().flat_map(ask).collect()
}

fn ubuntu(version: &str) -> Vec<String> {
    let (year, month) = version.split_once('.').unwrap_or((version, ""));
    let even = year.parse::<u32>().is_ok_and(|year| year.is_multiple_of(2));
    if even && month.starts_with("04") {
        vec![format!("Ubuntu:{version}:LTS"), format!("Ubuntu:Pro:{version}:LTS")]
    } else {
        vec![format!("Ubuntu:{version}")]
    }
}

/// By the tails of Red Hat's product names: the minor release's own repositories of longer support, then the release's.
fn red_hat(version: &str, major: &str) -> Vec<String> {
    const REPOSITORIES: [&str; 4] = ["baseos", "appstream", "nfv", "realtime"];
    let mut found = Vec::new();
    if version.contains('.') {
        found.push(format!("Red Hat:enterprise_linux:{version}"));
        // Since 10 a minor release has one name, without repositories, and so has its longer support.
        found.push(format!("Red Hat:enterprise_linux_eus:{version}"));
        for stream in ["rhel_eus", "rhel_e4s", "rhel_aus", "rhel_tus"] {
            found.extend(REPOSITORIES.iter().map(|repository| format!("Red Hat:{stream}:{version}::{repository}")));
        }
    }
    found.extend(REPOSITORIES.iter().map(|repository| format!("Red Hat:enterprise_linux:{major}::{repository}")));
    found
}

/// `OpenShift`'s nodes: its own packages, and those of the RHEL that it is made of.
fn openshift(os: &Os) -> Vec<String> {
    let field = |name: &str| os.fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let base = field("RHEL_VERSION").unwrap_or_default();
    let major = base.split('.').next().unwrap_or_default();
    let product = field("OPENSHIFT_VERSION").unwrap_or(&os.version_id);
    let mut found = Vec::new();
    if !major.is_empty() {
        found.push(format!("Red Hat:openshift:{product}::el{major}"));
        found.extend(red_hat(base, major));
    }
    found
}

fn suse(os: &Os, major: &str, minor: &str) -> Vec<String> {
    match os.id.as_str() {
        "sle-micro" => return vec![format!("SUSE:Linux Enterprise Micro {minor}")],
        "sl-micro" => return vec![format!("SUSE:Linux Micro {minor}")],
        _ => {}
    }
    let pack = minor.split_once('.').map_or("", |(_, pack)| pack);
    match major.parse::<u32>() {
        Ok(number) if number >= 16 => vec![format!("SUSE:Linux Enterprise Server {minor}")],
        _ => {
            let release = if pack.is_empty() || pack == "0" { major.to_owned() } else { format!("{major} SP{pack}") };
            vec![
                format!("SUSE:Linux Enterprise Server {release}"),
                format!("SUSE:Linux Enterprise Module for Basesystem {release}"),
                format!("SUSE:Linux Enterprise Module for Containers {release}"),
                format!("SUSE:Linux Enterprise Module for Public Cloud {release}"),
                format!("SUSE:Linux Enterprise Server {release}-LTSS"),
            ]
        }
    }
}

/// `22.03 (LTS-SP3)` is `openEuler:22.03-LTS-SP3`.
fn open_euler(os: &Os) -> Vec<String> {
    let marked = os.fields.get("VERSION").and_then(|version| version.split_once('(')).and_then(|(_, mark)| mark.split_once(')'));
    let release = marked.map_or_else(|| os.version_id.clone(), |(mark, _)| format!("{}-{mark}", os.version_id));
    vec![format!("openEuler:{release}")]
}
