//! A wire from the version before is understood, and what a later one adds does no harm: bytes as they were recorded, see
//! `proto/golden/captures/README.md`, against today's machines and store.
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

mod collector;
mod conversation;
mod frames;
mod previous;
mod recorded;
mod today;
mod unknown;
