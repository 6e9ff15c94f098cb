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
    /// What the body was taken for: `pods`, `metrics`, `health`, `version`, `status` (an API server's error object), `text`; empty
    /// without a body.
    #[serde(default)]
    pub body: String,
}

/// What an active request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// An HTTP answer with a status.
    Answered,
    /// The port is closed: the host itself said so.
    Refused,
    /// The network said that there is no way there.
    Unreachable,
    /// The TLS handshake failed or was refused.
    TlsRefused,
    /// The handshake went through, and then an alert came for want of a client certificate.
    CertificateRequired,
    /// No answer within the deadline.
    TimedOut,
    /// Something that is not HTTP answered.
    NotHttp,
}
