//! The agent's own account of its delivery, told when it changes.
//!
//! What is told is judged, and so becomes entries that are delivered in their turn: numbers that move with every delivery are told in
//! steps, or the account would be news of itself for ever. Must not know who judges.

use holdfast_checks::facts::{Agent, Flapping, Listing, Reason, RefusedEntry, Skipped, SpoolState};

use super::damping::Damping;
use crate::spool::Spool;

/// The most refused and flapping entries that are named.
const NAMED: usize = 20;
/// Truncated history is counted anew so often.
const COUNT_EVERY_MS: u64 = 60_000;

/// Takes the account where it is judged.
pub(super) type Tell = Box<dyn Fn(&Agent) + Send>;

/// What was told, and to whom.
#[derive(Default)]
pub(super) struct Account {
    tell: Option<Tell>,
    told: Option<Agent>,
    counted_ms: Option<u64>,
    /// There is a number that was not told because it is too early.
    waits: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Account {
    pub(super) fn to(tell: Tell) -> Self {
        Self { tell: Some(tell), ..Self::default() }
    }

    /// Tells the account when it is another than the one told last.
    pub(super) fn update(&mut self, disk: &SpoolState, spool: &Spool, damping: &Damping, now_ms: u64) {
        let Some(tell) = &self.tell else { return };
        let refused =
            spool.all_refused().map(|refused| RefusedEntry { key: refused.key.as_str().to_owned(), code: refused.why.name().to_owned() });
        let mut now = Agent {
            running: true,
            spool: disk.clone(),
            refused: named(refused, spool.refused_entries(), "refused entries"),
            flapping: self.flapping(damping),
            truncated_transitions: i64::try_from(spool.truncated()).unwrap_or(i64::MAX),
        };
        let told = self.told.as_ref().map_or(0, |told| told.truncated_transitions);
        self.waits = false;
        if now.truncated_transitions != told {
            if self.counted_ms.is_some_and(|counted| now_ms < counted.saturating_add(COUNT_EVERY_MS)) {
                now.truncated_transitions = told;
                self.waits = true;
            } else {
                self.counted_ms = Some(now_ms);
            }
        }
        if self.told.as_ref() != Some(&now) {
            tell(&now);
            self.told = Some(now);
        }
    }

    /// When there is something to tell that waits.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.counted_ms.filter(|_| self.waits).map(|counted| counted.saturating_add(COUNT_EVERY_MS))
    }

    /// The count of one key is told again when it has doubled: the finding made of it may be one of the keys.
    fn flapping(&self, damping: &Damping) -> Listing<Flapping> {
        let told = self.told.as_ref().map(|told| told.flapping.items.as_slice()).unwrap_or_default();
        let flapping = damping.flapping().map(|key| {
            let (check, finding) = key.key.parts();
            let changes = i64::try_from(key.changes).unwrap_or(i64::MAX);
            let before = told.iter().find(|told| told.check == check && told.finding == finding && told.since == key.since);
            let changes = before.map(|before| before.changes).filter(|before| changes < before.saturating_mul(2)).unwrap_or(changes);
            Flapping { check: check.to_owned(), finding: finding.to_owned(), changes, since: key.since }
        });
        named(flapping, damping.len(), "flapping entries")
    }
}

fn named<T>(all: impl Iterator<Item = T>, count: usize, what: &str) -> Listing<T> {
    let items: Vec<T> = all.take(NAMED).collect();
    let more = count.saturating_sub(items.len());
    let skipped = (more > 0).then(|| Skipped { what: format!("{more} more {what}"), reason: Reason::TooLarge });
    Listing { items, skipped: skipped.into_iter().collect() }
}
