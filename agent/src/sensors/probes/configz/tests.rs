//! The token goes to the node's own kubelet, and to nobody else.
#![allow(clippy::disallowed_methods, reason = "a test may fail")]

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use holdfast_checks::facts::Listing;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// A kubelet with a certificate for `name`, which gives `answer` to everybody; and what it was sent.
fn kubelet(authority: &Authority, name: &str, answer: Vec<u8>) -> (SocketAddr, Receiver<String>) {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sent, heard) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
        let mut request = [0; 4096];
        let read = tls.read(&mut request).unwrap_or_default();
        drop(sent.send(String::from_utf8_lossy(&request[..read]).into_owned()));
        drop(tls.write_all(&answer));
        tls.conn.send_close_notify();
        drop(tls.flush());
    });
    (address, heard)
}

fn ask(address: SocketAddr, trusted: &Authority, names: &[&str]) -> Observed<Value> {
    let directory = tempfile::tempdir().unwrap();
    let options = ConfigzOptions { token_file: directory.path().join("token"), ca: directory.path().join("ca.crt") };
    std::fs::write(&options.token_file, "geheim\n").unwrap();
    std::fs::write(&options.ca, &trusted.pem).unwrap();
    let names = names.iter().map(|name| ServerName::try_from((*name).to_owned()).unwrap()).collect();
    let question = Question { who: (1, 1), address: Some(address), names };
    let told = pass(&options, &[question], Told::new(), Instant::now() + Duration::from_mins(1));
    told.into_values().next().unwrap().1
}

const CONFIG: &str = r#"{"kubeletconfig":{"readOnlyPort":10255,"staticPodURLHeader":{"Authorization":["Bearer x"]}}}"#;

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_kubelet_that_proves_who_it_is_is_asked_with_the_token() {
    let authority = authority();
    let (address, heard) = kubelet(&authority, "n1", ok(CONFIG));
    let told = ask(address, &authority, &["10.0.0.1", "n1"]);
    assert_eq!(told.value(), Some(&serde_json::json!({"readOnlyPort": 10255, "staticPodURLHeader": "(redacted)"})), "{told:?}");
    let request = heard.recv().unwrap();
    assert!(request.starts_with("GET /configz HTTP/1.0\r\n") && request.contains("Authorization: Bearer geheim\r\n"), "{request}");
}

#[test]
fn nobody_else_gets_the_token() {
    let (ours, another) = (authority(), authority());
    for (issuer, name) in [(&another, "n1"), (&ours, "n2"), (&ours, "127.0.0.1")] {
        let (address, heard) = kubelet(issuer, name, ok(CONFIG));
        let told = ask(address, &ours, &["n1", "10.0.0.1"]);
        let why = told.unavailable().unwrap();
        assert_eq!(why.reason, Reason::PermissionDenied, "{why:?}");
        assert!(why.detail.contains("it was sent no token"), "{why:?}");
        assert_eq!(heard.recv().unwrap(), "");
    }
}

#[rstest::rstest]
#[case(b"HTTP/1.0 403 Forbidden\r\n\r\n".to_vec(), Reason::PermissionDenied, "nodes/configz")]
#[case(b"HTTP/1.0 404 Not Found\r\n\r\n".to_vec(), Reason::NotSupported, "404")]
#[case(ok("{}"), Reason::Malformed, "no kubelet's configuration")]
#[case(ok("{\"kubeletconfig\": 1}"), Reason::Malformed, "no kubelet's configuration")]
#[case(ok(&" ".repeat(300 * 1024)), Reason::TooLarge, "larger than")]
fn other_answers_are_said_to_be_so(#[case] answer: Vec<u8>, #[case] reason: Reason, #[case] says: &str) {
    let authority = authority();
    let (address, _heard) = kubelet(&authority, "n1", answer);
    let told = ask(address, &authority, &["n1"]);
    let why = told.unavailable().unwrap();
    assert_eq!(why.reason, reason, "{why:?}");
    assert!(why.detail.contains(says), "{why:?}");
}

#[test]
fn a_missing_token_or_ca_is_said_to_be_missing() {
    let options = ConfigzOptions { token_file: "/nonexistent/token".into(), ca: "/nonexistent/ca".into() };
    let question = Question { who: (1, 1), address: Some(([127, 0, 0, 1], 1).into()), names: Vec::new() };
    let told = pass(&options, &[question], Told::new(), Instant::now() + Duration::from_mins(1));
    let (_, told) = told.into_values().next().unwrap();
    let why = told.unavailable().unwrap();
    assert_eq!(why.reason, Reason::NotPresent);
    assert!(why.detail.contains("/nonexistent/token"), "{why:?}");
}

#[test]
fn a_process_that_calls_itself_a_kubelet_of_another_node_is_not_asked() {
    let text = String::new;
    let node = holdfast_checks::facts::Node {
        name: "n1".to_owned(),
        uid: text(),
        cluster: text(),
        role: text(),
        provider: text(),
        profile: text(),
        profile_because: text(),
        ..holdfast_checks::facts::Node::unnamed()
    };
    let mut facts = NodeFacts::unread(node, &Unavailable::new(Reason::NotSupported, ""));
    let mut stranger = Kubelet::unread("kubelet:pod", 2, "kubelet");
    stranger.argv = vec!["kubelet".to_owned(), "--hostname-override=n2".to_owned()];
    let listing = Listing::complete(vec![Kubelet::unread("kubelet", 1, "kubelet"), stranger]);
    facts.kubelets = Observed::known(listing, Source::new(SourceKind::Process, ""), 0);
    let asked: Vec<i64> = questions(&facts, &[]).iter().map(|question| question.who.0).collect();
    assert_eq!(asked, [1]);
}
