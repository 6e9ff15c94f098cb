//! What follows from stored rows: what the collector judges, containers as columns, expectations; and databases from before.

use std::collections::BTreeSet;

use holdfast_checks::entries::{Digest, Entry, Key, Verdict};
use holdfast_collector::changes::ChangeKind;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::{Refusal, RefusalCode};
use holdfast_collector::store::nodes::{NodeState, StateChange};
use holdfast_collector::store::retention::Retention;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};

use crate::rig::*;

#[tokio::test]
async fn what_the_collector_judges_is_replaced_check_by_check() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let (eol, lag) = (finding("kernel-eol", "kernel", Verdict::Fail), finding("kernel-lag", "kernel", Verdict::Pass));
    let both: BTreeSet<String> = ["kernel-eol".into(), "kernel-lag".into()].into();
    let change = rig.store.replace_judged(node.node_id, &both, &[eol.clone(), lag.clone()], &[], NOW).await.unwrap();
    assert_eq!(change.unwrap().kind, ChangeKind::Findings);
    assert_eq!(rig.store.replace_judged(node.node_id, &both, &[eol, lag], &[], NOW).await.unwrap(), None, "nothing moved");
    let one: BTreeSet<String> = ["kernel-eol".into()].into();
    rig.store.replace_judged(node.node_id, &one, &[], &[], NOW).await.unwrap().unwrap();
    assert_eq!(rig.number("select count(*) from findings where check_id = 'kernel-lag'").await, 1);
    assert_eq!(rig.consistent(node.node_id).await, Digest::EMPTY, "not in the node's digest");
    // An agent cannot overwrite it.
    let (refused, _) = committed(rig.writer.write(delta(&node, 7, 1, vec![finding("kernel-lag", "kernel", Verdict::Fail)])).await.unwrap());
    assert_eq!(refused[0].code, RefusalCode::Malformed);
}

fn container(subject: &str, image: &str, root: &[&str]) -> Entry {
    let document = serde_json::json!({"kind": "container", "placement": "pod", "namespace": "a", "pod": subject, "image": image,
        "host_root": root, "inside_root": []});
    Entry::inventory("container", subject, &document, NOW).unwrap()
}

impl Rig {
    /// What pages read of containers: subject, image, root.
    async fn containers(&self) -> Vec<(i64, String, String, String)> {
        let sql = "select node_id, subject, image, root from containers order by node_id, kind, subject";
        sqlx::query_as(sql).fetch_all(&self.raw).await.unwrap()
    }

    /// The same of a database from before: the table is made anew and comes out as it was kept.
    async fn rebuilt(&self) -> Vec<(i64, String, String, String)> {
        let kept = self.containers().await;
        sqlx::query("delete from derived").execute(&self.raw).await.unwrap();
        sqlx::query("delete from containers").execute(&self.raw).await.unwrap();
        Store::open(&self.dir.path().join("holdfast.db")).await.unwrap().close().await;
        assert_eq!(self.containers().await, kept, "kept and made anew are the same");
        kept
    }
}

#[tokio::test]
async fn containers_as_columns_are_those_of_the_inventory_after_every_kind_of_write() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let row = |subject: &str, image: &str, root: &str| (node.node_id, subject.to_owned(), image.to_owned(), root.to_owned());
    let (one, two) = (container("pod:a/1/c", "x", &["sh"]), container("pod:a/2/c", "x", &[]));
    let process =
        Entry::inventory("root-process", "service:sshd.service/sshd", &serde_json::json!({"exe": "/usr/sbin/sshd"}), NOW).unwrap();
    let entries = vec![one.clone(), two.clone(), process.clone(), inventory("os", "self", 1)];
    committed(rig.writer.write(delta(&node, 7, 1, entries)).await.unwrap());
    let sshd = row("service:sshd.service/sshd", "/usr/sbin/sshd", "host");
    assert_eq!(rig.rebuilt().await, [row("pod:a/1/c", "x", "host"), row("pod:a/2/c", "x", "none"), sshd.clone()]);

    // Another content under a key, a key that goes, and a message told twice.
    let mut write = delta(&node, 7, 2, vec![container("pod:a/1/c", "y", &[])]);
    write.gone = vec![two.key.clone()];
    committed(rig.writer.write(write.clone()).await.unwrap());
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(rig.rebuilt().await, [row("pod:a/1/c", "y", "none"), sshd.clone()]);

    // A refused entry takes what was there along.
    let mut write = delta(&node, 7, 3, Vec::new());
    write.refused = vec![Refusal { kind: 2, key: process.key.as_str().into(), hash: vec![1; 16], code: RefusalCode::TooLarge }];
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(rig.rebuilt().await, [row("pod:a/1/c", "y", "none")]);

    // A snapshot without it.
    committed(rig.writer.write(snapshot(&node, 8, 1, vec![two.clone()])).await.unwrap());
    assert_eq!(rig.rebuilt().await, [row("pod:a/2/c", "x", "none")]);

    // Its node goes.
    let gone = StateChange { node_id: node.node_id, session: node.session, state: NodeState::Gone, reason: String::new(), at: NOW - 1 };
    rig.writer.write_states(vec![gone]).await.unwrap();
    rig.store.sweep(Retention { gone_nodes: 0, ..Retention::default() }, NOW).await.unwrap();
    assert_eq!(rig.rebuilt().await, []);
}

#[tokio::test]
async fn an_expected_failure_is_counted_apart_from_the_others() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let proxy = "pod:kube-system/kube-proxy-x7k2p/kube-proxy";
    let cells = async || -> Vec<(i64, String, i64)> {
        sqlx::query_as("select verdict, waiver, n from counts order by 1, 2").fetch_all(&rig.raw).await.unwrap()
    };
    let entries = vec![finding("container-root", proxy, Verdict::Fail), finding("container-root", "pod:shop/db-0/db", Verdict::Fail)];
    committed(rig.writer.write(delta(&node, 7, 1, entries)).await.unwrap());
    assert_eq!(cells().await, [(2, String::new(), 1), (2, "kube-proxy".into(), 1)]);
    rig.consistent(node.node_id).await;
    committed(rig.writer.write(delta(&node, 7, 2, vec![finding("container-root", proxy, Verdict::Pass)])).await.unwrap());
    assert_eq!(cells().await, [(1, String::new(), 1), (2, String::new(), 1)]);
    let mut write = delta(&node, 7, 3, vec![finding("container-root", proxy, Verdict::Fail)]);
    write.gone = vec![Key::finding("container-root", "pod:shop/db-0/db")];
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(cells().await, [(2, "kube-proxy".into(), 1)]);
    rig.consistent(node.node_id).await;
}

/// A database as the release before containers left it: two migrations, and rows in the shapes of that release.
#[tokio::test]
async fn a_database_of_before_containers_and_expectations_loses_nothing_and_gains_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("holdfast.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let old = SqlitePool::connect_with(options).await.unwrap();
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let before = vec![
        migration(1, "initial", include_str!("../../migrations/sqlite/0001_initial.sql")),
        migration(2, "peer probes", include_str!("../../migrations/sqlite/0002_peer_probes.sql")),
    ];
    Migrator::with_migrations(before).run(&old).await.unwrap();
    for statement in [
        "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
             agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, \
             agent_dropped, clock_skew_ms, truncated_transitions) \
             values (1, 'c', 'u1', 'n1', 'agent', 'connected', '', 0, 1, 'e', 1, 'd', '1', 'c', 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        "insert into findings values (1, 'container-root', 'pod:kube-system/kube-proxy-x7k2p/kube-proxy', 'f1', 'node', 2, 3, 't', '', '', '[]', 0, 'd', 'h', 1, 2, 3)",
        "insert into findings values (1, 'container-root', 'pod:shop/web/web', 'f2', 'node', 2, 3, 't', '', '', '[]', 0, 'd', 'h', 1, 2, 3)",
        "insert into findings values (1, 'os', 'node', 'f3', 'node', 4, 3, 't', 'r', 'timeout', '[]', 0, '', 'h', 1, 2, 3)",
        "insert into counts values (1, 'container-root', 3, 2, 2), (1, 'os', 3, 4, 1)",
        "insert into transitions values (1, 'e', 1, 'os', 'node', 0, 4, 3, 'r', '', 5, 6)",
        "insert into inventory values (1, 'root-process', 'service:sshd.service/sshd', '{\"exe\":\"/usr/sbin/sshd\"}', 'h', 7)",
        "insert into inventory values (1, 'container', 'pod:a/b/c', '{cut', 'h', 8)",
    ] {
        sqlx::query(statement).execute(&old).await.unwrap();
    }
    old.close().await;

    // The second start finds everything made.
    for _ in 0..2 {
        Store::open(&file).await.unwrap().close().await;
    }
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let rows = async |sql: &'static str| sqlx::query_as::<_, (String, String, i64)>(sql).fetch_all(&raw).await.unwrap();
    let row = |one: &str, other: &str, n| (one.to_owned(), other.to_owned(), n);
    assert_eq!(
        rows("select finding_id, waiver, changed_at from findings order by 1").await,
        [row("f1", "kube-proxy", 2), row("f2", "", 2), row("f3", "", 2)]
    );
    assert_eq!(
        rows("select check_id, waiver, n from counts order by 1, 2").await,
        [row("container-root", "", 1), row("container-root", "kube-proxy", 1), row("os", "", 1)]
    );
    assert_eq!(
        rows("select subject, root, changed_at from containers order by 1").await,
        [row("pod:a/b/c", "unknown", 8), row("service:sshd.service/sshd", "host", 7)]
    );
    assert_eq!(rows("select check_id, reason, at from transitions").await, [row("os", "r", 5)]);
    assert_eq!(rows("select kind, name, changed_at from inventory order by 1").await.len(), 2);
}
