//! Text of strangers: escaped, visible, cut, and no formula in a spreadsheet.

use crate::fleet::Fleet;

#[tokio::test]
async fn hostile_names_come_out_inert_on_every_page_and_export() {
    let fleet = Fleet::seeded().await;
    let name = "=cmd()<script>alert(1)</script>\u{202e}\n\"'&";
    let long = format!("file:/{}/x", "é".repeat(3000));
    fleet.node(9, name, name, "agent", "connected", 1).await;
    let id = fleet.finding(9, "site-hostile", name, 2, 5, name).await;
    let long_id = fleet.finding(9, "kubelet-anonymous-auth", &long, 2, 5, &long).await;
    let owner = serde_json::json!({"name": name, "exe": name, "component": "", "unit": name});
    let listener = serde_json::json!({"protocol": name, "address": name, "port": 1, "scope": "all", "owner": owner});
    fleet.inventory(9, "listener", name, listener).await;
    fleet.inventory(9, "os", "self", serde_json::json!({"pretty_name": name})).await;
    fleet.inventory(9, "group", name, serde_json::json!({"state": "unavailable", "reason": name, "detail": name})).await;
    fleet.inventory(9, "root-process", name, serde_json::json!({"exe": name, "placement": name, "count": name, "seccomp": name})).await;
    fleet.inventory(9, "setting", &format!("kubelet/{name}"), serde_json::json!({"value": name, "source": name})).await;
    let said = serde_json::json!({"value": name, "source": name});
    let setting = serde_json::json!({"value": [name], "source": name, "declared": [said, said], "observed": said, "reported": said});
    fleet.inventory(9, "setting", &format!("kubelet:{name}/{name}"), setting).await;
    fleet.inventory(9, "setting", &format!("kubelet/x{name}"), serde_json::json!({"unknown": name, "unobserved": name})).await;
    fleet.inventory(9, "component", &format!("kubelet:{name}"), serde_json::json!({"name": name, "flavour": name, "version": name})).await;
    let certificate = serde_json::json!({"path": name, "role": name, "user": name, "name": name, "issuer": name, "issued_by": name,
        "not_after": i64::MAX, "key": name, "key_bits": 1});
    fleet.inventory(9, "certificate", name, certificate.clone()).await;
    fleet.inventory(9, "certificate", "x", serde_json::json!({"path": name, "role": name, "unknown": name})).await;
    let handshake = serde_json::json!({"versions": {name: true}, "suites": [name], "certificate": certificate});
    fleet.inventory(9, "handshake", &format!("{name}/{name}/1"), handshake).await;
    fleet
        .sql(&format!("insert into peer_probes values (9, 'x', 1, 9, '{}', 1, 'answered', '', 200, 1, 9999999999999)", "<script>\u{202e}"))
        .await;
    fleet.inventory(9, "component", name, serde_json::json!({"name": name, "version": name})).await;
    fleet.recount().await;
    sqlx::query("insert into alerts values ('bad', $1, '{\"node\": \"x\"}', $2, 5, 'firing', 1, 1, 0, 1, 'javascript:alert(1)')")
        .bind(name)
        .bind(serde_json::json!({"summary": name}).to_string())
        .execute(&fleet.pool)
        .await
        .expect("alert");
    let encoded = "%3Dcmd%28%29%3Cscript%3Ealert%281%29%3C%2Fscript%3E%E2%80%AE%0A%22%27%26";
    let node = format!("/nodes/{encoded}/{encoded}");
    let mut pages = vec!["/".to_owned(), "/nodes".into(), "/findings".into(), "/findings?group=none".into(), "/findings?group=node".into()];
    pages.extend([
        format!("/findings/{id}"),
        format!("/findings/{long_id}"),
        format!("/findings?q={encoded}&cluster={encoded}&foo={encoded}"),
    ]);
    pages.extend([
        "/exposure".into(),
        "/exposure?group=none".into(),
        "/alerts".into(),
        "/alerts/bad".into(),
        "/checks".into(),
        "/checks/site-hostile".into(),
    ]);
    pages.extend(["all", "kubelet", "facts", "listeners", "processes", "timeline"].map(|tab| format!("{node}?tab={tab}")));
    pages.push(format!("/exposure?group=none&cluster={encoded}"));
    for path in pages {
        let page = fleet.get(&path).await;
        assert!(page.status.is_success(), "{path}: {} {}", page.status, page.body);
        assert!(!page.body.contains("<script>"), "{path} lets a script through");
        // A form sends names back as they are; nobody reads them there.
        let read: String = page.body.split("value=\"").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect();
        assert!(!read.contains('\u{202e}'), "{path} lets a direction override through");
        assert!(!page.body.contains("href=\"javascript:"), "{path} links to a script");
    }
    assert!(fleet.get(&format!("/findings/{id}")).await.body.contains("\\u202e"), "what was hidden is shown");
    assert!(fleet.get("/findings?group=none").await.main().contains('…'), "long text is cut");
    let csv = fleet.get("/findings.csv?q=site-hostile").await.body;
    assert!(csv.contains("\"'=cmd()") && !csv.contains(",\"=cmd"), "{csv}");
}
