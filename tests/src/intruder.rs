//! Whoever is no agent, on the wire: connects and says nothing, half of something, or anything.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::Stream;
use hyper_util::rt::TokioIo;
use prost::bytes::{Buf, BufMut};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::unfinished::Unfinished;

/// How HTTP/2 begins: the preface, and an empty SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Knows the way to a collector, and its certificate.
#[derive(Debug, Clone)]
pub struct Intruder {
    collector: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Intruder {
    /// For the collector at `port` of loopback, whose authority is `ca`.
    ///
    /// # Errors
    /// The authority's certificate cannot be used.
    pub fn new(port: u16, ca: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).with_context(|| format!("read {}", ca.display()))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut tls = config.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self { collector: ([127, 0, 0, 1], port).into(), tls: Arc::new(tls) })
    }

    fn name() -> ServerName<'static> {
        ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into())
    }

    /// A connection in which nothing was said.
    ///
    /// # Errors
    /// The system's own.
    pub async fn silent(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.collector).await
    }

    /// A connection with a whole `ClientHello` in it, or half of one; the answer is never read.
    ///
    /// # Errors
    /// The system's own, or of TLS.
    pub async fn half_open(&self, whole: bool) -> io::Result<TcpStream> {
        let mut hello = Vec::new();
        ClientConnection::new(Arc::clone(&self.tls), Self::name()).map_err(io::Error::other)?.write_tls(&mut hello)?;
        hello.truncate(if whole { hello.len() } else { hello.len() / 2 });
        let mut stream = self.silent().await?;
        stream.write_all(&hello).await?;
        Ok(stream)
    }

    /// A connection after its handshake.
    ///
    /// # Errors
    /// The system's own, or of TLS.
    pub async fn shaken(&self) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.tls)).connect(Self::name(), self.silent().await?).await
    }

    /// A connection for gRPC whose other end may send no more than `window` bytes in a stream.
    ///
    /// # Errors
    /// The system's own, of TLS or of HTTP/2.
    pub async fn channel(&self, window: u32) -> Result<Channel> {
        let mut once = Some(TokioIo::new(self.shaken().await?));
        let connector = tower::service_fn(move |_: http::Uri| {
            let there = once.take();
            std::future::ready(there.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        let endpoint = Endpoint::from_shared(format!("https://{}", self.collector))?;
        Ok(endpoint.initial_stream_window_size(window).connect_with_connector(connector).await?)
    }

    /// A connection that speaks HTTP/2 and opens no session.
    ///
    /// # Errors
    /// The system's own, or of TLS.
    pub async fn without_session(&self) -> io::Result<TlsStream<TcpStream>> {
        self.with(PREFACE).await
    }

    /// A connection in which requests have begun that do not end.
    ///
    /// # Errors
    /// The system's own, or of TLS.
    pub async fn unfinished(&self, what: Unfinished) -> io::Result<TlsStream<TcpStream>> {
        self.with(&what.bytes()).await
    }

    /// A connection after its handshake, in which so much was said.
    async fn with(&self, said: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let mut stream = self.shaken().await?;
        stream.write_all(said).await?;
        stream.flush().await?;
        Ok(stream)
    }
}

/// A codec of bytes: what is said need not be protobuf, and what is heard is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

/// Opens a session in `channel` with a token, and says `messages` in it, whatever they are. The answers are in what is returned.
///
/// # Errors
/// The session was not opened.
pub async fn session(
    channel: Channel,
    token: &str,
    messages: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<tonic::Streaming<()>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(messages);
    let bearer = format!("Bearer {token}").parse().map_err(|_| Status::invalid_argument("a token that is none"))?;
    request.metadata_mut().insert("authorization", bearer);
    let path = http::uri::PathAndQuery::from_static("/holdfast.v1.Posture/Session");
    Ok(client.streaming(request, path, Raw).await?.into_inner())
}
