//! Whose build is it, and which upstream release is in it: runtimes and components of Kubernetes, from the version that their file
//! or package gives.
//!
//! Every word here is text that a host can choose. A suffix that nobody is known to use makes the upstream version a guess.

mod provider;

pub use provider::Provider;

use super::compare::{self, Scheme, without_epoch};
use super::kernel::product_of;
use super::{Base, PackageVersion};
use crate::facts::{Node, Os, Package};

/// The longest version text that is looked at.
const MAX_TEXT: usize = 256;

/// What is known of a program.
#[derive(Debug, Clone, Copy)]
pub struct SoftwareStrings<'a> {
    /// `containerd`, `cri-o`, `docker`, `runc`, `crun`, `kubelet`, `kube-proxy`, `kube-apiserver`, …, `etcd`.
    pub component: &'a str,
    /// Its version in its own words; `None` where only its package tells.
    pub text: Option<&'a str>,
    /// The package that brought it.
    pub package: Option<&'a Package>,
    /// The system it runs on.
    pub os: Option<&'a Os>,
    /// The node: some providers leave no mark in a version.
    pub node: Option<&'a Node>,
}

/// Whose build a program is, and what of upstream is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// The component.
    pub component: String,
    /// What was said of its version: its own words, else its package's.
    pub text: String,
    /// The upstream version in it, as upstream writes it (`1.7.22`, `1.4.0-rc.3`, `19.03.6`); `None` where the text starts with none.
    pub upstream: Option<String>,
    /// Is `upstream` certain. With a suffix that nobody is known to use, or a modified tree, it is a guess: no more than possible.
    pub exact: bool,
    /// Who built it: a provider, a distribution's `ID`, `docker`, `kubernetes`, `microsoft`, `bottlerocket`, `upstream`; `unlisted`
    /// when nothing tells.
    pub vendor: String,
    /// What the builder makes of upstream's releases.
    pub base: Base,
    /// Whose Kubernetes it is, where it is somebody's.
    pub provider: Option<Provider>,
    /// The version of the distribution's package; `None` where no distribution packaged it.
    pub package: Option<PackageVersion>,
    /// The source package of that.
    pub origin: String,
    /// The upstream series: `1.7`, `19.03`. Empty without an upstream version.
    pub series: String,
    /// Is it a release candidate, beta or alpha.
    pub prerelease: bool,
}

impl Software {
    /// Is it a component of Kubernetes, which all follow the same dates.
    pub fn of_kubernetes(&self) -> bool {
        of_kubernetes(&self.component)
    }

    /// Did a distribution build it, which carries fixes back: by its package, else by what it appends.
    pub fn of_distribution(&self) -> bool {
        self.package.is_some() || matches!(self.vendor.as_str(), "debian" | "ubuntu")
    }

    /// The rows of the lifecycle data that speak of it, the deciding one first: the distribution's that packaged it, the provider's,
    /// then upstream's.
    pub fn lifecycle(&self, os: Option<&Os>) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        // What only its suffix names as a distribution's is judged by that one's dates, and by nobody's where that is not known.
        let marked = self.package.is_none() && self.of_distribution();
        if marked && os.is_none_or(|os| os.id != self.vendor) {
            return rows;
        }
        if self.package.is_some() || marked {
            rows.extend(os.and_then(product_of));
        }
        if self.of_kubernetes() || self.provider == Some(Provider::Openshift) {
            rows.extend(self.provider.and_then(|provider| provider.lifecycle(&self.series)));
        }
        if self.series.is_empty() {
            return rows;
        }
        let series = self.series.clone();
        match self.component.as_str() {
            "containerd" => rows.push(("containerd", series)),
            "runc" => rows.push(("runc", series)),
            "crun" => rows.push(("crun", series)),
            "cri-o" => rows.push(("cri-o", series)),
            "etcd" => rows.push(("etcd", series)),
            "docker" => {
                let major = series.split('.').next().unwrap_or_default().to_owned();
                rows.extend([("docker-engine", series), ("docker-engine", major)]);
            }
            _ if self.of_kubernetes() => rows.push(("kubernetes", series)),
            _ => {}
        }
        rows
    }
}

/// Is it versioned with Kubernetes.
fn of_kubernetes(component: &str) -> bool {
    component == "kubelet" || (component.starts_with("kube-") && component.len() > 5)
}

/// Decides whose build it is: by the package's version where a distribution made it, else by the suffix, else by the node.
pub fn identify_software(said: &SoftwareStrings<'_>) -> Software {
    let package = said.package.filter(|package| package.version.len() <= MAX_TEXT);
    let text = said.text.map(str::trim).filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
    let version = text.or(package.map(|package| without_epoch(&package.version))).unwrap_or_default();
    let parsed = Parsed::read(version);
    let suffix = parsed.as_ref().map_or("", |parsed| parsed.suffix);
    let built = match package.and_then(|package| packager(package, said.os)) {
        Some(built) => built,
        None if parsed.is_none() => Built::unlisted(),
        None => by_suffix(said.component, suffix, said.node),
    };
    let kubernetes = of_kubernetes(said.component);
    let by_node = || said.node.and_then(Provider::of_node).filter(|_| kubernetes && !built.distribution);
    let provider = built.provider.or_else(by_node);
    // The node's profile names the builder of what carries no mark itself.
    let (vendor, base) = match provider {
        Some(provider) if built.provider.is_none() && built.vendor == "upstream" => (provider.name().to_owned(), provider.base()),
        _ => (built.vendor.clone(), built.base),
    };
    let own = package.filter(|_| built.distribution);
    Software {
        component: said.component.to_owned(),
        text: version.to_owned(),
        exact: parsed.is_some() && built.known && !modified(suffix),
        series: parsed.as_ref().map_or_else(String::new, Parsed::series),
        prerelease: parsed.as_ref().is_some_and(|parsed| parsed.stage.is_some()),
        upstream: parsed.as_ref().map(Parsed::upstream),
        vendor,
        base,
        provider,
        origin: own.map_or_else(String::new, |package| package.origin.clone()),
        package: own.map(|package| PackageVersion { text: package.version.clone(), complete: true, scheme: scheme(package) }),
    }
}

/// How versions of a package compare.
pub(super) fn scheme(package: &Package) -> Scheme {
    if package.manager == "rpm" { Scheme::Rpm } else { Scheme::Dpkg }
}

/// Upstream's numbers, its stage of release, and what somebody appended.
struct Parsed<'a> {
    numbers: &'a str,
    stage: Option<&'a str>,
    suffix: &'a str,
}

impl<'a> Parsed<'a> {
    /// Finds the version in what a program says of itself: `containerd://1.7.2`, `v1.30.5-gke.1`, `runc version 1.1.12`.
    fn read(text: &'a str) -> Option<Self> {
        text.split_whitespace().find_map(Self::word)
    }

    fn word(word: &'a str) -> Option<Self> {
        let word = word.rsplit_once("://").map_or(word, |(_, version)| version);
        let word = word.strip_prefix(['v', 'V']).unwrap_or(word).trim_end_matches([',', ';']);
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let numbers = word.get(..end)?.trim_end_matches('.');
        let parts = numbers.split('.').count();
        let sane = |part: &str| (1..=9).contains(&part.len());
        if !(2..=3).contains(&parts) || !numbers.split('.').all(sane) {
            return None;
        }
        let rest = word.get(numbers.len()..)?;
        let (stage, suffix) = compare::stage(rest);
        Some(Self { numbers, stage, suffix })
    }

    fn upstream(&self) -> String {
        let zero = if self.numbers.matches('.').count() == 1 { ".0" } else { "" };
        let stage = self.stage.map_or_else(String::new, |stage| format!("-{stage}"));
        format!("{}{zero}{stage}", self.numbers)
    }

    fn series(&self) -> String {
        self.numbers.split('.').take(2).collect::<Vec<_>>().join(".")
    }
}

/// Who built it.
struct Built {
    vendor: String,
    base: Base,
    provider: Option<Provider>,
    distribution: bool,
    known: bool,
}

impl Built {
    fn of(vendor: &str, base: Base) -> Self {
        Self { vendor: vendor.to_owned(), base, provider: None, distribution: false, known: true }
    }

    fn by(provider: Provider) -> Self {
        Self { provider: Some(provider), ..Self::of(provider.name(), provider.base()) }
    }

    fn distribution(vendor: &str) -> Self {
        Self { distribution: true, ..Self::of(vendor, Base::OwnPicks) }
    }

    fn unlisted() -> Self {
        Self { known: false, ..Self::of("unlisted", Base::Divergent) }
    }
}

/// Who made a package: its own vendor's repository, or the distribution. `None` when it tells neither.
fn packager(package: &Package, os: Option<&Os>) -> Option<Built> {
    let version = without_epoch(&package.version);
    let names = [package.name.as_str(), package.origin.as_str()];
    let is_called = |name: &str| names.contains(&name);
    if is_called("containerd.io") || names.iter().any(|name| name.starts_with("docker-ce") || name.starts_with("docker-ee")) {
        return Some(Built::of("docker", Base::Stable));
    }
    let os_id = os.map(|os| os.id.as_str()).unwrap_or_default();
    if names.iter().any(|name| name.starts_with("moby-")) && !matches!(os_id, "azurelinux" | "mariner" | "fedora") {
        return Some(Built::of("microsoft", Base::Stable));
    }
    let (_, revision) = version.rsplit_once('-').unwrap_or((version, ""));
    // pkgs.k8s.io: `1.31.2-1.1`, `1.31.2-150500.1.1`; before it `1.23.1-00`.
    if revision == "00" || (numeric(revision) && revision.ends_with(".1") && !version.contains(['~', '+'])) {
        return Some(Built::of("kubernetes", Base::Stable));
    }
    let rhaos = version.contains(".rhaos4");
    if rhaos {
        return Some(Built { provider: Some(Provider::Openshift), ..Built::distribution("openshift") });
    }
    if package.manager == "rpm" {
        let tags = [".el", ".fc", ".amzn", ".azl", ".cm", ".ph", ".oe"];
        let ours = tags.iter().any(|tag| version.split(tag).skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
            || version.contains(".module+el")
            || os.is_some_and(is_suse);
        return (ours && !os_id.is_empty()).then(|| Built::distribution(os_id));
    }
    if ubuntu_mark(version) {
        return Some(Built::distribution("ubuntu"));
    }
    let debian = ["~ds", "+ds", "+dfsg", "~dfsg", "+deb", "~bpo", "~deb"].iter().any(|mark| version.contains(mark));
    let named_by_debian = ["containerd", "containerd-app", "runc", "runc-app", "docker.io", "docker.io-app", "crun", "kubernetes", "etcd"];
    if debian || (named_by_debian.iter().any(|name| is_called(name)) && matches!(os_id, "debian" | "ubuntu") && version.contains('-')) {
        let vendor = if os_id.is_empty() { "debian" } else { os_id };
        return Some(Built::distribution(vendor));
    }
    None
}

/// Who built it, by what is appended to upstream's version.
fn by_suffix(component: &str, suffix: &str, node: Option<&Node>) -> Built {
    if suffix.is_empty() || suffix == "+unknown" {
        return Built::of("upstream", Base::Stable);
    }
    if let Some(provider) = provider::marked(suffix) {
        return Built::by(provider);
    }
    let said = suffix.trim_start_matches(['-', '+', '~', '.']);
    let word = |mark: &str| said.strip_prefix(mark).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    if suffix.contains(".rhaos4") {
        return Built::by(Provider::Openshift);
    }
    if word("azure") {
        return Built::of("microsoft", Base::Stable);
    }
    if word("bottlerocket") {
        return Built::of("bottlerocket", Base::Stable);
    }
    if component == "docker" && (word("ce") || word("ee")) {
        return Built::of("docker", Base::Stable);
    }
    if ubuntu_mark(suffix) {
        return Built::of("ubuntu", Base::OwnPicks);
    }
    if ["ds", "dfsg", "deb"].iter().any(|mark| word(mark)) || suffix.contains("+deb") || suffix.contains("~bpo") {
        return Built::of("debian", Base::OwnPicks);
    }
    let elsewhere = node.is_some_and(|node| Provider::of_node(node).is_some_and(|provider| provider != Provider::Openshift));
    // OpenShift's kubelet appends its commit, and nothing else.
    if of_kubernetes(component) && suffix.starts_with('+') && is_commit(said) && !elsewhere {
        return Built::by(Provider::Openshift);
    }
    Built::unlisted()
}

/// `0ubuntu1~22.04.2`, which Microsoft's `ubuntu22.04u1` is not.
fn ubuntu_mark(version: &str) -> bool {
    version.match_indices("ubuntu").any(|(at, _)| version.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_ascii_digit())))
}

fn is_suse(os: &Os) -> bool {
    os.id.contains("suse") || matches!(os.id.as_str(), "sles" | "sle-micro" | "sl-micro") || os.id_like.iter().any(|id| id == "suse")
}

fn is_commit(text: &str) -> bool {
    (6..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

fn numeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Built from a tree with changes, or from between two releases.
fn modified(suffix: &str) -> bool {
    suffix == ".m" || suffix.contains(".m+") || suffix.contains("dirty") || suffix.starts_with("+dev") || suffix.starts_with("-dev")
}
