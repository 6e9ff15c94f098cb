//! One visit to one listener: connections that end in time however the other side behaves, and no more of them than its bucket
//! of tokens allows. Must not know HTTP, TLS or facts beyond the reasons.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use holdfast_checks::facts::Reason;

/// A whole conversation, from connecting to the last byte read.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// The most connections to one listener at once; refilled one every [`REFILL`].
const BURST: u32 = 120;
const REFILL: Duration = Duration::from_millis(500);

/// How many connections a listener may still be asked for: two a second, and two minutes' worth at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Self {
        Self { tokens: BURST, filled: now }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let periods = now.saturating_duration_since(self.filled).as_millis() / REFILL.as_millis();
        let fresh = u32::try_from(periods).unwrap_or(BURST).min(BURST);
        self.tokens = self.tokens.saturating_add(fresh).min(BURST);
        self.filled = if self.tokens == BURST { now } else { self.filled + REFILL * fresh };
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoWire {
    /// The port is closed: the host said so.
    Refused,
    /// There is no way there.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The bucket is empty.
    TooOften,
    /// The kernel would not even try: out of descriptors, or forbidden.
    Failed,
}

impl NoWire {
    /// As the reason of something that could not be asked.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Refused | Self::Unreachable => Reason::NotPresent,
            Self::TimedOut => Reason::TimedOut,
            Self::TooOften | Self::Failed => Reason::NotSupported,
        }
    }
}

/// Everything said to one listener in one pass, one connection after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) address: SocketAddr,
    pub(super) bucket: Bucket,
    /// Nothing lasts longer.
    pub(super) until: Instant,
    /// Where to go when there is no way to `address`: a socket of `::` takes IPv4 too, also where loopback has no IPv6.
    pub(super) otherwise: Option<Ipv4Addr>,
    /// Connections tried so far.
    pub(super) connections: u32,
}

impl Visit {
    pub(super) fn new(address: SocketAddr, bucket: Bucket, until: Instant) -> Self {
        Self { address, bucket, until, otherwise: None, connections: 0 }
    }

    /// A new connection.
    pub(super) fn connect(&mut self) -> Result<Wire, NoWire> {
        match (self.try_connect(), self.otherwise.take()) {
            (Err(NoWire::Unreachable), Some(other)) => {
                self.address.set_ip(IpAddr::V4(other));
                self.try_connect()
            }
            (outcome, _) => outcome,
        }
    }

    fn try_connect(&mut self) -> Result<Wire, NoWire> {
        let now = Instant::now();
        let until = self.until.min(now + DEADLINE);
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            return Err(NoWire::TimedOut);
        }
        if !self.bucket.take(now) {
            return Err(NoWire::TooOften);
        }
        self.connections += 1;
        match TcpStream::connect_timeout(&self.address, left) {
            Ok(stream) => Ok(Wire { stream, until }),
            Err(error) => Err(match error.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => NoWire::TimedOut,
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => NoWire::Refused,
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => NoWire::Unreachable,
                _ => NoWire::Failed,
            }),
        }
    }
}

/// A connection on which nothing happens after a point in time, however slowly the other side drips.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    until: Instant,
}

impl Wire {
    fn left(&self) -> std::io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// Did time run out, in the words of a connection.
pub(super) fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_two_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let taken = |bucket: &mut Bucket, at: Duration| (0..1000).filter(|_| bucket.take(start + at)).count();
        assert_eq!(taken(&mut bucket, Duration::ZERO), 120);
        assert_eq!(taken(&mut bucket, Duration::from_millis(499)), 0);
        assert_eq!(taken(&mut bucket, Duration::from_millis(500)), 1);
        assert_eq!(taken(&mut bucket, Duration::from_millis(5500)), 10);
        assert_eq!(taken(&mut bucket, Duration::from_hours(1)), 120);
    }

    #[test]
    fn who_cannot_be_reached_by_one_address_is_tried_by_the_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // An address of the documentation range, bound nowhere, over a scope that does not exist.
        let nowhere: SocketAddr = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, 999_999).into();
        let now = Instant::now();
        let mut visit = Visit::new(nowhere, Bucket::full(now), now + DEADLINE);
        assert!(visit.connect().is_err());
        let mut visit = Visit { otherwise: Some(Ipv4Addr::LOCALHOST), ..Visit::new(nowhere, Bucket::full(now), now + DEADLINE) };
        match visit.connect() {
            Ok(_) => assert_eq!((visit.address.ip(), visit.connections), (IpAddr::V4(Ipv4Addr::LOCALHOST), 2)),
            // Where the kernel has another word for it, it is no address to fall back from.
            Err(error) => assert_eq!(error, NoWire::Failed),
        }
    }
}
