//! The Holdfast collector: takes findings from agents, stores them, shows them and raises alerts.
//!
//! Data flows one way: `accept` → `identity` → `ingest` → `store` → (`changes`) → `api`, `dashboard`, `alerts`.
//! The collector trusts a node's credentials, never its messages.

pub mod api;
pub mod changes;
pub mod dashboard;
pub mod http;
pub mod store;
