//! The change feed: tells pages and alerts that something was committed.
//!
//! A hint, not the truth: a receiver that lags or restarts reads the store again. Must not know who listens.

use tokio::sync::broadcast;

/// How many changes a slow listener may fall behind before it is told to read everything again.
const CAPACITY: usize = 1024;

/// What was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Findings of the node moved.
    Findings,
    /// Inventory of the node moved.
    Inventory,
    /// The node's own state moved: connected, silent, stopped, gone.
    Node,
    /// An alert fired or resolved.
    Alert,
}

/// One committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Position in `change_log`: what `Last-Event-ID` carries.
    pub seq: i64,
    /// Unix milliseconds of the commit.
    pub at: i64,
    /// The node; 0 when the change concerns none.
    pub node_id: i64,
    /// What moved.
    pub kind: ChangeKind,
}

/// A bounded broadcast of [`Change`]s.
#[derive(Debug, Clone)]
pub struct ChangeFeed(broadcast::Sender<Change>);

impl Default for ChangeFeed {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl ChangeFeed {
    /// Tells every listener. Nobody listening is fine.
    pub fn publish(&self, change: Change) {
        if self.0.send(change).is_err() {
            tracing::trace!(seq = change.seq, "nobody follows the change feed");
        }
    }

    /// Follows changes from now on. `Lagged` means: read the store again.
    pub fn follow(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
