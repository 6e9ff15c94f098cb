//! How delivery from a node goes, on its page, in the list and in the API.

use serde_json::json;

use crate::fleet::{Fleet, NOW};
use crate::pages::shown;

const HOUR: i64 = 3_600_000;
const PATH: &str = "/nodes/prod-eu/ip-10-0-9-3";

/// The first node of the fleet had a full disk, was away, and has an entry that was refused.
async fn troubled() -> Fleet {
    let fleet = Fleet::seeded().await;
    fleet.sql(&format!("insert into delivery values (1, {}, 'delta', 'e', {}, 3, {})", NOW - HOUR, NOW - 3 * HOUR, NOW - 30_000)).await;
    fleet.sql("update nodes set clock_skew_ms = -400000, truncated_transitions = 12, agent_queued = 2 where node_id = 1").await;
    let agent = json!({"spool": "memory", "path": "/var/lib/holdfast/spool.redb", "reason": "disk_full", "detail": "make room on <its> disk",
        "recreated": {"set_aside": "/var/lib/holdfast/spool.redb.bad-1", "because": "a page does not verify", "at": NOW - HOUR},
        "flapping": 1, "truncated_transitions": 12});
    fleet.inventory(1, "agent", "self", agent).await;
    for (key, code) in [("listener/tcp/::/9", 3), ("<script>", 1), ("later", 9)] {
        fleet.sql(&format!("insert into refused values (1, 2, '{key}', 'h', {code}, {})", NOW - HOUR)).await;
    }
    fleet
}

#[tokio::test]
async fn a_nodes_page_tells_how_delivery_goes() {
    let fleet = troubled().await;
    insta::assert_snapshot!("node_page_delivery", shown(&fleet, &format!("{PATH}?tab=delivery")).await);
    insta::assert_json_snapshot!("node_delivery", fleet.get(&format!("/api/v1{PATH}")).await.json()["delivery"]);
}

/// Nothing is known of a node whose agent is of an earlier version, and nothing is made up.
#[tokio::test]
async fn an_earlier_agent_says_nothing_of_its_spool() {
    let fleet = Fleet::seeded().await;
    let page = shown(&fleet, &format!("{PATH}?tab=delivery")).await;
    insta::assert_snapshot!("node_page_delivery_of_an_earlier_agent", page);
    let delivery = &fleet.get(&format!("/api/v1{PATH}")).await.json()["delivery"];
    for unknown in ["session", "spool", "clock", "flapping"] {
        assert!(delivery[unknown].is_null(), "{unknown}: {delivery}");
    }
}

#[tokio::test]
async fn a_nodes_page_tells_who_speaks_for_it_and_who_was_refused() {
    let fleet = Fleet::seeded().await;
    fleet.sql(&format!("update nodes set holder = 'pod:7f1c', holder_since = {} where node_id = 1", NOW - HOUR)).await;
    let hour = NOW / HOUR;
    fleet.sql(&format!("insert into breaches values (1, 'duplicate', {hour}, 7, 'pod:<evil> came', {})", NOW - 60_000)).await;
    let page = fleet.get(&format!("{PATH}?tab=delivery")).await;
    let page = page.main();
    assert!(page.contains("7f1c") && page.contains("another agent, while the node") && page.contains("evil"), "{page}");
    assert!(!page.contains("<evil>"), "{page}");
    let delivery = &fleet.get(&format!("/api/v1{PATH}")).await.json()["delivery"];
    assert_eq!((&delivery["holder"]["credential"], &delivery["holder"]["id"]), (&json!("pod"), &json!("7f1c")));
    assert_eq!((&delivery["breaches"][0]["kind"], &delivery["breaches"][0]["n"]), (&json!("duplicate"), &json!(7)));
}

#[tokio::test]
async fn the_list_marks_what_is_remarkable_and_nothing_else() {
    let fleet = troubled().await;
    // An agent with a file, and a recording, whose agent keeps none.
    fleet.inventory(3, "agent", "self", json!({"spool": "file", "flapping": 0, "truncated_transitions": 0})).await;
    fleet.inventory(4, "agent", "self", json!({"spool": "memory", "flapping": 0, "truncated_transitions": 0})).await;
    fleet.sql("insert into inventory values (6, 'agent', 'self', 'no json', 'h', 1)").await;
    let page = fleet.get("/nodes").await;
    assert_eq!(page.main().matches("?tab=delivery").count(), 1, "{}", page.main());
    assert!(page.main().contains(">3 refused, keeps no file, 12 missing from history</a>"), "{}", page.main());
}
