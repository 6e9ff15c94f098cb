//! Nodes without an agent and agents without a node: a real collector that follows a stand-in API server, and a real agent.

use holdfast_tests::api::Api;
use holdfast_tests::apiserver::ApiServer;
use holdfast_tests::process::PATIENCE;
use holdfast_tests::site::{Site, recorded};
use serde_json::{Value, json};

use crate::BINARIES;

fn verdict(api: &Api, check: &str, node: &str) -> Option<Value> {
    let found = api.findings(&format!("check={check}&node={node}&verdict=any")).ok()?;
    found.first().map(|finding| finding["verdict"].clone())
}

fn firing(api: &Api, rule: &str) -> Vec<Value> {
    let alerts = api.list("/api/v1/alerts", "alerts").unwrap_or_default();
    alerts.into_iter().filter(|alert| alert["rule"] == rule && alert["state"] == "firing").collect()
}

#[test]
fn nodes_without_an_agent_are_one_alert_and_an_agent_without_its_node_is_another() {
    let cluster = ApiServer::start().unwrap();
    let token = cluster.add_agent("node-a");
    cluster.add_node("node-b", "uid-node-b");
    cluster.add_node("node-c", "uid-node-c");
    cluster.add_node_with("node-w", "uid-node-w", &json!({"kubernetes.io/os": "windows"}), &["192.0.2.9"]);
    let site = Site::new(BINARIES).unwrap();
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let follow = ["--token-review", "--kubeconfig", &kubeconfig, "--cluster", "test", "--unwatched-after", "3"];
    let _collector = site.collector(&follow).unwrap();
    std::fs::write(site.path("node-a.token"), token).unwrap();
    let (host, proc) = recorded("hardened");
    let _agent = site.agent("node-a", &["--host-root", &host, "--proc", &proc, "--no-probe"]).unwrap();
    let api = site.api();
    let until = |what: &str, done: &dyn Fn(&Api) -> bool| {
        api.wait(what, PATIENCE, |api| done(api)).unwrap_or_else(|error| panic!("{error}\n{}", site.log("collector.log")));
    };

    // Two of them, in one alert; the third cannot have an agent; the fourth has one.
    until("both are missed", &|api| firing(api, "node-without-agent").iter().any(|alert| alert["nodes"] == 2));
    assert_eq!(firing(&api, "node-without-agent").len(), 1);
    until("it has one", &|api| verdict(api, "node-has-agent", "node-a") == Some(json!("pass")));
    until("the other has none", &|api| verdict(api, "node-has-agent", "node-b") == Some(json!("fail")));
    until("none can run there", &|api| verdict(api, "node-has-agent", "node-w") == Some(json!("not_applicable")));
    until("metrics say so", &|api| (api.metric("holdfast_nodes{state=\"unwatched\"}") - 3.0).abs() < 0.5);
    until("three are unwatched", &|api| api.list("/api/v1/nodes?state=unwatched", "nodes").is_ok_and(|nodes| nodes.len() == 3));
    until("the first page says so", &|api| api.text("/").is_ok_and(|page| page.contains("without an agent")));

    // One is deleted, and the agent of the other comes: the same node, and the alert ends.
    cluster.delete_node("node-c");
    until("it is gone", &|api| api.node_state("node-c").is_none());
    let uid = |api: &Api| api.list("/api/v1/nodes", "nodes").unwrap().into_iter().filter(|node| node["name"] == "node-b").count();
    std::fs::write(site.path("node-b.token"), cluster.add_agent("node-b")).unwrap();
    let _other = site.agent("node-b", &["--host-root", &host, "--proc", &proc, "--no-probe"]).unwrap();
    until("its agent came", &|api| verdict(api, "node-has-agent", "node-b") == Some(json!("pass")));
    assert_eq!(uid(&api), 1, "it is one node");
    until("nobody is missed", &|api| firing(api, "node-without-agent").is_empty());

    // The Node object of an agent that goes on speaking.
    cluster.delete_node("node-a");
    until("it speaks on", &|api| verdict(api, "node-is-known", "node-a") == Some(json!("fail")));
    until("and that is told", &|api| firing(api, "agent-without-node").len() == 1);
    assert_eq!(api.node_state("node-a").as_deref(), Some("reporting"), "its session lives");
}
