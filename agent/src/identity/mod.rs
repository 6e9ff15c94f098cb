//! Who this machine is to its collector, outside a cluster: a key of its own and the certificate that names its node.
//!
//! A token enrols the machine once; from then on the certificate is renewed, with a new key each time, well before it ends. `file` is
//! the one file that holds both, `request` makes keys and asks the collector, `keeper` decides when. Must not know the session.

mod file;
mod keeper;
mod request;

use std::io;
use std::path::PathBuf;

use aws_lc_rs::digest;

use crate::connect::ConnectError;

pub(crate) use file::{IDENTITY, REQUEST};
pub use file::{Identity, current};
pub use keeper::Keeper;

/// Why the identity on disk cannot be used or replaced. Shown to people with its sources.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    /// A file could not be read or written.
    #[error("cannot {operation} {path}: the directory of --identity must belong to the user the agent runs as")]
    Failed {
        /// What failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The identity file is none.
    #[error("{path} holds no key with its certificate: move it away, and enrol this node again with a new token")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Why there is no identity, or no new one. Shown to people with its sources.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// What is on disk cannot be used or replaced.
    #[error(transparent)]
    File(#[from] IdentityFileError),
    /// No key could be made, or it could not sign.
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
    /// The collector cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The collector says no to a token.
    #[error(
        "the collector at {address} refused to enrol this node: the token must be in its enrolments file, not past its end and not used by \
         another machine; `holdfast-collector enrolment renew` on its machine prints a new one"
    )]
    EnrolmentRefused {
        /// Host and port.
        address: String,
    },
    /// The collector says no to a renewal.
    #[error("the collector at {address} refused to renew this node's certificate: is the node still in its enrolments file")]
    RenewalRefused {
        /// Host and port.
        address: String,
    },
    /// The collector does not enrol.
    #[error("the collector at {address} does not enrol: start it with --enrolments, --enrolment-ca-cert and --enrolment-ca-key")]
    NoEnrolment {
        /// Host and port.
        address: String,
    },
    /// What the collector answered cannot be used.
    #[error("the collector at {address} answered with {what}")]
    Answer {
        /// Host and port.
        address: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// SHA-256 of a token, lower-case hex: what tells one from another without keeping it.
fn fingerprint(token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    hash.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
