//! A gRPC server that takes sessions as a collector does, keeps the position and the digest, and tells the test what it heard.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use holdfast_proto::v1::posture_server::{Posture, PostureServer};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, Server};
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct Peer {
    pub(crate) ca: PathBuf,
    address: SocketAddr,
    heard: mpsc::Receiver<Say>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: CancellationToken,
    position: Arc<Mutex<Position>>,
}

impl Peer {
    /// Listens on loopback, with a CA of its own in `directory` and the token `good`.
    pub(crate) async fn start(directory: &Path) -> Self {
        let ca = directory.join("ca.crt");
        let acceptor = TlsAcceptor::from(Arc::new(tls(&ca)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, accepted) = mpsc::channel::<Result<Secured, std::io::Error>>(4);
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(secured) = acceptor.accept(tcp).await {
                    connections.send(Ok(Secured(secured))).await.ok();
                }
            }
        });
        let (tell, heard) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let position = Arc::<Mutex<Position>>::default();
        let service = PostureServer::new(Ear { tell, position: Arc::clone(&position), stop: stop.clone() });
        let serving = tokio::spawn(async move {
            Server::builder().add_service(service).serve_with_incoming(ReceiverStream::new(accepted)).await.ok();
        });
        Self { ca, address, heard, tasks: vec![accepting, serving], stop, position }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The next message of the agent, within a minute.
    pub(crate) async fn hears(&mut self) -> Say {
        tokio::time::timeout(Duration::from_mins(1), self.heard.recv()).await.expect("a message in time").expect("a message")
    }

    /// What is in hand of the agent's messages.
    pub(crate) fn heard_already(&mut self) -> Option<Say> {
        self.heard.try_recv().ok()
    }

    /// The digest of what the agent said last.
    pub(crate) fn digest(&self) -> Vec<u8> {
        self.position.lock().unwrap().digest.clone()
    }

    /// Waits for a Delta that is `wanted`.
    pub(crate) async fn hears_of(&mut self, wanted: impl Fn(&v1::Delta) -> bool) {
        loop {
            if matches!(self.hears().await, Say::Delta(delta) if wanted(&delta)) {
                return;
            }
        }
    }

    /// Ends every session.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// A CA written to `ca`, and a server with a certificate for `localhost` from it.
fn tls(ca: &Path) -> rustls::ServerConfig {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca_params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // Two authorities of one name would be taken for each other until the signature is looked at.
    let serial = getrandom::u64().unwrap();
    ca_params.distinguished_name.push(rcgen::DnType::CommonName, format!("test {serial}"));
    std::fs::write(ca, ca_params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(ca_params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Where it stands with its one agent.
#[derive(Debug, Default)]
struct Position {
    epoch: u64,
    seq: u64,
    digest: Vec<u8>,
}

impl Position {
    fn welcome(&mut self, hello: &v1::Hello) -> v1::Welcome {
        use v1::welcome::Resume;
        let resume = if hello.state_digest == self.digest {
            Resume::InSync
        } else if hello.epoch == self.epoch && (hello.last_acked_seq..=hello.sent_seq).contains(&self.seq) {
            Resume::Delta
        } else {
            Resume::Full
        };
        let seq = if hello.epoch == self.epoch { self.seq.max(hello.sent_seq) } else { hello.sent_seq };
        (self.epoch, self.seq) = (hello.epoch, seq);
        v1::Welcome { session: 1, resume: resume.into(), protocol: 1, seq, ..v1::Welcome::default() }
    }

    fn take(&mut self, seq: u64, digest: &[u8]) -> Hear {
        self.seq = seq;
        if !digest.is_empty() {
            self.digest = digest.to_vec();
        }
        Hear::Ack(v1::Ack { seq, refused: Vec::new() })
    }
}

struct Ear {
    tell: mpsc::Sender<Say>,
    position: Arc<Mutex<Position>>,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Posture for Ear {
    type SessionStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        if request.metadata().get("authorization").is_none_or(|value| value != "Bearer good") {
            return Err(Status::unauthenticated("unknown token"));
        }
        let mut incoming = request.into_inner();
        let (answer, answers) = mpsc::channel(64);
        let (tell, position, stop) = (self.tell.clone(), Arc::clone(&self.position), self.stop.clone());
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = incoming.message() => message,
                    () = stop.cancelled() => {
                        answer.send(Err(Status::unavailable("this collector is stopping"))).await.ok();
                        return;
                    }
                };
                let Ok(Some(message)) = message else { return };
                let message = message.message.expect("a message the contract has");
                let reply = match &message {
                    Say::Hello(hello) => Some(Hear::Welcome(position.lock().unwrap().welcome(hello))),
                    Say::Delta(delta) => Some(position.lock().unwrap().take(delta.seq, &delta.digest_after)),
                    Say::Snapshot(part) => Some(position.lock().unwrap().take(part.seq, &part.digest)),
                    _ => None,
                };
                tell.send(message).await.ok();
                if let Some(reply) = reply {
                    answer.send(Ok(v1::CollectorMessage { message: Some(reply) })).await.ok();
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

struct Secured(TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
