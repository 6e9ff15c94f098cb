//! Enrolment: how a machine outside a cluster gets the client certificate that names its node, and the next one before that ends.
//!
//! `list` is who may, `families` whose certificates count, `authority` signs, `request` takes a signing request apart, `service` answers. The
//! node's name comes from the list, never from the machine. Must not know sessions.

mod authority;
mod families;
mod list;
mod pace;
mod request;
mod service;

pub use authority::{Authority, AuthorityError};
pub use list::{Enrolments, add, renew};
pub use service::{Enroller, Service};

/// The largest message of an agent, in bytes: a signing request of 4 KiB, a token, and what they are wrapped in.
pub const MAX_MESSAGE_BYTES: usize = 6 * 1024;

/// A signing request: the hash of its key, hex. And an enrolments file: how many machines it lists.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(content: &[u8]) -> (Option<String>, Option<usize>) {
    (request::key(content).ok().map(|key| key.sha256), list::ENROLMENTS.fuzz(&String::from_utf8_lossy(content)))
}
