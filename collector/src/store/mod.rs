//! The store: all SQL lives here, one file per table family.
//!
//! SQLite in WAL mode with `synchronous=FULL`, one writer connection and a pool of readers; statements stay portable
//! (see the migration). An acknowledgement means that [`Store`] has committed. Must not know the wire, HTTP or pages.

mod alerts;
pub mod changes;
mod fleet;
pub mod ingest;
pub mod nodes;
pub mod retention;
pub mod views;

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_checks::entries::{Severity, Verdict};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr, SqlStr};

pub use alerts::Delivery;
pub use fleet::JudgedNode;

/// How long a statement waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers for pages and the API.
const READERS: u32 = 4;

/// A database open for work.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
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
    #[error("migrate database {path}")]
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
    /// [`StoreError::Open`] or [`StoreError::Migrate`], with the path.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(failed)?;
        let migrated = migrator().run(&writer).await;
        migrated.map_err(|source| StoreError::Migrate { path: path.to_owned(), source })?;
        let reader = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await.map_err(failed)?;
        Ok(Self { writer, reader })
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
    Migrator::with_migrations(vec![Migration::new(1, "initial".into(), MigrationType::Simple, initial, false)])
}

/// A verdict as stored: the number of `holdfast.v1`.
pub fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Pass => 1,
        Verdict::Fail => 2,
        Verdict::NotApplicable => 3,
        Verdict::Unknown => 4,
        Verdict::Manual => 5,
    }
}

/// Reads a stored verdict; `None` for 0, which stands for no finding, and for what no version writes.
pub fn verdict_from(number: i64) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|verdict| verdict_number(*verdict) == number)
}

/// A severity as stored: the number of `holdfast.v1`.
pub fn severity_number(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

/// Reads a stored severity.
pub fn severity_from(number: i64) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity_number(*severity) == number)
}
