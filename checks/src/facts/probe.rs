//! Answers to active, unauthenticated requests.

use serde::{Deserialize, Serialize};

/// One request and what came back. Bodies are classified and dropped by the prober.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// From where: `node` (the node itself) or a peer's name.
    pub vantage: String,
    /// The address asked.
    pub address: String,
    /// The port asked.
    pub port: i64,
    /// The path asked.
    pub path: String,
    /// Was the request made over TLS.
    pub tls: bool,
    /// What happened.
    pub outcome: ProbeOutcome,
    /// The HTTP status; 0 unless `outcome` is `answered`.
    pub status: i64,
}

/// What an active request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// An HTTP answer with a status.
    Answered,
    /// The port is closed.
    Refused,
    /// The TLS handshake failed or was refused.
    TlsRefused,
    /// No answer within the deadline.
    TimedOut,
    /// Something that is not HTTP answered.
    NotHttp,
}
