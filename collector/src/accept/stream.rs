//! A TLS connection as the gRPC server takes it: counted while it lives, knowing whom it is from, and ended when nobody who may
//! opens a session in it in time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::metrics::Metrics;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from. For logs.
    pub address: SocketAddr,
    certificate: Option<Arc<CertificateDer<'static>>>,
    known: Arc<AtomicBool>,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, certificate: Option<CertificateDer<'static>>) -> Self {
        Self { address, certificate: certificate.map(Arc::new), known: Arc::default() }
    }

    /// The client certificate, verified in the handshake.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_deref()
    }

    /// Its credentials were accepted: the connection may last.
    pub fn accepted(&self) {
        self.known.store(true, Ordering::Relaxed);
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    metrics: Metrics,
    /// Until when credentials must have been accepted; `None` once they were.
    deadline: Option<Pin<Box<Sleep>>>,
    _room: OwnedSemaphorePermit,
}

impl TlsConnection {
    pub(super) fn new(stream: TlsStream<TcpStream>, peer: Peer, room: OwnedSemaphorePermit, metrics: Metrics, patience: Duration) -> Self {
        metrics.connection(1);
        Self { stream, peer, metrics, deadline: Some(Box::pin(sleep(patience))), _room: room }
    }

    /// Is the time over in which somebody we know should have opened a session.
    fn overdue(&mut self, context: &mut Context<'_>) -> bool {
        if self.peer.known.load(Ordering::Relaxed) {
            self.deadline = None;
        }
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready())
    }
}

impl Drop for TlsConnection {
    fn drop(&mut self) {
        self.metrics.connection(-1);
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The server reads all the time, whatever else it waits for.
        if self.overdue(context) {
            self.metrics.rejected("no_session");
            tracing::info!(peer = %self.peer.address, "no session was opened in time: closing the connection");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
