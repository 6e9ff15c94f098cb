//! A node's clock beside ours, from what its heartbeats say. Pure.
//!
//! The median of the last three heartbeats is believed, so that one that was held up or lies changes nothing. What the node is judged by
//! moves in steps of ten seconds, so that an offset that trembles around a limit does not change the verdict all the time.

use super::Moment;
use crate::store::nodes::Offset;

/// So many heartbeats are looked at.
const READINGS: usize = 3;
/// What is judged follows what is measured when they are this far apart, in milliseconds.
const STEP_MS: u64 = 10_000;

/// What there is to judge a node's clock by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Nothing is heard from the node now.
    NotHeard,
    /// Too few heartbeats said what the time is there.
    NotMeasured,
    /// The clock is this far off, or was to ten seconds when it was last measured.
    Measured(Offset),
}

/// The last heartbeats of a node, and what follows from them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Readings {
    last: [Option<i64>; READINGS],
    measured: Option<Offset>,
    judged: Option<Offset>,
}

impl Readings {
    /// Goes on from what was measured before this collector started.
    pub(super) fn from_stored(stored: Option<Offset>) -> Self {
        Self { last: [None; READINGS], measured: stored, judged: stored }
    }

    /// Takes in what a heartbeat said.
    pub(super) fn add(&mut self, ahead_ms: i64, now: Moment) {
        let [_, second, third] = self.last;
        self.last = [second, third, Some(ahead_ms)];
        let [Some(a), Some(b), Some(c)] = self.last else { return };
        let offset = Offset { ahead_ms: a.min(b).max(a.max(b).min(c)), at: now.wall_ms };
        self.measured = Some(offset);
        if self.judged.is_none_or(|judged| judged.ahead_ms.abs_diff(offset.ahead_ms) >= STEP_MS) {
            self.judged = Some(offset);
        }
    }

    /// The newest measurement.
    pub(super) fn measured(&self) -> Option<Offset> {
        self.measured
    }

    /// What the node is judged by.
    pub(super) fn judged(&self) -> Option<Offset> {
        self.judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(readings: &[i64]) -> Readings {
        let mut all = Readings::default();
        for (at, ahead_ms) in (0..).zip(readings) {
            all.add(*ahead_ms, Moment { mono_ms: 0, wall_ms: at });
        }
        all
    }

    fn judged(readings: &[i64]) -> Option<i64> {
        after(readings).judged().map(|offset| offset.ahead_ms)
    }

    #[test]
    fn two_heartbeats_are_too_few() {
        assert_eq!(judged(&[900_000, 900_000]), None);
        assert_eq!(judged(&[900_000, 900_000, 900_000]), Some(900_000));
    }

    #[test]
    fn one_heartbeat_that_lies_or_was_held_up_changes_nothing() {
        assert_eq!(judged(&[5, -4, 3, i64::MAX, 2]), Some(3));
        assert_eq!(judged(&[5, -4, 3, i64::MIN, 2, 4, -900_000, 1]), Some(3));
        assert_eq!(judged(&[5, 5, 5, 400_000, 400_000]), Some(400_000), "a clock that was set");
        assert_eq!(judged(&[i64::MIN, i64::MAX, i64::MIN]), Some(i64::MIN));
    }

    #[test]
    fn an_offset_that_trembles_around_a_limit_is_judged_once() {
        let trembling: Vec<i64> = (0..100).map(|n| 300_000 + if n % 6 < 3 { -2_000 } else { 2_000 }).collect();
        let readings = after(&trembling);
        assert_eq!(readings.judged(), Some(Offset { ahead_ms: 298_000, at: 2 }), "as it was judged first");
        assert_eq!(readings.measured().map(|offset| offset.at), Some(99), "the page shows the newest");
    }

    #[test]
    fn what_was_stored_stands_until_three_heartbeats_say_otherwise() {
        let mut readings = Readings::from_stored(Some(Offset { ahead_ms: 400_000, at: 7 }));
        readings.add(0, Moment { mono_ms: 0, wall_ms: 9 });
        assert_eq!(readings.judged(), Some(Offset { ahead_ms: 400_000, at: 7 }));
    }
}
