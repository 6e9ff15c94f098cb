//! A link among those of other nodes: what puts them side by side (component, image and line), by what they compare, and what the
//! newest is that counts.
//!
//! A node says of itself what it runs. One that claims to be newer than any other must not make outliers of all the others, so the
//! newest counts only once enough of them run it. Pure, like everything here. Must not know where other nodes' links are kept.

use std::cmp::Ordering;

use super::kernel::{KernelStrings, identify};
use super::{FleetPlace, Link, Scheme, compare};
use crate::facts::{NodeFacts, Observed, Os, Package, Reason, Runtime, Source, SourceKind};

/// The longest text that groups or compares, in characters: nodes choose it. Longer ones are cut.
const MAX_CHARACTERS: usize = 128;

/// So many nodes make a version count in a line of any size.
const ENOUGH_NODES: i64 = 2;
/// So does one node in so many: in a small line a single one.
const ENOUGH_SHARE: i64 = 20;
/// Up to so many nodes are counted one by one.
const COUNTED: i64 = 10;

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
    let named = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let package = link.package.value().zip(scheme).map(|(version, order)| Level { order, version: bounded(without_epoch(version)) });
    let upstream = || {
        let version = link.upstream.value().filter(|version| compare::upstream(version).is_some())?;
        Some(Level { order: Order::Upstream, version: bounded(version) })
    };
    Lined { line: bounded(&named), level: package.or_else(upstream) }
}

/// Nodes whose versions of a component compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cohort {
    /// The product.
    pub component: String,
    /// The system, see [`image`].
    pub image: String,
    /// See [`Lined::line`].
    pub line: String,
    /// How they compare.
    pub order: Order,
}

/// The newest version of a cohort that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The version.
    pub version: String,
    /// How many nodes run it, at least: up to ten exactly, above that rounded down to 10, 20, 50, 100, …, so that not every single
    /// node that changes changes the verdict of all the others.
    pub nodes: i64,
}

/// The newest of the versions of a cohort that enough of its nodes run: two, or one in twenty. `running`: each version once, with the
/// number of nodes.
pub fn newest<'a>(order: Order, running: &[(&'a str, i64)]) -> Option<Newest> {
    let all = running.iter().fold(0_i64, |sum, (_, nodes)| sum.saturating_add(*nodes));
    let counts = |nodes: i64| nodes >= ENOUGH_NODES || (nodes > 0 && nodes.saturating_mul(ENOUGH_SHARE) >= all);
    // Of those that are equal the text decides, so that the same fleet always gives the same.
    let by_order = |a: &&(&'a str, i64), b: &&(&'a str, i64)| order.compare(a.0, b.0).then_with(|| a.0.cmp(b.0));
    let (version, nodes) = running.iter().filter(|(_, nodes)| counts(*nodes)).max_by(by_order)?;
    Some(Newest { version: (*version).to_owned(), nodes: at_least(*nodes) })
}

/// 1, 2, 3, … 10, 20, 50, 100, 200, 500, …: the largest that is not more.
fn at_least(nodes: i64) -> i64 {
    if nodes <= COUNTED {
        return nodes;
    }
    let mut unit = COUNTED;
    while nodes >= unit.saturating_mul(COUNTED) && unit < i64::MAX / 100 {
        unit *= COUNTED;
    }
    [5, 2, 1].into_iter().map(|digit| unit.saturating_mul(digit)).find(|round| *round <= nodes).unwrap_or(unit)
}

/// Says of every link of a node how it stands among the others. `newest` is asked for what counts in its cohort; `None` where nobody
/// else is known.
pub fn lay_over<'a>(facts: &mut NodeFacts, newest: impl Fn(&Cohort) -> Option<&'a Newest>) {
    let (mut versions, source, at) = match std::mem::replace(&mut facts.versions, not_compared("not judged")) {
        Observed::Known { value, source, at } => (value, source, at),
        unavailable @ Observed::Unavailable(_) => {
            facts.versions = unavailable;
            return;
        }
    };
    let image = facts.os.value().map(image).unwrap_or_default();
    let components = versions.components.value_mut().map(|list| list.items.as_mut_slice()).unwrap_or_default();
    for link in versions.os.value_mut().into_iter().chain(versions.kernel.value_mut()).chain(components) {
        link.fleet = place(facts, link, &image, &newest, at);
    }
    facts.versions = Observed::Known { value: versions, source, at };
}

fn place<'a>(facts: &NodeFacts, link: &Link, image: &str, newest: impl Fn(&Cohort) -> Option<&'a Newest>, at: i64) -> Observed<FleetPlace> {
    if image.is_empty() {
        return not_compared("the system is not known, so nothing tells which nodes are like this one");
    }
    let Lined { line, level } = lined(facts, link);
    let Some(Level { order, version }) = level else {
        return not_compared("no exact version is known that could be compared with other nodes'");
    };
    let cohort = Cohort { component: link.component.clone(), image: image.to_owned(), line, order };
    let place = match newest(&cohort) {
        Some(Newest { version: newest, nodes }) => {
            FleetPlace { newest: newest.clone(), nodes: *nodes, behind: order.compare(&version, newest) == Ordering::Less }
        }
        None => FleetPlace { newest: version, nodes: 1, behind: false },
    };
    Observed::known(place, Source::new(SourceKind::Derived, format!("other nodes of {image}, {} {}", link.component, cohort.line)), at)
}

fn not_compared<T>(why: &str) -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, why)
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
