//! What readers see, page by page.

use holdfast_collector::cluster::Resource;

use crate::fleet::{Fleet, NOW};

/// The main part with its time-of-run parts removed, one tag a line.
pub async fn shown(fleet: &Fleet, path: &str) -> String {
    let page = fleet.get(path).await;
    page.main().replace('<', "\n<").lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

macro_rules! page {
    ($name:ident, $path:expr) => {
        #[tokio::test]
        async fn $name() {
            let fleet = Fleet::seeded().await;
            insta::assert_snapshot!(stringify!($name), shown(&fleet, $path).await);
        }
    };
}

page!(fleet_page, "/");
page!(nodes_page, "/nodes");
page!(node_page, "/nodes/prod-eu/ip-10-0-9-3");
page!(node_page_facts, "/nodes/prod-eu/ip-10-0-9-3?tab=facts");
page!(node_page_listeners, "/nodes/prod-eu/ip-10-0-9-3?tab=listeners");
page!(node_page_timeline, "/nodes/prod-eu/ip-10-0-9-3?tab=timeline");
page!(node_page_silent, "/nodes/prod-eu/ip-10-0-4-17");
page!(findings_page, "/findings");
page!(findings_page_ungrouped, "/findings?group=none&verdict=any");
page!(check_page, "/checks/kubelet-anonymous-auth");
page!(alerts_page, "/alerts");
page!(exposure_page, "/exposure");
page!(coverage_page, "/coverage");
page!(words_page, "/help/words");

#[tokio::test]
async fn a_fleet_without_nodes_shows_no_number_no_share_and_no_tick() {
    let fleet = Fleet::empty().await;
    let home = fleet.get("/").await;
    let main = home.main();
    assert!(main.contains("No node has reported yet") && main.contains("Nothing assessed"), "{main}");
    assert!(!main.contains('%') && !main.contains('✓') && !main.contains("data-n"), "{main}");
    for path in [
        "/nodes",
        "/findings",
        "/checks",
        "/alerts",
        "/exposure",
        "/root-processes",
        "/kernels",
        "/feeds",
        "/coverage",
        "/changes",
        "/about",
    ] {
        let page = fleet.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.main().contains('%') && !page.main().contains('✓'), "{path}: {}", page.main());
    }
}

/// What the API server says of itself is a stranger's text.
#[tokio::test]
async fn while_the_api_server_does_not_answer_the_fleet_page_says_since_when_and_what_that_means() {
    let fleet = Fleet::seeded().await;
    let banner = async || fleet.get("/").await.main().lines().filter(|line| line.contains("API server")).collect::<String>();
    assert_eq!(banner().await, "");
    fleet.cluster.troubled(Resource::TokenReviews, "the API server answered 500 <script>etcd\u{202e}</script>", NOW - 180_000);
    insta::assert_snapshot!("fleet_page_without_the_api_server", banner().await);
    fleet.cluster.answering(Resource::TokenReviews);
    assert_eq!(banner().await, "");
}

#[tokio::test]
async fn nothing_passes_when_nothing_could_be_read() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    for check in ["kubelet-anonymous-auth", "kernel-kptr-restrict"] {
        fleet.finding(1, check, "node", 4, 5, "").await;
    }
    fleet.recount().await;
    for path in ["/nodes", "/nodes/c/n?tab=all", "/findings?verdict=any&group=none", "/coverage"] {
        let page = fleet.get(path).await;
        assert!(!page.main().contains("100 %") && !page.main().contains("v-pass"), "{path}: {}", page.main());
    }
    assert!(fleet.get("/findings?verdict=any&group=none").await.main().contains("permission_denied"));
}

#[tokio::test]
async fn a_finding_is_told_in_the_readers_order() {
    let fleet = Fleet::seeded().await;
    let id = |check: &str, node: i64, subject: &str| {
        blake3::hash(format!("{node}/{check}/{subject}").as_bytes()).to_hex().chars().take(20).collect::<String>()
    };
    let fail = shown(&fleet, &format!("/findings/{}", id("kubelet-anonymous-auth", 1, "kubelet"))).await;
    let order = ["verdictline", "class=\"times\"", "id=\"why\"", "id=\"fix\"", "id=\"evidence\"", "id=\"history\""];
    let places: Vec<usize> = order.iter().map(|part| fail.find(part).unwrap_or_else(|| panic!("{part} in {fail}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    insta::assert_snapshot!("finding_page_fail", fail);
    let unknown = shown(&fleet, &format!("/findings/{}", id("kernel-kptr-restrict", 3, "node"))).await;
    assert!(unknown.contains("id=\"not-known\"") && !unknown.contains("id=\"fix\"") && !unknown.contains('✓'), "{unknown}");
    insta::assert_snapshot!("finding_page_unknown", unknown);
    let manual = shown(&fleet, &format!("/findings/{}", id("audit-review", 1, "node"))).await;
    assert!(manual.contains("Who reads the audit log"), "{manual}");
    let recorded = shown(&fleet, &format!("/findings/{}", id("kubelet-anonymous-auth", 4, "kubelet"))).await;
    assert!(recorded.contains("Recorded"), "{recorded}");
    let gone = fleet.get(&format!("/findings/{}", id("kubelet-anonymous-auth", 5, "kubelet"))).await;
    assert_eq!(gone.status, 410);
}

#[tokio::test]
async fn an_unknown_filter_is_named_on_pages_and_refused_elsewhere() {
    let fleet = Fleet::seeded().await;
    let page = fleet.get("/findings?foo=1&severity=worst").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Ignored: <code>foo</code>") && page.body.contains("Ignored: <code>severity</code>"), "{}", page.main());
    for path in ["/findings.csv", "/findings.json", "/nodes.csv", "/api/v1/findings", "/api/v1/nodes", "/api/v1/exposure"] {
        assert_eq!(fleet.get(&format!("{path}?foo=1")).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn a_collector_that_just_started_says_whom_it_waits_for() {
    let fleet = Fleet::seeded().await;
    let home = fleet.get("/").await;
    assert!(home.body.contains("Receiving nodes: 3 of 4"), "{}", home.body);
}

/// A percentage is written by `score.html` alone, whose values come from a constructor that takes the coverage too.
#[test]
fn no_other_template_writes_a_percentage() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    for entry in std::fs::read_dir(directory).expect("templates") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("template").replace("{%", "").replace("%}", "");
        assert!(!text.contains('%'), "{}", path.display());
        let score = path.ends_with("score.html");
        assert_eq!(text.contains("coverage()") || text.contains("passing()"), score, "{}", path.display());
    }
}

/// Four answers were shown in the order of their paths, so that what was served without credentials could be the fifth.
#[tokio::test]
async fn what_is_served_without_credentials_stands_before_what_is_refused() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let listener = serde_json::json!({"protocol": "tcp", "address": "0.0.0.0", "port": 10250, "scope": "all"});
    fleet.inventory(1, "listener", "tcp/0.0.0.0/10250", listener).await;
    for (path, status) in [("/a", 401), ("/b", 403), ("/c", 404), ("/d", 401), ("/pods", 200)] {
        let probe = serde_json::json!({"vantage": "node", "address": "127.0.0.1", "port": 10250, "path": path, "tls": true,
            "outcome": "answered", "status": status});
        fleet.inventory(1, "probe", &format!("node/127.0.0.1/10250{path}"), probe).await;
    }
    for path in ["/exposure", "/exposure?group=none", "/nodes/c/n?tab=listeners"] {
        let page = fleet.get(path).await;
        let main = page.main();
        let served = main.find("<strong class=\"served\">200 on /pods from node</strong>").unwrap_or_else(|| panic!("{path}: {main}"));
        assert!(main.find("401 on").is_some_and(|refused| served < refused), "{path}: {main}");
        assert!(main.contains("and 2 more"), "{path}: {main}");
    }
}

#[tokio::test]
async fn about_says_versions_retention_and_the_day_of_the_lifecycle_data() {
    let fleet = Fleet::seeded().await;
    let page = fleet.get("/about").await;
    for wanted in [env!("CARGO_PKG_VERSION"), "changes of verdicts 90 days, removed nodes 30 days", "Lifecycle data", "old), built in"] {
        assert!(page.main().contains(wanted), "{wanted}: {}", page.main());
    }
}
