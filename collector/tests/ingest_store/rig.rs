//! A store with one writer, and what agents would write into it.

use holdfast_checks::entries::{Digest, Entry, Evidence, Finding, Hash, Key, Kind, Severity, State, Transition, Verdict};
use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::metrics::Metrics;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::{NodeWrite, Progress, Refusal, Writer, Written};
use holdfast_collector::store::nodes::{NodeIdentity, Opened, Origin, Resume, SessionStart};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

pub(crate) const NOW: i64 = 1_800_000_000_000;
pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) feed: ChangeFeed,
    pub(crate) raw: SqlitePool,
}

pub(crate) async fn rig() -> Rig {
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
    pub(crate) async fn open(&self, name: &str, epoch: u64, last_acked: u64, digest: Digest) -> Opened {
        self.open_as(name, epoch, (last_acked, None), digest).await
    }

    /// An agent that numbers from where it is told to.
    pub(crate) async fn come(&self, epoch: u64, last_acked: u64, sent: u64, digest: Digest) -> (Resume, u64) {
        let opened = self.open_as("a", epoch, (last_acked, Some(sent)), digest).await;
        (opened.resume, opened.position)
    }

    pub(crate) async fn open_as(&self, name: &str, epoch: u64, position: (u64, Option<u64>), digest: Digest) -> Opened {
        self.writer.open_session(start(name, epoch, position, digest)).await.unwrap()
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.raw).await.unwrap()
    }

    pub(crate) async fn hashes(&self, sql: &'static str, node_id: i64) -> Vec<(String, String, String)> {
        sqlx::query_as(sql).bind(node_id).fetch_all(&self.raw).await.unwrap()
    }

    pub(crate) async fn counts(&self, sql: &'static str, node_id: i64) -> Vec<(String, i64, i64, String, i64)> {
        sqlx::query_as(sql).bind(node_id).fetch_all(&self.raw).await.unwrap()
    }

    /// Counts kept beside the findings equal counting them, and the digest equals adding up what is stored.
    pub(crate) async fn consistent(&self, node_id: i64) -> Digest {
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

pub(crate) fn start(name: &str, epoch: u64, (last_acked, sent): (u64, Option<u64>), digest: Digest) -> SessionStart {
    let identity = NodeIdentity { cluster: "c".into(), uid: format!("uid-{name}"), name: name.into(), origin: Origin::Agent };
    let (agent_version, catalogue_hash, boot_id) = ("0.1.0".into(), "ab".into(), "boot".into());
    SessionStart { identity, epoch, last_acked, sent, digest, agent_version, catalogue_hash, boot_id, holder: "token".into(), at: NOW }
}

pub(crate) fn hash_of(text: &str) -> Hash {
    Hash(u128::from_str_radix(text, 16).unwrap().to_be_bytes())
}

pub(crate) fn finding(check: &str, subject: &str, verdict: Verdict) -> Entry {
    finding_at(check, subject, verdict, NOW - 1000)
}

pub(crate) fn finding_at(check: &str, subject: &str, verdict: Verdict, at: i64) -> Entry {
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

pub(crate) fn inventory(kind: &str, name: &str, value: i64) -> Entry {
    Entry::inventory(kind, name, &serde_json::json!({ "value": value }), NOW).unwrap()
}

pub(crate) fn moved(number: u64, entry: &Entry, from: Option<Verdict>, to: Option<Verdict>, at: i64) -> Transition {
    let because = "readOnlyPort = 10255 (flag)".into();
    Transition { number, key: entry.key.clone(), from, to, reason: String::new(), severity: Severity::High, because, at }
}

pub(crate) fn delta(opened: &Opened, epoch: u64, seq: u64, upserts: Vec<Entry>) -> NodeWrite {
    NodeWrite { upserts, ..NodeWrite::delta(opened, epoch, seq, NOW) }
}

pub(crate) fn snapshot(opened: &Opened, epoch: u64, seq: u64, entries: Vec<Entry>) -> NodeWrite {
    let keep = entries.iter().map(|entry| entry.key.clone()).collect();
    NodeWrite { progress: Progress::Snapshot { keep }, ..delta(opened, epoch, seq, entries) }
}

pub(crate) fn digest(entries: &[Entry]) -> Digest {
    let mut state = State::default();
    entries.iter().cloned().for_each(|entry| state.upsert(entry));
    state.digest()
}

pub(crate) fn committed(written: Written) -> (Vec<Refusal>, Digest) {
    match written {
        Written::Committed { refused, digest, .. } => (refused, digest),
        Written::Fenced => panic!("fenced"),
    }
}
