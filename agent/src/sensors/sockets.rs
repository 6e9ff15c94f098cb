//! The sockets of the host's network namespace that wait for others, from `/proc/1/net`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use procfs_core::net::{TcpNetEntries, TcpState, UdpNetEntries};
use procfs_core::{ExplicitSystemInfo, FromBufReadSI, SystemInfo};

use crate::host::{Host, ReadError};

/// `/proc/net/tcp` of a busy node: 150 bytes for each connection.
const TABLE_CAP: u64 = 64 * 1024 * 1024;

/// One socket that waits for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) protocol: &'static str,
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// All of them, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) all: Vec<Socket>,
    pub(super) unread: Vec<(&'static str, ReadError)>,
    inodes: BTreeMap<u64, usize>,
}

impl Sockets {
    /// Reads the four tables. A kernel without IPv6 has two of them.
    pub(super) fn read(host: &Host) -> Result<Self, ReadError> {
        Self::seen_by(host, 1)
    }

    /// The same of the network namespace that process `pid` is in.
    pub(super) fn seen_by(host: &Host, pid: i64) -> Result<Self, ReadError> {
        let mut found = Self::default();
        for (name, protocol) in [("net/tcp", "tcp"), ("net/tcp6", "tcp"), ("net/udp", "udp"), ("net/udp6", "udp")] {
            match table(host, &format!("{pid}/{name}"), protocol) {
                Ok(sockets) => found.all.extend(sockets),
                Err(error) if error.is_absent() && name.ends_with('6') => {}
                Err(error) if name == "net/tcp" => return Err(error),
                Err(error) => found.unread.push((name, error)),
            }
        }
        found.inodes = found.all.iter().enumerate().map(|(index, socket)| (socket.inode, index)).collect();
        Ok(found)
    }

    /// Is the link text of a descriptor, `socket:[4711]`, one of these.
    pub(super) fn lists(&self, link: &str) -> bool {
        inode(link).is_some_and(|inode| self.inodes.contains_key(&inode))
    }
}

/// The inode in a descriptor's link text.
pub(super) fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn table(host: &Host, path: &str, protocol: &'static str) -> Result<Vec<Socket>, ReadError> {
    let content = host.proc.root().read_capped(path, TABLE_CAP)?;
    parse(&content, protocol).map_err(|_| ReadError::content(path, "a table of sockets"))
}

fn parse(content: &[u8], protocol: &'static str) -> Result<Vec<Socket>, procfs_core::ProcError> {
    // Addresses stand in the byte order of the host; the other two numbers play no part in these tables.
    let system =
        ExplicitSystemInfo { boot_time_secs: 0, ticks_per_second: 100, page_size: 4096, is_little_endian: cfg!(target_endian = "little") };
    if protocol == "tcp" {
        let TcpNetEntries(entries) = read_table(content, &system)?;
        let listening = entries.into_iter().filter(|entry| entry.state == TcpState::Listen);
        return Ok(listening.map(|entry| Socket { protocol, address: entry.local_address, inode: entry.inode }).collect());
    }
    let UdpNetEntries(entries) = read_table(content, &system)?;
    let waiting = entries.into_iter().filter(|entry| entry.remote_address.port() == 0);
    Ok(waiting.map(|entry| Socket { protocol, address: entry.local_address, inode: entry.inode }).collect())
}

fn read_table<T: FromBufReadSI>(content: &[u8], system: &SystemInfo) -> Result<T, procfs_core::ProcError> {
    T::from_buf_read(content, system)
}

/// A table of either kind, and the inode in a link.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &[u8]) {
    drop((parse(content, "tcp"), parse(content, "udp"), inode(&String::from_utf8_lossy(content))));
}
