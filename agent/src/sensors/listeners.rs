//! Listening sockets of the host's network namespace, each with the process that holds it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use holdfast_checks::facts::{BindScope, Listener, Listing, Observed, Owner, Reason, Skipped, Source, SourceKind, Unavailable};

use super::now;
use super::processes::{ProcessTable, Seen};
use super::sockets::{Socket, Sockets, inode};
use crate::host::{Host, ReadError};

/// What earlier passes found out, so that a pass rarely lists every descriptor of the host.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Where a socket was found: pid and descriptor. Looked at first.
    places: HashMap<u64, (i64, String)>,
    /// Sockets that none of `searched` holds.
    orphans: BTreeSet<u64>,
    /// Processes, by pid and start time, that were searched for `orphans`.
    searched: HashSet<(i64, i64)>,
    /// Those whose descriptors were not readable when they were last searched.
    unreadable: HashSet<(i64, i64)>,
}

impl Owners {
    /// Can owners be others than they were, though the sockets are the same: one ended and left its socket to a child, or a
    /// process came that may hold what nobody held.
    pub(super) fn outdated(&self, table: &ProcessTable) -> bool {
        let alive: HashSet<i64> = table.processes.iter().map(|seen| seen.fact.pid).collect();
        let new = |seen: &Arc<Seen>| !self.searched.contains(&(seen.fact.pid, seen.fact.start_ticks));
        self.places.values().any(|(pid, _)| !alive.contains(pid)) || !self.orphans.is_empty() && table.processes.iter().any(new)
    }
}

/// Every socket that waits for others. `table` says whose they can be, or why that is not known.
pub(super) fn read(host: &Host, table: &Result<Arc<ProcessTable>, Unavailable>, owners: &mut Owners) -> Observed<Listing<Listener>> {
    let sockets = match Sockets::read(host) {
        Ok(sockets) => sockets,
        Err(error) => return error.observed(),
    };
    let at = now();
    let found = table.as_ref().map(|table| find(host, table, &sockets, owners));
    let owner = |socket: &Socket| match &found {
        Ok(found) => found.owner(socket.inode, at),
        Err(why) => Observed::Unavailable((*why).clone()),
    };
    let items = sockets.all.iter().map(|socket| fact(socket, owner(socket))).collect();
    Observed::known(Listing { items, skipped: unread(&sockets) }, Source::new(SourceKind::Kernel, "/proc/net"), at)
}

/// The sockets that one process holds in the network namespace it is in, which is not the host's.
pub(super) fn of_process(host: &Host, seen: &Seen) -> Observed<Listing<Listener>> {
    let read = || {
        let sockets = Sockets::seen_by(host, seen.fact.pid)?;
        let wanted: BTreeSet<u64> = sockets.all.iter().map(|socket| socket.inode).collect();
        let held: BTreeSet<u64> = descriptors(host, seen, &wanted)?.into_iter().map(|(inode, _)| inode).collect();
        Ok::<_, ReadError>((sockets, held))
    };
    let at = now();
    let (sockets, held) = match read() {
        Ok(found) => found,
        Err(error) => return error.observed(),
    };
    let own = sockets.all.iter().filter(|socket| held.contains(&socket.inode));
    let items = own.map(|socket| fact(socket, Observed::known(owner(seen), Source::new(SourceKind::Process, "fd"), at))).collect();
    Observed::known(Listing { items, skipped: unread(&sockets) }, Source::new(SourceKind::Kernel, "/proc/net of its own"), at)
}

fn fact(socket: &Socket, owner: Observed<Owner>) -> Listener {
    Listener {
        subject: format!("port:{}/{}", socket.protocol, socket.address.port()),
        protocol: socket.protocol.to_owned(),
        address: socket.address.ip().to_string(),
        port: i64::from(socket.address.port()),
        scope: scope(socket.address.ip().to_canonical()),
        owner,
    }
}

fn unread(sockets: &Sockets) -> Vec<Skipped> {
    sockets.unread.iter().map(|(path, error)| error.skipped(*path)).collect()
}

/// The processes behind sockets, and whether some could not be asked.
struct Found<'a> {
    by_inode: BTreeMap<u64, &'a Seen>,
    unreadable: bool,
}

impl Found<'_> {
    fn owner(&self, inode: u64, at: i64) -> Observed<Owner> {
        match self.by_inode.get(&inode) {
            Some(seen) => Observed::known(owner(seen), Source::new(SourceKind::Process, "fd"), at),
            None if self.unreadable => {
                let detail = "some processes or their descriptors are not readable: needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH";
                Observed::unavailable_because(Reason::PermissionDenied, detail)
            }
            None => Observed::unavailable_because(Reason::NotPresent, "no process holds this socket: it is the kernel's own"),
        }
    }
}

fn owner(seen: &Seen) -> Owner {
    Owner {
        pid: seen.fact.pid,
        name: seen.fact.name.clone(),
        exe: seen.fact.exe.value().cloned().unwrap_or_default(),
        component: seen.role.map(|role| role.name.to_owned()).unwrap_or_default(),
        unit: seen.unit.clone(),
    }
}

fn find<'a>(host: &Host, table: &'a ProcessTable, sockets: &Sockets, owners: &mut Owners) -> Found<'a> {
    let mut by_inode = BTreeMap::new();
    let mut wanted: BTreeSet<u64> = sockets.all.iter().map(|socket| socket.inode).filter(|inode| *inode != 0).collect();
    let by_pid: BTreeMap<i64, &Seen> = table.processes.iter().map(|seen| (seen.fact.pid, seen.as_ref())).collect();
    owners.places.retain(|socket, (pid, descriptor)| {
        let still = || {
            let seen = wanted.contains(socket).then(|| by_pid.get(pid))??;
            let link = host.proc.process(*pid).ok()?.link(&format!("fd/{descriptor}")).ok()?;
            (inode(&link) == Some(*socket)).then_some(*seen)
        };
        let Some(seen) = still() else { return false };
        wanted.remove(socket);
        by_inode.insert(*socket, seen);
        true
    });
    let alive: HashSet<(i64, i64)> = table.processes.iter().map(|seen| (seen.fact.pid, seen.fact.start_ticks)).collect();
    owners.searched.retain(|process| alive.contains(process));
    owners.unreadable.retain(|process| alive.contains(process));
    // Not looked for before: anybody may hold these. The orphans were looked for everywhere but in new processes.
    let mut fresh: BTreeSet<u64> = wanted.difference(&owners.orphans).copied().collect();
    // Init holds the sockets it passes on to services: it is asked last, so that the service is the owner.
    let (init, others): (Vec<&Seen>, Vec<&Seen>) = by_pid.values().copied().partition(|seen| seen.fact.pid == 1);
    for seen in others.into_iter().chain(init) {
        if wanted.is_empty() {
            break;
        }
        let process = (seen.fact.pid, seen.fact.start_ticks);
        if owners.searched.contains(&process) && fresh.is_empty() {
            continue;
        }
        owners.searched.insert(process);
        match descriptors(host, seen, &wanted) {
            Ok(held) => {
                owners.unreadable.remove(&process);
                for (socket, descriptor) in held {
                    wanted.remove(&socket);
                    fresh.remove(&socket);
                    by_inode.insert(socket, seen);
                    owners.places.insert(socket, (seen.fact.pid, descriptor));
                }
            }
            // On a live host it has ended. A tree that lacks a component's descriptors does not say that it holds none.
            Err(error) if error.is_absent() && (host.live() || seen.role.is_none()) => {}
            Err(_) => drop(owners.unreadable.insert(process)),
        }
    }
    owners.orphans = wanted;
    if owners.orphans.is_empty() {
        owners.searched.clear();
        owners.unreadable.clear();
    }
    Found { by_inode, unreadable: !owners.unreadable.is_empty() || !table.skipped.is_empty() }
}

/// The wanted sockets among a process's descriptors.
fn descriptors(host: &Host, seen: &Seen, wanted: &BTreeSet<u64>) -> Result<Vec<(u64, String)>, ReadError> {
    let process = host.proc.process(seen.fact.pid)?;
    let mut held = Vec::new();
    for descriptor in process.descriptors()? {
        match process.link(&format!("fd/{descriptor}")) {
            Ok(link) => held.extend(inode(&link).filter(|inode| wanted.contains(inode)).map(|inode| (inode, descriptor))),
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

/// How far an address reaches.
pub(super) fn scope(address: IpAddr) -> BindScope {
    let node = match address {
        IpAddr::V4(address) if address.is_unspecified() => return BindScope::All,
        IpAddr::V6(address) if address.is_unspecified() => return BindScope::All,
        IpAddr::V4(address) if address.is_loopback() => return BindScope::Loopback,
        IpAddr::V6(address) if address.is_loopback() => return BindScope::Loopback,
        IpAddr::V4(address) => private_v4(address),
        IpAddr::V6(address) => private_v6(address),
    };
    if node { BindScope::Node } else { BindScope::Public }
}

/// Not globally routed: private, link-local, shared (RFC 6598), documentation, benchmarking and multicast ranges.
fn private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let benchmarking = first == 198 && (second == 18 || second == 19);
    address.is_private() || address.is_link_local() || address.is_documentation() || address.is_multicast() || shared || benchmarking
}

fn private_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let documentation = first == 0x2001 && second == 0xdb8;
    address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast() || documentation
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.0.0.0", BindScope::All)]
    #[case("::", BindScope::All)]
    #[case("::ffff:0.0.0.0", BindScope::All)]
    #[case("127.0.0.53", BindScope::Loopback)]
    #[case("::1", BindScope::Loopback)]
    #[case("::ffff:127.0.0.1", BindScope::Loopback)]
    #[case("10.1.2.3", BindScope::Node)]
    #[case("::ffff:192.168.1.1", BindScope::Node)]
    #[case("100.64.0.1", BindScope::Node)]
    #[case("fe80::1", BindScope::Node)]
    #[case("fd00::1", BindScope::Node)]
    #[case("8.8.8.8", BindScope::Public)]
    #[case("2606:4700::1", BindScope::Public)]
    fn addresses_reach_as_far_as_they_are_routed(#[case] address: IpAddr, #[case] expected: BindScope) {
        assert_eq!(scope(address.to_canonical()), expected);
    }
}
