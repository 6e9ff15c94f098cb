//! What was refused of a node whose credentials were good: another agent, two machines with one identity, words about others.
//!
//! Counted by hour, so that a flood costs one row an hour and an hour ends by itself. What a node is judged by moves in steps, so that
//! a flood is not judged all the time. Pure; must not know SQL or who refuses.

use serde::Serialize;

/// Milliseconds in an hour, by which they are counted.
pub(crate) const HOUR_MS: i64 = 60 * 60 * 1000;
/// The longest detail kept, in bytes.
const MAX_DETAIL_BYTES: usize = 300;

/// Kinds of breaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// Another agent came while the node's own was there.
    Duplicate,
    /// Two machines came in turns with the same credentials.
    Alternation,
    /// Something was said of another node, or of what only the collector judges.
    ForeignWrite,
}

impl Breach {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Duplicate, Self::Alternation, Self::ForeignWrite];

    /// The name in the store and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Alternation => "alternation",
            Self::ForeignWrite => "foreign_write",
        }
    }

    /// Reads the stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|breach| breach.name() == name)
    }
}

/// Breaches of one kind on one node in one hour, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreachRow {
    /// The node.
    pub node_id: i64,
    /// The kind's name.
    pub kind: &'static str,
    /// Unix hours.
    pub hour: i64,
    /// How many.
    pub n: i64,
    /// The last one, for a person. From an agent in part: hostile.
    pub detail: String,
    /// When that was, Unix milliseconds.
    pub at: i64,
    /// What the node is judged by has changed.
    #[serde(skip)]
    pub moved: bool,
}

/// One kind on one node.
#[derive(Debug, Default)]
struct Tally {
    hour: i64,
    n: i64,
    /// Of the hour before.
    before: i64,
    detail: String,
    at: i64,
    /// What was stored last of this hour.
    stored: i64,
    /// What the node was judged by when that was stored.
    judged: i64,
}

impl Tally {
    fn turn(&mut self, hour: i64) {
        if hour != self.hour {
            self.before = if hour == self.hour.saturating_add(1) { self.n } else { 0 };
            (self.hour, self.n, self.stored) = (hour, 0, 0);
        }
    }

    /// How many by `now` in this hour and the one before; none an hour after the last.
    fn recent(&self, now: i64) -> i64 {
        if now.saturating_sub(self.at) >= HOUR_MS {
            return 0;
        }
        let n = if now.div_euclid(HOUR_MS) <= self.hour { self.n.saturating_add(self.before) } else { self.n };
        step(n)
    }
}

/// 1, 2, 5, 10, 20, 50, …: the highest that is not above `n`.
fn step(n: i64) -> i64 {
    let mut ten: i64 = 1;
    while ten.saturating_mul(10) <= n && ten < i64::MAX / 100 {
        ten = ten.saturating_mul(10);
    }
    [5, 2, 1].into_iter().map(|digit| ten.saturating_mul(digit)).find(|step| *step <= n).unwrap_or(0)
}

/// Who spoke for a node, as it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// `pod`, `enrolment` or `token`; empty where nobody spoke for it yet.
    pub credential: String,
    /// In the last hour or two, at least so many; none an hour after the last.
    pub duplicates: i64,
    /// The same of alternations.
    pub alternations: i64,
    /// The same of foreign writes.
    pub foreign_writes: i64,
    /// The last of all those, for a person.
    pub last: String,
    /// When that was, Unix milliseconds; 0: never.
    pub at: i64,
}

impl Admission {
    /// Of a node as it is stored: who opened its last session, and what was refused of it, older rows first. `None`: nobody spoke for it yet,
    /// or an earlier version did not say who.
    pub fn of(holder: &str, rows: &[BreachRow], now: i64) -> Option<Self> {
        let kind = holder.split(':').next().unwrap_or_default();
        let credential = ["pod", "enrolment", "token"].into_iter().find(|known| *known == kind)?;
        let mut breaches = Breaches::default();
        for row in rows {
            breaches.recall(row);
        }
        Some(Self { credential: credential.to_owned(), ..breaches.admission(now).unwrap_or_default() })
    }
}

/// What one node has of it.
#[derive(Debug, Default)]
pub(super) struct Breaches([Tally; 3]);

impl Breaches {
    fn of(&mut self, breach: Breach) -> &mut Tally {
        let Self([duplicate, alternation, foreign]) = self;
        match breach {
            Breach::Duplicate => duplicate,
            Breach::Alternation => alternation,
            Breach::ForeignWrite => foreign,
        }
    }

    /// Counts one.
    pub(super) fn add(&mut self, breach: Breach, detail: &str, now: i64) {
        let tally = self.of(breach);
        tally.turn(now.div_euclid(HOUR_MS));
        tally.n = tally.n.saturating_add(1);
        tally.at = now;
        tally.detail.clear();
        tally.detail.push_str(detail.get(..detail.floor_char_boundary(MAX_DETAIL_BYTES)).unwrap_or_default());
    }

    /// Takes in what was stored before this collector started; older rows first.
    pub(super) fn recall(&mut self, row: &BreachRow) {
        let Some(breach) = Breach::from_name(row.kind) else { return };
        let tally = self.of(breach);
        tally.turn(row.hour);
        (tally.n, tally.stored, tally.at) = (row.n, row.n, row.at);
        tally.detail.clone_from(&row.detail);
        tally.judged = tally.recent(row.at);
    }

    /// What is not stored yet.
    pub(super) fn due(&self, node_id: i64) -> impl Iterator<Item = BreachRow> {
        let Self(tallies) = self;
        let due = Breach::ALL.into_iter().zip(tallies).filter(|(_, tally)| tally.n > tally.stored);
        due.map(move |(breach, tally)| BreachRow {
            node_id,
            kind: breach.name(),
            hour: tally.hour,
            n: tally.n,
            detail: tally.detail.clone(),
            at: tally.at,
            moved: tally.recent(tally.at) != tally.judged,
        })
    }

    /// A row was stored.
    pub(super) fn settle(&mut self, row: &BreachRow) {
        let Some(breach) = Breach::from_name(row.kind) else { return };
        let tally = self.of(breach);
        if tally.hour == row.hour {
            tally.stored = tally.stored.max(row.n);
            tally.judged = tally.recent(row.at);
        }
    }

    /// By what the node is judged at `now`; `None` when there is nothing in it any more.
    pub(super) fn admission(&self, now: i64) -> Option<Admission> {
        let Self(tallies) = self;
        let [duplicates, alternations, foreign_writes] = tallies.each_ref().map(|tally| tally.recent(now));
        let last = tallies.iter().filter(|tally| tally.recent(now) > 0).max_by_key(|tally| tally.at)?;
        let (last, at) = (last.detail.clone(), last.at);
        Some(Admission { credential: String::new(), duplicates, alternations, foreign_writes, last, at })
    }

    /// Nothing is to be stored of it and nobody is judged by it.
    pub(super) fn is_over(&self, now: i64) -> bool {
        let Self(tallies) = self;
        tallies.iter().all(|tally| tally.n <= tally.stored && tally.recent(now) == 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may fail")]

    use super::*;

    const NOW: i64 = 500_000 * HOUR_MS + HOUR_MS / 2;

    #[test]
    fn a_flood_is_one_row_an_hour_and_is_judged_in_steps() {
        let mut breaches = Breaches::default();
        let mut judged = 0;
        let mut written = Vec::new();
        for n in 0..10_000 {
            breaches.add(Breach::Duplicate, "another agent", NOW + n);
            let due: Vec<BreachRow> = breaches.due(1).collect();
            judged += due.iter().filter(|row| row.moved).count();
            for row in &due {
                breaches.settle(row);
            }
            written.extend(due.into_iter().map(|row| row.hour));
        }
        written.dedup();
        assert_eq!((written.len(), judged), (1, 13), "1, 2, 5, …, 10000");
        assert_eq!(breaches.admission(NOW + 20_000).map(|admission| admission.duplicates), Some(10_000));
    }

    #[test]
    fn an_hour_after_the_last_it_is_over() {
        let mut breaches = Breaches::default();
        breaches.add(Breach::ForeignWrite, "it said that it is <b>", NOW);
        breaches.add(Breach::ForeignWrite, "again", NOW + HOUR_MS - 1);
        let admission = |at| breaches.admission(at).map(|admission| (admission.foreign_writes, admission.last));
        assert_eq!(admission(NOW + HOUR_MS), Some((2, "again".to_owned())));
        assert_eq!(admission(NOW + 2 * HOUR_MS - 2), Some((1, "again".to_owned())), "the hour before the last two does not count");
        assert_eq!(breaches.admission(NOW + 2 * HOUR_MS - 1), None);
        assert!(!breaches.is_over(NOW + 2 * HOUR_MS), "it is not stored yet");
        let due: Vec<BreachRow> = breaches.due(1).collect();
        for row in &due {
            breaches.settle(row);
        }
        assert!(breaches.is_over(NOW + 2 * HOUR_MS));
    }

    #[test]
    fn a_restart_goes_on_from_what_was_stored() {
        let mut before = Breaches::default();
        (0..7).for_each(|_| before.add(Breach::Alternation, "two machines", NOW));
        let stored: Vec<BreachRow> = before.due(1).collect();
        let mut after = Breaches::default();
        for row in &stored {
            after.recall(row);
        }
        assert_eq!(after.due(1).count(), 0);
        assert_eq!(after.admission(NOW + 1), before.admission(NOW + 1));
        after.add(Breach::Alternation, "two machines", NOW + 1);
        assert_eq!(after.due(1).next().map(|row| row.n), Some(8));
    }

    #[test]
    fn steps_are_what_people_count_in() {
        assert_eq!([0, 1, 2, 4, 5, 9, 10, 19, 99, 100, i64::MAX].map(step)[..8], [0, 1, 2, 2, 5, 5, 10, 10]);
        assert_eq!((step(99), step(100), step(7_400)), (50, 100, 5_000));
        assert!(step(i64::MAX) > 0);
    }
}
