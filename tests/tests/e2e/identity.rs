//! Who is let in in a cluster, and who is not: a real collector over real TLS, a stand-in API server over TLS of its own, and clients
//! that show whatever they like.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::apiserver::{ApiServer, Claims, Mode};
use holdfast_tests::raw::{Client, channel_from};
use tokio::task::JoinSet;
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
        // All of them, so that the next outage is the first word of trouble again.
        let all = ["nodes", "pods", "daemonsets", "tokenreviews"];
        rig.until("everything is answered again", |rig| all.iter().map(|resource| up(rig, resource)).sum::<f64>() >= 4.0);
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
    // Each kind by a connection of its own: pods and DaemonSets may come last.
    rig.until("everything is listed, page by page", |rig| {
        rig.cluster.lists() >= 5 && rig.site.api().metric("holdfast_apiserver_up") >= 4.0
    });
    let token = rig.cluster.add_agent("new");
    rig.connected(&token, "new").await;

    // The DaemonSet was deleted and made again: its pods are new too, and those of the old one are nobody's.
    rig.cluster.delete_daemon_set();
    rig.cluster.add_daemon_set("uid-daemonset-2");
    rig.cluster.add_node("next", "uid-next");
    rig.cluster.add_pod("agent-next", "pod-next", "next", "uid-daemonset-2");
    let token = rig.cluster.mint(Claims::of("next"));
    rig.connected(&token, "next").await;
    // Another watch than that of pods says so.
    rig.until("the end of the old one is heard", |rig| rig.log().contains("the DaemonSet holdfast-agent was deleted"));
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
    let said = |log: &str| {
        let line = log.lines().find(|line| line.contains("list and watch nodes: the API server answered 403"));
        line.is_some_and(|line| line.contains("deploy/kustomize/base/collector-rbac.yaml"))
    };
    rig.until("it is said, with what to do", |rig| said(&rig.log()));
    assert_eq!(rig.open(&token).await.unwrap_err().code(), Code::Unavailable);
    rig.cluster.forbid(None);
    rig.connected(&token, "node-a").await;
}

/// Shows one well-made forged token after another, from an address of its own, in as many connections at once.
fn flood(rig: &Rig, connections: usize) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let (ca, port) = (rig.site.path("tls/ca.crt"), rig.site.grpc);
        all.spawn(async move {
            loop {
                let Ok(channel) = channel_from([127, 0, 0, 2].into(), Path::new(&ca), port).await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let mut shown = JoinSet::new();
                // As many as a connection may have streams.
                for _ in 0..2 {
                    let channel = channel.clone();
                    shown.spawn(async move {
                        while let Err(status) = Client::open(channel.clone(), Some(&Claims::of("node-a").token())).await {
                            if !["credentials not accepted", "credentials cannot be checked now: come back later"]
                                .contains(&status.message())
                            {
                                break;
                            }
                        }
                    });
                }
                while shown.join_next().await.is_some() {}
            }
        });
    }
    all
}

/// A slow API server, and an address that shows 600 forged tokens at a time: asked in turn, an agent would wait half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_tokens_keeps_no_agent_of_another_address_out() {
    let cluster = ApiServer::start().unwrap();
    cluster.review_within(Duration::from_secs(1));
    let tokens: Vec<String> = (0..5).map(|n| cluster.add_agent(&format!("node-{n}"))).collect();
    let rig = Rig::start(cluster);
    let flooding = flood(&rig, 300);
    let waiting = |rig: &Rig| rig.site.api().metric("holdfast_token_reviews_waiting");
    rig.until("the flood waits to be reviewed", |rig| waiting(rig) > 300.0);
    let mut clients = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        rig.until("it still waits", |rig| waiting(rig) > 300.0);
        let began = Instant::now();
        let mut opened = rig.open(token).await;
        // An agent comes again; in turn, no try would be long enough.
        for _ in 0..2 {
            opened = if opened.is_ok() { opened } else { rig.open(token).await };
        }
        let mut client = opened.unwrap_or_else(|status| panic!("{status} after {:.1?}\n{}", began.elapsed(), rig.log()));
        client.greet(&format!("node-{n}")).await.unwrap();
        clients.push(client);
    }
    rig.until("the flood hears that it is too much", |rig| rig.refused("review_busy") > 0.0);
    rig.until("and that it is forged", |rig| rig.refused("not_authenticated") > 0.0);
    rig.until("which is logged", |rig| rig.logged("review_busy") > 0);
    assert!(rig.cluster.reviews_at_once() <= 20, "{} at once", rig.cluster.reviews_at_once());
    drop(flooding);
    for client in &mut clients {
        assert!(tokio::time::timeout(Duration::from_millis(50), client.end()).await.is_err(), "sessions live on");
    }
}

/// The API server is trusted, and may be broken: nothing it answers takes more than its bound.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_ended_said_and_asked_for_again() {
    const PEAK_KIB: u64 = 400 * 1024;
    let cluster = ApiServer::start().unwrap();
    let (first, late) = (cluster.add_agent("node-a"), cluster.add_agent("late"));
    cluster.behave(Mode::Endless);
    let rig = Rig::start(cluster);
    let unlisted = |rig: &Rig| rig.site.api().text("/metrics").unwrap_or_default().contains("holdfast_apiserver_up{resource=\"nodes\"} 0");
    rig.until("pages are ended", unlisted);
    assert_eq!(rig.open(&first).await.unwrap_err().code(), Code::Unavailable);
    rig.cluster.behave(Mode::Up);
    let mut client = rig.connected(&first, "node-a").await;
    rig.until("all is listed", |rig| rig.log().contains("the API server answers again"));
    rig.cluster.behave(Mode::Endless);
    // The log has the first of the watches that ended, which may be one whose connection was closed.
    rig.until("lines are ended", unlisted);
    assert_eq!(rig.open(&late).await.unwrap_err().code(), Code::Unavailable);
    let page = rig.site.api().text("/").unwrap();
    assert!(page.contains("The API server does not answer</strong> since"), "{page}");
    rig.cluster.behave(Mode::Up);
    rig.connected(&late, "late").await;
    rig.until("it is over", |rig| !rig.site.api().text("/").unwrap_or_default().contains("The API server does not answer"));
    assert!(tokio::time::timeout(Duration::from_millis(100), client.end()).await.is_err(), "the session has seen nothing of it");
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.collector.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap();
    assert!(peak < PEAK_KIB, "{peak} KiB at most");
}
