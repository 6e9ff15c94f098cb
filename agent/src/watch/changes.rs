//! Which process events are worth a reading, and when.
//!
//! A process that is born says nothing until it has settled, and most never do: what is born and ends in between costs no reading at
//! all. A storm is one reading every now and then, whatever its size. Pure: time is an argument.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::connector::{Event, Heard};
use super::pending::Touched;

/// Readings are asked for no more often than this,
const TELL_EVERY: Duration = Duration::from_millis(200);
/// and on a host on which processes come and go all the time no more often than this on average: so many may come at once after a
/// quiet while.
const ON_AVERAGE: Duration = Duration::from_secs(1);
const AT_ONCE: u32 = 3;
/// Losing events makes everything be read again, which is dear: no more often than this.
const ALL_EVERY: Duration = Duration::from_secs(10);
/// The most births that are remembered until they are old enough; of more the rest counts as lost.
const MAX_YOUNG: usize = 16_384;

#[derive(Debug)]
pub(super) struct Changes {
    /// How long a process is young.
    settled: Duration,
    young: HashMap<i64, Instant>,
    /// Births in their order, also of those that ended since.
    births: VecDeque<(Instant, i64)>,
    /// Those that changed after they were read.
    touched: BTreeSet<i64>,
    /// A process has come of age.
    grown: bool,
    lost: bool,
    told: Option<Instant>,
    /// When the readings asked for so far are paid for, one in each [`ON_AVERAGE`].
    paid: Option<Instant>,
    told_all: Option<Instant>,
}

impl Changes {
    pub(super) fn new(settled: Duration) -> Self {
        Self {
            settled,
            young: HashMap::new(),
            births: VecDeque::new(),
            touched: BTreeSet::new(),
            grown: false,
            lost: false,
            told: None,
            paid: None,
            told_all: None,
        }
    }

    /// Takes in what was heard at `now`.
    pub(super) fn take_in(&mut self, heard: Heard, now: Instant) {
        self.lost |= heard.lost;
        for event in heard.events {
            match event {
                Event::Born(_) if self.births.len() >= MAX_YOUNG => self.lost = true,
                Event::Born(pid) => {
                    self.young.insert(pid, now);
                    self.births.push_back((now, pid));
                }
                Event::Changed(pid) if self.young.contains_key(&pid) => {}
                Event::Ended(pid) if self.young.remove(&pid).is_some() => {}
                Event::Changed(pid) | Event::Ended(pid) => {
                    self.touched.insert(pid);
                }
            }
        }
    }

    /// What to read again at `now`, if anything.
    pub(super) fn due(&mut self, now: Instant) -> Option<Touched> {
        while let Some((born, pid)) = self.births.pop_front_if(|(born, _)| now.saturating_duration_since(*born) >= self.settled) {
            // Not when it ended, nor when another was born with its pid.
            if self.young.get(&pid) == Some(&born) {
                self.young.remove(&pid);
                self.grown = true;
            }
        }
        let ago = |told: Option<Instant>, long: Duration| told.is_none_or(|told| now.saturating_duration_since(told) >= long);
        let all = self.lost && ago(self.told_all, ALL_EVERY);
        let some = self.grown || !self.touched.is_empty();
        let paid = self.paid.map_or(now, |paid| paid.max(now));
        let owed = paid.saturating_duration_since(now);
        if !(all || some) || !ago(self.told, TELL_EVERY) || owed > ON_AVERAGE.saturating_mul(AT_ONCE - 1) {
            return None;
        }
        self.told = Some(now);
        self.paid = Some(paid + ON_AVERAGE);
        self.grown = false;
        let touched = std::mem::take(&mut self.touched);
        if all {
            self.told_all = Some(now);
            self.lost = false;
            return Some(Touched::All);
        }
        Some(Touched::Processes(touched))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED: Duration = Duration::from_secs(1);

    fn events(events: &[Event]) -> Heard {
        Heard { events: events.to_vec(), ..Heard::default() }
    }

    fn told(pids: &[i64]) -> Touched {
        Touched::Processes(pids.iter().copied().collect())
    }

    /// A clock that starts now.
    fn clock() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |ms| start + Duration::from_millis(ms)
    }

    #[test]
    fn a_process_is_told_of_when_it_has_settled_and_one_that_ends_before_never() {
        let (mut changes, at) = (Changes::new(SETTLED), clock());
        changes.take_in(events(&[Event::Born(7), Event::Changed(7), Event::Born(8)]), at(0));
        changes.take_in(events(&[Event::Changed(7), Event::Ended(8)]), at(500));
        assert_eq!(changes.due(at(900)), None);
        assert_eq!(changes.due(at(1_000)), Some(told(&[])), "its pid was never read: there is nothing to forget");
        assert_eq!(changes.due(at(5_000)), None);
        changes.take_in(events(&[Event::Born(9), Event::Ended(9)]), at(6_000));
        assert_eq!(changes.due(at(8_000)), None);
    }

    #[test]
    fn what_happens_to_a_process_that_was_read_is_told_at_once_and_by_name() {
        let (mut changes, at) = (Changes::new(SETTLED), clock());
        changes.take_in(events(&[Event::Changed(1), Event::Ended(2)]), at(0));
        assert_eq!(changes.due(at(0)), Some(told(&[1, 2])));
        changes.take_in(events(&[Event::Changed(1)]), at(50));
        assert_eq!(changes.due(at(100)), None, "one reading every now and then");
        assert_eq!(changes.due(at(200)), Some(told(&[1])));
    }

    #[test]
    fn a_storm_of_ten_thousand_is_a_few_readings_and_one_of_short_lives_is_none() {
        let (mut changes, at) = (Changes::new(SETTLED), clock());
        let mut readings = 0;
        for ms in 0..4_000 {
            if ms < 1_000 {
                for n in 0..10 {
                    let pid = i64::try_from(ms * 10 + n).unwrap() + 100;
                    changes.take_in(events(&[Event::Born(pid), Event::Changed(pid)]), at(ms));
                }
            }
            readings += usize::from(changes.due(at(ms)).is_some());
        }
        assert!((1..=6).contains(&readings), "{readings}");
        let at = |ms: u64| at(10_000 + ms);
        for ms in 0..1_000 {
            changes.take_in(events(&[Event::Born(7), Event::Changed(7), Event::Ended(7)]), at(ms));
            assert_eq!(changes.due(at(ms)), None);
        }
    }

    #[test]
    fn on_a_busy_host_readings_are_as_rare_as_by_looking_every_second() {
        let (mut changes, at) = (Changes::new(SETTLED), clock());
        let mut asked = Vec::new();
        for ms in (0..60_000).step_by(100) {
            changes.take_in(events(&[Event::Changed(1), Event::Ended(2)]), at(ms));
            asked.extend(changes.due(at(ms)).map(|_| ms));
        }
        assert_eq!(asked.iter().take(3).copied().collect::<Vec<_>>(), [0, 200, 400], "at once after a quiet while");
        assert!((60..=63).contains(&asked.len()), "{}", asked.len());
        // And at once again after the next.
        changes.due(at(65_000));
        changes.take_in(events(&[Event::Changed(1)]), at(70_000));
        assert_eq!(changes.due(at(70_000)), Some(told(&[1])));
    }

    #[test]
    fn lost_events_make_everything_be_read_again_but_not_all_the_time() {
        let (mut changes, at) = (Changes::new(SETTLED), clock());
        let lost = || Heard { lost: true, ..Heard::default() };
        changes.take_in(lost(), at(0));
        assert_eq!(changes.due(at(0)), Some(Touched::All));
        changes.take_in(lost(), at(1_000));
        assert_eq!(changes.due(at(1_000)), None);
        assert_eq!(changes.due(at(9_999)), None);
        assert_eq!(changes.due(at(10_000)), Some(Touched::All), "it is not forgotten");
        assert_eq!(changes.due(at(30_000)), None);
    }

    #[test]
    fn more_young_processes_than_are_remembered_count_as_lost() {
        let (mut changes, at) = (Changes::new(SETTLED), clock());
        let born: Vec<Event> = (1..=16_385).map(Event::Born).collect();
        changes.take_in(events(&born), at(0));
        assert_eq!(changes.due(at(0)), Some(Touched::All));
        assert_eq!(changes.young.len(), MAX_YOUNG);
    }
}
