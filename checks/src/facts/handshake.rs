//! TLS as a socket speaks it: which versions and suites it takes, which certificate it shows.

use serde::{Deserialize, Serialize};

use super::{Certificate, Listing, Observed};

/// What one listening socket answered to TLS handshakes without credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handshake {
    /// From where: `node` (the node itself) or a peer's name.
    pub vantage: String,
    /// The address asked.
    pub address: String,
    /// The port asked.
    pub port: i64,
    /// Every version that was offered alone, whether it was taken. One that could not be tried is skipped.
    pub versions: Observed<Listing<TlsVersion>>,
    /// The suites of TLS 1.2 and older that it takes, by IANA name. Unavailable when they could not be listed to the end.
    pub suites: Observed<Listing<String>>,
    /// The certificate it showed first.
    pub certificate: Observed<Certificate>,
    /// The path of the file of this node with the authority whose key signed that; empty when none was found.
    pub issued_by: String,
    /// Asks its clients for a certificate.
    pub asks_certificate: Observed<bool>,
}

/// One protocol version, offered alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsVersion {
    /// `TLS 1.0`, `TLS 1.1`, `TLS 1.2`, `TLS 1.3`.
    pub name: String,
    /// Was it taken.
    pub accepted: bool,
}
