//! Who is let in in a cluster, and who is not: a real collector over real TLS, a stand-in API server over TLS of its own, and clients
//! that show whatever they like.

use std::time::{Duration, Instant};

use holdfast_tests::apiserver::{ApiServer, Claims, Mode};
use tonic::Code;

use crate::rig::Rig;

/// How long a refusal is remembered, seconds.
const REMEMBERED: u64 = 5;

/// Every way to be somebody else, one after the other: each refused, counted under its own code, logged, and told nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_somebody_else() {
    let cluster = ApiServer::start().unwrap();
    let good = cluster.add_agent("node-a");
    cluster.add_agent("node-b");
    let rig = Rig::start(cluster);
    let cluster = &rig.cluster;
    let claims = || Claims::of("node-b");
    let bound_to = |pod: &str| Claims { pod: Some((format!("agent-{pod}"), format!("pod-{pod}"))), ..claims() };

    // A pod in our namespace, with our label and account, that the DaemonSet did not make.
    cluster.add_pod("agent-stray", "pod-stray", "node-b", "uid-of-somebody-else");
    // One of ours, on another node than its token says.
    cluster.add_pod("agent-moved", "pod-moved", "node-a", "uid-daemonset-1");
    // One of ours, on a node that was deleted and made again.
    cluster.add_node("node-r", "uid-node-r-now");
    cluster.add_pod("agent-node-r", "pod-node-r", "node-r", "uid-daemonset-1");
    // One of ours that has ended, and one that was deleted, with a token from before.
    cluster.put_pod("agent-ended", "pod-ended", "node-b", "uid-daemonset-1", "Failed");
    cluster.add_pod("agent-deleted", "pod-deleted", "node-b", "uid-daemonset-1");
    let deleted = cluster.mint(bound_to("deleted"));
    cluster.delete_pod("agent-deleted");

    let replaced = cluster.mint(Claims::of("node-r"));
    let shown = [
        ("forged", "not_authenticated", Claims::of("node-a").token()),
        ("opaque", "not_authenticated", "abc".to_owned()),
        ("of a deleted pod", "not_authenticated", deleted),
        ("for the API server", "wrong_audience", cluster.mint(Claims { audience: "https://kubernetes.default.svc".into(), ..claims() })),
        ("expired", "expired", cluster.mint(claims().ending_in(-60))),
        ("of another account", "wrong_account", cluster.mint(Claims { user: "system:serviceaccount:default:default".into(), ..claims() })),
        ("bound to nothing", "unbound_token", cluster.mint(Claims { pod: None, node: None, ..claims() })),
        ("without a node, as before 1.30", "unbound_token", cluster.mint(Claims { node: None, ..claims() })),
        ("of a pod of another controller", "foreign_pod", cluster.mint(bound_to("stray"))),
        ("of a pod on another node", "wrong_node", cluster.mint(bound_to("moved"))),
        ("of a node that was replaced", "node_replaced", replaced),
        ("of a pod that has ended", "pod_deleted", cluster.mint(bound_to("ended"))),
    ];
    let mut told = Vec::new();
    for (what, code, token) in &shown {
        let before = (rig.refused(code), rig.logged(code));
        let status = rig.open(token).await.expect_err(what);
        assert_eq!(rig.refused(code), before.0 + 1.0, "a token {what} counts as {code}: {status}\n{}", rig.log());
        rig.until("it is logged", |rig| rig.logged(code) > before.1);
        told.push((status.code(), status.message().to_owned()));
    }
    told.dedup();
    assert_eq!(told, [(Code::Unauthenticated, "credentials not accepted".to_owned())], "all are told the same");
    for (_, _, token) in &shown {
        assert!(!rig.log().contains(token.as_str()), "no token is logged");
    }

    // A storm of one bad token is asked about once in five seconds, however long it takes.
    let (before, began) = (cluster.reviews(), Instant::now());
    for _ in 0..20 {
        rig.open(&shown[0].2).await.unwrap_err();
    }
    let (asked, most) = (cluster.reviews() - before, 2 + began.elapsed().as_secs() / REMEMBERED);
    assert!(u64::try_from(asked).unwrap() <= most, "{asked} reviews where {most} are the most");

    // Node a's token for node b's name: what Hello says is no identity.
    let _client = rig.connected(&good, "node-b").await;
    rig.until("node a reports", |rig| rig.state("node-a") == "reporting");
    assert_ne!(rig.state("node-b"), "reporting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_pod_or_its_node() {
    let cluster = ApiServer::start().unwrap();
    let (first, second) = (cluster.add_agent("node-a"), cluster.add_agent("node-b"));
    let rig = Rig::start(cluster);
    let (mut a, mut b) = (rig.connected(&first, "node-a").await, rig.connected(&second, "node-b").await);
    rig.cluster.delete_pod("agent-node-a");
    let end = a.end().await;
    assert_eq!((end.code(), rig.refused("pod_deleted")), (Code::Unauthenticated, 1.0), "{end}\n{}", rig.log());
    // Its token is remembered as good, and is good for nothing.
    rig.open(&first).await.unwrap_err();
    rig.cluster.delete_node("node-b");
    rig.cluster.add_node("node-b", "uid-of-its-successor");
    let end = b.end().await;
    assert_eq!((end.code(), rig.refused("node_replaced")), (Code::Unauthenticated, 1.0), "{end}\n{}", rig.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_sessions_live_on_and_new_ones_wait() {
    let cluster = ApiServer::start().unwrap();
    let first = cluster.add_agent("node-a");
    let tokens: Vec<String> = (0..3).map(|n| cluster.add_agent(&format!("late-{n}"))).collect();
    let rig = Rig::start(cluster);
    let mut client = rig.connected(&first, "node-a").await;
    let up = |rig: &Rig, resource: &str| rig.site.api().metric(&format!("holdfast_apiserver_up{{resource=\"{resource}\"}}"));
    for (mode, token) in [Mode::Away, Mode::Failing, Mode::Hanging].into_iter().zip(&tokens) {
        let (before, lines) = (rig.refused("review_unavailable"), rig.logged("review_unavailable"));
        rig.cluster.behave(mode);
        let status = rig.open(token).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "credentials cannot be checked now: come back later"));
        assert_eq!(rig.refused("review_unavailable"), before + 1.0);
        rig.until("it is logged", |rig| rig.logged("review_unavailable") > lines);
        rig.until("it is said", |rig| up(rig, "tokenreviews") < 1.0);
        assert!(rig.site.api().text("/readyz").is_ok(), "the collector itself is ready");
        rig.cluster.behave(Mode::Up);
        let _late = rig.connected(token, "late").await;
        rig.until("the watches are back", |rig| up(rig, "nodes") + up(rig, "pods") + up(rig, "daemonsets") >= 3.0);
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), client.end()).await.is_err(), "the first session has seen nothing of it");
    let said = |text: &str| rig.log().matches(text).count();
    assert!((3..=6).contains(&said("the API server does not answer: sessions live on")), "once each, not at every try\n{}", rig.log());

    // What happened meanwhile was not missed.
    rig.cluster.behave(Mode::Away);
    rig.cluster.delete_pod("agent-node-a");
    rig.cluster.forget_history();
    rig.cluster.behave(Mode::Up);
    assert_eq!(client.end().await.code(), Code::Unauthenticated);
    assert_eq!(rig.refused("pod_deleted"), 1.0);
}

/// A node that was just added: its agent is there before the watch has told of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_is_let_in_at_once() {
    let cluster = ApiServer::start().unwrap();
    for n in 0..250 {
        cluster.add_node(&format!("node-{n:03}"), &format!("uid-{n}"));
    }
    let rig = Rig::start(cluster);
    rig.until("Node objects are listed", |rig| rig.log().contains("Node objects listed"));
    assert!(rig.cluster.lists() >= 5, "page by page");
    let token = rig.cluster.add_agent("new");
    rig.connected(&token, "new").await;

    // The DaemonSet was deleted and made again: its pods are new too, and those of the old one are nobody's.
    rig.cluster.delete_daemon_set();
    rig.cluster.add_daemon_set("uid-daemonset-2");
    rig.cluster.add_node("next", "uid-next");
    rig.cluster.add_pod("agent-next", "pod-next", "next", "uid-daemonset-2");
    let token = rig.cluster.mint(Claims::of("next"));
    rig.connected(&token, "next").await;
    let orphan = rig.cluster.add_agent("orphan");
    assert!(rig.open(&orphan).await.is_err());
    assert_eq!(rig.refused("foreign_pod"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named() {
    let cluster = ApiServer::start().unwrap();
    cluster.forbid(Some("nodes"));
    let token = cluster.add_agent("node-a");
    let rig = Rig::start(cluster);
    rig.until("it is said", |rig| rig.log().contains("list and watch nodes: the API server answered 403"));
    assert!(rig.log().contains("deploy/kustomize/base/collector-rbac.yaml"));
    assert_eq!(rig.open(&token).await.unwrap_err().code(), Code::Unavailable);
    rig.cluster.forbid(None);
    rig.connected(&token, "node-a").await;
}
