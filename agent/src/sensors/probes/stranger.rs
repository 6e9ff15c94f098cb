//! TLS as a stranger speaks it: takes any certificate and shows none, but notes both. Nothing secret is ever sent this way.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// Makes connections.
#[derive(Debug, Clone)]
pub(super) struct Stranger(Arc<CryptoProvider>);

impl Stranger {
    pub(super) fn new() -> Self {
        Self(Arc::new(aws_lc_rs::default_provider()))
    }

    /// A connection to `address`, and what will be noted on it.
    pub(super) fn connection(&self, address: IpAddr) -> Result<(ClientConnection, Arc<Notes>), rustls::Error> {
        let notes = Arc::new(Notes { provider: Arc::clone(&self.0), certificate: OnceLock::new(), asked: AtomicBool::new(false) });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.0)).with_safe_default_protocol_versions()?;
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Notes>::clone(&notes);
        let resolver: Arc<dyn ResolvesClientCert> = Arc::<Notes>::clone(&notes);
        let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_client_cert_resolver(resolver);
        let connection = ClientConnection::new(Arc::new(config), ServerName::IpAddress(address.into()))?;
        Ok((connection, notes))
    }
}

/// What the other side showed and asked for.
#[derive(Debug)]
pub(super) struct Notes {
    provider: Arc<CryptoProvider>,
    certificate: OnceLock<Vec<u8>>,
    asked: AtomicBool,
}

impl Notes {
    /// The certificate it showed first, DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.certificate.get().map(Vec::as_slice)
    }

    /// It asked for a client certificate.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for Notes {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.certificate.get_or_init(|| end_entity.as_ref().to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Notes {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}
