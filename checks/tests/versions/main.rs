//! Version knowledge: kernel identity, lifecycle data and the verdict on a kernel.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod agreement;
mod compare;
mod fleet;
mod identity;
mod kernel;
mod knowledge;
mod lifecycle;
mod software;
mod vectors;
mod verdict;
