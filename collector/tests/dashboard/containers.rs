//! A node's containers with what each may do, and its container runtimes with every setting's source.

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::pages::shown;

const NODE: &str = "/nodes/prod-eu/ip-10-0-9-3";

/// The containers of `root`, verdicts about two of them, and two runtimes.
async fn fleet() -> Fleet {
    let fleet = crate::root::fleet().await;
    let proxy = "pod:kube-system/kube-proxy-x7k2p/kube-proxy";
    fleet.finding(1, "container-root", proxy, 2, 4, "running.host_root = [\"kube-proxy\"] (processes)").await;
    fleet.finding(1, "container-seccomp", proxy, 2, 3, "").await;
    fleet.finding(1, "container-root", "pod:tools/probe-x/probe", 4, 4, "").await;
    fleet.finding(1, "runtime-socket-owner", "socket:/run/containerd/containerd.sock", 2, 4, "mode = 0666 (stat)").await;
    fleet.recount().await;
    let said = |value: Value, source: &str| json!({"value": value, "source": source});
    let runtime = json!({
        "name": "containerd", "version": "1.7.24", "used_by_kubelet": true,
        "handlers": [{"name": "runc", "kind": "runc", "default": true, "version": "1.1.12"}, {"name": "gvisor", "kind": "gvisor", "default": false}],
        "registries": [{"subject": "registry:reg.local:5000", "host": "reg.local:5000", "endpoint": "http://reg.local:5000", "tls": false, "verified": false, "source": "file /etc/containerd/certs.d/reg.local:5000/hosts.toml"}],
        "sockets": [{"subject": "socket:/run/containerd/containerd.sock", "path": "/run/containerd/containerd.sock", "mode": 438, "uid": 0, "gid": 0}],
        "user_namespaces": {"capable": false, "because": "containerd 1.7 does not map user namespaces for pods; 2.0 does"},
    });
    fleet.inventory(1, "runtime", "containerd", runtime).await;
    fleet.inventory(1, "runtime", "docker", json!({"name": "docker"})).await;
    for (name, document) in [
        (
            "containerd/unprivilegedPorts",
            json!({"value": true, "source": "drop-in /etc/containerd/conf.d/10.toml", "declared": [said(json!(false), "file /etc/containerd/config.toml"), said(json!(true), "drop-in /etc/containerd/conf.d/10.toml")]}),
        ),
        ("containerd/disableApparmor", json!({"value": false, "source": "default containerd 1.7"})),
        ("containerd/streamServerAddress", json!({"unknown": "malformed: /etc/containerd/config.toml: line 3"})),
    ] {
        fleet.inventory(1, "setting", name, document).await;
    }
    fleet.inventory(1, "group", "runtimes", json!({"state": "known", "items": 2})).await;
    fleet
}

#[tokio::test]
async fn every_container_shows_what_it_may_do_and_what_is_not_known() {
    let fleet = fleet().await;
    insta::assert_snapshot!("node_page_containers", shown(&fleet, &format!("{NODE}?tab=containers")).await);
    insta::assert_json_snapshot!("containers", fleet.get(&format!("/api/v1{NODE}/containers")).await.json());
    assert_eq!(fleet.get("/api/v1/nodes/a/b/containers").await.status, 404);
    let silent = fleet.get("/nodes/prod-eu/ip-10-0-4-17?tab=containers").await;
    assert!(silent.main().contains("class=\"stale\"") && silent.main().contains("last known</span>"), "{}", silent.main());
}

#[tokio::test]
async fn every_runtime_shows_its_settings_with_their_source() {
    let fleet = fleet().await;
    insta::assert_snapshot!("node_page_runtimes", shown(&fleet, &format!("{NODE}?tab=runtimes")).await);
    insta::assert_json_snapshot!("runtimes", fleet.get(&format!("/api/v1{NODE}/runtimes")).await.json());
    assert_eq!(fleet.get("/api/v1/nodes/a/b/runtimes").await.status, 404);
    let facts = fleet.get(&format!("{NODE}?tab=facts")).await;
    assert!(!facts.main().contains("unprivilegedPorts"), "what has a tab is not among the others");
}

#[tokio::test]
async fn none_and_not_known_are_told_apart() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    for (tab, group, unknown, none) in [
        ("containers", "containers", "Which containers run on this node is not known", "No container runs on this node."),
        ("runtimes", "runtimes", "Which container runtimes run on this node is not known", "No container runtime runs on this node."),
    ] {
        let page = fleet.get(&format!("/nodes/c/n?tab={tab}")).await.body;
        assert!(page.contains(unknown) && !page.contains(none), "{page}");
        fleet.inventory(1, "group", group, json!({"state": "known", "items": 0, "skipped": 3, "left_out": 2})).await;
        let page = fleet.get(&format!("/nodes/c/n?tab={tab}")).await.body;
        assert!(page.contains(none) && !page.contains(unknown) && page.contains("2 documents did not fit"), "{page}");
    }
    assert!(fleet.get("/nodes/c/n?tab=containers").await.body.contains("3 containers could not be read"));
}

#[tokio::test]
async fn a_node_of_many_containers_is_read_page_by_page() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    for index in 0..120 {
        let document = crate::root::container("a", &format!("p{index}"), "c", "image", &json!({}));
        fleet.inventory(1, "container", &format!("pod:a/p{index}/c"), document).await;
    }
    fleet.derive().await;
    let (mut path, mut rows) = ("/nodes/c/n?tab=containers".to_owned(), 0);
    loop {
        let page = fleet.get(&path).await;
        assert!(page.body.len() < 120 * 1024, "{} bytes", page.body.len());
        assert_eq!(page.total(), Some(120));
        rows += page.main().matches("<tr data-key").count();
        match crate::fleet::attributes(&page.body, "rel=\"next\"", "href").first() {
            Some(next) => path = crate::fleet::unescape(next),
            None => break,
        }
    }
    assert_eq!(rows, 120);
    assert_eq!(fleet.get("/nodes/c/n?tab=containers&after=x").await.status, 400);
}

/// How soon a process is heard of decides how soon a finding is: the page says it.
#[tokio::test]
async fn a_node_says_how_its_agent_hears_of_processes() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    assert!(!fleet.get("/nodes/c/n").await.main().contains("of processes"), "an older agent does not say");
    fleet.inventory(1, "node", "self", json!({"process_events": true})).await;
    assert!(fleet.get("/nodes/c/n").await.main().contains("hears of processes from the kernel"));
    fleet.sql("delete from inventory").await;
    let reason = "permission_denied: process connector: needs CAP_NET_ADMIN before Linux 6.6";
    fleet.inventory(1, "node", "self", json!({"process_events_unknown": reason})).await;
    let page = fleet.get("/nodes/c/n").await;
    let wanted = "looks for processes every second: permission denied: process connector: needs CAP_NET_ADMIN before Linux 6.6";
    assert!(page.main().contains(wanted), "{}", page.main());
}

#[tokio::test]
async fn a_node_says_what_is_known_of_its_host() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let facts = || shown(&fleet, "/nodes/c/n?tab=facts");
    let host = |page: String| page.split("<section>").find(|part| part.contains("Host\n</h2>")).expect("a section").to_owned();
    assert!(host(facts().await).contains("the agent has not said whether it looked for"), "unknown before it was heard of");
    let reason = json!({"state": "unavailable", "reason": "permission_denied", "detail": "/proc/1/mounts: read"});
    fleet.inventory(1, "group", "system", reason).await;
    let page = host(facts().await);
    assert!(page.contains("permission denied: /proc/1/mounts: read") && !page.contains("none seen"), "{page}");
    fleet.sql("delete from inventory").await;
    let document = json!({
        "disks": [{"subject": "disk:/", "path": "/", "holds": ["/", "/var/log"], "used_percent": 85, "inodes_percent": 10},
            {"subject": "disk:/var", "path": "/var", "holds": ["/var"], "used_percent": 5, "inodes_percent": 0}],
        "shippers": [{"subject": "shipper:rsyslog", "name": "rsyslog", "destination": "tcp://logs<b>.example:514", "encrypted": "no", "buffered": "unknown", "source": "/etc/rsyslog.conf"}],
        "journal_persistent": true, "time_services": ["chronyd"], "updates": [],
    });
    fleet.inventory(1, "system", "self", document).await;
    insta::assert_snapshot!("node_page_facts_host", host(facts().await));
    insta::assert_json_snapshot!("system", fleet.get("/api/v1/nodes/c/n/system").await.json());
    assert_eq!(fleet.get("/api/v1/nodes/a/b/system").await.status, 404);
    fleet.sql("update inventory set json = '[1'").await;
    let page = host(facts().await);
    assert!(page.contains("Unknown") && !page.contains("none seen"), "{page}");
}
