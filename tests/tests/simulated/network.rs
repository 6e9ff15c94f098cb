//! The simulated network's sockets as tonic wants them, on both sides, and the scissors that cut a connection.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_agent::connect::{Connect, ConnectError, Connection, Stream};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};

pub(crate) const PORT: u16 = 8443;
/// The product's own limits of `connect`.
const TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_EVERY: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const WINDOW: u32 = 64 * 1024;

/// A connection that ends when `cut` says so, on this side only: what it has sent may still be on its way.
pub(crate) struct Wire {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, cut: CancellationToken) -> Self {
        Self { stream, cut: Box::pin(cut.cancelled_owned()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// An agent's way out, without TLS: the simulated network has no one who listens.
#[derive(Clone)]
pub(crate) struct Dialer {
    token: AsciiMetadataValue,
    cut: Arc<Mutex<CancellationToken>>,
}

impl Dialer {
    pub(crate) fn new(token: &str) -> Self {
        Self { token: format!("Bearer {token}").parse().unwrap(), cut: Arc::default() }
    }

    /// Cuts the connection there is; the next one lasts until the next cut.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

impl Connect for Dialer {
    async fn connect(&self) -> Result<Stream, ConnectError> {
        let address = self.name();
        let late = |what| ConnectError::Timeout { address: address.clone(), what };
        let cut = self.cut.lock().unwrap().clone();
        let connected = tokio::time::timeout(TIMEOUT, TcpStream::connect(("collector", PORT))).await;
        let stream = connected.map_err(|_| late("accept a TCP connection"))?;
        let stream = stream.map_err(|source| ConnectError::Unreachable { address: address.clone(), source })?;
        let mut once = Some(TokioIo::new(Wire::new(stream, cut)));
        let connector = tower::service_fn(move |_: Uri| {
            let there = once.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            std::future::ready(there)
        });
        let endpoint = Endpoint::from_static("http://collector")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let channel = tokio::time::timeout(TIMEOUT, endpoint.connect_with_connector(connector)).await;
        let channel = channel.map_err(|_| late("speak HTTP/2"))?;
        let channel = channel.map_err(|source| ConnectError::Http2 { address: address.clone(), source })?;
        Ok(Connection::new(channel, self.token.clone(), address).open())
    }

    fn name(&self) -> String {
        format!("collector:{PORT}")
    }
}

/// What agents connect to, on the simulated host that calls it.
pub(crate) async fn listen() -> io::Result<ReceiverStream<io::Result<Wire>>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let (ready, accepted) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Never cut on this side.
            if ready.send(Ok(Wire::new(stream, CancellationToken::new()))).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(accepted))
}
