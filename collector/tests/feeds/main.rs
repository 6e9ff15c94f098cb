//! Importing version knowledge: files and archives as people have them, and everything that can be wrong with them.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::string_slice,
    reason = "a test may fail"
)]

mod archives;
mod compiled;
mod following;
mod imports;
mod refusals;
mod rig;
