//! The kernel's process connector: a netlink multicast group that tells of every fork, exec, change of uid or gid, and exit.
//!
//! From Linux 6.6 on anybody may listen, and ask for some kinds of events only; before that it takes `NET_ADMIN`, which the agent
//! does not keep. The kernel speaks in pids of the initial namespaces and only to who lives in them; to others it says nothing at
//! all, which is why its acknowledgement is waited for. Messages are taken apart here as bytes: whatever is short or strange is none.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Reason, Unavailable};
use netlink_sys::protocols::NETLINK_CONNECTOR;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::causes::causes;

/// `CN_IDX_PROC` and `CN_VAL_PROC`; as a bit of the socket's groups it is the same number.
const PROCESSES: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// `enum proc_cn_event`: what happened, also a bit of what is asked for.
const ACKNOWLEDGED: u32 = 0;
const FORK: u32 = 0x1;
const EXEC: u32 = 0x2;
const UID: u32 = 0x4;
const GID: u32 = 0x40;
const EXIT: u32 = 0x8000_0000;
const ASKED: u32 = FORK | EXEC | UID | GID | EXIT;

/// `NLMSG_DONE`, with which connector messages are labelled.
const DONE: u16 = 3;
const NETLINK_HEADER: usize = 16;
/// `struct cn_msg` without its data.
const CONNECTOR_HEADER: usize = 20;
/// Where `event_data` begins in `struct proc_event`: after what, cpu and time.
const EVENT_DATA: usize = 16;
/// `kthreadd`, the parent of the kernel's own threads.
const KERNEL_PARENT: i64 = 2;

/// One message is 76 bytes; the kernel sends each by itself.
const BUFFER_BYTES: usize = 4_096;
/// Room for some hundred events; the kernel gives twice its `rmem_max` at most.
const QUEUE_BYTES: u32 = 1024 * 1024;
/// The most messages taken at once, so that a storm cannot keep the thread from everything else.
const MAX_AT_ONCE: usize = 4_096;
/// The kernel answers while it takes the request.
const ANSWERS_WITHIN: Duration = Duration::from_millis(200);

/// Why the kernel does not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectorError {
    /// A system call failed.
    #[error("cannot {operation} the kernel's process connector")]
    Socket {
        operation: &'static str,
        #[source]
        source: io::Error,
    },
    /// It answered that it will not.
    #[error("the kernel refuses process events")]
    Refused(#[source] io::Error),
    /// It did not answer, as it does to whoever lives in a pid or user namespace of its own.
    #[error("the kernel sends process events only to the host's own pid and user namespace (hostPID)")]
    Silent,
    /// The pids it tells would not be those of that directory.
    #[error("{path} is not of the agent's own pid namespace")]
    OtherProc { path: PathBuf },
}

impl ConnectorError {
    /// As the reason of a fact.
    pub(super) fn unavailable(&self) -> Unavailable {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let (reason, hint) = match self {
            Self::Socket { source, .. } | Self::Refused(source) if denied(source) => {
                (Reason::PermissionDenied, ": before Linux 6.6 it takes NET_ADMIN")
            }
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                (Reason::NotSupported, ": it is only in the host's own network namespace (hostNetwork)")
            }
            _ => (Reason::NotSupported, ""),
        };
        Unavailable::new(reason, format!("{}{hint}; the agent looks every second instead", causes(self)))
    }
}

/// What happened to a process; never a thread, never the kernel's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It was forked.
    Born(i64),
    /// It runs another program, or as another user.
    Changed(i64),
    /// It ended.
    Ended(i64),
}

/// What was waiting.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) events: Vec<Event>,
    /// The kernel had no room for some.
    pub(super) lost: bool,
    /// There may be more.
    pub(super) more: bool,
}

pub(super) struct Connector {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Connector {
    /// Listens, if the kernel truly tells, of the processes of `proc`.
    pub(super) fn open(proc: &Path) -> Result<Self, ConnectorError> {
        let own = std::fs::read_link(proc.join("self")).ok().and_then(|link| link.to_str()?.parse().ok());
        if own != Some(std::process::id()) {
            return Err(ConnectorError::OtherProc { path: proc.to_owned() });
        }
        let failed = |operation| move |source| ConnectorError::Socket { operation, source };
        let mut socket = Socket::new(NETLINK_CONNECTOR).map_err(failed("open"))?;
        // Where it may not be larger, losing events is counted.
        socket.set_rx_buf_sz(QUEUE_BYTES).unwrap_or_else(|error| tracing::debug!(%error, "a small queue of process events"));
        socket.bind(&SocketAddr::new(0, PROCESSES)).map_err(failed("join"))?;
        socket.set_non_blocking(true).map_err(failed("configure"))?;
        let mut connector = Self { socket, buffer: vec![0; BUFFER_BYTES] };
        // Everybody in the group hears every answer: this number makes it ours.
        let ticket = getrandom::u32().unwrap_or(0x4846_5354);
        connector.ask(&request(ticket, &[LISTEN]))?;
        connector.answer(ticket)?;
        // Older kernels do not know a request of this length and keep sending everything. Answers are filtered out, too.
        connector.ask(&request(ticket, &[LISTEN, ASKED]))?;
        Ok(connector)
    }

    fn ask(&self, request: &[u8]) -> Result<(), ConnectorError> {
        let sent = self.socket.send_to(request, &SocketAddr::new(0, 0), 0);
        sent.map(drop).map_err(|source| ConnectorError::Socket { operation: "write to", source })
    }

    fn answer(&mut self, ticket: u32) -> Result<(), ConnectorError> {
        let until = Instant::now() + ANSWERS_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Err(ConnectorError::Silent),
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(ConnectorError::Socket { operation: "wait for", source: error.into() }),
            }
            match self.receive() {
                Ok(Some(datagram)) => match acknowledged(datagram, ticket) {
                    Some(0) => return Ok(()),
                    Some(code) => return Err(ConnectorError::Refused(io::Error::from_raw_os_error(code))),
                    None if left.is_zero() => return Err(ConnectorError::Silent),
                    None => {}
                },
                Err(error) if is_lost(&error) || is_nothing(&error) => {}
                Ok(None) => {}
                Err(source) => return Err(ConnectorError::Socket { operation: "read from", source }),
            }
        }
    }

    /// What happened since the last time.
    pub(super) fn hear(&mut self) -> Result<Heard, ConnectorError> {
        let mut heard = Heard::default();
        for _ in 0..MAX_AT_ONCE {
            match self.receive() {
                Ok(Some(datagram)) => events(datagram, &mut heard.events),
                Ok(None) => {}
                Err(error) if is_lost(&error) => heard.lost = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_nothing(&error) => return Ok(heard),
                Err(source) => return Err(ConnectorError::Socket { operation: "read from", source }),
            }
        }
        heard.more = true;
        Ok(heard)
    }

    /// One datagram; `None` when somebody else than the kernel sent it.
    fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        let mut room = self.buffer.as_mut_slice();
        let (length, sender) = self.socket.recv_from(&mut room, 0)?;
        Ok(self.buffer.get(..length).filter(|_| sender.port_number() == 0))
    }
}

fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A netlink message with a connector message with `data` in it.
fn request(ticket: u32, data: &[u32]) -> Vec<u8> {
    let data: Vec<u8> = data.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    let mut message = Vec::with_capacity(NETLINK_HEADER + CONNECTOR_HEADER + data.len());
    message.extend(u32::from(short(NETLINK_HEADER + CONNECTOR_HEADER + data.len())).to_ne_bytes());
    message.extend(DONE.to_ne_bytes());
    // Flags, sequence and sender: the kernel fills in the last.
    message.extend([0; 10]);
    for word in [PROCESSES, PROCESSES, ticket, ticket] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(short(data.len()).to_ne_bytes());
    message.extend([0; 2]);
    message.extend(data);
    message
}

/// The connector messages of the process group in a datagram: their header and data.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let length = usize::try_from(word(datagram, 0)?).ok()?;
            let message = datagram.get(NETLINK_HEADER..length)?;
            // Messages are aligned to four bytes.
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            let (header, rest) = message.split_at_checked(CONNECTOR_HEADER)?;
            let data = rest.get(..usize::from(half(header, 16)?))?;
            if word(header, 0)? == PROCESSES && word(header, 4)? == PROCESSES {
                return Some((header, data));
            }
        }
    })
}

/// The error code, 0 for none, of the kernel's answer to the request with `ticket`, when it is in this datagram.
fn acknowledged(datagram: &[u8], ticket: u32) -> Option<i32> {
    messages(datagram).find_map(|(header, data)| {
        // It counts one up in its answer. Linux 6.18 puts a number of its own where the request's first one was.
        let ours = word(header, 12)? == ticket.wrapping_add(1);
        (ours && word(data, 0)? == ACKNOWLEDGED).then(|| word(data, EVENT_DATA))?.map(u32::cast_signed)
    })
}

fn events(datagram: &[u8], into: &mut Vec<Event>) {
    into.extend(messages(datagram).filter_map(|(_, event)| {
        let field = |number: usize| word(event, EVENT_DATA + 4 * number).map(|pid| i64::from(pid.cast_signed()));
        // A thread has another pid than its group.
        let process = |first: usize| {
            let (pid, group) = (field(first)?, field(first + 1)?);
            (pid == group && pid > 0).then_some(pid)
        };
        match word(event, 0)? {
            // Parent's pid and group, then the child's.
            FORK if field(1)? != KERNEL_PARENT => process(2).map(Event::Born),
            EXEC | UID | GID => process(0).map(Event::Changed),
            // Its own pid and group, code, signal, then the parent's pid and group.
            EXIT if field(5)? != KERNEL_PARENT => process(0).map(Event::Ended),
            _ => None,
        }
    }));
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|half| u16::from_ne_bytes(*half))
}

/// A datagram, as if from the kernel.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(datagram: &[u8]) {
    let mut found = Vec::new();
    events(datagram, &mut found);
    std::hint::black_box(acknowledged(datagram, 7));
    assert!(found.len() <= datagram.len() / (NETLINK_HEADER + CONNECTOR_HEADER), "an event has a header");
}

#[cfg(test)]
mod tests;
