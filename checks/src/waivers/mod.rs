//! Waivers: what is known to fail and accepted, by whom, why and until when.
//!
//! A waiver is laid over a verdict and never changes it. Those that ship are [`expectations`](built_in): what a node's own system
//! workloads need to do their work. Must not know findings or how a check is judged.

mod builtin;
mod glob;
mod waiver;

pub use builtin::{WaiverError, built_in};
pub use waiver::{WaivedBy, Waiver, expected};
