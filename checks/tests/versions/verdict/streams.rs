//! Advisories end to end: every collected vector, the distributions' streams, and the order in which records decide.

use super::*;
use holdfast_checks::versions::{Confidence, Headline, VulnerabilityState};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    advisory_vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    component: String,
    version: Option<String>,
    pkg: Option<String>,
    distro: Option<String>,
    id: String,
    upstream: Option<String>,
    expect: Option<String>,
    raw: Option<String>,
}

/// How a link stands to a vulnerability: `affected`, `possible`, or neither.
fn stands(link: &Link, id: &str) -> &'static str {
    let found = link.vulnerability.value().map(|found| found.matches.items.as_slice()).unwrap_or_default();
    match found.iter().find(|one| one.id == id).map(|one| one.confidence) {
        Some(Confidence::Possible) => "possible",
        Some(_) => "affected",
        None => "fixed",
    }
}

#[test]
fn every_collected_vector() {
    let text = include_str!("../../data/verdict-vectors.yaml");
    let vectors: Vectors = serde_saphyr::from_str(text).expect("the vectors parse");
    assert!(vectors.advisory_vectors.len() >= 16);
    let ubuntu = fix("Ubuntu:22.04:LTS", "runc", "CVE-2024-21626", "UBUNTU-CVE-2024-21626", Some("1.1.7-0ubuntu1~22.04.2"));
    let knowledge = with(&[("osv/Ubuntu", &[ubuntu])]);
    for vector in vectors.advisory_vectors {
        let version = vector.version.clone().unwrap_or_default();
        let said = vector.raw.clone().unwrap_or_else(|| version.clone());
        let link = match (vector.component.as_str(), vector.distro.as_deref()) {
            ("linux-kernel", None) => kernel_link(machine(os("nixos", "26.05", &[]), &version, "#1"), &knowledge),
            ("linux-kernel", Some(distro)) => {
                let release = format!("{}.x86_64", vector.pkg.clone().expect("given"));
                let system = if distro == "el9" { os("rhel", "9.7", &[]) } else { os("rhel", "8.10", &[]) };
                kernel_link(machine(system, &release, "#1"), &knowledge)
            }
            ("kubelet", _) => {
                let mut facts = node();
                kubelet(&mut facts, &format!("v{version}"));
                component_link(facts, &knowledge, "kubelet")
            }
            ("runc", Some(_)) => {
                let mut facts = machine(os("ubuntu", "22.04", &[]), "6.8.0-51-generic", "");
                let package = dpkg("runc", vector.pkg.as_deref().expect("given"), "runc");
                runtime(&mut facts, "containerd", "2.3.4", None, &[("/usr/sbin/runc", "1.1.7", Some(package))]);
                component_link(facts, &knowledge, "containerd/runc")
            }
            ("runc", None) => {
                let mut facts = node();
                runtime(&mut facts, "containerd", "2.3.4", None, &[("/usr/sbin/runc", &version, None)]);
                component_link(facts, &knowledge, "containerd/runc")
            }
            (component, _) => {
                let name = if component == "docker-engine" { "docker" } else { component };
                let mut facts = node();
                runtime(&mut facts, name, &said, None, &[]);
                component_link(facts, &knowledge, name)
            }
        };
        let expected = match vector.upstream.as_deref().or(vector.expect.as_deref()).expect("one of both") {
            "affected" => "affected",
            _ => "fixed",
        };
        let stands = stands(&link, &vector.id);
        assert_eq!(stands, expected, "{} {said} {:?} {}", vector.component, vector.pkg, vector.id);
    }
}

fn copy_fail(id: &str, version_id: &str, release: &str) -> (String, String, Headline) {
    let link = kernel_link(machine(os(id, version_id, &[]), release, "#1 SMP"), &built_in());
    let found = link.vulnerability.value().and_then(|found| found.matches.items.iter().find(|one| one.id == "CVE-2026-31431").cloned());
    let said = found.map_or_else(|| ("none".to_owned(), String::new()), |one| (format!("{:?}", one.confidence), one.record));
    (said.0, said.1, link.headline)
}

#[test]
fn a_stream_is_compared_with_its_own_fix() {
    let says = |id, version, release| copy_fail(id, version, release).0;
    assert_eq!(says("almalinux", "9.7", "5.14.0-611.20.1.el9_7.x86_64"), "Confirmed");
    assert_eq!(says("almalinux", "9.7", "5.14.0-611.54.1.el9_7.x86_64"), "none", "another stream's higher fix does not count");
    assert_eq!(says("almalinux", "9.8", "5.14.0-687.4.1.el9_8.x86_64"), "Confirmed", "nor another stream's lower one");
    assert_eq!(says("rhel", "9.7", "5.14.0-611.20.1.el9_7.x86_64"), "Confirmed");
    assert_eq!(says("rocky", "9.5", "5.14.0-503.40.1.el9_5.x86_64"), "Likely", "no fix of 9.5 is listed: below the lowest of 9");
    assert_eq!(says("rhel", "9.4", "5.14.0-427.124.1.el9_4.x86_64"), "Possible", "extended updates have fixes of their own");
    assert_eq!(says("rhel", "9.5", "5.14.0-503.40.1.el9_5.x86_64"), "Likely", "9.5 never had any");
    assert_eq!(says("ol", "9.7", "5.14.0-611.20.1.el9_7.x86_64"), "none", "Oracle's builds are Oracle's");
    assert_eq!(copy_fail("rhel", "9.4", "5.14.0-427.124.1.el9_4.x86_64").2, Headline::Unknown, "what is possible sets no headline");
}

#[test]
fn upstreams_numbers_count_as_far_as_the_builder_follows_them() {
    let says = |id, version, release, build: &str| {
        let link = kernel_link(machine(os(id, version, &[]), release, build), &built_in());
        (stands(&link, "CVE-2026-31431"), link.vulnerability.value().map(|found| found.state))
    };
    assert_eq!(says("flatcar", "1", "6.6.136-flatcar", "#1").0, "affected");
    assert_eq!(says("flatcar", "1", "6.6.137-flatcar", "#1").0, "fixed");
    assert_eq!(says("debian", "12", "6.1.0-44-amd64", "#1 SMP Debian 6.1.164-1 (2026-03-09)").0, "affected");
    assert_eq!(says("debian", "12", "6.1.0-47-amd64", "#1 SMP Debian 6.1.170-1 (2026-05-09)").0, "fixed");
    let ubuntu = says("ubuntu", "24.04", "6.8.0-60-generic", "#63-Ubuntu SMP Tue Apr 15 19:04:15 UTC 2025");
    assert_eq!(ubuntu, ("possible", Some(VulnerabilityState::Undecided)), "its upstream number alone alleges nothing");
    assert_eq!(says("sles", "15.6", "6.4.0-150600.23.7-default", "#1 SMP"), ("fixed", None), "nothing can be told at all");
}

#[test]
fn the_distributions_own_record_comes_first_in_both_directions() {
    let records = [
        fix("Debian:12", "linux", "CVE-2026-31431", "DEBIAN-CVE-2026-31431", Some("6.1.164-1")),
        fix("Debian:12", "linux", "CVE-2026-99999", "DEBIAN-CVE-2026-99999", Some("6.1.170-1")),
        fix("Debian:12", "linux", "CVE-2026-88888", "DEBIAN-CVE-2026-88888", None),
    ];
    let knowledge = with(&[("osv/Debian", &records)]);
    let debian = |version: &str| machine(os("debian", "12", &[]), "6.1.0-44-amd64", &format!("#1 SMP Debian {version} (2026-03-09)"));
    let link = kernel_link(debian("6.1.164-1"), &knowledge);
    assert_eq!(stands(&link, "CVE-2026-31431"), "fixed", "backported, whatever upstream's number says");
    let found = link.vulnerability.value().expect("known");
    let of = |id: &str| found.matches.items.iter().find(|one| one.id == id).expect("listed");
    assert_eq!((of("CVE-2026-99999").confidence, of("CVE-2026-99999").fixed_in.as_deref()), (Confidence::Confirmed, Some("6.1.170-1")));
    assert_eq!(of("CVE-2026-99999").compared, "6.1.164-1 < 6.1.170-1 (dpkg)");
    assert_eq!((of("CVE-2026-88888").fixed_in.as_deref(), of("CVE-2026-88888").compared.as_str()), (None, "6.1.164-1: no fix yet (dpkg)"));
    assert!(found.judged_by.contains("Debian:12 (OSV, 2026-11-18)"), "{}", found.judged_by);
    assert_eq!(link.patch.value().map(|patch| patch.newest.clone()).as_deref(), Some("6.1.170-1"));
    assert!(link.action.contains("update linux-image-amd64 to"), "{}", link.action);
    // A rebuilt kernel of the next release is compared with that release's records.
    let next = [fix("Debian:13", "linux", "CVE-2026-99999", "DEBIAN-CVE-2026-99999", Some("6.12.90-2"))];
    let knowledge = with(&[("osv/Debian", &next)]);
    let backport = machine(os("debian", "12", &[]), "6.12.90+deb12-amd64", "#1 SMP Debian 6.12.90-2~bpo12+1 (2026-05-01)");
    assert_eq!(stands(&kernel_link(backport, &knowledge), "CVE-2026-99999"), "fixed");
}

#[test]
fn a_packaged_runtime_is_its_distributions_and_an_unknown_suffix_alleges_nothing() {
    let runc = |version: &str, package: Option<Package>, knowledge: &Knowledge| {
        let mut facts = machine(os("ubuntu", "22.04", &[]), "6.8.0-51-generic", "");
        runtime(&mut facts, "containerd", "2.3.4", None, &[("/usr/sbin/runc", version, package)]);
        component_link(facts, knowledge, "containerd/runc")
    };
    let ubuntu = |version| Some(dpkg("runc", version, "runc"));
    let record = fix("Ubuntu:22.04:LTS", "runc", "CVE-2024-21626", "UBUNTU-CVE-2024-21626", Some("1.1.7-0ubuntu1~22.04.2"));
    let feed = with(&[("osv/Ubuntu", &[record])]);
    assert_eq!(stands(&runc("1.1.7", ubuntu("1.1.7-0ubuntu1~22.04.2"), &feed), "CVE-2024-21626"), "fixed");
    assert_eq!(stands(&runc("1.1.7", ubuntu("1.1.7-0ubuntu1~22.04.1"), &feed), "CVE-2024-21626"), "affected");
    let without = runc("1.1.7", ubuntu("1.1.7-0ubuntu1~22.04.2"), &built_in());
    assert_eq!(stands(&without, "CVE-2024-21626"), "possible");
    assert_ne!(without.headline, Headline::PatchBehind);
    assert!(without.settles.contains("osv/Ubuntu"), "{}", without.settles);
    assert_eq!(stands(&runc("1.1.7-acme3", None, &built_in()), "CVE-2024-21626"), "possible");
    assert_eq!(stands(&runc("1.1.7", None, &built_in()), "CVE-2024-21626"), "affected");
}

/// Its package is not known where the database is not readable, or where the file was replaced since it started.
#[test]
fn a_distributions_build_is_its_distributions_without_a_package_too() {
    let runc = |system: Observed<Os>| {
        let mut facts = machine(os("debian", "12", &[]), "6.1.0-40-amd64", "");
        facts.os = system;
        runtime(&mut facts, "containerd", "2.3.4", None, &[("/usr/sbin/runc", "1.1.5+ds1", None)]);
        component_link(facts, &built_in(), "containerd/runc")
    };
    let link = runc(known(os("debian", "12", &[])));
    assert_eq!(link.support.value().expect("known").judged_by, "debian 12", "not upstream's 1.1, which ended");
    assert!(link.patch.unavailable().is_some(), "nor compared with upstream's newest");
    assert_eq!(link.headline, Headline::Unknown);
    for unknown in [Observed::unavailable_because(Reason::PermissionDenied, "open /etc/os-release"), known(os("alpine", "3.22", &[]))] {
        let link = runc(unknown);
        assert!(link.support.unavailable().is_some());
        assert_eq!(link.headline, Headline::Unknown);
    }
}
