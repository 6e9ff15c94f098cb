//! What is kept of a node's delivery beside its position: when its session began and how, the epochs it had, when its clock was measured.
//!
//! Written in the transactions of `nodes`. For people: nothing is decided by it.

use sqlx::SqliteConnection;

use super::StoreError;
use super::nodes::{Resume, SessionStart, epoch_text};

/// Notes a session that begins.
pub(super) async fn opened(conn: &mut SqliteConnection, node_id: i64, start: &SessionStart, resume: Resume) -> Result<(), StoreError> {
    let sql = "insert into delivery (node_id, opened_at, resume, epoch, epoch_since, epochs, clock_measured_at) \
               values ($1, $2, $3, $4, $2, 1, 0) on conflict (node_id) do update set opened_at = $2, resume = $3, epoch = $4, \
               epoch_since = case when delivery.epoch = $4 then delivery.epoch_since else $2 end, \
               epochs = delivery.epochs + case when delivery.epoch = $4 then 0 else 1 end";
    let query = sqlx::query(sql).bind(node_id).bind(start.at).bind(resume.name()).bind(epoch_text(start.epoch));
    query.execute(conn).await.map_err(StoreError::query("note a session's start"))?;
    Ok(())
}

/// Notes when clocks were measured; `rows` are [`super::nodes::Vitals`] as JSON.
pub(super) async fn clocks_measured(conn: &mut SqliteConnection, rows: &str) -> Result<(), StoreError> {
    let sql = "update delivery set clock_measured_at = v.at from (select value ->> 'node_id' as node_id, value ->> 'skew_at' as at \
               from json_each($1)) as v where delivery.node_id = v.node_id and v.at > delivery.clock_measured_at";
    sqlx::query(sql).bind(rows).execute(conn).await.map_err(StoreError::query("note when clocks were measured"))?;
    Ok(())
}
