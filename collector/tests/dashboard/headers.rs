//! Headers, guards and limits, on every route.

use axum::body::Body;
use axum::http::Request;

use crate::fleet::{Fleet, attributes};

const ROUTES: [&str; 49] = [
    "/",
    "/nodes",
    "/nodes?state=gone",
    "/nodes/prod-eu/ip-10-0-9-3",
    "/nodes/prod-eu/ip-10-0-9-3?tab=unknown",
    "/nodes/prod-eu/ip-10-0-9-3?tab=facts",
    "/nodes/prod-eu/ip-10-0-9-3?tab=containers",
    "/nodes/prod-eu/ip-10-0-9-3?tab=runtimes",
    "/nodes/prod-eu/ip-10-0-9-3?tab=listeners",
    "/nodes/prod-eu/ip-10-0-9-3?tab=processes",
    "/nodes/prod-eu/ip-10-0-9-3?tab=timeline",
    "/nodes/prod-eu/ip-10-0-1-1",
    "/nodes/prod-eu/nobody",
    "/findings",
    "/findings?group=none&verdict=any",
    "/findings?group=node",
    "/findings?foo=1",
    "/findings/none",
    "/findings.csv",
    "/findings.json",
    "/nodes.csv",
    "/nodes.json",
    "/checks",
    "/checks/kubelet-anonymous-auth",
    "/alerts",
    "/alerts/f00d",
    "/exposure",
    "/exposure?group=none",
    "/root-processes",
    "/root-processes?group=none",
    "/root-processes?place=process",
    "/kernels",
    "/kernels?component=any",
    "/kernels?group=none",
    "/kernels/kernel/5.14.0-611.20.1.el9_7.x86_64",
    "/kernels.csv",
    "/kernels.json",
    "/feeds",
    "/nodes/prod-eu/ip-10-0-9-3?tab=chain",
    "/api/v1/chain",
    "/expectations",
    "/coverage",
    "/changes",
    "/help/words",
    "/about",
    "/api/v1/findings",
    "/api/v1/nope",
    "/livez",
    "/metrics",
];

#[tokio::test]
async fn every_response_has_the_strict_headers_and_nothing_inline() {
    let fleet = crate::chain::fleet().await;
    let home = fleet.get("/").await.body;
    let assets = [attributes(&home, "stylesheet", "href")[0], attributes(&home, "type=\"module\"", "src")[0]];
    for path in ROUTES.into_iter().chain(assets).chain(["/readyz", "/assets/none.css", "/events?view=x"]) {
        let answer = fleet.get(path).await;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {policy}");
        assert!(policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe") && !policy.contains("nonce"), "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(name), value, "{path}");
        }
        assert!(header("permissions-policy").contains("camera=()"), "{path}");
        let cache = header("cache-control");
        let asset = assets.contains(&path);
        assert_eq!(cache, if asset { "public, max-age=31536000, immutable" } else { "no-store" }, "{path}");
        if header("content-type").starts_with("text/html") {
            assert!(!answer.body.contains(" style="), "{path} has an inline style");
            assert!(
                attributes(&answer.body, "script ", "src").len() == answer.body.matches("<script").count(),
                "{path} has an inline script"
            );
            for handler in [" onclick", " onload", " onerror", "javascript:"] {
                assert!(!answer.body.contains(handler), "{path} has {handler}");
            }
            assert_eq!(answer.body.matches("<h1").count(), 1, "{path} has one heading");
            assert!(answer.body.len() < 120 * 1024, "{path} is {} bytes", answer.body.len());
        }
    }
}

#[tokio::test]
async fn style_and_script_stay_small() {
    assert!(include_str!("../../assets/style.css").len() <= 20 * 1024);
    assert!(include_str!("../../assets/live.js").len() <= 8 * 1024);
}

#[tokio::test]
async fn a_post_from_another_site_is_refused() {
    let fleet = Fleet::seeded().await;
    let post = |site: &str| {
        let request = Request::post("/prefs?theme=dark&back=/nodes").header("host", "collector").header("sec-fetch-site", site);
        request.body(Body::empty()).expect("request")
    };
    let refused = fleet.send(post("cross-site")).await;
    assert_eq!(refused.status, 403);
    assert!(refused.headers.contains_key("content-security-policy"), "even a refusal carries the headers");
    let kept = fleet.send(post("same-origin")).await;
    assert_eq!((kept.status.as_u16(), kept.headers["location"].to_str().unwrap()), (303, "/nodes"));
    assert!(kept.headers["set-cookie"].to_str().unwrap().starts_with("holdfast-theme=dark;"));
    let dark = Request::get("/").header("cookie", "a=b; holdfast-theme=dark").body(Body::empty()).expect("request");
    assert!(fleet.send(dark).await.body.contains("<html lang=\"en\" data-theme=\"dark\">"));
}

#[tokio::test]
async fn only_what_is_offered_can_be_done() {
    let fleet = Fleet::seeded().await;
    let post = |path: &str| Request::post(path).body(Body::empty()).expect("request");
    for path in ["/", "/findings", "/api/v1/findings", "/livez"] {
        assert_eq!(fleet.send(post(path)).await.status, 405, "{path}");
    }
    assert_eq!(fleet.get("/nowhere").await.status, 404);
    assert_eq!(fleet.get("/livez").await.body, "live\n");
    assert_eq!(fleet.get("/readyz").await.body, "ready\n");
    assert_eq!(fleet.get("/metrics").await.body, "# EOF\n");
    fleet.cancel.cancel();
    assert_eq!(fleet.get("/readyz").await.status, 503);
}
