//! The links of runtimes, of the programs that they run containers with, and of the components of Kubernetes.

use std::collections::BTreeSet;

use super::activation::{Activated, of_daemon, of_program};
use super::target::{Target, Upstream};
use super::{Scene, observed_at};
use crate::facts::{
    Executable, Kubelet, Listing, Observed, Package, Reason, Runtime, RuntimeProgram, Skipped, Source, SourceKind, Unavailable,
};
use crate::versions::ecosystem::{about_software, feed};
use crate::versions::{Base, Confidence, Link, Provider, Software, SoftwareStrings, identify_software};

/// One program, as a runtime, a kubelet or a component says of itself.
struct Said<'a> {
    subject: String,
    component: &'a str,
    version: &'a Observed<String>,
    installed: &'a Observed<String>,
    executable: Option<&'a Observed<Executable>>,
    package: Option<&'a Observed<Package>>,
    kubelet: Option<&'a Kubelet>,
}

/// Judges all of them.
pub(super) fn judge(scene: &Scene<'_>) -> Observed<Listing<Link>> {
    let facts = scene.facts;
    let groups = [facts.runtimes.unavailable(), facts.kubelets.unavailable(), facts.components.unavailable()];
    if let [Some(why), Some(_), Some(_)] = groups {
        return Observed::Unavailable(why.clone());
    }
    let mut links = Listing::complete(Vec::new());
    for (name, why) in ["runtimes", "kubelets", "components"].iter().zip(groups) {
        if let Some(why) = why {
            links.skipped.push(Skipped { what: format!("{name}: {}", why.detail), reason: why.reason });
        }
    }
    let at = [observed_at(&facts.runtimes), observed_at(&facts.kubelets), observed_at(&facts.components)].into_iter().max().unwrap_or(0);
    if let Some(runtimes) = facts.runtimes.value() {
        links.skipped.extend(runtimes.skipped.iter().cloned());
        for runtime in &runtimes.items {
            of_runtime(scene, runtime, at, &mut links);
        }
    }
    if let Some(kubelets) = facts.kubelets.value() {
        links.skipped.extend(kubelets.skipped.iter().cloned());
        for kubelet in &kubelets.items {
            let Kubelet { subject, version, installed, executable, .. } = kubelet;
            let said = Said {
                subject: subject.clone(),
                component: "kubelet",
                version,
                installed,
                executable: Some(executable),
                package: None,
                kubelet: Some(kubelet),
            };
            links.items.push(link(scene, &said, at));
        }
    }
    if let Some(components) = facts.components.value() {
        links.skipped.extend(components.skipped.iter().cloned());
        for one in &components.items {
            let said = Said {
                subject: one.subject.clone(),
                component: &one.name,
                version: &one.version,
                installed: &one.installed,
                executable: Some(&one.executable),
                package: None,
                kubelet: None,
            };
            links.items.push(link(scene, &said, at));
        }
    }
    Observed::known(links, Source::new(SourceKind::Derived, "software identity and version knowledge"), at)
}

fn of_runtime(scene: &Scene<'_>, runtime: &Runtime, at: i64, links: &mut Listing<Link>) {
    let said = Said {
        subject: runtime.subject.clone(),
        component: &runtime.name,
        version: &runtime.version,
        installed: &runtime.installed,
        executable: Some(&runtime.executable),
        package: Some(&runtime.package),
        kubelet: None,
    };
    links.items.push(link(scene, &said, at));
    let Some(programs) = runtime.programs.value() else { return };
    links.skipped.extend(programs.skipped.iter().cloned());
    let mut seen = BTreeSet::new();
    for RuntimeProgram { path, version, package } in &programs.items {
        let name = path.rsplit('/').next().unwrap_or(path);
        // A runtime's own shims come with it.
        if name.is_empty() || name.starts_with("containerd-shim") || name.starts_with("conmon") {
            continue;
        }
        let component = if name.starts_with("runc") { "runc" } else { name };
        let plain = format!("{}/{name}", runtime.subject);
        let subject = if seen.insert(plain.clone()) { plain } else { format!("{plain}:{path}") };
        let said = Said { subject, component, version, installed: version, executable: None, package: Some(package), kubelet: None };
        links.items.push(link(scene, &said, at));
    }
}

fn link(scene: &Scene<'_>, said: &Said<'_>, at: i64) -> Link {
    let replaced = said.executable.and_then(Observed::value).is_some_and(|executable| executable.replaced);
    let text = said.version.value().map(String::as_str);
    let package = said.package.and_then(Observed::value);
    // The package is that of the file on disk: of what runs only where that was not replaced.
    let running = identified(scene, said.component, text, package.filter(|_| !replaced));
    let Some(running) = running else {
        let why = said.version.unavailable().map_or("its version is not known", |why| why.detail.as_str());
        let mut link = Link::unread(said.subject.clone(), said.component, "");
        link.because = format!("the version of {} is not known: {why}", said.subject);
        "its version, from the program's file or its package".clone_into(&mut link.settles);
        return link;
    };
    let target = target_of(scene, said, &running, at);
    let activated = match said.executable {
        Some(executable) => of_daemon(executable, said.version, said.installed, at),
        None => of_program(&target.running, at),
    };
    let waiting = waits(&activated).and_then(|new| identified(scene, said.component, Some(new), package));
    let waiting = waiting.map(|software| target_of(scene, said, &software, at));
    super::assemble(scene, &target, activated, waiting.as_ref(), said.kubelet, false)
}

fn waits(activated: &Activated) -> Option<&str> {
    activated.waits.as_ref().map(|(version, _)| version.as_str())
}

fn identified(scene: &Scene<'_>, component: &str, text: Option<&str>, package: Option<&Package>) -> Option<Software> {
    if text.is_none() && package.is_none() {
        return None;
    }
    let (os, node) = (scene.facts.os.value(), Some(&scene.facts.node));
    Some(identify_software(&SoftwareStrings { component, text, package, os, node }))
}

/// What an identity means to records.
fn target_of(scene: &Scene<'_>, said: &Said<'_>, software: &Software, at: i64) -> Target {
    let os = scene.facts.os.value();
    let packaged = software.package.is_some();
    let of_distribution = os.filter(|os| packaged && software.vendor == os.id);
    let rows = software.lifecycle(os);
    // OpenShift's own numbers and a distribution's packages are not upstream's.
    let comparable = software.exact && !software.of_distribution() && software.provider != Some(Provider::Openshift);
    let newest = if comparable { rows.iter().filter(|(product, _)| upstream_product(product)).cloned().collect() } else { Vec::new() };
    Target {
        subject: said.subject.clone(),
        component: said.component.to_owned(),
        running: software.text.clone(),
        vendor: software.vendor.clone(),
        tracks_upstream: software.base == Base::Stable,
        series: software.series.clone(),
        upstream: upstream(software, os.is_some_and(|os| matches!(os.id.as_str(), "cos" | "flatcar"))),
        package: software.package.as_ref().filter(|package| package.complete).map(|package| (package.text.clone(), package.scheme)),
        questions: of_distribution.map_or_else(Vec::new, |os| about_software(software, os)),
        feed: of_distribution.and_then(feed).unwrap_or_default(),
        stream: None,
        family: None,
        flavour: String::new(),
        no_rows: Unavailable::new(Reason::NotSupported, format!("no lifecycle data covers {} {}", said.component, software.text)),
        rows,
        newest,
        at,
    }
}

fn upstream_product(product: &str) -> bool {
    matches!(product, "kubernetes" | "containerd" | "cri-o" | "docker-engine" | "runc" | "crun" | "etcd")
}

/// What upstream's numbers tell: everything of upstream's own release, little of one that somebody added fixes to.
fn upstream(software: &Software, own_builds: bool) -> Upstream {
    let Some(version) = software.upstream.clone() else { return Upstream::silent() };
    let below = match (software.exact, software.base) {
        (false, _) => Some(Confidence::Possible),
        // Builds that carry a fix now and then before upstream's release has it.
        (true, Base::Stable) if own_builds || matches!(software.vendor.as_str(), "aks" | "bottlerocket" | "microsoft") => {
            Some(Confidence::Likely)
        }
        (true, Base::Stable) => Some(Confidence::Confirmed),
        (true, base) => base.affected_below(),
    };
    let clears = software.exact && software.base.fixed_above();
    Upstream { version: Some(version), exact: software.exact, below, clears }
}
