//! Chance that falls the same way in every run with the same seed.

use std::time::Duration;

/// A small generator (`SplitMix64`): nothing here is a secret.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// One sequence per seed and user, so that one agent's draws do not move another's.
    pub fn new(seed: u64, user: u64) -> Self {
        let mut dice = Self(seed ^ user.wrapping_mul(0xD134_2543_DE82_EF95));
        dice.draw();
        dice
    }

    /// A uniform draw.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, that excluded; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % end).unwrap_or(0)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % high.saturating_sub(low).saturating_add(1)
    }

    /// True once in `n` throws.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    /// From 0 to 1, that excluded.
    pub fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.draw() >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }

    /// The time to the next of events that come independently, `rate` a second in the mean; `None` when there are none.
    pub fn until_next(&mut self, rate: f64) -> Option<Duration> {
        (rate > 0.0).then(|| Duration::try_from_secs_f64(-(1.0 - self.share()).ln() / rate).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way_and_users_do_not_share_it() {
        let draws = |seed, user| {
            let mut dice = Dice::new(seed, user);
            [dice.draw(), dice.draw(), dice.draw()]
        };
        assert_eq!(draws(1, 2), draws(1, 2));
        assert_ne!(draws(1, 2), draws(1, 3));
        assert_ne!(draws(1, 2), draws(2, 2));
    }

    #[test]
    fn events_come_at_their_rate() {
        let mut dice = Dice::new(1, 1);
        let total: Duration = (0..1_000).map(|_| dice.until_next(10.0).unwrap()).sum();
        assert!((80..120).contains(&total.as_secs()), "1000 events, ten a second: {total:?}");
        assert_eq!(dice.until_next(0.0), None);
    }
}
