//! Effective settings against what is true: known traps, kubelets that said it themselves, a slow second implementation, and
//! input that nobody should write.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod cost;
mod fixture;
mod hostile;
mod recorded;
mod reference;
mod traps;
