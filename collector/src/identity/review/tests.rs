//! Reviews, asked of a stand-in API server over HTTP.

use serde_json::json;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{ApiServer, Refusal, TokenReview};

const USER: &str = "system:serviceaccount:holdfast:holdfast-agent";

fn review(server: &MockServer, dir: &tempfile::TempDir) -> TokenReview {
    let (token, ca) = (dir.path().join("token"), dir.path().join("ca.crt"));
    crate::files::replace(&token, b"own-token\n").unwrap();
    crate::ca::init(&dir.path().join("ca"), &["localhost".to_owned()]).unwrap();
    std::fs::copy(dir.path().join("ca/ca.crt"), &ca).unwrap();
    let server = ApiServer { url: server.uri(), token, ca, namespace: "holdfast".into(), cluster: "prod".into() };
    TokenReview::new(server).unwrap()
}

async fn answers(status: serde_json::Value) -> (MockServer, TokenReview, tempfile::TempDir) {
    let server = MockServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    Mock::given(method("POST"))
        .and(path("/apis/authentication.k8s.io/v1/tokenreviews"))
        .and(header("authorization", "Bearer own-token"))
        .and(body_partial_json(json!({"kind": "TokenReview", "spec": {"token": "pod-token", "audiences": ["holdfast-collector"]}})))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "status": status })))
        .expect(0..=1)
        .mount(&server)
        .await;
    let review = review(&server, &dir);
    (server, review, dir)
}

fn extra(names: &[&str]) -> serde_json::Value {
    let pairs = names.iter().map(|name| (format!("authentication.kubernetes.io/{name}"), json!([format!("the-{name}")])));
    serde_json::Value::Object(pairs.collect())
}

const BOUND: [&str; 3] = ["node-name", "node-uid", "pod-uid"];

#[tokio::test]
async fn a_pod_bound_token_of_our_agent_names_its_node_and_is_asked_about_once() {
    let status = json!({"authenticated": true, "audiences": ["holdfast-collector"], "user": {"username": USER, "extra": extra(&BOUND)}});
    let (_server, review, _dir) = answers(status).await;
    for _ in 0..3 {
        let node = review.admit("pod-token").await.unwrap().node;
        assert_eq!((node.cluster.as_str(), node.uid.as_str(), node.name.as_str()), ("prod", "the-node-uid", "the-node-name"));
    }
}

#[tokio::test]
async fn everything_less_is_refused() {
    let ours = ["holdfast-collector"];
    for (status, why) in [
        (json!({"error": "token expired"}), "token expired"),
        (json!({"authenticated": true, "audiences": ["api"], "user": {"username": USER, "extra": extra(&BOUND)}}), "audience"),
        (
            json!({"authenticated": true, "audiences": ours, "user": {"username": "system:serviceaccount:x:y", "extra": extra(&BOUND)}}),
            "expected",
        ),
        (json!({"authenticated": true, "audiences": ours, "user": {"username": USER, "extra": extra(&BOUND[..2])}}), "pod-uid"),
        (json!({"authenticated": true, "audiences": ours, "user": {"username": USER}}), "pod-uid"),
    ] {
        let (_server, review, _dir) = answers(status).await;
        let rejection = review.admit("pod-token").await.expect_err(why);
        assert!(!rejection.undecided() && rejection.reason.contains(why), "{rejection}");
    }
}

#[tokio::test]
async fn an_api_server_that_fails_is_not_a_no() {
    let server = MockServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    assert_eq!(review(&server, &dir).admit("pod-token").await.unwrap_err().refusal, Refusal::ReviewUnavailable);
    drop(server);
}

/// A server that answers every request of one TLS connection at a time with `body`.
async fn tls_server(dir: &std::path::Path, body: String) -> String {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let chain = vec![CertificateDer::from_pem_file(dir.join("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 16 * 1024];
            let read = tls.read(&mut request).await.unwrap_or(0);
            assert!(read > 0);
            let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
            tls.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
            tls.shutdown().await.ok();
        }
    });
    url
}

#[tokio::test]
async fn the_api_server_is_trusted_by_its_own_ca_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    crate::ca::init(&dir.path().join("api"), &names).unwrap();
    crate::ca::init(&dir.path().join("other"), &names).unwrap();
    let token = dir.path().join("token");
    crate::files::replace(&token, b"own-token").unwrap();
    let status = json!({"authenticated": true, "audiences": ["holdfast-collector"], "user": {"username": USER, "extra": extra(&BOUND)}});
    let url = tls_server(&dir.path().join("api"), json!({ "status": status }).to_string()).await;
    let review = |ca: &str| {
        let (ca, token) = (dir.path().join(ca).join("ca.crt"), token.clone());
        TokenReview::new(ApiServer { url: url.clone(), token, ca, namespace: "holdfast".into(), cluster: "prod".into() }).unwrap()
    };
    assert!(review("other").admit("pod-token").await.unwrap_err().undecided());
    assert_eq!(review("api").admit("pod-token").await.unwrap().node.name, "the-node-name");
}
