//! Derivation: what follows from facts without reading anything more.
//!
//! The only place that adds derived groups and members (effective settings, a component's own listeners and probe answers,
//! version verdicts). Pure functions over [`crate::facts`]; must not know checks or CEL.

use crate::facts::NodeFacts;

/// Adds everything derived to facts fresh from sensors. Idempotent.
pub fn derive(_facts: &mut NodeFacts) {}
