//! Whole sessions over real TLS against a real collector and its file, with a client written by hand.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod conversations;
mod holders;
mod refused;
mod rig;
mod updated;
