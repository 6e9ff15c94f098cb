//! What a write stores: counts, digest and times; once, in order, and of the newest session only.

use std::collections::BTreeSet;

use holdfast_checks::entries::{Digest, Evidence, Key, Verdict};
use holdfast_collector::changes::ChangeKind;
use holdfast_collector::store::ingest::{Progress, Written};
use holdfast_collector::store::nodes::{NodeState, Resume, StateChange, Vitals};

use crate::rig::*;

#[tokio::test]
async fn a_snapshot_then_changes_keep_counts_digest_and_times() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    assert_eq!(node.resume, Resume::InSync, "nothing on both sides");
    let entries = vec![
        finding("kubelet-anonymous-auth", "kubelet", Verdict::Pass),
        finding("port-exposed", "port:tcp/10255", Verdict::Unknown),
        inventory("kernel", "self", 1),
    ];
    let (refused, stored) = committed(rig.writer.write(snapshot(&node, 7, 1, entries.clone())).await.unwrap());
    assert_eq!((refused.len(), stored), (0, digest(&entries)));
    assert_eq!(rig.consistent(node.node_id).await, digest(&entries));

    // The verdict moves: changed_at does too, first_seen does not.
    let failing = finding_at("kubelet-anonymous-auth", "kubelet", Verdict::Fail, NOW + 4000);
    let mut write = delta(&node, 7, 2, vec![failing.clone()]);
    write.at = NOW + 5000;
    write.transitions = vec![moved(1, &failing, Some(Verdict::Pass), Some(Verdict::Fail), NOW + 4000)];
    committed(rig.writer.write(write).await.unwrap());
    let sql = "select verdict, first_seen, changed_at, updated_at, deciding, evidence, title from findings \
               where check_id = 'kubelet-anonymous-auth'";
    let row: (i64, i64, i64, i64, String, String, String) = sqlx::query_as(sql).fetch_one(&rig.raw).await.unwrap();
    assert_eq!((row.0, row.1, row.2, row.3), (2, NOW - 1000, NOW + 4000, NOW + 5000));
    assert_eq!(row.4, "readOnlyPort = 10255 (flag)");
    let evidence: Vec<Evidence> = serde_json::from_str(&row.5).unwrap();
    assert_eq!(evidence[0].value, Some(serde_json::json!(10255)));
    assert_eq!(row.6, "A \"title\"; drop table nodes");
    let class = "select reason_class from findings where check_id = 'port-exposed'";
    assert_eq!(sqlx::query_scalar::<_, String>(class).fetch_one(&rig.raw).await.unwrap(), "permission_denied");

    // Gone: the finding goes, its history stays.
    let mut write = delta(&node, 7, 3, Vec::new());
    write.gone = vec![failing.key.clone(), Key::inventory("kernel", "self")];
    write.transitions = vec![moved(2, &failing, Some(Verdict::Fail), None, NOW)];
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(rig.consistent(node.node_id).await, digest(&entries[1..2]));
    assert_eq!(rig.number("select count(*) from transitions").await, 2);
    assert_eq!(rig.number("select count(*) from inventory").await, 0);
}

#[tokio::test]
async fn a_repeated_message_changes_nothing_and_is_acknowledged() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding("c", "s", Verdict::Fail);
    let mut write = delta(&node, 7, 1, vec![entry.clone()]);
    write.transitions = vec![moved(1, &entry, None, Some(Verdict::Fail), NOW)];
    let first = rig.writer.write(write.clone()).await.unwrap();
    let log = rig.number("select count(*) from change_log").await;
    assert_eq!(rig.writer.write(write.clone()).await.unwrap(), first);
    // Under a later number, as after a lost acknowledgement: entries and history are still there once.
    write.seq = 2;
    assert_eq!(rig.writer.write(write).await.unwrap(), first);
    assert_eq!(rig.number("select count(*) from change_log").await, log);
    assert_eq!(rig.number("select count(*) from transitions").await, 1);
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn an_older_session_writes_nothing() {
    let rig = rig().await;
    let old = rig.open("a", 7, 0, Digest::EMPTY).await;
    let new = rig.open("a", 7, 0, Digest::EMPTY).await;
    assert_eq!((new.node_id, new.session), (old.node_id, old.session + 1));
    let write = delta(&old, 7, 1, vec![finding("c", "s", Verdict::Fail)]);
    assert_eq!(rig.writer.write(write).await.unwrap(), Written::Fenced);
    let lost = StateChange { node_id: old.node_id, session: old.session, state: NodeState::Silent, reason: "lost".into(), at: NOW };
    rig.writer.write_states(vec![lost]).await.unwrap();
    assert_eq!(rig.store.known_nodes().await.unwrap()[0].state, NodeState::Connected);
    assert_eq!(rig.number("select count(*) from findings").await, 0);
}

#[tokio::test]
async fn only_the_end_of_a_snapshot_deletes() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let old = vec![finding("c", "old", Verdict::Fail), inventory("os", "self", 1)];
    committed(rig.writer.write(snapshot(&node, 7, 1, old)).await.unwrap());
    let judged = [finding("kernel-eol", "kernel", Verdict::Fail)];
    rig.store.replace_judged(node.node_id, &BTreeSet::new(), &judged, &[], NOW).await.unwrap();
    let (first, last) = (finding("c", "first", Verdict::Pass), finding("c", "last", Verdict::Pass));
    let mut part = delta(&node, 8, 1, vec![first.clone()]);
    part.progress = Progress::Partial;
    committed(rig.writer.write(part).await.unwrap());
    assert_eq!(rig.number("select count(*) from findings").await, 3);
    let mut end = snapshot(&node, 8, 2, vec![last.clone()]);
    end.progress = Progress::Snapshot { keep: [first.key.clone(), last.key.clone()].into() };
    let (_, stored) = committed(rig.writer.write(end).await.unwrap());
    assert_eq!(stored, digest(&[first, last]));
    assert_eq!(rig.consistent(node.node_id).await, stored);
    assert_eq!(rig.number("select count(*) from findings where origin = 'collector'").await, 1, "the collector's own stays");
    assert_eq!(rig.number("select count(*) from inventory").await, 0);
}

#[tokio::test]
async fn changes_are_published_after_the_commit_in_order() {
    let rig = rig().await;
    let mut follow = rig.feed.follow();
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail), inventory("os", "self", 1)];
    committed(rig.writer.write(delta(&node, 7, 1, entries)).await.unwrap());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let change = follow.recv().await.unwrap();
        seen.push((change.seq, change.node_id, change.kind));
    }
    assert_eq!(seen, [(1, 1, ChangeKind::Node), (2, 1, ChangeKind::Findings), (3, 1, ChangeKind::Inventory)]);
}

#[tokio::test]
async fn many_sessions_at_once_are_all_answered() {
    let rig = rig().await;
    let mut tasks = Vec::new();
    for n in 0..100_u64 {
        let node = rig.open(&format!("n{n}"), n, 0, Digest::EMPTY).await;
        let writer = rig.writer.clone();
        tasks.push(tokio::spawn(async move {
            for seq in 1..=3 {
                committed(writer.write(delta(&node, n, seq, vec![finding("c", &format!("s{seq}"), Verdict::Fail)])).await.unwrap());
            }
            node.node_id
        }));
    }
    for task in tasks {
        rig.consistent(task.await.unwrap()).await;
    }
    assert_eq!(rig.number("select count(*) from findings").await, 300);
}

#[tokio::test]
async fn heartbeats_are_flushed_in_one_statement() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let vitals = Vitals {
        node_id: node.node_id,
        session: node.session,
        last_seen: NOW + 60_000,
        confirmed_at: NOW + 60_000,
        rss: 12 << 20,
        cpu_ms: 99,
        queued: 1,
        dropped: 2,
        skew_ms: -3,
        skew_at: NOW + 59_000,
    };
    let old = Vitals { session: node.session - 1, rss: 1, last_seen: NOW + 90_000, ..vitals.clone() };
    rig.writer.write_vitals(vec![vitals, old]).await.unwrap();
    let sql = "select last_seen, confirmed_at, agent_rss, agent_dropped, clock_skew_ms from nodes";
    let row: (i64, i64, i64, i64, i64) = sqlx::query_as(sql).fetch_one(&rig.raw).await.unwrap();
    assert_eq!(row, (NOW + 60_000, NOW + 60_000, 12 << 20, 2, -3));
    let clock = rig.store.known_nodes().await.unwrap()[0].clock.unwrap();
    assert_eq!((clock.ahead_ms, clock.at), (-3, NOW + 59_000));
}
