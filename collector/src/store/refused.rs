//! Entries that were refused when the collector was another one: of another version, which knew no better, or with another catalogue.
//!
//! They are in no digest, on neither side, so that nothing else would show that they are missing. Must not know the wire or why an entry
//! is refused.

use holdfast_checks::entries::Hash;

use super::containers::{derived_with, set_derived};
use super::{Store, StoreError};

/// The name in `derived`.
const TABLE: &str = "refused";

impl Store {
    /// Has the nodes of which something was refused asked for all of their state at their next session, if it was not this version
    /// with this `catalogue` that wrote here last. Until then, and not at each start: what is refused again was refused by this one.
    ///
    /// # Errors
    /// [`StoreError::Query`]; then nobody is asked, and the next start tries again.
    pub async fn ask_for_refused(&self, catalogue: &Hash) -> Result<(), StoreError> {
        let failed = || StoreError::query("have nodes asked for what another collector refused");
        let version = format!("{} {catalogue}", env!("CARGO_PKG_VERSION"));
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(failed())?;
        if derived_with(&mut transaction, TABLE).await?.as_deref() == Some(version.as_str()) {
            return Ok(());
        }
        let update = "update nodes set whole_wanted = 1 where node_id in (select node_id from refused)";
        let nodes = sqlx::query(update).execute(&mut *transaction).await.map_err(failed())?.rows_affected();
        set_derived(&mut transaction, TABLE, &version).await?;
        transaction.commit().await.map_err(failed())?;
        if nodes > 0 {
            tracing::info!(nodes, "another version, or another catalogue, refused entries of nodes: they are asked for a snapshot");
        }
        Ok(())
    }
}
