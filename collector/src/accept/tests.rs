#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "a test may fail")]

use std::io::ErrorKind;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::server::Connected;

use super::*;

struct Rig {
    _directory: tempfile::TempDir,
    address: SocketAddr,
    connector: tokio_rustls::TlsConnector,
    connections: mpsc::Receiver<std::io::Result<TlsConnection>>,
    metrics: Metrics,
    cancel: CancellationToken,
}

impl Rig {
    fn new(bounds: Bounds) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("tls");
        crate::ca::init(&out, &["localhost".to_owned()]).unwrap();
        let certificate = Arc::new(Certificate::load(&out.join("server.crt"), &out.join("server.key")).unwrap());
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::default();
        let refusals = Refusals::new(metrics.clone());
        let cancel = CancellationToken::new();
        let (connections, accepting) = accept(listener, certificate, bounds, metrics.clone(), refusals, cancel.clone());
        tokio::spawn(accepting);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(out.join("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut client = client.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        Self { _directory: directory, address, connector, connections, metrics, cancel }
    }

    async fn connect(&mut self) -> (tokio_rustls::client::TlsStream<TcpStream>, TlsConnection) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let client = self.connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        (client, self.connections.recv().await.unwrap().unwrap())
    }

    fn refused(&self, refusal: Refusal) -> bool {
        self.metrics.encode().contains(&format!("holdfast_rejections_total{{reason=\"{}\"}} 1\n", refusal.code()))
    }
}

async fn ended(connection: &mut TlsConnection) -> ErrorKind {
    timeout(Duration::from_mins(1), connection.read_u8()).await.expect("a deadline").unwrap_err().kind()
}

#[tokio::test]
async fn a_connection_in_which_nobody_opens_a_session_is_closed_and_one_that_is_known_lasts() {
    let mut rig = Rig::new(Bounds { session_within: Duration::from_millis(300), ..Bounds::default() });
    let (_quiet, mut stranger) = rig.connect().await;
    assert_eq!(ended(&mut stranger).await, ErrorKind::TimedOut);
    assert!(rig.refused(Refusal::NoSession));

    let (_known, mut agent) = rig.connect().await;
    let session = agent.connect_info().begin_session();
    assert!(session.is_some() && agent.connect_info().begin_session().is_none(), "one session in one connection");
    assert!(timeout(Duration::from_millis(600), agent.read_u8()).await.is_err(), "it waits for the agent");
}

#[tokio::test]
async fn a_connection_without_a_session_gives_way_and_one_with_a_session_does_not() {
    // A quarter of four may be without a session.
    let mut rig = Rig::new(Bounds { connections: 4, ..Bounds::default() });
    let (_known, mut agent) = rig.connect().await;
    let session = agent.connect_info().begin_session().unwrap();
    session.holds();
    let (_first, mut first) = rig.connect().await;
    let (_second, mut second) = rig.connect().await;
    assert_eq!(ended(&mut first).await, ErrorKind::TimedOut);
    assert!(rig.refused(Refusal::NoSessionDisplaced));
    for quiet in [&mut second, &mut agent] {
        assert!(timeout(Duration::from_millis(300), quiet.read_u8()).await.is_err(), "it stays");
    }
}

/// One credential could hold as many connections as there may be: each for as long as a Hello may take and a good-bye lasts.
#[tokio::test]
async fn a_session_that_has_not_begun_or_is_over_gives_way_like_none() {
    let mut rig = Rig::new(Bounds { connections: 4, ..Bounds::default() });
    let (_silent, mut silent) = rig.connect().await;
    let _begun = silent.connect_info().begin_session().unwrap();
    let (_over, mut over) = rig.connect().await;
    assert_eq!(ended(&mut silent).await, ErrorKind::TimedOut, "it had good credentials and said nothing");
    assert!(rig.refused(Refusal::NoSessionDisplaced));
    let session = over.connect_info().begin_session().unwrap();
    session.holds();
    let (_other, mut other) = rig.connect().await;
    assert!(timeout(Duration::from_millis(300), over.read_u8()).await.is_err(), "it holds its node");
    drop(session);
    // It is the newest now, and the one that says nothing the oldest.
    let (read, late) = tokio::join!(timeout(Duration::from_millis(300), over.read_u8()), ended(&mut other));
    assert!(read.is_err() && late == ErrorKind::TimedOut);
    let (_next, mut next) = rig.connect().await;
    assert_eq!(timeout(Duration::from_secs(5), ended(&mut over)).await.expect("before its farewell is over"), ErrorKind::TimedOut);
    assert!(timeout(Duration::from_millis(300), next.read_u8()).await.is_err());
}

#[tokio::test]
async fn at_the_cap_a_stranger_makes_room_and_where_there_is_none_the_newest_is_refused() {
    let mut rig = Rig::new(Bounds { connections: 2, ..Bounds::default() });
    let (_one, one) = rig.connect().await;
    let (_two, two) = rig.connect().await;
    let sessions = [&one, &two].map(|agent| agent.connect_info().begin_session().unwrap());
    sessions.iter().for_each(SessionPlace::holds);
    let mut plain = TcpStream::connect(rig.address).await.unwrap();
    let read = timeout(Duration::from_mins(1), plain.read_u8()).await.expect("refused");
    assert!(read.is_err() && rig.refused(Refusal::ConnectionsFull), "{read:?}");
    drop(one);
    rig.connect().await;
}

#[tokio::test]
async fn an_address_of_whose_handshakes_no_agent_comes_has_no_more_and_another_one_has() {
    let mut rig = Rig::new(Bounds { strange: Rate { burst: 3, per_second: 0 }, ..Bounds::default() });
    let mut open = Vec::new();
    for _ in 0..6 {
        let (client, connection) = rig.connect().await;
        let session = connection.connect_info().begin_session().unwrap();
        // Once, however many sessions are opened in it.
        session.opened();
        session.opened();
        open.push((client, connection));
    }
    for _ in 0..3 {
        // Silent ones cost no handshake.
        drop(TcpStream::connect(rig.address).await.unwrap());
        open.push(rig.connect().await);
    }
    let begun: Vec<_> = open[6..].iter().map(|(_, connection)| connection.connect_info().begin_session().unwrap()).collect();
    begun.iter().for_each(SessionPlace::holds);
    let shake = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(rig.address).await.unwrap();
        rig.connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    };
    assert!(shake([127, 0, 0, 1]).await.is_err() && rig.refused(Refusal::HandshakeRate));
    shake([127, 0, 0, 2]).await.unwrap();
    begun[0].opened();
    shake([127, 0, 0, 1]).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_goes_no_further_gives_way_to_one_that_does() {
    let mut rig = Rig::new(Bounds { handshakes: 2, ..Bounds::default() });
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(rig.address).await.unwrap());
    }
    let start = std::time::Instant::now();
    let (_agent, _connection) = timeout(Duration::from_secs(8), rig.connect()).await.expect("long before a handshake times out");
    assert!(start.elapsed() >= GRACE, "each had its time");
    assert!(rig.metrics.encode().contains("reason=\"handshake_displaced\""));
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_told_at_once_and_let_go_after_a_while() {
    let rig = Rig::new(Bounds::default());
    let start = std::time::Instant::now();
    let mut plain = TcpStream::connect(rig.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(timeout(Duration::from_mins(1), plain.read_to_end(&mut answer)).await.expect("it is let go"));
    assert!(start.elapsed() >= PENALTY && rig.refused(Refusal::Handshake));
    assert_eq!(answer.first(), Some(&21), "a TLS alert: {answer:?}");
}

/// What the server does with a connection it gives up.
async fn given_up(connection: &mut TlsConnection) -> Duration {
    let start = std::time::Instant::now();
    timeout(Duration::from_mins(1), connection.shutdown()).await.expect("it is let go").unwrap();
    start.elapsed()
}

#[tokio::test]
async fn only_a_connection_of_which_no_request_came_is_no_http2() {
    let mut rig = Rig::new(Bounds::default());
    let (_client, mut asked) = rig.connect().await;
    let mut request = axum::http::Request::new(());
    request.extensions_mut().insert(asked.connect_info());
    heard(request);
    let asked = given_up(&mut asked).await;
    assert!(!rig.metrics.encode().contains("reason=\"protocol\""));

    let (_client, mut never) = rig.connect().await;
    let never = given_up(&mut never).await;
    assert!(never >= PENALTY && asked < never && rig.refused(Refusal::Protocol), "{asked:?}, {never:?}");
}

#[tokio::test]
async fn a_stranger_that_is_connected_while_the_collector_stops_broke_no_contract() {
    let mut rig = Rig::new(Bounds::default());
    let (_client, mut stranger) = rig.connect().await;
    rig.cancel.cancel();
    given_up(&mut stranger).await;
    assert!(!rig.metrics.encode().contains("reason=\"protocol\""));
}

#[tokio::test]
async fn a_connection_that_ran_out_of_time_is_counted_once() {
    let mut rig = Rig::new(Bounds { session_within: Duration::from_millis(100), ..Bounds::default() });
    let (_quiet, mut stranger) = rig.connect().await;
    assert_eq!(ended(&mut stranger).await, ErrorKind::TimedOut);
    assert_eq!(stranger.write_all(b"words of the server").await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(rig.refused(Refusal::NoSession));
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
        bounds.connections + bounds.handshakes <= (limit - limit / 4).max(limit.saturating_sub(RESERVED / 2)).max(2)
    }));
}

/// Server certificate, its key, enrolment CA and its key, each valid from and to so many seconds from now.
fn written(directory: &std::path::Path, server: (i64, i64), authority: (i64, i64)) -> TlsFiles {
    let at = |seconds: i64| {
        let (now, by) = (std::time::SystemTime::now(), Duration::from_secs(seconds.unsigned_abs()));
        if seconds < 0 { now - by } else { now + by }
    };
    let mut files = Vec::new();
    for (name, (begins, ends), ca) in [("server", server, false), ("enrolment", authority, true)] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (at(begins).into(), at(ends).into());
        if ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        for (suffix, text) in [("crt", params.self_signed(&key).unwrap().pem()), ("key", key.serialize_pem())] {
            files.push(directory.join(format!("{name}.{suffix}")));
            std::fs::write(files.last().unwrap(), text).unwrap();
        }
    }
    let [certificate, key, ca, ca_key] = files.try_into().unwrap();
    TlsFiles { certificate, key, enrolment: Some((ca, ca_key)), allow_tls12: false }
}

/// Every agent would turn away, and no machine could renew: those in use are better for as long as they are good.
#[test]
fn a_certificate_that_is_not_valid_yet_and_an_enrolment_ca_that_has_ended_do_not_replace_good_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (good, later, over) = ((-60, 3_600), (1_800, 3_600), (-7_200, -3_600));
    let certificate = Certificate::open(written(directory.path(), good, good)).unwrap();
    let ends = certificate.authority().unwrap().not_after();
    let refused = |server, authority| {
        written(directory.path(), server, authority);
        certificate.reload().unwrap_err()
    };
    assert!(matches!(refused(later, good), CertificateError::NotYet { .. }));
    assert!(matches!(refused(over, good), CertificateError::Ended { .. }));
    assert!(matches!(refused(good, over), CertificateError::Authority { .. }));
    assert_eq!(certificate.authority().unwrap().not_after(), ends, "those before are in use");
    written(directory.path(), good, good);
    assert!(certificate.reload().unwrap());
    // What is in use is of no use to anybody itself.
    let bad = Certificate::open(written(directory.path(), over, over)).unwrap();
    written(directory.path(), later, over);
    assert!(bad.reload().unwrap());
}

/// Four requests with hundreds of headers each, none of them whole, took up 270 KiB of a connection that nobody knew.
#[test]
fn of_a_request_only_the_headers_that_are_read_are_kept() {
    let mut request = axum::http::Request::post("/holdfast.v1.Enrolment/Enrol").body(()).unwrap();
    for number in 0..400 {
        let name: axum::http::HeaderName = format!("x-{number}").parse().unwrap();
        request.headers_mut().insert(name, "x".parse().unwrap());
    }
    for (name, value) in [("authorization", "Bearer t"), ("content-type", "application/grpc"), ("te", "trailers")] {
        request.headers_mut().append(name, value.parse().unwrap());
        request.headers_mut().append(name, "another".parse().unwrap());
    }
    let kept = heard(request);
    let kept: Vec<_> = kept.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(kept, [("authorization", "Bearer t"), ("content-type", "application/grpc"), ("te", "trailers")]);
}

/// Of 30,000 connections a quarter could be those of strangers, who could fill a gigabyte with them.
#[test]
fn strangers_are_no_more_than_a_few_thousand() {
    assert_eq!(Bounds::default().without_session(), STRANGERS);
    assert_eq!(Bounds { connections: 1_000, ..Bounds::default() }.without_session(), 250);
}
