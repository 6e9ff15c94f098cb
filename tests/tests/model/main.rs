//! Nothing is lost and nothing doubled: the agent's machine and spool against the collector's machine and store, without sockets,
//! through random histories of changes, losses, crashes on both sides, failing disks, lost files and old copies.
//!
//! `HOLDFAST_MODEL_CASES=100000 cargo test -p holdfast-tests --test model` for more than CI runs.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::default_trait_access,
    clippy::needless_for_each,
    clippy::struct_excessive_bools,
    reason = "a test may fail"
)]

mod ledger;
mod node;
mod random;
mod regressions;
mod sqlite;
mod steps;
mod storage;
mod world;
