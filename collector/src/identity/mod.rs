//! Identity: from an agent's credentials to the node it speaks for.
//!
//! A token from the tokens file (one machine, tests, recordings) or a pod's service-account token reviewed by the API
//! server. The node's name and uid come from here and from nowhere else. Must not know messages or the store's tables.

mod review;
mod token;

pub use review::{ApiServer, ReviewError, TokenReview};
pub use token::{Token, Tokens, TokensError, add};

use crate::store::nodes::NodeIdentity;

/// The longest token taken, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why credentials were not accepted. For the log; the agent is told nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no `authorization` metadata.
    #[error("no credentials")]
    Missing,
    /// It is not a bearer token.
    #[error("credentials are not a bearer token")]
    Malformed,
    /// Nobody knows the token.
    #[error("the token is not known")]
    Unknown,
    /// The API server says no, or what it says is not enough.
    #[error("the token review refused: {0}")]
    Refused(String),
    /// The token could not be reviewed.
    #[error("the token could not be reviewed: {0}")]
    Unavailable(String),
}

impl Rejection {
    /// The name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "no_credentials",
            Self::Malformed => "malformed_credentials",
            Self::Unknown => "unknown_token",
            Self::Refused(_) => "review_refused",
            Self::Unavailable(_) => "review_unavailable",
        }
    }
}

/// Every way to name a node that is switched on.
#[derive(Debug, Default)]
pub struct Identities {
    /// The tokens file.
    pub tokens: Option<Tokens>,
    /// The API server.
    pub review: Option<TokenReview>,
}

impl Identities {
    /// Does the tokens file name another node, or none, for a token it named `node` for before.
    pub fn revoked(&self, token: &str, node: &NodeIdentity) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.identify(token).as_ref() != Some(node))
    }

    /// Is the node named by the tokens file.
    pub fn listed(&self, token: &str) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.identify(token).is_some())
    }

    /// The node a token stands for. The file is asked first: it costs nothing.
    pub async fn identify(&self, token: &str) -> Result<NodeIdentity, Rejection> {
        if let Some(node) = self.tokens.as_ref().and_then(|tokens| tokens.identify(token)) {
            return Ok(node);
        }
        match &self.review {
            Some(review) => review.identify(token).await,
            None => Err(Rejection::Unknown),
        }
    }
}

/// The token in an `authorization` value.
pub fn bearer(value: Option<&[u8]>) -> Result<&str, Rejection> {
    let value = value.ok_or(Rejection::Missing)?;
    let text = std::str::from_utf8(value).map_err(|_| Rejection::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Rejection::Malformed)?;
    let token = token.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN_BYTES;
    if fits { Ok(token) } else { Err(Rejection::Malformed) }
}

/// SHA-256 of a token, from the TLS provider's own implementation.
fn sha256(token: &str) -> [u8; 32] {
    use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let mut bytes = [0; 32];
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        let hash = suite.common.hash_provider.hash(token.as_bytes());
        bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    }
    bytes
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::{Rejection, bearer, hex, sha256};

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex(&sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer(Some(b"Bearer abc")), Ok("abc"));
        assert_eq!(bearer(Some(b"bearer  abc ")), Ok("abc"));
        assert_eq!(bearer(None), Err(Rejection::Missing));
        for wrong in [&b"abc"[..], b"Basic abc", b"Bearer ", b"Bearer \xff", &[b'x'; 9000]] {
            assert_eq!(bearer(Some(wrong)), Err(Rejection::Malformed));
        }
    }
}
