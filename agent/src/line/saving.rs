//! When the spool is saved: at once what is urgent, else the first change after a quiet second at once and then one save a second at
//! most, and never two at a time. Pure: the time is an argument.

use std::time::Duration;

/// The least time between the beginnings of two saves that nothing makes urgent.
const PAUSE_MS: u64 = 1_000;
/// A save that takes longer counts as failed: history does not wait for a disk that may never answer.
pub(super) const PATIENCE_MS: u64 = 5_000;

/// What was begun when.
#[derive(Debug, Default)]
pub(super) struct Saving {
    began_ms: Option<u64>,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    InTime,
    GivenUp,
}

/// What became of the save that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It took so long.
    InTime(Duration),
    /// It was given up before.
    Late,
}

impl Saving {
    /// When to save, given that there is something to be saved; `None` while a save is under way.
    pub(super) fn due_ms(&self, urgent: bool, now_ms: u64) -> Option<u64> {
        if self.under_way.is_some() {
            return None;
        }
        let earliest = self.began_ms.map_or(0, |began| began.saturating_add(PAUSE_MS));
        Some(if urgent { now_ms } else { earliest.max(now_ms) })
    }

    /// Is the disk at it.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// When the save under way counts as failed.
    pub(super) fn late_ms(&self) -> Option<u64> {
        let began = self.began_ms.filter(|_| self.under_way == Some(UnderWay::InTime))?;
        Some(began.saturating_add(PATIENCE_MS))
    }

    pub(super) fn began(&mut self, now_ms: u64) {
        self.began_ms = Some(now_ms);
        self.under_way = Some(UnderWay::InTime);
    }

    /// The save under way counts as failed. What comes of it comes late.
    pub(super) fn give_up(&mut self) {
        self.under_way = self.under_way.map(|_| UnderWay::GivenUp);
    }

    /// The save under way has ended, one way or the other; `None` when there was none.
    pub(super) fn ended(&mut self, now_ms: u64) -> Option<Ended> {
        Some(match self.under_way.take()? {
            UnderWay::InTime => Ended::InTime(Duration::from_millis(now_ms.saturating_sub(self.began_ms.unwrap_or(now_ms)))),
            UnderWay::GivenUp => Ended::Late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_is_saved_at_once_and_those_after_it_once_a_second() {
        let mut saving = Saving::default();
        assert_eq!(saving.due_ms(false, 10), Some(10));
        saving.began(10);
        assert_eq!(saving.due_ms(false, 11), None, "never two at a time");
        assert_eq!(saving.ended(25), Some(Ended::InTime(Duration::from_millis(15))));
        assert_eq!(saving.due_ms(false, 30), Some(1_010));
        assert_eq!(saving.due_ms(false, 5_000), Some(5_000), "after a quiet second at once");
    }

    #[test]
    fn what_is_urgent_does_not_wait_for_the_second_but_for_the_save_under_way() {
        let mut saving = Saving::default();
        saving.began(10);
        assert_eq!(saving.due_ms(true, 20), None);
        saving.ended(30);
        assert_eq!(saving.due_ms(true, 31), Some(31));
    }

    #[test]
    fn a_save_that_takes_too_long_is_given_up_and_its_end_is_late() {
        let mut saving = Saving::default();
        assert_eq!(saving.late_ms(), None);
        saving.began(10);
        assert_eq!(saving.late_ms(), Some(5_010));
        saving.give_up();
        assert_eq!((saving.late_ms(), saving.due_ms(true, 6_000)), (None, None), "the disk still has it");
        assert_eq!((saving.ended(60_000), saving.ended(60_001)), (Some(Ended::Late), None));
        assert_eq!(saving.due_ms(false, 60_000), Some(60_000));
    }
}
