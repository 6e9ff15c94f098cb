//! How fast one agent may send: a token bucket, by messages and by bytes. Too fast is slowed, not refused.
//!
//! The bucket is the agent's, not the session's: whoever reconnects finds what was left in it. It is full again after 21 s at most and is
//! forgotten then, so that as many are kept as agents are connected, or were a moment ago. An agent that comes back with much to say has
//! at worst what it had before; its Hello waits for nothing, and a message never longer than five seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_checks::entries::Hash;

use crate::identity::Admitted;

/// Sustained messages a second, and the burst.
const MESSAGES: (f64, f64) = (20.0, 100.0);
/// Sustained bytes a second, and the burst: a full snapshot.
const BYTES: (f64, f64) = (64.0 * 1024.0, 1024.0 * 1024.0);
/// The longest that a message waits, in seconds; nobody owes more than that.
const LONGEST: f64 = 5.0;
/// Agents after which those are looked for whose bucket is full again.
const SWEEP_FROM: usize = 1024;

/// One agent's allowance.
#[derive(Debug)]
struct Pace {
    messages: f64,
    bytes: f64,
    at_ms: u64,
}

impl Pace {
    fn new(now_ms: u64) -> Self {
        Self { messages: MESSAGES.1, bytes: BYTES.1, at_ms: now_ms }
    }

    fn refill(&mut self, now_ms: u64) {
        let passed = Duration::from_millis(now_ms.saturating_sub(self.at_ms)).as_secs_f64();
        self.at_ms = self.at_ms.max(now_ms);
        self.messages = (self.messages + passed * MESSAGES.0).min(MESSAGES.1);
        self.bytes = (self.bytes + passed * BYTES.0).min(BYTES.1);
    }

    /// Takes one message from the allowance; how long to wait before reading the next.
    fn take(&mut self, bytes: usize, now_ms: u64) -> Duration {
        self.refill(now_ms);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.messages = (self.messages - 1.0).max(-MESSAGES.0 * LONGEST);
        self.bytes = (self.bytes - bytes).max(-BYTES.0 * LONGEST);
        Duration::from_secs_f64((-self.messages / MESSAGES.0).max(-self.bytes / BYTES.0).max(0.0))
    }

    fn is_full(&mut self, now_ms: u64) -> bool {
        self.refill(now_ms);
        self.messages >= MESSAGES.1 && self.bytes >= BYTES.1
    }
}

/// The allowance of one agent, in each of its sessions the same.
#[derive(Debug)]
pub(super) struct Allowance(Arc<Mutex<Pace>>);

impl Allowance {
    /// Takes one message from the allowance; how long to wait before reading the next.
    pub(super) fn take(&self, bytes: usize, now_ms: u64) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, now_ms)
    }
}

/// Every agent's allowance that is not full. Shared.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By node and holder: whoever has other credentials of the same node takes nothing from its agent.
    agents: HashMap<[u8; 16], Arc<Mutex<Pace>>>,
    sweep_at: usize,
}

impl Paces {
    /// That of an agent.
    pub(super) fn of(&self, admitted: &Admitted, now_ms: u64) -> Allowance {
        let holder = admitted.holder.text();
        let key = Hash::of_fields([admitted.node.cluster.as_bytes(), admitted.node.uid.as_bytes(), holder.as_bytes()]).0;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.agents.len() >= known.sweep_at.max(SWEEP_FROM) {
            // Whoever has a session has one end of it, and looks at it with nobody else's lock held.
            let rested = |pace: &Arc<Mutex<Pace>>| pace.lock().unwrap_or_else(PoisonError::into_inner).is_full(now_ms);
            known.agents.retain(|_, pace| Arc::strong_count(pace) > 1 || !rested(pace));
            known.sweep_at = known.agents.len().saturating_mul(2);
        }
        Allowance(Arc::clone(known.agents.entry(key).or_insert_with(|| Arc::new(Mutex::new(Pace::new(now_ms))))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Holder;
    use crate::store::nodes::{NodeIdentity, Origin};

    fn agent(uid: &str, holder: Holder) -> Admitted {
        let node = NodeIdentity { cluster: "c".into(), uid: uid.into(), name: "n".into(), origin: Origin::Agent };
        Admitted { node, holder, expires_at: None, token_hash: None }
    }

    #[test]
    fn a_burst_passes_and_what_follows_is_slowed() {
        let mut pace = Pace::new(0);
        assert!((0..100).all(|_| pace.take(100, 0) == Duration::ZERO));
        assert_eq!(pace.take(100, 0), Duration::from_millis(50));
        assert_eq!(pace.take(100, 10_000), Duration::ZERO, "time restores it");
        assert!(pace.take(2 * 1024 * 1024, 20_000) > Duration::from_secs(4));
        assert!((0..1_000).all(|_| pace.take(1024 * 1024, 20_000) <= Duration::from_secs(5)), "and nobody owes more");
    }

    #[test]
    fn reconnecting_does_not_reset_it() {
        let paces = Paces::default();
        let first = paces.of(&agent("u", Holder::Token), 0);
        assert!((0..100).all(|_| first.take(100, 0) == Duration::ZERO));
        let beside = paces.of(&agent("u", Holder::Token), 0);
        assert!(beside.take(100, 0) > Duration::ZERO, "beside the first one");
        drop((first, beside));
        assert!(paces.of(&agent("u", Holder::Token), 1).take(100, 1) > Duration::ZERO, "or after it");
        assert_eq!(paces.of(&agent("u", Holder::Pod("p".into())), 1).take(100, 1), Duration::ZERO, "another holder has its own");
        assert_eq!(paces.of(&agent("v", Holder::Token), 1).take(100, 1), Duration::ZERO);
        assert_eq!(paces.of(&agent("u", Holder::Token), 60_000).take(100, 60_000), Duration::ZERO, "time restores it");
    }

    #[test]
    fn as_many_are_kept_as_are_connected_or_were_a_moment_ago() {
        let paces = Paces::default();
        let live = paces.of(&agent("live", Holder::Token), 0);
        live.take(100, 0);
        for n in 0..100_000_u64 {
            // A thousand a second, each of which says something and leaves.
            paces.of(&agent(&n.to_string(), Holder::Token), n).take(1_000_000, n);
        }
        let known = paces.0.lock().unwrap_or_else(PoisonError::into_inner).agents.len();
        assert!(known < 45_000, "{known}");
        let now = 200_000;
        for n in 0..100_000_u64 {
            drop(paces.of(&agent(&format!("full {n}"), Holder::Token), now));
        }
        let known = paces.0.lock().unwrap_or_else(PoisonError::into_inner).agents.len();
        assert!(known <= 2 * SWEEP_FROM, "{known}");
        assert!((0..99).all(|_| live.take(100, 1) == Duration::ZERO) && live.take(100, 1) > Duration::ZERO);
        assert!(paces.of(&agent("live", Holder::Token), 2).take(100, 2) > Duration::ZERO, "one that is connected is not forgotten");
    }
}
