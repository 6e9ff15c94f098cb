//! Kubelets of a node: declared, in effect, observed, reported; certificates and TLS; who reaches a port from where.

use serde_json::{Value, json};

use crate::fleet::{Fleet, NOW};
use crate::pages::shown;

const NODE: &str = "/nodes/prod-eu/ip-10-0-9-3";

/// Every state a setting, a certificate and a socket can be in, on node 1.
async fn fleet() -> Fleet {
    let fleet = Fleet::seeded().await;
    let said = |value: Value, source: &str| json!({"value": value, "source": source});
    let settings = [
        (
            "kubelet/anonymousAuth",
            json!({
                "value": false, "source": "drop-in /etc/kubernetes/kubelet.conf.d/20-debug.conf",
                "declared": [said(json!(true), "file /var/lib/kubelet/config.yaml"), said(json!(false), "drop-in /etc/kubernetes/kubelet.conf.d/20-debug.conf")],
                "observed": said(json!(true), "probe https://127.0.0.1:10250/pods answered 200"),
                "reported": said(json!(false), "configz"),
            }),
        ),
        ("kubelet/rotateCertificates", json!({"value": true, "source": "default v1.36"})),
        (
            "kubelet/tlsMinVersion",
            json!({"value": "VersionTLS12", "source": "flag --tls-min-version", "declared": [said(json!("VersionTLS12"), "flag --tls-min-version")],
                "unobserved": "timed_out: TLS with 127.0.0.1:10250"}),
        ),
        ("kubelet/seccompDefault", json!({"unknown": "permission_denied: open /etc/kubernetes/kubelet.conf.d/30.conf"})),
        ("kubelet/clusterDNS", json!({"value": null, "source": "default v1.36", "declared": [said(json!(null), "drop-in /d/10.conf")]})),
        ("kubelet:kind-control-plane/anonymousAuth", json!({"value": false, "source": "file /var/lib/kubelet/config.yaml"})),
        ("kube-proxy/metricsBindAddress", json!({"value": "127.0.0.1:10249", "source": "default v1.36"})),
    ];
    for (name, document) in settings {
        fleet.inventory(1, "setting", name, document).await;
    }
    let kubelet = json!({"name": "kubelet", "flavour": "kubelet", "version": "v1.36.2", "host_network": true});
    fleet.inventory(1, "component", "kubelet", kubelet).await;
    fleet
        .inventory(1, "component", "kubelet:kind-control-plane", json!({"name": "kubelet", "flavour": "kubelet", "host_network": false}))
        .await;
    fleet.inventory(1, "component", "kubelet:bare", json!({"name": "kubelet", "flavour": "k3s"})).await;
    let day = 86_400;
    let certificate = |name: &str, days: i64| {
        json!({"name": name, "organizations": ["system:nodes"], "issuer": "CN=kubernetes", "authority": false, "not_before": NOW / 1000 - 300 * day,
            "not_after": NOW / 1000 + days * day, "key": "ec", "key_bits": 256})
    };
    let with = |mut document: Value, more: Value| {
        document.as_object_mut().expect("object").append(&mut more.as_object().expect("object").clone());
        document
    };
    let files = [
        (
            "certificate:/var/lib/kubelet/pki/kubelet-client-current.pem",
            with(
                certificate("O=system:nodes, CN=system:node:n1", 41),
                json!({"path": "/var/lib/kubelet/pki/kubelet-client-current.pem", "role": "pki_certificate", "issued_by": "/etc/kubernetes/pki/ca.crt"}),
            ),
        ),
        (
            "certificate:/etc/kubernetes/admin.conf#admin",
            with(
                certificate("O=system:masters, CN=admin", -3),
                json!({"path": "/etc/kubernetes/admin.conf", "role": "kubeconfig", "user": "admin", "self_signed": true}),
            ),
        ),
        (
            "certificate:/etc/kubernetes/pki/ca.crt",
            json!({"path": "/etc/kubernetes/pki/ca.crt", "role": "kubelet_ca", "unknown": "malformed: not a certificate"}),
        ),
    ];
    for (name, document) in files {
        fleet.inventory(1, "certificate", name, document).await;
    }
    let versions = json!({"TLS 1.1": false, "TLS 1.2": true, "TLS 1.3": true});
    let spoken = json!({"versions": versions, "suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], "asks_certificate": true,
        "certificate": certificate("CN=n1@1795", 200)});
    fleet.inventory(1, "handshake", "node/127.0.0.1/10250", spoken).await;
    fleet.inventory(1, "handshake", "node/::1/10257", json!({})).await;
    fleet
}

/// What agents of other nodes met at port 10250 of nodes 1 and 3.
async fn peers(fleet: &Fleet) {
    let rows = [
        (1, 3, "answered", "", 401, NOW - 60_000, NOW + 1),
        (1, 6, "timed_out", "", 0, NOW - 120_000, NOW + 1),
        (1, 4, "refused_by_agent", "outside_networks", 0, NOW - 60_000, NOW + 1),
        (3, 1, "refused", "", 0, NOW - 60_000, NOW + 1),
        (3, 2, "answered", "", 200, NOW - 90_000_000, NOW - 1),
    ];
    for (node, vantage, outcome, refusal, status, at, stale) in rows {
        fleet
            .sql(&format!(
                "insert into peer_probes values ({node}, '10.0.9.3', 10250, {vantage}, '/pods', 1, '{outcome}', '{refusal}', {status}, {at}, {stale})"
            ))
            .await;
    }
}

#[tokio::test]
async fn every_setting_is_shown_four_ways_with_the_verdicts_that_rest_on_it() {
    let fleet = fleet().await;
    insta::assert_snapshot!("node_page_kubelet", shown(&fleet, &format!("{NODE}?tab=kubelet")).await);
}

#[tokio::test]
async fn the_api_tells_the_same_with_a_state_for_each_truth() {
    let fleet = fleet().await;
    let answer = fleet.get(&format!("/api/v1{NODE}/kubelets")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    insta::assert_json_snapshot!("kubelets", answer.json());
    assert_eq!(fleet.get("/api/v1/nodes/a/b/kubelets").await.status, 404);
}

#[tokio::test]
async fn certificates_and_tls_are_among_the_facts() {
    let fleet = fleet().await;
    let page = shown(&fleet, &format!("{NODE}?tab=facts")).await;
    insta::assert_snapshot!("node_page_facts_certificates", page.split_once("Effective settings of").expect("settings").1);
}

#[tokio::test]
async fn no_kubelet_and_no_knowledge_of_one_are_told_apart() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let silent = fleet.get("/nodes/c/n?tab=kubelet").await.body;
    assert!(silent.contains("Which kubelets run on this node is not known"), "{silent}");
    fleet.inventory(1, "group", "kubelets", json!({"state": "known", "items": 0, "skipped": 0, "left_out": 2})).await;
    let none = fleet.get("/nodes/c/n?tab=kubelet").await.body;
    assert!(none.contains("No kubelet runs on this node.") && none.contains("2 documents did not fit"), "{none}");
}

#[tokio::test]
async fn exposure_says_who_reaches_a_port_from_where_and_when() {
    let fleet = fleet().await;
    peers(&fleet).await;
    insta::assert_snapshot!("exposure_page_peers", shown(&fleet, "/exposure?q=10250").await);
    insta::assert_snapshot!("exposure_page_peers_ungrouped", shown(&fleet, "/exposure?q=10250&group=none&state=current").await);
    let listeners = shown(&fleet, &format!("{NODE}?tab=listeners")).await;
    assert!(listeners.contains("<strong>Reachable\n</strong> from ip-10-0-7-1: 401 on /pods"), "{listeners}");
    assert!(listeners.contains("Filtered from ip-10-0-2-2: no answer"), "{listeners}");
    assert!(listeners.contains("not asked: outside networks"), "{listeners}");
}

#[tokio::test]
async fn what_is_declared_links_to_the_settings() {
    let fleet = fleet().await;
    let page = fleet.get("/exposure?group=none&node=ip-10-0-9-3").await;
    let href = format!("href=\"{NODE}?tab=kubelet\"");
    assert!(page.main().contains(&href), "{}", page.main());
    assert!(page.main().contains(&format!("href=\"{NODE}?tab=facts\"")), "{}", page.main());
}

/// What a node that is not heard said is last known, here too.
#[tokio::test]
async fn a_silent_nodes_settings_are_last_known() {
    let fleet = Fleet::seeded().await;
    fleet.inventory(2, "setting", "kubelet/anonymousAuth", json!({"value": true, "source": "default"})).await;
    let page = fleet.get("/nodes/prod-eu/ip-10-0-4-17?tab=kubelet").await;
    assert!(page.main().contains("class=\"stale\"") && page.main().contains("last known</span>"), "{}", page.main());
}

#[tokio::test]
async fn an_agent_that_sends_thousands_of_answers_for_one_port_makes_no_page_of_millions() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let many = "with recursive i(k) as (select 1 union all select k + 1 from i where k < 1500)";
    for (kind, name, document) in [
        ("listener", "'tcp/a/' || k", "json_object('protocol', 'tcp', 'port', 80, 'scope', 'all', 'owner', json_object('name', 'o' || k))"),
        (
            "probe",
            "'node/a/80/' || k",
            "json_object('port', 80, 'path', '/' || k, 'vantage', 'node', 'outcome', 'answered', 'status', 200)",
        ),
        ("setting", "'x/y' || k || 'Port'", "json_object('value', 80, 'source', 'flag')"),
    ] {
        fleet.sql(&format!("insert into inventory {many} select 1, '{kind}', {name}, {document}, 'h', 1 from i")).await;
    }
    for path in ["/exposure", "/exposure?group=none", "/nodes/c/n?tab=listeners", "/api/v1/exposure"] {
        let begun = std::time::Instant::now();
        let page = fleet.get(path).await;
        println!("{path}: {} KiB in {:?}", page.body.len() / 1024, begun.elapsed());
        assert!(page.status.is_success() && page.body.len() < 16 * 1024 * 1024, "{path}: {} bytes", page.body.len());
    }
    let page = fleet.get("/exposure").await.body;
    assert!(page.contains("and 1,497 more"), "what is not listed is counted");
}
