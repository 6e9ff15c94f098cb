//! What goes over the wire, counted: bytes at the socket, messages and the time to their acknowledgement above it.
//!
//! A socket here can also be cut, together with all others, and be read slowly.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Said;
use holdfast_proto::v1::collector_message::Message as Heard;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How a slow reader reads: so many bytes, then a pause.
const SIP: usize = 512;
const PAUSE: Duration = Duration::from_secs(1);

/// Everything of a fleet that only grows.
#[derive(Debug, Default)]
pub struct Meter {
    /// Bytes written to sockets: TLS and HTTP/2 included, TCP and IP not.
    pub bytes_up: AtomicU64,
    /// Bytes read from sockets.
    pub bytes_down: AtomicU64,
    /// Messages of agents.
    pub messages_up: AtomicU64,
    /// Messages of the collector.
    pub messages_down: AtomicU64,
    /// Heartbeats among them.
    pub heartbeats: AtomicU64,
    /// Entries and keys that are gone, sent.
    pub entries: AtomicU64,
    /// Transitions sent.
    pub transitions: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
    /// Sessions that were welcomed in sync.
    pub in_sync: AtomicU64,
    /// Sessions that went on with changes.
    pub delta: AtomicU64,
    /// Snapshots asked for, at once, after a wait or as a repair.
    pub full: AtomicU64,
    acks: Mutex<Vec<Duration>>,
}

impl Meter {
    /// From sending to acknowledgement, of everything acknowledged since this was last asked.
    pub fn take_acks(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.acks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// One agent's place in the protocol, as its messages show it.
#[derive(Debug, Default)]
pub struct Account {
    /// Nothing is owed as a whole: the collector said so, or acknowledged a snapshot.
    settled: bool,
    /// The number of the last part of the snapshot under way.
    ends: Option<u64>,
    flying: VecDeque<(u64, Instant)>,
}

impl Account {
    /// Has the collector everything but what is unsent.
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// A new connection.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The agent says this.
    pub(super) fn said(&mut self, message: &v1::AgentMessage, meter: &Meter) {
        add(&meter.messages_up, 1);
        let seq = match &message.message {
            Some(Said::Delta(delta)) => {
                add(&meter.entries, delta.upserts.len() + delta.gone.len());
                add(&meter.transitions, delta.transitions.len());
                delta.seq
            }
            Some(Said::Snapshot(part)) => {
                add(&meter.entries, part.entries.len());
                self.ends = part.last.then_some(part.seq);
                part.seq
            }
            Some(Said::Heartbeat(_)) => return add(&meter.heartbeats, 1),
            _ => return,
        };
        self.flying.push_back((seq, Instant::now()));
    }

    /// The agent hears this.
    pub(super) fn heard(&mut self, message: &v1::CollectorMessage, meter: &Meter) {
        use v1::welcome::Resume;
        add(&meter.messages_down, 1);
        match &message.message {
            Some(Heard::Welcome(welcome)) => {
                let (settled, counter) = match welcome.resume() {
                    Resume::InSync => (true, &meter.in_sync),
                    Resume::Delta => (true, &meter.delta),
                    // What waits is counted when it is granted.
                    Resume::Wait => return self.settled = false,
                    Resume::Full | Resume::Unspecified => (false, &meter.full),
                };
                self.settled = settled;
                add(counter, 1);
            }
            Some(Heard::Resync(_)) => {
                self.settled = false;
                add(&meter.full, 1);
            }
            Some(Heard::Ack(ack)) => {
                while let Some((_, sent)) = self.flying.pop_front_if(|(seq, _)| *seq <= ack.seq) {
                    meter.acks.lock().unwrap_or_else(PoisonError::into_inner).push(sent.elapsed());
                }
                if self.ends.is_some_and(|last| last <= ack.seq) {
                    self.settled = true;
                    self.ends = None;
                }
            }
            _ => {}
        }
    }
}

/// A socket whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered {
    tcp: TcpStream,
    meter: Arc<Meter>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Of a slow reader: until when it reads nothing.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    pub(super) fn new(tcp: TcpStream, meter: Arc<Meter>, cut: CancellationToken, slow: bool) -> Self {
        let pause = slow.then(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
        Self { tcp, meter, cut: Box::pin(cut.cancelled_owned()), pause }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buffer.filled().len();
        let read = match &mut this.pause {
            None => Pin::new(&mut this.tcp).poll_read(context, buffer),
            Some(pause) => {
                std::task::ready!(pause.as_mut().poll(context));
                let mut sip = [0; SIP];
                let mut room = ReadBuf::new(sip.get_mut(..buffer.remaining().min(SIP)).unwrap_or_default());
                let read = Pin::new(&mut this.tcp).poll_read(context, &mut room);
                buffer.put_slice(room.filled());
                if read.is_ready() {
                    pause.as_mut().reset(tokio::time::Instant::now() + PAUSE);
                }
                read
            }
        };
        add(&this.meter.bytes_down, buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &written {
            add(&self.meter.bytes_up, *written);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
