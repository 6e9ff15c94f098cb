//! Why the collector could not be reached, or was lost: what happened, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::alert::{Alert, about_certificates};
use crate::identity::IdentityFileError;

/// See the module. Shown to people with its sources.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The CA file could not be read.
    #[error("cannot read the collector's CA {path}: name the ca.crt that `holdfast-collector ca init` wrote with --ca")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The CA file has no certificate.
    #[error("{path} holds no usable certificate: --ca needs a PEM file with BEGIN CERTIFICATE")]
    CaEmpty {
        /// The file.
        path: PathBuf,
    },
    /// The token file could not be read.
    #[error("cannot read this node's token {path}: name the file with the token from `holdfast-collector token add` with --token-file")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The token file has no token.
    #[error("{path} holds no token: it must be one line of visible characters")]
    TokenUnusable {
        /// The file.
        path: PathBuf,
    },
    /// The name to check the certificate against is none.
    #[error("`{name}` is neither a DNS name nor an IP address: give the name in the collector's certificate with --server-name")]
    ServerName {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::InvalidDnsNameError,
    },
    /// No TCP connection.
    #[error("cannot reach the collector at {address}: is it running, and does the network let this node through")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody else answered, or the wrong CA was given.
    #[error("the certificate of {address} does not come from {ca}: give the CA of this collector with --ca")]
    UnknownAuthority {
        /// Host and port.
        address: String,
        /// The CA file.
        ca: PathBuf,
    },
    /// The certificate is for another name.
    #[error("the certificate of {address} is for another name: give the name it is for with --server-name, or issue one with --dns")]
    WrongName {
        /// Host and port.
        address: String,
        /// The names it is for.
        #[source]
        source: rustls::Error,
    },
    /// The handshake failed otherwise.
    #[error("the TLS handshake with {address} failed: is that the collector's gRPC port")]
    Handshake {
        /// Host and port.
        address: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The TLS library refused its own defaults.
    #[error("TLS cannot be set up")]
    TlsSettings(#[source] rustls::Error),
    /// TLS worked, and the other end does not speak HTTP/2.
    #[error("{address} does not offer HTTP/2: is that the collector's gRPC port, and does nothing in between end the TLS connection")]
    NoHttp2 {
        /// Host and port.
        address: String,
    },
    /// TLS worked and HTTP/2 did not.
    #[error("{address} does not speak HTTP/2: is that the collector's gRPC port")]
    Http2 {
        /// Host and port.
        address: String,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
    /// Something did not happen in time.
    #[error("{address} did not {what} in time")]
    Timeout {
        /// Host and port.
        address: String,
        /// What was waited for.
        what: &'static str,
    },
    /// This node has no certificate yet.
    #[error("this node is not enrolled yet: see what the log says of its enrolment")]
    NotEnrolled,
    /// This node's certificate is past its end, which nothing renews.
    #[error(
        "this node's certificate in {path} ended at {at}: on the collector's machine, `holdfast-collector enrolment renew \
         --name '{name}' --cluster CLUSTER` prints a new token for it; write that into the file of --enrolment-token-file"
    )]
    CertificateEnded {
        /// The identity file.
        path: PathBuf,
        /// The node's name.
        name: String,
        /// When, RFC 3339.
        at: String,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(IdentityFileError),
    /// The collector's TLS does not take this node's certificate.
    #[error(
        "the collector at {address} does not accept this node's certificate ({alert}): if its enrolment CA was replaced, enrol this node \
         again with a new token from `holdfast-collector enrolment renew`"
    )]
    CertificateRefused {
        /// Host and port.
        address: String,
        /// The alert of its TLS.
        alert: String,
    },
    /// The collector does not know the token.
    #[error(
        "the collector at {address} refused this node's token or certificate: is its line in the collector's tokens file or enrolments file, \
         and is --token-file the right one ({message})"
    )]
    TokenRefused {
        /// Host and port.
        address: String,
        /// The collector's words.
        message: String,
    },
    /// The collector ended the stream.
    #[error("the collector at {address} ended the session: {code}: {message}")]
    Ended {
        /// Host and port.
        address: String,
        /// The gRPC status.
        code: &'static str,
        /// The collector's words.
        message: String,
        /// Can trying again soon not help.
        hopeless: bool,
    },
}

impl ConnectError {
    /// Can trying again soon not help.
    pub fn is_hopeless(&self) -> bool {
        matches!(self, Self::Ended { hopeless: true, .. })
    }

    pub(super) fn of_handshake(address: &str, ca: &Path, source: io::Error) -> Self {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
        let address = address.to_owned();
        // TLS 1.2 tells it in the handshake.
        if let Some(alert) = about_certificates(&source) {
            return Self::CertificateRefused { address, alert };
        }
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(UnknownIssuer)) => Self::UnknownAuthority { address, ca: ca.to_owned() },
            Some(error @ rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Self::WrongName { address, source: error.clone() }
            }
            _ => Self::Handshake { address, source },
        }
    }

    pub(super) fn of_http2(address: &str, alert: &Alert, source: tonic::transport::Error) -> Self {
        let address = address.to_owned();
        match alert.heard() {
            Some(alert) => Self::CertificateRefused { address, alert },
            None => Self::Http2 { address, source },
        }
    }

    pub(crate) fn of_status(address: &str, alert: &Alert, status: &tonic::Status) -> Self {
        if let Some(alert) = alert.heard() {
            return Self::CertificateRefused { address: address.to_owned(), alert };
        }
        let (address, message) = (address.to_owned(), printable(status.message()));
        match status.code() {
            tonic::Code::Unauthenticated => Self::TokenRefused { address, message },
            code => {
                let hopeless = matches!(code, tonic::Code::FailedPrecondition | tonic::Code::Unimplemented);
                Self::Ended { address, code: code.description(), message, hopeless }
            }
        }
    }
}

/// A peer's words for a log: one line, bounded, without control characters.
fn printable(text: &str) -> String {
    text.chars().take(300).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
