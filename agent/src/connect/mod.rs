//! Reaching the collector.
pub mod backoff;
