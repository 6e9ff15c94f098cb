//! What judging hands over: fresh entries, and which keys they replace.

use std::collections::BTreeSet;

use holdfast_checks::entries::{Entry, Key, Kind};

/// The outcome of judging everything, or the checks that read what may have changed.
#[derive(Debug)]
pub struct Judgement {
    /// The fresh entries.
    pub entries: Vec<Entry>,
    /// The checks that were judged; `None` for all.
    pub covers: Option<BTreeSet<String>>,
    /// Unix milliseconds.
    pub at: i64,
}

impl Judgement {
    /// Would `key` be among the entries if it still existed. Inventory is always judged whole.
    pub fn covers(&self, key: &Key) -> bool {
        key.kind() == Kind::Inventory || self.covers.as_ref().is_none_or(|checks| checks.contains(key.parts().0))
    }
}
