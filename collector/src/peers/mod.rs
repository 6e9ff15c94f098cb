//! Peer probes: the collector has agents try the Kubernetes ports of other nodes, so that what is reachable from elsewhere is a
//! fact with a vantage point. Off by default.
//!
//! `targets` are what an administrator or the API server lists, never what an agent says; `schedule` decides who asks what and
//! when, and whether a result was asked for, without socket or clock; `roster` is the way to the sessions; `run` ties them
//! together. Must not know checks or pages. An agent is believed about nothing but what it says it met itself.

mod nodes;
mod roster;
mod run;
mod schedule;
mod targets;

pub use roster::Roster;
pub use run::{Shared, Sources, run};
pub use schedule::{Answer, Ask, Asker, NotTaken, Pace, Schedule, Target};
pub use targets::{ListedNode, Plan, TargetsError};
