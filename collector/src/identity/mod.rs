//! Identity: from an agent's credentials to the node it speaks for.
//!
//! A token from the tokens file (one machine, tests, recordings), a pod's service-account token reviewed by the API server, or an
//! enrolled machine's client certificate. The node's name and uid come from here and from nowhere else. Must not know messages or the store's tables.

pub mod certificate;
pub mod list;
mod overlaps;
mod review;
mod token;

pub use review::TokenReview;
pub use token::{Tokens, add};

use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use self::certificate::Family;
use self::overlaps::Way;
use crate::enrolment::Enrolments;
use crate::refusals::Refusal;
use crate::store::nodes::NodeIdentity;

/// The longest token taken, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why credentials were not accepted, or do not hold any longer. The reason is for the log; the agent is told nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// The code.
    pub refusal: Refusal,
    /// For a person.
    pub reason: String,
}

impl Rejection {
    /// For that reason.
    pub fn new(refusal: Refusal, reason: impl Into<String>) -> Self {
        Self { refusal, reason: reason.into() }
    }

    /// Could not be decided now: it is worth coming back.
    pub fn undecided(&self) -> bool {
        matches!(self.refusal, Refusal::ReviewUnavailable | Refusal::ReviewBusy)
    }
}

/// What a connection shows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The value of the `authorization` metadata.
    pub authorization: Option<&'a [u8]>,
    /// The client certificate, whose chain the handshake has verified.
    pub certificate: Option<&'a CertificateDer<'static>>,
    /// Whom the address stands for that it comes from; `None` in a session, whose agent is known.
    pub from: Option<IpAddr>,
}

/// Who speaks for a node. The newest session of one holder supersedes its older ones; another holder has to wait until it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Whoever has the node's token of the tokens file.
    Token,
    /// The agent's pod, by its uid.
    Pod(String),
    /// The enrolled machine, by its node's uid and the family of its certificates: enrolled anew it is another.
    Enrolment(String, Family),
}

impl Holder {
    /// In logs and in the store: `token`, `pod:UID`, `enrolment:UID`.
    pub fn text(&self) -> String {
        match self {
            Self::Token => "token".to_owned(),
            Self::Pod(uid) => format!("pod:{uid}"),
            Self::Enrolment(uid, _) => format!("enrolment:{uid}"),
        }
    }
}

/// Accepted credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The node they stand for.
    pub node: NodeIdentity,
    /// Who shows them.
    pub holder: Holder,
    /// When they end, Unix milliseconds: without fresh ones the session ends then.
    pub expires_at: Option<i64>,
    /// SHA-256 of the token, by which it is looked up again; `None` for a certificate.
    pub token_hash: Option<[u8; 32]>,
}

/// Every way to name a node that is switched on.
#[derive(Debug, Default)]
pub struct Identities {
    /// The tokens file.
    pub tokens: Option<Tokens>,
    /// The API server.
    pub review: Option<TokenReview>,
    /// The enrolments file.
    pub enrolments: Option<Arc<Enrolments>>,
}

impl Identities {
    /// The node that credentials stand for. The tokens file is asked first: it costs nothing. A certificate counts where no token comes.
    ///
    /// # Errors
    /// Why they do not stand for any.
    pub async fn admit(&self, presented: Presented<'_>) -> Result<Admitted, Rejection> {
        if let (None, Some(certificate)) = (presented.authorization, presented.certificate) {
            return self.admit_certificate(certificate).await;
        }
        let token = bearer(presented.authorization)?;
        if let Some(tokens) = &self.tokens
            && let Some(admitted) = tokens.admit(token).await
        {
            return Ok(admitted);
        }
        match &self.review {
            Some(review) => review.admit(token, presented.from).await,
            None => Err(Rejection::new(Refusal::UnknownToken, "the token is not known")),
        }
    }

    /// The node that a certificate names, if it is listed.
    async fn admit_certificate(&self, certificate: &CertificateDer<'static>) -> Result<Admitted, Rejection> {
        let named = certificate::named(certificate)?;
        // The handshake has checked that; the connection may be old.
        if jiff::Timestamp::now().as_millisecond() >= named.not_after {
            return Err(Rejection::new(Refusal::Expired, "the certificate is past its end"));
        }
        let unlisted = || Rejection::new(Refusal::UnlistedCertificate, "the certificate's node is not in the enrolments file");
        let list = self.enrolments.as_ref().ok_or_else(unlisted)?;
        let node = list.find(&named.cluster, &named.uid).await.ok_or_else(unlisted)?;
        list.current(&node, named.family)?;
        let holder = Holder::Enrolment(named.uid, named.family);
        Ok(Admitted { node, holder, expires_at: Some(named.not_after), token_hash: None })
    }

    /// Follows the files, and warns of clusters that more than one way in names, for ever. `cluster` is what the API server's is called.
    pub fn follow(&self, cluster: &str) -> impl Future<Output = ()> + Send + use<> {
        let tokens = self.tokens.as_ref().map(|tokens| (token::TOKENS.file, tokens.0.clone()));
        let enrolments = self.enrolments.as_ref().map(|list| ("enrolments file", list.file.clone()));
        let files: Vec<_> = tokens.into_iter().chain(enrolments).collect();
        let api = self.review.as_ref().map(|_| Way::Api(cluster.to_owned()));
        let ways = files.iter().map(|(kind, file)| Way::File(kind, file.clone())).chain(api).collect();
        async move {
            let following = futures_util::future::join_all(files.into_iter().map(|(_, file)| file.follow()));
            tokio::join!(following, overlaps::watch(ways));
        }
    }

    /// Do credentials that were accepted before still hold at `now` (Unix milliseconds). From memory; never waits.
    ///
    /// # Errors
    /// Why they do not.
    pub fn standing(&self, admitted: &Admitted, now: i64) -> Result<(), Rejection> {
        if admitted.expires_at.is_some_and(|end| now >= end) {
            return Err(Rejection::new(Refusal::Expired, "the credentials are past their end and no fresh ones came"));
        }
        if let (Holder::Enrolment(uid, family), Some(list)) = (&admitted.holder, &self.enrolments) {
            if list.node(&admitted.node.cluster, uid).as_ref() != Some(&admitted.node) {
                return Err(Rejection::new(Refusal::UnlistedCertificate, "the enrolments file does not list this node any longer"));
            }
            return list.current(&admitted.node, *family);
        }
        match (&admitted.holder, &self.tokens, admitted.token_hash) {
            (Holder::Token, Some(tokens), Some(hash)) if tokens.node(&hash).as_ref() != Some(&admitted.node) => {
                Err(Rejection::new(Refusal::Revoked, "the tokens file does not name this node by that token any longer"))
            }
            (Holder::Pod(_), ..) => self.review.as_ref().map_or(Ok(()), |review| review.standing(admitted)),
            _ => Ok(()),
        }
    }
}

/// The token in an `authorization` value.
pub fn bearer(value: Option<&[u8]>) -> Result<&str, Rejection> {
    let malformed = || Rejection::new(Refusal::MalformedCredentials, "the credentials are not a bearer token");
    let value = value.ok_or_else(|| Rejection::new(Refusal::NoCredentials, "no credentials"))?;
    let text = std::str::from_utf8(value).map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(malformed)?;
    let token = token.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN_BYTES;
    if fits { Ok(token) } else { Err(malformed()) }
}

/// SHA-256 of a token, from the TLS provider's own implementation.
pub(crate) fn sha256(token: impl AsRef<[u8]>) -> [u8; 32] {
    use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let mut bytes = [0; 32];
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        let hash = suite.common.hash_provider.hash(token.as_ref());
        bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    }
    bytes
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |hex, byte| hex + &format!("{byte:02x}"))
}

/// How many tokens a tokens file with this text has.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_tokens(text: &str) -> Option<usize> {
    token::TOKENS.fuzz(text)
}

#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_review(answers: [&[u8]; 4], namespace: &str) -> Result<[String; 4], Rejection> {
    review::fuzzing::decide(answers, namespace)
}

#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_end(token: &str) -> Option<i64> {
    review::fuzzing::end(token)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Enrolments, Identities, Presented, bearer, certificate, hex, sha256};
    use crate::refusals::Refusal;

    /// A connection outlives the certificate that its handshake has verified.
    #[tokio::test]
    async fn a_certificate_past_its_end_opens_no_session_in_an_old_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let line = format!("- {{sha256: \"{}\", cluster: c, uid: u, name: n, expires: 2026-01-01T00:00:00Z}}\n", "a".repeat(64));
        crate::files::replace(&path, line.as_bytes()).unwrap();
        let enrolments = Some(Arc::new(Enrolments::load(&path).unwrap()));
        let identities = Identities { enrolments, ..Identities::default() };
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(certificate::uri("c", "u").try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x41; 16]));
        for (year, refused) in [(2099, None), (2020, Some(Refusal::Expired))] {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let shown = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            let presented = Presented { authorization: None, certificate: Some(shown.der()), from: None };
            let admitted = identities.admit(presented).await;
            assert_eq!(admitted.err().map(|rejection| rejection.refusal), refused);
            // Whoever sends a token is who the token says, whatever certificate is there.
            let presented = Presented { authorization: Some(b"Bearer hf_wrong"), ..presented };
            assert_eq!(identities.admit(presented).await.unwrap_err().refusal, Refusal::UnknownToken);
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex(&sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer(Some(b"Bearer abc")), Ok("abc"));
        assert_eq!(bearer(Some(b"bearer  abc ")), Ok("abc"));
        assert_eq!(bearer(None).unwrap_err().refusal, Refusal::NoCredentials);
        for wrong in [&b"abc"[..], b"Basic abc", b"Bearer ", b"Bearer \xff", &[b'x'; 9000]] {
            assert_eq!(bearer(Some(wrong)).unwrap_err().refusal, Refusal::MalformedCredentials);
        }
    }
}
