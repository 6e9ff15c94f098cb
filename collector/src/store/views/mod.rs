//! Read queries for pages, exports and the API. One filter, one set of predicates: a number and the list behind it agree.
//!
//! Rows here are plain values, already free of storage numbers. Must not know HTTP, HTML or who asks.

mod alerts;
mod chain;
mod checks;
mod codes;
mod containers;
mod cursor;
mod delivery;
mod expectations;
mod exposure;
mod filter;
mod findings;
mod groups;
mod history;
mod inventory;
mod kubelets;
mod nodes;
mod policy;
mod root;
mod runtimes;
mod select;
mod system;
mod tally;

use std::sync::Arc;

use holdfast_checks::catalogue::Catalogue;
use sqlx::sqlite::SqlitePool;

pub use alerts::{AlertRow, Delivery};
pub use chain::{
    ChainEnd, ChainFilter, ChainGroup, ChainGroupRow, ChainLink, ChainRow, ChainSummaryRow, ChainTotals, ChainVariant, Lag, Unjudged,
    Waiting,
};
pub use checks::{DecidingRow, ReasonRow};
pub use codes::{At, NodeState};
pub use containers::{ContainerRow, Containers, MountRow, Privilege, PrivilegeKind};
pub use cursor::{BadCursor, Cursor, CursorKey};
pub use delivery::{ClockRow, NodeDelivery, PrivilegesRow, RefusedRow, Remarks, SessionRow, SpoolRow};
pub use expectations::Expectation;
pub(crate) use exposure::telling;
pub use exposure::{Exposed, ExposedOn, Exposure, PeerAnswer, PeerOutcome, Reach};
pub use filter::{DEFAULT_LIMIT, Filter, Group, MAX_LIMIT, Problem, Since, Sort, encode};
pub use findings::{EvidenceRow, Expected, FindingDetail, FindingRow};
pub use groups::GroupRow;
pub use history::TransitionRow;
pub use inventory::InventoryRow;
pub use kubelets::{DeclaredRow, KubeletRow, Kubelets, SettingRow, SettingVerdict, Side};
pub(crate) use kubelets::{is_kubelet, other_setting};
pub use nodes::{NodeRow, NodeTotals};
pub(crate) use policy::policy_counts;
pub use root::{RootFilter, RootGroup, RootGroupRow, RootRow, RootTotals, Rooting, Unread, UnreadNode};
pub(crate) use runtimes::is_runtime;
pub use runtimes::{HandlerRow, RegistryRow, RuntimeRow, Runtimes, SocketRow, Told, UserNamespaces};
pub use select::Selection;
pub use system::{DiskRow, ShipperRow, System};
pub use tally::{Extent, ResultRow, Tally};

pub use super::containers::{NOT_KNOWN, Place, Root};
use super::{Store, StoreError};

/// The store as readers see it.
#[derive(Debug, Clone)]
pub struct Views {
    reader: SqlitePool,
    catalogue: Arc<Catalogue>,
    cursors: CursorKey,
}

/// Why a view could not be given.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The store failed.
    #[error("read the store")]
    Store(#[source] StoreError),
    /// The page position is not ours.
    #[error("read the page position")]
    Cursor(#[source] BadCursor),
}

/// One page of a sorted list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// All rows that match.
    pub total: i64,
    /// Rows before this page.
    pub offset: i64,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

impl Views {
    /// Views of `store`, with page positions signed by `cursors`.
    pub fn new(store: &Store, catalogue: Arc<Catalogue>, cursors: CursorKey) -> Self {
        Self { reader: store.reader.clone(), catalogue, cursors }
    }

    /// What `filter` selects, seen at `now`.
    pub fn select(&self, filter: &Filter, now: i64) -> Selection {
        Selection::new(filter.clone(), &self.catalogue, now)
    }

    /// The catalogue: title, area, why and fix of checks.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Is the database there and readable.
    ///
    /// # Errors
    /// [`ViewError::Store`] when it is not.
    pub async fn ping(&self) -> Result<(), ViewError> {
        sqlx::query("select 1").execute(&self.reader).await.map_err(failed("ask the database"))?;
        Ok(())
    }
}

/// Names the operation of a failed statement.
fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> ViewError {
    move |source| ViewError::Store(StoreError::query(operation)(source))
}
