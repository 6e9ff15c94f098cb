//! Nodes beside the Node objects of a followed cluster: rows, findings, alerts, and their end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::catalogue::built_in;
use holdfast_checks::entries::Digest;
use holdfast_checks::evaluator::Evaluator;
use holdfast_collector::alerts::{Alert, AlertState};
use holdfast_collector::cluster::{Cluster, NodeObject};
use holdfast_collector::feeds::Library;
use holdfast_collector::ingest::session::Moment;
use holdfast_collector::metrics::Metrics;
use holdfast_collector::nodes::membership::{Keeping, Waiting, keep};
use holdfast_collector::nodes::{Patience, Registry};
use holdfast_collector::peers::Roster;
use holdfast_collector::store::nodes::{NodeIdentity, NodeState, Origin, SessionStart};
use holdfast_collector::store::retention::Retention;
use holdfast_collector::{alerts, fleet};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Hand, MINUTE, SECOND, START, eventually, nobody_connected, options};

const PASS: i64 = 1;
const FAIL: i64 = 2;
const NOT_APPLICABLE: i64 = 3;
const HAS_AGENT: &str = "node-has-agent";
const IS_KNOWN: &str = "node-is-known";

fn object(name: &str) -> NodeObject {
    let uid = format!("uid-{name}");
    NodeObject { name: name.into(), uid, addresses: Vec::new(), zone: String::new(), unwatchable: None, created_at: 1 }
}

fn objects(names: &[&str]) -> Vec<NodeObject> {
    names.iter().map(|name| object(name)).collect()
}

/// A collector's inside: everything but the wire.
struct Rig {
    database: Database,
    hand: Hand,
    cluster: Arc<Cluster>,
    registry: Arc<Registry>,
    cancel: CancellationToken,
}

impl Rig {
    async fn start() -> Self {
        let (database, hand) = (Database::new().await, Hand::at(START));
        let rig = Self { database, hand, cluster: Cluster::new("prod"), registry: nobody_connected(), cancel: CancellationToken::new() };
        rig.run();
        rig
    }

    fn run(&self) {
        let Self { database, hand, cluster, registry, cancel } = self;
        let quick = Duration::from_millis(20);
        let keeping = Keeping {
            cluster: Arc::clone(cluster),
            store: database.store.clone(),
            changes: database.changes.clone(),
            registry: Arc::clone(registry),
            clock: hand.clock(),
            elapsed: hand.clock(),
            waiting: Waiting { tick: quick, pace: quick, ..Waiting::default() },
        };
        tokio::spawn(keep(keeping, cancel.clone()));
        let judging = fleet::Judging {
            evaluator: Arc::new(Evaluator::new(built_in().unwrap())),
            store: database.store.clone(),
            changes: database.changes.clone(),
            roster: Arc::new(Roster::new(false, Metrics::default())),
            registry: Arc::clone(registry),
            cluster: Some(Arc::clone(cluster)),
            library: Library::built_in().unwrap().fixed(),
            clock: hand.clock(),
            tick: fleet::TICK,
        };
        tokio::spawn(fleet::run(judging, cancel.clone()));
        tokio::spawn(alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone()));
    }

    /// An agent opens a session, as the wire would have it.
    async fn connect(&self, cluster: &str, name: &str) -> (i64, i64) {
        let stop = CancellationToken::new();
        let (writer, writing) = self.database.store.writer(self.database.changes.clone(), Metrics::default(), stop.clone());
        let writing = tokio::spawn(writing);
        let identity = NodeIdentity { cluster: cluster.into(), uid: format!("uid-{name}"), name: name.into(), origin: Origin::Agent };
        let at = self.hand.clock()();
        let (agent_version, catalogue_hash, boot_id) = (String::new(), String::new(), String::new());
        let start = SessionStart {
            identity,
            epoch: 1,
            last_acked: 0,
            sent: Some(0),
            digest: Digest::EMPTY,
            agent_version,
            catalogue_hash,
            boot_id,
            holder: "token".to_owned(),
            at,
        };
        let opened = writer.open_session(start).await.unwrap();
        self.registry.connected(opened.node_id, opened.session, Moment { mono_ms: 0, wall_ms: at });
        stop.cancel();
        writing.await.unwrap();
        (opened.node_id, opened.session)
    }

    /// Its stream is lost, and the grace is over.
    async fn lose(&self, (node_id, session): (i64, i64)) {
        let now = Moment { mono_ms: u64::MAX / 2, wall_ms: self.hand.clock()() };
        self.registry.lost(node_id, session, false, now);
        let due = self.registry.due(now);
        let stop = CancellationToken::new();
        let (writer, writing) = self.database.store.writer(self.database.changes.clone(), Metrics::default(), stop.clone());
        let writing = tokio::spawn(writing);
        writer.write_states(due.clone()).await.unwrap();
        self.registry.settle(&due);
        stop.cancel();
        writing.await.unwrap();
    }

    async fn says(&self, what: &str, check: &str, name: &str, verdict: i64) {
        eventually(what, || async { (self.database.verdict_on(check, name).await == Some(verdict)).then_some(()) }).await;
    }

    async fn is(&self, name: &str, state: &str) {
        eventually(state, || async { self.database.nodes().await.get(name).is_some_and(|node| node.0 == state).then_some(()) }).await;
    }

    /// Its Node object has been seen, and with it everybody who was there before.
    async fn listed(&self, name: &str) {
        let seen = || async { self.database.nodes().await.get(name).is_some_and(|node| node.1 == "listed").then_some(()) };
        eventually("its Node object is seen", seen).await;
    }

    async fn alert(&self, rule: &str, state: AlertState) -> Alert {
        eventually(rule, || async { self.database.alert(rule).await.filter(|alert| alert.state == state) }).await
    }

    /// Long enough that what would happen has happened.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(600)).await;
    }

    fn unwatched(&self) -> usize {
        let (states, _) = self.registry.totals();
        states.into_iter().find(|(state, _)| *state == NodeState::Unwatched).unwrap().1
    }
}

#[tokio::test]
async fn nodes_nobody_speaks_for_are_one_alert_until_their_agents_come_or_they_are_deleted() {
    let rig = Rig::start().await;
    rig.cluster.replace(objects(&["a", "b", "c"]), Vec::new(), None);
    rig.connect("prod", "a").await;
    rig.says("it has", HAS_AGENT, "a", PASS).await;
    rig.listed("a").await;
    rig.hand.forward(4 * MINUTE);
    rig.settle().await;
    assert_eq!(rig.database.nodes().await.len(), 1, "agents are given five minutes");
    rig.hand.forward(MINUTE);
    rig.says("it has none", HAS_AGENT, "b", FAIL).await;
    rig.says("nor has it", HAS_AGENT, "c", FAIL).await;
    assert_eq!(rig.unwatched(), 2, "metrics count them");
    let nodes = rig.database.nodes().await;
    assert_eq!((nodes["b"].0.as_str(), nodes["b"].1.as_str()), ("unwatched", "listed"));
    assert_eq!(rig.database.verdict_on(IS_KNOWN, "b").await, Some(NOT_APPLICABLE), "nobody speaks for it");
    // Nothing else is said of a node that has said nothing.
    let of_c: Vec<String> = {
        let all = rig.database.judged_checks().await;
        let mut found = Vec::new();
        for check in all {
            if rig.database.verdict_on(&check, "c").await.is_some() {
                found.push(check);
            }
        }
        found
    };
    assert_eq!(of_c, [HAS_AGENT, IS_KNOWN]);

    rig.hand.forward(2 * MINUTE);
    let alert = rig.alert("node-without-agent", AlertState::Firing).await;
    assert_eq!((alert.nodes, alert.labels["cluster"].as_str()), (2, "prod"), "one alert for both");
    assert_eq!(alert.annotations["summary"], "No agent on 2 nodes");

    // The same row is the node's when its agent comes.
    let before = rig.database.nodes().await.len();
    rig.connect("prod", "b").await;
    rig.says("its agent came", HAS_AGENT, "b", PASS).await;
    assert_eq!((rig.database.nodes().await.len(), rig.unwatched()), (before, 1));
    // And c is deleted before it has one.
    rig.cluster.replace(objects(&["a", "b"]), Vec::new(), None);
    rig.is("c", "gone").await;
    rig.alert("node-without-agent", AlertState::Resolved).await;
    rig.database.store.sweep(Retention::default(), rig.hand.clock()()).await.unwrap();
    assert!(!rig.database.nodes().await.contains_key("c"), "there is nothing of it to keep");
    rig.cancel.cancel();
}

#[tokio::test]
async fn where_no_agent_can_run_none_is_missed() {
    let rig = Rig::start().await;
    let windows = NodeObject { unwatchable: Some("the node runs Windows"), ..object("w") };
    rig.cluster.replace(vec![windows], Vec::new(), None);
    rig.says("it does not apply", HAS_AGENT, "w", NOT_APPLICABLE).await;
    let (state, membership, reason) = rig.database.nodes().await["w"].clone();
    assert_eq!((state.as_str(), membership.as_str()), ("unwatched", "unwatchable"));
    assert_eq!(reason, "no agent can run here: the node runs Windows");
    rig.hand.forward(60 * MINUTE);
    rig.settle().await;
    assert_eq!(rig.database.alert("node-without-agent").await, None);
    rig.cancel.cancel();
}

#[tokio::test]
async fn an_agent_for_a_node_nobody_lists_is_a_finding_and_an_alert() {
    let rig = Rig::start().await;
    rig.cluster.replace(objects(&["a"]), Vec::new(), None);
    rig.connect("prod", "stranger").await;
    rig.connect("edge", "elsewhere").await;
    rig.connect("prod", "a").await;
    rig.says("it is", IS_KNOWN, "a", PASS).await;
    rig.listed("a").await;
    rig.hand.forward(119 * SECOND);
    rig.settle().await;
    assert_eq!(rig.database.verdict_on(IS_KNOWN, "stranger").await, None, "nothing is known yet, and the watch may be behind");
    rig.hand.forward(SECOND);
    rig.says("it is not", IS_KNOWN, "stranger", FAIL).await;
    let alert = rig.alert("agent-without-node", AlertState::Firing).await;
    assert_eq!(alert.annotations["summary"], "Agents speak for 1 node that the API server does not know");
    assert_eq!(rig.database.verdict_on(IS_KNOWN, "elsewhere").await, None, "nobody follows that cluster");
    rig.cluster.replace(objects(&["a", "stranger"]), Vec::new(), None);
    rig.says("it came", IS_KNOWN, "stranger", PASS).await;
    rig.alert("agent-without-node", AlertState::Resolved).await;
    rig.cancel.cancel();
}

#[tokio::test]
async fn a_deleted_node_is_gone_with_its_silence_and_one_that_speaks_on_is_a_finding() {
    let rig = Rig::start().await;
    rig.cluster.replace(objects(&["quiet", "loud"]), Vec::new(), None);
    let quiet = rig.connect("prod", "quiet").await;
    let loud = rig.connect("prod", "loud").await;
    rig.says("listed", IS_KNOWN, "loud", PASS).await;
    rig.listed("quiet").await;
    rig.listed("loud").await;
    rig.lose(quiet).await;
    rig.alert("node-silent", AlertState::Firing).await;
    rig.cluster.replace(Vec::new(), Vec::new(), None);
    rig.is("quiet", "gone").await;
    rig.alert("node-silent", AlertState::Resolved).await;
    assert_eq!(rig.database.nodes().await["quiet"].2, "its Node object was deleted");
    assert_eq!(rig.database.nodes().await["loud"].0, "connected");
    rig.hand.forward(2 * MINUTE);
    rig.says("it speaks on", IS_KNOWN, "loud", FAIL).await;
    assert_eq!(rig.database.nodes().await["loud"].1, "deleted");
    rig.alert("agent-without-node", AlertState::Firing).await;
    rig.lose(loud).await;
    rig.is("loud", "gone").await;
    rig.alert("agent-without-node", AlertState::Resolved).await;
    rig.cancel.cancel();
}

#[tokio::test]
async fn while_the_api_server_is_away_verdicts_stand_and_nobody_is_missed() {
    let mut rig = Rig::start().await;
    rig.cluster.replace(objects(&["a", "b"]), Vec::new(), None);
    rig.connect("prod", "a").await;
    rig.says("listed", IS_KNOWN, "a", PASS).await;
    rig.listed("a").await;
    rig.cluster.answers(Some(("connection refused".into(), START)));
    rig.settle().await;
    rig.hand.forward(60 * MINUTE);
    rig.settle().await;
    assert_eq!(rig.database.nodes().await.len(), 1, "b's agent could not prove who it is meanwhile");
    // A collector that starts before the API server is back knows what it knew.
    rig.cancel.cancel();
    rig.settle().await;
    rig.database.restart().await;
    rig.cluster = Cluster::new("prod");
    rig.cancel = CancellationToken::new();
    let moment = Moment { mono_ms: 0, wall_ms: START };
    rig.registry = Arc::new(Registry::new(rig.database.store.known_nodes().await.unwrap(), Patience::default(), moment));
    rig.run();
    rig.hand.forward(60 * MINUTE);
    rig.settle().await;
    assert_eq!(rig.database.verdict_on(IS_KNOWN, "a").await, Some(PASS));
    rig.cluster.replace(objects(&["a", "b"]), Vec::new(), None);
    rig.settle().await;
    assert_eq!(rig.database.nodes().await.len(), 1, "its time begins now");
    let ends = || async {
        rig.hand.forward(5 * SECOND);
        (rig.database.verdict_on(HAS_AGENT, "b").await == Some(FAIL)).then_some(())
    };
    eventually("and ends", ends).await;
    rig.cancel.cancel();
}

/// Ten thousand nodes are one transaction and a few statements, and a round that finds nothing new writes nothing.
#[tokio::test]
async fn ten_thousand_nodes_without_an_agent_are_written_at_once() {
    let database = Database::new().await;
    let hand = Hand::at(START);
    let cluster = Cluster::new("prod");
    let names: Vec<String> = (0..10_000).map(|number| format!("node-{number}")).collect();
    cluster.replace(names.iter().map(|name| object(name)).collect(), Vec::new(), None);
    let quick = Duration::from_millis(20);
    let cancel = CancellationToken::new();
    let keeping = Keeping {
        cluster: Arc::clone(&cluster),
        store: database.store.clone(),
        changes: database.changes.clone(),
        registry: nobody_connected(),
        clock: hand.clock(),
        elapsed: hand.clock(),
        waiting: Waiting { tick: quick, pace: quick, ..Waiting::default() },
    };
    let mut feed = database.changes.follow();
    tokio::spawn(keep(keeping, cancel.clone()));
    let began = Instant::now();
    eventually("all are there", || async {
        // From when they were first seen, which nothing tells.
        hand.forward(5 * MINUTE);
        (database.nodes().await.len() == 10_000).then_some(())
    })
    .await;
    println!("10,000 rows after {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut told = 0;
    while feed.try_recv().is_ok() {
        told += 1;
    }
    assert_eq!(told, 1, "everybody is told once to read again");
    cancel.cancel();
}
