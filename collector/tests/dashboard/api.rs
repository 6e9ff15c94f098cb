//! The JSON API.

use crate::fleet::Fleet;

#[tokio::test]
async fn openapi_is_what_it_was() {
    let fleet = Fleet::empty().await;
    let description = fleet.get("/api/v1/openapi.json").await.json();
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", description["openapi"]);
    insta::assert_json_snapshot!("openapi", description);
}

#[tokio::test]
async fn every_described_operation_answers() {
    let fleet = Fleet::seeded().await;
    let description = fleet.get("/api/v1/openapi.json").await.json();
    let id = fleet.get("/api/v1/findings?limit=1").await.json()["findings"][0]["id"].as_str().expect("id").to_owned();
    for path in description["paths"].as_object().expect("paths").keys() {
        let one = if path.contains("checks") { "kubelet-anonymous-auth" } else { &id };
        let path = path.replace("{cluster}", "prod-eu").replace("{name}", "ip-10-0-9-3").replace("{id}", one);
        let answer = fleet.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.json().get("as_of").is_some() || path.contains("/checks/"), "{path} says as of when");
    }
}

#[tokio::test]
async fn a_finding_comes_with_evidence_why_fix_and_history() {
    let fleet = Fleet::seeded().await;
    let list = fleet.get("/api/v1/findings?check=kubelet-anonymous-auth&node=ip-10-0-9-3").await.json();
    let one = fleet.get(&format!("/api/v1/findings/{}", list["findings"][0]["id"].as_str().expect("id"))).await.json();
    insta::assert_json_snapshot!("finding", one);
}

#[tokio::test]
async fn errors_have_a_code_a_message_and_a_request_id() {
    let fleet = Fleet::seeded().await;
    for (path, status, code) in [
        ("/api/v1/findings?verdict=bad", 400, "bad_request"),
        ("/api/v1/findings/none", 404, "not_found"),
        ("/api/v1/nodes/a/b", 404, "not_found"),
        ("/api/v1/none", 404, "not_found"),
    ] {
        let answer = fleet.get(path).await;
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), body["error_code"].as_str()), (status, Some(code)), "{path}");
        assert!(
            body["message"].as_str().is_some_and(|text| !text.is_empty()) && body["request_id"].as_str().is_some_and(|id| id.len() == 16)
        );
    }
}

#[tokio::test]
async fn the_stores_troubles_stay_in_the_log() {
    let fleet = Fleet::seeded().await;
    fleet.sql("drop table inventory").await;
    let answer = fleet.get("/api/v1/exposure").await;
    assert_eq!(answer.status, 503);
    assert!(!answer.body.contains("inventory") && !answer.body.contains("sql"), "{}", answer.body);
    let page = fleet.get("/exposure").await;
    assert_eq!(page.status, 503);
    assert!(page.body.contains("Request id") && page.body.contains("id=\"status\""), "the frame stays: {}", page.body);
}
