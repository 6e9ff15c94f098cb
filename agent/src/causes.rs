//! An error with everything behind it, in one line for a log: what happened, because of what.

use std::error::Error;
use std::iter::successors;

/// `outer: inner: innermost`. Our errors never repeat their source, so nothing is said twice.
pub(crate) fn causes(error: &dyn Error) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
