//! Policies: what a collector decides for its agents, within bounds that both sides hold it to by the same code.
//!
//! A [`Policy`] is within its bounds by construction. Must not know the wire, files or who applies it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::catalogue::CheckId;
use crate::entries::{Hash, cut};
use crate::peers::Network;

/// How far apart full passes may be, in seconds.
pub const FULL_PASS_SECONDS: RangeInclusive<u32> = 60..=86_400;
/// The most checks that can be disabled.
pub const MOST_DISABLED: usize = 1_000;
/// The most pools.
pub const MOST_POOLS: usize = 256;
/// The most networks of one pool.
pub const MOST_NETWORKS: usize = 64;
/// The longest name of a pool, in bytes.
pub const MAX_NAME_BYTES: usize = 63;
/// The most text in a policy, in bytes: it travels as one message.
pub const MAX_BYTES: usize = 12 * 1024;
/// What a piece of text costs beside itself.
const FRAME_BYTES: usize = 6;
/// As much of somebody else's text is repeated in a message.
const QUOTED_BYTES: usize = 64;

/// The reason class of findings that a policy switches off.
pub const DISABLED: &str = "disabled: by the collector's policy";

/// Nodes that try each other's ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Where its nodes are.
    pub networks: Vec<Network>,
}

/// Intervals and switches. The default decides nothing: everything is as the agent's own configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    full_pass_seconds: u32,
    disabled_checks: BTreeSet<String>,
    pools: Vec<Pool>,
}

/// Why something is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Full passes too often.
    #[error("full_pass_seconds {0} is below {low}: use {low} to {high}", low = FULL_PASS_SECONDS.start(), high = FULL_PASS_SECONDS.end())]
    TooOften(u32),
    /// Full passes too seldom.
    #[error("full_pass_seconds {0} is above {high}: use {low} to {high}", low = FULL_PASS_SECONDS.start(), high = FULL_PASS_SECONDS.end())]
    TooSeldom(u32),
    /// Too many checks.
    #[error("disabled_checks has {0} checks, {MOST_DISABLED} are allowed")]
    TooManyChecks(usize),
    /// Not the id of a check.
    #[error("disabled_checks: `{0}` is not a check id: use lower-case words joined by single hyphens")]
    NotACheck(String),
    /// Too many pools.
    #[error("peer_probe_pools has {0} pools, {MOST_POOLS} are allowed")]
    TooManyPools(usize),
    /// A pool's name is none.
    #[error("peer_probe_pools: `{0}` is not a name: use 1 to {MAX_NAME_BYTES} bytes without control characters")]
    NotAName(String),
    /// Two pools have one name.
    #[error("peer_probe_pools: two pools are called `{0}`")]
    Twice(String),
    /// Too few or too many networks.
    #[error("peer_probe_pools: pool `{0}` has {1} networks: give it 1 to {MOST_NETWORKS}")]
    Networks(String, usize),
    /// A network is none.
    #[error("peer_probe_pools: pool `{0}`: {1}")]
    NotANetwork(String, String),
    /// Too much text.
    #[error("it has {0} bytes of text, {MAX_BYTES} are allowed: it travels as one message")]
    TooLarge(usize),
}

impl Policy {
    /// The policy of these parts: seconds between full passes, 0 for the agent's own; ids of checks; names of pools with their
    /// networks as text.
    ///
    /// # Errors
    /// [`PolicyError`]: the first bound that is broken.
    pub fn new<'a, N>(
        full_pass_seconds: u32,
        disabled_checks: impl IntoIterator<Item = &'a str>,
        pools: impl IntoIterator<Item = (&'a str, N)>,
    ) -> Result<Self, PolicyError>
    where
        N: IntoIterator<Item = &'a str>,
    {
        if full_pass_seconds != 0 && full_pass_seconds < *FULL_PASS_SECONDS.start() {
            return Err(PolicyError::TooOften(full_pass_seconds));
        }
        if full_pass_seconds > *FULL_PASS_SECONDS.end() {
            return Err(PolicyError::TooSeldom(full_pass_seconds));
        }
        let mut bytes = 0_usize;
        let mut count = |text: &str| bytes = bytes.saturating_add(text.len()).saturating_add(FRAME_BYTES);
        let mut disabled = BTreeSet::new();
        for id in disabled_checks {
            count(id);
            if CheckId::try_new(id).is_none() {
                return Err(PolicyError::NotACheck(quoted(id)));
            }
            disabled.insert(id.to_owned());
        }
        if disabled.len() > MOST_DISABLED {
            return Err(PolicyError::TooManyChecks(disabled.len()));
        }
        let mut taken: Vec<Pool> = Vec::new();
        for (name, networks) in pools {
            count(name);
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                return Err(PolicyError::NotAName(quoted(name)));
            }
            if taken.iter().any(|pool| pool.name == name) {
                return Err(PolicyError::Twice(quoted(name)));
            }
            let parsed = networks
                .into_iter()
                .inspect(|text| count(text))
                .map(|text| text.parse::<Network>().map_err(|_| PolicyError::NotANetwork(quoted(name), not_a_network(text))));
            let networks: Vec<Network> = parsed.collect::<Result<_, _>>()?;
            if networks.is_empty() || networks.len() > MOST_NETWORKS {
                return Err(PolicyError::Networks(quoted(name), networks.len()));
            }
            taken.push(Pool { name: name.to_owned(), networks });
            if taken.len() > MOST_POOLS {
                return Err(PolicyError::TooManyPools(taken.len()));
            }
        }
        if bytes > MAX_BYTES {
            return Err(PolicyError::TooLarge(bytes));
        }
        Ok(Self { full_pass_seconds, disabled_checks: disabled, pools: taken })
    }

    /// Seconds between full passes; `None`: as the agent's own configuration says.
    pub fn full_pass_seconds(&self) -> Option<u32> {
        (self.full_pass_seconds > 0).then_some(self.full_pass_seconds)
    }

    /// The checks that are not evaluated.
    pub fn disabled_checks(&self) -> &BTreeSet<String> {
        &self.disabled_checks
    }

    /// Is a check not evaluated.
    pub fn disables(&self, check: &str) -> bool {
        self.disabled_checks.contains(check)
    }

    /// The pools. None: peers are tried as if there were no policy.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Does it decide nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// May a node with the addresses `own` try the address `target`: anything without pools, else what is in a pool with it. Without
    /// addresses it is in no pool.
    pub fn may_try(&self, own: &[IpAddr], target: IpAddr) -> bool {
        let with_it = |pool: &&Pool| own.iter().any(|address| pool.contains(*address));
        self.pools.is_empty() || self.pools_of(target).any(|pool| with_it(&pool))
    }

    /// Is an address in any pool, or are there none.
    pub fn has_in_pools(&self, target: IpAddr) -> bool {
        self.pools.is_empty() || self.pools_of(target).next().is_some()
    }

    /// The pools an address is in.
    pub fn pools_of(&self, address: IpAddr) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(move |pool| pool.contains(address))
    }

    /// The hash of the canonical content; `None` for the default, which needs no name.
    pub fn hash(&self) -> Option<Hash> {
        if self.is_default() {
            return None;
        }
        let mut fields: Vec<String> =
            vec!["holdfast.policy/1".to_owned(), self.full_pass_seconds.to_string(), self.disabled_checks.len().to_string()];
        fields.extend(self.disabled_checks.iter().cloned());
        for pool in &self.pools {
            fields.extend([pool.name.clone(), pool.networks.len().to_string()]);
            fields.extend(pool.networks.iter().map(ToString::to_string));
        }
        Some(Hash::of_fields(fields.iter().map(String::as_bytes)))
    }
}

impl Pool {
    /// Is an address in one of its networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// Text of somebody else's, short and harmless enough to repeat.
fn quoted(text: &str) -> String {
    cut(text, QUOTED_BYTES).escape_debug().to_string()
}

/// What is wrong with a network, without repeating a long one.
fn not_a_network(text: &str) -> String {
    let short = quoted(text);
    short.parse::<Network>().err().unwrap_or_else(|| format!("`{short}` is not a network"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(full_pass: u32, checks: &[&str], pools: &[(&str, &[&str])]) -> Result<Policy, PolicyError> {
        Policy::new(full_pass, checks.iter().copied(), pools.iter().map(|(name, networks)| (*name, networks.iter().copied())))
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_in_words_a_person_understands() {
        let long = "x".repeat(10_000);
        let many: Vec<String> = (0..1_001).map(|number| format!("check-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let texts: Vec<String> = (0..400).map(|number| format!("a-check-with-a-name-of-some-length-{number}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let names: Vec<String> = (0..257).map(|number| format!("p{number}")).collect();
        let pools: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), ["10.0.0.0/8"].as_slice())).collect();
        for (result, said) in [
            (policy(5, &[], &[]), "full_pass_seconds 5 is below 60: use 60 to 86400"),
            (policy(86_401, &[], &[]), "full_pass_seconds 86401 is above 86400: use 60 to 86400"),
            (policy(0, &many, &[]), "disabled_checks has 1001 checks, 1000 are allowed"),
            (policy(0, &["A check"], &[]), "`A check` is not a check id"),
            (policy(0, &[&long], &[]), "is not a check id"),
            (policy(0, &["a\nb"], &[]), "`a\\nb` is not a check id"),
            (policy(0, &texts, &[]), "bytes of text, 12288 are allowed"),
            (policy(0, &[], &pools), "peer_probe_pools has 257 pools, 256 are allowed"),
            (policy(0, &[], &[("", &["10.0.0.0/8"])]), "`` is not a name"),
            (policy(0, &[], &[(&long, &["10.0.0.0/8"])]), "is not a name"),
            (policy(0, &[], &[("a", &["10.0.0.0/8"]), ("a", &["10.0.0.0/8"])]), "two pools are called `a`"),
            (policy(0, &[], &[("a", &[])]), "pool `a` has 0 networks: give it 1 to 64"),
            (policy(0, &[], &[("a", &["10.0.0.1"])]), "pool `a`: `10.0.0.1` is not a network: write it as"),
            (policy(0, &[], &[("a", &[&long])]), "is not a network"),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(said) && error.len() < 300, "{said}: {error}");
        }
        for good in [policy(0, &[], &[]), policy(60, &[], &[]), policy(86_400, &["a-check"], &[("a", &["10.0.0.0/8"])])] {
            good.unwrap();
        }
    }

    #[test]
    fn the_hash_is_of_the_content_and_every_part_counts() {
        let one = policy(900, &["b", "a"], &[("a", &["10.0.0.0/24"])]).unwrap();
        assert_eq!(one.hash(), policy(900, &["a", "b", "a"], &[("a", &["10.0.0.0/24"])]).unwrap().hash());
        assert_eq!(Policy::default().hash(), None);
        let others = [
            policy(901, &["a", "b"], &[("a", &["10.0.0.0/24"])]),
            policy(900, &["a"], &[("a", &["10.0.0.0/24"])]),
            policy(900, &["a", "b"], &[("a", &["10.0.1.0/24"])]),
            policy(900, &["a", "b"], &[("b", &["10.0.0.0/24"])]),
            policy(900, &["a", "b"], &[("a", &["10.0.0.0/24", "10.0.1.0/24"])]),
            policy(900, &["a", "b"], &[]),
        ];
        let hashes: BTreeSet<_> = others.into_iter().map(|other| other.unwrap().hash()).chain([one.hash()]).collect();
        assert_eq!(hashes.len(), 7);
    }

    #[test]
    fn nodes_try_nodes_of_their_own_pool_only() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let pooled = policy(0, &[], &[("a", &["10.0.0.0/24"]), ("b", &["10.0.1.0/24", "fd00::/64"])]).unwrap();
        let own = [address("10.0.1.7"), address("192.0.2.1")];
        assert!(pooled.may_try(&own, address("10.0.1.8")) && pooled.may_try(&own, address("fd00::8")));
        assert!(!pooled.may_try(&own, address("10.0.0.8")) && !pooled.may_try(&own, address("192.0.2.2")));
        assert!(!pooled.may_try(&[], address("10.0.1.8")) && pooled.has_in_pools(address("10.0.1.8")));
        assert!(!pooled.has_in_pools(address("192.0.2.2")));
        assert!(Policy::default().may_try(&[], address("192.0.2.2")) && Policy::default().has_in_pools(address("192.0.2.2")));
    }
}
