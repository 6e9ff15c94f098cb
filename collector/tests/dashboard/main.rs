//! The dashboard and the API as a reader meets them: through the router, on a real database.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::too_many_arguments,
    missing_docs,
    unreachable_pub,
    reason = "a test may fail"
)]

mod api;
mod chain;
mod colours;
mod containers;
mod delivery;
mod expectations;
mod fleet;
mod headers;
mod hostile;
mod kubelets;
mod live;
mod membership;
mod numbers;
mod pages;
mod policy;
mod root;
mod speed;
