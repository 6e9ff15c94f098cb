//! The Holdfast collector: takes findings from agents, stores them, shows them and raises alerts.
//!
//! Data flows one way: `accept` → `identity` → `ingest` → `store` → (`changes`) → `api`, `dashboard`, `alerts`.
//! The collector trusts a node's credentials, never its messages.

pub mod alerts;
pub mod changes;
pub mod fleet;
pub mod metrics;
pub mod store;
