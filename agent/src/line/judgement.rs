//! What judging hands over: fresh entries, and which keys they replace.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_checks::entries::{Entry, Key, Kind};

/// The outcome of judging everything, or the checks that read what may have changed.
#[derive(Debug, Default)]
pub struct Judgement {
    /// The fresh entries.
    pub entries: Vec<Entry>,
    /// The checks that were judged; `None` for all.
    pub covers: Option<BTreeSet<String>>,
    /// Unix milliseconds.
    pub at: i64,
    /// How long it took from the first sign of a change; `None` when nothing gave a sign.
    pub took: Option<Took>,
}

/// The parts of the way from the first sign of a change to its judgement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    /// From the first sign until reading began.
    pub watch: Duration,
    /// Reading.
    pub read: Duration,
    /// Derivation and judging.
    pub judge: Duration,
}

impl Judgement {
    /// Would `key` be among the entries if it still existed. Inventory is always judged whole.
    pub fn covers(&self, key: &Key) -> bool {
        key.kind() == Kind::Inventory || self.covers.as_ref().is_none_or(|checks| checks.contains(key.parts().0))
    }
}
