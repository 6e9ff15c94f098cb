//! A real database file with rows as ingest writes them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use holdfast_collector::alerts::{Alert, AlertOptions, Clock, Rules};
use holdfast_collector::changes::{Change, ChangeFeed, ChangeKind};
use holdfast_collector::ingest::session::Moment;
use holdfast_collector::nodes::{Patience, Registry};
use holdfast_collector::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

/// 2026-11-20T20:00:00Z.
pub(crate) const START: i64 = 1_795_204_800_000;
pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;

/// A registry in which no node has ever been heard.
pub(crate) fn nobody_connected() -> Arc<Registry> {
    Arc::new(Registry::new(Vec::new(), Patience::default(), Moment { mono_ms: 0, wall_ms: START }))
}

/// A database in a directory of its own.
pub(crate) struct Database {
    directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) changes: ChangeFeed,
    raw: SqlitePool,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("holdfast.db");
        let store = Store::open(&file).await.unwrap();
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
        Self { directory, store, changes: ChangeFeed::default(), raw }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("holdfast.db")
    }

    /// Closes the store and opens it again, as a restarted collector does.
    pub(crate) async fn restart(&mut self) {
        self.store.close().await;
        self.store = Store::open(&self.file()).await.unwrap();
        self.changes = ChangeFeed::default();
    }

    pub(crate) async fn node(&self, id: i64, name: &str, state: &str, since: i64) {
        let insert = "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
            agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, agent_dropped, \
            clock_skew_ms, truncated_transitions) values ($1, 'prod', $2, $3, 'agent', $4, '', $5, 0, '', 0, '', '', '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0) \
            on conflict (node_id) do update set state = excluded.state, state_since = excluded.state_since";
        let query = sqlx::query(insert).bind(id).bind(id.to_string()).bind(name).bind(state).bind(since);
        query.execute(&self.raw).await.unwrap();
        self.tell(id, ChangeKind::Node);
    }

    /// Somebody has spoken for it.
    pub(crate) async fn spoken_for(&self, id: i64) {
        sqlx::query("update nodes set holder = 'token' where node_id = $1").bind(id).execute(&self.raw).await.unwrap();
        self.tell(id, ChangeKind::Node);
    }

    /// Every node by name: (state, membership, state's reason).
    pub(crate) async fn nodes(&self) -> BTreeMap<String, (String, String, String)> {
        let select = "select name, state, membership, state_reason from nodes";
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(select).fetch_all(&self.raw).await.unwrap();
        rows.into_iter().map(|(name, state, membership, reason)| (name, (state, membership, reason))).collect()
    }

    /// The collector's verdict on a check of the node called so.
    pub(crate) async fn verdict_on(&self, check: &str, name: &str) -> Option<i64> {
        let select = "select f.verdict from findings f join nodes n on n.node_id = f.node_id where f.check_id = $1 and n.name = $2";
        sqlx::query_scalar(select).bind(check).bind(name).fetch_optional(&self.raw).await.unwrap()
    }

    pub(crate) async fn failing(&self, node: i64, check: &str, deciding: &str, since: i64) {
        let insert = "insert into findings (node_id, check_id, subject, finding_id, origin, verdict, severity, title, reason, reason_class, \
            evidence, evidence_truncated, deciding, hash, first_seen, changed_at, updated_at) \
            values ($1, $2, 'kubelet', $1 || $2, 'node', 2, 4, '', '', '', '[]', 0, $3, '', $4, $4, $4)";
        sqlx::query(insert).bind(node).bind(check).bind(deciding).bind(since).execute(&self.raw).await.unwrap();
        self.tell(node, ChangeKind::Findings);
    }

    pub(crate) async fn passing(&self, node: i64, check: &str) {
        let update = "update findings set verdict = 1 where node_id = $1 and check_id = $2";
        sqlx::query(update).bind(node).bind(check).execute(&self.raw).await.unwrap();
        self.tell(node, ChangeKind::Findings);
    }

    pub(crate) async fn inventory(&self, node: i64, kind: &str, name: &str, json: &str) {
        let insert = "insert into inventory (node_id, kind, name, json, hash, changed_at) values ($1, $2, $3, $4, '', 0) \
            on conflict (node_id, kind, name) do update set json = excluded.json";
        sqlx::query(insert).bind(node).bind(kind).bind(name).bind(json).execute(&self.raw).await.unwrap();
        self.tell(node, ChangeKind::Inventory);
    }

    /// Ids of the checks the collector has judged itself.
    pub(crate) async fn judged_checks(&self) -> Vec<String> {
        let select = "select distinct check_id from findings where origin = 'collector' order by check_id";
        sqlx::query_scalar(select).fetch_all(&self.raw).await.unwrap()
    }

    /// The collector's own finding of a check: (verdict, reason, deciding).
    pub(crate) async fn judged(&self, check: &str) -> Option<(i64, String, String)> {
        let select = "select verdict, reason, deciding from findings where origin = 'collector' and check_id = $1";
        sqlx::query_as(select).bind(check).fetch_optional(&self.raw).await.unwrap()
    }

    /// The patch chain of a node: (subject, image, kernel, running, headline, support, line, level).
    pub(crate) async fn chain(&self, node: i64) -> Vec<(String, String, String, String, i64, String, String, String)> {
        let select =
            "select subject, image, kernel, running, headline, support, line, level from chain where node_id = $1 order by subject";
        sqlx::query_as(select).bind(node).fetch_all(&self.raw).await.unwrap()
    }

    /// Everything that is kept of a node's patch chain.
    pub(crate) async fn chain_json(&self, node: i64) -> Vec<String> {
        let select = "select json from chain where node_id = $1 order by subject";
        sqlx::query_scalar(select).bind(node).fetch_all(&self.raw).await.unwrap()
    }

    /// How many vulnerabilities may affect the kernel of a node.
    pub(crate) async fn possible(&self, node: i64) -> i64 {
        let select = "select possible from chain where component = 'kernel' and node_id = $1";
        sqlx::query_scalar(select).bind(node).fetch_one(&self.raw).await.unwrap()
    }

    /// The collector's own findings of a node, by check and subject: (verdict, hash, updated at).
    pub(crate) async fn findings(&self, node: i64) -> BTreeMap<(String, String), (i64, String, i64)> {
        let select = "select check_id, subject, verdict, hash, updated_at from findings where origin = 'collector' and node_id = $1";
        let rows: Vec<(String, String, i64, String, i64)> = sqlx::query_as(select).bind(node).fetch_all(&self.raw).await.unwrap();
        rows.into_iter().map(|(check, subject, verdict, hash, at)| ((check, subject), (verdict, hash, at))).collect()
    }

    /// The verdicts on a check, node by node.
    pub(crate) async fn verdicts(&self, check: &str) -> Vec<i64> {
        let select = "select verdict from findings where origin = 'collector' and check_id = $1 order by node_id";
        sqlx::query_scalar(select).bind(check).fetch_all(&self.raw).await.unwrap()
    }

    /// The first alert of a rule.
    pub(crate) async fn alert(&self, rule: &str) -> Option<Alert> {
        self.store.stored_alerts().await.unwrap().into_iter().find(|alert| alert.rule == rule)
    }

    /// The whole history: (node, number, check, subject, to).
    pub(crate) async fn all_history(&self) -> Vec<(i64, i64, String, String, i64)> {
        let select = "select node_id, number, check_id, subject, to_verdict from transitions order by 1, 2, 3, 4";
        sqlx::query_as(select).fetch_all(&self.raw).await.unwrap()
    }

    /// History of a check: (epoch, number, from, to).
    pub(crate) async fn history(&self, check: &str) -> Vec<(String, i64, i64, i64)> {
        let select = "select epoch, number, from_verdict, to_verdict from transitions where check_id = $1 order by epoch, number";
        sqlx::query_as(select).bind(check).fetch_all(&self.raw).await.unwrap()
    }

    /// Counts of a check: (verdict, n).
    pub(crate) async fn counts(&self, check: &str) -> Vec<(i64, i64)> {
        sqlx::query_as("select verdict, n from counts where check_id = $1 order by verdict").bind(check).fetch_all(&self.raw).await.unwrap()
    }

    /// How much was committed so far.
    pub(crate) async fn last_change(&self) -> i64 {
        sqlx::query_scalar("select coalesce(max(seq), 0) from change_log").fetch_one(&self.raw).await.unwrap()
    }

    /// Every delivery: (receiver, ok, detail).
    pub(crate) async fn deliveries(&self) -> Vec<(String, i64, String)> {
        let select = "select receiver, ok, detail from deliveries order by receiver, fingerprint";
        sqlx::query_as(select).fetch_all(&self.raw).await.unwrap()
    }

    fn tell(&self, node_id: i64, kind: ChangeKind) {
        self.changes.publish(Change { seq: 0, at: 0, node_id, kind });
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn at(now: i64) -> Self {
        Self(Arc::new(AtomicI64::new(now)))
    }

    pub(crate) fn forward(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || time.load(Ordering::SeqCst))
    }
}

/// Options for quick tests: no warming up, and a short interval.
pub(crate) fn options(alertmanagers: &[String], webhooks: &[String]) -> AlertOptions {
    let mut options =
        AlertOptions::new(Rules::built_in().unwrap(), alertmanagers, webhooks, Some("https://holdfast.example.org/"), None).unwrap();
    options.interval = Duration::from_millis(200);
    options.warm_up = Duration::ZERO;
    options
}

/// Tries until it is so, or fails after a generous time.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, attempt: impl Fn() -> F) -> T {
    for _ in 0..2_400 {
        if let Some(found) = attempt().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain: {what}");
}

/// What it says once it has said the same for a while: everything that was under way is done.
pub(crate) async fn settled<T: PartialEq>(read: impl AsyncFn() -> T) -> T {
    let (mut last, mut same) = (read().await, 0);
    while same < 4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = read().await;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
