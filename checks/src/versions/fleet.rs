//! A link among those of other nodes: what groups them (image and line), and by what they compare.
//!
//! Pure, like everything here. Must not know where other nodes' links are kept.

use std::cmp::Ordering;

use super::kernel::{KernelStrings, identify};
use super::{Link, Scheme, compare};
use crate::facts::{NodeFacts, Os, Package, Runtime};

/// The longest text that groups or compares, in characters: nodes choose it. Longer ones are cut.
const MAX_CHARACTERS: usize = 128;

/// The system as groups name it: `debian 12`, `cos 125`. Systems without a version are named by their build or variant: `arch rolling`.
pub fn image(os: &Os) -> String {
    let field = |name: &str| os.fields.get(name).filter(|value| !value.is_empty());
    let version = Some(&os.version_id).filter(|version| !version.is_empty());
    let version = version.or_else(|| field("BUILD_ID")).or_else(|| field("IMAGE_VERSION")).or_else(|| field("VARIANT_ID"));
    let parts = [Some(&os.id), version];
    bounded(&parts.into_iter().flatten().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" "))
}

/// How versions of a line compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// Package versions, as dpkg compares.
    Dpkg,
    /// Package versions, as rpm compares.
    Rpm,
    /// Upstream's numbers.
    Upstream,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Dpkg, Self::Rpm, Self::Upstream];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
            Self::Upstream => "upstream",
        }
    }

    /// The order of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }

    /// Compares two versions. What is no version to upstream's order equals everything: nothing follows from it.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Dpkg => compare::dpkg(a, b),
            Self::Rpm => compare::rpm(a, b),
            Self::Upstream => match (compare::upstream(a), compare::upstream(b)) {
                (Some(a), Some(b)) => a.cmp_precedence(&b),
                _ => Ordering::Equal,
            },
        }
    }
}

/// A version that compares with others of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// How.
    pub order: Order,
    /// The version: of the package where it is known, else upstream's.
    pub version: String,
}

/// What a link of a node is compared with and by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lined {
    /// Vendor, series and flavour: `debian 6.1 cloud-amd64`. Versions of different lines are no successors of each other.
    pub line: String,
    /// `None` where no exact version is known.
    pub level: Option<Level>,
}

/// The line of a link, and its level on it.
pub fn lined(facts: &NodeFacts, link: &Link) -> Lined {
    let (flavour, scheme) = match link.component.as_str() {
        "kernel" => of_kernel(facts),
        _ => (String::new(), package_of(facts, link).and_then(|package| scheme(&package.manager))),
    };
    let parts = [link.vendor.as_str(), link.series.as_str(), flavour.as_str()];
    let line = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let package = link.package.value().zip(scheme).map(|(version, order)| Level { order, version: bounded(without_epoch(version)) });
    let upstream = || {
        let version = link.upstream.value().filter(|version| compare::upstream(version).is_some())?;
        Some(Level { order: Order::Upstream, version: bounded(version) })
    };
    Lined { line: bounded(&line), level: package.or_else(upstream) }
}

/// The flavour of the running kernel, and how its package version compares; `None` where only the beginning of that is known.
fn of_kernel(facts: &NodeFacts) -> (String, Option<Order>) {
    let Some(kernel) = facts.kernel.value() else { return (String::new(), None) };
    let signature = kernel.signature.value().map(String::as_str);
    let identity = identify(&KernelStrings { release: &kernel.release, version: &kernel.version, signature, os: facts.os.value() });
    let printed = identity.package.as_ref().filter(|package| package.complete).map(|package| match package.scheme {
        Scheme::Dpkg => Order::Dpkg,
        Scheme::Rpm => Order::Rpm,
    });
    let order = kernel.package.value().and_then(|package| scheme(&package.manager)).or(printed);
    (identity.flavour, order)
}

/// The package that brought what a link is about: a runtime, or a program that one runs.
fn package_of<'a>(facts: &'a NodeFacts, link: &Link) -> Option<&'a Package> {
    let runtimes = &facts.runtimes.value()?.items;
    let of = |subject: &str| runtimes.iter().find(|runtime| runtime.subject == subject);
    match of(&link.subject) {
        Some(runtime) => runtime.package.value(),
        None => link.subject.rsplit_once('/').and_then(|(runtime, _)| program_package(of(runtime)?, &link.component)),
    }
}

fn program_package<'a>(runtime: &'a Runtime, component: &str) -> Option<&'a Package> {
    let programs = runtime.programs.value()?.items.iter();
    let named = |path: &str| path.rsplit('/').next() == Some(component);
    programs.filter(|program| named(&program.path)).find_map(|program| program.package.value())
}

fn scheme(manager: &str) -> Option<Order> {
    match manager {
        "dpkg" => Some(Order::Dpkg),
        "rpm" => Some(Order::Rpm),
        _ => None,
    }
}

/// Running kernels print no epoch, package databases do: of one line either all have it or none.
fn without_epoch(version: &str) -> &str {
    let numeric = |epoch: &str| !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    version.split_once(':').filter(|(epoch, _)| numeric(epoch)).map_or(version, |(_, version)| version)
}

fn bounded(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_CHARACTERS).collect()
}
