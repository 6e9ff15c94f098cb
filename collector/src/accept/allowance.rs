//! How many handshakes one address may have of which no agent comes.
//!
//! A handshake is what a stranger can have computed here for nothing: 0.23 ms each, measured with other work beside it (4,300 in a second of
//! one core: `cargo bench -p holdfast-tests --bench connections`). Whoever finishes them on and on is displaced by nobody, so each address has an allowance:
//! 4,000 at once, which is a second of one core, and 50 a second from then on, which is 1.2 % of it. What an agent takes is given back when its
//! session is opened, so that a fleet of any size behind one address comes in; one that meets an API server that does not answer
//! has 4,000 attempts and 3,000 more each minute. Nothing is taken before something came: a silent connection costs no handshake.
//! Must not know TLS.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::crowd::origin;

/// Addresses of which is known what they took. Where there are more, each has taken little.
const MOST: usize = 16 * 1024;
/// Addresses after which those are looked for that have everything back.
const SWEEP_FROM: usize = 256;
/// How often they are looked for at most, in milliseconds: it looks at all of them.
const SWEEP_EVERY_MS: u64 = 1_000;
/// One handshake, in the unit of what is counted.
const ONE: u64 = 1_000;

/// Handshakes without an agent.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// A second, from then on.
    pub per_second: u32,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    /// In thousandths of a handshake.
    thousandths: u64,
    at_ms: u64,
}

#[derive(Debug, Default)]
struct Takers {
    by_origin: HashMap<IpAddr, Taken>,
    sweep_at: usize,
    swept_ms: u64,
}

/// What each address has taken. Shared.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Rate,
    began: Instant,
    takers: Mutex<Takers>,
}

impl Rate {
    /// What is left of it at a later moment.
    fn since(self, taken: Taken, now_ms: u64) -> u64 {
        let back = now_ms.saturating_sub(taken.at_ms).saturating_mul(u64::from(self.per_second));
        taken.thousandths.saturating_sub(back)
    }
}

impl Allowance {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, began: Instant::now(), takers: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Takers> {
        self.takers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes a handshake, if the address has one.
    pub(super) fn take(&self, address: IpAddr) -> bool {
        let (rate, now_ms, origin) = (self.rate, self.now_ms(), origin(address));
        let mut takers = self.lock();
        let due = now_ms.saturating_sub(takers.swept_ms) >= SWEEP_EVERY_MS;
        if due && takers.by_origin.len() >= takers.sweep_at.max(SWEEP_FROM) {
            takers.by_origin.retain(|_, taken| rate.since(*taken, now_ms) > 0);
            (takers.sweep_at, takers.swept_ms) = (takers.by_origin.len().saturating_mul(2).min(MOST), now_ms);
        }
        if takers.by_origin.len() >= MOST && !takers.by_origin.contains_key(&origin) {
            return true;
        }
        let taken = takers.by_origin.entry(origin).or_insert(Taken { thousandths: 0, at_ms: now_ms });
        let now = rate.since(*taken, now_ms);
        let wanted = now.saturating_add(ONE);
        let granted = wanted <= u64::from(rate.burst).saturating_mul(ONE);
        *taken = Taken { thousandths: if granted { wanted } else { now }, at_ms: now_ms };
        granted
    }

    /// An agent came of it.
    pub(super) fn give_back(&self, origin: IpAddr) {
        if let Some(taken) = self.lock().by_origin.get_mut(&origin) {
            taken.thousandths = taken.thousandths.saturating_sub(ONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const AGENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test(start_paused = true)]
    async fn one_address_has_so_many_and_then_so_many_a_second() {
        let allowance = Allowance::new(Rate { burst: 100, per_second: 10 });
        let taken = |address| (0..1_000).filter(|_| allowance.take(address)).count();
        assert_eq!((taken(FLOOD), taken(AGENT)), (100, 100), "another address has its own");
        advance(Duration::from_secs(2)).await;
        assert_eq!(taken(FLOOD), 20);
        advance(Duration::from_hours(1)).await;
        assert_eq!(taken(FLOOD), 100, "never more than at first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_of_any_size_behind_one_address_comes_in() {
        let allowance = Allowance::new(Rate { burst: 100, per_second: 1 });
        for _ in 0..10_000 {
            assert!(allowance.take(AGENT));
            allowance.give_back(AGENT);
        }
        allowance.give_back(AGENT);
        assert_eq!((0..200).filter(|_| allowance.take(AGENT)).count(), 100, "nothing is given back twice");
    }

    /// Looking through all of them at each handshake would be a flood of its own.
    #[tokio::test(start_paused = true)]
    async fn addresses_are_remembered_in_bounds() {
        let allowance = Allowance::new(Rate { burst: 2, per_second: 1 });
        for n in 0..100_000_u32 {
            assert!(allowance.take(IpAddr::V4(n.into())), "each has taken one");
        }
        assert!(allowance.lock().by_origin.len() <= MOST);
        advance(Duration::from_secs(10)).await;
        assert!(allowance.take(FLOOD));
        assert!(allowance.lock().by_origin.len() < MOST, "who has everything back is forgotten");
    }
}
