//! What a reader is told of node states and times.

use serde::{Deserialize, Serialize};

/// What a reader is told about a node. Results of `Silent` and `Stopped` nodes are last known, not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// A session is open.
    Reporting,
    /// A recording, not a live node. Counted, and marked wherever it shows.
    Recorded,
    /// Its session was lost or its heartbeats stopped.
    Silent,
    /// Its agent said goodbye.
    Stopped,
    /// Its Node object is there and no agent ever spoke for it: nothing is known of it but that.
    Unwatched,
    /// Deleted, or silent for too long.
    Gone,
}

impl NodeState {
    /// Every state, in display order.
    pub const ALL: [Self; 6] = [Self::Silent, Self::Unwatched, Self::Reporting, Self::Recorded, Self::Stopped, Self::Gone];
    /// The states whose results count as decided. Of an unwatched node there is but one, which says so.
    pub const CURRENT: [Self; 3] = [Self::Reporting, Self::Recorded, Self::Unwatched];
    /// The states of nodes that something is reported of.
    pub const REPORTED: [Self; 2] = [Self::Reporting, Self::Recorded];
    /// The states whose results are last known.
    pub const LAST_KNOWN: [Self; 2] = [Self::Silent, Self::Stopped];

    /// The name in queries and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Recorded => "recorded",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Unwatched => "unwatched",
            Self::Gone => "gone",
        }
    }

    /// The state called `name`.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Do results of such a node count as decided.
    pub fn current(self) -> bool {
        Self::CURRENT.contains(&self)
    }
}

/// SQL that gives the [`NodeState`] name of node `n`.
pub(super) const NODE_STATE: &str = "case when n.state = 'gone' then 'gone' when n.origin = 'recorded' then 'recorded' \
     when n.state = 'connected' then 'reporting' when n.state = 'silent' then 'silent' when n.state = 'unwatched' then 'unwatched' \
     else 'stopped' end";

/// A point in time: Unix milliseconds; RFC 3339 in JSON, `null` when it is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub i64);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "out of range"),
        }
    }
}

impl Serialize for At {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // 0 is no time: not yet, or not known.
        if self.0 > 0 { serializer.collect_str(self) } else { serializer.serialize_none() }
    }
}
