//! How a node stands to the policy it is to hold: what was stored, read beside what is wanted now.

use std::collections::BTreeMap;

use holdfast_checks::entries::Hash;
use holdfast_checks::policy::Policy;
use serde::Serialize;

use super::file::Policies;
use crate::store::policy::{PolicyCount, StoredPolicy};
use crate::store::views::At;

/// How a node stands to its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// There is none, and the agent holds none.
    None,
    /// The agent holds it.
    Applied,
    /// The agent refused it and holds the one before.
    Refused,
    /// The agent was not told yet, or has not answered: it is not connected, or about to.
    Pending,
    /// The agent is of a version without policies.
    Unsupported,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 5] = [Self::None, Self::Applied, Self::Refused, Self::Pending, Self::Unsupported];

    /// The name in the store, in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Pending => "pending",
            Self::Unsupported => "unsupported",
        }
    }

    /// Reads the stored name; what this version does not know is pending.
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|standing| standing.name() == name).unwrap_or(Self::Pending)
    }

    /// How a node stands that is to hold `wanted`, of which this is stored: the policy it was last told of, and what it said.
    fn between(wanted: Option<Hash>, stored: Option<(&str, &str)>) -> Self {
        let name = wanted.map(|hash| hash.to_string()).unwrap_or_default();
        match stored.map(|(hash, state)| (hash, Self::of(state))) {
            None | Some(("", Self::Applied)) if wanted.is_none() => Self::None,
            Some((_, Self::Unsupported)) => {
                if wanted.is_none() {
                    Self::None
                } else {
                    Self::Unsupported
                }
            }
            Some((hash, standing)) if hash == name => standing,
            _ => Self::Pending,
        }
    }
}

/// A pool of nodes that try each other's ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PoolShown {
    /// Its name.
    pub name: String,
    /// Where its nodes are.
    pub networks: Vec<String>,
}

/// The policy of a node, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PolicyShown {
    /// How the node stands to it.
    pub state: Standing,
    /// The hash of the policy it is to hold; empty for none.
    pub hash: String,
    /// The hash of the policy in force on it, as its agent last said; empty for none.
    pub in_force: String,
    /// What the agent said, such as why it refused.
    pub reason: String,
    /// Since when; `null` while nothing was said.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: At,
    /// Seconds between full passes; `null`: as the agent's own configuration says.
    pub full_pass_seconds: Option<u32>,
    /// Checks that are not evaluated.
    pub disabled_checks: Vec<String>,
    /// Pools of nodes that try each other's ports; none: as the agents' own configurations say.
    pub peer_probe_pools: Vec<PoolShown>,
}

impl PolicyShown {
    /// What is shown of a node of `cluster`.
    pub fn of(policies: &Policies, cluster: &str, stored: Option<StoredPolicy>) -> Self {
        let policy = policies.of(cluster);
        let state = Standing::between(policy.hash(), stored.as_ref().map(|stored| (stored.hash.as_str(), stored.state.as_str())));
        // What was said of another policy says nothing of this one.
        let said = matches!(state, Standing::Applied | Standing::Refused);
        let stored = stored.unwrap_or_default();
        Self {
            state,
            in_force: stored.held,
            reason: if said { stored.reason } else { String::new() },
            since: At(stored.since),
            ..Self::unsaid(policy)
        }
    }

    /// What a policy decides.
    pub fn unsaid(policy: &Policy) -> Self {
        let pool = |pool: &holdfast_checks::policy::Pool| PoolShown {
            name: pool.name.clone(),
            networks: pool.networks.iter().map(ToString::to_string).collect(),
        };
        Self {
            state: Standing::None,
            hash: policy.hash().map(|hash| hash.to_string()).unwrap_or_default(),
            in_force: String::new(),
            reason: String::new(),
            since: At(0),
            full_pass_seconds: policy.full_pass_seconds(),
            disabled_checks: policy.disabled_checks().iter().cloned().collect(),
            peer_probe_pools: policy.pools().iter().map(pool).collect(),
        }
    }

    /// The first digits of a hash, for people.
    pub fn short(hash: &str) -> &str {
        hash.get(..8).unwrap_or(hash)
    }
}

/// Nodes by cluster and standing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standings(BTreeMap<String, BTreeMap<Standing, i64>>);

impl Standings {
    /// Of what is stored, beside what is wanted.
    pub fn of(policies: &Policies, counts: &[PolicyCount]) -> Self {
        let mut standings = Self::default();
        for count in counts {
            let stored = count.stored.as_ref().map(|(hash, state)| (hash.as_str(), state.as_str()));
            let standing = Standing::between(policies.of(&count.cluster).hash(), stored);
            *standings.0.entry(count.cluster.clone()).or_default().entry(standing).or_default() += count.nodes;
        }
        standings
    }

    /// The clusters that have nodes.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Nodes of a cluster that stand so.
    pub fn count(&self, cluster: &str, standing: Standing) -> i64 {
        self.0.get(cluster).and_then(|of| of.get(&standing)).copied().unwrap_or(0)
    }

    /// Nodes of all clusters, by standing.
    pub fn total(&self) -> Vec<(Standing, i64)> {
        let all = |standing: Standing| self.0.values().filter_map(|of| of.get(&standing)).sum();
        Standing::ALL.into_iter().map(|standing| (standing, all(standing))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_another_policy_says_nothing_of_this_one() {
        let (one, two) = (Hash([1; 16]), Hash([2; 16]));
        let (one_name, two_name) = (one.to_string(), two.to_string());
        for (wanted, stored, standing) in [
            (None, None, Standing::None),
            (None, Some(("", "applied")), Standing::None),
            (None, Some(("", "refused")), Standing::Refused),
            (None, Some((one_name.as_str(), "applied")), Standing::Pending),
            (None, Some((one_name.as_str(), "unsupported")), Standing::None),
            (Some(one), None, Standing::Pending),
            (Some(one), Some((one_name.as_str(), "applied")), Standing::Applied),
            (Some(one), Some((one_name.as_str(), "refused")), Standing::Refused),
            (Some(one), Some((one_name.as_str(), "from a later version")), Standing::Pending),
            (Some(two), Some((one_name.as_str(), "applied")), Standing::Pending),
            (Some(two), Some((one_name.as_str(), "unsupported")), Standing::Unsupported),
            (Some(two), Some((two_name.as_str(), "pending")), Standing::Pending),
        ] {
            assert_eq!(Standing::between(wanted, stored), standing, "{wanted:?} {stored:?}");
        }
    }
}
