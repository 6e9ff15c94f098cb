//! What is kept and for how long, and the hourly rollup that charts read.
//!
//! Deletes in chunks, each its own transaction, so that the writer is never held up. Must not know the clock: `now` is
//! passed in.

use super::{Store, StoreError};

/// Rows deleted in one transaction.
const CHUNK: i64 = 5000;
/// Rows of the change log that stay: pages that were away longer read everything again.
const CHANGE_LOG: i64 = 10_000;
/// An hour in milliseconds.
const HOUR: i64 = 60 * 60 * 1000;
/// A day in milliseconds.
const DAY: i64 = 24 * HOUR;

/// How long things are kept, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// History of findings.
    pub transitions: i64,
    /// Nodes that are gone, with everything that is theirs.
    pub gone_nodes: i64,
    /// Hourly rollups.
    pub rollups: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { transitions: 90 * DAY, gone_nodes: 30 * DAY, rollups: 400 * DAY }
    }
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// History rows.
    pub transitions: u64,
    /// Nodes.
    pub nodes: u64,
    /// Change log rows.
    pub changes: u64,
    /// Rollup rows.
    pub rollups: u64,
}

impl Store {
    /// Deletes what is older than `retention` allows.
    pub async fn sweep(&self, retention: Retention, now: i64) -> Result<Swept, StoreError> {
        let old = "delete from transitions where rowid in (select rowid from transitions where at < $1 limit $2)";
        let transitions = self.delete_chunks(old, now.saturating_sub(retention.transitions)).await?;
        let log = "delete from change_log where seq in (select seq from change_log where seq <= $1 limit $2)";
        let newest = sqlx::query_scalar::<_, i64>("select coalesce(max(seq), 0) from change_log").fetch_one(&self.reader).await;
        let newest = newest.map_err(StoreError::query("read the change log"))?;
        let changes = self.delete_chunks(log, newest.saturating_sub(CHANGE_LOG)).await?;
        let hours = "delete from rollups where rowid in (select rowid from rollups where hour < $1 limit $2)";
        let rollups = self.delete_chunks(hours, now.saturating_sub(retention.rollups)).await?;
        let answers = "delete from peer_probes where rowid in (select rowid from peer_probes where stale_at < $1 limit $2)";
        self.delete_chunks(answers, now.saturating_sub(DAY)).await?;
        let breaches = "delete from breaches where rowid in (select rowid from breaches where hour < $1 limit $2)";
        self.delete_chunks(breaches, now.saturating_sub(retention.transitions).div_euclid(HOUR)).await?;
        let nodes = self.delete_nodes(now.saturating_sub(retention.gone_nodes)).await?;
        Ok(Swept { transitions, nodes, changes, rollups })
    }

    /// Deletes nodes gone since before `limit`, with everything that is theirs.
    async fn delete_nodes(&self, limit: i64) -> Result<u64, StoreError> {
        // Of a node for which no agent ever spoke there is nothing to keep.
        let sql = "select node_id from nodes where state = 'gone' and (state_since < $1 or last_seen = 0)";
        let gone: Vec<i64> =
            sqlx::query_scalar(sql).bind(limit).fetch_all(&self.reader).await.map_err(StoreError::query("find gone nodes"))?;
        let mut deleted = 0;
        for node in gone {
            // History may be long and nothing rests on it: it goes first, in chunks, while the node stays gone.
            let history = "delete from transitions where rowid in (select t.rowid from transitions t \
                           join nodes n on n.node_id = t.node_id where t.node_id = $1 and n.state = 'gone' limit $2)";
            self.delete_chunks(history, node).await?;
            deleted += u64::from(self.delete_node(node).await?);
        }
        Ok(deleted)
    }

    /// Deletes a node and what is its own at once: it may come back at any moment, and then its digest and counts must be those
    /// of its rows. `false` when it has come back.
    async fn delete_node(&self, node_id: i64) -> Result<bool, StoreError> {
        let failed = || StoreError::query("delete a gone node");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(failed())?;
        let gone = sqlx::query("delete from nodes where node_id = $1 and state = 'gone'").bind(node_id);
        if gone.execute(&mut *transaction).await.map_err(failed())?.rows_affected() == 0 {
            return Ok(false);
        }
        for sql in [
            "delete from transitions where node_id = $1",
            "delete from findings where node_id = $1",
            "delete from inventory where node_id = $1",
            "delete from containers where node_id = $1",
            "delete from chain where node_id = $1",
            "delete from counts where node_id = $1",
            "delete from refused where node_id = $1",
            "delete from policy_status where node_id = $1",
            "delete from delivery where node_id = $1",
            "delete from breaches where node_id = $1",
            "delete from opaque where node_id = $1",
            "delete from peer_probes where node_id = $1",
            "delete from peer_probes where vantage_id = $1",
        ] {
            sqlx::query(sql).bind(node_id).execute(&mut *transaction).await.map_err(failed())?;
        }
        transaction.commit().await.map_err(failed())?;
        Ok(true)
    }

    /// Repeats a delete of at most `$2` rows bounded by `$1` until nothing is left.
    async fn delete_chunks(&self, sql: &'static str, bound: i64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let query = sqlx::query(sql).bind(bound).bind(CHUNK);
            let rows = query.execute(&self.writer).await.map_err(StoreError::query("delete old rows"))?.rows_affected();
            deleted += rows;
            if rows < u64::try_from(CHUNK).unwrap_or(u64::MAX) {
                return Ok(deleted);
            }
        }
    }

    /// Writes the present counts as the rollup of the hour `now` is in; the last writing of an hour stands.
    pub async fn roll_up(&self, now: i64) -> Result<(), StoreError> {
        let hour = now.saturating_sub(now.rem_euclid(HOUR));
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let clear = sqlx::query("delete from rollups where hour = $1").bind(hour);
        clear.execute(&mut *transaction).await.map_err(StoreError::query("clear the hour's rollup"))?;
        let sql = "insert into rollups (hour, verdict, severity, n, nodes_reporting, nodes_total) \
                   select $1, c.verdict, c.severity, sum(c.n), (select count(*) from nodes where state = 'connected'), \
                   (select count(*) from nodes where state <> 'gone') from counts as c join nodes as d on d.node_id = c.node_id \
                   where d.state <> 'gone' group by c.verdict, c.severity";
        let insert = sqlx::query(sql).bind(hour);
        insert.execute(&mut *transaction).await.map_err(StoreError::query("write the hour's rollup"))?;
        transaction.commit().await.map_err(StoreError::query("commit the hour's rollup"))
    }
}
