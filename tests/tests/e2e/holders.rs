//! Who holds a node's session in a cluster: one agent at a time, for as long as its pod and its token last, and nobody in its place.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use holdfast_tests::apiserver::{ApiServer, Claims, Mode};
use holdfast_tests::process::{PATIENCE, Process};
use holdfast_tests::raw::Client;
use holdfast_tests::site::recorded;
use serde_json::Value;
use tonic::{Code, Status};

use crate::rig::Rig;

/// How long a node is its holder's after a stream was lost.
const GRACE: Duration = Duration::from_secs(10);

impl Rig {
    /// How a session ends that is not let in.
    async fn turned_away(&self, token: &str) -> Status {
        let mut client = self.open(token).await.unwrap_or_else(|status| panic!("{status}\n{}", self.log()));
        match client.greet("some-name").await {
            Ok(welcome) => panic!("{welcome:?}\n{}", self.log()),
            Err(error) => error.downcast().unwrap(),
        }
    }

    /// A second pod of our DaemonSet on a node, and its token.
    fn second_pod(&self, node: &str) -> String {
        let (name, uid) = (format!("agent-{node}-2"), format!("pod-{node}-2"));
        self.cluster.add_pod(&name, &uid, node, "uid-daemonset-1");
        self.cluster.mint(Claims { pod: Some((name, uid)), ..Claims::of(node) })
    }

    /// A real agent on `node`, whose token is in a directory as the kubelet makes one.
    fn agent(&self, node: &str, token: &str) -> Process {
        let volume = self.site.path(&format!("{node}-volume"));
        std::fs::create_dir(&volume).unwrap();
        self.publish(node, "..1", token);
        symlink(Path::new(&volume).join("token"), self.site.path(&format!("{node}.token"))).unwrap();
        let (host, proc) = recorded("hardened");
        self.site.agent(node, &["--host-root", &host, "--proc", &proc]).unwrap()
    }

    /// Swaps the token as the kubelet does: another directory behind a symlink that is replaced.
    fn publish(&self, node: &str, version: &str, token: &str) {
        let volume = self.site.path(&format!("{node}-volume"));
        let volume = Path::new(&volume);
        std::fs::create_dir(volume.join(version)).unwrap();
        std::fs::write(volume.join(version).join("token"), token).unwrap();
        symlink(version, volume.join("..data_tmp")).unwrap();
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        if version == "..1" {
            symlink("..data/token", volume.join("token")).unwrap();
        }
    }

    fn reports(&self, node: &str) {
        self.until("it reports", |rig| rig.site.api().node_state(node).as_deref() == Some("reporting"));
    }

    fn delivery(&self, node: &str) -> Value {
        self.site.api().json(&format!("/api/v1/nodes/test/{node}")).map(|node| node["delivery"].clone()).unwrap_or_default()
    }

    fn fails(&self, check: &str) -> bool {
        let findings = self.site.api().findings(&format!("check={check}")).unwrap_or_default();
        findings.iter().any(|finding| finding["verdict"] == "fail")
    }
}

/// Tries again until it is let in, as agents do; how often.
async fn let_in(rig: &Rig, token: &str) -> (Client, u32) {
    let (started, mut tries) = (Instant::now(), 0);
    loop {
        tries += 1;
        if let Ok(mut client) = rig.open(token).await
            && client.greet("some-name").await.is_ok()
        {
            return (client, tries);
        }
        assert!(started.elapsed() < PATIENCE, "{tries} tries\n{}", rig.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_waits_while_the_first_lives_and_is_a_finding_and_an_alert() {
    let cluster = ApiServer::start().unwrap();
    let first = cluster.add_agent("node-a");
    let rig = Rig::start(cluster);
    let _agent = rig.agent("node-a", &first);
    rig.reports("node-a");
    assert!(!rig.fails("agent-is-alone"));
    let second = rig.second_pod("node-a");
    let status = rig.turned_away(&second).await;
    assert_eq!((status.code(), status.message()), (Code::AlreadyExists, "another agent of this node is connected"));
    assert!(rig.refused("duplicate_agent") >= 1.0);
    let holder = |uid: &str| {
        let holder = &rig.delivery("node-a")["holder"];
        holder["credential"] == "pod" && holder["id"] == uid
    };
    assert!(holder("pod-node-a"), "{}", rig.delivery("node-a"));
    rig.until("it is a finding", |rig| rig.fails("agent-is-alone"));
    let firing = rig.site.api().wait("it alerts", PATIENCE, |api| {
        let alerts = api.list("/api/v1/alerts", "alerts").unwrap_or_default();
        alerts.iter().any(|alert| alert["rule"] == "agent-is-alone" && alert["state"] == "firing")
    });
    firing.unwrap_or_else(|error| panic!("{error}\n{}", rig.log()));
    // What it rests on was stored before.
    let breach = rig.delivery("node-a")["breaches"][0].clone();
    assert_eq!(breach["kind"], "duplicate");
    assert_eq!(breach["last"], "pod:pod-node-a-2 came from 127.0.0.1 while pod:pod-node-a had the session");

    // The DaemonSet replaces a pod: the new one does not wait for the grace of the old one.
    rig.cluster.delete_pod("agent-node-a");
    let deleted = Instant::now();
    let (_client, tries) = let_in(&rig, &second).await;
    // Where a few tries take longer than the grace nothing can be said of it.
    assert!(deleted.elapsed() < GRACE || tries < 5, "{tries} tries in {:?}\n{}", deleted.elapsed(), rig.log());
    rig.until("it is the holder", |_| holder("pod-node-a-2"));
    assert_eq!(rig.refused("superseded"), 0.0, "it went because its pod did");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_session_of_a_pod_takes_over_at_once_and_nobody_is_told_of_it() {
    let cluster = ApiServer::start().unwrap();
    let token = cluster.add_agent("node-a");
    let rig = Rig::start(cluster);
    let mut old = rig.connected(&token, "some-name").await;
    let _new = rig.connected(&token, "some-name").await;
    assert_eq!(old.end().await.code(), Code::Aborted);
    assert_eq!((rig.refused("superseded"), rig.refused("duplicate_agent")), (1.0, 0.0));
    assert_eq!(rig.delivery("node-a")["breaches"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_shows_a_rotated_token_in_the_session_that_runs() {
    let cluster = ApiServer::start().unwrap();
    cluster.add_agent("node-a");
    let rig = Rig::start(cluster);
    // Half of that is left for the new one: then whoever has shown none is sent to come back.
    let first = rig.cluster.mint(Claims::of("node-a").ending_in(90));
    let ends = Instant::now() + Duration::from_secs(90);
    let _agent = rig.agent("node-a", &first);
    rig.reports("node-a");
    let second = rig.cluster.mint(Claims::of("node-a"));
    rig.publish("node-a", "..2", &second);
    rig.until("it shows the new one", |rig| rig.site.log("node-a.log").contains("the token was rotated"));
    assert!(Instant::now() < ends, "this machine is too slow for this test");
    tokio::time::sleep(ends.saturating_duration_since(Instant::now()) + Duration::from_secs(3)).await;
    assert_eq!(rig.site.api().node_state("node-a").as_deref(), Some("reporting"));
    let log = rig.site.log("node-a.log");
    assert!(!log.contains("disconnected") && !log.contains(&second), "{log}");
    assert_eq!(rig.site.api().metric("holdfast_resume_total"), 1.0, "one session");
    for code in ["expired", "reauth", "identity_changed", "superseded"] {
        assert_eq!(rig.refused(code), 0.0, "{code}: {}", rig.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_never_changes_whose_session_it_is() {
    let cluster = ApiServer::start().unwrap();
    let (token, other) = (cluster.add_agent("node-a"), cluster.add_agent("node-b"));
    let rig = Rig::start(cluster);
    let forged = Claims::of("node-a").token();
    let second = rig.second_pod("node-a");
    for (shown, code, n) in [(&other, "identity_changed", 1.0), (&forged, "reauth", 1.0), (&second, "identity_changed", 2.0)] {
        let mut client = rig.connected(&token, "some-name").await;
        client.say(Say::Reauth(v1::Reauth { token: shown.clone() })).await.unwrap();
        let status = client.end().await;
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "credentials not accepted"));
        assert_eq!(rig.refused(code), n, "{code}: {}", rig.log());
        assert!(!rig.log().contains(shown.as_str()), "no token is logged");
    }
    assert_eq!(rig.site.api().node_state("node-b"), None, "nobody spoke for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fresh_token_a_session_is_sent_to_come_back_and_then_ended() {
    let cluster = ApiServer::start().unwrap();
    cluster.add_agent("node-a");
    let rig = Rig::start(cluster);
    let mut client = rig.connected(&rig.cluster.mint(Claims::of("node-a").ending_in(20)), "some-name").await;
    let drained = loop {
        match client.hear().await.unwrap_or_else(|status| panic!("{status}\n{}", rig.log())) {
            Some(Hear::Drain(drain)) => break drain,
            Some(_) => {}
            None => panic!("{}", rig.log()),
        }
    };
    assert!(drained.reconnect_max_ms <= 2_000, "before anybody takes it for silent");
    assert_eq!(client.end().await.code(), Code::Unauthenticated);
    assert_eq!(rig.refused("expired"), 1.0, "{}", rig.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_that_cannot_be_looked_at_is_looked_at_again_while_the_session_goes_on() {
    let cluster = ApiServer::start().unwrap();
    cluster.add_agent("node-a");
    let rig = Rig::start(cluster);
    let mut client = rig.connected(&rig.cluster.mint(Claims::of("node-a").ending_in(30)), "some-name").await;
    let ends = Instant::now() + Duration::from_secs(30);
    let second = rig.cluster.mint(Claims::of("node-a"));
    rig.cluster.behave(Mode::Failing);
    client.say(Say::Reauth(v1::Reauth { token: second })).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.cluster.behave(Mode::Up);
    tokio::time::sleep(ends.saturating_duration_since(Instant::now()) + Duration::from_secs(2)).await;
    let digest = holdfast_checks::entries::Digest::EMPTY.to_bytes().to_vec();
    client.say(Say::Heartbeat(v1::Heartbeat { digest, ..v1::Heartbeat::default() })).await.unwrap();
    client.say(Say::Bye(v1::Bye { reason: "the end of the test".to_owned() })).await.unwrap();
    assert_eq!(client.end().await.code(), Code::Ok, "{}", rig.log());
}
