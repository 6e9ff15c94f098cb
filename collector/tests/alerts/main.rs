//! Alerts: rules, judging, surviving a restart, and what receivers are sent.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod database;
mod evaluate;
mod fleet;
mod import;
mod membership;
mod receivers;
mod restart;
mod rules;
