//! From stored documents back to facts.

use std::sync::{Arc, LazyLock};

use holdfast_checks::derive::dates;
use holdfast_checks::entries::Body;
use holdfast_checks::facts::{CertificateFact, Deployment, Group, InstalledKernel, Listing, NodeFacts, Reason};
use holdfast_checks::inventory::{entries, facts_for_collector};
use holdfast_checks::versions::judge;
use holdfast_checks::versions::knowledge::Knowledge;
use jiff::civil::date;
use proptest::prelude::*;

use crate::fixture::{certificate, chain_facts, denied, facts, known, list, os_and_kernel, rebuilt, said};

static KNOWLEDGE: LazyLock<Arc<Knowledge>> = LazyLock::new(|| Knowledge::built_in().expect("it loads"));

fn stored(facts: &NodeFacts) -> Vec<(String, String, String)> {
    let entry = |entry: holdfast_checks::entries::Entry| match (entry.key.parts(), &entry.body) {
        ((kind, name), Body::Inventory(inventory)) => (kind.to_owned(), name.to_owned(), inventory.json.clone()),
        _ => panic!("a finding in the inventory"),
    };
    entries(facts, 0).entries.into_iter().map(entry).collect()
}

fn back(documents: &[(String, String, String)]) -> NodeFacts {
    facts_for_collector("n1", "c1", documents.iter().map(|(kind, name, json)| (kind.as_str(), name.as_str(), json.as_str())))
}

#[test]
fn what_the_collector_judges_is_what_the_node_would_have_judged() {
    let facts = facts();
    let mut restored = back(&stored(&facts));
    assert_eq!(restored.os.value(), facts.os.value());
    assert_eq!(restored.node, facts.node);
    let today = date(2026, 11, 20);
    let support = |facts: &NodeFacts| {
        let mut facts = facts.clone();
        judge(&mut facts, &KNOWLEDGE, today);
        facts.versions.value().and_then(|versions| versions.kernel.value()?.support.value().cloned()).expect("known")
    };
    assert_eq!(support(&restored).judged_by, "debian 12");
    assert_eq!(support(&restored), support(&facts));
    assert_eq!(restored.unavailable(Group::Files).map(|why| why.detail.as_str()), Some("not part of the inventory"));
    let names = |facts: &NodeFacts| -> Vec<String> {
        let kubelets = facts.kubelets.value().into_iter().flat_map(|listing| &listing.items).map(|kubelet| kubelet.subject.clone());
        let others = facts.components.value().into_iter().flat_map(|listing| &listing.items).map(|component| component.subject.clone());
        let ports = facts.listeners.value().into_iter().flat_map(|listing| &listing.items).map(|l| format!("{} {}", l.subject, l.address));
        let mut names: Vec<String> = kubelets.chain(others).chain(ports).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names(&restored), names(&facts));
    assert!(!names(&facts).is_empty());
    judge(&mut restored, &KNOWLEDGE, today);
    assert!(restored.versions.value().is_some());
}

#[test]
fn a_group_that_the_node_could_not_read_keeps_its_reason() {
    let mut facts = facts();
    facts.os = denied();
    let restored = back(&stored(&facts));
    assert_eq!(restored.os.unavailable().map(|why| why.reason), Some(Reason::PermissionDenied));
    let nothing = back(&[]);
    let why = nothing.kernel.unavailable().expect("nothing was stored");
    assert_eq!((why.reason, why.detail.as_str()), (Reason::NotPresent, "the node has not reported kernel"));
}

#[test]
fn the_collector_counts_the_days_of_the_nodes_certificates() {
    let facts = facts();
    let mut restored = back(&stored(&facts));
    dates(&mut restored, date(2025, 12, 2));
    let mut here = facts.clone();
    dates(&mut here, date(2025, 12, 2));
    let said = |facts: &NodeFacts| {
        let listing = facts.certificates.value().expect("known").clone();
        assert!(listing.skipped.is_empty(), "{:?}", listing.skipped);
        let mut rows: Vec<_> = listing
            .items
            .into_iter()
            .map(|fact| {
                let days = fact.days_left.value().copied().ok_or_else(|| fact.days_left.unavailable().map(|why| why.reason));
                let told = (fact.subject, fact.path, fact.role, fact.user, fact.issued_by);
                (told, fact.certificate.value().cloned(), fact.certificate.unavailable().map(|why| why.reason), days)
            })
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    assert_eq!(said(&restored), said(&here));
    let days: Vec<_> = said(&restored).into_iter().map(|row| row.3).collect();
    assert_eq!(days, [Ok(409), Ok(30), Err(Some(Reason::PermissionDenied))]);
}

#[test]
fn a_certificate_that_was_left_out_or_is_garbled_is_missing_on_the_collector_too() {
    let mut facts = facts();
    let many = (0..500).map(|n| certificate(&format!("/etc/kubernetes/pki/{n}.crt"), "", known(said(2_000_000_000 - n)))).collect();
    facts.certificates = known(Listing::complete(many));
    let restored = back(&stored(&facts));
    let listing = restored.certificates.value().expect("known");
    assert!(listing.items.len() > 20 && listing.items.len() < 500, "{}", listing.items.len());
    assert_eq!(listing.skipped.len(), 1);
    assert!(listing.items.iter().any(|fact| fact.path.ends_with("/499.crt")), "what ends first is kept");

    let mut documents = stored(&self::facts());
    for (kind, _, json) in &mut documents {
        if kind == "certificate" {
            *json = r#"{"path": "/x", "role": "kubeconfig", "name": "CN=x"}"#.to_owned();
        }
    }
    let restored = back(&documents);
    let reasons = |fact: &CertificateFact| fact.certificate.unavailable().map(|why| why.reason);
    assert!(restored.certificates.value().expect("known").items.iter().all(|fact| reasons(fact) == Some(Reason::Malformed)));
    documents.retain(|(kind, name, _)| !(kind == "group" && name == "certificates"));
    assert_eq!(back(&documents).unavailable(Group::Certificates).map(|why| why.reason), Some(Reason::NotPresent));
}

#[test]
fn malformed_documents_are_malformed_and_never_more() {
    let deep = "[".repeat(2900);
    let long = format!("{{\"release\": \"{}\"}}", "x".repeat(4000));
    for (json, reason) in [
        ("", Reason::Malformed),
        ("null", Reason::Malformed),
        ("{\"release\": 6}", Reason::Malformed),
        (deep.as_str(), Reason::Malformed),
        (long.as_str(), Reason::TooLarge),
    ] {
        let [os, (kind, name, _)] = os_and_kernel();
        let facts = rebuilt(&[os, (kind, name, json.to_owned())]);
        assert_eq!(facts.kernel.unavailable().map(|why| why.reason), Some(reason), "{json:.40}");
        assert!(facts.os.value().is_some(), "the rest stands");
    }
}

/// What version verdicts rest on, without the places that do not travel and without where it was read.
fn chain(facts: &NodeFacts) -> serde_json::Value {
    fn plain(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                for name in ["at", "source", "pid", "declared", "systemd_cgroup", "privileged_without_host_devices"] {
                    members.remove(name);
                }
                members.values_mut().for_each(plain);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(plain),
            serde_json::Value::String(text) => *text = text.replace("/proc/7/", "/proc/<pid>/"),
            _ => {}
        }
    }
    let mut facts = facts.clone();
    let kernel = facts.kernel.value_mut().expect("known");
    for one in &mut kernel.installed.value_mut().expect("known").items {
        one.path.clear();
        if one.build.value().is_none() {
            (one.build, one.modified) = (denied(), denied());
        }
    }
    let kubelets = facts.kubelets.value().expect("known").items.iter();
    let components = facts.components.value().expect("known").items.iter();
    let runtimes = facts.runtimes.value().expect("known").items.iter();
    let kernel = facts.kernel.value().expect("known");
    let mut value = serde_json::json!({
        "kernel": [
            serde_json::to_value((&kernel.release, &kernel.version, &kernel.signature, &kernel.package, &kernel.boot_time, &kernel.taint)).unwrap(),
            serde_json::to_value((&kernel.livepatches, &kernel.installed, &kernel.newer_installed, &kernel.reboot_sentinels)).unwrap(),
            serde_json::to_value((&kernel.boot_default, &kernel.deployment, &kernel.features, &kernel.cgroup)).unwrap(),
            serde_json::to_value((&kernel.unprivileged_user_namespaces, &kernel.sysctls.unprivileged_bpf_disabled)).unwrap(),
            serde_json::to_value(&kernel.sysctls.ipv4_route_localnet).unwrap(),
        ],
        "kubelets": kubelets.map(|k| serde_json::to_value((&k.subject, &k.flavour, &k.version, &k.installed, &k.executable, &k.settings, &k.observed)).unwrap()).collect::<Vec<_>>(),
        "components": components.map(|c| serde_json::to_value((&c.subject, &c.name, &c.inside, &c.version, &c.installed, &c.executable, &c.settings)).unwrap()).collect::<Vec<_>>(),
        "runtimes": runtimes.map(|r| serde_json::to_value((&r.subject, &r.name, &r.flavour, &r.version, &r.installed, &r.executable, &r.package, &r.programs, &r.settings)).unwrap()).collect::<Vec<_>>(),
    });
    plain(&mut value);
    value
}

#[test]
fn every_fact_of_the_patch_chain_arrives_and_what_was_not_known_arrives_with_its_reason() {
    let facts = chain_facts();
    let restored = back(&stored(&facts));
    assert_eq!(chain(&restored), chain(&facts));
    let settings = &restored.kubelets.value().expect("known").items[0].settings;
    let port = settings["readOnlyPort"].value().expect("told");
    assert_eq!(
        (port.value.clone(), port.source.to_string()),
        (10255.into(), "drop-in /etc/kubernetes/kubelet.conf.d/20-debug.conf".to_owned())
    );
    assert_eq!(settings["tlsCipherSuites"].unavailable().map(|why| why.reason), Some(Reason::PermissionDenied));
}

/// The verdicts, without where and when what they rest on was read.
fn verdicts(facts: &NodeFacts) -> serde_json::Value {
    fn plain(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.remove("at");
                members.remove("source");
                members.values_mut().for_each(plain);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(plain),
            serde_json::Value::String(text) => *text = text.replace("/proc/7/", "/proc/<pid>/"),
            _ => {}
        }
    }
    let mut facts = facts.clone();
    judge(&mut facts, &KNOWLEDGE, date(2026, 11, 20));
    let mut value = serde_json::to_value(facts.versions.value().expect("judged")).expect("JSON");
    plain(&mut value);
    value
}

#[test]
fn the_collectors_verdicts_on_versions_are_the_nodes() {
    let mut facts = chain_facts();
    assert_eq!(verdicts(&back(&stored(&facts))), verdicts(&facts));
    // A kernel that waits, a staged image, nothing known.
    let kernel = facts.kernel.value_mut().expect("known");
    kernel.newer_installed = list(Vec::new());
    kernel.installed.value_mut().expect("known").items.truncate(2);
    assert_eq!(verdicts(&back(&stored(&facts))), verdicts(&facts));
    let kernel = facts.kernel.value_mut().expect("known");
    kernel.deployment = known(Deployment { kind: "ostree".into(), booted: "42.1".into(), staged: Some("42.2".into()) });
    assert_eq!(verdicts(&back(&stored(&facts))), verdicts(&facts));
    let kernel = facts.kernel.value_mut().expect("known");
    (kernel.installed, kernel.newer_installed, kernel.deployment) = (denied(), denied(), denied());
    (kernel.reboot_sentinels, kernel.features, kernel.package) = (denied(), denied(), denied());
    facts.runtimes = denied();
    assert_eq!(verdicts(&back(&stored(&facts))), verdicts(&facts));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_installed_and_known_the_collector_judges_as_the_node_does(
        installed in prop::collection::btree_set(38..46u32, 0..5),
        builds in any::<[bool; 8]>(),
        running in 39..43u32,
        replaced in any::<bool>(),
        gone in any::<[bool; 8]>(),
    ) {
        let mut facts = chain_facts();
        let release = |number: u32| format!("6.1.0-{number}-amd64");
        let kernel = facts.kernel.value_mut().expect("known");
        // A release and its package's version belong together: only builds of the running kernel and of newer ones travel.
        kernel.release = release(running);
        kernel.version = format!("#1 SMP PREEMPT_DYNAMIC Debian 6.1.{}-1 (2025-09-20)", 113 + running);
        if let Some(package) = kernel.package.value_mut() {
            package.version = format!("6.1.{}-1", 113 + running);
        }
        let item = |number: &u32| {
            let told = builds[usize::try_from(number - 38).expect("small")];
            let build = if told { known(format!("#1 SMP PREEMPT_DYNAMIC Debian 6.1.{}-1 (2025-09-20)", 113 + number)) } else { denied() };
            InstalledKernel { build, modified: known(1_760_000_000), ..InstalledKernel::unread(release(*number), "/boot") }
        };
        kernel.installed = list(installed.iter().map(item).collect());
        if gone[0] { kernel.installed = denied(); }
        if gone[1] { kernel.reboot_sentinels = denied(); }
        if gone[2] { kernel.boot_default = denied(); }
        if gone[3] { kernel.features = denied(); }
        if gone[4] { kernel.package = denied(); }
        if gone[5] { kernel.livepatches = list_of(&[]); }
        holdfast_checks::derive::derive(&mut facts);
        let runtime = &mut facts.runtimes.value_mut().expect("known").items[0];
        runtime.executable.value_mut().expect("known").replaced = replaced;
        if gone[6] { runtime.installed = denied(); }
        if gone[7] { runtime.package = denied(); }
        prop_assert_eq!(verdicts(&back(&stored(&facts))), verdicts(&facts));
    }
}

fn list_of(names: &[&str]) -> holdfast_checks::facts::Observed<Vec<String>> {
    known(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn kernels_that_older_agents_listed_by_release_are_still_read() {
    let [os, _] = os_and_kernel();
    let kernel = r#"{"release": "6.1.0-40-amd64", "version": "", "installed": ["6.1.0-40-amd64", {"release": "6.1.0-41-amd64"}]}"#;
    let facts = rebuilt(&[os, ("kernel", "self", kernel.to_owned())]);
    let installed = facts.kernel.value().and_then(|kernel| kernel.installed.value()).expect("read");
    let releases: Vec<&str> = installed.items.iter().map(|one| one.release.as_str()).collect();
    assert_eq!(releases, ["6.1.0-40-amd64", "6.1.0-41-amd64"]);
}

#[test]
fn a_newer_agents_members_are_ignored_and_its_kinds_skipped() {
    let [os, _] = os_and_kernel();
    let kernel = ("kernel", "self", r#"{"release": "6.12.1", "version": "", "colour": "blue"}"#.to_owned());
    let facts = rebuilt(&[os, kernel, ("weather", "self", "{}".to_owned())]);
    assert_eq!(facts.kernel.value().map(|kernel| kernel.release.as_str()), Some("6.12.1"));
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(kind in "(node|os|kernel|certificate|group)", name in "(self|os|kernel|certificates)", json in ".{0,200}") {
        let mut facts = rebuilt(&[(kind.as_str(), name.as_str(), json)]);
        judge(&mut facts, &KNOWLEDGE, date(2026, 11, 20));
        dates(&mut facts, date(2026, 11, 20));
    }
}
