//! Fleet rules: what the collector judges because one node cannot, the date and version knowledge among it.
//!
//! A node is judged again when its inventory, what peers met there, the offset of its clock or its Node object changes, when the newest that nodes like it run changes, when
//! the day or the library of version knowledge changes, and at start; unchanged documents and answers on the same day are not.
//! Must not know the wire, pages or alerts.

mod census;
mod judge;
mod membership;
mod run;

pub use census::Census;
pub use judge::{FleetJudge, Judgement, Outside, Peers, judge};
pub use membership::membership;
pub use run::{Judging, TICK, run};
