//! Ingest: the collector's side of a session, from messages to writes and answers.
//!
//! `session` decides, as a state machine without socket, clock or store; `convert` turns hostile messages into domain
//! types; `connection` carries the machine's outputs out over one gRPC stream, and `reauth` has rotated tokens looked at beside it;
//! `service` says who may open one. Must not know TLS, pages or SQL.

mod connection;
pub mod convert;
mod pace;
mod reauth;
mod service;
pub mod session;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use service::{Ingest, Service};

/// What sessions are told and held to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Mean time between an agent's heartbeats, in seconds.
    pub heartbeat_seconds: u32,
    /// How long a stream may take to say Hello, in milliseconds.
    pub hello_ms: u64,
    /// How long a granted snapshot may pause, in milliseconds.
    pub snapshot_pause_ms: u64,
    /// Snapshots under way at once; more wait for a grant.
    pub grants: usize,
    /// Hash of the collector's catalogue, for agents to compare.
    pub catalogue_hash: [u8; 16],
    /// Ids of the checks that the collector judges: what an agent says of them is not stored.
    pub judged_here: Arc<BTreeSet<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_seconds: 60,
            hello_ms: 5_000,
            snapshot_pause_ms: 60_000,
            grants: 64,
            catalogue_hash: [0; 16],
            judged_here: Arc::default(),
        }
    }
}
