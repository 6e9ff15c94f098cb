//! The store's contract, on a real SQLite file: fence, idempotence, counts, digest, history, snapshots, quota, retention.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::collections::BTreeSet;

use holdfast_checks::entries::{Digest, Entry, Evidence, Finding, Hash, Key, Kind, Severity, State, Transition, Verdict};
use holdfast_collector::changes::{ChangeFeed, ChangeKind};
use holdfast_collector::metrics::Metrics;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::{MAX_OPAQUE, NodeWrite, Opaque, Progress, Refusal, RefusalCode, Writer, Written};
use holdfast_collector::store::nodes::{NodeIdentity, NodeState, Opened, Origin, Resume, SessionStart, StateChange, Vitals};
use holdfast_collector::store::retention::Retention;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

struct Rig {
    dir: tempfile::TempDir,
    store: Store,
    writer: Writer,
    feed: ChangeFeed,
    raw: SqlitePool,
}

async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdfast.db");
    let store = Store::open(&path).await.unwrap();
    let feed = ChangeFeed::default();
    let (writer, running) = store.writer(feed.clone(), Metrics::default(), tokio_util::sync::CancellationToken::new());
    tokio::spawn(running);
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    Rig { dir, store, writer, feed, raw }
}

impl Rig {
    async fn open(&self, name: &str, epoch: u64, last_acked: u64, digest: Digest) -> Opened {
        self.open_as(name, epoch, (last_acked, None), digest).await
    }

    /// An agent that numbers from where it is told to.
    async fn come(&self, epoch: u64, last_acked: u64, sent: u64, digest: Digest) -> (Resume, u64) {
        let opened = self.open_as("a", epoch, (last_acked, Some(sent)), digest).await;
        (opened.resume, opened.position)
    }

    async fn open_as(&self, name: &str, epoch: u64, (last_acked, sent): (u64, Option<u64>), digest: Digest) -> Opened {
        let identity = NodeIdentity { cluster: "c".into(), uid: format!("uid-{name}"), name: name.into(), origin: Origin::Agent };
        let (agent_version, catalogue_hash, boot_id) = ("0.1.0".into(), "ab".into(), "boot".into());
        let start = SessionStart {
            identity,
            epoch,
            last_acked,
            sent,
            digest,
            agent_version,
            catalogue_hash,
            boot_id,
            holder: "token".into(),
            at: NOW,
        };
        self.writer.open_session(start).await.unwrap()
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.raw).await.unwrap()
    }

    async fn hashes(&self, sql: &'static str, node_id: i64) -> Vec<(String, String, String)> {
        sqlx::query_as(sql).bind(node_id).fetch_all(&self.raw).await.unwrap()
    }

    async fn counts(&self, sql: &'static str, node_id: i64) -> Vec<(String, i64, i64, String, i64)> {
        sqlx::query_as(sql).bind(node_id).fetch_all(&self.raw).await.unwrap()
    }

    /// Counts kept beside the findings equal counting them, and the digest equals adding up what is stored.
    async fn consistent(&self, node_id: i64) -> Digest {
        let counted =
            "select check_id, severity, verdict, waiver, count(*) from findings where node_id = $1 group by 1, 2, 3, 4 order by 1, 2, 3, 4";
        let kept = "select check_id, severity, verdict, waiver, n from counts where node_id = $1 order by 1, 2, 3, 4";
        assert_eq!(self.counts(counted, node_id).await, self.counts(kept, node_id).await, "counts");
        let mut digest = Digest::EMPTY;
        let findings = "select check_id, subject, hash from findings where node_id = $1 and origin = 'node'";
        for (check, subject, hash) in self.hashes(findings, node_id).await {
            digest.add(&Key::finding(&check, &subject), &hash_of(&hash));
        }
        for (kind, name, hash) in self.hashes("select kind, name, hash from inventory where node_id = $1", node_id).await {
            digest.add(&Key::inventory(&kind, &name), &hash_of(&hash));
        }
        let opaque = sqlx::query_as("select kind, key, hash from opaque where node_id = $1").bind(node_id);
        let opaque: Vec<(i32, String, String)> = opaque.fetch_all(&self.raw).await.unwrap();
        for (kind, key, hash) in opaque {
            digest.add(&Key::parse(Kind::from_number(kind).unwrap(), &key).unwrap(), &hash_of(&hash));
        }
        let query = sqlx::query_scalar("select digest from nodes where node_id = $1").bind(node_id);
        let stored: String = query.fetch_one(&self.raw).await.unwrap();
        assert_eq!(stored, digest.to_string(), "digest");
        digest
    }
}

fn hash_of(text: &str) -> Hash {
    Hash(u128::from_str_radix(text, 16).unwrap().to_be_bytes())
}

fn finding(check: &str, subject: &str, verdict: Verdict) -> Entry {
    finding_at(check, subject, verdict, NOW - 1000)
}

fn finding_at(check: &str, subject: &str, verdict: Verdict, at: i64) -> Entry {
    let (path, value) = ("kubelets.settings.readOnlyPort".into(), Some(serde_json::json!(10255)));
    let finding = Finding {
        check: check.into(),
        subject: subject.into(),
        verdict,
        reason: if verdict == Verdict::Unknown { "permission_denied: it's closed".into() } else { String::new() },
        severity: Severity::High,
        title: "A \"title\"; drop table nodes".into(),
        evidence: vec![Evidence { path, value, source: "flag".into(), at }],
        evidence_truncated: false,
    };
    Entry::finding(finding, at)
}

fn inventory(kind: &str, name: &str, value: i64) -> Entry {
    Entry::inventory(kind, name, &serde_json::json!({ "value": value }), NOW).unwrap()
}

fn moved(number: u64, entry: &Entry, from: Option<Verdict>, to: Option<Verdict>, at: i64) -> Transition {
    let because = "readOnlyPort = 10255 (flag)".into();
    Transition { number, key: entry.key.clone(), from, to, reason: String::new(), severity: Severity::High, because, at }
}

fn delta(opened: &Opened, epoch: u64, seq: u64, upserts: Vec<Entry>) -> NodeWrite {
    NodeWrite {
        node_id: opened.node_id,
        session: opened.session,
        epoch,
        seq,
        at: NOW,
        upserts,
        opaque: Vec::new(),
        gone: Vec::new(),
        transitions: Vec::new(),
        refused: Vec::new(),
        truncated_transitions: 0,
        progress: Progress::Delta,
    }
}

fn snapshot(opened: &Opened, epoch: u64, seq: u64, entries: Vec<Entry>) -> NodeWrite {
    let keep = entries.iter().map(|entry| entry.key.clone()).collect();
    NodeWrite { progress: Progress::Snapshot { keep }, ..delta(opened, epoch, seq, entries) }
}

fn digest(entries: &[Entry]) -> Digest {
    let mut state = State::default();
    entries.iter().cloned().for_each(|entry| state.upsert(entry));
    state.digest()
}

fn committed(written: Written) -> (Vec<Refusal>, Digest) {
    match written {
        Written::Committed { refused, digest } => (refused, digest),
        Written::Fenced => panic!("fenced"),
    }
}

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

/// An agent that crashed comes back with the file it wrote last: what it sent up to there is known to it, sure or unsure.
#[tokio::test]
async fn an_agent_that_knows_what_it_sent_resumes_by_changes_and_any_other_by_a_snapshot() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail)];
    committed(rig.writer.write(snapshot(&node, 7, 4, entries.clone())).await.unwrap());
    let other = digest(&[finding("c", "s", Verdict::Pass)]);
    let at = |position| (Resume::Delta, position);
    assert_eq!(rig.come(7, 4, 4, other).await, at(4), "nothing was under way");
    assert_eq!(rig.come(7, 2, 4, other).await, at(4), "the acknowledgement was lost");
    assert_eq!(rig.come(7, 2, 9, other).await, at(9), "what was sent after it was lost: the position follows the agent");
    assert_eq!(rig.come(7, 2, 8, other).await, (Resume::Full, 2), "a file from before that");
    assert_eq!(rig.come(7, 2, 9, other).await, (Resume::Full, 2), "and until a snapshot is complete");

    let node = rig.open("a", 7, 2, other).await;
    committed(rig.writer.write(snapshot(&node, 7, 12, entries.clone())).await.unwrap());
    assert_eq!(rig.come(7, 13, 20, other).await.0, Resume::Full, "a store brought back from a copy: acknowledged content is missing");
}

#[tokio::test]
async fn an_agent_in_sync_is_told_a_position_above_all_that_was_sent() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail)];
    committed(rig.writer.write(snapshot(&node, 7, 9, entries.clone())).await.unwrap());
    let same = digest(&entries);
    assert_eq!(rig.come(7, 2, 4, same).await, (Resume::InSync, 9), "an old file, and the same state again: it numbers on from here");
    assert_eq!(rig.come(7, 2, 4, digest(&[])).await, (Resume::Full, 2), "that file alone is no ground for changes");
    assert_eq!(rig.come(7, 2, 4, same).await, (Resume::InSync, 4), "while a snapshot is owed there is no position to keep");
    assert_eq!(rig.come(7, 4, 11, same).await, (Resume::InSync, 11), "sent and lost");
    assert_eq!(rig.come(8, 0, 3, same).await, (Resume::InSync, 3), "another spool has numbers of its own");
    assert_eq!(rig.number("select seq from nodes").await, 0, "which it may never hear: nothing is taken as known to it");
    assert_eq!(rig.come(8, 0, 3, digest(&[])).await, (Resume::Full, 0));
}

/// A repair within a session keeps what comes meanwhile; it once kept the position too, and a file from before the repair then met the
/// position it knew, with other content behind it.
#[tokio::test]
async fn half_a_repair_leaves_no_position_that_an_older_file_could_meet() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    committed(rig.writer.write(snapshot(&node, 7, 1, vec![finding("c", "s", Verdict::Fail)])).await.unwrap());
    let mut change = delta(&node, 7, 2, vec![finding("c", "s", Verdict::Pass)]);
    change.progress = Progress::Partial;
    committed(rig.writer.write(change).await.unwrap());
    assert_eq!(rig.come(7, 1, 1, digest(&[finding("c", "t", Verdict::Fail)])).await.0, Resume::Full);
}

fn opaque(number: u8, key: &str, hash: u8) -> Opaque {
    Opaque { key: Key::parse(Kind::Other(number), key).unwrap(), hash: Hash([hash; 16]) }
}

#[tokio::test]
async fn entries_of_an_unknown_kind_are_kept_counted_in_the_digest_and_gone_like_others() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let keys = "select kind || ' ' || key || ' ' || substr(hash, 1, 2) from opaque order by 1";
    let kept = async || sqlx::query_scalar::<_, String>(keys).fetch_all(&rig.raw).await.unwrap();
    let mut write = delta(&node, 7, 1, vec![finding("c", "s", Verdict::Fail)]);
    write.opaque = vec![opaque(3, "future", 1), opaque(3, "future/2", 1), opaque(200, "future", 1)];
    committed(rig.writer.write(write.clone()).await.unwrap());
    assert_eq!(kept().await, ["200 future 01", "3 future 01", "3 future/2 01"]);
    rig.consistent(node.node_id).await;
    assert_eq!(rig.number("select count(*) from findings").await, 1, "none of them is a finding");
    committed(rig.writer.write(write).await.unwrap());

    let mut write = delta(&node, 7, 2, Vec::new());
    (write.opaque, write.gone) = (vec![opaque(3, "future", 2)], vec![opaque(200, "future", 0).key, opaque(9, "never was", 0).key]);
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(kept().await, ["3 future 02", "3 future/2 01"]);
    rig.consistent(node.node_id).await;

    // A snapshot keeps what is in it and nothing else.
    let mut write = snapshot(&node, 7, 3, vec![finding("c", "s", Verdict::Fail)]);
    write.opaque = vec![opaque(4, "x", 1)];
    let Progress::Snapshot { keep } = &mut write.progress else { panic!("a snapshot") };
    keep.extend([opaque(3, "future", 2).key, opaque(4, "x", 1).key]);
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(kept().await, ["3 future 02", "4 x 01"]);
    rig.consistent(node.node_id).await;

    let many = |from: usize| (from..from + MAX_OPAQUE).map(|n| opaque(5, &n.to_string(), 1)).collect::<Vec<_>>();
    let mut write = delta(&node, 7, 4, Vec::new());
    write.opaque = many(0);
    let (refused, _) = committed(rig.writer.write(write.clone()).await.unwrap());
    assert_eq!((refused.len(), refused[0].code, refused[0].kind), (2, RefusalCode::Quota, 5));
    assert_eq!(committed(rig.writer.write(write).await.unwrap()).0, refused, "told again");
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn a_known_kind_with_an_unknown_body_takes_the_place_of_what_was_known_and_back() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let known = [finding("c", "s", Verdict::Fail), inventory("kernel", "self", 1)];
    committed(rig.writer.write(delta(&node, 7, 1, known.to_vec())).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    write.opaque = known.iter().map(|entry| Opaque { key: entry.key.clone(), hash: Hash([9; 16]) }).collect();
    committed(rig.writer.write(write).await.unwrap());
    rig.consistent(node.node_id).await;
    let counts = "select (select count(*) from findings) * 100 + (select count(*) from inventory) * 10 + (select count(*) from opaque)";
    assert_eq!(rig.number(counts).await, 2);
    committed(rig.writer.write(delta(&node, 7, 3, known.to_vec())).await.unwrap());
    assert_eq!(rig.consistent(node.node_id).await, digest(&known));
    assert_eq!(rig.number(counts).await, 110);
}

#[tokio::test]
async fn a_version_that_may_know_more_forgets_what_was_opaque_and_asks_for_a_snapshot() {
    let rig = rig().await;
    let known = finding("c", "s", Verdict::Fail);
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let mut write = delta(&node, 7, 1, vec![known.clone()]);
    write.opaque = vec![opaque(3, "future", 1)];
    let (_, stored) = committed(rig.writer.write(write).await.unwrap());
    let other = rig.open("b", 1, 0, Digest::EMPTY).await;
    committed(rig.writer.write(delta(&other, 1, 1, vec![known.clone()])).await.unwrap());

    let path = rig.dir.path().join("holdfast.db");
    Store::open(&path).await.unwrap().close().await;
    assert_eq!(rig.open("a", 7, 1, stored).await.resume, Resume::InSync, "the same version knows no more");
    sqlx::query("update derived set version = '0.0.0' where name = 'opaque'").execute(&rig.raw).await.unwrap();
    Store::open(&path).await.unwrap().close().await;
    assert_eq!(rig.number("select count(*) from opaque").await, 0);
    rig.consistent(node.node_id).await;
    assert_eq!(rig.open("a", 7, 1, stored).await.resume, Resume::Full);
    assert_eq!(rig.open("b", 1, 1, digest(&[known])).await.resume, Resume::InSync, "nobody else is asked");
}

#[tokio::test]
async fn how_a_session_resumes() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail)];
    committed(rig.writer.write(snapshot(&node, 7, 4, entries.clone())).await.unwrap());
    let other = digest(&[finding("c", "s", Verdict::Pass)]);
    assert_eq!(rig.open("a", 7, 4, other).await.resume, Resume::Delta, "same epoch, same position");
    assert_eq!(rig.open("a", 9, 0, digest(&entries)).await.resume, Resume::InSync, "same digest, whatever the epoch");
    assert_eq!(rig.open("a", 9, 0, other).await.resume, Resume::Full, "it may not have heard that it was in sync");
    assert_eq!(rig.open("a", 9, 3, other).await.resume, Resume::Full, "another position");
    let owed = rig.open("a", 9, 3, other).await;
    assert_eq!(owed.resume, Resume::Full, "a snapshot is owed until one is complete");
    let mut part = delta(&owed, 9, 4, Vec::new());
    part.progress = Progress::Partial;
    committed(rig.writer.write(part).await.unwrap());
    assert_eq!(rig.open("a", 9, 4, other).await.resume, Resume::Full, "an acknowledged part is not a snapshot");
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

#[tokio::test]
async fn beyond_the_quota_entries_are_refused_and_the_rest_is_stored() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let many: Vec<Entry> = (0..20_003).map(|n| finding("c", &format!("s{n:05}"), Verdict::Pass)).collect();
    let write = delta(&node, 7, 1, many.clone());
    let (refused, stored) = committed(rig.writer.write(write.clone()).await.unwrap());
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|refusal| refusal.code == RefusalCode::Quota));
    assert_eq!(stored, digest(&many[..20_000]));
    let (again, _) = committed(rig.writer.write(write).await.unwrap());
    assert_eq!(again, refused, "a repeated message hears the same refusals");
    assert_eq!(rig.number("select count(*) from refused").await, 3);
    // Room again: accepted, and no longer noted as refused.
    let mut write = delta(&node, 7, 2, many[20_000..].to_vec());
    write.gone = many[..3].iter().map(|entry| entry.key.clone()).collect();
    let (refused, _) = committed(rig.writer.write(write).await.unwrap());
    assert_eq!(refused.len(), 0);
    assert_eq!(rig.number("select count(*) from refused").await, 0);
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn inventory_that_grows_is_held_to_the_quota_like_inventory_that_comes() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let sized =
        |n: usize, bytes: usize| Entry::inventory("container", &format!("c{n:04}"), &serde_json::json!("x".repeat(bytes)), NOW).unwrap();
    let small: Vec<Entry> = (0..400).map(|n| sized(n, 1)).collect();
    assert_eq!(committed(rig.writer.write(delta(&node, 7, 1, small)).await.unwrap()).0.len(), 0);
    let grown: Vec<Entry> = (0..400).map(|n| sized(n, 2_000)).collect();
    let (refused, stored) = committed(rig.writer.write(delta(&node, 7, 2, grown.clone())).await.unwrap());
    assert!(!refused.is_empty() && refused.iter().all(|refusal| refusal.code == RefusalCode::Quota), "{}", refused.len());
    let bytes = rig.number("select sum(octet_length(json)) from inventory").await;
    assert!(bytes <= 512 * 1024, "{bytes}");
    let kept: Vec<Entry> = grown.into_iter().filter(|entry| refused.iter().all(|refusal| refusal.key != entry.key.as_str())).collect();
    assert_eq!(stored, digest(&kept), "what outgrew the quota is not there in its old shape either");
    assert_eq!(rig.consistent(node.node_id).await, stored);
}

#[tokio::test]
async fn history_beyond_the_quota_is_counted_and_the_findings_are_what_was_said_last() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let verdict = |n: u64| if n.is_multiple_of(2) { Verdict::Pass } else { Verdict::Fail };
    let mut at = NOW;
    let tell = async |seq: u64, numbers: std::ops::Range<u64>, at: i64| {
        let last = finding("c", "s", verdict(numbers.end - 1));
        let mut write = delta(&node, 7, seq, vec![last.clone()]);
        write.at = at;
        write.transitions = numbers.map(|n| moved(n, &last, Some(verdict(n + 1)), Some(verdict(n)), at)).collect();
        committed(rig.writer.write(write).await.unwrap())
    };
    for seq in 1..=120 {
        let (refused, _) = tell(seq, seq * 100..(seq + 1) * 100, at).await;
        assert!(refused.is_empty(), "never an error to the agent");
    }
    assert_eq!(rig.number("select count(*) from transitions").await, 10_001, "and one for the finding there is");
    assert_eq!(rig.number("select collapsed_transitions from nodes").await, 1_999);
    assert_eq!(rig.number("select verdict from findings").await, 2, "the last verdict, whatever became of its history");
    // The same message again is not counted again, and after an hour there is room.
    tell(120, 12_000..12_100, at).await;
    assert_eq!(rig.number("select collapsed_transitions from nodes").await, 1_999);
    at += 60 * 60 * 1000;
    tell(121, 12_100..12_200, at).await;
    assert_eq!(rig.number("select count(*) from transitions").await, 10_101);
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn a_refused_entry_takes_what_was_stored_under_its_key_with_it() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding("c", "s", Verdict::Pass);
    committed(rig.writer.write(delta(&node, 7, 1, vec![entry.clone()])).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    let refusal = Refusal { kind: 1, key: entry.key.as_str().into(), hash: vec![1; 16], code: RefusalCode::Malformed };
    write.refused = vec![refusal.clone()];
    assert_eq!(committed(rig.writer.write(write).await.unwrap()), (vec![refusal], Digest::EMPTY));
    assert_eq!(rig.number("select count(*) from refused").await, 1);
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn an_agent_that_lost_its_spool_does_not_repeat_history() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let old = finding_at("c", "same", Verdict::Pass, NOW - 9000);
    let mut write = delta(&node, 7, 1, vec![old.clone()]);
    write.transitions = vec![moved(1, &old, None, Some(Verdict::Pass), NOW - 9000)];
    committed(rig.writer.write(write).await.unwrap());
    let (same, new) = (finding_at("c", "same", Verdict::Pass, NOW), finding_at("c", "new", Verdict::Fail, NOW));
    let mut write = delta(&node, 8, 1, vec![same.clone(), new.clone()]);
    write.transitions = vec![moved(1, &same, None, Some(Verdict::Pass), NOW), moved(2, &new, None, Some(Verdict::Fail), NOW)];
    committed(rig.writer.write(write).await.unwrap());
    let subjects: Vec<String> = sqlx::query_scalar("select subject from transitions order by at").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(subjects, ["same", "new"]);
}

/// A finding went and came back before the collector was told: its state did not change, its history did.
#[tokio::test]
async fn a_finding_that_went_and_came_back_unseen_has_both_in_its_history() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding_at("c", "s", Verdict::Pass, NOW - 9000);
    let mut write = delta(&node, 7, 1, vec![entry.clone()]);
    write.transitions = vec![moved(1, &entry, None, Some(Verdict::Pass), NOW - 9000)];
    committed(rig.writer.write(write).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    write.transitions = vec![moved(2, &entry, Some(Verdict::Pass), None, NOW - 500), moved(3, &entry, None, Some(Verdict::Pass), NOW)];
    committed(rig.writer.write(write).await.unwrap());
    let steps: Vec<(i64, i64)> =
        sqlx::query_as("select from_verdict, to_verdict from transitions order by number").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(steps, [(0, 1), (1, 0), (0, 1)]);
}

/// After a spool was lost a finding is found again, which is not new, and moves; then both are said again, as after a crash.
#[tokio::test]
async fn what_was_not_new_is_not_new_when_it_is_said_again() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding_at("c", "s", Verdict::Pass, NOW - 9000);
    let (pass, fail) = (Some(Verdict::Pass), Some(Verdict::Fail));
    let mut write = delta(&node, 7, 1, vec![entry.clone()]);
    write.transitions = vec![moved(1, &entry, None, pass, NOW - 9000)];
    committed(rig.writer.write(write).await.unwrap());
    for seq in [1, 2] {
        let mut write = delta(&node, 8, seq, Vec::new());
        write.transitions = vec![moved(11, &entry, None, pass, NOW - 500), moved(4753, &entry, pass, fail, NOW)];
        committed(rig.writer.write(write).await.unwrap());
    }
    let steps: Vec<(i64, i64)> =
        sqlx::query_as("select from_verdict, to_verdict from transitions order by rowid").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(steps, [(0, 1), (1, 2)]);
}

/// The snapshot of a new node brings what a finding came to; the history that follows begins where it began.
#[tokio::test]
async fn history_that_comes_after_its_end_is_stored_as_it_was() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding_at("c", "s", Verdict::Fail, NOW - 500);
    committed(rig.writer.write(delta(&node, 7, 1, vec![entry.clone()])).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    let (pass, fail) = (Some(Verdict::Pass), Some(Verdict::Fail));
    write.transitions = vec![moved(1, &entry, None, pass, NOW - 900), moved(2, &entry, pass, fail, NOW - 500)];
    committed(rig.writer.write(write).await.unwrap());
    let steps: Vec<(i64, i64)> =
        sqlx::query_as("select from_verdict, to_verdict from transitions order by number").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(steps, [(0, 1), (1, 2)]);
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

#[tokio::test]
async fn a_number_used_again_after_retention_has_a_higher_fence() {
    let rig = rig().await;
    let old = rig.open("old", 1, 0, Digest::EMPTY).await;
    let gone = StateChange { node_id: old.node_id, session: old.session, state: NodeState::Gone, reason: String::new(), at: NOW - 1 };
    rig.writer.write_states(vec![gone]).await.unwrap();
    rig.store.sweep(Retention { gone_nodes: 0, ..Retention::default() }, NOW).await.unwrap();
    let identity = NodeIdentity { cluster: "c".into(), uid: "new".into(), name: "new".into(), origin: Origin::Agent };
    let (agent_version, catalogue_hash, boot_id) = (String::new(), String::new(), String::new());
    let at = NOW + DAY;
    let start = SessionStart {
        identity,
        epoch: 1,
        last_acked: 0,
        sent: None,
        digest: Digest::EMPTY,
        agent_version,
        catalogue_hash,
        boot_id,
        holder: "token".into(),
        at,
    };
    let new = rig.writer.open_session(start).await.unwrap();
    assert_eq!(new.node_id, old.node_id);
    assert!(new.session > old.session, "the registry may still know the old one");
}

#[tokio::test]
async fn what_happened_in_an_outage_keeps_its_time_and_a_wrong_clock_makes_no_history() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding("c", "s", Verdict::Fail);
    let mut write = delta(&node, 7, 1, Vec::new());
    let at = |number, at| moved(number, &entry, Some(Verdict::Pass), Some(Verdict::Fail), at);
    write.transitions = vec![at(1, NOW - 3 * DAY), at(2, NOW + DAY), at(3, 0)];
    committed(rig.writer.write(write).await.unwrap());
    let times: Vec<i64> = sqlx::query_scalar("select at from transitions order by number").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(times, [NOW - 3 * DAY, NOW, NOW]);
}

#[tokio::test]
async fn retention_deletes_what_is_old_and_nothing_else() {
    let rig = rig().await;
    let stays = rig.open("stays", 1, 0, Digest::EMPTY).await;
    let goes = rig.open("goes", 2, 0, Digest::EMPTY).await;
    for (epoch, node) in [(1, &stays), (2, &goes)] {
        let entry = finding("c", "s", Verdict::Fail);
        let mut write = delta(node, epoch, 1, vec![entry.clone(), inventory("os", "self", 1)]);
        write.transitions = vec![moved(1, &entry, None, Some(Verdict::Fail), NOW)];
        committed(rig.writer.write(write).await.unwrap());
    }
    rig.store.roll_up(NOW).await.unwrap();
    rig.store.roll_up(NOW + 1).await.unwrap();
    assert_eq!(rig.number("select n * 100 + nodes_reporting * 10 + nodes_total from rollups").await, 222);
    let gone = StateChange { node_id: goes.node_id, session: goes.session, state: NodeState::Gone, reason: String::new(), at: NOW };
    rig.writer.write_states(vec![gone]).await.unwrap();

    let early = rig.store.sweep(Retention::default(), NOW + 29 * DAY).await.unwrap();
    assert_eq!((early.transitions, early.nodes), (0, 0));
    let later = rig.store.sweep(Retention::default(), NOW + 31 * DAY).await.unwrap();
    assert_eq!((later.transitions, later.nodes), (0, 1));
    for table in ["select count(*) from findings", "select count(*) from transitions", "select count(*) from counts"] {
        assert_eq!(rig.number(table).await, 1, "{table}");
    }
    let late = rig.store.sweep(Retention::default(), NOW + 91 * DAY).await.unwrap();
    assert_eq!(late.transitions, 1);
    assert_eq!(rig.number("select count(*) from findings").await, 1, "current findings have no age");
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
        migration(1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
        migration(2, "peer probes", include_str!("../migrations/sqlite/0002_peer_probes.sql")),
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
