//! Policies as readers and programs see them.

use std::path::Path;

use holdfast_checks::catalogue::{Catalogue, Document};
use holdfast_collector::policy::Policies;

use crate::fleet::{CHECKS, Fleet, NOW};
use crate::pages::shown;

const FILE: &str = "
full_pass_seconds: 900
disabled_checks: [kernel-kptr-restrict]
peer_probe_pools:
- {name: <zone-a>, networks: [10.0.0.0/24, 10.0.1.0/24]}
clusters:
  prod-us: {disabled_checks: []}
";
const NODE: &str = "/nodes/prod-eu/ip-10-0-9-3";

/// The fleet, where node 1 said this of its policy.
async fn fleet(state: &str, reason: &str) -> Fleet {
    let fleet = Fleet::seeded().await;
    let catalogue = Catalogue::load(&[Document { name: "checks.yaml".into(), text: CHECKS.into() }]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    std::fs::write(&path, FILE).unwrap();
    let policies = Policies::load(Path::new(&path), &catalogue).unwrap();
    let hash = policies.of("prod-eu").hash().unwrap();
    fleet.policies.put(policies, NOW - 60_000);
    let insert = "insert into policy_status values (1, $1, $2, $3, $4, $5)";
    let held = if state == "applied" { hash.to_string() } else { "0123456789abcdef0123456789abcdef".to_owned() };
    let query = sqlx::query(insert).bind(hash.to_string()).bind(held).bind(state).bind(reason).bind(NOW - 30_000);
    query.execute(&fleet.pool).await.unwrap();
    fleet
}

/// The block about the policy.
async fn block(fleet: &Fleet, path: &str) -> String {
    let page = shown(fleet, path).await;
    let start = page.find("<h2>Policy").unwrap_or_else(|| panic!("{page}"));
    let block = page.get(start..).unwrap();
    block.split("</section>").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_node_page_says_what_its_policy_changes() {
    insta::assert_snapshot!("node_policy_applied", block(&fleet("applied", "not known here: x-check").await, NODE).await);
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_reason_escaped_on_the_node_and_among_nodes() {
    let fleet = fleet("refused", "<script>alert(1)</script> \u{202e}full_pass_seconds 900 is too large").await;
    insta::assert_snapshot!("node_policy_refused", block(&fleet, NODE).await);
    let nodes = shown(&fleet, "/nodes").await;
    assert!(nodes.contains("1 node refuses the policy"), "{nodes}");
    fleet.policies.keep("policy.yaml:3: <b>bad</b>".to_owned());
    let nodes = shown(&fleet, "/nodes").await;
    assert!(nodes.contains("The policy file is not usable") && !nodes.contains("<b>bad"), "{nodes}");
}

#[tokio::test]
async fn without_a_policy_nothing_is_said_of_one() {
    let fleet = Fleet::seeded().await;
    assert!(!shown(&fleet, NODE).await.contains("<h2>Policy"));
    let answer = fleet.get("/api/v1/policy").await;
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&json["file"], &json["since"], &json["clusters"][0]["hash"]),
        (&serde_json::Value::Null, &serde_json::Value::Null, &"".into())
    );
}

#[tokio::test]
async fn programs_get_the_policies_and_how_nodes_stand_to_them() {
    let fleet = fleet("refused", "no").await;
    let pretty = |body: &str| serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(body).unwrap()).unwrap();
    insta::assert_snapshot!("policy", pretty(&fleet.get("/api/v1/policy").await.body));
    let node: serde_json::Value = serde_json::from_str(&fleet.get(&format!("/api/v1{NODE}")).await.body).unwrap();
    insta::assert_snapshot!("policy_of_a_node", serde_json::to_string_pretty(&node["policy"]).unwrap());
}
