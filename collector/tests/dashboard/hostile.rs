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
    let mount = serde_json::json!({"source": name, "target": name, "kind": name, "writable": true});
    let hostile = serde_json::json!({"kind": name, "placement": name, "runtime": name, "namespace": name, "pod": name, "name": name,
        "image": name, "digest": name, "handler": name, "host_root": [name], "inside_root": [name], "configured_user": 1000, "uids": [0],
        "capabilities": [name], "shares": [name], "mounts": [mount, mount]});
    fleet.inventory(9, "container", name, hostile).await;
    fleet.inventory(9, "container", &format!("pod:{name}"), serde_json::json!({"unknown": name, "image": "é".repeat(4000)})).await;
    fleet.inventory(9, "container", &format!("pod:{name}/s"), serde_json::json!({"kind": "sandbox", "unknown": name})).await;
    fleet.inventory(9, "group", "containers", serde_json::json!({"state": "unavailable", "reason": name, "detail": name})).await;
    let runtime = serde_json::json!({"name": name, "flavour": name, "version": name, "user_namespaces": {"capable": true, "because": name},
        "handlers": [{"name": name, "kind": name, "default": true, "version": name}],
        "registries": [{"subject": name, "host": name, "endpoint": name, "tls": false, "verified": false, "source": name}],
        "sockets": [{"subject": name, "path": name, "mode": -1, "uid": i64::MIN, "gid": i64::MAX}]});
    fleet.inventory(9, "runtime", &format!("containerd:{name}"), runtime).await;
    fleet.inventory(9, "setting", &format!("docker:{name}/{name}"), serde_json::json!({"value": name, "source": name})).await;
    fleet.inventory(9, "node", "self", serde_json::json!({"process_events_unknown": name})).await;
    fleet.link(9, name, name, &crate::chain::hostile(name, name)).await;
    fleet.link(9, name, name, &crate::chain::hostile("kernel", name)).await;
    fleet.inventory(9, "kernel", "self", serde_json::json!({"release": name, "boot_default": {"release": name}})).await;
    fleet.derive().await;
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
        "/kernels".into(),
        "/kernels?component=any".into(),
        "/kernels?group=none".into(),
        format!("/kernels/{encoded}/{encoded}"),
        format!("/kernels/kernel/{encoded}?image={encoded}&q={encoded}"),
        "/exposure".into(),
        "/exposure?group=none".into(),
        "/alerts".into(),
        "/alerts/bad".into(),
        "/checks".into(),
        "/checks/site-hostile".into(),
    ]);
    pages.extend(
        ["all", "chain", "kubelet", "containers", "runtimes", "facts", "listeners", "processes", "timeline"]
            .map(|tab| format!("{node}?tab={tab}")),
    );
    for place in ["pod", "outside", "process"] {
        for group in ["image", "namespace", "none"] {
            pages.push(format!("/root-processes?place={place}&group={group}"));
        }
    }
    pages.push(format!("/root-processes?q={encoded}&namespace={encoded}&image={encoded}&foo={encoded}"));
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
    let csv = fleet.get("/kernels.csv?component=any").await.body;
    assert!(csv.contains("\"'=cmd()") && !csv.contains(",\"=cmd"), "{csv}");
}

/// Such documents are refused on the way in; one that got in otherwise must not take a page along.
#[tokio::test]
async fn documents_beyond_every_limit_cost_a_row_and_no_page() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let mount = serde_json::json!({"source": "/etc", "target": "/etc", "kind": "etc", "writable": true});
    let many = serde_json::json!({"kind": "container", "placement": "pod", "mounts": vec![mount; 10_000], "host_root": vec!["x"; 10_000],
        "capabilities": vec!["SYS_ADMIN"; 10_000], "uids": vec![0; 10_000]});
    let long = "a".repeat(1_000_000);
    let huge = serde_json::json!({"namespace": long, "pod": long, "name": long, "image": long, "unknown": long, "host_root": [long], "digest": long});
    let wrong = serde_json::json!({"kind": 1, "placement": [], "namespace": {}, "image": 7, "host_root": {}, "mounts": "x", "capabilities": 3,
        "uids": "0", "shares": 1, "shares_unknown": "pid", "privileged": "yes", "configured_user": "root"});
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (name, document) in [("many", many), ("huge", huge), ("wrong", wrong), ("null", serde_json::Value::Null)] {
        fleet.inventory(1, "container", &format!("pod:a/{name}/c"), document.clone()).await;
        fleet.inventory(1, "runtime", &format!("containerd:{name}"), document).await;
    }
    fleet
        .sql(&format!(
            "insert into inventory values (1, 'container', 'pod:a/deep/c', '{deep}', 'h', 1), (1, 'runtime', 'docker', '{deep}', 'h', 1)"
        ))
        .await;
    let handlers = serde_json::json!({"handlers": vec![serde_json::json!({"name": "x", "kind": "runc", "default": false}); 10_000], "sockets": vec![1; 10_000]});
    fleet.inventory(1, "runtime", "cri-o", handlers).await;
    fleet.derive().await;
    let api = "/api/v1/nodes/c/n";
    for path in
        ["/root-processes", "/root-processes?group=none", "/nodes/c/n?tab=containers", "/nodes/c/n?tab=runtimes", "/api/v1/root-processes"]
    {
        let page = fleet.get(path).await;
        assert!(page.status.is_success() && page.body.len() < 400 * 1024, "{path}: {} {} bytes", page.status, page.body.len());
    }
    let containers = fleet.get(&format!("{api}/containers")).await.json();
    let rows = containers["containers"].as_array().expect("rows");
    assert_eq!(rows.len(), 5, "none is lost");
    let cut = rows.iter().find(|row| row["subject"] == "pod:a/many/c").expect("the one with many");
    assert_eq!((cut["mounts"].as_array().map(Vec::len), cut["mounts_left_out"].as_i64()), (Some(40), Some(9960)));
    let unknown = rows.iter().filter(|row| row["root"] == "unknown").count();
    assert_eq!(unknown, 3, "what does not parse is unknown");
    let runtimes = fleet.get(&format!("{api}/runtimes")).await.json();
    let cri = runtimes["runtimes"].as_array().expect("rows").iter().find(|row| row["subject"] == "cri-o").expect("cri-o");
    assert_eq!((cri["handlers"]["left_out"].as_i64(), cri["sockets"]["left_out"].as_i64()), (Some(9900), Some(10_000)));
}
