//! A real collector with one token, and a client written by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::entries::{Body, Digest, Entry, Finding, Severity, Verdict};
use holdfast_collector::identity;
use holdfast_collector::nodes::Patience;
use holdfast_collector::nodes::membership::Waiting;
use holdfast_collector::serve::{ServeOptions, Serving, serve};
use holdfast_collector::store::nodes::Origin;
use holdfast_collector::store::retention::Retention;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use holdfast_proto::v1::posture_client::PostureClient;
use holdfast_proto::v1::{self, AgentMessage};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) token: String,
    pub(crate) cancel: CancellationToken,
    pub(crate) serving: Serving,
}

pub(crate) async fn start(dir: tempfile::TempDir) -> Rig {
    let path = dir.path();
    let tokens = path.join("tokens.yaml");
    let (tls_cert, tls_key) = (path.join("tls/server.crt"), path.join("tls/server.key"));
    let catalogue = Some(path.join("catalogue")).filter(|directory| directory.exists());
    let token = if tokens.exists() {
        std::fs::read_to_string(path.join("token")).unwrap()
    } else {
        holdfast_collector::ca::init(&path.join("tls"), &["localhost".to_owned()]).unwrap();
        let token = identity::add(&tokens, "test", "node-1", Origin::Agent).unwrap();
        std::fs::write(path.join("token"), &token).unwrap();
        token
    };
    let options = ServeOptions {
        data: path.join("data"),
        listen: "127.0.0.1:0".parse().unwrap(),
        http: "127.0.0.1:0".parse().unwrap(),
        tls_cert,
        tls_key,
        tokens: Some(tokens),
        enrolment: None,
        allow_tls12: false,
        token_review: false,
        kubeconfig: None,
        namespace: None,
        peer_probes: None,
        peer_probes_from_api: false,
        cluster: "default".into(),
        policy: None,
        catalogue,
        feed_directory: None,
        alertmanager: Vec::new(),
        webhook: Vec::new(),
        public_url: None,
        alert_on_recorded: false,
        patience: Patience { grace_ms: 500, warm_up_ms: 1_000, gone_ms: 86_400_000, ..Patience::default() },
        waiting: Waiting::default(),
        heartbeat_seconds: 60,
        retention: Retention::default(),
    };
    let cancel = CancellationToken::new();
    let serving = serve(options, cancel.clone()).await.unwrap();
    Rig { dir, token, cancel, serving }
}

pub(crate) async fn rig() -> Rig {
    start(tempfile::tempdir().unwrap()).await
}

impl Rig {
    pub(crate) async fn channel(&self) -> Channel {
        channel(&self.dir.path().join("tls/ca.crt"), self.serving.grpc_addr).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client::open(self.channel().await, &self.token).await.unwrap()
    }

    pub(crate) async fn raw(&self) -> SqlitePool {
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.dir.path().join("data/holdfast.db"))).await.unwrap()
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.raw().await).await.unwrap()
    }

    pub(crate) async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.raw().await).await.unwrap()
    }

    pub(crate) async fn until(&self, sql: &'static str, wanted: &str) {
        let waiting = async {
            let raw = self.raw().await;
            while sqlx::query_scalar::<_, Option<String>>(sql).fetch_optional(&raw).await.unwrap().flatten().as_deref() != Some(wanted) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "{sql} did not become {wanted}");
    }

    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.serving.http_addr);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.cancel.cancel();
        timeout(PATIENCE, self.serving.join).await.expect("stops").unwrap().unwrap();
        self.dir
    }
}

pub(crate) async fn channel(ca: &Path, address: std::net::SocketAddr) -> Channel {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap()
}

pub(crate) struct Client {
    pub(crate) say: mpsc::Sender<AgentMessage>,
    pub(crate) hear: Streaming<v1::CollectorMessage>,
}

impl Client {
    pub(crate) async fn open(channel: Channel, token: &str) -> Result<Self, Status> {
        let (say, outbox) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(outbox));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let hear = PostureClient::new(channel).session(request).await?.into_inner();
        Ok(Self { say, hear })
    }

    pub(crate) async fn say(&self, message: Say) {
        // A stream that has ended shows when it is listened to.
        drop(self.say.send(AgentMessage { message: Some(message) }).await);
    }

    pub(crate) async fn hear(&mut self) -> Result<Option<Hear>, Status> {
        let heard = timeout(PATIENCE, self.hear.message()).await.expect("an answer in time")?;
        Ok(heard.and_then(|message| message.message))
    }

    pub(crate) async fn greet(&mut self, epoch: u64, last_acked_seq: u64, digest: Digest) -> v1::Welcome {
        self.say(Say::Hello(hello(epoch, last_acked_seq, digest))).await;
        match self.hear().await.unwrap() {
            Some(Hear::Welcome(welcome)) => welcome,
            other => panic!("expected Welcome, got {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self) -> v1::Ack {
        match self.hear().await.unwrap() {
            Some(Hear::Ack(ack)) => ack,
            other => panic!("expected Ack, got {other:?}"),
        }
    }

    /// The error the collector ends the stream with.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without an error"),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) fn hello(epoch: u64, last_acked_seq: u64, digest: Digest) -> v1::Hello {
    v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        agent_version: "0.1.0".into(),
        epoch,
        last_acked_seq,
        state_digest: digest.to_bytes().to_vec(),
        catalogue_hash: vec![0; 16],
        node_name: "not used as identity".into(),
        ..v1::Hello::default()
    }
}

pub(crate) fn finding(check: &str, subject: &str, verdict: Verdict) -> Entry {
    let finding = Finding {
        check: check.into(),
        subject: subject.into(),
        verdict,
        reason: String::new(),
        severity: Severity::High,
        title: "t".into(),
        evidence: Vec::new(),
        evidence_truncated: false,
    };
    Entry::finding(finding, 1)
}

pub(crate) fn wire(entry: &Entry) -> v1::Entry {
    let key = v1::Key { kind: i32::from(entry.key.kind().number()), key: entry.key.as_str().into() };
    let body = match &entry.body {
        Body::Finding(finding) => v1::entry::Body::Finding(v1::Finding {
            verdict: if finding.verdict == Verdict::Fail { 2 } else { 1 },
            severity: 4,
            title: finding.title.clone(),
            ..v1::Finding::default()
        }),
        Body::Inventory(inventory) => v1::entry::Body::Inventory(v1::Inventory { json: inventory.json.clone() }),
    };
    v1::Entry { key: Some(key), hash: entry.hash.0.to_vec(), body: Some(body), changed_at: entry.changed_at }
}

pub(crate) fn digest(entries: &[Entry]) -> Digest {
    let mut digest = Digest::EMPTY;
    for entry in entries {
        digest.add(&entry.key, &entry.hash);
    }
    digest
}

pub(crate) fn delta(seq: u64, entries: &[Entry]) -> Say {
    Say::Delta(v1::Delta { seq, upserts: entries.iter().map(wire).collect(), ..v1::Delta::default() })
}

pub(crate) fn part(seq: u64, part: u32, entries: &[Entry], last: Option<Digest>) -> Say {
    let digest = last.map(|digest| digest.to_bytes().to_vec()).unwrap_or_default();
    let entries = entries.iter().map(wire).collect();
    Say::Snapshot(v1::Snapshot { seq, snapshot: 1, part, last: last.is_some(), entries, digest })
}

pub(crate) fn heartbeat(digest: Digest) -> Say {
    Say::Heartbeat(v1::Heartbeat { digest: digest.to_bytes().to_vec(), rss_bytes: 11 << 20, ..v1::Heartbeat::default() })
}
