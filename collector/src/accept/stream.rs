//! A TLS connection as the gRPC server takes it: counted while it lives, knowing whom it is from, and ended when nobody who may
//! has a session in it in time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, TE};
use futures_util::task::AtomicWaker;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::PENALTY;
use super::allowance::Allowance;
use super::crowd::{Crowd, Place, origin};
use super::farewell::Farewell;
use crate::metrics::Metrics;
use crate::refusals::{Refusal, Refusals};

/// How long a connection may last after its session: for the last words, and for the agent to close it.
const FAREWELL: Duration = Duration::from_secs(10);

/// Nobody we know has said anything yet.
const STRANGE: u8 = 0;
/// There is a session, open or about to be.
const SESSION: u8 = 1;
/// There was a session.
const OVER: u8 = 2;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from. For logs.
    pub address: SocketAddr,
    certificate: Option<Arc<CertificateDer<'static>>>,
    standing: Arc<Standing>,
}

#[derive(Debug)]
struct Standing {
    state: AtomicU8,
    /// A request came: whatever became of it, the other end speaks HTTP/2.
    spoke: AtomicBool,
    /// Of the connection's task.
    waker: AtomicWaker,
    /// Among those who hold no node.
    place: Mutex<Option<Place>>,
    /// For a session that was opened the handshake is given back, once.
    opened: AtomicBool,
    origin: IpAddr,
    allowance: Arc<Allowance>,
}

impl Standing {
    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.waker.wake();
    }
}

impl Peer {
    pub(super) fn new(address: SocketAddr, certificate: Option<CertificateDer<'static>>, allowance: Arc<Allowance>) -> Self {
        let standing = Standing {
            state: AtomicU8::new(STRANGE),
            spoke: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            place: Mutex::new(None),
            opened: AtomicBool::new(false),
            origin: origin(address.ip()),
            allowance,
        };
        Self { address, certificate: certificate.map(Arc::new), standing: Arc::new(standing) }
    }

    /// Whom its address stands for: a host that has many addresses of its own counts as one.
    pub fn origin(&self) -> IpAddr {
        self.standing.origin
    }

    /// The client certificate, verified in the handshake.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_deref()
    }

    fn spoke(&self) {
        self.standing.spoke.store(true, Ordering::Release);
    }

    /// Takes the connection's one session; `None` while there is another. The connection gives way as before until the session holds
    /// a node, and ends soon after it is given back.
    pub fn begin_session(&self) -> Option<SessionPlace> {
        let begun = self.standing.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| (state != SESSION).then_some(SESSION));
        begun.ok().map(|_| SessionPlace(Arc::clone(&self.standing)))
    }
}

/// What is read of a request beside its path. The rest is forgotten at once: a stranger's request may wait for its end until the connection
/// has to go, and hundreds of headers take up a hundred kilobytes.
const HEADERS: [HeaderName; 6] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    TE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-timeout"),
];

/// Notes that a request came, before anything is decided about it. To be laid around all services.
pub fn heard<B>(mut request: Request<B>) -> Request<B> {
    request.extensions().get::<Peer>().into_iter().for_each(Peer::spoke);
    let all = std::mem::take(request.headers_mut());
    request.headers_mut().extend(HEADERS.into_iter().filter_map(|name| all.get(&name).cloned().map(|value| (name, value))));
    request
}

/// The one session of a connection; dropping it ends it.
#[derive(Debug)]
pub struct SessionPlace(Arc<Standing>);

impl SessionPlace {
    /// It holds its node, which no other has: the connection gives way to nobody. Good credentials alone are not enough, or whoever has
    /// one could hold all connections there are.
    pub fn holds(&self) {
        drop(self.0.place.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// It was opened: an agent came of the handshake.
    pub fn opened(&self) {
        if !self.0.opened.swap(true, Ordering::AcqRel) {
            self.0.allowance.give_back(self.0.origin);
        }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.0.set(OVER);
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    metrics: Metrics,
    refusals: Refusals,
    /// Those who hold no node.
    strangers: Arc<Crowd>,
    /// The server gives up every connection then, whoever is at the other end.
    stopping: CancellationToken,
    /// Until when there must be a session; `None` while there is one.
    deadline: Option<Pin<Box<Sleep>>>,
    seen: u8,
    /// The other end has closed its side.
    left: bool,
    /// It was refused, and that was noted.
    ended: bool,
    closing: bool,
    farewell: Farewell,
    _room: OwnedSemaphorePermit,
}

impl TlsConnection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        place: Place,
        room: OwnedSemaphorePermit,
        (metrics, refusals): (Metrics, Refusals),
        patience: Duration,
        stopping: CancellationToken,
    ) -> Self {
        metrics.connection(1);
        let strangers = place.crowd();
        *peer.standing.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Self {
            stream,
            peer,
            metrics,
            refusals,
            strangers,
            stopping,
            deadline: Some(Box::pin(sleep(patience))),
            seen: STRANGE,
            left: false,
            ended: false,
            closing: false,
            farewell: Farewell::default(),
            _room: room,
        }
    }

    /// Ready once the connection has to end, with the error its user is told.
    ///
    /// Asked whenever it is read or written: the server does one or the other all the time, whatever else it waits for.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.peer.standing.waker.register(context.waker());
        let state = self.peer.standing.state.load(Ordering::Acquire);
        if state != std::mem::replace(&mut self.seen, state) {
            self.deadline = match state {
                SESSION => None,
                OVER => Some(Box::pin(sleep(FAREWELL))),
                _ => self.deadline.take(),
            };
        }
        if !self.closing {
            let mut place = self.peer.standing.place.lock().unwrap_or_else(PoisonError::into_inner);
            if state == OVER {
                // Whoever has said good-bye is one of many again.
                place.get_or_insert_with(|| self.strangers.join(self.peer.address.ip()));
            }
            let displaced = place.as_ref().is_some_and(|place| place.poll_displaced(context).is_ready());
            drop(place);
            if displaced && state == OVER {
                tracing::debug!(peer = %self.peer.address, "the session is over, and others came: closing the connection");
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            if displaced {
                return Poll::Ready(self.end(Refusal::NoSessionDisplaced, "it had no session when others came"));
            }
        }
        let Some(deadline) = self.deadline.as_mut().filter(|_| !self.closing) else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        if state == OVER {
            tracing::debug!(peer = %self.peer.address, "the session is over: closing the connection");
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        Poll::Ready(self.end(Refusal::NoSession, "no session was opened in time"))
    }

    /// Ready once a connection may be closed that the server gave up. One of which no request came, or to which the server says that it
    /// broke the rules, and that did not leave, keeps its socket for a while, so that trying again at once is not free. A session that is
    /// open notes its own end.
    fn poll_penalty(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let standing = &self.peer.standing;
        let spoke = standing.spoke.load(Ordering::Acquire);
        let fault = self.farewell.fault().or((!spoke).then_some("what came in the connection is not HTTP/2"));
        let known = standing.state.load(Ordering::Acquire) != STRANGE;
        let Some(fault) = fault.filter(|_| !known && !self.stopping.is_cancelled() && (!self.left || self.closing)) else {
            return Poll::Ready(());
        };
        let place = self.peer.standing.place.lock().unwrap_or_else(PoisonError::into_inner);
        let displaced = place.as_ref().is_none_or(|place| place.poll_displaced(context).is_ready());
        if !self.closing {
            place.iter().for_each(Place::forfeit);
        }
        drop(place);
        if !std::mem::replace(&mut self.closing, true) {
            self.end(Refusal::Protocol, fault);
            self.deadline = Some(Box::pin(sleep(PENALTY)));
        }
        match &mut self.deadline {
            Some(deadline) if !displaced => deadline.as_mut().poll(context),
            _ => Poll::Ready(()),
        }
    }

    fn end(&mut self, refusal: Refusal, reason: &str) -> io::Error {
        self.left = true;
        // Its user may read and write on after the first error.
        if !std::mem::replace(&mut self.ended, true) {
            self.refusals.note(refusal, Some(self.peer.address), None, &reason);
        }
        io::ErrorKind::TimedOut.into()
    }
}

impl Drop for TlsConnection {
    fn drop(&mut self) {
        self.metrics.connection(-1);
        // The peer is known to whoever had a request of it, for as long as they like.
        drop(self.peer.standing.place.lock().unwrap_or_else(PoisonError::into_inner).take());
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
        if let Poll::Ready(error) = self.poll_end(context) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.left |= read.is_err() || buffer.filled().len() == before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_end(context) {
            return Poll::Ready(Err(error));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        if let Ok(length) = written {
            self.farewell.sent(bytes.get(..length).unwrap_or(bytes));
        }
        Poll::Ready(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_end(context) {
            return Poll::Ready(Err(error));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts));
        let mut left = *written.as_ref().unwrap_or(&0);
        for part in parts {
            let sent = part.get(..left).unwrap_or(part);
            self.farewell.sent(sent);
            left -= sent.len();
        }
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_end(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_penalty(context));
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
