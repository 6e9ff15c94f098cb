//! Whose kernel is it, from what `uname` and a few files say: ordered rules, the first that fits decides.
//!
//! A version number alone decides almost nothing. The rules tell the family, the package version where the strings contain
//! it, and upstream's level where the family prints it. Everything read here is text that a host can choose.

mod family;

use super::compare::without_epoch;
use super::ecosystem::kernel_source;
use super::software::scheme;
use super::{Confidence, Scheme};
use crate::facts::{Os, Package};
pub(super) use family::product_of;
pub use family::{Base, Family};

/// What a kernel says about itself.
#[derive(Debug, Clone, Copy)]
pub struct KernelStrings<'a> {
    /// `uname -r`.
    pub release: &'a str,
    /// `uname -v`; empty when not known (a Node object has only the release).
    pub version: &'a str,
    /// `/proc/version_signature`, where there is one.
    pub signature: Option<&'a str>,
    /// `os-release`, where it could be read.
    pub os: Option<&'a Os>,
}

/// A distribution's package version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersion {
    /// The version without architecture and flavour.
    pub text: String,
    /// Is it the whole version, or only its beginning (Ubuntu without `uname -v`, SUSE without the rebuild counter).
    pub complete: bool,
    /// How it compares.
    pub scheme: Scheme,
}

/// Who built a kernel and what is known of its level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The family.
    pub family: Family,
    /// The upstream series, `6.12`. Empty when the release does not start with a version.
    pub series: String,
    /// The exact upstream level, where the family's strings give it: `6.12.38`.
    pub upstream: Option<String>,
    /// The package version, where the strings give it.
    pub package: Option<PackageVersion>,
    /// The build flavour: `generic`, `cloud-amd64`, `debug`; empty when none.
    pub flavour: String,
    /// The Enterprise Linux stream: `el9_4`; empty elsewhere.
    pub stream: String,
    /// The likely source package, for advisories: `linux-hwe-6.8`. Empty where nothing tells.
    pub source_guess: String,
    /// Is the family certain. A match without `uname -v`, or none at all, is not.
    pub confident: bool,
}

impl Identity {
    fn new(family: Family, release: &str) -> Self {
        let (number, _) = dotted(release);
        let series = if number.contains('.') { number.split('.').take(2).collect::<Vec<_>>().join(".") } else { String::new() };
        Self {
            family,
            series,
            upstream: None,
            package: None,
            flavour: String::new(),
            stream: String::new(),
            source_guess: String::new(),
            confident: true,
        }
    }

    fn exact(mut self, upstream: impl Into<String>) -> Self {
        self.upstream = Some(upstream.into());
        self
    }

    fn packaged(mut self, text: impl Into<String>, scheme: Scheme) -> Self {
        self.package = Some(PackageVersion { text: text.into(), complete: true, scheme });
        self
    }

    fn packaged_from(mut self, beginning: impl Into<String>, scheme: Scheme) -> Self {
        self.package = Some(PackageVersion { text: beginning.into(), complete: false, scheme });
        self
    }

    fn flavoured(mut self, flavour: &str) -> Self {
        flavour.clone_into(&mut self.flavour);
        self
    }

    fn guessed(mut self) -> Self {
        self.confident = false;
        self
    }

    /// Completes it with what the package database has for this release: the version where `uname` has only its beginning or none, and
    /// the source. What `uname` itself prints stays: the database has what is installed, which may be newer under the same name.
    #[must_use]
    pub fn with_package(mut self, package: &Package) -> Self {
        let scheme = scheme(package);
        let version = without_epoch(&package.version);
        let of_kernel = match scheme {
            Scheme::Dpkg => package.name.starts_with("linux-image") && matches!(self.family, Family::Ubuntu | Family::Debian),
            Scheme::Rpm => package.name.starts_with("kernel") && self.package.as_ref().is_some_and(|known| known.scheme == Scheme::Rpm),
        };
        // A beginning that does not fit is another build's.
        let fits = |known: &PackageVersion| self.family == Family::Debian || version.starts_with(&known.text);
        if !of_kernel || version.is_empty() {
            return self;
        }
        if self.package.as_ref().is_none_or(|known| !known.complete && fits(known)) {
            let (upstream, _) = dotted(version);
            if self.family == Family::Debian && is_triplet(upstream) {
                self.upstream = Some(upstream.to_owned());
            }
            if self.family == Family::Debian && version.contains("~bpo") {
                self.family = Family::DebianBackports;
            }
            self.package = Some(PackageVersion { text: version.to_owned(), complete: true, scheme });
        }
        if let Some(source) = kernel_source(&package.origin).filter(|_| scheme == Scheme::Dpkg) {
            self.source_guess = source;
        }
        self
    }

    /// The best that can be said of a vulnerability by what is known of the level: the package or the exact build, upstream's exact
    /// level, or only the series.
    pub fn basis(&self) -> Confidence {
        if self.package.as_ref().is_some_and(|package| package.complete) {
            Confidence::Confirmed
        } else if self.upstream.is_some() && self.confident {
            Confidence::Likely
        } else {
            Confidence::Possible
        }
    }
}

/// Applies the rules in order.
pub fn identify(kernel: &KernelStrings<'_>) -> Identity {
    const RULES: [fn(&KernelStrings<'_>) -> Option<Identity>; 14] = [
        made_up,
        not_linux,
        prerelease,
        ubuntu_by_signature,
        ubuntu_by_uname,
        debian_by_version,
        debian_by_release,
        enterprise_linux,
        tagged_rpm,
        tencent,
        suse,
        image_os,
        raspberry_pi,
        vanilla,
    ];
    let unlisted = || Identity::new(Family::Unlisted, kernel.release).guessed();
    RULES.iter().find_map(|rule| rule(kernel)).unwrap_or_else(unlisted)
}

/// `2.6.61-40-amd64`: what a kernel tells a process that asked for old numbers (`personality(UNAME26)`). The last 2.6 was 2.6.39.
fn made_up(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (number, _) = digits(kernel.release.strip_prefix("2.6.")?);
    let mut identity = Identity::new(Family::Unlisted, kernel.release).guessed();
    identity.series.clear();
    number.parse::<u32>().is_ok_and(|number| number >= 40).then_some(identity)
}

/// What answers `uname` without being a server's Linux.
fn not_linux(kernel: &KernelStrings<'_>) -> Option<Identity> {
    // gVisor prints this constant as its build time.
    if kernel.version.contains("Sun Jan 10 15:06:54 PST 2016") {
        return Some(Identity::new(Family::Gvisor, kernel.release));
    }
    kernel.release.contains("-android").then(|| Identity::new(Family::Android, kernel.release))
}

/// `6.4-rc1` sorts below 6.4.0.
fn prerelease(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (number, rest) = dotted(kernel.release);
    let candidate = rest.strip_prefix("-rc").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))?;
    let (counter, _) = digits(candidate);
    let parts = number.split('.').count();
    let full = match parts {
        2 => format!("{number}.0-rc{counter}"),
        3 => format!("{number}-rc{counter}"),
        _ => return None,
    };
    Some(Identity::new(Family::Prerelease, kernel.release).exact(full))
}

/// `Ubuntu 5.4.0-12.15-generic 5.4.8`: package, flavour and upstream level.
fn ubuntu_by_signature(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let mut words = kernel.signature?.split_whitespace();
    let ("Ubuntu", build, upstream) = (words.next()?, words.next()?, words.next()?) else { return None };
    let (package, flavour) = build
        .char_indices()
        .filter(|(_, c)| *c == '-')
        .filter_map(|(at, _)| Some((build.get(..at)?, build.get(at + 1..)?)))
        .find(|(_, flavour)| !flavour.is_empty() && flavour.chars().all(flavour_char))?;
    is_triplet(upstream).then(|| ubuntu(kernel.release, flavour, package).packaged(package, Scheme::Dpkg).exact(upstream))
}

/// `6.8.0-51-generic` with `#52~22.04.1-Ubuntu`: the package version is in both together.
fn ubuntu_by_uname(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (base, abi, flavour) = numbered_release(kernel.release)?;
    if kernel.version.is_empty() {
        let is_ubuntu = kernel.os.is_some_and(|os| os.id == "ubuntu");
        let guess = || ubuntu(kernel.release, flavour, "").packaged_from(format!("{base}-{abi}"), Scheme::Dpkg).guessed();
        return is_ubuntu.then(guess);
    }
    let (build, _) = kernel.version.strip_prefix('#')?.split_once("-Ubuntu")?;
    let (upload, suffix) = digits(build);
    let suffix_char = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || matches!(c, '.' | '~' | '+');
    if upload.is_empty() || !suffix.chars().all(suffix_char) || !(suffix.is_empty() || suffix.starts_with(['~', '+'])) {
        return None;
    }
    let package = format!("{base}-{abi}.{upload}{suffix}");
    Some(ubuntu(kernel.release, flavour, &package).packaged(package, Scheme::Dpkg))
}

fn ubuntu(release: &str, flavour: &str, package: &str) -> Identity {
    let mut identity = Identity::new(Family::Ubuntu, release).flavoured(flavour);
    let series = &identity.series;
    // Page sizes and the like are built from the same source.
    let built_from = ["-64k", "-lpae", "-fde"].iter().find_map(|kind| flavour.strip_suffix(kind)).unwrap_or(flavour);
    identity.source_guess = match (package.contains('~'), built_from) {
        (true, "generic") => format!("linux-hwe-{series}"),
        (true, "lowlatency") => format!("linux-lowlatency-hwe-{series}"),
        (true, flavour) => format!("linux-{flavour}-{series}"),
        (false, "generic") => "linux".to_owned(),
        (false, flavour) => format!("linux-{flavour}"),
    };
    identity
}

/// `#1 SMP … Debian 6.1.153-1 (2025-09-20)`; Raspberry Pi and backports print the same with their own mark.
fn debian_by_version(kernel: &KernelStrings<'_>) -> Option<Identity> {
    if kernel.version.contains(" PMX ") || kernel.release.ends_with("-pve") {
        return Some(Identity::new(Family::Proxmox, kernel.release));
    }
    let (_, after) = kernel.version.split_once("Debian ")?;
    let (printed, _) = after.split_once(" (")?;
    let package = printed.split_once(':').map_or(printed, |(_, package)| package);
    let (upstream, _) = dotted(package);
    if !is_triplet(upstream) || printed.contains(char::is_whitespace) {
        return None;
    }
    let flavour = abi_release(kernel.release).map_or_else(|| debian_flavour(kernel.release), |(_, _, flavour)| flavour);
    Some(Identity::new(debian_family(package), kernel.release).packaged(printed, Scheme::Dpkg).exact(upstream).flavoured(flavour))
}

/// Without `uname -v`: `6.1.0-40-amd64` on Debian, or a release that carries Debian's version itself.
fn debian_by_release(kernel: &KernelStrings<'_>) -> Option<Identity> {
    if !kernel.version.is_empty() {
        return None;
    }
    if let Some((_, _, flavour)) = abi_release(kernel.release) {
        let is_debian = kernel.os.is_some_and(|os| os.id == "debian");
        let guess = || {
            let (name, _) = kernel.release.split_once(&format!("-{flavour}")).unwrap_or((kernel.release, ""));
            Identity::new(Family::Debian, kernel.release).packaged_from(name, Scheme::Dpkg).flavoured(flavour).guessed()
        };
        // An ABI name is not the beginning of a package version, but it is all there is: the family alone is used.
        return is_debian.then(guess);
    }
    let (upstream, rest) = dotted(kernel.release);
    let marked = rest.split_once("+deb").is_some_and(|(_, release)| release.starts_with(|c: char| c.is_ascii_digit()));
    if !is_triplet(upstream) || !marked {
        return None;
    }
    let flavour = debian_flavour(kernel.release);
    let package = kernel.release.strip_suffix(flavour).map_or(kernel.release, |package| package.trim_end_matches('-'));
    let identity = Identity::new(debian_family(package), kernel.release).exact(upstream).flavoured(flavour).guessed();
    Some(if rest.starts_with('-') { identity.packaged(package, Scheme::Dpkg) } else { identity.packaged_from(upstream, Scheme::Dpkg) })
}

fn debian_family(package: &str) -> Family {
    if package.contains("+rpt") {
        Family::RaspberryPi
    } else if package.contains("~bpo") {
        Family::DebianBackports
    } else {
        Family::Debian
    }
}

/// `cloud-amd64` of `6.12.38+deb13-cloud-amd64`: what follows the last part with a digit that belongs to the version.
fn debian_flavour(release: &str) -> &str {
    let version_ends = ["+deb", "~bpo", ".deb"].iter().find_map(|mark| release.rfind(mark)).unwrap_or(0);
    release.get(version_ends..).and_then(|tail| tail.split_once('-')).map_or("", |(_, flavour)| flavour)
}

/// `5.14.0-427.13.1.el9_4.x86_64+debug`. The base says nothing: features and fixes are backported.
fn enterprise_linux(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (before, after) = kernel.release.split_once(".el")?;
    let (major, rest) = digits(after);
    if major.is_empty() {
        return None;
    }
    let (minor, rest) = rest.strip_prefix('_').map_or(("", rest), digits);
    let stream = if minor.is_empty() { format!("el{major}") } else { format!("el{major}_{minor}") };
    let (uek, rest) = rest.strip_prefix("uek").map_or((false, rest), |rest| (true, rest));
    if rest.starts_with(".elrepo") {
        return None;
    }
    let flavour = match (uek, rest.split_once('+')) {
        (true, _) => "uek",
        (false, Some((_, flavour))) => flavour,
        // Before 9.3 the real-time kernel was one of its own: `4.18.0-372.9.1.rt7.166.el8.x86_64`.
        (false, None) if before.contains(".rt") => "rt",
        (false, None) if rest.starts_with('.') => "",
        (false, None) => rest,
    };
    let package = format!("{before}.{stream}{}", if uek { "uek" } else { "" });
    let family = if uek { Family::Uek } else { Family::EnterpriseLinux };
    let mut identity = Identity::new(family, kernel.release).packaged(package, Scheme::Rpm).flavoured(flavour);
    identity.stream = stream;
    Some(identity)
}

/// Families whose rpm release ends in a tag of their own. The base is upstream's where the family ships upstream's releases.
fn tagged_rpm(kernel: &KernelStrings<'_>) -> Option<Identity> {
    const TAGS: [(&str, Family); 9] = [
        (".oe", Family::OpenEuler),
        (".al", Family::AlibabaLinux),
        (".an", Family::AlibabaLinux),
        (".tl", Family::TencentOs),
        (".amzn", Family::Amazon),
        (".azl", Family::AzureLinux),
        (".cm", Family::AzureLinux),
        (".ph", Family::Photon),
        (".fc", Family::Fedora),
    ];
    let (upstream, _) = dotted(kernel.release);
    // Azure Linux prints a fourth field of its own.
    let base = upstream.split('.').take(3).collect::<Vec<_>>().join(".");
    TAGS.iter().find_map(|(tag, family)| {
        let (before, after) = kernel.release.split_once(tag)?;
        let (number, rest) = digits(after);
        // openEuler's service packs: `oe2403sp1`.
        let (pack, rest) = rest.strip_prefix("sp").map_or(("", rest), digits);
        let ends = rest.is_empty() || rest.starts_with(['.', '-', '+']);
        if number.is_empty() || !ends || !is_triplet(&base) || before.contains("-0.rc") {
            return None;
        }
        let flavour = rest.split_once(['-', '+']).map_or("", |(_, flavour)| flavour);
        let package = format!("{before}{tag}{number}{}{pack}", if pack.is_empty() { "" } else { "sp" });
        let identity = Identity::new(*family, kernel.release).packaged(package, Scheme::Rpm).flavoured(flavour);
        Some(if family.base() == Base::Stable { identity.exact(base.clone()) } else { identity })
    })
}

/// `5.4.119-19.0009.28`: `TencentOS` before it wrote a tag; only os-release tells.
fn tencent(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (number, rest) = dotted(kernel.release);
    let is_tencent = kernel.os.is_some_and(|os| os.id == "tencentos");
    let numbered = rest.strip_prefix("-19").is_some_and(|rest| rest.starts_with(['.', '-']));
    (is_tencent && is_triplet(number) && numbered).then(|| Identity::new(Family::TencentOs, kernel.release))
}

/// `5.3.18-59.37-default`: the rebuild counter of the package is missing, the base carries backports.
fn suse(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (package, flavour) = kernel.release.rsplit_once('-')?;
    let (number, rest) = dotted(package);
    let revision = rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_suse =
        || kernel.os.is_some_and(|os| os.id.contains("suse") || os.id.starts_with("sl") || os.id_like.iter().any(|id| id == "suse"));
    let known = flavour == "default" || (matches!(flavour, "azure" | "rt" | "64kb" | "preempt") && is_suse());
    // The rolling release ships upstream's as they are.
    if kernel.os.is_some_and(|os| matches!(os.id.as_str(), "opensuse-tumbleweed" | "opensuse-microos")) {
        let rolling =
            || Identity::new(Family::Tumbleweed, kernel.release).packaged_from(package, Scheme::Rpm).exact(number).flavoured(flavour);
        return (known || flavour == "longterm").then(rolling).filter(|_| revision && is_triplet(number));
    }
    let made = || Identity::new(Family::Suse, kernel.release).packaged_from(package, Scheme::Rpm).flavoured(flavour);
    (known && revision && is_triplet(number)).then(made)
}

/// Image-based and rolling systems that ship upstream's stable release: os-release first, then the suffix.
fn image_os(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (number, rest) = dotted(kernel.release);
    // WSL prints a fourth field of its own.
    let base = number.split('.').take(3).collect::<Vec<_>>().join(".");
    let wsl = rest.to_ascii_lowercase().ends_with("-microsoft-standard-wsl2");
    if !is_triplet(&base) || !(wsl || is_triplet(number)) {
        return None;
    }
    let arch_like = |mark: &str| rest.strip_prefix(mark).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let numbered = || {
        let (number, flavour) = rest.strip_prefix('-').map_or(("", ""), digits);
        !number.is_empty() && flavour.starts_with('-')
    };
    let family = match (kernel.os.map(|os| os.id.as_str()).unwrap_or_default(), rest) {
        ("cos", "" | "+") => Family::Cos,
        ("bottlerocket", "") => Family::Bottlerocket,
        ("nixos", "") => Family::Nixos,
        ("alpine", _) if numbered() => Family::Alpine,
        ("arch", _) if numbered() => Family::Arch,
        (_, "-talos") => Family::Talos,
        (_, "-flatcar") => Family::Flatcar,
        (_, "-linuxkit" | "-linuxkit-pr") => Family::Linuxkit,
        _ if arch_like("-arch") => Family::Arch,
        _ if wsl => Family::Wsl2,
        _ => return None,
    };
    let flavour = if family == Family::Alpine { rest.rsplit('-').next().unwrap_or_default() } else { "" };
    Some(Identity::new(family, kernel.release).exact(base).flavoured(flavour))
}

/// `6.1.21-v8+`: the Raspberry Pi foundation's own builds, before they were packaged like Debian's.
fn raspberry_pi(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (number, rest) = dotted(kernel.release);
    let flavour = rest.strip_prefix('-')?.strip_suffix('+')?;
    let ours = matches!(flavour, "v6" | "v7" | "v7l" | "v8" | "v8-16k");
    (ours && is_triplet(number)).then(|| Identity::new(Family::RaspberryPi, kernel.release).exact(number).flavoured(flavour))
}

/// `6.12.38` without any mark: upstream's own, or indistinguishable from it.
fn vanilla(kernel: &KernelStrings<'_>) -> Option<Identity> {
    let (number, rest) = dotted(kernel.release);
    let full = match number.split('.').count() {
        2 => format!("{number}.0"),
        3 => number.to_owned(),
        _ => return None,
    };
    rest.is_empty().then(|| Identity::new(Family::Vanilla, kernel.release).exact(full))
}

/// `(6.8.0, 51, generic)` of `6.8.0-51-generic`: an ABI name, whose third number is always 0.
fn abi_release(release: &str) -> Option<(&str, &str, &str)> {
    numbered_release(release).filter(|(base, ..)| base.ends_with(".0"))
}

/// The same with any third number: Ubuntu's real-time kernel counts its own (`6.8.1-1015-realtime`).
fn numbered_release(release: &str) -> Option<(&str, &str, &str)> {
    let (base, rest) = dotted(release);
    let (abi, flavour) = digits(rest.strip_prefix('-')?);
    let flavour = flavour.strip_prefix('-')?;
    let named = !flavour.is_empty() && flavour.chars().all(flavour_char);
    (is_triplet(base) && !abi.is_empty() && named).then_some((base, abi, flavour))
}

fn flavour_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// Splits off the leading digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Splits off the leading dotted number: `5.15.107.1` of `5.15.107.1-2.cm2`.
fn dotted(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text.get(..end).unwrap_or_default().trim_end_matches('.');
    text.split_at_checked(number.len()).unwrap_or((text, ""))
}

fn is_triplet(number: &str) -> bool {
    let mut parts = number.split('.');
    let part =
        |part: Option<&str>| part.is_some_and(|part| (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()));
    part(parts.next()) && part(parts.next()) && part(parts.next()) && parts.next().is_none()
}
