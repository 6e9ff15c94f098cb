//! The TCP sockets in LISTEN, or the unconnected UDP sockets, as one number that changes when they do.
//!
//! The kernel dumps them by `sock_diag` in some hundredths of a millisecond, only those asked for; where netlink is not
//! allowed, `/proc/1/net/tcp` tells the same more slowly.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use holdfast_checks::entries::Hash;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

/// The kernel never answers with more at once.
const BUFFER_BYTES: usize = 32 * 1024;
/// The most of one `/proc/net` file that is read.
const MAX_PROC_BYTES: u64 = 16 * 1024 * 1024;
/// The state column of a listening socket in `/proc/net/tcp`, and of an unconnected one in `/proc/net/udp`.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";
/// Ports the kernel hands out where `/proc` does not say.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// Which sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP sockets in LISTEN.
    Tcp,
    /// UDP sockets without a peer, at ports that were asked for: those that the kernel hands out to clients come and go all
    /// the time on some hosts, and are left to the full pass.
    Udp,
}

/// Why the sockets could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ListeningError {
    /// Netlink could not be opened or spoken to.
    #[error("cannot {operation} netlink sock_diag")]
    Netlink {
        /// What failed.
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's answer made no sense, or was an error.
    #[error("the kernel did not answer a sock_diag dump: {0}")]
    Answer(String),
    /// A file could not be read.
    #[error("cannot read {path}")]
    Proc {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Where the listening sockets are seen.
pub struct Listening {
    from: From,
    ephemeral: RangeInclusive<u16>,
}

enum From {
    Netlink { socket: Socket, buffer: Vec<u8> },
    Proc(PathBuf),
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self.from, From::Netlink { .. }) { "Listening(sock_diag)" } else { "Listening(proc)" })
    }
}

impl Listening {
    /// By `sock_diag`, of this process's network namespace.
    ///
    /// # Errors
    /// When this kernel or sandbox has no netlink.
    pub fn open(proc: &Path) -> Result<Self, ListeningError> {
        let failed = |operation| move |source| ListeningError::Netlink { operation, source };
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        // The kernel fills the answer while it takes the request: there is never anything to wait for.
        socket.set_non_blocking(true).map_err(failed("configure"))?;
        Ok(Self { from: From::Netlink { socket, buffer: vec![0; BUFFER_BYTES] }, ephemeral: ephemeral(proc) })
    }

    /// From `<proc>/1/net/tcp` and `tcp6`, or `udp` and `udp6`.
    pub fn of_proc(proc: &Path) -> Self {
        Self { from: From::Proc(proc.join("1/net")), ephemeral: ephemeral(proc) }
    }

    /// A number that differs when the set of (address, port, inode) does.
    ///
    /// # Errors
    /// See [`ListeningError`].
    pub fn sample(&mut self, transport: Transport) -> Result<u64, ListeningError> {
        let mut sockets = match &mut self.from {
            From::Netlink { socket, buffer } => {
                let mut sockets = dump(socket, buffer, transport, AF_INET, SocketId::new_v4())?;
                sockets.extend(dump(socket, buffer, transport, AF_INET6, SocketId::new_v6())?);
                sockets
            }
            From::Proc(directory) => {
                let (v4, v6) = if transport == Transport::Tcp { ("tcp", "tcp6") } else { ("udp", "udp6") };
                let mut sockets = listed(&directory.join(v4), transport)?;
                // Absent where IPv6 is switched off.
                sockets.extend(listed(&directory.join(v6), transport).unwrap_or_default());
                sockets
            }
        };
        if transport == Transport::Udp {
            sockets.retain(|(port, _)| !self.ephemeral.contains(port));
        }
        sockets.sort();
        let whole = Hash::of_fields(sockets.iter().map(|(_, socket)| socket.as_bytes())).0;
        Ok(whole.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

fn ephemeral(proc: &Path) -> RangeInclusive<u16> {
    let mut text = String::new();
    let file = File::open(proc.join("sys/net/ipv4/ip_local_port_range"));
    let read = file.and_then(|file| file.take(64).read_to_string(&mut text));
    let mut ports = text.split_ascii_whitespace().filter_map(|port| port.parse().ok());
    match (read, ports.next(), ports.next()) {
        (Ok(_), Some(first), Some(last)) => first..=last,
        _ => EPHEMERAL,
    }
}

fn dump(
    socket: &Socket,
    buffer: &mut [u8],
    transport: Transport,
    family: u8,
    socket_id: SocketId,
) -> Result<Vec<(u16, String)>, ListeningError> {
    let failed = |operation| move |source| ListeningError::Netlink { operation, source };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let (protocol, states) = match transport {
        Transport::Tcp => (IPPROTO_TCP, StateFlags::LISTEN),
        Transport::Udp => (IPPROTO_UDP, StateFlags::CLOSE),
    };
    let request = InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map_err(failed("write to"))?;
    let mut sockets = Vec::new();
    loop {
        let mut room = &mut *buffer;
        let length = socket.recv(&mut room, 0).map_err(failed("read from"))?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(|error| ListeningError::Answer(error.to_string()))?;
            match answer.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let header = &response.header;
                    let id = &header.socket_id;
                    sockets.push((id.source_port, format!("{} {} {}", id.source_address, id.source_port, header.inode)));
                }
                NetlinkPayload::Done(_) => return Ok(sockets),
                NetlinkPayload::Error(error) => return Err(ListeningError::Answer(format!("{error:?}"))),
                _ => {}
            }
            // Messages are aligned to four bytes.
            let step = usize::try_from(answer.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            if step == 0 {
                return Err(ListeningError::Answer("an empty message".to_owned()));
            }
            rest = rest.get(step..).unwrap_or_default();
        }
    }
}

fn listed(path: &Path, transport: Transport) -> Result<Vec<(u16, String)>, ListeningError> {
    let failed = |source| ListeningError::Proc { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let waiting = if transport == Transport::Tcp { LISTEN } else { UNCONNECTED };
    let mut sockets = Vec::new();
    for line in BufReader::new(file.take(MAX_PROC_BYTES)).lines().skip(1) {
        let line = line.map_err(failed)?;
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, state, inode) = (columns.next(), columns.nth(1), columns.nth(5));
        let port = local.and_then(|local| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok());
        if let (Some(local), Some(port), Some(inode), true) = (local, port, inode, state == Some(waiting)) {
            sockets.push((port, format!("{local} {inode}")));
        }
    }
    Ok(sockets)
}
