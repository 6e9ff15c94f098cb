//! The store: all SQL lives here, one file per table family.
//!
//! SQLite in WAL mode with `synchronous=FULL`, one writer connection and a pool of readers; statements stay portable
//! (see the migration). An acknowledgement means that [`Store`] has committed. Must not know the wire, HTTP or pages.

mod alerts;
mod breaches;
pub mod chain;
pub mod changes;
mod codes;
pub mod containers;
mod delivery;
pub mod enrolled;
pub mod expectations;
mod fleet;
mod health;
pub mod ingest;
pub mod membership;
pub mod nodes;
mod opaque;
pub mod peers;
pub mod policy;
mod refused;
pub mod retention;
pub mod views;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlSafeStr, SqlStr};

pub use alerts::Delivery;
pub use codes::{severity_from, severity_number, severity_of, verdict_from, verdict_number};
pub use fleet::{JudgedNode, Standing};
pub use health::Health;

/// How long a statement waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of the database that the writer keeps in memory, and each reader: 16 and 2 MiB, in the engine's notation of KiB. What a reader
/// does not have the system has; and each would have the same.
const CACHES: (&str, &str) = ("-16384", "-2048");
/// How large the write-ahead log may stay once all of it is in the database, in bytes. It grows while a reader holds on, or while there
/// is no room for the database to grow.
const LOG_BYTES: &str = "16777216";
/// Readers for pages and the API.
const READERS: u32 = 4;

/// A database open for work.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
    health: Health,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file cannot be opened or created.
    #[error("open database {path}: check that the directory exists and is writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// The engine's words.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("bring database {path} up to date: check that its disk has room and that the directory is writable")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// The engine's words.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("{operation}")]
    Query {
        /// What was being done, `upsert findings`.
        operation: &'static str,
        /// The engine's words.
        #[source]
        source: sqlx::Error,
    },
    /// The writer has ended: the collector is stopping.
    #[error("the store is closed: the collector is stopping")]
    Stopped,
    /// A stored value is not what this version writes.
    #[error("{operation}: stored value is malformed: {problem}")]
    Malformed {
        /// What was being read.
        operation: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl StoreError {
    /// Names the operation of a failed statement: `.map_err(StoreError::query("read nodes"))`.
    pub(crate) fn query(operation: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Query { operation, source }
    }
}

impl Store {
    /// Opens the database at `path`, creates it when absent, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Migrate`], with the path; [`StoreError::Query`] when what follows from the rest cannot
    /// be made.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", CACHES.0)
            .pragma("journal_size_limit", LOG_BYTES);
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        // SQLite rolls back by itself when the disk is full; the library then takes every later transaction for a nested one and
        // refuses it. Such a connection is replaced.
        let writer = SqlitePoolOptions::new().max_connections(1).before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        });
        let writer = writer.connect_with(options.clone()).await.map_err(failed)?;
        let migrated = migrator().run(&writer).await;
        migrated.map_err(|source| StoreError::Migrate { path: path.to_owned(), source })?;
        let reading = options.read_only(true).pragma("cache_size", CACHES.1);
        let reader = SqlitePoolOptions::new().max_connections(READERS).connect_with(reading).await.map_err(failed)?;
        let store = Self { writer, reader, health: Health::default() };
        store.derive_containers().await?;
        store.derive_expectations().await?;
        store.forget_opaque().await?;
        Ok(store)
    }

    /// Whether it commits.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// The schema's history. A migration that has landed is never edited.
fn migrator() -> Migrator {
    let initial: SqlStr = include_str!("../../migrations/sqlite/0001_initial.sql").into_sql_str();
    let peer_probes: SqlStr = include_str!("../../migrations/sqlite/0002_peer_probes.sql").into_sql_str();
    let containers: SqlStr = include_str!("../../migrations/sqlite/0003_containers.sql").into_sql_str();
    let expectations: SqlStr = include_str!("../../migrations/sqlite/0004_expectations.sql").into_sql_str();
    let chain: SqlStr = include_str!("../../migrations/sqlite/0005_chain.sql").into_sql_str();
    let policy: SqlStr = include_str!("../../migrations/sqlite/0006_policy.sql").into_sql_str();
    let opaque: SqlStr = include_str!("../../migrations/sqlite/0007_opaque.sql").into_sql_str();
    let delivery: SqlStr = include_str!("../../migrations/sqlite/0008_delivery.sql").into_sql_str();
    let identity: SqlStr = include_str!("../../migrations/sqlite/0009_identity.sql").into_sql_str();
    let whole: SqlStr = include_str!("../../migrations/sqlite/0010_whole.sql").into_sql_str();
    Migrator::with_migrations(vec![
        Migration::new(1, "initial".into(), MigrationType::Simple, initial, false),
        Migration::new(2, "peer probes".into(), MigrationType::Simple, peer_probes, false),
        Migration::new(3, "containers".into(), MigrationType::Simple, containers, false),
        Migration::new(4, "expectations".into(), MigrationType::Simple, expectations, false),
        Migration::new(5, "chain".into(), MigrationType::Simple, chain, false),
        Migration::new(6, "policy".into(), MigrationType::Simple, policy, false),
        Migration::new(7, "opaque".into(), MigrationType::Simple, opaque, false),
        Migration::new(8, "delivery".into(), MigrationType::Simple, delivery, false),
        Migration::new(9, "identity".into(), MigrationType::Simple, identity, false),
        Migration::new(10, "whole".into(), MigrationType::Simple, whole, false),
    ])
}
