//! What was refused of nodes whose credentials were good: one row per node, kind and hour, however many there were.
//!
//! Must not know who refuses or what counts as recent.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use super::{Store, StoreError, changes};
use crate::changes::{Change, ChangeKind};
use crate::nodes::{Breach, BreachRow};

/// Stores rows in one statement. A node that was deleted meanwhile has none. PostgreSQL: `json_to_recordset` in place of `json_each`.
pub(super) async fn write(conn: &mut SqliteConnection, rows: &[BreachRow]) -> Result<Vec<Change>, StoreError> {
    let json = super::ingest::json(rows)?;
    let sql = "insert into breaches (node_id, kind, hour, n, detail, at) \
               select b.value ->> 'node_id', b.value ->> 'kind', b.value ->> 'hour', b.value ->> 'n', b.value ->> 'detail', b.value ->> 'at' \
               from json_each($1) b join nodes n on n.node_id = b.value ->> 'node_id' where true \
               on conflict (node_id, kind, hour) do update set n = max(breaches.n, excluded.n), detail = excluded.detail, at = excluded.at";
    sqlx::query(sql).bind(json).execute(&mut *conn).await.map_err(StoreError::query("store what was refused of nodes"))?;
    let mut log = Vec::new();
    for row in rows.iter().filter(|row| row.moved) {
        log.push(changes::append(conn, row.at, row.node_id, ChangeKind::Node, row.kind).await?);
    }
    Ok(log)
}

impl Store {
    /// The newest row of each node and kind, and the one of the hour before it; older ones first.
    pub(super) async fn latest_breaches(&self) -> Result<BTreeMap<i64, Vec<BreachRow>>, StoreError> {
        let sql = "select b.node_id, b.kind, b.hour, b.n, b.detail, b.at from breaches b where b.hour + 1 >= \
                   (select max(l.hour) from breaches l where l.node_id = b.node_id and l.kind = b.kind) order by b.hour";
        let rows = sqlx::query(sql).fetch_all(&self.reader).await.map_err(StoreError::query("read what was refused of nodes"))?;
        let mut latest: BTreeMap<i64, Vec<BreachRow>> = BTreeMap::new();
        for row in rows {
            // A kind of a later version is nobody's business here.
            let Some(breach) = Breach::from_name(row.get("kind")) else { continue };
            let (node_id, hour, n, at) = (row.get("node_id"), row.get("hour"), row.get("n"), row.get("at"));
            let row = BreachRow { node_id, kind: breach.name(), hour, n, detail: row.get("detail"), at, moved: false };
            latest.entry(node_id).or_default().push(row);
        }
        Ok(latest)
    }
}
