//! Policies on the collector: the file that is followed, and what agents made of it, stored once and fenced.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::catalogue::built_in;
use holdfast_collector::changes::{ChangeFeed, ChangeKind};
use holdfast_collector::metrics::Metrics;
use holdfast_collector::policy::{self, Desk, Following, Policies, Reload};
use holdfast_collector::store::Store;
use holdfast_collector::store::policy::{PolicyNote, StoredPolicy};
use holdfast_collector::store::views::{CursorKey, Views};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio_util::sync::CancellationToken;

const NOW: i64 = 1_795_204_800_000;

struct Rig {
    store: Store,
    views: Views,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Rig {
    /// Node n1 of cluster c, in its fifth session.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("holdfast.db");
        let store = Store::open(&database).await.unwrap();
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&database)).await.unwrap();
        let node = "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
             agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, \
             agent_dropped, clock_skew_ms, truncated_transitions) \
             values (1, 'c', 'u1', 'n1', 'agent', 'connected', '', 0, 5, 'e', 1, 'd', '1', 'c', 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        sqlx::query(node).execute(&raw).await.unwrap();
        let views = Views::new(&store, Arc::new(built_in().unwrap()), CursorKey::new([7; 32]));
        Self { store, views, file: directory.path().join("policy.yaml"), _directory: directory }
    }

    async fn write(&self, note: PolicyNote) -> usize {
        let changes = self.store.write_policy_notes(&[note]).await.unwrap();
        assert!(changes.iter().all(|change| change.kind == ChangeKind::Node && change.node_id == 1));
        changes.len()
    }

    async fn stored(&self) -> Option<StoredPolicy> {
        let node = self.views.node("c", "n1").await.unwrap().unwrap();
        self.views.node_policy(&node).await.unwrap()
    }
}

fn note(hash: &str, state: &'static str, reason: Option<&str>, at: i64) -> PolicyNote {
    let (hash, held, reason) = (hash.to_owned(), "aa".to_owned(), reason.map(str::to_owned));
    PolicyNote { node_id: 1, session: 5, hash, held, state, reason, at: NOW + at }
}

#[tokio::test]
async fn the_last_word_of_a_node_is_kept_with_since_when_and_what_it_said() {
    let rig = Rig::new().await;
    assert_eq!(rig.write(note("aa", "pending", None, 0)).await, 1);
    assert_eq!(rig.write(note("aa", "applied", Some("not known here: x"), 1)).await, 1);
    assert_eq!(rig.write(note("aa", "applied", None, 2)).await, 0, "a reconnect says nothing new");
    let stored = rig.stored().await.unwrap();
    assert_eq!((stored.state.as_str(), stored.reason.as_str(), stored.since), ("applied", "not known here: x", NOW + 1));
    assert_eq!(rig.write(note("bb", "refused", Some("no"), 3)).await, 1);
    let stored = rig.stored().await.unwrap();
    assert_eq!((stored.hash.as_str(), stored.held.as_str(), stored.reason.as_str(), stored.since), ("bb", "aa", "no", NOW + 3));
    // An older session's word says nothing about this one's.
    assert_eq!(rig.write(PolicyNote { session: 4, ..note("aa", "applied", None, 4) }).await, 0);
    assert_eq!(rig.stored().await.unwrap().state, "refused");
    // Nothing wanted, nothing held: as if there had never been one.
    assert_eq!(rig.write(PolicyNote { held: String::new(), ..note("", "applied", None, 5) }).await, 1);
    assert_eq!(rig.stored().await, None);
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing_and_says_so() {
    let rig = Rig::new().await;
    let catalogue = Arc::new(built_in().unwrap());
    std::fs::write(&rig.file, "full_pass_seconds: 120\n").unwrap();
    let policies = Policies::load(&rig.file, &catalogue).unwrap();
    let desk = Arc::new(Desk::new(policies, Reload { path: Some("policy.yaml".to_owned()), problem: None, since: NOW }));
    let (metrics, cancel) = (Metrics::default(), CancellationToken::new());
    let following = Following {
        desk: Arc::clone(&desk),
        path: Some(rig.file.clone()),
        catalogue,
        store: rig.store.clone(),
        changes: ChangeFeed::default(),
        metrics: metrics.clone(),
        clock: Arc::new(|| NOW + 7),
    };
    let mut wanted = desk.follow();
    let running = tokio::spawn(policy::run(following, cancel.clone()));
    let seconds = |desk: &Desk| desk.policies().of("c").full_pass_seconds();
    let until = |what: &'static str, done: Box<dyn Fn() -> bool>| async move {
        for _ in 0..1_200 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}");
    };

    std::fs::write(&rig.file, "full_pass_seconds: 5\n").unwrap();
    let seen = Arc::clone(&desk);
    until("the bad file is noticed", Box::new(move || seen.reload().problem.is_some())).await;
    assert_eq!(seconds(&desk), Some(120), "the last good one stays");
    assert!(desk.reload().problem.unwrap().contains("policy.yaml:1: full_pass_seconds 5 is below 60"));
    assert!(!wanted.has_changed().unwrap(), "and nobody is told anything");
    assert!(metrics.encode().contains("holdfast_policy_reload_failures_total 1"), "{}", metrics.encode());

    // What is not of the shape, and what is not there, are said with their place and reason too.
    std::fs::write(&rig.file, "# ours\nfull_pass_secs: 5\n").unwrap();
    let seen = Arc::clone(&desk);
    let said = move |text: &str| seen.reload().problem.is_some_and(|problem| problem.contains(text) && !problem.contains('\n'));
    let (shape, absent) = (said.clone(), said);
    until("the wrong field is said", Box::new(move || shape("policy.yaml:2: ") && shape("unknown field `full_pass_secs`"))).await;
    std::fs::remove_file(&rig.file).unwrap();
    until("the absent file is said", Box::new(move || absent("policy.yaml does not exist"))).await;
    assert_eq!(seconds(&desk), Some(120), "the last good one stays");

    std::fs::write(&rig.file, "full_pass_seconds: 240\n").unwrap();
    tokio::time::timeout(Duration::from_mins(2), wanted.changed()).await.unwrap().unwrap();
    assert_eq!((seconds(&desk), desk.reload().problem, desk.reload().since), (Some(240), None, NOW + 7));

    // A node of which nothing is stored is counted as one that was not told yet; so it says that it refused.
    let hash = desk.policies().of("c").hash().unwrap().to_string();
    desk.note(note(&hash, "refused", Some("no"), 0));
    let found = metrics.clone();
    until("nodes are counted", Box::new(move || found.encode().contains("holdfast_policy_nodes{state=\"refused\"} 1"))).await;
    assert_eq!(rig.stored().await.unwrap().hash, hash);
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_could_not_be_stored_is_stored_later() {
    let rig = Rig::new().await;
    let desk = Desk::default();
    desk.note(note("aa", "pending", None, 0));
    desk.note(PolicyNote { session: 4, ..note("bb", "applied", None, 1) });
    desk.note(note("cc", "applied", None, 2));
    let cancel = CancellationToken::new();
    let following = Following {
        desk: Arc::new(desk),
        path: None,
        catalogue: Arc::new(built_in().unwrap()),
        store: rig.store.clone(),
        changes: ChangeFeed::default(),
        metrics: Metrics::default(),
        clock: Arc::new(|| NOW),
    };
    // Told to stop at once, it still stores what was noted: the newest session's last word.
    cancel.cancel();
    policy::run(following, cancel).await;
    assert_eq!(rig.stored().await.unwrap().hash, "cc");
}
