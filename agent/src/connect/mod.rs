//! Reaching the collector: TCP, TLS, HTTP/2 and the credentials, with errors that say what to do.
//!
//! Files are read anew at every attempt, so a rotated token or CA needs no restart. One connection is one attempt: nothing
//! below reconnects by itself. Must not know the session's messages beyond their type, or the spool.

mod alert;
pub mod backoff;
mod error;
pub mod rotation;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::v1::posture_client::PostureClient;
use holdfast_proto::v1::{AgentMessage, CollectorMessage};
use hyper_util::rt::TokioIo;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};

pub(crate) use alert::Alert;
pub use error::ConnectError;
pub(crate) use tls::own_file;

use crate::identity::{self, Identity};
use alert::Remembering;

/// How long each of TCP, TLS and HTTP/2 may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the collector may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// A collector that hangs is noticed by a question every so often. That every minute would cost an idle agent as much as its heartbeats,
/// whose own acknowledgement by TCP shows a lost path already.
const KEEPALIVE_EVERY: Duration = Duration::from_mins(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long anything sent, a heartbeat above all, may stay unacknowledged by the other end's TCP before the connection is lost. The
/// system's own patience is a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);
/// HTTP/2 windows: an agent's messages are small, and a connection should cost the collector little.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Messages that may wait for the connection to take them; more than the session ever puts in flight.
const QUEUE: usize = 128;
/// Messages heard that may wait for the session. Each may be large, and HTTP/2 holds back what does not fit.
const HEARD: usize = 16;

/// Where the collector is and how both sides are known.
#[derive(Debug, Clone)]
pub struct Target {
    /// `https://host:port`.
    pub collector: Uri,
    /// PEM file of the certificate authorities the collector's certificate may come from. No others are trusted.
    pub ca: PathBuf,
    /// What identifies this node.
    pub shown: Shown,
    /// The name the certificate must be for; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// Take TLS 1.2 too, where something in between cannot do 1.3.
    pub allow_tls12: bool,
}

/// What an agent shows of itself.
#[derive(Debug, Clone)]
pub enum Shown {
    /// The token in this file.
    Token(PathBuf),
    /// The certificate in this directory, once the machine is enrolled.
    Identity(PathBuf),
}

/// What an agent trusts and what it shows, as read from its files.
#[derive(Debug, Clone)]
pub struct Credentials {
    trust: Arc<ClientConfig>,
    /// `None` where the certificate, or nothing, is shown.
    token: Option<AsciiMetadataValue>,
}

impl Credentials {
    /// Reads the files of `target`.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn read(target: &Target) -> Result<Self, ConnectError> {
        match &target.shown {
            Shown::Token(file) => {
                let token = Some(tls::token(file)?);
                Ok(Self { token, trust: tls::client_config(&target.ca, target.allow_tls12, None)? })
            }
            Shown::Identity(directory) => Self::of_identity(target, &identity::current(directory)?),
        }
    }

    /// Shows the certificate of an enrolled machine.
    pub(crate) fn of_identity(target: &Target, identity: &Identity) -> Result<Self, ConnectError> {
        Ok(Self { token: None, trust: tls::client_config(&target.ca, target.allow_tls12, Some(identity))? })
    }

    /// Shows nothing: for enrolling.
    pub(crate) fn of_nobody(target: &Target) -> Result<Self, ConnectError> {
        Ok(Self { token: None, trust: tls::client_config(&target.ca, target.allow_tls12, None)? })
    }

    /// The TLS settings that trust the authorities in `ca` and no others. Many agents in one process share them.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn trust(ca: &Path) -> Result<Arc<ClientConfig>, ConnectError> {
        tls::client_config(ca, false, None)
    }

    /// Credentials of what was read before; `None` when `token` cannot be one.
    pub fn new(trust: Arc<ClientConfig>, token: &str) -> Option<Self> {
        Some(Self { trust, token: Some(tls::bearer(token)?) })
    }
}

/// How a stream to the collector comes about.
pub trait Connect: Clone + Send + Sync + 'static {
    /// Opens one stream. Nothing below reconnects by itself.
    fn connect(&self) -> impl Future<Output = Result<Stream, ConnectError>> + Send;

    /// What a person calls the other end.
    fn name(&self) -> String;
}

impl Connect for Target {
    async fn connect(&self) -> Result<Stream, ConnectError> {
        Ok(Box::pin(self.dial()).await?.open())
    }

    fn name(&self) -> String {
        self.collector.to_string()
    }
}

/// A connection over which a stream can be opened.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    token: Option<AsciiMetadataValue>,
    address: String,
    alert: Alert,
}

/// Both ends of an open stream.
#[derive(Debug)]
pub struct Stream {
    /// What the agent says. Full means that the connection does not take it.
    pub outgoing: mpsc::Sender<AgentMessage>,
    /// What the collector says; ends with `None` on a clean end and with an error on a loss.
    pub incoming: mpsc::Receiver<Result<CollectorMessage, ConnectError>>,
    /// The task that moves messages: dropping it ends the stream.
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    /// Reads the command line's URL.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse_collector(text: &str) -> Result<Uri, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}: write https://HOST:PORT"))?;
        if uri.scheme_str() != Some("https") {
            return Err("the session is always encrypted: write https://HOST:PORT".to_owned());
        }
        if uri.host().is_none() || !matches!(uri.path(), "" | "/") {
            return Err("write https://HOST:PORT without a path".to_owned());
        }
        Ok(uri)
    }

    fn address(&self) -> (String, u16) {
        let host = self.collector.host().unwrap_or_default().trim_matches(['[', ']']);
        (host.to_owned(), self.collector.port_u16().unwrap_or(443))
    }

    fn server_name(&self) -> Result<ServerName<'static>, ConnectError> {
        let name = self.server_name.clone().unwrap_or_else(|| self.address().0);
        ServerName::try_from(name.clone()).map_err(|source| ConnectError::ServerName { name, source })
    }

    /// Connects: resolves, shakes hands, proves the collector's identity.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn dial(&self) -> Result<Connection, ConnectError> {
        let credentials = Credentials::read(self)?;
        self.dial_with(credentials, |tcp| tcp).await
    }

    /// The same with credentials that were read before, over whatever `wrap` makes of the socket.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn dial_with<S>(&self, credentials: Credentials, wrap: impl FnOnce(TcpStream) -> S) -> Result<Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Credentials { trust, token } = credentials;
        let name = self.server_name()?;
        let (host, port) = self.address();
        let address = format!("{host}:{port}");
        let tcp = timed(&address, "accept a TCP connection", TcpStream::connect((host, port))).await?;
        let tcp = tcp.map_err(|source| ConnectError::Unreachable { address: address.clone(), source })?;
        prepare(&tcp).map_err(|source| ConnectError::Unreachable { address: address.clone(), source })?;
        let handshake = TlsConnector::from(trust).connect(name, wrap(tcp));
        let secured = timed(&address, "finish the TLS handshake", handshake).await?;
        let secured = secured.map_err(|source| ConnectError::of_handshake(&address, &self.ca, source))?;
        if secured.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
            return Err(ConnectError::NoHttp2 { address });
        }
        let alert = Alert::default();
        let secured = Remembering::new(secured, alert.clone());
        let channel = timed(&address, "speak HTTP/2", Box::pin(self.http2(secured))).await?;
        let channel = channel.map_err(|source| ConnectError::of_http2(&address, &alert, source))?;
        Ok(Connection { channel, token, address, alert })
    }

    /// HTTP/2 over a connection that is already there. When that is lost, so is the channel.
    async fn http2<S>(&self, secured: S) -> Result<Channel, tonic::transport::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let endpoint = Endpoint::from(self.collector.clone())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(16 * 1024);
        let mut once = Some(secured);
        let connector = tower::service_fn(move |_: Uri| {
            let there = once.take().map(TokioIo::new);
            std::future::ready(there.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)))
        });
        endpoint.connect_with_connector(connector).await
    }
}

impl Connection {
    /// A connection that somebody else made. `address` is for messages.
    pub fn new(channel: Channel, token: AsciiMetadataValue, address: String) -> Self {
        Self { channel, token: Some(token), address, alert: Alert::default() }
    }

    /// The HTTP/2 connection, what to call it, and what its TLS hears.
    pub(crate) fn into_channel(self) -> (Channel, String, Alert) {
        (self.channel, self.address, self.alert)
    }

    /// Opens the stream. What is put in `outgoing` goes out at once; the collector may answer only after the first message.
    pub fn open(self) -> Stream {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let (heard, incoming) = mpsc::channel(HEARD);
        let task = tokio::spawn(async move {
            if let Err(error) = self.converse(queue, &heard).await {
                // The receiver is gone when nobody wants to know any more.
                drop(heard.send(Err(error)).await);
            }
        });
        Stream { outgoing, incoming, task }
    }

    async fn converse(
        self,
        queue: mpsc::Receiver<AgentMessage>,
        heard: &mpsc::Sender<Result<CollectorMessage, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let Self { channel, token, address, alert } = self;
        let lost = |status: tonic::Status| ConnectError::of_status(&address, &alert, &status);
        let mut client = PostureClient::new(channel)
            .max_decoding_message_size(holdfast_proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(holdfast_proto::MAX_MESSAGE_BYTES);
        let mut request = Request::new(ReceiverStream::new(queue));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token);
        }
        let opened = tokio::time::timeout(OPEN_TIMEOUT, client.session(request)).await;
        let opened = opened.map_err(|_| ConnectError::Timeout { address: address.clone(), what: "accept the session" })?;
        let mut incoming = opened.map_err(lost)?.into_inner();
        while let Some(message) = incoming.message().await.map_err(lost)? {
            if heard.send(Ok(message)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// What the session needs of its socket: messages leave at once, and a dead path is noticed.
fn prepare(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let milliseconds = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(tcp, TcpUserTimeout, &milliseconds)?)
}

pub(crate) async fn timed<F: Future>(address: &str, what: &'static str, future: F) -> Result<F::Output, ConnectError> {
    let late = |_| ConnectError::Timeout { address: address.to_owned(), what };
    tokio::time::timeout(TIMEOUT, future).await.map_err(late)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use nix::sys::socket::getsockopt;

    use super::*;

    #[tokio::test]
    async fn a_lost_path_is_noticed_by_heartbeats_alone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&tcp).unwrap();
        assert!(tcp.nodelay().unwrap());
        assert_eq!(getsockopt(&tcp, TcpUserTimeout).unwrap(), 60_000, "milliseconds; 0 would be a quarter of an hour");
    }
}
