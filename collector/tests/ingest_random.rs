//! The store under random and hostile circumstances: whatever is written in whatever order, the counts are those of the
//! findings and the digest is that of the rows; a full disk acknowledges nothing that is not there.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::print_stderr,
    reason = "a test may fail"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_checks::entries::{Digest, Entry, Evidence, Finding, Hash, Key, Severity, Transition, Verdict};
use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::metrics::Metrics;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::{NodeWrite, Progress, Refusal, RefusalCode, Writer, Written};
use holdfast_collector::store::nodes::{NodeIdentity, NodeState, Opened, Origin, SessionStart, StateChange};
use holdfast_collector::store::retention::Retention;
use proptest::prelude::*;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const NOW: i64 = 1_800_000_000_000;

struct Rig {
    store: Store,
    writer: Writer,
    raw: SqlitePool,
    metrics: Metrics,
}

impl Rig {
    async fn at(dir: &Path) -> Self {
        let path = dir.join("holdfast.db");
        let store = Store::open(&path).await.unwrap();
        let metrics = Metrics::default();
        let (writer, running) = store.writer(ChangeFeed::default(), metrics.clone(), tokio_util::sync::CancellationToken::new());
        tokio::spawn(running);
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
        Self { store, writer, raw, metrics }
    }

    async fn recovers(&self) {
        let waiting = async {
            while self.writer.failing().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), waiting).await.expect("there is room again");
    }

    async fn open(&self, epoch: u64) -> Opened {
        let identity = NodeIdentity { cluster: "c".into(), uid: "uid".into(), name: "n".into(), origin: Origin::Agent };
        let (agent_version, catalogue_hash, boot_id) = (String::new(), String::new(), String::new());
        let (digest, last_acked, at) = (Digest::EMPTY, 0, NOW);
        let start = SessionStart {
            identity,
            epoch,
            last_acked,
            sent: None,
            digest,
            agent_version,
            catalogue_hash,
            boot_id,
            holder: "token".into(),
            at,
        };
        self.writer.open_session(start).await.unwrap()
    }

    async fn goes(&self, node: &Opened) {
        let change =
            StateChange { node_id: node.node_id, session: node.session, state: NodeState::Gone, reason: String::new(), at: NOW - 1 };
        self.writer.write_states(vec![change]).await.unwrap();
    }

    /// Every count equals the findings it counts; every node's digest is that of its rows; nothing is without a node.
    async fn consistent(&self) {
        let counted = "select node_id, check_id, severity, verdict, sum(1) from findings group by 1, 2, 3, 4 order by 1, 2, 3, 4";
        let kept = "select node_id, check_id, severity, verdict, sum(n) from counts group by 1, 2, 3, 4 order by 1, 2, 3, 4";
        let rows = async |sql: &'static str| sqlx::query_as::<_, (i64, String, i64, i64, i64)>(sql).fetch_all(&self.raw).await.unwrap();
        assert_eq!(rows(kept).await, rows(counted).await, "counts are not those of the findings");
        let nodes: Vec<(i64, String)> = sqlx::query_as("select node_id, digest from nodes").fetch_all(&self.raw).await.unwrap();
        for (node_id, stored) in &nodes {
            let mut digest = Digest::EMPTY;
            let sql = "select check_id, subject, hash from findings where node_id = $1 and origin = 'node'";
            let rows: Vec<(String, String, String)> = sqlx::query_as(sql).bind(node_id).fetch_all(&self.raw).await.unwrap();
            for (check, subject, hash) in rows {
                digest.add(&Key::finding(&check, &subject), &Hash(u128::from_str_radix(&hash, 16).unwrap().to_be_bytes()));
            }
            assert_eq!(*stored, digest.to_string(), "the digest is not that of the rows");
        }
        let orphans = "select count(*) from findings where node_id not in (select node_id from nodes)";
        assert_eq!(sqlx::query_scalar::<_, i64>(orphans).fetch_one(&self.raw).await.unwrap(), 0, "findings without a node");
    }
}

fn finding(check: &str, subject: &str, verdict: Verdict, severity: Severity) -> Entry {
    let evidence = vec![Evidence { path: "p".into(), value: Some(serde_json::json!(1)), source: "flag".into(), at: NOW }];
    let (title, reason) = ("t".into(), String::new());
    let (check, subject, evidence_truncated) = (check.into(), subject.into(), false);
    Entry::finding(Finding { check, subject, verdict, reason, severity, title, evidence, evidence_truncated }, NOW - 1000)
}

fn write(node: &Opened, epoch: u64, seq: u64, upserts: Vec<Entry>) -> NodeWrite {
    NodeWrite { upserts, ..NodeWrite::delta(node, epoch, seq, NOW) }
}

type Cell = (u8, u8, usize, usize);

#[derive(Debug, Clone)]
enum Step {
    Delta(Vec<Cell>, Vec<(u8, u8)>, bool),
    Snapshot(Vec<Cell>),
    Refused(u8, u8),
    Judged(Vec<Cell>),
    Reopen,
    OldSession(Vec<Cell>),
    Repeat,
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let cell = || (0_u8..4, 0_u8..4, 0_usize..5, 0_usize..5);
    let cells = move || prop::collection::vec(cell(), 0..6);
    prop_oneof![
        4 => (cells(), prop::collection::vec((0_u8..4, 0_u8..4), 0..4), any::<bool>()).prop_map(|(a, b, c)| Step::Delta(a, b, c)),
        3 => cells().prop_map(Step::Snapshot),
        1 => (0_u8..4, 0_u8..4).prop_map(|(check, subject)| Step::Refused(check, subject)),
        3 => cells().prop_map(Step::Judged),
        1 => Just(Step::Reopen),
        1 => cells().prop_map(Step::OldSession),
        1 => Just(Step::Repeat),
        1 => Just(Step::Sweep),
    ]
}

fn entries(cells: &[Cell]) -> Vec<Entry> {
    let entry = |(check, subject, verdict, severity): &Cell| {
        finding(&format!("check-{check}"), &format!("s{subject}"), Verdict::ALL[*verdict], Severity::ALL[*severity])
    };
    cells.iter().map(entry).collect()
}

async fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::at(dir.path()).await;
    let (mut epoch, mut seq) = (1, 0);
    let mut node = rig.open(epoch).await;
    let mut last = write(&node, epoch, seq, Vec::new());
    for step in steps {
        seq += 1;
        match step {
            Step::Delta(cells, gone, partial) => {
                let gone = gone.iter().map(|(check, subject)| Key::finding(&format!("check-{check}"), &format!("s{subject}")));
                let progress = if partial { Progress::Partial } else { Progress::Delta };
                last = NodeWrite { gone: gone.collect(), progress, ..write(&node, epoch, seq, entries(&cells)) };
                rig.writer.write(last.clone()).await.unwrap();
            }
            Step::Snapshot(cells) => {
                let entries = entries(&cells);
                let keep: BTreeSet<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
                last = NodeWrite { progress: Progress::Snapshot { keep }, ..write(&node, epoch, seq, entries) };
                rig.writer.write(last.clone()).await.unwrap();
            }
            Step::Refused(check, subject) => {
                let key = Key::finding(&format!("check-{check}"), &format!("s{subject}")).as_str().to_owned();
                let refusal = Refusal { kind: 1, key, hash: vec![7; 16], code: RefusalCode::TooLarge };
                last = NodeWrite { refused: vec![refusal], ..write(&node, epoch, seq, Vec::new()) };
                rig.writer.write(last.clone()).await.unwrap();
            }
            Step::Judged(cells) => {
                let judged = (0..4).map(|check| format!("check-{check}")).collect();
                let mut entries = entries(&cells);
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                entries.dedup_by(|a, b| a.key == b.key);
                rig.store.replace_judged(node.node_id, &judged, &entries, &[], NOW).await.unwrap();
            }
            Step::Reopen => {
                (epoch, seq) = (epoch + 1, 0);
                node = rig.open(epoch).await;
            }
            Step::OldSession(cells) => {
                let old = Opened { session: node.session - 1, ..node.clone() };
                assert_eq!(rig.writer.write(write(&old, epoch, seq, entries(&cells))).await.unwrap(), Written::Fenced);
            }
            Step::Repeat => drop(rig.writer.write(last.clone()).await.unwrap()),
            Step::Sweep => {
                rig.goes(&node).await;
                rig.store.sweep(Retention { gone_nodes: 0, ..Retention::default() }, NOW).await.unwrap();
                rig.consistent().await;
                (epoch, seq) = (epoch + 1, 0);
                node = rig.open(epoch).await;
            }
        }
        rig.consistent().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_and_digest_never_drift_from_the_rows(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}

/// Retention once deleted a gone node's findings in several transactions: one that came back in between kept a digest and
/// counts of rows that were no longer there, was told it was in sync, and never sent them again.
#[tokio::test]
async fn a_node_that_comes_back_while_retention_deletes_it_keeps_its_findings() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::at(dir.path()).await;
    let node = rig.open(1).await;
    let entry = finding("check", "s", Verdict::Fail, Severity::High);
    let key = entry.key.clone();
    let mut delta = write(&node, 1, 1, vec![entry]);
    let (from, to, because) = (None, Some(Verdict::Fail), String::new());
    delta.transitions = vec![Transition { number: 1, key, from, to, reason: String::new(), severity: Severity::High, because, at: NOW }];
    rig.writer.write(delta).await.unwrap();
    rig.goes(&node).await;
    // It comes back after the first chunk of its history went.
    let back = "create trigger back after delete on transitions begin update nodes set state = 'connected'; end";
    sqlx::query(back).execute(&rig.raw).await.unwrap();
    let swept = rig.store.sweep(Retention { gone_nodes: 0, ..Retention::default() }, NOW).await.unwrap();
    assert_eq!(swept.nodes, 0);
    let left = sqlx::query_scalar::<_, i64>("select count(*) from findings").fetch_one(&rig.raw).await.unwrap();
    assert_eq!(left, 1);
    rig.consistent().await;
}

/// Runs an ignored test in a mount namespace with a file system of four megabytes, where the system lets us have one.
fn on_small_disk(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m none \"$0\" && HOLDFAST_SMALL_DISK=\"$0\" exec \"$1\" --exact --ignored --nocapture \"$2\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(dir.path());
    command.arg(std::env::current_exe().unwrap()).arg(test);
    let possible = std::process::Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not tested: this system gives no user namespace to mount a small file system in");
        return;
    }
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn small_disk() -> PathBuf {
    std::env::var("HOLDFAST_SMALL_DISK").expect("the directory of a small file system").into()
}

fn mount(arguments: &[&str], path: &Path) {
    let (program, arguments) = arguments.split_first().unwrap();
    assert!(std::process::Command::new(program).args(arguments).arg(path).status().unwrap().success(), "{program} {arguments:?}");
}

/// A file that leaves less than `left` bytes.
fn fill(dir: &Path, left: usize) -> PathBuf {
    use std::io::Write;
    let path = dir.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(left as u64)).unwrap();
    path
}

fn many(seq: u64) -> Vec<Entry> {
    (0..50).map(|n| finding("check", &format!("{seq}-{n}"), Verdict::Fail, Severity::High)).collect()
}

#[test]
fn a_full_disk_is_said_acknowledges_nothing_false_and_recovers() {
    on_small_disk("on_a_small_disk");
}

#[test]
fn a_disk_that_becomes_read_only_is_said_and_recovers_by_itself() {
    on_small_disk("on_a_disk_that_becomes_read_only");
}

#[test]
fn a_store_is_not_opened_on_a_read_only_disk_and_opens_where_there_is_no_room() {
    on_small_disk("at_start");
}

#[test]
fn the_log_grows_while_it_must_and_is_cut_afterwards() {
    on_small_disk("beside_a_reader_that_holds_on");
}

#[tokio::test]
#[ignore = "started by a_full_disk_is_said_acknowledges_nothing_false_and_recovers on a small file system"]
async fn on_a_small_disk() {
    let dir = small_disk();
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1; 2 * 1024 * 1024]).unwrap();
    let rig = Rig::at(&dir).await;
    let node = rig.open(1).await;
    let (mut acknowledged, mut failures, mut seq) = (0, Vec::new(), 0);
    // Many at once, so that groups fail too, and on after the first failure.
    while failures.len() < 20 {
        assert!(seq < 2000, "the disk never was full");
        let mut answers = Vec::new();
        for _ in 0..4 {
            seq += 1;
            answers.push(rig.writer.submit(write(&node, 1, seq, many(seq))).await.unwrap());
        }
        for answer in answers {
            match answer.await {
                Ok(Written::Committed { .. }) => acknowledged += 50,
                Ok(Written::Fenced) => panic!("fenced"),
                Err(error) => failures.push(error),
            }
        }
    }
    let said = std::error::Error::source(&failures[0]).map(ToString::to_string).unwrap_or_default();
    assert!(said.contains("full"), "{said}");
    let stored = async || sqlx::query_scalar::<_, i64>("select count(*) from findings").fetch_one(&rig.raw).await.unwrap();
    assert_eq!(stored().await, acknowledged, "stored and acknowledged");
    assert_eq!(rig.writer.under_way(), 0, "everything was answered");
    let reason = rig.writer.failing().expect("it is said");
    assert!(reason.contains("full"), "{reason}");
    assert_eq!(rig.store.health().failing(), Some(reason));
    let metrics = rig.metrics.encode();
    assert!(metrics.contains("holdfast_collector_store_failing 1") && !metrics.contains("failed_commits_total 0"), "{metrics}");
    // No agent says anything: the store finds out by itself, and not before there is room.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(rig.writer.failing().is_some());
    std::fs::remove_file(&filler).unwrap();
    rig.recovers().await;
    assert!(rig.metrics.encode().contains("holdfast_collector_store_failing 0"));
    assert_eq!(sqlx::query_scalar::<_, i64>("select count(*) from room").fetch_one(&rig.raw).await.unwrap(), 0, "nothing is left");
    for _ in 0..3 {
        seq += 1;
        let written = rig.writer.write(write(&node, 1, seq, many(seq))).await.expect("there is room again");
        assert!(matches!(written, Written::Committed { .. }));
        acknowledged += 50;
    }
    assert_eq!(stored().await, acknowledged, "stored and acknowledged");
    rig.consistent().await;
}

/// The file system turns read-only under connections that are opened from then on, as after an error of the disk.
#[tokio::test]
#[ignore = "started by a_disk_that_becomes_read_only_is_said_and_recovers_by_itself on a small file system"]
async fn on_a_disk_that_becomes_read_only() {
    let (disk, data, aside) = (small_disk(), small_disk().join("data"), small_disk().join("aside"));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&aside).unwrap();
    let rig = Rig::at(&data).await;
    let node = rig.open(1).await;
    rig.writer.write(write(&node, 1, 1, many(1))).await.unwrap();
    let filler = fill(&disk, 16 * 1024);
    let mut seq = 1;
    while rig.writer.failing().is_none() {
        seq += 1;
        assert!(seq < 100, "the disk never was full");
        rig.writer.write(write(&node, 1, seq, many(seq))).await.ok();
    }
    // Read-only before it is in its place: a file opened for writing in between would keep it as it is.
    mount(&["mount", "--bind", data.to_str().unwrap()], &aside);
    mount(&["mount", "-o", "remount,bind,ro"], &aside);
    mount(&["mount", "--bind", aside.to_str().unwrap()], &data);
    std::fs::remove_file(&filler).unwrap();
    let waiting = async {
        while rig.writer.failing().is_none_or(|reason| !reason.contains("readonly")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), waiting).await.expect("read-only is said");
    let stored = sqlx::query_scalar::<_, i64>("select count(*) from findings").fetch_one(&rig.raw).await.unwrap();
    assert!(stored >= 50, "what is stored is still read");
    mount(&["umount", "--lazy"], &data);
    rig.recovers().await;
    let node = rig.open(2).await;
    let written = rig.writer.write(write(&node, 2, 1, many(1))).await.expect("it can be written again");
    assert!(matches!(written, Written::Committed { .. }));
    rig.consistent().await;
}

#[tokio::test]
#[ignore = "started by a_store_is_not_opened_on_a_read_only_disk_and_opens_where_there_is_no_room on a small file system"]
async fn at_start() {
    let dir = small_disk();
    let path = dir.join("holdfast.db");
    let said = async || {
        let error = Store::open(&path).await.expect_err("it cannot be written");
        format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
    };
    let filler = fill(&dir, 8 * 1024);
    let text = said().await;
    assert!(text.contains("holdfast.db") && text.contains("room"), "{text}");
    std::fs::remove_file(&filler).unwrap();

    let rig = Rig::at(&dir).await;
    let node = rig.open(1).await;
    rig.writer.write(write(&node, 1, 1, many(1))).await.unwrap();
    rig.raw.close().await;
    rig.store.close().await;
    let filler = fill(&dir, 48 * 1024);
    let store = Store::open(&path).await.expect("what is stored can be shown, even if nothing can be added");
    assert_eq!(store.known_nodes().await.unwrap().len(), 1);
    store.close().await;
    std::fs::remove_file(&filler).unwrap();

    mount(&["mount", "-o", "remount,ro"], &dir);
    let text = said().await;
    assert!(text.contains("holdfast.db") && text.contains("writable"), "{text}");
}

#[tokio::test]
#[ignore = "started by the_log_grows_while_it_must_and_is_cut_afterwards on a small file system"]
async fn beside_a_reader_that_holds_on() {
    let dir = small_disk();
    mount(&["mount", "-o", "remount,size=96m"], &dir);
    let rig = Rig::at(&dir).await;
    let node = rig.open(1).await;
    let mut reader = rig.raw.begin().await.unwrap();
    let before: i64 = sqlx::query_scalar("select count(*) from findings").fetch_one(&mut *reader).await.unwrap();
    let length = || std::fs::metadata(dir.join("holdfast.db-wal")).unwrap().len();
    let mut seq = 0;
    while length() < 20 * 1024 * 1024 {
        seq += 1;
        rig.writer.write(write(&node, 1, seq, many(seq))).await.unwrap();
    }
    let still: i64 = sqlx::query_scalar("select count(*) from findings").fetch_one(&mut *reader).await.unwrap();
    assert_eq!(before, still, "the reader sees one moment");
    reader.rollback().await.unwrap();
    // The first writes it all into the database, the next begins anew.
    for _ in 0..3 {
        seq += 1;
        rig.writer.write(write(&node, 1, seq, many(seq))).await.unwrap();
    }
    assert!(length() <= 16 * 1024 * 1024, "{}", length());
    rig.consistent().await;
}
