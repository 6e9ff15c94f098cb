//! Why the collector will not store an entry as it is.

use holdfast_checks::entries::{Hash, Key};

/// What was said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It breaks the contract.
    Malformed,
    /// It is larger than a message may be.
    TooLarge,
    /// The node has as many as it may have.
    Quota,
    /// It is about another node, or for the collector alone to judge.
    Foreign,
    /// A code of a later version, or one that was said before a restart.
    Unknown,
}

impl Refusal {
    /// The word in facts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Quota => "quota",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
        }
    }
}

/// Content that was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) hash: Hash,
    pub(super) why: Refusal,
}

/// An entry that was refused as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedEntry<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Why.
    pub why: Refusal,
}
