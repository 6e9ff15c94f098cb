//! The store's contract, on a real SQLite file: fence, idempotence, counts, digest, history, snapshots, quota, retention.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod bounds;
mod derived;
mod history;
mod opaque;
mod resuming;
mod rig;
mod writes;
