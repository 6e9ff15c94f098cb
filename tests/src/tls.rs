//! TLS by hand: authorities, certificates of every kind, and connections that show one or none, for tests of who is let in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// A certificate with its key, PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// What a certificate is for.
#[derive(Debug, Clone, Default)]
pub struct Purpose {
    /// DNS names.
    pub dns: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Of servers, of clients.
    pub usages: Vec<ExtendedKeyUsagePurpose>,
    /// Past its end.
    pub ended: bool,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - Duration::from_hours(2)).into(), (now + Duration::from_hours(2)).into());
    params
}

/// A new authority.
///
/// # Errors
/// The library's own.
pub fn authority(name: &str) -> Result<Pair> {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    Ok(Pair { certificate: issuer.pem(), key: issuer.key().serialize_pem() })
}

impl Pair {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let text = |path: &Path| -> Result<String> {
            Ok(String::from_utf8(std::fs::read(path).with_context(|| format!("read {}", path.display()))?)?)
        };
        Ok(Self { certificate: text(certificate)?, key: text(key)? })
    }

    /// Signs a certificate, as an authority.
    ///
    /// # Errors
    /// The library's own.
    pub fn sign(&self, purpose: &Purpose) -> Result<Self> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let mut params = params("test");
        for name in &purpose.dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        for uri in &purpose.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        params.extended_key_usages.clone_from(&purpose.usages);
        if purpose.ended {
            params.not_after = (SystemTime::now() - Duration::from_hours(1)).into();
        }
        // As long as enrolment makes them.
        params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
        let key = KeyPair::generate()?;
        Ok(Self { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }

    /// The first certificate, DER.
    ///
    /// # Errors
    /// There is none.
    pub fn der(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)
    }
}

/// TLS settings that trust the authorities in `ca` (PEM), and show `shown`.
///
/// # Errors
/// They cannot be used.
pub fn client(ca: &str, shown: Option<&Pair>) -> Result<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// One handshake with localhost.
///
/// # Errors
/// It failed.
pub async fn shake(port: u16, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    Ok(TlsConnector::from(config).connect(ServerName::try_from("localhost")?, stream).await?)
}

/// An HTTP/2 connection.
///
/// # Errors
/// It failed.
pub async fn channel(port: u16, config: ClientConfig) -> Result<Channel> {
    let stream = shake(port, Arc::new(config)).await?;
    let mut once = Some(TokioIo::new(stream));
    let connector =
        tower::service_fn(move |_| std::future::ready(once.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected))));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}

/// PEM of DER.
pub fn pem(label: &str, der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in der.chunks(3) {
        let value = chunk.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from(value >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = LETTERS.get(digit).filter(|_| place <= chunk.len());
            encoded.push(letter.map_or('=', |letter| char::from(*letter)));
        }
        if encoded.len() % 65 == 64 {
            encoded.push('\n');
        }
    }
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", encoded.trim_end())
}
