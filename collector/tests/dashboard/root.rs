//! Root processes over the fleet: three kinds and the unknown kept apart, the same numbers everywhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::pages::shown;

/// A container as an agent sends it, with `more` on top.
pub fn container(namespace: &str, pod: &str, name: &str, image: &str, more: &Value) -> Value {
    let mut document = json!({
        "kind": "container", "placement": "pod", "runtime": "containerd", "namespace": namespace, "pod": pod, "name": name, "image": image,
        "handler": "runc", "host_root": [], "inside_root": [], "privileged": false, "capabilities": [], "seccomp": true,
        "no_new_privileges": true, "read_only": true, "mounts": [], "uids": [10001], "configured_user": 10001,
    });
    document.as_object_mut().expect("object").append(&mut more.as_object().expect("object").clone());
    document
}

/// Containers of every kind, by node.
fn containers() -> [(i64, Value); 7] {
    let default = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    [
        (1, container("shop", "web-7d4", "web", "registry.example/web:3", &json!({}))),
        (
            3,
            container(
                "shop",
                "web-9k2",
                "web",
                "registry.example/web:3",
                &json!({"host_root": ["su"], "read_only": false, "no_new_privileges": false}),
            ),
        ),
        (
            1,
            container(
                "shop",
                "db-0",
                "db",
                "registry.example/db:15",
                &json!({"host_root": ["postgres"], "configured_user": 0, "uids": [0], "capabilities": default, "no_new_privileges": false, "read_only": false}),
            ),
        ),
        (
            1,
            container(
                "ci",
                "build-1",
                "builder",
                "registry.example/buildkit",
                &json!({"inside_root": ["buildkitd", "runc"], "configured_user": 0, "uids": [100_000]}),
            ),
        ),
        (
            1,
            container(
                "kube-system",
                "kube-proxy-x7k2p",
                "kube-proxy",
                "registry.k8s.io/kube-proxy:v1.36.2",
                &json!({"host_root": ["kube-proxy"], "configured_user": 0, "privileged": true, "capabilities": ["ALL"], "seccomp": false, "no_new_privileges": false, "read_only": false, "shares": ["network"], "uids": [0], "digest": "sha256:0123",
                "mounts": [{"source": "/run/xtables.lock", "target": "/run/xtables.lock", "kind": "other", "writable": true}, {"source": "/lib/modules", "target": "/lib/modules", "kind": "other", "writable": false}]}),
            ),
        ),
        (
            1,
            container(
                "tools",
                "probe-x",
                "probe",
                "registry.example/probe",
                &json!({"host_root": null, "inside_root": null, "unknown": "permission_denied: open /proc/77/status", "seccomp": null, "no_new_privileges": null, "capabilities": null, "uids": null, "privileged": null, "read_only": null, "mounts": null}),
            ),
        ),
        (2, container("shop", "web-2b8", "web", "registry.example/web:3", &json!({}))),
    ]
}

/// Every kind of container on the nodes that report, and one on the silent one.
pub async fn fleet() -> Fleet {
    let fleet = Fleet::seeded().await;
    for (node, document) in containers() {
        let text = |field: &str| document[field].as_str().expect("text").to_owned();
        let subject = format!("pod:{}/{}/{}", text("namespace"), text("pod"), text("name"));
        let mut document = document;
        document.as_object_mut().expect("object").retain(|_, value| !value.is_null());
        fleet.inventory(node, "container", &subject, document).await;
    }
    let sandbox = json!({"kind": "sandbox", "placement": "pod", "runtime": "containerd", "namespace": "shop", "pod": "web-7d4", "image": "registry.k8s.io/pause:3.10", "host_root": [], "inside_root": []});
    fleet.inventory(1, "container", "pod:shop/web-7d4", sandbox).await;
    let outside = json!({"kind": "container", "placement": "machine", "runtime": "docker", "name": "registry", "image": "registry:2", "host_root": ["registry"], "inside_root": [],
        "mounts": [{"source": "/var/run/docker.sock", "target": "/var/run/docker.sock", "kind": "runtime_socket", "writable": true}]});
    fleet.inventory(1, "container", "container:registry", outside).await;
    fleet.inventory(1, "group", "containers", json!({"state": "known", "items": 8, "skipped": 1, "left_out": 2})).await;
    fleet.inventory(3, "group", "containers", json!({"state": "known", "items": 1})).await;
    fleet.inventory(2, "group", "containers", json!({"state": "known", "items": 1})).await;
    fleet
        .inventory(
            4,
            "group",
            "containers",
            json!({"state": "unavailable", "reason": "permission_denied", "detail": "open /run/containerd"}),
        )
        .await;
    fleet.derive().await;
    fleet
}

#[tokio::test]
async fn root_by_image_by_namespace_and_one_by_one() {
    let fleet = fleet().await;
    insta::assert_snapshot!("root_by_image", shown(&fleet, "/root-processes").await);
    insta::assert_snapshot!("root_by_namespace", shown(&fleet, "/root-processes?group=namespace&root=host,unknown").await);
    insta::assert_snapshot!("root_one_by_one", shown(&fleet, "/root-processes?group=none&state=current").await);
    insta::assert_snapshot!("root_outside", shown(&fleet, "/root-processes?place=outside").await);
    insta::assert_snapshot!("root_outside_containers", shown(&fleet, "/root-processes?place=process&group=none").await);
}

#[tokio::test]
async fn the_api_tells_the_same() {
    let fleet = fleet().await;
    insta::assert_json_snapshot!("root_processes", fleet.get("/api/v1/root-processes").await.json());
    let mut list = fleet.get("/api/v1/root-processes?group=none&limit=2").await.json();
    // Positions are signed with a key of this process.
    assert!(list.as_object_mut().and_then(|list| list.remove("next")).is_some_and(|next| next.is_string()));
    insta::assert_json_snapshot!("root_processes_list", list);
    for query in [
        "",
        "root=host",
        "root=unknown,none",
        "namespace=shop",
        "image=registry.example/web:3",
        "q=KUBE",
        "contradicts=true",
        "place=outside",
        "place=process",
        "state=last_known",
        "node=ip-10-0-9-3",
        "image=-",
    ] {
        let page = fleet.get(&format!("/root-processes?group=none&{query}")).await.total();
        let grouped = fleet.get(&format!("/root-processes?{query}")).await.total();
        let api = fleet.get(&format!("/api/v1/root-processes?group=none&{query}")).await.json();
        let groups = fleet.get(&format!("/api/v1/root-processes?{query}")).await.json();
        let rows = api["containers"].as_array().expect("rows").len();
        let sum = |group: &Value| {
            ["host", "unknown", "user_namespace", "none"].iter().filter_map(|root| group["containers"][root].as_i64()).sum::<i64>()
        };
        assert_eq!(api["total"].as_i64(), page, "{query}");
        assert_eq!(grouped, page, "{query}");
        assert_eq!(i64::try_from(rows).ok(), page, "{query}");
        assert_eq!(groups["groups"].as_array().map(|groups| groups.iter().map(sum).sum::<i64>()), page, "{query}");
    }
    for refused in ["severity=high", "root=most", "place=sandbox", "foo=1", "after=x", "group=none&after=x"] {
        assert_eq!(fleet.get(&format!("/api/v1/root-processes?{refused}")).await.status, 400, "{refused}");
    }
}

#[tokio::test]
async fn pages_of_groups_and_of_containers_have_no_duplicate_and_no_gap() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    for index in 0..23 {
        let image = format!("image-{}", index % 12);
        fleet.inventory(1, "container", &format!("pod:a/p{index}/c"), container("a", &format!("p{index}"), "c", &image, &json!({}))).await;
    }
    fleet.derive().await;
    for (group, list, field, expected) in [("image", "groups", "name", 12), ("none", "containers", "subject", 23)] {
        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let answer = fleet.get(&format!("/api/v1/root-processes?group={group}&limit=5&after={after}")).await.json();
            seen.extend(answer[list].as_array().expect("rows").iter().map(|row| row[field].as_str().expect("name").to_owned()));
            match answer["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (expected, expected), "{group}");
    }
}

/// A container whose document says nothing must not count as one without root.
#[tokio::test]
async fn what_does_not_parse_is_unknown_and_counted() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    for (name, document) in [("a", json!([])), ("b", json!({"host_root": "no"})), ("c", json!({})), ("d", json!(null))] {
        fleet.inventory(1, "container", &format!("pod:x/{name}/c"), document).await;
    }
    fleet.derive().await;
    let totals = fleet.get("/api/v1/root-processes").await.json()["totals"]["containers"].clone();
    assert_eq!(totals, json!({"host": 0, "unknown": 4, "user_namespace": 0, "none": 0}));
    assert!(!fleet.get("/root-processes").await.main().contains('✓'));
}

#[tokio::test]
async fn a_node_that_does_not_say_what_runs_there_is_named() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let page = fleet.get("/root-processes").await;
    assert!(page.main().contains("the agent has not said whether it looked for containers"), "{}", page.main());
    assert!(page.main().contains("No container is known here. That says nothing of the nodes named above."), "{}", page.main());
}
