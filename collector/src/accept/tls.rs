//! The server certificate: read from files, used for new handshakes, read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

use crate::files::{self, FileError};
use crate::logs::cause;
use crate::metrics::Metrics;

/// How often the files are compared with what is in use. A mounted Secret changes by a link, which a hash sees.
const LOOK: Duration = Duration::from_secs(30);

/// Why the certificate cannot be used.
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
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<(blake3::Hash, Arc<ServerConfig>)>,
}

impl Certificate {
    /// Reads both files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let current = read(certificate, key, None)?.map(RwLock::new);
        // Without a previous hash there is always something to read.
        let current =
            current.ok_or_else(|| CertificateError::Malformed { path: certificate.to_owned(), what: "certificate", source: None })?;
        Ok(Self { chain: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.1))
    }

    /// Reads the files again; `true` when there was something new. On an error the old certificate stays in use.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let known = self.current.read().unwrap_or_else(PoisonError::into_inner).0;
        let Some(fresh) = read(&self.chain, &self.key, Some(known))? else { return Ok(false) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// Looks for changed files, for ever.
    pub async fn follow(self: Arc<Self>, metrics: Metrics) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.reload() {
                Ok(true) => tracing::info!(certificate = %self.chain.display(), "certificate read again"),
                Ok(false) => {}
                Err(error) => {
                    metrics.certificate_failed();
                    tracing::error!(error = cause(&error), "certificate not usable: keeping the one in use");
                }
            }
        }
    }
}

/// Both files as a configuration; `None` when their hash is the known one.
fn read(
    certificate: &Path,
    key: &Path,
    known: Option<blake3::Hash>,
) -> Result<Option<(blake3::Hash, Arc<ServerConfig>)>, CertificateError> {
    let (chain_pem, key_pem) = (files::read(certificate)?, files::read(key)?);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&u64::try_from(chain_pem.len()).unwrap_or(u64::MAX).to_le_bytes());
    let hash = hasher.update(&chain_pem).update(&key_pem).finalize();
    if known == Some(hash) {
        return Ok(None);
    }
    let malformed = |path: &Path, what, source| CertificateError::Malformed { path: path.to_owned(), what, source };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|source| malformed(certificate, "certificate", Some(source)))?;
    if chain.is_empty() {
        return Err(malformed(certificate, "certificate", None));
    }
    let secret = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|source| malformed(key, "private key", Some(source)))?;
    let unusable = |source| CertificateError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12]);
    let mut config = builder.map_err(unusable)?.with_no_client_auth().with_single_cert(chain, secret).map_err(unusable)?;
    // Resumption would keep an old certificate in use after a rotation; one handshake per reconnect costs little.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some((hash, Arc::new(config))))
}
