//! A real handshake over TLS 1.3 and 1.2 with a server that trusts another authority than the one our certificate is from.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test may fail")]

use std::path::Path;

use holdfast_proto::v1;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::connect::{ConnectError, Shown, Target};

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server of an authority written to `ca.crt`, which lets in whom `trusted` signed, and who is told no.
async fn server(directory: &Path, trusted: &CertifiedIssuer<'static, KeyPair>, version: &'static SupportedProtocolVersion) -> u16 {
    let issuer = authority("server's");
    std::fs::write(directory.join("ca.crt"), issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let chain = vec![params("localhost").signed_by(&key, &issuer).unwrap().der().clone()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            assert!(acceptor.accept(tcp).await.is_err(), "nobody is let in");
        }
    });
    port
}

/// A machine with a certificate from `issuer`.
fn machine(directory: &Path, issuer: &CertifiedIssuer<'static, KeyPair>, port: u16) -> Target {
    let key = KeyPair::generate().unwrap();
    let certificate = params("machine").signed_by(&key, issuer).unwrap();
    std::fs::write(directory.join("identity.pem"), key.serialize_pem() + &certificate.pem()).unwrap();
    Target {
        collector: format!("https://localhost:{port}").parse().unwrap(),
        ca: directory.join("ca.crt"),
        shown: Shown::Identity(directory.to_owned()),
        server_name: None,
        allow_tls12: true,
    }
}

async fn refused(target: &Target) -> ConnectError {
    let connection = match target.dial().await {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    let mut stream = connection.open();
    // The connection may be gone by now.
    drop(stream.outgoing.send(v1::AgentMessage::default()).await);
    stream.incoming.recv().await.expect("an end").expect_err("a refusal")
}

#[tokio::test]
async fn a_certificate_that_the_collector_refuses_is_not_called_a_transport_error() {
    let directory = tempfile::tempdir().unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let port = server(directory.path(), &authority("enrolment, new"), version).await;
        let target = machine(directory.path(), &authority("enrolment, old"), port);
        // Whether the alert or the end of the connection is seen first is chance.
        for _ in 0..20 {
            let error = refused(&target).await;
            assert!(matches!(&error, ConnectError::CertificateRefused { alert, .. } if alert == "UnknownCA"), "{version:?}: {error:?}");
        }
    }
}
