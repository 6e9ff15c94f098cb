//! What this agent agrees to ask of others, whoever wants it: literal addresses in the networks its own configuration names,
//! requests of the built-in list, ten in a minute. Pure: the moment is passed in.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use holdfast_checks::peers::{MOST_PER_MINUTE, Network, Refusal, question};
use holdfast_proto::v1;

/// The longest address in text: an IPv6 address with an IPv4 tail.
const MAX_ADDRESS_BYTES: usize = 45;
const MINUTE: Duration = Duration::from_mins(1);

/// Where cloud providers serve a machine its credentials, beside 169.254.0.0/16: AWS, Google and Scaleway over IPv6, Alibaba,
/// Oracle and Azure over addresses that look like any other.
const METADATA: [IpAddr; 6] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// A request this agent will make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Whom to ask.
    pub address: SocketAddr,
    /// Over TLS.
    pub tls: bool,
    /// For which path.
    pub path: &'static str,
}

/// The limits, and what was asked in the last minute.
#[derive(Debug)]
pub struct Limits {
    networks: Vec<Network>,
    recent: VecDeque<Instant>,
}

impl Limits {
    /// Without networks nothing is asked.
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks, recent: VecDeque::new() }
    }

    /// Is nothing ever asked.
    pub fn switched_off(&self) -> bool {
        self.networks.is_empty()
    }

    /// What to do for `request` at `now`, which counts it, or why not. `in_pools` is what the collector's policy adds to the networks.
    ///
    /// # Errors
    /// The first reason that forbids it. What is refused is not counted.
    pub fn allow(&mut self, request: &v1::ProbeRequest, in_pools: impl Fn(IpAddr) -> bool, now: Instant) -> Result<Target, Refusal> {
        if self.switched_off() {
            return Err(Refusal::SwitchedOff);
        }
        let address = literal(&request.address).ok_or(Refusal::NotAnAddress)?;
        if forbidden(address) {
            return Err(Refusal::ForbiddenAddress);
        }
        if !self.networks.iter().any(|network| network.contains(address)) {
            return Err(Refusal::OutsideNetworks);
        }
        if !in_pools(address) {
            return Err(Refusal::OutsidePools);
        }
        let question = question(i64::from(request.port)).filter(|question| question.path == request.path);
        let question = question.ok_or(Refusal::ForbiddenRequest)?;
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            self.recent.pop_front();
        }
        if self.recent.len() >= usize::try_from(MOST_PER_MINUTE).unwrap_or(usize::MAX) {
            return Err(Refusal::TooMany);
        }
        self.recent.push_back(now);
        Ok(Target { address: SocketAddr::new(address, question.port), tls: question.tls, path: question.path })
    }
}

/// An address in text, and nothing that would have to be looked up.
fn literal(text: &str) -> Option<IpAddr> {
    if text.len() > MAX_ADDRESS_BYTES { None } else { text.parse().ok() }
}

/// Addresses that are never asked, whatever the configuration says.
fn forbidden(address: IpAddr) -> bool {
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(address) => forbidden_v4(address),
            IpAddr::V6(address) => forbidden_v6(address),
        }
}

fn forbidden_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0.0.0.0/8 is this host to some kernels; 240.0.0.0/4 is reserved and has the broadcast address.
    first == 0 || first >= 240 || address.is_loopback() || address.is_link_local() || address.is_multicast()
}

fn forbidden_v6(address: Ipv6Addr) -> bool {
    let disguised = match address.segments() {
        // IPv4-compatible and IPv4-mapped, ::ffff:0:a.b.c.d: what the kernel or a gateway makes an IPv4 address of. `::` and `::1`
        // are among them.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..]
        // NAT64, well known and local; 6to4; Teredo.
        | [0x64, 0xff9b, 0 | 1, ..] | [0x2002, ..] | [0x2001, 0, ..] => true,
        _ => false,
    };
    disguised || address.is_unicast_link_local() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODES: [&str; 3] = ["10.1.0.0/16", "2001:db8:1::/64", "192.0.2.7/32"];

    fn limits(networks: &[&str]) -> Limits {
        Limits::new(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn request(address: &str, port: u32, path: &str) -> v1::ProbeRequest {
        v1::ProbeRequest { request: 1, address: address.to_owned(), port, path: path.to_owned() }
    }

    /// Networks so wide that only the built-in rules are left.
    fn wide() -> Limits {
        limits(&["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"])
    }

    fn said(limits: &mut Limits, address: &str, port: u32, path: &str) -> String {
        match limits.allow(&request(address, port, path), |_| true, Instant::now()) {
            Ok(target) => format!("{}{} tls={}", target.address, target.path, target.tls),
            Err(refusal) => refusal.name().to_owned(),
        }
    }

    #[test]
    fn nodes_are_asked_what_may_be_asked() {
        for (address, port, path, asked) in [
            ("10.1.2.3", 10250, "/pods", "10.1.2.3:10250/pods tls=true"),
            ("10.1.255.255", 10255, "/pods", "10.1.255.255:10255/pods tls=false"),
            ("2001:db8:1::9", 2379, "/version", "[2001:db8:1::9]:2379/version tls=true"),
            ("192.0.2.7", 10256, "/healthz", "192.0.2.7:10256/healthz tls=false"),
        ] {
            assert_eq!(said(&mut limits(&NODES), address, port, path), asked);
        }
    }

    #[test]
    fn addresses_that_are_never_asked() {
        for address in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "169.254.170.2",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:42::42",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.1.2.3",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "::10.1.2.3",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        ] {
            assert_eq!(said(&mut wide(), address, 10250, "/pods"), "forbidden_address", "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_never_looked_up() {
        let long = "1".repeat(100_000);
        for address in [
            "",
            "localhost",
            "node-1",
            "kubernetes.default.svc",
            "10.1.2",
            "10.1.2.3.4",
            "010.1.2.3",
            "0x0a010203",
            "167838211",
            "10.1.2.3:80",
            "[2001:db8:1::9]",
            "fe80::1%eth0",
            "10.1.2.3 ",
            " 10.1.2.3",
            "10.1.2.3\n",
            "10.1.2.3\0",
            "10.1.2.3/32",
            "http://10.1.2.3",
            "user@10.1.2.3",
            "10。1。2。3",
            long.as_str(),
        ] {
            assert_eq!(said(&mut limits(&NODES), address, 10250, "/pods"), "not_an_address", "{address:.40}");
        }
    }

    #[test]
    fn nothing_outside_the_configured_networks() {
        for address in ["10.0.255.255", "10.2.0.0", "8.8.8.8", "192.0.2.6", "192.0.2.8", "2001:db8:2::1", "2606:4700::1111"] {
            assert_eq!(said(&mut limits(&NODES), address, 10250, "/pods"), "outside_networks", "{address}");
        }
        assert_eq!(said(&mut Limits::new(Vec::new()), "10.1.2.3", 10250, "/pods"), "switched_off");
        // One family says nothing about the other.
        assert_eq!(said(&mut limits(&["8000::/1"]), "200.1.2.3", 10250, "/pods"), "outside_networks");
    }

    #[test]
    fn pools_narrow_networks_and_never_widen_them() {
        let said = |address: &str| {
            limits(&NODES).allow(&request(address, 10250, "/pods"), |address| address.to_string() == "10.1.2.3", Instant::now())
        };
        assert!(said("10.1.2.3").is_ok());
        assert_eq!(said("10.1.2.4"), Err(Refusal::OutsidePools));
        let wide = limits(&NODES).allow(&request("8.8.8.8", 10250, "/pods"), |_| true, Instant::now());
        assert_eq!(wide, Err(Refusal::OutsideNetworks));
    }

    #[test]
    fn ports_and_paths_outside_the_list() {
        for (port, path) in [
            (22, "/"),
            (80, "/"),
            (443, "/version"),
            (8080, "/version"),
            (30_000, "/pods"),
            (32_767, "/healthz"),
            (0, "/pods"),
            (10250, "/"),
            (10250, ""),
            (10250, "/run/default/web/c"),
            (10250, "/exec/default/web/c"),
            (10250, "/pods/"),
            (10250, "/pods?x=1"),
            (10250, "/pods HTTP/1.1\r\nX: y"),
            (10250, "/metrics"),
            (10255, "/healthz"),
            (65_536 + 10_250, "/pods"),
            (u32::MAX, "/pods"),
            (10250, "http://evil/pods"),
            (2379, "/v3/kv/range"),
        ] {
            assert_eq!(said(&mut limits(&NODES), "10.1.2.3", port, path), "forbidden_request", "{port} {path:?}");
        }
    }

    #[test]
    fn ten_in_any_minute_and_refusals_do_not_count() {
        let mut limits = limits(&NODES);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let good = request("10.1.2.3", 10250, "/pods");
        for second in 0..10 {
            assert!(limits.allow(&request("8.8.8.8", 10250, "/pods"), |_| true, at(second)).is_err());
            assert!(limits.allow(&good, |_| true, at(second)).is_ok(), "{second}");
        }
        assert_eq!(limits.allow(&good, |_| true, at(59)), Err(Refusal::TooMany));
        assert!(limits.allow(&good, |_| true, at(60)).is_ok(), "the first of them is a minute ago");
        assert_eq!(limits.allow(&good, |_| true, at(60)), Err(Refusal::TooMany));
        assert!(limits.allow(&good, |_| true, at(61)).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_allowed_is_in_a_network_and_in_the_list(address in any::<u32>(), prefix in 1_u8..=32, port in 0_u32..70_000, path in "/[a-z]{0,8}") {
            let network = Ipv4Addr::from_bits(address & u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0));
            let mut limits = limits(&[&format!("{network}/{prefix}")]);
            let other = Ipv4Addr::from_bits(address ^ 0x8000_0000);
            prop_assert!(limits.allow(&request(&other.to_string(), port, &path), |_| true, Instant::now()).is_err());
            if let Ok(target) = limits.allow(&request(&Ipv4Addr::from_bits(address).to_string(), port, &path), |_| true, Instant::now()) {
                prop_assert!(holdfast_checks::peers::QUESTIONS.iter().any(|q| q.port == target.address.port() && q.path == path));
            }
        }

        #[test]
        fn no_text_makes_it_panic(address in ".{0,80}", port in any::<u32>(), path in ".{0,80}") {
            prop_assert!(wide().allow(&request(&address, port, &path), |_| true, Instant::now()).is_err());
        }
    }
}
