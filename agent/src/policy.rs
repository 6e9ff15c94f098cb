//! The collector's policy on this node: whether it is taken, what is in force, and keeping it over a restart.
//!
//! A policy is applied as a whole or refused with a reason for people; what was in force before stays then. It narrows and switches
//! off, and can widen nothing that this agent's own configuration does not allow. Must not know sessions, facts or sockets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_checks::entries::{Hash, MAX_REASON_BYTES};
use holdfast_checks::policy::Policy;
use holdfast_proto::v1;
use prost::Message;

use crate::spool::Spool;
use crate::watch::{FullPass, Pending};

/// The length of a policy's hash, which is the collector's affair.
const HASH_BYTES: usize = 16;
/// What becomes of policies is logged one by one at most this often: a collector may send them without end.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// Room in a status for what follows the names.
const AND_MORE_BYTES: usize = 32;

/// The policy that holds now, for whoever follows it. Cloned freely.
#[derive(Debug, Clone, Default)]
pub struct InForce(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    policy: Arc<Policy>,
    /// This node's addresses; empty while they are not known.
    own: Vec<IpAddr>,
}

impl InForce {
    /// The policy as it is.
    pub fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.lock().policy)
    }

    /// Says which addresses this node has.
    pub fn set_own_addresses(&self, own: Vec<IpAddr>) {
        self.lock().own = own;
    }

    /// May this node try `target`, as far as pools go: one that has both, or any that has the target while this node's own addresses
    /// are not known.
    pub fn may_try(&self, target: IpAddr) -> bool {
        let inner = self.lock();
        if inner.own.is_empty() { inner.policy.has_in_pools(target) } else { inner.policy.may_try(&inner.own, target) }
    }

    fn set(&self, policy: Policy) {
        self.lock().policy = Arc::new(policy);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whole values are replaced: what a holder that panicked left is one of them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes policies and has them followed.
#[derive(Debug, Default)]
pub struct Policies {
    in_force: InForce,
    pending: Arc<Pending>,
    /// The checks of this agent's catalogue.
    known: BTreeSet<String>,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    untold: u64,
}

impl Said {
    /// Is it time for a line again; then how many were left out since the last.
    fn may_say(&mut self) -> Option<u64> {
        if self.at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.at = Some(Instant::now());
        Some(std::mem::take(&mut self.untold))
    }
}

impl Policies {
    /// Puts policies in force through `in_force` and `pending`. `known` are the checks there are.
    pub fn new(in_force: InForce, pending: Arc<Pending>, known: impl IntoIterator<Item = String>) -> Self {
        Self { in_force, pending, known: known.into_iter().collect(), said: Mutex::default() }
    }

    /// Puts the policy that the spool kept in force again, before anything is judged. One that is no policy any more is dropped.
    pub fn restore(&self, spool: &mut Spool) {
        if spool.policy().is_empty() {
            return;
        }
        let kept = v1::Policy::decode(spool.policy()).map_err(|error| error.to_string());
        match kept.and_then(|kept| accept(&kept).map(|policy| (hex(&kept.hash), policy))) {
            Ok((hash, policy)) => {
                tracing::info!(
                    policy = hash,
                    full_pass = policy.full_pass_seconds(),
                    disabled = policy.disabled_checks().len(),
                    pools = policy.pools().len(),
                    "the collector's last policy is in force"
                );
                self.pending.set_full_pass(interval(&policy));
                self.in_force.set(policy);
            }
            Err(reason) => {
                tracing::warn!(reason, "the policy kept from before is not usable and dropped: this agent's own configuration is in force");
                spool.set_policy(Vec::new());
            }
        }
    }

    /// Applies a policy and keeps it in the spool, or refuses it; what to tell the collector.
    pub fn take(&self, said: &v1::Policy, spool: &mut Spool) -> v1::PolicyStatus {
        let hash = said.hash.clone();
        let policy = match accept(said) {
            Ok(policy) => policy,
            Err(reason) => {
                if let Some(untold) = self.may_say() {
                    tracing::warn!(
                        policy = hex(&hash),
                        reason,
                        untold = NonZeroU64::new(untold),
                        "refused the collector's policy: the one before stays in force"
                    );
                }
                return v1::PolicyStatus { hash, applied: false, reason: bounded(reason) };
            }
        };
        spool.set_policy(if policy.is_default() { Vec::new() } else { said.encode_to_vec() });
        let reason = self.unknown(&policy);
        if *self.in_force.get() != policy {
            if let Some(untold) = self.may_say() {
                tracing::info!(
                    policy = hex(&hash),
                    full_pass = policy.full_pass_seconds(),
                    disabled = policy.disabled_checks().len(),
                    pools = policy.pools().len(),
                    unknown = reason,
                    untold = NonZeroU64::new(untold),
                    "applied the collector's policy"
                );
            }
            self.pending.set_full_pass(interval(&policy));
            self.in_force.set(policy);
            self.pending.add_all();
        }
        v1::PolicyStatus { hash, applied: true, reason }
    }

    fn may_say(&self) -> Option<u64> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).may_say()
    }

    /// Names the disabled checks that are not in this agent's catalogue: no reason to refuse, because agents of several versions run.
    fn unknown(&self, policy: &Policy) -> String {
        let mut unknown = policy.disabled_checks().iter().filter(|check| !self.known.contains(*check)).peekable();
        if self.known.is_empty() || unknown.peek().is_none() {
            return String::new();
        }
        let mut text = "not known here: ".to_owned();
        let mut left_out = 0_usize;
        for (index, check) in unknown.enumerate() {
            if left_out > 0 || text.len() + check.len() + AND_MORE_BYTES > MAX_REASON_BYTES {
                left_out += 1;
                continue;
            }
            text.push_str(if index == 0 { "" } else { ", " });
            text.push_str(check);
        }
        if left_out > 0 {
            text.extend([" and ", &left_out.to_string(), " more"]);
        }
        text
    }
}

/// The policy of a message, or why it is refused.
fn accept(said: &v1::Policy) -> Result<Policy, String> {
    let pools = said.probe_pools.iter().map(|pool| (pool.name.as_str(), pool.networks.iter().map(String::as_str)));
    let policy = Policy::new(said.full_pass_seconds, said.disabled_checks.iter().map(String::as_str), pools);
    let policy = policy.map_err(|error| error.to_string())?;
    match said.hash.len() {
        0 if policy.is_default() => Ok(policy),
        0 => Err("it decides something and has no hash".to_owned()),
        HASH_BYTES => Ok(policy),
        other => Err(format!("its hash has {other} bytes: {HASH_BYTES} are expected")),
    }
}

fn interval(policy: &Policy) -> FullPass {
    policy.full_pass_seconds().map_or(FullPass::Own, |seconds| FullPass::Every(Duration::from_secs(seconds.into())))
}

/// As much of a reason as travels.
fn bounded(mut reason: String) -> String {
    while reason.len() > MAX_REASON_BYTES {
        reason.pop();
    }
    reason
}

/// A policy's name in logs.
fn hex(hash: &[u8]) -> String {
    Hash::from_slice(hash).map_or_else(|| "without a name".to_owned(), |hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(known: &[&str]) -> (Policies, InForce, Arc<Pending>) {
        let (in_force, pending) = (InForce::default(), Arc::new(Pending::default()));
        let known = known.iter().map(|check| (*check).to_owned());
        (Policies::new(in_force.clone(), Arc::clone(&pending), known), in_force, pending)
    }

    fn wire(number: u8, full_pass_seconds: u32, disabled: &[&str]) -> v1::Policy {
        let disabled_checks = disabled.iter().map(|check| (*check).to_owned()).collect();
        v1::Policy { hash: vec![number; 16], full_pass_seconds, disabled_checks, probe_pools: Vec::new() }
    }

    fn pool(networks: &[&str]) -> v1::ProbePool {
        v1::ProbePool { name: format!("p{}", networks.join(" ")), networks: networks.iter().map(|network| (*network).to_owned()).collect() }
    }

    #[test]
    fn a_policy_is_applied_as_a_whole_kept_and_judged_by_at_once() {
        let (policies, in_force, pending) = policies(&["a", "b"]);
        let mut spool = Spool::in_memory(1);
        let said = wire(7, 120, &["a"]);
        let status = policies.take(&said, &mut spool);
        assert_eq!((status.hash, status.applied, status.reason.as_str()), (vec![7; 16], true, ""));
        assert!(in_force.get().disables("a") && !in_force.get().disables("b"));
        assert_eq!(spool.policy(), said.encode_to_vec());
        assert_eq!(pending.take_full_pass(), Some(FullPass::Every(Duration::from_mins(2))));
        assert_eq!(pending.take(), Some(crate::watch::Wanted::All));
        // The same again is said to be applied and changes nothing.
        assert!(policies.take(&said, &mut spool).applied);
        assert_eq!(pending.take_full_pass(), None);
    }

    #[test]
    fn a_refused_policy_says_why_and_leaves_the_last_good_one() {
        let (policies, in_force, pending) = policies(&[]);
        let mut spool = Spool::in_memory(1);
        let good = wire(1, 120, &["a"]);
        assert!(policies.take(&good, &mut spool).applied);
        pending.take();
        pending.take_full_pass();
        let with = |pools: Vec<v1::ProbePool>| v1::Policy { probe_pools: pools, ..wire(2, 0, &[]) };
        for (bad, why) in [
            (wire(2, 5, &["b"]), "full_pass_seconds 5 is below 60"),
            (wire(2, 300, &["No Check"]), "`No Check` is not a check id"),
            (with(vec![pool(&["10.0.0.0/33"])]), "is not a network"),
            (with(vec![pool(&[])]), "has 0 networks"),
            (v1::Policy { hash: vec![1; 3], ..wire(2, 300, &[]) }, "its hash has 3 bytes"),
            (v1::Policy { hash: Vec::new(), ..wire(2, 300, &[]) }, "has no hash"),
        ] {
            let status = policies.take(&bad, &mut spool);
            assert!(!status.applied && status.reason.contains(why) && status.hash == bad.hash, "{why}: {status:?}");
            assert!(in_force.get().disables("a") && spool.policy() == good.encode_to_vec(), "{why}");
            assert_eq!(pending.take_full_pass(), None, "{why}");
        }
    }

    #[test]
    fn a_flood_of_policies_is_not_logged_one_by_one() {
        let (policies, ..) = policies(&[]);
        let mut spool = Spool::in_memory(1);
        // One has been said, and no second passes, however slow the machine.
        policies.said.lock().unwrap().at = Some(Instant::now() + LOG_EVERY * 1_000);
        for number in 0..100 {
            let passes = if number % 2 == 0 { 5 } else { 120 + u32::from(number) };
            policies.take(&wire(number, passes, &[]), &mut spool);
        }
        let mut said = policies.said.lock().unwrap();
        said.at = None;
        assert_eq!(said.may_say(), Some(100));
    }

    #[test]
    fn an_empty_policy_takes_the_agent_back_to_its_own_configuration() {
        let (policies, in_force, pending) = policies(&[]);
        let mut spool = Spool::in_memory(1);
        policies.take(&wire(1, 120, &["a"]), &mut spool);
        pending.take_full_pass();
        let status = policies.take(&v1::Policy::default(), &mut spool);
        assert!(status.applied && status.hash.is_empty());
        assert!(in_force.get().is_default() && spool.policy().is_empty());
        assert_eq!(pending.take_full_pass(), Some(FullPass::Own));
    }

    #[test]
    fn checks_that_are_not_known_here_are_named_and_no_reason_to_refuse() {
        let (policies, ..) = policies(&["a", "b"]);
        let mut spool = Spool::in_memory(1);
        assert_eq!(policies.take(&wire(1, 0, &["z", "b", "y"]), &mut spool).reason, "not known here: y, z");
        let many: Vec<String> = (0..300).map(|number| format!("from-a-later-version-{number}")).collect();
        let status = policies.take(&wire(2, 0, &many.iter().map(String::as_str).collect::<Vec<_>>()), &mut spool);
        assert!(status.applied && status.reason.len() <= MAX_REASON_BYTES && status.reason.ends_with(" more"), "{}", status.reason);
    }

    #[test]
    fn a_kept_policy_is_in_force_before_anything_else_and_a_broken_one_is_dropped() {
        let mut spool = Spool::in_memory(1);
        spool.set_policy(wire(9, 60, &["a"]).encode_to_vec());
        let (policies, in_force, pending) = policies(&[]);
        policies.restore(&mut spool);
        assert!(in_force.get().disables("a"));
        assert_eq!(pending.take_full_pass(), Some(FullPass::Every(Duration::from_mins(1))));
        assert_eq!(pending.take_until(Some(Instant::now())), Some(crate::watch::Wanted::Groups(BTreeSet::new())));
        for broken in [b"\xff\xff\xff".to_vec(), wire(9, 1, &[]).encode_to_vec()] {
            spool.set_policy(broken);
            let (policies, in_force, _) = self::policies(&[]);
            policies.restore(&mut spool);
            assert!(in_force.get().is_default() && spool.policy().is_empty());
        }
    }

    #[test]
    fn pools_hold_as_far_as_own_addresses_are_known() {
        let (policies, in_force, _) = policies(&[]);
        let target = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(in_force.may_try(target("10.9.0.1")), "no pools");
        let pools = vec![pool(&["10.0.0.0/24"]), pool(&["10.0.1.0/24"])];
        policies.take(&v1::Policy { probe_pools: pools, ..wire(1, 0, &[]) }, &mut Spool::in_memory(1));
        assert!(in_force.may_try(target("10.0.0.1")) && in_force.may_try(target("10.0.1.1")) && !in_force.may_try(target("10.9.0.1")));
        in_force.set_own_addresses(vec![target("127.0.0.1"), target("10.0.1.7")]);
        assert!(!in_force.may_try(target("10.0.0.1")) && in_force.may_try(target("10.0.1.1")));
    }
}
