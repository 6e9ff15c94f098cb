//! When to try again: exponential from a second, at most a quarter of an hour, jitter after the cap. No clock, no chance.

/// Longest time between attempts, milliseconds.
pub const CAP_MS: u64 = 900_000;
/// How long a connection must have been healthy before the exponent starts anew, milliseconds.
pub const HEALTHY_MS: u64 = 60_000;
const FIRST_MS: u64 = 1_000;

/// How a connection ended, as far as the next attempt is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It never came to a Welcome.
    Failed,
    /// It was up and is lost.
    Lost {
        /// How long it was up, milliseconds.
        up_ms: u64,
        /// Was something acknowledged on it.
        acked: bool,
        /// The collector's bound for the first random delay, milliseconds.
        spread_ms: u32,
    },
    /// The collector asked to come back after a time between these, milliseconds.
    Drained {
        /// How long it was up, milliseconds.
        up_ms: u64,
        /// Earliest.
        min_ms: u32,
        /// Latest.
        max_ms: u32,
    },
    /// Trying again soon cannot help (another protocol version): wait the cap.
    Hopeless,
}

/// The state of the policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    failures: u32,
    /// The last connection that came to a Welcome was drained.
    drained: bool,
}

impl Backoff {
    /// The time to wait before the next attempt, milliseconds. `draw` is a fresh uniform draw.
    pub fn delay_ms(&mut self, ended: Ended, draw: u32) -> u64 {
        match ended {
            Ended::Drained { up_ms, min_ms, max_ms } => {
                let asked = between(u64::from(min_ms).min(CAP_MS), u64::from(max_ms).min(CAP_MS), draw);
                let again = std::mem::replace(&mut self.drained, true) && up_ms < HEALTHY_MS;
                if !again {
                    self.failures = 0;
                    return asked;
                }
                // A collector that sends away whoever comes is not asked ever faster than one that fails.
                self.exponential(draw).max(asked)
            }
            Ended::Lost { up_ms, acked, spread_ms } => {
                self.drained = false;
                if up_ms >= HEALTHY_MS && acked {
                    self.failures = 0;
                }
                if self.failures == 0 {
                    self.failures = 1;
                    return between(0, u64::from(spread_ms), draw);
                }
                self.exponential(draw)
            }
            Ended::Failed => self.exponential(draw),
            Ended::Hopeless => between(CAP_MS / 2, CAP_MS, draw),
        }
    }

    fn exponential(&mut self, draw: u32) -> u64 {
        let cap = FIRST_MS.checked_shl(self.failures.min(20)).unwrap_or(CAP_MS).min(CAP_MS);
        self.failures = self.failures.saturating_add(1);
        // At least a tenth, so that a refused agent never spins.
        between(cap / 10, cap, draw)
    }
}

fn between(low: u64, high: u64, draw: u32) -> u64 {
    low + high.saturating_sub(low) * u64::from(draw) / u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_jitter_comes_after_it() {
        let mut backoff = Backoff::default();
        let most: Vec<u64> = (0..13).map(|_| backoff.delay_ms(Ended::Failed, u32::MAX)).collect();
        assert_eq!(most.iter().take(4).copied().collect::<Vec<_>>(), [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(most.last(), Some(&CAP_MS));
        let (low, high) = (backoff.delay_ms(Ended::Failed, 0), backoff.delay_ms(Ended::Failed, u32::MAX));
        assert!(low < high && high == CAP_MS, "two agents at the cap do not come back together: {low} {high}");
    }

    #[test]
    fn a_lost_connection_waits_within_the_spread_the_collector_set() {
        let mut backoff = Backoff::default();
        let lost = Ended::Lost { up_ms: HEALTHY_MS, acked: true, spread_ms: 5_000 };
        assert_eq!(backoff.delay_ms(lost, u32::MAX), 5_000);
        assert_eq!(backoff.delay_ms(lost, 0), 0);
    }

    #[test]
    fn only_a_healthy_and_acknowledged_connection_resets_the_exponent() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.delay_ms(Ended::Failed, u32::MAX);
        }
        assert_eq!(backoff.delay_ms(Ended::Lost { up_ms: HEALTHY_MS, acked: false, spread_ms: 0 }, u32::MAX), 32_000);
        assert_eq!(backoff.delay_ms(Ended::Lost { up_ms: 10, acked: true, spread_ms: 0 }, u32::MAX), 64_000);
        assert_eq!(backoff.delay_ms(Ended::Lost { up_ms: HEALTHY_MS, acked: true, spread_ms: 0 }, u32::MAX), 0);
        assert_eq!(backoff.delay_ms(Ended::Failed, u32::MAX), 2_000);
    }

    #[test]
    fn a_drain_is_no_failure() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.delay_ms(Ended::Drained { up_ms: 5, min_ms: 100, max_ms: 300 }, u32::MAX), 300);
        assert_eq!(backoff.delay_ms(Ended::Failed, u32::MAX), 1_000);
        assert_eq!(backoff.delay_ms(Ended::Drained { up_ms: HEALTHY_MS, min_ms: 100, max_ms: 300 }, 0), 100);
    }

    /// It would not have been back for 49 days, whoever the collector was by then.
    #[test]
    fn no_collector_sends_an_agent_away_for_longer_than_the_cap() {
        for (min_ms, max_ms) in [(u32::MAX, u32::MAX), (u32::MAX, 0), (0, u32::MAX)] {
            for up_ms in [5, HEALTHY_MS] {
                let mut backoff = Backoff::default();
                let waits = [0, 1].map(|_| backoff.delay_ms(Ended::Drained { up_ms, min_ms, max_ms }, u32::MAX));
                assert_eq!(waits, [CAP_MS; 2], "{min_ms} {max_ms}");
            }
        }
    }

    #[test]
    fn one_drain_after_another_is_no_way_to_make_an_agent_spin() {
        let mut backoff = Backoff::default();
        let drained = Ended::Drained { up_ms: 5, min_ms: 0, max_ms: 0 };
        let waits: Vec<u64> = (0..5).map(|_| backoff.delay_ms(drained, u32::MAX)).collect();
        assert_eq!(waits, [0, 1_000, 2_000, 4_000, 8_000]);
    }
}
