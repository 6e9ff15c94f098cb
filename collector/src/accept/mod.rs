//! Accepting: TCP and TLS, within bounds, before anything of ours is asked.
//!
//! Our own loop, because the gRPC library's would spin when file descriptors run out, start handshakes without number
//! and keep the first certificate for ever. Must not know messages or identities.

mod descriptors;
mod stream;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use descriptors::raise_limit;
pub use stream::{Peer, TlsConnection};
pub use tls::{Certificate, CertificateError, TlsFiles};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Handshakes under way at once.
const HANDSHAKES: usize = 256;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the system refused a connection for want of descriptors or memory.
const BACKOFF: Duration = Duration::from_millis(100);
/// Descriptors that agents may not have: database, dashboard, alerts.
const RESERVED: usize = 1024;
/// Finished handshakes that wait for the server.
const READY: usize = 64;

/// Bounds of the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// How long a connection may last without a session whose credentials were accepted.
    pub session_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 30_000, session_within: Duration::from_secs(20) }
    }
}

impl Bounds {
    /// The same, so that connections leave descriptors for everything else when `limit` may be open.
    #[must_use]
    pub fn within(self, limit: usize) -> Self {
        Self { connections: self.connections.min(limit.saturating_sub(RESERVED).max(limit / 2)).max(1), ..self }
    }
}

/// Accepts until cancelled; finished connections come out of the returned channel.
pub fn accept(
    listener: TcpListener,
    certificate: Arc<Certificate>,
    bounds: Bounds,
    metrics: Metrics,
    cancel: CancellationToken,
) -> (mpsc::Receiver<std::io::Result<TlsConnection>>, impl Future<Output = ()> + Send) {
    let (ready, connections) = mpsc::channel(READY);
    let cap = Arc::new(Semaphore::new(bounds.connections));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let running = async move {
        let mut refusing = false;
        loop {
            let accepted = tokio::select! {
                accepted = next(&listener, &cap, &handshakes) => accepted,
                () = cancel.cancelled() => return,
            };
            if let Ok((stream, address, permit, handshake)) = accepted {
                refusing = false;
                let (certificate, ready, metrics) = (Arc::clone(&certificate), ready.clone(), metrics.clone());
                tokio::spawn(async move {
                    let connection = shake(stream, address, &certificate, permit, &metrics, bounds.session_within).await;
                    drop(handshake);
                    if let Some(connection) = connection
                        && ready.send(Ok(connection)).await.is_err()
                    {
                        tracing::debug!(peer = %address, "connected while the collector was stopping");
                    }
                });
            } else if let Err(error) = accepted {
                metrics.rejected("accept");
                if !std::mem::replace(&mut refusing, true) {
                    tracing::error!(%error, "cannot accept connections: trying again ten times a second; raise the limit of open files");
                }
                sleep(BACKOFF).await;
            }
        }
    };
    (connections, running)
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit, OwnedSemaphorePermit);

/// The next connection, once there is room for it.
async fn next(listener: &TcpListener, cap: &Arc<Semaphore>, handshakes: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(cap).acquire_owned().await.map_err(std::io::Error::other)?;
    let handshake = Arc::clone(handshakes).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit, handshake))
}

async fn shake(
    stream: TcpStream,
    address: SocketAddr,
    certificate: &Certificate,
    permit: OwnedSemaphorePermit,
    metrics: &Metrics,
    session_within: Duration,
) -> Option<TlsConnection> {
    // The server's builder options do not reach sockets it has not accepted itself.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %address, %error, "the connection was gone at once");
        return None;
    }
    match timeout(HANDSHAKE_TIMEOUT, certificate.acceptor().accept(stream)).await {
        Ok(Ok(tls)) => {
            let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
            Some(TlsConnection::new(tls, Peer::new(address, certificate), permit, metrics.clone(), session_within))
        }
        Ok(Err(error)) => {
            metrics.rejected("handshake");
            tracing::info!(peer = %address, %error, "handshake failed");
            None
        }
        Err(_) => {
            metrics.rejected("handshake_timeout");
            tracing::info!(peer = %address, "handshake did not finish in 10 s");
            None
        }
    }
}

#[cfg(test)]
mod tests;
