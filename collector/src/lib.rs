//! The Holdfast collector: takes findings from agents, stores them, shows them and raises alerts.
//!
//! Data flows one way: `accept` → `identity` → `ingest` → `store` → (`changes`) → `api`, `dashboard`, `alerts`.
//! The collector trusts a node's credentials, never its messages.

pub mod accept;
pub mod alerts;
pub mod api;
pub mod ca;
pub mod catalogue;
pub mod changes;
pub mod cli;
pub mod cluster;
pub mod dashboard;
pub mod enrolment;
pub mod feeds;
pub mod files;
pub mod fleet;
pub mod followed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod identity;
mod inert;
pub mod ingest;
pub mod logs;
pub mod metrics;
pub mod nodes;
pub mod peers;
pub mod policy;
pub mod refusals;
pub mod serve;
pub mod store;
