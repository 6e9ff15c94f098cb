//! Entries: the replicated state of a node, one map from key to content, with the hash and digest both sides share.
//!
//! An entry is built once, on the node, and is within its limits by construction: what does not fit is cut here and
//! marked, so that no later stage can meet an oversized one. Must not know the wire, the spool or the store.

mod digest;
mod entry;
mod finding;
mod state;
mod transition;

pub use digest::{Digest, Hash};
pub use entry::{Body, Entry, Inventory, Key, Kind, MAX_ENTRY_BYTES, MAX_INVENTORY_BYTES, MAX_SUBJECT_BYTES};
pub(crate) use finding::cut;
pub use finding::{Evidence, Finding, MAX_EVIDENCE_BYTES, MAX_EVIDENCE_ITEMS, MAX_REASON_BYTES, Severity, UnknownName, Verdict};
pub use state::{Changes, State};
pub use transition::{Transition, TransitionEnd};
