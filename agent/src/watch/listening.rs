//! The TCP sockets in LISTEN, as one number that changes when they do.
//!
//! The kernel dumps them by `sock_diag` in some hundredths of a millisecond, only those asked for; where netlink is not
//! allowed, `/proc/1/net/tcp` tells the same more slowly.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use holdfast_checks::entries::Hash;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

/// The kernel never answers with more at once.
const BUFFER_BYTES: usize = 32 * 1024;
/// The most of one `/proc/net` file that is read.
const MAX_PROC_BYTES: u64 = 16 * 1024 * 1024;
/// The state column of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

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
pub struct Listening(From);

enum From {
    Netlink { socket: Socket, buffer: Vec<u8> },
    Proc(PathBuf),
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self.0, From::Netlink { .. }) { "Listening(sock_diag)" } else { "Listening(proc)" })
    }
}

impl Listening {
    /// By `sock_diag`, of this process's network namespace.
    ///
    /// # Errors
    /// When this kernel or sandbox has no netlink.
    pub fn open() -> Result<Self, ListeningError> {
        let failed = |operation| move |source| ListeningError::Netlink { operation, source };
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        // The kernel fills the answer while it takes the request: there is never anything to wait for.
        socket.set_non_blocking(true).map_err(failed("configure"))?;
        Ok(Self(From::Netlink { socket, buffer: vec![0; BUFFER_BYTES] }))
    }

    /// From `<proc>/1/net/tcp` and `tcp6`.
    pub fn of_proc(proc: &Path) -> Self {
        Self(From::Proc(proc.join("1/net")))
    }

    /// A number that differs when the set of (address, port, inode) does.
    ///
    /// # Errors
    /// See [`ListeningError`].
    pub fn sample(&mut self) -> Result<u64, ListeningError> {
        let mut sockets = match &mut self.0 {
            From::Netlink { socket, buffer } => {
                let mut sockets = dump(socket, buffer, AF_INET, SocketId::new_v4())?;
                sockets.extend(dump(socket, buffer, AF_INET6, SocketId::new_v6())?);
                sockets
            }
            From::Proc(directory) => {
                let mut sockets = listed(&directory.join("tcp"))?;
                // Absent where IPv6 is switched off.
                sockets.extend(listed(&directory.join("tcp6")).unwrap_or_default());
                sockets
            }
        };
        sockets.sort();
        let whole = Hash::of_fields(sockets.iter().map(String::as_bytes)).0;
        Ok(whole.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

fn dump(socket: &Socket, buffer: &mut [u8], family: u8, socket_id: SocketId) -> Result<Vec<String>, ListeningError> {
    let failed = |operation| move |source| ListeningError::Netlink { operation, source };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let states = StateFlags::LISTEN;
    let request = InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id };
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
                    sockets.push(format!("{} {} {}", id.source_address, id.source_port, header.inode));
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

fn listed(path: &Path) -> Result<Vec<String>, ListeningError> {
    let failed = |source| ListeningError::Proc { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut sockets = Vec::new();
    for line in BufReader::new(file.take(MAX_PROC_BYTES)).lines().skip(1) {
        let line = line.map_err(failed)?;
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        if let (Some(local), Some(&LISTEN), Some(inode)) = (columns.get(1), columns.get(3), columns.get(9)) {
            sockets.push(format!("{local} {inode}"));
        }
    }
    Ok(sockets)
}
