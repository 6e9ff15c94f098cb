//! Examinations of real servers: rustls, OpenSSL and Go's `crypto/tls`; and of hostile ones.
#![allow(clippy::disallowed_methods, reason = "a test starts the servers it asks")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::super::wire::{Bucket, DEADLINE};
use super::*;

/// A certificate for loopback with who signed it.
pub(super) struct Identity {
    pub(super) authority: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: KeyPair,
}

pub(super) fn identity(kind: &'static SignatureAlgorithm) -> Identity {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "kubernetes");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate_for(kind).unwrap();
    let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "n1");
    let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    Identity { authority, chain: vec![leaf.der().clone()], key }
}

/// A rustls server that answers every connection with HTTP, and how many connections it has seen.
fn rustls(identity: &Identity, versions: &[&'static SupportedProtocolVersion], demands: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = if demands {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.authority.as_bytes()).unwrap()).unwrap();
        builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let config = Arc::new(builder.with_single_cert(identity.chain.clone(), key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || {
                let mut stream = stream;
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
                // An alert waits to be sent where the handshake failed.
                drop(connection.write_tls(&mut stream));
            });
        }
    });
    (address, seen)
}

fn visit(address: SocketAddr) -> Visit {
    let now = Instant::now();
    Visit::new(address, Bucket::full(now), now + Duration::from_secs(20))
}

fn seen(address: SocketAddr) -> (Box<Seen>, u32) {
    let mut visit = visit(address);
    match examine(&mut visit, &Stranger::new()) {
        Found::Tls(seen) => (seen, visit.connections),
        other => panic!("{other:?}"),
    }
}

fn taken(seen: &Seen) -> Vec<&'static str> {
    assert!(seen.untried.is_empty(), "{:?}", seen.untried);
    assert_eq!(seen.versions.len(), 4, "{:?}", seen.versions);
    seen.versions.iter().filter(|(_, taken)| *taken).map(|(version, _)| version.name()).collect()
}

#[test]
fn a_server_of_tls_1_2_and_1_3_is_told_with_all_its_suites() {
    let identity = identity(&PKCS_RSA_SHA256);
    let (address, counter) = rustls(&identity, rustls::ALL_VERSIONS, false);
    let (seen, connections) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.2", "TLS 1.3"]);
    let mut suites = seen.suites.clone();
    suites.sort_unstable();
    assert_eq!(
        suites,
        ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]
    );
    assert_eq!((seen.suites_unknown, seen.shown.asks), (None, Some(false)));
    assert_eq!(seen.shown.certificate.as_deref(), Some(identity.chain[0].as_ref()));
    assert_eq!(connections, 3 + 4, "three suites");
    assert_eq!(counter.load(Ordering::SeqCst), 7);
}

#[test]
fn a_server_of_tls_1_3_alone_that_demands_a_certificate_is_told() {
    let (address, _) = rustls(&identity(&PKCS_ECDSA_P256_SHA256), &[&rustls::version::TLS13], true);
    let (seen, connections) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.3"]);
    assert_eq!((seen.suites.len(), seen.suites_unknown, seen.shown.asks), (0, None, Some(true)));
    assert!(seen.shown.certificate.is_some());
    assert_eq!(connections, 4);
}

#[test]
fn a_server_of_tls_1_2_alone_that_demands_a_certificate_is_told() {
    let (address, _) = rustls(&identity(&PKCS_ECDSA_P256_SHA256), &[&rustls::version::TLS12], true);
    let (seen, _) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.2"]);
    assert_eq!((seen.suites.len(), seen.shown.asks), (3, Some(true)));
    assert!(seen.shown.certificate.is_some());
}

/// Ends its process when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a server and waits until it says on which address it listens: behind `word`, at the end of a line or before a blank.
fn start(command: &mut Command, word: &str) -> (Running, SocketAddr) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let running = Running(child);
    let (told, heard) = std::sync::mpsc::channel();
    let streams: [Box<dyn Read + Send>; 2] = [Box::new(out), Box::new(err)];
    for stream in streams {
        let told = told.clone();
        std::thread::spawn(move || {
            // To the end, so that it never writes into a closed pipe.
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                drop(told.send(line));
            }
        });
    }
    let until = Instant::now() + Duration::from_mins(2);
    let mut said = Vec::new();
    while let Ok(line) = heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
        let place = line.split_once(word).map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default().trim_matches('"'));
        if let Some(address) = place.and_then(|place| place.parse().ok()) {
            return (running, address);
        }
        said.push(line);
    }
    panic!("it did not start: {said:#?}");
}

/// Certificate and key as files.
fn files(identity: &Identity) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let certificate: String = identity.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    std::fs::write(directory.path().join("tls.crt"), certificate).unwrap();
    std::fs::write(directory.path().join("tls.key"), identity.key.serialize_pem()).unwrap();
    directory
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn openssl(identity: &Identity, arguments: &[&str]) -> (Running, tempfile::TempDir, SocketAddr) {
    let directory = files(identity);
    let mut command = Command::new("openssl");
    command
        .current_dir(directory.path())
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "tls.crt", "-key", "tls.key"])
        .args(arguments);
    let (running, address) = start(&mut command, "ACCEPT ");
    (running, directory, address)
}

#[test]
fn openssl_with_everything_old_is_told_to_the_last_suite() {
    let (_running, _directory, address) = openssl(&identity(&PKCS_RSA_SHA256), &["-cipher", "ALL:eNULL:@SECLEVEL=0", "-Verify", "1"]);
    let (seen, connections) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"]);
    assert_eq!((seen.suites_unknown, seen.shown.asks), (None, Some(true)));
    for suite in ["TLS_RSA_WITH_NULL_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"] {
        assert!(seen.suites.contains(&suite), "{suite}: {:?}", seen.suites);
    }
    assert_eq!(usize::try_from(connections).unwrap(), seen.suites.len() + 4);
}

#[test]
fn openssl_of_tls_1_0_alone_shows_its_certificate_though_no_library_speaks_that() {
    let identity = identity(&PKCS_RSA_SHA256);
    let arguments = ["-tls1", "-cipher", "AES128-SHA:ECDHE-RSA-AES256-SHA:@SECLEVEL=0", "-Verify", "1"];
    let (_running, _directory, address) = openssl(&identity, &arguments);
    let (seen, _) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.0"]);
    let mut suites = seen.suites.clone();
    suites.sort_unstable();
    assert_eq!(suites, ["TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"]);
    assert_eq!(seen.shown, Shown { certificate: Some(identity.chain[0].to_vec()), asks: Some(true) });
}

/// Prometheus: as every component of Kubernetes, it speaks TLS by Go's standard library.
fn go(identity: &Identity, tls: &str) -> (Running, tempfile::TempDir, SocketAddr) {
    let directory = files(identity);
    std::fs::write(directory.path().join("ca.crt"), &identity.authority).unwrap();
    std::fs::write(directory.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let config = format!("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n{tls}");
    std::fs::write(directory.path().join("web.yml"), config).unwrap();
    let mut command = Command::new("prometheus");
    let flags =
        ["--config.file=prometheus.yml", "--web.config.file=web.yml", "--web.listen-address=127.0.0.1:0", "--storage.tsdb.path=data"];
    command.current_dir(directory.path()).args(flags);
    let (running, address) = start(&mut command, "msg=\"Listening on\" address=");
    (running, directory, address)
}

#[test]
fn a_server_of_go_is_told_as_kubernetes_components_are() {
    let (_running, _directory, address) = go(&identity(&PKCS_RSA_SHA256), "");
    let (seen, connections) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.2", "TLS 1.3"]);
    assert!(seen.suites.contains(&"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{:?}", seen.suites);
    assert_eq!((seen.suites_unknown, seen.shown.asks), (None, Some(false)));
    assert_eq!(usize::try_from(connections).unwrap(), seen.suites.len() + 4);
    println!("Go: {} suites, {connections} connections", seen.suites.len());
}

#[test]
fn a_server_of_go_with_weak_settings_is_told() {
    let weak = "  min_version: TLS10\n  max_version: TLS12\n  client_auth_type: RequireAnyClientCert\n  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n";
    let (_running, _directory, address) = go(&identity(&PKCS_RSA_SHA256), weak);
    let (seen, _) = seen(address);
    assert_eq!(taken(&seen), ["TLS 1.0", "TLS 1.1", "TLS 1.2"]);
    let mut suites = seen.suites.clone();
    suites.sort_unstable();
    assert_eq!(suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"]);
    assert_eq!(seen.shown.asks, Some(true));
}

/// A server that treats every connection like this, after its first bytes.
fn server(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                if stream.read(&mut [0; 1024]).is_ok() {
                    serve(&mut stream);
                }
            });
        }
    });
    address
}

fn found(address: SocketAddr) -> (Found, u32, Duration) {
    let started = Instant::now();
    let mut visit = visit(address);
    let found = examine(&mut visit, &Stranger::new());
    (found, visit.connections, started.elapsed())
}

#[test]
fn who_speaks_no_tls_is_left_after_one_connection() {
    let http = server(|stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    assert!(matches!(found(http), (Found::Plain, 1, _)));
    let silent = server(|_| ());
    assert!(matches!(found(silent), (Found::Plain, _, _)));
}

#[test]
fn who_never_answers_is_unknown_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (found, connections, took) = found(listener.local_addr().unwrap());
    assert!(matches!(found, Found::Unknown(Reason::TimedOut)), "{found:?}");
    assert!(connections == 1 && took < DEADLINE * 20, "{connections} {took:?}");
}

#[test]
fn who_has_no_certificate_yet_speaks_tls_of_which_nothing_is_known() {
    // What Go's servers send while a kubelet waits for its first certificate: `internal_error`.
    let waiting = server(|stream| drop(stream.write_all(&[21, 3, 1, 0, 2, 2, 80])));
    let (seen, _) = seen(waiting);
    assert_eq!((seen.versions.len(), seen.untried.len()), (0, 4));
    assert!(seen.suites_unknown.is_some() && seen.shown.certificate.is_none());
}

#[test]
fn hostile_servers_are_left_in_time_and_say_nothing() {
    let record = |length: [u8; 2]| [vec![22, 3, 3], length.to_vec(), vec![2, 0, 0]].concat();
    let (huge, endless, dripping) = (record([0xff, 0xff]), record([0x40, 0]), record([0, 200]));
    let huge = server(move |stream| drop(stream.write_all(&huge)));
    let endless = server(move |stream| {
        let mut all = Ok(());
        while all.is_ok() {
            all = stream.write_all(&endless).and_then(|()| stream.write_all(&[1; 1000]));
        }
    });
    let dripping = server(move |stream| {
        for byte in &dripping {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(400));
        }
    });
    let never_offered = server(|stream| {
        // TLS 1.2, and a suite that nobody offered.
        let hello = [vec![2, 0, 0, 38, 3, 3], vec![7; 32], vec![0, 0x13, 0x37, 0]].concat();
        let length = u8::try_from(hello.len()).unwrap();
        drop(stream.write_all(&[vec![22, 3, 3, 0, length], hello].concat()));
    });
    for address in [huge, endless, dripping, never_offered] {
        let (found, connections, took) = found(address);
        assert!(took < DEADLINE * 30, "{took:?}");
        assert!(connections <= 6, "{connections}");
        if let Found::Tls(seen) = found {
            assert!(seen.versions.iter().all(|(_, taken)| !taken), "{seen:?}");
        }
    }
}

#[test]
fn whoever_signed_the_certificate_is_found_among_the_files() {
    let another = identity(&PKCS_ECDSA_P256_SHA256);
    let identity = identity(&PKCS_ECDSA_P256_SHA256);
    let directory = tempfile::tempdir().unwrap();
    let pki = directory.path().join("etc/kubernetes/pki");
    std::fs::create_dir_all(&pki).unwrap();
    std::fs::create_dir_all(directory.path().join("proc")).unwrap();
    std::fs::write(pki.join("other.crt"), another.authority).unwrap();
    std::fs::write(pki.join("ca.crt"), &identity.authority).unwrap();
    let host = Host::open(directory.path(), &directory.path().join("proc")).unwrap();
    let paths = ["other.crt", "missing.crt", "ca.crt"].map(|name| format!("/etc/kubernetes/pki/{name}"));
    let authorities = read_authorities(&host, &paths);
    assert_eq!(authorities.len(), 2);
    let (address, _) = rustls(&identity, rustls::ALL_VERSIONS, false);
    let (seen, _) = seen(address);
    let fact = fact(&seen, address, &authorities);
    assert_eq!(fact.issued_by, "/etc/kubernetes/pki/ca.crt");
    assert_eq!(fact.certificate.value().map(|certificate| certificate.common_name.as_str()), Some("n1"));
}

#[test]
fn a_bundle_of_any_size_costs_a_bounded_number_of_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), directory.path()).unwrap();
    let many = identity(&PKCS_ECDSA_P256_SHA256).authority.repeat(300);
    let paths: Vec<String> = ["a.crt", "b.crt", "c.crt"].map(str::to_owned).to_vec();
    for path in &paths {
        std::fs::write(directory.path().join(path), &many).unwrap();
    }
    assert_eq!(read_authorities(&host, &paths).len(), MAX_AUTHORITIES);
}
