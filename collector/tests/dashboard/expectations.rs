//! What is expected to fail: marked, counted apart, listed, and never another verdict.

use serde_json::json;

use crate::fleet::Fleet;
use crate::pages::shown;

const PROXY: &str = "pod:kube-system/kube-proxy-x7k2p/kube-proxy";

/// Root in two pods: one is the node's own proxy.
async fn fleet() -> (Fleet, String, String) {
    let fleet = Fleet::seeded().await;
    let proxy = fleet.finding(1, "container-root", PROXY, 2, 4, "running.host_root = [\"kube-proxy\"] (processes)").await;
    let shop = fleet.finding(1, "container-root", "pod:shop/db-0/db", 2, 4, "running.host_root = [\"postgres\"] (processes)").await;
    fleet.finding(3, "container-root", PROXY, 1, 4, "").await;
    fleet.finding(3, "pod-host-network", PROXY, 4, 4, "").await;
    fleet.derive().await;
    (fleet, proxy, shop)
}

#[tokio::test]
async fn an_expected_finding_is_counted_apart_and_still_fails() {
    let (fleet, proxy, shop) = fleet().await;
    let total = async |query: &str| fleet.get(&format!("/findings?{query}&group=none")).await.total();
    assert_eq!(total("verdict=fail&check=container-root").await, Some(2));
    assert_eq!(total("check=container-root").await, Some(1), "what is open, unless asked");
    assert_eq!(total("check=container-root&expected=yes").await, Some(1));
    assert_eq!(total("waiver=kube-proxy").await, Some(1));
    assert_eq!(total("verdict=any&expected=yes").await, Some(1), "what passes or is unknown is not expected to");
    let one = fleet.get(&format!("/api/v1/findings/{proxy}")).await.json()["finding"].clone();
    assert_eq!((one["verdict"].as_str(), one["expected"]["id"].as_str()), (Some("fail"), Some("kube-proxy")));
    assert!(one["expected"]["reason"].as_str().is_some_and(|reason| reason.contains("packet filter")), "{one}");
    assert!(fleet.get(&format!("/api/v1/findings/{shop}")).await.json()["finding"]["expected"].is_null());
    let page = fleet.get(&format!("/findings/{proxy}")).await;
    assert!(page.main().contains("The verdict stays what it is") && page.main().contains("</span> Fail</span>"), "{}", page.main());
    let node = fleet.get("/api/v1/nodes/prod-eu/ip-10-0-9-3").await.json()["node"].clone();
    assert_eq!((node["fail"].as_i64(), node["high"].as_i64(), node["expected"].as_i64()), (Some(5), Some(2), Some(1)));
    insta::assert_snapshot!("node_page_expected", shown(&fleet, "/nodes/prod-eu/ip-10-0-9-3").await);
    let home = fleet.get("/").await;
    assert!(home.main().contains("counted apart</th><td class=\"num\"><a class=\"n\" data-n=\"1\""), "{}", home.main());
    assert_eq!(fleet.get("/findings?expected=maybe").await.body.matches("Ignored: <code>expected</code>").count(), 1);
}

#[tokio::test]
async fn every_expectation_is_listed_with_what_it_covers_now() {
    let (fleet, ..) = fleet().await;
    let list = fleet.get("/api/v1/expectations").await.json();
    let covered: Vec<_> = list["expectations"].as_array().expect("list").iter().filter(|one| one["findings"] != 0).collect();
    assert_eq!(covered.len(), 1);
    assert_eq!((&covered[0]["id"], &covered[0]["findings"], &covered[0]["nodes"]), (&json!("kube-proxy"), &json!(1), &json!(1)));
    let page = fleet.get("/expectations").await;
    assert_eq!(page.total(), list["total"].as_i64());
    let row = shown(&fleet, "/expectations").await;
    let start = row.find("<tr id=\"kube-proxy\"").expect("its row");
    insta::assert_snapshot!("expectations_row", row[start..].split_once("</tr>").expect("a whole row").0);
}

/// A list that changed covers what is stored already: agents do not send again what did not change.
#[tokio::test]
async fn another_list_is_laid_over_what_is_stored() {
    let (fleet, proxy, _) = fleet().await;
    fleet.sql("update findings set waiver = 'of-before' where subject like 'pod:shop/%'").await;
    fleet.sql("update findings set waiver = '' where subject like 'pod:kube-system/%'").await;
    fleet.sql("update derived set version = 'of before' where name = 'expectations'").await;
    fleet.derive().await;
    let open: Vec<(String, String)> =
        sqlx::query_as("select finding_id, waiver from findings where waiver <> ''").fetch_all(&fleet.pool).await.expect("read");
    assert_eq!(open, [(proxy, "kube-proxy".to_owned())]);
    let counted: i64 =
        sqlx::query_scalar("select sum(n) from counts where waiver = 'kube-proxy'").fetch_one(&fleet.pool).await.expect("read");
    assert_eq!(counted, 1);
}
