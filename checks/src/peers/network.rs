//! A network of nodes, as people write it.

use std::net::IpAddr;
use std::str::FromStr;

/// A network, `10.0.0.0/8` or `fd00:1::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not a network: write it as 10.0.0.0/16 or fd00:1::/64");
        let (address, prefix) = text.trim().split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let network = Self { address, prefix };
        if prefix > width(address) {
            return Err(wrong());
        }
        if prefix == 0 {
            return Err(format!("`{text}` is every address there is: name the networks of the cluster's nodes"));
        }
        if masked(address, prefix) != number(address) {
            return Err(format!("`{text}` has bits beyond its prefix: write the network's own address"));
        }
        Ok(network)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    /// Is `address` in it. An IPv4 address is in no IPv6 network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == number(self.address)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let host = u32::from(width(address).saturating_sub(prefix));
    let cleared = number(address).checked_shr(host).unwrap_or(0);
    cleared.checked_shl(host).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_none_is_refused_with_what_to_write() {
        for (text, part) in [
            ("10.0.0.0", "write it as"),
            ("10.0.0.0/33", "write it as"),
            ("fd00::/129", "write it as"),
            ("nodes/8", "write it as"),
            ("10.0.0.0/-1", "write it as"),
            ("10.0.0.0/+8", "write it as"),
            ("10.0.0.0/", "write it as"),
            ("", "write it as"),
            ("0.0.0.0/0", "every address"),
            ("::/0", "every address"),
            ("10.0.0.1/8", "beyond its prefix"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn an_address_is_in_networks_of_its_own_family_only() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.255.255".parse().unwrap()) && !network.contains("10.2.0.0".parse().unwrap()));
        assert!(!network.contains("::ffff:10.1.0.1".parse().unwrap()));
    }
}
