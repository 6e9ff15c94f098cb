//! The stored format of every kind.

use holdfast_checks::entries::{Body, Entry, Kind};
use holdfast_checks::facts::{BindScope, Certificate, Handshake, Listing, Placement, Reason, Skipped, TlsVersion};
use holdfast_checks::inventory::{Inventory, entries};

use crate::fixture::{chain_facts, denied, facts, known, listener, owner, process};

fn json(entry: &Entry) -> &str {
    match &entry.body {
        Body::Inventory(inventory) => &inventory.json,
        Body::Finding(_) => panic!("a finding in the inventory"),
    }
}

fn table(inventory: &Inventory) -> String {
    let lines: Vec<String> = inventory.entries.iter().map(|entry| format!("{}\n  {}", entry.key.as_str(), json(entry))).collect();
    lines.join("\n")
}

#[test]
fn the_stored_documents_of_every_kind() {
    let inventory = entries(&chain_facts(), 1);
    assert!(inventory.left_out.is_empty());
    assert!(inventory.entries.iter().all(|entry| entry.key.kind() == Kind::Inventory && entry.changed_at == 1));
    insta::assert_snapshot!(table(&inventory));
}

#[test]
fn the_same_facts_in_another_order_and_at_another_time_give_the_same_documents() {
    let first = entries(&facts(), 1);
    let mut shuffled = facts();
    shuffled.listeners.value_mut().expect("known").items.reverse();
    shuffled.processes.value_mut().expect("known").items.reverse();
    // Pids differ after a restart, and everything is read again.
    for (process, pid) in shuffled.processes.value_mut().expect("known").items.iter_mut().zip(5000..) {
        (process.pid, process.start_ticks) = (pid, pid * 7);
    }
    let second = entries(&shuffled, 2);
    let hashes = |inventory: &Inventory| inventory.entries.iter().map(|entry| (entry.key.clone(), entry.hash)).collect::<Vec<_>>();
    assert_eq!(hashes(&first), hashes(&second));
    assert!(["812", "\"pid\"", "/proc/7"].iter().all(|pid| !table(&first).contains(pid)), "pids stay on the node");
}

#[test]
fn sockets_of_one_address_and_port_are_one_entry_whatever_their_order() {
    let mut facts = facts();
    let shared = |pid, name| listener(8080, "::", BindScope::All, owner(pid, name));
    facts.listeners = known(Listing::complete(vec![shared(1, "b"), shared(2, "a")]));
    let one = entries(&facts, 0);
    facts.listeners = known(Listing::complete(vec![shared(2, "a"), shared(1, "b")]));
    assert_eq!(table(&one), table(&entries(&facts, 0)));
    assert_eq!(one.entries.iter().filter(|entry| entry.key.as_str().starts_with("listener/")).count(), 1);
}

#[test]
fn of_several_root_processes_the_least_confined_is_told() {
    let mut facts = facts();
    let mut apart = process(3, "pod:a/b/c", 0, Placement::Pod);
    apart.user_namespace = known(true);
    apart.inside_uid = known(5);
    facts.processes = known(Listing::complete(vec![apart, process(4, "pod:a/b/c", 0, Placement::Pod)]));
    let inventory = entries(&facts, 0);
    let entry = inventory.entries.iter().find(|entry| entry.key.as_str() == "root-process/pod:a/b/c").expect("there");
    insta::assert_snapshot!(json(entry), @r#"{"count":2,"exe":"/usr/bin/worker","no_new_privileges":true,"placement":"pod","seccomp":2,"user_namespace":false}"#);
}

fn handshake(port: i64, suites: usize) -> Handshake {
    let text = str::to_owned;
    let version = |name: &str, accepted| TlsVersion { name: text(name), accepted };
    let versions = vec![version("TLS 1.0", false), version("TLS 1.2", true)];
    let skipped = vec![Skipped { what: text("TLS 1.3"), reason: Reason::TimedOut }];
    Handshake {
        vantage: text("node"),
        address: text("::1"),
        port,
        versions: known(Listing { items: versions, skipped }),
        suites: known(Listing::complete((0..suites).map(|number| format!("TLS_ECDHE_RSA_WITH_NUMBER_{number}")).collect())),
        certificate: known(Certificate {
            name: text("O=system:nodes, CN=system:node:n1"),
            common_name: text("system:node:n1"),
            organizations: vec![text("system:nodes")],
            issuer: text("CN=kubernetes"),
            self_signed: false,
            authority: false,
            not_before: 1,
            not_after: 2,
            lifetime_days: 0,
            key: text("ec"),
            key_bits: 256,
            signature: text("ecdsa-with-SHA256"),
            names: vec![text("n1")],
            fingerprint: text("ab"),
            key_fingerprint: text("cd"),
        }),
        issued_by: text("/etc/kubernetes/pki/ca.crt"),
        asks_certificate: known(true),
    }
}

#[test]
fn handshakes_are_told_by_socket_and_keep_their_versions_where_suites_do_not_fit() {
    let mut facts = facts();
    let silent = Handshake { versions: denied(), suites: denied(), certificate: denied(), issued_by: String::new(), ..handshake(2, 0) };
    facts.handshakes =
        known(Listing::complete(vec![handshake(1, 2), Handshake { asks_certificate: denied(), ..silent }, handshake(3, 400)]));
    let inventory = entries(&facts, 1);
    let told: Vec<&Entry> = inventory.entries.iter().filter(|entry| entry.key.as_str().starts_with("handshake/")).collect();
    assert_eq!(
        told.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(),
        ["handshake/node/::1/1", "handshake/node/::1/2", "handshake/node/::1/3"]
    );
    let document = |entry: &Entry| serde_json::from_str::<serde_json::Value>(json(entry)).expect("JSON");
    let certificate = serde_json::json!({
        "name": "O=system:nodes, CN=system:node:n1", "issuer": "CN=kubernetes", "self_signed": false, "not_before": 1, "not_after": 2,
        "key": "ec", "key_bits": 256, "fingerprint": "ab",
    });
    let whole = serde_json::json!({
        "versions": {"TLS 1.0": false, "TLS 1.2": true},
        "suites": ["TLS_ECDHE_RSA_WITH_NUMBER_0", "TLS_ECDHE_RSA_WITH_NUMBER_1"],
        "asks_certificate": true, "certificate": certificate, "issued_by": "/etc/kubernetes/pki/ca.crt",
    });
    assert_eq!(document(told[0]), whole);
    assert_eq!(document(told[1]), serde_json::json!({}));
    let cut = document(told[2]);
    assert!(cut.get("suites").is_none() && cut["certificate"] == certificate, "{cut}");
    assert_eq!(inventory.left_out.get("handshake"), Some(&1));
}
