//! Ports for programs that are told where to listen: they start later than the test that chooses, and again after they were killed.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Below where Linux takes ports from for outgoing connections and for port 0: nobody gets one of these by chance.
const CHOICE: std::ops::Range<u16> = 10_300..19_900;

/// What holds the ports of this process: a name that only one process has, in each network namespace, and only while it lives.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port of loopback that is free, and that no other test gets as long as this process lives. In the network of the calling thread.
///
/// # Errors
/// There is none.
pub fn reserve() -> Result<u16> {
    // Where to begin differs from process to process, so that few are tried in vain.
    let width = CHOICE.end - CHOICE.start;
    let begin = u16::try_from(std::process::id() % u32::from(width))?;
    for step in 0..width {
        let port = CHOICE.start + (begin + step) % width;
        let name = SocketAddr::from_abstract_name(format!("holdfast-test-port-{port}"))?;
        let Ok(holds) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(holds);
            return Ok(port);
        }
    }
    bail!("no port of {CHOICE:?} is free")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CHOICE, reserve};

    /// A port that was free a moment ago was another test's a moment later, or the near end of somebody's connection.
    #[test]
    fn a_reserved_port_is_given_out_once_and_never_by_chance() {
        let ports: Vec<u16> = (0..100).map(|_| reserve().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        let range = std::fs::read("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let first: u16 = String::from_utf8_lossy(&range).split_whitespace().next().unwrap().parse().unwrap();
        assert!(first < CHOICE.start || ports.iter().all(|port| *port < first), "{ports:?}, {first}");
    }
}
