//! The collector's side: its machine, its store behind it, and what of that can be looked into.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::ingest::Settings;
use holdfast_collector::ingest::session::{Close, Input, Moment, Output, Session};
use holdfast_collector::metrics::Metrics;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::Writer;
use holdfast_collector::store::nodes::{NodeIdentity, Origin};
use holdfast_proto::v1;
use prost::Message;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// When the first conversation begins, Unix milliseconds.
pub(crate) const START: i64 = 1_795_000_000_000;

/// Entries by kind and key, each with its hash.
pub(crate) type Entries = BTreeMap<(i64, String), String>;
/// Epoch, number, key, from, to.
pub(crate) type History = BTreeSet<(String, i64, String, i64, i64)>;

/// One node's sessions with a collector that has never seen it before.
pub(crate) struct Collector {
    runtime: Runtime,
    writer: Writer,
    rows: SqlitePool,
    machine: Option<Session>,
    /// Snapshots are granted at once.
    pub(crate) grants: bool,
    /// Why the session ended.
    pub(crate) closed: Option<Close>,
    pub(crate) now_ms: u64,
    _directory: TempDir,
}

impl Collector {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("holdfast.db");
        let (writer, rows) = runtime.block_on(async {
            let store = Store::open(&path).await.unwrap();
            let (writer, running) = store.writer(ChangeFeed::default(), Metrics::default(), Default::default());
            tokio::spawn(running);
            (writer, SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).read_only(true)).await.unwrap())
        });
        Self { runtime, writer, rows, machine: None, grants: true, closed: None, now_ms: 0, _directory: directory }
    }

    /// A stream opens.
    pub(crate) fn accept(&mut self) {
        let identity = NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "worker-1".into(), origin: Origin::Agent };
        let settings = Settings { catalogue_hash: [7; 16], ..Settings::default() };
        self.machine = Some(Session::new(identity, settings, self.moment()));
        self.closed = None;
    }

    /// Bytes of the wire arrive; the answers.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Vec<v1::CollectorMessage> {
        self.step(Input::Message(Box::new(v1::AgentMessage::decode(bytes).unwrap())))
    }

    pub(crate) fn step(&mut self, input: Input) -> Vec<v1::CollectorMessage> {
        let now = self.moment();
        let (mut inputs, mut said) = (VecDeque::from([input]), Vec::new());
        while let (Some(input), Some(machine)) = (inputs.pop_front(), &mut self.machine) {
            for output in machine.handle(input, now) {
                match output {
                    Output::Send(message) => said.push(message),
                    Output::Open(start) => {
                        let opened = self.runtime.block_on(self.writer.open_session(*start)).unwrap();
                        inputs.push_back(Input::Opened(opened, 1));
                    }
                    Output::Write(write) => {
                        let seq = write.seq;
                        inputs.push_back(Input::Written(seq, self.runtime.block_on(self.writer.write(*write)).unwrap()));
                    }
                    Output::AskGrant => inputs.push_back(if self.grants { Input::Granted } else { Input::Queued }),
                    Output::Close(why) => self.closed = Some(why),
                    _ => {}
                }
            }
        }
        said
    }

    fn moment(&self) -> Moment {
        Moment { mono_ms: self.now_ms, wall_ms: START + i64::try_from(self.now_ms).unwrap() }
    }

    pub(crate) fn entries(&self) -> Entries {
        let sql = "select 1, check_id || '/' || subject, hash from findings where origin = 'node' \
                   union all select 2, kind || '/' || name, hash from inventory";
        let rows: Vec<(i64, String, String)> = self.runtime.block_on(sqlx::query_as(sql).fetch_all(&self.rows)).unwrap();
        rows.into_iter().map(|(kind, key, hash)| ((kind, key), hash)).collect()
    }

    /// Entries of which only kind, key and hash are kept.
    pub(crate) fn opaque(&self) -> Vec<(i64, String, String)> {
        self.runtime.block_on(sqlx::query_as("select kind, key, hash from opaque").fetch_all(&self.rows)).unwrap()
    }

    /// What a digest is compared with, as stored.
    pub(crate) fn digest(&self) -> String {
        self.runtime.block_on(sqlx::query_scalar("select digest from nodes").fetch_one(&self.rows)).unwrap()
    }

    pub(crate) fn history(&self) -> History {
        let sql = "select epoch, number, check_id || '/' || subject, from_verdict, to_verdict from transitions";
        let rows: Vec<_> = self.runtime.block_on(sqlx::query_as(sql).fetch_all(&self.rows)).unwrap();
        rows.into_iter().collect()
    }

    /// What pages show of one finding: verdict, severity, title, reason.
    pub(crate) fn finding(&self, key: &str) -> (i64, i64, String, String) {
        let sql = "select verdict, severity, title, reason from findings where check_id || '/' || subject = $1";
        self.runtime.block_on(sqlx::query_as(sql).bind(key).fetch_one(&self.rows)).unwrap()
    }

    /// The document of one piece of inventory.
    pub(crate) fn document(&self, key: &str) -> String {
        let sql = "select json from inventory where kind || '/' || name = $1";
        self.runtime.block_on(sqlx::query_scalar(sql).bind(key).fetch_one(&self.rows)).unwrap()
    }
}
