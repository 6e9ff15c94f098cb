//! The inventory: stored documents by kind, budgets under hostile facts, and the way back to facts.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod budget;
mod documents;
mod fixture;
mod restore;
