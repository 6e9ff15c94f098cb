//! What peers met: stored once, shown with its vantage, judged while it is fresh, and gone with its nodes.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::sync::Arc;

use holdfast_checks::catalogue::built_in;
use holdfast_checks::entries::{Body, Verdict};
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::ProbeOutcome;
use holdfast_checks::peers::Refusal;
use holdfast_checks::versions::knowledge::Knowledge;
use holdfast_collector::changes::ChangeKind;
use holdfast_collector::fleet::{Census, FleetJudge, Outside, Peers, judge};
use holdfast_collector::nodes::Clock;
use holdfast_collector::store::peers::{Met, PeerAnswer, StoredAnswer};
use holdfast_collector::store::retention::Retention;
use holdfast_collector::store::views::{CursorKey, Filter, PeerOutcome, Reach, Side, Views};
use holdfast_collector::store::{JudgedNode, Standing, Store};
use jiff::civil::date;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};

const NOW: i64 = 1_795_204_800_000;
const MINUTE: i64 = 60_000;

struct Database {
    store: Store,
    raw: SqlitePool,
    _directory: tempfile::TempDir,
}

impl Database {
    /// Nodes n1 to n3 of cluster c.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("holdfast.db");
        let store = Store::open(&file).await.unwrap();
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
        let database = Self { store, raw, _directory: directory };
        for id in 1..=3 {
            database
                .sql(&format!(
                    "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
             agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, \
             agent_dropped, clock_skew_ms, truncated_transitions) \
             values ({id}, 'c', 'u{id}', 'n{id}', 'agent', 'connected', '', 0, 1, 'e', 1, 'd', '1', 'c', 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0)"
                ))
                .await;
        }
        database
    }

    async fn sql(&self, statement: &str) {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&self.raw).await.unwrap();
    }

    async fn listens(&self, node: i64, port: i64, scope: &str) {
        let json = format!(r#"{{"protocol":"tcp","address":"0.0.0.0","port":{port},"scope":"{scope}"}}"#);
        self.sql(&format!("insert into inventory values ({node}, 'listener', 'tcp/0.0.0.0/{port}', '{json}', 'h', {NOW})")).await;
    }

    fn views(&self) -> Views {
        Views::new(&self.store, Arc::new(built_in().unwrap()), CursorKey::new([7; 32]))
    }
}

/// A database as the release before peer probes left it, with a node and its documents in the shapes of that release.
#[tokio::test]
async fn a_database_of_the_release_before_is_brought_up_to_date_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("holdfast.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let old = SqlitePool::connect_with(options).await.unwrap();
    let initial = include_str!("../migrations/sqlite/0001_initial.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "initial".into(), MigrationType::Simple, initial, false)]).run(&old).await.unwrap();
    for statement in [
        "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
             agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, \
             agent_dropped, clock_skew_ms, truncated_transitions) \
             values (1, 'c', 'u1', 'n1', 'agent', 'connected', '', 0, 1, 'e', 1, 'd', '1', 'c', 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        "insert into inventory values (1, 'component', 'kubelet', '{\"name\":\"kubelet\",\"flavour\":\"kubelet\",\"version\":\"v1.33.1\"}', 'h', 0)",
        "insert into inventory values (1, 'setting', 'kubelet/readOnlyPort', '{\"value\":10255,\"source\":\"file /c\"}', 'h', 0)",
        "insert into inventory values (1, 'listener', 'tcp/::/10255', '{\"protocol\":\"tcp\",\"address\":\"::\",\"port\":10255,\"scope\":\"all\"}', 'h', 0)",
    ] {
        sqlx::query(statement).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = Store::open(&file).await.unwrap();
    store.write_peer_answers(&[answer(1, 10255, 1, OPEN)]).await.unwrap();
    let views = Views::new(&store, Arc::new(built_in().unwrap()), CursorKey::new([7; 32]));
    let node = views.node("c", "n1").await.unwrap().unwrap();
    let kubelets = views.kubelets(&node, NOW).await.unwrap();
    let [kubelet] = kubelets.kubelets.as_slice() else { panic!("{kubelets:?}") };
    assert_eq!((kubelet.version.as_deref(), kubelet.host_network, kubelet.settings.len()), (Some("v1.33.1"), None, 1));
    assert_eq!(kubelet.settings[0].effective, Side::Known { value: 10255.into(), source: "file /c".to_owned() });
    let exposure = views.exposure(&views.select(&Filter::default(), NOW)).await.unwrap();
    let on = &exposure.groups[0].on[0];
    assert_eq!((on.declared.len(), on.addresses.len(), on.peers.len()), (1, 1, 1));
}

fn answer(node_id: i64, port: i64, vantage_id: i64, met: Met) -> PeerAnswer {
    let (address, path) = (format!("10.0.0.{node_id}"), "/pods".to_owned());
    PeerAnswer { node_id, address, port, path, tls: port == 10250, vantage_id, met, at: NOW, stale_at: NOW + 45 * MINUTE }
}

const OPEN: Met = Met::Asked(ProbeOutcome::Answered, 200);
const FILTERED: Met = Met::Asked(ProbeOutcome::TimedOut, 0);

#[tokio::test]
async fn the_latest_answer_of_each_vantage_is_stored_and_only_news_is_told() {
    let database = Database::new().await;
    let write = |answers: Vec<PeerAnswer>| {
        let store = &database.store;
        async move { store.write_peer_answers(&answers).await.unwrap().into_iter().map(|c| (c.node_id, c.kind)).collect::<Vec<_>>() }
    };
    let told = [(1, ChangeKind::Inventory)];
    assert_eq!(write(vec![answer(1, 10250, 2, OPEN), answer(1, 10250, 3, FILTERED)]).await, told, "one change for one node");
    let later = PeerAnswer { at: NOW + 1, ..answer(1, 10250, 2, OPEN) };
    assert_eq!(write(vec![later]).await, [], "the same again is no news");
    assert_eq!(write(vec![answer(1, 10250, 2, FILTERED)]).await, told);
    assert_eq!(write(vec![answer(1, 10250, 2, Met::Refused(Refusal::OutsideNetworks))]).await, told);
    let old = PeerAnswer { at: NOW + 99 * MINUTE, ..answer(1, 10250, 3, FILTERED) };
    assert_eq!(write(vec![old]).await, told, "what was stale is news again");
    assert_eq!(write(vec![answer(7, 10250, 2, OPEN), answer(1, 10250, 7, OPEN)]).await, [], "nodes that are not there");
    let stored = database.store.peer_answers(1).await.unwrap();
    let stored: Vec<(&str, Met)> = stored.iter().map(|stored| (stored.vantage.as_str(), stored.answer.met)).collect();
    assert_eq!(stored, [("n2", Met::Refused(Refusal::OutsideNetworks)), ("n3", FILTERED)]);
}

#[tokio::test]
async fn exposure_shows_who_reaches_what_and_what_the_node_does_not_list() {
    let database = Database::new().await;
    database.listens(1, 10250, "all").await;
    let stale = PeerAnswer { stale_at: NOW, ..answer(1, 10250, 3, OPEN) };
    let refused = PeerAnswer { address: "10.9.0.1".to_owned(), ..answer(1, 10250, 2, Met::Refused(Refusal::OutsideNetworks)) };
    let answers = [answer(1, 10250, 2, FILTERED), stale, refused, answer(1, 10255, 2, OPEN), answer(2, 10255, 1, FILTERED)];
    database.store.write_peer_answers(&answers).await.unwrap();
    let views = database.views();
    let exposure = views.exposure(&views.select(&Filter::default(), NOW)).await.unwrap();
    let [listed, hidden] = exposure.groups.as_slice() else { panic!("{:#?}", exposure.groups) };
    assert_eq!((listed.reach, listed.port, hidden.reach, hidden.port), (Reach::All, 10250, Reach::Unknown, 10255));
    let shown: Vec<(&str, PeerOutcome, bool, Option<bool>, String)> =
        listed.on[0].peers.iter().map(|peer| (peer.vantage.as_str(), peer.outcome, peer.stale, peer.reached(), peer.words())).collect();
    let expected = [
        ("n2", PeerOutcome::TimedOut, false, Some(false), "filtered: no answer".to_owned()),
        ("n2", PeerOutcome::RefusedByAgent, false, None, "not asked: outside networks".to_owned()),
        ("n3", PeerOutcome::Answered, true, None, "200 on /pods".to_owned()),
    ];
    assert_eq!(shown, expected);
    assert_eq!((hidden.owner.as_str(), hidden.on[0].peers[0].reached()), ("not in the node's inventory", Some(true)));
}

#[tokio::test]
async fn answers_go_with_the_node_they_are_about_and_the_node_they_are_from() {
    let database = Database::new().await;
    let answers = [answer(1, 10250, 2, OPEN), answer(2, 10250, 1, OPEN), answer(3, 10250, 2, OPEN), answer(2, 10250, 3, OPEN)];
    database.store.write_peer_answers(&answers).await.unwrap();
    database.sql("update nodes set state = 'gone', state_since = 0 where node_id = 1").await;
    database.store.sweep(Retention::default(), NOW).await.unwrap();
    let left: Vec<(i64, i64)> =
        sqlx::query_as("select node_id, vantage_id from peer_probes order by 1, 2").fetch_all(&database.raw).await.unwrap();
    assert_eq!(left, [(2, 3), (3, 2)]);
    database.store.sweep(Retention::default(), NOW + 2 * 24 * 60 * MINUTE).await.unwrap();
    assert!(database.store.peer_answers(2).await.unwrap().is_empty(), "long stale");
}

#[tokio::test]
async fn whom_to_ask_about_what_comes_from_the_inventory() {
    let database = Database::new().await;
    database.listens(1, 10250, "all").await;
    database.listens(1, 10248, "loopback").await;
    database.listens(1, 4444, "all").await;
    database.sql(&format!("insert into inventory values (1, 'node', 'self', '{{\"role\":\"control-plane\"}}', 'h', {NOW})")).await;
    database.sql(&format!("insert into inventory values (2, 'node', 'self', '[[[', 'h', {NOW})")).await;
    database.sql("update nodes set state = 'gone' where node_id = 3").await;
    let nodes = database.store.peer_nodes(None).await.unwrap();
    let shown: Vec<(i64, bool, Vec<i64>)> =
        nodes.iter().map(|n| (n.node_id, n.control_plane, n.listening.iter().copied().collect())).collect();
    assert_eq!(shown, [(1, true, vec![10250]), (2, false, vec![])]);
    assert_eq!(database.store.peer_nodes(Some(1)).await.unwrap(), nodes[..1]);
    database.listens(2, 10255, "all").await;
    assert_eq!(database.store.peer_nodes(Some(1)).await.unwrap(), nodes[..1], "what another node listens on is not its");
}

/// The verdict and reason of a check on a node whose kubelet is known, given what peers met.
fn judged(check: &str, peers: &Peers) -> (Verdict, String) {
    let text = |words: [&str; 3]| (words[0].to_owned(), words[1].to_owned(), words[2].to_owned());
    let documents = vec![
        text(["component", "kubelet", r#"{"name":"kubelet","flavour":"kubelet","host_network":true}"#]),
        text(["group", "components", r#"{"state":"known","items":0,"skipped":0}"#]),
        text(["group", "kubelets", r#"{"state":"known","items":1,"skipped":0}"#]),
    ];
    let node = JudgedNode {
        cluster: "c".to_owned(),
        name: "n1".to_owned(),
        recorded: false,
        holder: String::new(),
        standing: Standing::default(),
        documents,
    };
    let fleet = FleetJudge::new(Arc::new(Evaluator::new(built_in().unwrap())));
    let outside = Outside { peers: peers.clone(), clock: Clock::NotHeard, admission: None, membership: None };
    let entries = judge(&fleet, &node, &outside, &Census::default(), &Knowledge::built_in().unwrap(), date(2026, 11, 20), NOW).unwrap();
    let found = entries.findings.into_iter().find_map(|entry| match entry.body {
        Body::Finding(finding) if finding.check == check => Some((finding.verdict, finding.reason)),
        _ => None,
    });
    found.expect("it is judged")
}

#[test]
fn a_port_is_judged_by_fresh_answers_and_otherwise_unknown_with_the_reason() {
    let asked = |answers: &[PeerAnswer]| {
        Peers::Asked(
            answers.iter().map(|answer| StoredAnswer { answer: answer.clone(), vantage: format!("n{}", answer.vantage_id) }).collect(),
        )
    };
    let refusal = Met::Refused(Refusal::OutsideNetworks);
    let unknown = |reason: &str| (Verdict::Unknown, reason.to_owned());
    let clear = |verdict| (verdict, String::new());
    for (peers, expected) in [
        (Peers::SwitchedOff, unknown("not_supported: peer probes are switched off")),
        (Peers::NotListed, unknown("not_supported: this node is not among those that peers are asked about")),
        (asked(&[]), unknown("not_present: no other node's agent has been able to ask yet, or not recently")),
        (asked(&[answer(1, 10250, 2, refusal)]), unknown("not_present: the agents of other nodes refuse to ask: outside_networks")),
        (asked(&[answer(1, 10255, 2, FILTERED)]), unknown("undecided: no other worker's agent could try port 10250")),
        (asked(&[answer(1, 10250, 2, FILTERED), answer(1, 10250, 3, refusal)]), clear(Verdict::Pass)),
        (asked(&[answer(1, 10250, 2, FILTERED), answer(1, 10250, 3, OPEN)]), clear(Verdict::Fail)),
    ] {
        assert_eq!(judged("kubelet-serves-peers", &peers), expected);
    }
    assert_eq!(judged("etcd-reachable-from-workers", &asked(&[answer(1, 2379, 2, OPEN)])).0, Verdict::NotApplicable, "no etcd runs there");
}
