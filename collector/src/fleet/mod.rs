//! Fleet rules: what the collector judges because one node cannot, the date and version knowledge among it.
//!
//! A node is judged again when its kernel or system inventory changes, when the day changes, and at start; unchanged
//! documents on the same day are not. Must not know the wire, pages or alerts.

mod judge;
mod run;

pub use judge::{FleetJudge, judge};
pub use run::run;
