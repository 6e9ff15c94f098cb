//! From stored documents back to facts.

use holdfast_checks::entries::Body;
use holdfast_checks::facts::{Group, NodeFacts, Reason};
use holdfast_checks::inventory::{entries, facts_for_collector};
use holdfast_checks::versions::{judge, judge_kernel};
use jiff::civil::date;
use proptest::prelude::*;

use crate::fixture::{denied, facts, os_and_kernel, rebuilt};

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
    let verdict = |facts: &NodeFacts| judge_kernel(&facts.kernel, &facts.os, today).value().cloned().expect("known");
    assert_eq!(verdict(&restored).judged_by, "debian 12");
    assert_eq!(verdict(&restored).lifecycle.value(), verdict(&facts).lifecycle.value());
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
    judge(&mut restored, today);
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

#[test]
fn a_newer_agents_members_are_ignored_and_its_kinds_skipped() {
    let [os, _] = os_and_kernel();
    let kernel = ("kernel", "self", r#"{"release": "6.12.1", "version": "", "colour": "blue"}"#.to_owned());
    let facts = rebuilt(&[os, kernel, ("weather", "self", "{}".to_owned())]);
    assert_eq!(facts.kernel.value().map(|kernel| kernel.release.as_str()), Some("6.12.1"));
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(kind in "(node|os|kernel|group)", name in "(self|os|kernel)", json in ".{0,200}") {
        judge(&mut rebuilt(&[(kind.as_str(), name.as_str(), json)]), date(2026, 11, 20));
    }
}
