//! The spool's file and its writer, on real disks: what was saved is what comes back, and what does not is set aside.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may fail"
)]

mod damage;
mod disks;
mod golden;
mod measure;
mod opening;
mod same;
mod samples;
mod writer;
