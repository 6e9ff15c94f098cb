//! Fleet rules: what the collector judges because one node cannot, the date and version knowledge among it.
//!
//! A node is judged again when its inventory or what peers met there changes, when the day changes, and at start; unchanged
//! documents and answers on the same day are not. Must not know the wire, pages or alerts.

mod judge;
mod run;

pub use judge::{FleetJudge, Judgement, Peers, judge};
pub use run::{TICK, run};
