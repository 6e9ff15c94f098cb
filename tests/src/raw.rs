//! A gRPC client with nothing of the agent's: shows any credentials, says anything, and hears the status as it was sent.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use holdfast_checks::entries::State;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use holdfast_proto::v1::posture_client::PostureClient;
use holdfast_proto::v1::{self, AgentMessage};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::peer::hello;
use crate::process::PATIENCE;

/// A connection over TLS to the collector's port for agents.
pub async fn channel(ca: &Path, port: u16) -> Result<Channel> {
    channel_from([127, 0, 0, 1].into(), ca, port).await
}

/// The same from another address of this machine.
pub async fn channel_from(address: IpAddr, ca: &Path, port: u16) -> Result<Channel> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((address, 0).into())?;
            let stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(connect).await?)
}

/// One stream.
#[derive(Debug)]
pub struct Client {
    say: mpsc::Sender<AgentMessage>,
    hear: Streaming<v1::CollectorMessage>,
}

impl Client {
    /// Opens a session with `authorization: Bearer <token>`, or without any.
    pub async fn open(channel: Channel, token: Option<&str>) -> Result<Self, Status> {
        let (say, outbox) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(outbox));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().map_err(|_| Status::internal("not a header's value"))?;
            request.metadata_mut().insert("authorization", value);
        }
        let hear = PostureClient::new(channel).session(request).await?.into_inner();
        Ok(Self { say, hear })
    }

    /// Sends one message.
    pub async fn say(&self, message: Say) -> Result<()> {
        self.say.send(AgentMessage { message: Some(message) }).await.context("the stream is closed")
    }

    /// Waits for one message; `None` when the stream has ended.
    pub async fn hear(&mut self) -> Result<Option<Hear>, Status> {
        let heard = timeout(PATIENCE, self.hear.message()).await.unwrap_or_else(|_| Err(Status::internal("nothing in time")))?;
        Ok(heard.and_then(|message| message.message))
    }

    /// Says Hello for an empty state under a name that it gives itself, and waits for Welcome.
    pub async fn greet(&mut self, node_name: &str) -> Result<v1::Welcome> {
        let hello = v1::Hello { node_name: node_name.to_owned(), ..hello(1, 0, &State::default())? };
        // A stream that has ended shows when it is listened to.
        drop(self.say(Say::Hello(hello)).await);
        match self.hear().await? {
            Some(Hear::Welcome(welcome)) => Ok(welcome),
            other => bail!("no Welcome but {other:?}"),
        }
    }

    /// The status that the collector ends the stream with; messages before it are passed over.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("the stream ended"),
                Err(status) => return status,
            }
        }
    }
}
