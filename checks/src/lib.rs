//! The judging core of Holdfast: facts, derivation, the check catalogue, its evaluator, entries and version knowledge.
//!
//! Everything here is a pure function of its arguments. This crate does no I/O, opens no socket and reads no clock:
//! the time of an observation and today's date are passed in. It knows neither agent nor collector; both depend on it.

pub mod catalogue;
pub mod derive;
pub mod entries;
pub mod evaluator;
pub mod facts;
pub mod frameworks;
pub mod inventory;
pub mod peers;
pub mod policy;
pub mod versions;
pub mod waivers;
