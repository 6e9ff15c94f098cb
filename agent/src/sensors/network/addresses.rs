//! The addresses of the host's network namespace, out of process 1's routing trie: it works for a live host, whatever
//! namespace the agent is in, and for a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use holdfast_checks::facts::{Address, Listing, Observed, Reason, Skipped, Source, SourceKind};

use super::super::listeners::scope;
use super::super::now;
use crate::host::Host;

/// IPv4: every route of the host, its own addresses among them.
const TRIE: &str = "1/net/fib_trie";
/// IPv4: which interface leads where.
const ROUTES: &str = "1/net/route";
/// IPv6: addresses with their interface.
const SIX: &str = "1/net/if_inet6";
/// Some ten thousand routes. Whoever routes for more is no node, and the table would not fit an agent.
const CAP: u64 = 4 * 1024 * 1024;
/// More addresses than these are counted as missing: IPVS makes every service's address one of the host's.
const MAX: usize = 4096;

/// Every address, sorted.
pub(super) fn read(host: &Host) -> Observed<Listing<Address>> {
    let text = |path: &str| host.proc.root().read_capped(path, CAP).map(|content| String::from_utf8_lossy(&content).into_owned());
    let trie = match text(TRIE) {
        Ok(trie) => trie,
        Err(error) => return error.observed(),
    };
    let mut skipped = Vec::new();
    // Names are a help to the reader; addresses are what counts.
    let routes = text(ROUTES).map(|table| routes(&table)).unwrap_or_default();
    let mut found: BTreeSet<(IpAddr, String)> =
        local(&trie).into_iter().map(|address| (IpAddr::V4(address), interface(&routes, address))).collect();
    match text(SIX) {
        Ok(table) => found.extend(table.lines().filter_map(six)),
        // A kernel without IPv6 has no such table.
        Err(error) if error.is_absent() && host.live() => {}
        Err(error) => skipped.push(error.skipped("IPv6 addresses")),
    }
    if found.len() > MAX {
        skipped.push(Skipped { what: "further addresses".to_owned(), reason: Reason::TooLarge });
    }
    let fact = |(address, interface): (IpAddr, String)| Address { interface, address: address.to_string(), scope: scope(address) };
    let items = found.into_iter().take(MAX).map(fact).collect();
    Observed::known(Listing { items, skipped }, Source::new(SourceKind::Kernel, "/proc/1/net"), now())
}

/// The leaves `|-- 10.0.0.5` with a line `/32 host LOCAL` below.
fn local(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(leaf);
        }
    }
    addresses
}

/// A directly connected network.
struct Route {
    interface: String,
    network: u32,
    mask: u32,
}

/// The directly connected networks of a table of routes, whose numbers stand in the byte order of the host.
fn routes(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let number =
            |index: usize| u32::from_str_radix(columns.get(index)?, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()));
        let (network, gateway, mask) = (number(1)?, number(2)?, number(7)?);
        (gateway == 0 && mask != 0).then(|| Route { interface: columns.first().map(|name| clean(name)).unwrap_or_default(), network, mask })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// The interface of the narrowest network with `address`, where only one has it.
fn interface(routes: &[Route], address: Ipv4Addr) -> String {
    if address.is_loopback() {
        return "lo".to_owned();
    }
    let mut narrowest: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    // A route to one address alone leads away from the host: the address is a pod's, or the far end's.
    for route in routes.iter().filter(|route| route.mask != u32::MAX && u32::from(address) & route.mask == route.network) {
        narrowest.entry(route.mask).or_default().insert(&route.interface);
    }
    match narrowest.last_key_value() {
        Some((_, interfaces)) if interfaces.len() == 1 => interfaces.first().map(|name| (*name).to_owned()).unwrap_or_default(),
        _ => String::new(),
    }
}

/// `fe80…32 digits 02 40 20 80 eth0`.
fn six(line: &str) -> Option<(IpAddr, String)> {
    let mut columns = line.split_ascii_whitespace();
    let digits = columns.next().filter(|digits| digits.len() == 32)?;
    let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
    Some((IpAddr::V6(address), columns.nth(4).map(clean).unwrap_or_default()))
}

/// The kernel takes almost any byte in an interface's name, and at most 15 of them.
fn clean(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(15).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.0.0
           /16 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
Local:
  +-- 127.0.0.0/8 2 0 2
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
  |-- 8.8.4.4
     /32 host LOCAL
  |-- nonsense
     /32 host LOCAL
";

    #[test]
    fn local_addresses_are_the_leaves_that_are_the_hosts() {
        let shown: Vec<String> = local(TRIE).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["8.8.4.4", "10.1.2.3", "127.0.0.1"]);
        assert!(local("|-- ").is_empty() && local("\u{fffd}/32 host LOCAL").is_empty());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn an_interface_is_named_where_one_alone_leads_there() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0101010A 0003 0 0 100 00000000 0 0 0
eth0 0000010A 00000000 0001 0 0 100 0000FFFF 0 0 0
cali1 0402010A 00000000 0005 0 0 0 FFFFFFFF 0 0 0
eth1 0000A8C0 00000000 0001 0 0 0 0000FFFF 0 0 0
eth2 0000A8C0 00000000 0001 0 0 0 0000FFFF 0 0 0
short 00
";
        let routes = routes(table);
        let named = |text: &str| interface(&routes, text.parse().unwrap());
        assert_eq!(named("10.1.2.3"), "eth0");
        assert_eq!(named("10.1.2.4"), "eth0", "cali1 leads to a pod");
        assert_eq!(named("192.168.0.1"), "", "two lead there");
        assert_eq!(named("8.8.4.4"), "");
        assert_eq!(named("127.0.0.1"), "lo");
    }

    #[test]
    fn lines_of_the_other_family_are_read_with_their_interface() {
        let line = "fe80000000000000a00000fffe000001 02 40 20 80     eth0";
        assert_eq!(six(line), Some(("fe80::a000:ff:fe00:1".parse().unwrap(), "eth0".to_owned())));
        assert_eq!(six("fe80"), None);
        assert_eq!(six("zz80000000000000a00000fffe000001 02 40 20 80 eth0"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_table_makes_it_panic(table in "([|+ -]{0,4}[0-9a-fx./]{0,34}[ \t\n]){0,40}") {
            let routes = routes(&table);
            for address in local(&table) {
                interface(&routes, address);
            }
            proptest::prop_assert!(table.lines().filter_map(six).count() <= table.lines().count());
        }
    }
}
