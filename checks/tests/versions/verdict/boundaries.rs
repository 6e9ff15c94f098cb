//! Hostile and missing facts, and bounds.

use super::*;
use holdfast_checks::versions::{Headline, MAX_MATCHES};

#[test]
fn what_was_not_read_is_unknown_with_the_reason() {
    let judged = verdict(node(), &built_in(), TODAY);
    assert!(judged.os.unavailable().is_some() && judged.kernel.unavailable().is_some() && judged.components.unavailable().is_some());
    let mut facts = node();
    kubelet(&mut facts, "v1.36.4");
    facts.kubelets.value_mut().expect("known").items[0].version =
        Observed::unavailable_because(Reason::PermissionDenied, "open /proc/2/exe");
    let judged = verdict(facts, &built_in(), TODAY);
    let listing = judged.components.value().expect("known");
    assert_eq!(listing.items[0].headline, Headline::Unknown);
    assert!(listing.items[0].because.contains("open /proc/2/exe"));
    assert_eq!(listing.skipped.len(), 2, "runtimes and other components are not known");
}

#[test]
fn the_gravest_are_listed_and_the_rest_counted() {
    let records: Vec<Record> =
        (0..60).map(|at| fix("Debian:12", "linux", &format!("CVE-2026-{at:05}"), &format!("D-{at}"), Some("6.1.200-1"))).collect();
    let knowledge = with(&[("osv/Debian", &records)]);
    let facts = machine(os("debian", "12", &[]), "6.1.0-40-amd64", "#1 SMP Debian 6.1.153-1 (2025-09-20)");
    let link = kernel_link(facts, &knowledge);
    let found = link.vulnerability.value().expect("known");
    assert_eq!(found.matches.items.len(), MAX_MATCHES);
    assert!(found.affecting >= 60);
    assert_eq!(found.matches.skipped.len(), 1);
    assert_eq!(found.fixed_in.as_deref(), Some("6.1.200-1"), "it has upstream's fixes too");
    let exploited: Vec<bool> = found.matches.items.iter().map(|one| one.exploited.is_some()).collect();
    assert!(exploited.is_sorted_by(|a, b| a >= b), "what is exploited comes first");
}

#[test]
fn a_fix_that_must_be_bought_is_said() {
    let records = [
        fix("Ubuntu:22.04:LTS", "runc", "CVE-2026-55555", "UBUNTU-CVE-2026-55555", None),
        fix("Ubuntu:Pro:22.04:LTS", "runc", "CVE-2026-55555", "UBUNTU-CVE-2026-55555", Some("1.1.7-0ubuntu1~22.04.9+esm1")),
    ];
    let knowledge = with(&[("osv/Ubuntu", &records)]);
    let mut facts = machine(os("ubuntu", "22.04", &[]), "6.8.0-51-generic", "");
    let package = dpkg("runc", "1.1.7-0ubuntu1~22.04.2", "runc");
    runtime(&mut facts, "containerd", "2.3.4", None, &[("/usr/sbin/runc", "1.1.7", Some(package))]);
    let link = component_link(facts, &knowledge, "containerd/runc");
    let found = link.vulnerability.value().expect("known");
    let one = found.matches.items.iter().find(|one| one.id == "CVE-2026-55555").expect("listed");
    assert!(one.subscription);
    assert!(link.patch.value().is_none_or(|patch| !patch.newest.contains("esm")), "what must be bought is not what it would get");
}
