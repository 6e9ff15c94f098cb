//! Nodes without an agent, as a reader meets them: everywhere seen, nowhere counted as well.

use crate::fleet::{Fleet, NOW};

/// The seeded fleet, and three nodes without an agent; none can run on one of them.
async fn fleet() -> Fleet {
    let fleet = Fleet::seeded().await;
    for (id, name) in [(21, "pool-b-1"), (22, "pool-b-2"), (23, "win-1")] {
        fleet.node(id, "prod-eu", name, "agent", "unwatched", NOW - 600_000).await;
        let reason = "there is a Node object, and no agent has spoken for it";
        let update = "update nodes set last_seen = 0, confirmed_at = 0, agent_version = '', catalogue_hash = '', agent_rss = 0";
        fleet
            .sql(&format!("{update}, first_seen = state_since, membership = 'listed', state_reason = '{reason}' where node_id = {id}"))
            .await;
        fleet.finding(id, "node-has-agent", "node", if id == 23 { 3 } else { 2 }, 4, "agent = false (Node objects)").await;
    }
    let reason = "no agent can run here: the node runs Windows";
    let update = "update nodes set membership = 'unwatchable', unwatchable = 'the node runs Windows'";
    fleet.sql(&format!("{update}, state_reason = '{reason}' where node_id = 23")).await;
    fleet.recount().await;
    fleet
}

#[tokio::test]
async fn every_page_says_how_many_nodes_have_no_agent() {
    let fleet = fleet().await;
    for path in ["/", "/nodes", "/findings", "/checks", "/coverage", "/kernels", "/alerts", "/exposure", "/about"] {
        let page = fleet.get(path).await;
        assert!(page.body.contains("without an agent"), "{path}");
    }
    let coverage = fleet.get("/coverage").await;
    insta::assert_snapshot!(coverage.main().lines().filter(|line| line.contains("no agent")).collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn a_node_without_an_agent_is_listed_filtered_and_never_counted_as_compliant() {
    let fleet = fleet().await;
    let nodes = fleet.get("/nodes?state=unwatched").await;
    assert_eq!(nodes.total(), Some(3));
    insta::assert_snapshot!("nodes_without_an_agent", nodes.main());
    insta::assert_snapshot!("node_without_an_agent", fleet.get("/nodes/prod-eu/pool-b-1").await.main());
    let api = fleet.get("/api/v1/nodes?state=unwatched").await.json();
    insta::assert_json_snapshot!("api_nodes_without_an_agent", api["nodes"][0]);
    // Its one finding is among what counts, and every list behind a number says the same.
    let open = fleet.get("/findings?verdict=fail&state=current&check=node-has-agent&group=none").await;
    assert_eq!(open.total(), Some(2));
    // Only what reports is said to report.
    let page = fleet.get("/").await.body;
    assert!(page.contains("data-n=\"3\" href=\"/nodes?state=reporting,recorded\""), "as many report as before: {page}");
    let refused = fleet.get("/api/v1/nodes?state=nonsense").await;
    assert!(refused.body.contains("unwatched"), "{}", refused.body);
}
