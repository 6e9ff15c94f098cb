//! Entries of a kind or with a body this version does not know: kept by key and hash, so that the digest of their node holds.
//!
//! Another version of the collector may know them, and has to see what they say: it forgets them at start and asks their nodes for a
//! snapshot. Must not know the wire.

use holdfast_checks::entries::{Hash, Key, Kind};

use super::containers::{derived_with, set_derived};
use super::nodes::parse_digest;
use super::{Store, StoreError};

/// The name in `derived`.
const TABLE: &str = "opaque";
/// What decides which entries are known.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Store {
    /// Forgets what another version did not know. Without them a node's digest is not the agent's, and without an epoch changes are
    /// not enough: its next session begins with a snapshot.
    pub(super) async fn forget_opaque(&self) -> Result<(), StoreError> {
        self.forget_opaque_unless(VERSION).await
    }

    async fn forget_opaque_unless(&self, version: &str) -> Result<(), StoreError> {
        let failed = || StoreError::query("forget entries another version did not know");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(failed())?;
        if derived_with(&mut transaction, TABLE).await?.as_deref() == Some(version) {
            return Ok(());
        }
        let select = "select n.node_id, n.digest, o.kind, o.key, o.hash from opaque as o join nodes as n on n.node_id = o.node_id \
                      order by n.node_id";
        let rows: Vec<(i64, String, i32, String, String)> = sqlx::query_as(select).fetch_all(&mut *transaction).await.map_err(failed())?;
        let mut nodes = 0;
        for rows in rows.chunk_by(|a, b| a.0 == b.0) {
            let Some((node_id, digest, ..)) = rows.first() else { continue };
            let mut digest = parse_digest(digest)?;
            rows.iter().filter_map(|(_, _, kind, key, hash)| term(*kind, key, hash)).for_each(|(key, hash)| digest.remove(&key, &hash));
            let update = "update nodes set digest = $2, epoch = '', seq = 0 where node_id = $1";
            let query = sqlx::query(update).bind(node_id).bind(digest.to_string());
            query.execute(&mut *transaction).await.map_err(failed())?;
            nodes += 1;
        }
        sqlx::query("delete from opaque").execute(&mut *transaction).await.map_err(failed())?;
        set_derived(&mut transaction, TABLE, version).await?;
        transaction.commit().await.map_err(failed())?;
        if nodes > 0 {
            tracing::info!(nodes, "nodes had entries another version did not know: they are asked for a snapshot");
        }
        Ok(())
    }
}

fn term(kind: i32, key: &str, hash: &str) -> Option<(Key, Hash)> {
    let hash = u128::from_str_radix(hash, 16).ok().map(u128::to_be_bytes).map(Hash)?;
    Some((Key::parse(Kind::from_number(kind)?, key)?, hash))
}
