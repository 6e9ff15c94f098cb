#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail")]

use std::io::ErrorKind;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncReadExt;
use tonic::transport::server::Connected;

use super::*;

#[tokio::test]
async fn a_connection_in_which_nobody_opens_a_session_is_closed_and_one_that_is_known_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("tls");
    crate::ca::init(&out, &["localhost".to_owned()]).unwrap();
    let certificate = Arc::new(Certificate::load(&out.join("server.crt"), &out.join("server.key")).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bounds = Bounds { session_within: Duration::from_millis(300), ..Bounds::default() };
    let (mut connections, accepting) =
        accept(listener, certificate, bounds, Metrics::default(), Refusals::default(), CancellationToken::new());
    tokio::spawn(accepting);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(out.join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let connect = async || {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    };

    let (_quiet, mut stranger) = (connect().await, connections.recv().await.unwrap().unwrap());
    let read = timeout(Duration::from_secs(10), stranger.read_u8()).await.expect("a deadline");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);

    let (_known, mut agent) = (connect().await, connections.recv().await.unwrap().unwrap());
    agent.connect_info().accepted();
    let session = agent.connect_info().begin_session();
    assert!(session.is_some() && agent.connect_info().begin_session().is_none(), "one session in one connection");
    assert!(timeout(Duration::from_millis(600), agent.read_u8()).await.is_err(), "it waits for the agent");
}

#[test]
fn the_limit_of_open_files_is_raised_to_what_the_system_allows() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(512), hard).unwrap();
    let limit = raise_limit().unwrap();
    assert_eq!(u64::try_from(limit).unwrap(), hard);
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
}

#[test]
fn agents_never_get_the_last_descriptors() {
    let room = |limit| Bounds::default().within(limit).connections;
    assert_eq!([room(1_000_000), room(20_000), room(1024), room(0)], [30_000, 18_976, 512, 1]);
    assert!((0..5_000).all(|limit| {
        let bounds = Bounds::default().within(limit);
        bounds.connections + bounds.handshakes <= (limit * 3 / 4).max(2)
    }));
}
