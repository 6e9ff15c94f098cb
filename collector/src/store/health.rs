//! Whether the store commits, and since it does not, why: the writer says it, readiness, pages and sessions ask.
//!
//! A full or read-only disk is a state of the collector and no reason to end: everything that only reads goes on. It is left only by a
//! write of some size that was made durable; small ones often still fit where the next message does not. Must not know who asks.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::error::DatabaseError;
use sqlx::{Connection, SqliteConnection};

use super::StoreError;
use crate::logs::cause;
use crate::metrics::Metrics;

/// What is written to see whether there is room: more than a group of messages of usual size.
const ROOM_BYTES: i64 = 256 * 1024;

/// The state of the store. Cloned freely.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// Why nothing can be committed at present; `None` when all is well.
    pub fn failing(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A commit failed for a reason that lies in the store. Said once, until it commits again.
    pub(super) fn failed(&self, error: &StoreError, metrics: &Metrics) {
        let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(format!("{error}{source}"));
        if before.is_none() {
            metrics.store_failing(true);
            tracing::error!(
                error = cause(error),
                "the store cannot commit: nothing is acknowledged, agents keep what they have and come back; pages show what is stored. \
                 Make room or make the data directory writable: it is tried again every few seconds"
            );
        }
    }

    /// A write of some size was committed.
    pub(super) fn recovered(&self, metrics: &Metrics) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            metrics.store_failing(false);
            tracing::info!("the store commits again");
        }
    }
}

/// Does the reason lie in the store, and not in what was to be written.
pub(super) fn is_of_the_store(error: &StoreError) -> bool {
    let StoreError::Query { source, .. } = error else { return false };
    // SQLite's result codes for what is wrong with a value: TOOBIG, CONSTRAINT, MISMATCH, RANGE.
    let primary =
        source.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse::<i64>().ok()).map(|code| code & 0xff);
    !matches!(primary, Some(18 | 19 | 20 | 25))
}

/// Writes as much as a group of messages would take, durably, and takes it back.
pub(super) async fn try_room(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = || StoreError::query("see whether there is room");
    let mut transaction = conn.begin_with("begin immediate").await.map_err(failed())?;
    let clear = "delete from room";
    sqlx::query(clear).execute(&mut *transaction).await.map_err(failed())?;
    let fill = sqlx::query("insert into room (filler) values (zeroblob($1))").bind(ROOM_BYTES);
    fill.execute(&mut *transaction).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    sqlx::query(clear).execute(conn).await.map_err(failed())?;
    Ok(())
}
