//! Every number is a link, and the list behind it has exactly that many rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::{Fleet, attributes, unescape};

/// Where numbers stand.
const PAGES: [&str; 30] = [
    "/",
    "/?cluster=demo",
    "/nodes",
    "/nodes?state=silent",
    "/nodes/prod-eu/ip-10-0-9-3",
    "/nodes/prod-eu/ip-10-0-4-17",
    "/nodes?verdict=fail",
    "/findings",
    "/findings?group=none",
    "/findings?group=node",
    "/findings?verdict=unknown",
    "/findings?verdict=any&q=kubelet",
    "/findings?verdict=any&state=last_known",
    "/findings?cluster=demo",
    "/findings?severity=low",
    "/checks",
    "/checks?area=kernel",
    "/checks/kubelet-anonymous-auth",
    "/checks/kernel-kptr-restrict",
    "/checks/site-custom",
    "/exposure",
    "/exposure?node=ip-10-0-9-3",
    "/root-processes",
    "/root-processes?group=namespace&root=host",
    "/root-processes?place=process",
    "/kernels",
    "/kernels?component=any",
    "/expectations",
    "/coverage",
    "/coverage?cluster=prod-eu",
];

/// Follows every number on those pages, and every number on the lists behind them.
#[tokio::test]
async fn every_number_equals_the_list_behind_it() {
    let fleet = crate::root::fleet().await;
    let mut todo: Vec<String> = PAGES.map(str::to_owned).to_vec();
    let mut totals: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let mut promised: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for depth in 0..2 {
        for path in std::mem::take(&mut todo) {
            if totals.contains_key(&path) {
                continue;
            }
            let page = fleet.get(&path).await;
            assert!(page.status.is_success(), "{path}: {} {}", page.status, page.body);
            totals.insert(path, page.total());
            let links: String = page.body.split('<').filter(|tag| tag.starts_with("a ")).flat_map(|tag| ["<", tag]).collect();
            let numbers = attributes(&links, "data-n=\"", "data-n").into_iter().zip(attributes(&links, "data-n=\"", "href"));
            for (n, href) in numbers {
                let href = unescape(href);
                todo.push(href.clone());
                // The last lists are not opened, so what they promise is not looked at.
                if depth == 0 {
                    promised.entry(href).or_default().insert(n.parse().expect("a number"));
                }
            }
        }
    }
    assert!(promised.len() > 60, "found {} numbers", promised.len());
    for (href, numbers) in promised {
        let total = totals.get(&href).copied().flatten().unwrap_or_else(|| panic!("{href} shows no total"));
        assert_eq!(numbers, BTreeSet::from([total]), "{href}");
    }
}

#[tokio::test]
async fn page_export_and_api_give_the_same_number_of_rows() {
    let fleet = Fleet::seeded().await;
    let filters = [
        "verdict=fail",
        "verdict=unknown",
        "verdict=any",
        "severity=critical&verdict=any",
        "verdict=fail&state=current",
        "verdict=any&state=last_known",
        "verdict=any&state=gone",
        "verdict=any&cluster=demo",
        "verdict=any&node=ip-10-0-9-3",
        "verdict=any&q=KUBELET",
        "verdict=any&q=100%25",
        "verdict=any&since=24h",
        "verdict=any&since=1m",
        "verdict=any&area=kernel",
        "verdict=any&framework=cis-1.12",
        "verdict=any&framework=cis-1.12&row=4.2.1",
        "verdict=any&framework=nsa-1.2&row=4.2.1",
        "verdict=any&reason=permission_denied",
        "verdict=any&subject=file:/etc/site",
        "verdict=any&check=audit-review,kernel-kptr-restrict",
        "verdict=pass,manual",
        "verdict=any&severity=high,low&state=reporting",
        "verdict=any&deciding=anonymousAuth%20%3D%20true%20%28drop-in%2020-debug.conf%29",
    ];
    for filter in filters {
        let page = fleet.get(&format!("/findings?{filter}&group=none")).await.total().unwrap_or_else(|| panic!("{filter}"));
        let grouped = fleet.get(&format!("/findings?{filter}")).await.total();
        let api = fleet.get(&format!("/api/v1/findings?{filter}")).await.json();
        let csv = fleet.get(&format!("/findings.csv?{filter}")).await.body;
        let json = fleet.get(&format!("/findings.json?{filter}")).await.json();
        let rows = api["findings"].as_array().expect("rows").len();
        assert_eq!(api["total"].as_i64(), Some(page), "{filter}");
        assert_eq!(i64::try_from(rows).ok(), Some(page), "{filter}");
        assert_eq!(i64::try_from(csv.lines().count() - 1).ok(), Some(page), "{filter}");
        assert_eq!(json["rows"].as_array().map(Vec::len), Some(rows), "{filter}");
        assert_eq!(grouped, Some(page), "{filter}");
    }
}

#[tokio::test]
async fn a_silent_nodes_results_are_last_known_and_not_decided() {
    let fleet = Fleet::seeded().await;
    let check = fleet.get("/checks/kubelet-anonymous-auth").await;
    // Nodes 1 and 4 fail, 3 passes; the silent 2 and the stopped 6 are last known, the gone 5 is nowhere.
    assert!(check.main().contains("3 of 5 applicable results decided"), "{}", check.main());
    let api = fleet.get("/api/v1/checks/kubelet-anonymous-auth").await.json();
    assert_eq!(api["counts"], serde_json::json!({"pass": 1, "fail": 2, "unknown": 0, "manual": 0, "not_applicable": 0, "last_known": 2}));
    let list = fleet.get("/findings?verdict=any&state=silent&group=none").await;
    assert_eq!(list.main().matches("class=\"stale\"").count(), 3);
    assert_eq!(list.main().matches("last known</span>").count(), 3);
    let node = fleet.get("/nodes/prod-eu/ip-10-0-4-17").await;
    assert!(node.main().contains("Last known results below; they are not counted."), "{}", node.main());
    assert!(node.main().contains("Nothing assessed"), "a silent node has no share: {}", node.main());
}

#[tokio::test]
async fn keyset_pages_have_no_duplicate_and_no_gap_with_ties() {
    let fleet = Fleet::seeded().await;
    for index in 0..40 {
        fleet.finding(1, "kernel-kptr-restrict", &format!("tie-{index}"), 2, 3, "same").await;
    }
    fleet.recount().await;
    for sort in ["severity", "changed", "node", "check"] {
        let (mut after, mut ids) = (String::new(), Vec::new());
        for page in 0..100 {
            let answer = fleet.get(&format!("/api/v1/findings?sort={sort}&limit=7&after={after}")).await.json();
            ids.extend(answer["findings"].as_array().expect("rows").iter().map(|row| row["id"].as_str().expect("id").to_owned()));
            if page == 1 {
                // The row the page stopped at goes, and one that sorts before it comes: nothing is skipped or repeated.
                let last = ids.last().expect("a row").clone();
                fleet.sql(&format!("update findings set title = title where finding_id = '{last}'")).await;
            }
            match answer["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        let unique: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{sort}: duplicates");
        let total = fleet.get("/api/v1/findings").await.json()["total"].as_i64();
        assert_eq!(i64::try_from(ids.len()).ok(), total, "{sort}: gaps");
    }
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let answer = fleet.get(&format!("/api/v1/nodes?limit=2&after={after}")).await.json();
        names.extend(answer["nodes"].as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("name").to_owned()));
        match answer["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(names, ["ip-10-0-4-17", "ip-10-0-9-3", "misconfigured", "ip-10-0-7-1", "ip-10-0-2-2"]);
}

#[tokio::test]
async fn a_deleted_anchor_row_does_not_break_the_next_page() {
    let fleet = Fleet::seeded().await;
    let all = fleet.get("/api/v1/findings").await.json();
    let ids: Vec<&str> = all["findings"].as_array().expect("rows").iter().map(|row| row["id"].as_str().expect("id")).collect();
    let first = fleet.get("/api/v1/findings?limit=5").await.json();
    fleet.sql(&format!("delete from findings where finding_id = '{}'", ids[4])).await;
    let next = fleet.get(&format!("/api/v1/findings?limit=5&after={}", first["next"].as_str().expect("next"))).await.json();
    let found: Vec<&str> = next["findings"].as_array().expect("rows").iter().map(|row| row["id"].as_str().expect("id")).collect();
    assert_eq!(found, ids[5..10]);
}

#[tokio::test]
async fn a_forged_position_is_refused() {
    let fleet = Fleet::seeded().await;
    let good = fleet.get("/api/v1/findings?limit=1").await.json()["next"].as_str().expect("next").to_owned();
    let forged = good.replacen('7', "6", 1);
    for after in [forged.as_str(), "x", "00.00", "%00"] {
        for path in ["/api/v1/findings", "/findings", "/api/v1/nodes", "/nodes"] {
            let answer = fleet.get(&format!("{path}?limit=1&group=none&after={after}")).await;
            assert_eq!(answer.status, 400, "{path} {after}: {}", answer.body);
        }
    }
    assert_eq!(fleet.get(&format!("/api/v1/findings?limit=1&sort=node&after={good}")).await.status, 400, "it belongs to another order");
}
