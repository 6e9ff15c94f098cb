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
    /// What was lost before this agent started is the account of the one before.
    lost_before: Option<u64>,
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
        let lost_before = *self.lost_before.get_or_insert(spool.truncated());
        let mut now = Agent {
            running: true,
            spool: disk.clone(),
            refused: named(refused, spool.refused_entries(), "refused entries"),
            flapping: self.flapping(damping),
            truncated_transitions: i64::try_from(spool.truncated().saturating_sub(lost_before)).unwrap_or(i64::MAX),
            ..Agent::not_running()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail")]

    use std::sync::{Arc, Mutex};

    use holdfast_checks::entries::{Changes, Entry};
    use holdfast_checks::facts::SpoolKind;

    use super::*;
    use crate::line::Judgement;
    use crate::spool::Refusal;

    fn disk() -> SpoolState {
        SpoolState { kind: SpoolKind::File, path: String::new(), reason: String::new(), detail: String::new(), recreated: None }
    }

    fn account() -> (Account, Arc<Mutex<Vec<Agent>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        (Account::to(Box::new(move |agent| tell.lock().unwrap().push(agent.clone()))), told)
    }

    fn entry(name: &str, content: u64) -> Entry {
        Entry::inventory("kind", name, &serde_json::json!(content), 0).unwrap()
    }

    #[test]
    fn refused_entries_are_named_with_their_codes_and_no_more_than_twenty() {
        let (mut account, told) = account();
        let mut spool = Spool::in_memory(1);
        spool.apply(Changes { upserts: (10..35).map(|name| entry(&name.to_string(), 0)).collect(), ..Changes::default() });
        account.update(&disk(), &spool, &Damping::default(), 0);
        account.update(&disk(), &spool, &Damping::default(), 1);
        assert_eq!(told.lock().unwrap().len(), 1, "once");
        let all: Vec<Entry> = spool.state().iter().cloned().collect();
        for entry in all {
            spool.refused(&entry.key, entry.hash, Refusal::Quota);
        }
        account.update(&disk(), &spool, &Damping::default(), 2);
        let refused = told.lock().unwrap().last().unwrap().refused.clone();
        assert_eq!((refused.items.len(), refused.items.first().unwrap().code.as_str()), (20, "quota"));
        assert_eq!(refused.skipped, [Skipped { what: "5 more refused entries".to_owned(), reason: Reason::TooLarge }]);
    }

    #[test]
    fn counts_of_what_flaps_are_told_when_they_double_so_that_the_account_is_no_news_of_itself() {
        let (mut account, told) = account();
        let (mut spool, mut damping) = (Spool::in_memory(1), Damping::default());
        for second in 0..40 {
            let judgement = Judgement { entries: vec![entry("still", 0), entry("moves", second)], ..Judgement::default() };
            let changes = damping.admit(judgement, spool.state(), second * 1_000);
            spool.apply(changes);
            account.update(&disk(), &spool, &damping, second * 1_000);
        }
        let counts: Vec<i64> = told.lock().unwrap().iter().map(|told| told.flapping.items.first().map_or(0, |key| key.changes)).collect();
        assert_eq!(counts, [0, 13, 26]);
    }

    #[test]
    fn truncated_history_is_counted_once_a_minute() {
        let (mut account, told) = account();
        let mut spool = Spool::with_ring(1, 0);
        let mut update = |spool: &Spool, now_ms| {
            account.update(&disk(), spool, &Damping::default(), now_ms);
            account.next_ms()
        };
        let lose = |spool: &mut Spool, number: i64| {
            let mut changes = Changes::default();
            let key = holdfast_checks::entries::Key::finding("c", &number.to_string());
            let (reason, because) = (String::new(), String::new());
            let severity = holdfast_checks::entries::Severity::Low;
            let transition =
                holdfast_checks::entries::Transition { number: 0, key, from: None, to: None, reason, severity, because, at: 0 };
            changes.transitions.push(transition);
            spool.apply(changes);
        };
        lose(&mut spool, 1);
        update(&spool, 0);
        lose(&mut spool, 2);
        lose(&mut spool, 3);
        assert_eq!(update(&spool, 100), None);
        lose(&mut spool, 4);
        assert_eq!(update(&spool, 200), Some(60_100), "another number, too early");
        assert_eq!(update(&spool, 60_100), None);
        let counts: Vec<i64> = told.lock().unwrap().iter().map(|told| told.truncated_transitions).collect();
        assert_eq!(counts, [0, 2, 3], "what was lost before this agent started is not counted");
    }
}
