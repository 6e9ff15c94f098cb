//! Accepting: TCP and TLS, within bounds, before anything of ours is asked.
//!
//! Our own loop, because the gRPC library's would spin when file descriptors run out, start handshakes without number
//! and keep the first certificate for ever. Nothing waits for those who say nothing: a handshake, and a connection without a session,
//! has a place in a `crowd` and gives way when others come; what a handshake costs is bounded for each address (`allowance`).
//! Must not know messages or identities.

mod allowance;
mod crowd;
mod descriptors;
mod farewell;
mod stream;
mod tls;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use allowance::Allowance;
pub use allowance::Rate;
use crowd::{Crowd, Place};
pub use descriptors::raise_limit;
use nix::errno::Errno;
pub use stream::{Peer, SessionPlace, TlsConnection, heard};
pub use tls::{Certificate, CertificateError, TlsFiles};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::refusals::{Refusal, Refusals};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake has before it may have to give way: a round trip to the other side of the world, and our own queue of as many
/// as are under way at once. What comes meanwhile stays in the system's queue, so that a fleet that comes back does not displace itself.
const GRACE: Duration = Duration::from_millis(500);
/// How long whoever failed keeps the socket: trying again at once should not be free.
const PENALTY: Duration = Duration::from_secs(1);
/// The pause after the system refused a connection for want of descriptors or memory.
const BACKOFF: Duration = Duration::from_millis(100);
/// How long a finished handshake waits for the room of one that was told to go.
const ROOM: Duration = Duration::from_secs(1);
/// Descriptors that agents may not have: database, dashboard, alerts, and handshakes.
const RESERVED: usize = 1024;
/// Connections without a session, however many there may be with one. Each may hold what two requests that are not whole take up, and the
/// headers of a third: 124 KiB measured (docs/testing.md), 248 MiB in all of them, for which the memory that the manifest gives has room
/// beside ten thousand agents. More agents than that are never between their handshake and the answer to their credentials: a thousand
/// may wait for a review, and nobody else waits.
const STRANGERS: usize = 2048;
/// Finished handshakes that wait for the server.
const READY: usize = 64;
/// Connections that the system keeps for us: a fleet comes back all at once. The system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Bounds of the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once, handshakes not counted.
    pub connections: usize,
    /// Handshakes under way at once.
    pub handshakes: usize,
    /// Handshakes of one address of which no agent comes.
    pub strange: Rate,
    /// How long a connection may last in which nobody with good credentials begins a session.
    pub session_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 30_000,
            handshakes: 512,
            strange: Rate { burst: 4_000, per_second: 50 },
            session_within: Duration::from_secs(20),
        }
    }
}

impl Bounds {
    /// The same, so that connections leave descriptors for everything else when `limit` may be open.
    #[must_use]
    pub fn within(self, limit: usize) -> Self {
        let connections = self.connections.min(limit.saturating_sub(RESERVED).max(limit / 2)).max(1);
        Self { connections, handshakes: self.handshakes.min(limit / 8).max(1), ..self }
    }

    /// Connections without a session: where there are more, one gives way.
    fn without_session(&self) -> usize {
        self.connections.div_ceil(4).min(STRANGERS)
    }
}

/// Listens at `address`, with a queue for a fleet that comes back.
///
/// # Errors
/// The system's own: the address is taken, or not one of this machine.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every accepted connection shares.
#[derive(Debug)]
struct Shared {
    certificate: Arc<Certificate>,
    session_within: Duration,
    /// Connections at once.
    cap: Arc<Semaphore>,
    /// Those without a session among them.
    strangers: Arc<Crowd>,
    allowance: Arc<Allowance>,
    metrics: Metrics,
    refusals: Refusals,
    cancel: CancellationToken,
}

/// Accepts until cancelled; finished connections come out of the returned channel.
pub fn accept(
    listener: TcpListener,
    certificate: Arc<Certificate>,
    bounds: Bounds,
    metrics: Metrics,
    refusals: Refusals,
    cancel: CancellationToken,
) -> (mpsc::Receiver<std::io::Result<TlsConnection>>, impl Future<Output = ()> + Send) {
    let (ready, connections) = mpsc::channel(READY);
    let handshakes = Crowd::new(bounds.handshakes, GRACE);
    let shared = Arc::new(Shared {
        certificate,
        session_within: bounds.session_within,
        cap: Arc::new(Semaphore::new(bounds.connections)),
        strangers: Crowd::new(bounds.without_session(), Duration::ZERO),
        allowance: Arc::new(Allowance::new(bounds.strange)),
        metrics,
        refusals,
        cancel: cancel.clone(),
    });
    let running = async move {
        loop {
            let next = async {
                handshakes.room().await;
                listener.accept().await
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                () = cancel.cancelled() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let place = handshakes.join(address.ip());
                    tokio::spawn(Arc::clone(&shared).welcome(stream, address, place, ready.clone()));
                }
                // The other end was gone before we looked.
                Err(error) if is_of_the_connection(&error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
                Err(error) => {
                    let advice = "trying again ten times a second; raise the limit of open files";
                    shared.refusals.note(Refusal::Accept, None, None, &format_args!("cannot accept connections: {error}: {advice}"));
                    // Whoever has shown nothing holds what an agent could use.
                    handshakes.displace_some();
                    shared.strangers.displace_some();
                    sleep(BACKOFF).await;
                }
            }
        }
    };
    (connections, running)
}

/// Does an error of accepting concern one connection only: the next one may well be accepted at once.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    let gone = [Errno::ECONNABORTED, Errno::EINTR, Errno::EPROTO, Errno::ENETDOWN, Errno::EHOSTDOWN, Errno::EHOSTUNREACH];
    error.raw_os_error().is_some_and(|number| gone.contains(&Errno::from_raw(number)))
}

impl Shared {
    /// The handshake of one connection, and what comes before and after.
    async fn welcome(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
        ready: mpsc::Sender<std::io::Result<TlsConnection>>,
    ) {
        if self.cap.available_permits() == 0 && self.strangers.len() == 0 {
            return self.full(address);
        }
        let Some((stream, peer)) = self.shake(stream, address, &place).await else { return };
        let Some(room) = self.take_room().await else { return self.full(address) };
        let connection = TlsConnection::new(
            stream,
            peer,
            self.strangers.join(address.ip()),
            room,
            (self.metrics.clone(), self.refusals.clone()),
            self.session_within,
            self.cancel.clone(),
        );
        drop(place);
        if ready.send(Ok(connection)).await.is_err() {
            tracing::debug!(peer = %address, "connected while the collector was stopping");
        }
    }

    fn full(&self, address: SocketAddr) {
        self.refusals.note(Refusal::ConnectionsFull, Some(address), None, &"as many connections are open as may be");
    }

    /// Room for one more connection; that of somebody without a session when there is no other.
    async fn take_room(&self) -> Option<OwnedSemaphorePermit> {
        let cap = Arc::clone(&self.cap);
        if let Ok(room) = Arc::clone(&cap).try_acquire_owned() {
            return Some(room);
        }
        if !self.strangers.displace() {
            return None;
        }
        timeout(ROOM, cap.acquire_owned()).await.ok()?.ok()
    }

    async fn shake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: &Place,
    ) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
        let refuse = |refusal, reason: &dyn std::fmt::Display| self.refusals.note(refusal, Some(address), None, reason);
        // The server's builder options do not reach sockets it has not accepted itself.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(peer = %address, %error, "the connection was gone at once");
            return None;
        }
        let shaking = async {
            // Before something came there is nothing to compute.
            match stream.peek(&mut [0]).await {
                Ok(0) => return Err((std::io::Error::new(ErrorKind::UnexpectedEof, "closed before anything was said"), stream)),
                Ok(_) => {}
                Err(error) => return Err((error, stream)),
            }
            if !self.allowance.take(address.ip()) {
                let many = std::io::Error::new(ErrorKind::QuotaExceeded, "no agent came of too many handshakes of this address");
                return Err((many, stream));
            }
            self.certificate.acceptor().accept(stream).into_fallible().await
        };
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIMEOUT, shaking) => shaken,
            () = place.displaced() => {
                refuse(Refusal::HandshakeDisplaced, &"it was not through when others came");
                return None;
            }
        };
        match shaken {
            Ok(Ok(tls)) if !tls::speaks_http2(tls.get_ref().1) => {
                refuse(Refusal::Handshake, &"the other end did not ask for HTTP/2");
                wait_out(place, tls).await;
                None
            }
            Ok(Ok(tls)) => {
                let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
                Some((tls, Peer::new(address, certificate, Arc::clone(&self.allowance))))
            }
            Ok(Err((error, stream))) => {
                refuse(tls::refusal(&error), &error);
                wait_out(place, stream).await;
                None
            }
            Err(_) => {
                refuse(Refusal::HandshakeTimeout, &format_args!("it did not finish in {} s", HANDSHAKE_TIMEOUT.as_secs()));
                None
            }
        }
    }
}

/// Keeps what failed for a while, unless its place is wanted.
async fn wait_out<T>(place: &Place, failed: T) {
    place.forfeit();
    tokio::select! {
        () = sleep(PENALTY) => {}
        () = place.displaced() => {}
    }
    drop(failed);
}

#[cfg(test)]
mod tests;
