//! The change log: what pages follow, one row per commit and kind, numbered in commit order.
//!
//! Rows are appended inside the transaction they describe, on the one writer connection, so that numbers never
//! overtake commits. Must not know who follows.

use sqlx::SqliteConnection;

use super::StoreError;
use crate::changes::{Change, ChangeKind};

/// The name of a kind in `change_log`.
pub fn kind_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Findings => "findings",
        ChangeKind::Inventory => "inventory",
        ChangeKind::Node => "node",
        ChangeKind::Alert => "alert",
    }
}

/// Appends a row. The caller commits, and publishes the returned change after that.
pub(crate) async fn append(
    conn: &mut SqliteConnection,
    at: i64,
    node_id: i64,
    kind: ChangeKind,
    summary: &str,
) -> Result<Change, StoreError> {
    let sql = "insert into change_log (seq, at, node_id, kind, summary) \
               select coalesce(max(seq), 0) + 1, $1, $2, $3, $4 from change_log returning seq";
    let query = sqlx::query_scalar(sql).bind(at).bind(node_id).bind(kind_name(kind)).bind(summary);
    let seq = query.fetch_one(conn).await.map_err(StoreError::query("append to the change log"))?;
    Ok(Change { seq, at, node_id, kind })
}
