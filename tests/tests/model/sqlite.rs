//! The real store behind the model: one database file, a node of its own for every history.

use std::collections::BTreeMap;

use holdfast_checks::entries::{Digest, Hash, Key};
use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::metrics::Metrics;
use holdfast_collector::store::ingest::Writer;
use holdfast_collector::store::nodes::{NodeIdentity, Origin};
use holdfast_collector::store::{Store, verdict_from};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::storage::{Content, Done, Job, Storage, Told};

/// A database with its writer.
pub(crate) struct Database {
    runtime: Runtime,
    writer: Writer,
    rows: SqlitePool,
    _directory: TempDir,
}

impl Database {
    pub(crate) fn create() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("holdfast.db");
        let (writer, rows) = runtime.block_on(async {
            let store = Store::open(&path).await.unwrap();
            let (writer, running) = store.writer(ChangeFeed::default(), Metrics::default(), Default::default());
            tokio::spawn(running);
            (writer, SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).read_only(true)).await.unwrap())
        });
        Self { runtime, writer, rows, _directory: directory }
    }
}

/// One node of it.
pub(crate) struct Sqlite<'a> {
    database: &'a Database,
    uid: String,
}

impl<'a> Sqlite<'a> {
    pub(crate) fn new(database: &'a Database, node: u32) -> Self {
        Self { database, uid: format!("node-{node}") }
    }
}

impl Storage for Sqlite<'_> {
    fn identity(&self) -> NodeIdentity {
        NodeIdentity { cluster: "c".into(), uid: self.uid.clone(), name: "n".into(), origin: Origin::Agent }
    }

    fn commit(&mut self, jobs: Vec<Job>) -> Vec<Done> {
        let writer = &self.database.writer;
        self.database.runtime.block_on(async {
            let mut done = Vec::new();
            let mut waiting = Vec::new();
            for job in jobs {
                match job {
                    Job::Write(write) => waiting.push((write.seq, writer.submit(*write).await.unwrap())),
                    Job::Open(start) => {
                        for (seq, answer) in waiting.drain(..) {
                            done.push(Done::Written(seq, answer.await.unwrap()));
                        }
                        done.push(Done::Opened(writer.open_session(*start).await.unwrap()));
                    }
                }
            }
            for (seq, answer) in waiting {
                done.push(Done::Written(seq, answer.await.unwrap()));
            }
            done
        })
    }

    fn content(&self) -> Content {
        let (rows, uid) = (&self.database.rows, &self.uid);
        self.database.runtime.block_on(async {
            let head = "select node_id, digest, truncated_transitions from nodes where uid = $1";
            let head: Option<(i64, String, i64)> = sqlx::query_as(head).bind(uid).fetch_optional(rows).await.unwrap();
            let Some((node, digest, truncated)) = head else {
                return Content { entries: BTreeMap::new(), digest: Digest::EMPTY, history: BTreeMap::new(), truncated: 0 };
            };
            let entries = "select check_id, subject, hash, 1 from findings where node_id = $1 and origin = 'node' \
                           union all select kind, name, hash, 2 from inventory where node_id = $1";
            let entries: Vec<(String, String, String, i64)> = sqlx::query_as(entries).bind(node).fetch_all(rows).await.unwrap();
            let entries = entries.into_iter().map(|(first, rest, hash, kind)| {
                let key = if kind == 1 { Key::finding(&first, &rest) } else { Key::inventory(&first, &rest) };
                (key, Hash(u128::from_str_radix(&hash, 16).unwrap().to_be_bytes()))
            });
            let entries = entries.collect();
            let history = "select epoch, number, check_id, subject, from_verdict, to_verdict from transitions where node_id = $1";
            let history: Vec<(String, i64, String, String, i64, i64)> = sqlx::query_as(history).bind(node).fetch_all(rows).await.unwrap();
            let history = history.into_iter().map(|(epoch, number, check, subject, from, to)| {
                let id = (u64::from_str_radix(&epoch, 16).unwrap(), u64::try_from(number).unwrap());
                (id, Told { key: Key::finding(&check, &subject), from: verdict_from(from), to: verdict_from(to) })
            });
            let digest = Digest::from_slice(&u128::from_str_radix(&digest, 16).unwrap().to_le_bytes()).unwrap();
            Content { entries, digest, history: history.collect(), truncated: u64::try_from(truncated).unwrap() }
        })
    }

    fn has(&self, _: u64, _: u64) -> Option<bool> {
        None
    }

    fn refuses(&self, _: &Key, _: &Hash) -> bool {
        false
    }
}
