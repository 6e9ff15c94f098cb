//! The whole verdict: nodes as they are met, judged by what this build ships and by feeds, and every line of it read.

mod boundaries;
mod cost;
mod exposure;
mod families;
mod kubernetes;
mod memory;
mod reboot;
mod rules;
mod streams;

use std::fmt::Write as _;

use holdfast_checks::facts::{
    Component, Executable, InstalledKernel, Kernel, Kubelet, Listing, Node, NodeFacts, Observed, Os, Package, Reason, RebootSentinel,
    Runtime, RuntimeProgram, Source, SourceKind, Unavailable,
};
use holdfast_checks::versions::knowledge::{Builder, FeedInfo, Knowledge, PackageFix, Range, Record};
use holdfast_checks::versions::{Link, VersionFacts, judge};
use jiff::civil::{Date, date};

pub(crate) const TODAY: Date = date(2026, 11, 20);

pub(crate) fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Kernel, "a test"), 7)
}

pub(crate) fn os(id: &str, version_id: &str, fields: &[(&str, &str)]) -> Os {
    let mut os = crate::identity::os(id, version_id);
    os.fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    os
}

/// A node of which nothing is known yet.
pub(crate) fn node() -> NodeFacts {
    NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not read in this test"))
}

/// A node with this system and this running kernel, which was booted on 2026-06-01.
pub(crate) fn machine(os: Os, release: &str, version: &str) -> NodeFacts {
    let mut facts = node();
    facts.os = known(os);
    let mut kernel = Kernel::unread(release, version);
    kernel.boot_time = known(1_780_300_000);
    kernel.reboot_sentinels = known(Listing::complete(Vec::new()));
    facts.kernel = known(kernel);
    facts
}

pub(crate) fn kernel_of(facts: &mut NodeFacts) -> &mut Kernel {
    facts.kernel.value_mut().expect("known")
}

/// Says which kernels are installed: release and build string.
pub(crate) fn install(facts: &mut NodeFacts, kernels: &[(&str, &str)]) {
    let one = |(release, build): &(&str, &str)| {
        let mut kernel = InstalledKernel::unread(*release, format!("/lib/modules/{release}"));
        if !build.is_empty() {
            kernel.build = known((*build).to_owned());
        }
        kernel
    };
    kernel_of(facts).installed = known(Listing::complete(kernels.iter().map(one).collect()));
}

pub(crate) fn sentinel(facts: &mut NodeFacts, packages: &[&str]) {
    let packages = packages.iter().map(|name| (*name).to_owned()).collect();
    let one = RebootSentinel { path: "/run/reboot-required".into(), since: 1_789_500_000, packages };
    kernel_of(facts).reboot_sentinels = known(Listing::complete(vec![one]));
}

pub(crate) fn dpkg(name: &str, version: &str, origin: &str) -> Package {
    Package { manager: "dpkg".into(), name: name.into(), version: version.into(), origin: origin.into() }
}

pub(crate) fn rpm(name: &str, version: &str) -> Package {
    Package { manager: "rpm".into(), name: name.into(), version: version.into(), origin: name.into() }
}

pub(crate) fn runs(path: &str) -> Observed<Executable> {
    known(Executable { path: path.into(), replaced: false })
}

/// Adds a runtime with the programs it runs containers with: path and version.
pub(crate) fn runtime(
    facts: &mut NodeFacts,
    name: &str,
    version: &str,
    package: Option<Package>,
    programs: &[(&str, &str, Option<Package>)],
) {
    let mut runtime = Runtime::unread(name, name, 1);
    runtime.version = known(version.to_owned());
    runtime.installed = known(version.to_owned());
    runtime.executable = runs(&format!("/usr/bin/{name}"));
    runtime.package = package.map_or_else(|| Observed::unavailable_because(Reason::NotPresent, "no package has it"), known);
    let program = |(path, version, package): &(&str, &str, Option<Package>)| RuntimeProgram {
        path: (*path).to_owned(),
        version: if version.is_empty() {
            Observed::unavailable_because(Reason::NotSupported, "no build information")
        } else {
            known((*version).to_owned())
        },
        package: package.clone().map_or_else(|| Observed::unavailable_because(Reason::NotPresent, "no package has it"), known),
    };
    runtime.programs = known(Listing::complete(programs.iter().map(program).collect()));
    push(&mut facts.runtimes, runtime);
}

pub(crate) fn kubelet(facts: &mut NodeFacts, version: &str) {
    let mut kubelet = Kubelet::unread("kubelet", 2, "kubelet");
    kubelet.version = known(version.to_owned());
    kubelet.installed = known(version.to_owned());
    kubelet.executable = runs("/usr/bin/kubelet");
    push(&mut facts.kubelets, kubelet);
}

pub(crate) fn component(facts: &mut NodeFacts, name: &str, version: &str) {
    let mut component = Component::unread(name, 3);
    component.version = known(version.to_owned());
    component.installed = known(version.to_owned());
    component.executable = runs(&format!("/usr/local/bin/{name}"));
    push(&mut facts.components, component);
}

fn push<T>(group: &mut Observed<Listing<T>>, item: T) {
    if group.value().is_none() {
        *group = known(Listing::complete(Vec::new()));
    }
    group.value_mut().expect("just made").items.push(item);
}

pub(crate) fn built_in() -> std::sync::Arc<Knowledge> {
    static BUILT_IN: std::sync::LazyLock<std::sync::Arc<Knowledge>> =
        std::sync::LazyLock::new(|| Knowledge::built_in().expect("the shipped data is valid"));
    std::sync::Arc::clone(&BUILT_IN)
}

/// What this build ships, with feeds over it.
pub(crate) fn with(feeds: &[(&str, &[Record])]) -> Knowledge {
    let mut builder = Builder::new().expect("the shipped data is valid");
    for (name, records) in feeds {
        let info = FeedInfo {
            name: (*name).to_owned(),
            as_of: date(2026, 11, 18),
            source: "OSV".into(),
            digest: (*name).to_owned(),
            complete: true,
        };
        builder.feed(info, records.to_vec());
    }
    builder.build()
}

/// A record of a distribution: fixed in `fixed`.
pub(crate) fn fix(ecosystem: &str, package: &str, id: &str, record: &str, fixed: Option<&str>) -> Record {
    Record::Package(PackageFix {
        ecosystem: ecosystem.into(),
        package: package.into(),
        ids: vec![id.into()],
        record: record.into(),
        ranges: vec![Range { introduced: "0".into(), fixed: fixed.map(str::to_owned) }],
        versions: Vec::new(),
        subscription: ecosystem.contains(":Pro:"),
    })
}

pub(crate) fn verdict(mut facts: NodeFacts, knowledge: &Knowledge, today: Date) -> VersionFacts {
    judge(&mut facts, knowledge, today);
    facts.versions.value().expect("judged").clone()
}

pub(crate) fn kernel_link(facts: NodeFacts, knowledge: &Knowledge) -> Link {
    verdict(facts, knowledge, TODAY).kernel.value().expect("the kernel is known").clone()
}

pub(crate) fn component_link(facts: NodeFacts, knowledge: &Knowledge, subject: &str) -> Link {
    let judged = verdict(facts, knowledge, TODAY);
    judged.components.value().expect("known").items.iter().find(|link| link.subject == subject).expect("there is one").clone()
}

/// Every link as a person would read it.
pub(crate) fn told(name: &str, facts: NodeFacts, knowledge: &Knowledge) -> String {
    let judged = verdict(facts, knowledge, TODAY);
    let mut text = format!("=== {name}\n");
    let links = [judged.os.value(), judged.kernel.value()].into_iter().flatten();
    for link in links.chain(judged.components.value().iter().flat_map(|listing| &listing.items)) {
        tell(&mut text, link);
    }
    if !judged.knowledge.wanted.is_empty() {
        writeln!(text, "wanted: {}", judged.knowledge.wanted).expect("a string takes it");
    }
    text
}

pub(crate) fn tell(text: &mut String, link: &Link) {
    fn axis<T>(axis: &Observed<T>, known: impl Fn(&T) -> String) -> String {
        match axis {
            Observed::Known { value, .. } => known(value),
            Observed::Unavailable(why) => format!("unknown: {}", why.detail),
        }
    }
    let mut say = |said: String| writeln!(text, "{said}").expect("a string takes it");
    say(format!("{}: {} ({})", link.subject, link.running, link.vendor));
    say(format!("  {}: {}", link.headline.name(), link.because));
    say(format!("  do: {}", link.action));
    say(format!("  settles: {}", link.settles));
    say(format!(
        "  support: {}",
        axis(&link.support, |one| format!(
            "{:?} by {}, {:?} days, upstream: {}",
            one.state, one.judged_by, one.days_left, one.upstream_says
        ))
    ));
    say(format!(
        "  patch: {}",
        axis(&link.patch, |one| format!("{:?} {:?} days {:?} releases, newest {}", one.state, one.days, one.releases, one.newest))
    ));
    say(format!(
        "  vulnerability: {}",
        axis(&link.vulnerability, |one| format!(
            "{:?} affecting {} exploited {} exploits {} unreachable {} possible {} undecided {} fixed {}, fixed in {} ({})",
            one.state,
            one.affecting,
            one.exploited,
            one.public_exploits,
            one.unreachable,
            one.possible,
            one.undecided,
            one.fixed,
            one.fixed_in.as_deref().unwrap_or("-"),
            one.judged_by
        ))
    ));
    for one in link.vulnerability.value().iter().flat_map(|found| found.matches.items.iter().take(6)) {
        say(format!("    {} {:?} {:?} {} [{}] {}", one.id, one.confidence, one.exposure, one.compared, one.record, one.exposure_because));
    }
    say(format!(
        "  activation: {}",
        axis(&link.activation, |one| format!("{:?} security {:?} since {:?}: {}", one.state, one.security, one.since, one.because))
    ));
}
