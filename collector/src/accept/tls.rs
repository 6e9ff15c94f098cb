//! The TLS settings: the server certificate, and the CA whose client certificates are taken. Read from files, used for new handshakes,
//! read again when the files change; connections that are open stay.
//!
//! Everything is replaced at once: a handshake sees the old files or the new ones, never some of each.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::enrolment::{Authority, AuthorityError};
use crate::files::{self, FileError, Stamp};
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::refusals::Refusal;

/// How often it is looked whether the files are others: a mounted Secret changes by a link, which leads to another inode.
const LOOK: Duration = Duration::from_secs(1);
/// Every how many looks the content is compared too, whatever the files look like.
const COMPARE_EVERY: u32 = 30;
/// How often in a row the same unusable files are seen before that is said: whoever copies one after the other is between two copies.
const PATIENCE: u32 = 2;
/// How often the files are read until two readings are the same.
const READINGS: usize = 4;
/// The protocol spoken, and required.
const HTTP2: &[u8] = b"h2";

/// Why the certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("certificate")]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{path} holds no {what} in PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Where it is wrong.
        #[source]
        source: Option<rustls_pki_types::pem::Error>,
    },
    /// Certificate and key do not belong together, or are of a kind not supported.
    #[error("certificate {certificate} and key {key} cannot be used together")]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// It is past its end, and the one in use is not.
    #[error("the certificate in {path} has ended already")]
    Ended {
        /// The file.
        path: PathBuf,
    },
    /// It begins later, and the one in use is good: until then every agent would turn away.
    #[error("the certificate in {path} is not valid yet: it is taken into use once it is, or set this machine's clock")]
    NotYet {
        /// The file.
        path: PathBuf,
    },
    /// The enrolment CA cannot be used.
    #[error("enrolment CA {certificate} with key {key}")]
    Authority {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: AuthorityError,
    },
    /// The TLS library takes no client certificates from that CA.
    #[error("client certificates of {certificate} cannot be verified")]
    Verifier {
        /// The certificate file.
        certificate: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}

/// Where everything is read from, and how TLS is spoken.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server certificate with what leads to its CA, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Certificate and key of the enrolment CA, PEM; `None`: no client certificate is asked for.
    pub enrolment: Option<(PathBuf, PathBuf)>,
    /// Speak TLS 1.2 too.
    pub allow_tls12: bool,
}

/// The content of the files, in their order.
type Contents = Vec<Vec<u8>>;
/// The same of what they look like.
type Stamps = Vec<Option<Stamp>>;

#[derive(Debug)]
struct Loaded {
    hash: blake3::Hash,
    config: Arc<ServerConfig>,
    authority: Option<Arc<Authority>>,
    /// When the last of the server's chain begins, and the first of it ends, Unix milliseconds.
    begins: i64,
    ends: i64,
}

/// The certificates in use.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: RwLock<Loaded>,
}

impl Certificate {
    /// Reads a server certificate and its key, and no CA.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::open(TlsFiles { certificate: certificate.to_owned(), key: key.to_owned(), enrolment: None, allow_tls12: false })
    }

    /// Reads all files.
    pub fn open(files: TlsFiles) -> Result<Self, CertificateError> {
        let loaded = files.build(&files.read()?)?;
        if loaded.ends <= now() {
            tracing::error!(certificate = %files.certificate.display(), "the server certificate is past its end: no agent will connect");
        }
        Ok(Self { files, current: RwLock::new(loaded) })
    }

    fn current<T>(&self, of: impl FnOnce(&Loaded) -> T) -> T {
        of(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current(|loaded| Arc::clone(&loaded.config)))
    }

    /// The enrolment CA in use.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.current(|loaded| loaded.authority.clone())
    }

    /// Reads the files again; `true` when there was something new. On an error everything stays as it is.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let contents = self.files.read()?;
        let (hash, begins, ends) = self.current(|loaded| (loaded.hash, loaded.begins, loaded.ends));
        if hash == digest(&contents) {
            return Ok(false);
        }
        let fresh = self.files.build(&contents)?;
        let now = now();
        if fresh.ends <= now && ends > now {
            return Err(CertificateError::Ended { path: self.files.certificate.clone() });
        }
        if fresh.begins > now && begins <= now && ends > now {
            return Err(CertificateError::NotYet { path: self.files.certificate.clone() });
        }
        let signs = |authority: Option<&Arc<Authority>>| authority.is_none_or(|authority| authority.not_after() > now);
        if let (false, true, Some((certificate, key))) =
            (signs(fresh.authority.as_ref()), signs(self.authority().as_ref()), &self.files.enrolment)
        {
            let (certificate, key) = (certificate.clone(), key.clone());
            return Err(CertificateError::Authority { certificate, key, source: AuthorityError::Ended });
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// Looks for changed files, for ever.
    pub async fn follow(self: Arc<Self>, metrics: Metrics) {
        self.measure(&metrics);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looks, mut seen) = (0_u32, Stamps::new());
        // How often in a row the same files could not be used.
        let mut failures = 0;
        loop {
            ticks.tick().await;
            looks = looks.wrapping_add(1);
            let stamps = self.files.stamps();
            let changed = seen != stamps;
            if changed {
                (seen, failures) = (stamps, 0);
            } else if !looks.is_multiple_of(COMPARE_EVERY) && (failures == 0 || failures >= PATIENCE) {
                continue;
            }
            match self.reload() {
                Ok(true) => {
                    failures = 0;
                    self.measure(&metrics);
                    tracing::info!(certificate = %self.files.certificate.display(), "certificates read again: new connections use them");
                }
                Ok(false) => failures = 0,
                Err(error) => {
                    failures = (failures + 1).min(PATIENCE + 1);
                    if failures >= PATIENCE {
                        metrics.certificate_failed();
                    }
                    if failures == PATIENCE {
                        tracing::error!(error = cause(&error), "certificates not usable: keeping those in use");
                    }
                }
            }
        }
    }

    fn measure(&self, metrics: &Metrics) {
        let (server, authority) = self.current(|loaded| (loaded.ends, loaded.authority.as_ref().map(|authority| authority.not_after())));
        metrics.certificate_ends("server", server);
        if let Some(end) = authority {
            metrics.certificate_ends("enrolment_ca", end);
        }
    }
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let enrolment = self.enrolment.iter().flat_map(|(certificate, key)| [certificate.as_path(), key.as_path()]);
        [self.certificate.as_path(), self.key.as_path()].into_iter().chain(enrolment)
    }

    fn stamps(&self) -> Stamps {
        self.paths().map(Stamp::of).collect()
    }

    /// Reads until two readings are the same: a directory that is replaced by a link while it is read never gives a mixed set.
    fn read(&self) -> Result<Contents, FileError> {
        let once = || self.paths().map(files::read).collect::<Result<Contents, _>>();
        let mut contents = once()?;
        for _ in 1..READINGS {
            let again = once()?;
            if again == contents {
                break;
            }
            contents = again;
        }
        Ok(contents)
    }

    fn build(&self, contents: &Contents) -> Result<Loaded, CertificateError> {
        let content = |number: usize| contents.get(number).map_or(&[][..], Vec::as_slice);
        let malformed = |path: &Path, what, source| CertificateError::Malformed { path: path.to_owned(), what, source };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(content(0))
            .collect::<Result<_, _>>()
            .map_err(|source| malformed(&self.certificate, "certificate", Some(source)))?;
        let validity = chain.iter().map(validity).collect::<Option<Vec<_>>>().unwrap_or_default();
        let (begins, ends) = (validity.iter().map(|(begins, _)| *begins).max(), validity.iter().map(|(_, ends)| *ends).min());
        let (begins, ends) = begins.zip(ends).ok_or_else(|| malformed(&self.certificate, "certificate", None))?;
        let secret = PrivateKeyDer::from_pem_slice(content(1)).map_err(|source| malformed(&self.key, "private key", Some(source)))?;
        let unusable = |source| CertificateError::Unusable { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[_] =
            if self.allow_tls12 { &[&rustls::version::TLS13, &rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).map_err(unusable)?;
        let (builder, authority) = match &self.enrolment {
            None => (builder.with_no_client_auth(), None),
            Some((certificate, key)) => {
                let wrong = |source| CertificateError::Authority { certificate: certificate.clone(), key: key.clone(), source };
                let authority = Authority::from_pem(content(2), content(3)).map_err(wrong)?;
                let roots = Arc::new(authority.roots().map_err(wrong)?);
                // Tokens and enrolments come without a certificate, and nobody is told which CA we trust.
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated().clear_root_hint_subjects();
                let verifier =
                    verifier.build().map_err(|source| CertificateError::Verifier { certificate: certificate.clone(), source })?;
                (builder.with_client_cert_verifier(verifier), Some(Arc::new(authority)))
            }
        };
        let mut config = builder.with_single_cert(chain, secret).map_err(unusable)?;
        // Resumption would keep an old certificate in use after a rotation, also a client's; one handshake per reconnect costs little.
        (config.send_tls13_tickets, config.max_early_data_size) = (0, 0);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Loaded { hash: digest(contents), config: Arc::new(config), authority, begins, ends })
    }
}

/// Did the other end ask for HTTP/2.
pub(super) fn speaks_http2(connection: &rustls::ServerConnection) -> bool {
    connection.alpn_protocol() == Some(HTTP2)
}

/// The code of a handshake that failed.
pub(super) fn refusal(error: &std::io::Error) -> Refusal {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        _ if error.kind() == std::io::ErrorKind::QuotaExceeded => Refusal::HandshakeRate,
        Some(rustls::Error::InvalidCertificate(_)) => Refusal::ClientCertificate,
        _ => Refusal::Handshake,
    }
}

fn digest(contents: &Contents) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for content in contents {
        hasher.update(&u64::try_from(content.len()).unwrap_or(u64::MAX).to_le_bytes()).update(content);
    }
    hasher.finalize()
}

/// When a certificate begins and ends, Unix milliseconds; `None` for what does not parse.
fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp().saturating_mul(1000), validity.not_after.timestamp().saturating_mul(1000)))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
