//! A verdict that moved: the history of findings.

use super::{Key, Severity, Verdict};

/// One end of a [`Transition`]: a verdict, or `None` before the finding existed and after it went.
pub type TransitionEnd = Option<Verdict>;

/// A finding that appeared, changed its verdict, or went. (node, epoch, number) identifies it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Counts up within an epoch.
    pub number: u64,
    /// The finding's key.
    pub key: Key,
    /// The verdict before.
    pub from: TransitionEnd,
    /// The verdict after.
    pub to: TransitionEnd,
    /// The reason of the verdict after.
    pub reason: String,
    /// The check's severity.
    pub severity: Severity,
    /// The deciding evidence in one line.
    pub because: String,
    /// When it was seen on the node: Unix milliseconds.
    pub at: i64,
}
