//! What was refused of nodes whose credentials were good: one row per node, kind and hour, however many there were.
//!
//! Must not know who refuses or what counts as recent.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Store, StoreError, changes};
use crate::changes::{Change, ChangeKind};
use crate::nodes::{Breach, BreachRow, HOUR_MS};

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
        rows.iter().filter_map(read).for_each(|row| latest.entry(row.node_id).or_default().push(row));
        Ok(latest)
    }

    /// Those of one node that may count at `now`, Unix milliseconds: of this hour and the one before; older ones first.
    pub async fn recent_breaches(&self, node_id: i64, now: i64) -> Result<Vec<BreachRow>, StoreError> {
        let sql = "select node_id, kind, hour, n, detail, at from breaches where node_id = $1 and hour >= $2 order by hour";
        let query = sqlx::query(sql).bind(node_id).bind(now.div_euclid(HOUR_MS).saturating_sub(1));
        let rows = query.fetch_all(&self.reader).await.map_err(StoreError::query("read what was refused of a node"))?;
        Ok(rows.iter().filter_map(read).collect())
    }
}

fn read(row: &SqliteRow) -> Option<BreachRow> {
    // A kind of a later version is nobody's business here.
    let kind = Breach::from_name(row.get("kind"))?.name();
    let (node_id, hour, n, at) = (row.get("node_id"), row.get("hour"), row.get("n"), row.get("at"));
    Some(BreachRow { node_id, kind, hour, n, detail: row.get("detail"), at, moved: false })
}
