//! Alerts: rules over stored state, and telling Alertmanager and webhooks.
//!
//! Level-triggered: [`evaluate()`] is a pure function of what is stored and the time, run at start, on change and every
//! minute; the change feed only wakes it, so a crash between commit and send loses nothing. Senders read the same
//! stored alerts. Must not know the wire, pages, or how a finding came to be.

mod alertmanager;
mod deliver;
mod evaluate;
mod known;
mod receiver;
mod rule;
mod run;
mod text;
mod webhook;

pub use evaluate::{Alert, AlertState, Failing, Node, Snapshot, evaluate};
pub use known::{Dated, Known};
pub use rule::{Condition, GroupLabel, KnowledgeState, Rule, RuleError, Rules, Shows};
pub use run::{AlertError, AlertOptions, Clock, run};
pub(crate) use text::chain;
