//! Damping: a key that changes all the time is told less often than it changes.
//!
//! Without it one check on the edge, or a pod that restarts every few seconds, fills the history of the node, wakes every alert and
//! costs a commit on both sides each time. The last content is parked here and released now and then; until then the spool, and so
//! the digest of both sides, keeps what was released last. Nothing is lost: what is parked is always the last judgement. Pure: the
//! time is an argument. Must not know the spool, the session or sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_checks::entries::{Body, Changes, Entry, Hash, Key, Severity, State, Transition, Verdict};

use super::Judgement;

/// More changes than this within [`WINDOW_MS`] are too many. A deployment that is rolled out, a reboot or somebody who tries a setting
/// stays below. The first ten minutes of a crash loop, seven starts and as many ends, are just above; later, a restart every five
/// minutes is below again.
const MOST: usize = 12;
const WINDOW_MS: u64 = 10 * 60_000;
/// A damped key is told at most so often: often enough for a person who looks, and 60 rows an hour at most.
const PAUSE_MS: u64 = 60_000;
/// A failure of high severity is news also where it comes and goes: it is told so often, and only its end waits.
const URGENT_PAUSE_MS: u64 = 10_000;
/// Without a change for so long it is over. Longer than the pauses of a crash loop, which are five minutes at most.
const QUIET_MS: u64 = 30 * 60_000;
/// The most keys whose changes are counted; those beyond are told as they come.
const MOST_KEYS: usize = 4_096;
/// How often keys that came to rest are forgotten.
const SWEEP_MS: u64 = 60_000;

/// Which keys change too often, and what of them is not told yet.
#[derive(Debug, Default)]
pub(super) struct Damping {
    keys: BTreeMap<Key, Changing>,
    /// Keys that are damped, so that the others need not be looked at.
    damped: BTreeSet<Key>,
    swept_ms: u64,
    off: bool,
}

/// A key that changed lately.
#[derive(Debug, Default)]
struct Changing {
    /// When, newest last: as many as it takes to see that they are too many.
    times: VecDeque<u64>,
    damped: Option<Box<Damped>>,
}

#[derive(Debug)]
struct Damped {
    /// The first change that counted: Unix milliseconds.
    since: i64,
    changes: u64,
    changed_ms: u64,
    released_ms: u64,
    /// Changes since the last release, and when the first of them was: Unix milliseconds.
    untold: u64,
    untold_since: i64,
    parked: Option<Parked>,
}

#[derive(Debug)]
struct Parked {
    /// What is judged there now; `None`: nothing.
    entry: Option<Entry>,
    at: i64,
    urgent: bool,
}

/// A key that changes too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flapping<'a> {
    pub(super) key: &'a Key,
    pub(super) changes: u64,
    /// Unix milliseconds.
    pub(super) since: i64,
}

impl Damping {
    /// Holds nothing back.
    pub(super) fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// What of a judgement is to be told now, compared with what was told last. The rest is parked.
    pub(super) fn admit(&mut self, mut judgement: Judgement, told: &State, now_ms: u64) -> Changes {
        self.sweep(now_ms);
        self.cancel(&judgement, told, now_ms);
        let fresh = std::mem::take(&mut judgement.entries);
        let mut changes = told.compare(fresh, |key| judgement.covers(key), judgement.at);
        if told.is_empty() || self.off {
            // The first judgement: everything is new, and nothing changed.
            return changes;
        }
        let mut parked = BTreeSet::new();
        let (mut upserts, mut gone) = (Vec::new(), Vec::new());
        let moment = (now_ms, judgement.at);
        for entry in std::mem::take(&mut changes.upserts) {
            let key = entry.key.clone();
            match self.pass(&key, Some(entry), told, moment) {
                Pass::Told(entry) => upserts.extend(entry),
                Pass::Parked => drop(parked.insert(key)),
            }
        }
        for key in std::mem::take(&mut changes.gone) {
            match self.pass(&key, None, told, moment) {
                Pass::Told(_) => gone.push(key),
                Pass::Parked => drop(parked.insert(key)),
            }
        }
        changes.transitions.retain(|transition| !parked.contains(&transition.key));
        self.explain(&mut changes.transitions);
        Changes { upserts, gone, transitions: changes.transitions }
    }

    /// What was parked long enough.
    pub(super) fn release(&mut self, told: &State, now_ms: u64) -> Changes {
        self.sweep(now_ms);
        let (mut fresh, mut gone, mut times) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for key in &self.damped {
            let Some(damped) = self.keys.get_mut(key).and_then(|changing| changing.damped.as_mut()) else { continue };
            if damped.due_ms().is_some_and(|due| due <= now_ms)
                && let Some(parked) = damped.parked.take()
            {
                damped.released_ms = now_ms;
                times.insert(key.clone(), parked.at);
                match parked.entry {
                    Some(entry) => fresh.push(entry),
                    None => drop(gone.insert(key.clone())),
                }
            }
        }
        let mut changes = told.compare(fresh, |key| gone.contains(key), 0);
        for transition in &mut changes.transitions {
            transition.at = times.get(&transition.key).copied().unwrap_or_default();
        }
        self.explain(&mut changes.transitions);
        changes
    }

    /// When [`Self::release`] has something to do next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let due = |damped: &Damped| damped.due_ms().unwrap_or(damped.changed_ms.saturating_add(QUIET_MS));
        self.all_damped().map(|(_, damped)| due(damped)).min()
    }

    /// What is damped now, by key.
    pub(super) fn flapping(&self) -> impl Iterator<Item = Flapping<'_>> {
        self.all_damped().map(|(key, damped)| Flapping { key, changes: damped.changes, since: damped.since })
    }

    /// How many are damped now.
    pub(super) fn len(&self) -> usize {
        self.damped.len()
    }

    fn all_damped(&self) -> impl Iterator<Item = (&Key, &Damped)> {
        self.damped.iter().filter_map(|key| Some((key, self.keys.get(key)?.damped.as_deref()?)))
    }

    /// What is judged as it was told last is parked no longer.
    fn cancel(&mut self, judgement: &Judgement, told: &State, now_ms: u64) {
        if self.damped.is_empty() {
            return;
        }
        let mut fresh: BTreeMap<&Key, Hash> = BTreeMap::new();
        for entry in judgement.entries.iter().filter(|entry| self.damped.contains(&entry.key)) {
            fresh.entry(&entry.key).or_insert(entry.hash);
        }
        for key in &self.damped {
            let now = fresh.get(key).copied();
            let same = now == told.get(key).map(|entry| entry.hash) && (now.is_some() || judgement.covers(key));
            let Some(changing) = self.keys.get_mut(key).filter(|_| same) else { continue };
            if let Some(damped) = &mut changing.damped
                && damped.parked.take().is_some()
            {
                damped.count(now_ms, judgement.at);
            }
        }
    }

    /// Counts a change that is not the parked one, and decides when it is told.
    fn pass(&mut self, key: &Key, entry: Option<Entry>, told: &State, (now_ms, at): (u64, i64)) -> Pass {
        if !self.keys.contains_key(key) && self.keys.len() >= MOST_KEYS {
            return Pass::Told(entry);
        }
        let changing = self.keys.entry(key.clone()).or_default();
        if changing.damped.is_none() {
            let last_ms = changing.times.back().copied();
            changing.times.retain(|time| now_ms.saturating_sub(*time) < WINDOW_MS);
            changing.times.push_back(now_ms);
            if changing.times.len() <= MOST {
                return Pass::Told(entry);
            }
            let times = std::mem::take(&mut changing.times);
            let first_ms = times.front().copied().unwrap_or(now_ms);
            let since = at.saturating_sub(i64::try_from(now_ms.saturating_sub(first_ms)).unwrap_or(0));
            let changes = u64::try_from(times.len()).unwrap_or(u64::MAX).saturating_sub(1);
            let released_ms = last_ms.unwrap_or(now_ms);
            let damped = Damped { since, changes, changed_ms: now_ms, released_ms, untold: 0, untold_since: at, parked: None };
            changing.damped = Some(Box::new(damped));
            self.damped.insert(key.clone());
        }
        let Some(damped) = &mut changing.damped else { return Pass::Told(entry) };
        let hash = |entry: Option<&Entry>| entry.map(|entry| entry.hash);
        if damped.parked.as_ref().is_none_or(|parked| hash(parked.entry.as_ref()) != hash(entry.as_ref())) {
            damped.count(now_ms, at);
            let urgent = is_urgent(entry.as_ref(), told.get(key));
            damped.parked = Some(Parked { entry, at, urgent });
        }
        if damped.due_ms().is_none_or(|due| due > now_ms) {
            return Pass::Parked;
        }
        damped.released_ms = now_ms;
        Pass::Told(damped.parked.take().and_then(|parked| parked.entry))
    }

    /// Says of what is told now how much was not.
    fn explain(&mut self, transitions: &mut [Transition]) {
        for transition in transitions {
            let damped = self.keys.get_mut(&transition.key).and_then(|changing| changing.damped.as_mut());
            let Some(damped) = damped else { continue };
            let untold = std::mem::take(&mut damped.untold);
            if untold > 1 {
                let since = jiff::Timestamp::from_millisecond(damped.untold_since).unwrap_or_default();
                transition.because = format!("the last of {untold} changes since {since:.0}: {}", transition.because);
            }
        }
    }

    /// Forgets what came to rest.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.swept_ms) < SWEEP_MS && self.next_ms().is_none_or(|next| next > now_ms) {
            return;
        }
        self.swept_ms = now_ms;
        self.keys.retain(|_, changing| match &changing.damped {
            Some(damped) => damped.parked.is_some() || now_ms.saturating_sub(damped.changed_ms) < QUIET_MS,
            None => changing.times.back().is_some_and(|last| now_ms.saturating_sub(*last) < WINDOW_MS),
        });
        let keys = &self.keys;
        self.damped.retain(|key| keys.contains_key(key));
    }
}

impl Damped {
    fn count(&mut self, now_ms: u64, at: i64) {
        if self.untold == 0 {
            self.untold_since = at;
        }
        self.untold = self.untold.saturating_add(1);
        self.changes = self.changes.saturating_add(1);
        self.changed_ms = now_ms;
    }

    /// When what is parked is to be told; `None` when nothing is.
    fn due_ms(&self) -> Option<u64> {
        let pause = |parked: &Parked| if parked.urgent { URGENT_PAUSE_MS } else { PAUSE_MS };
        self.parked.as_ref().map(|parked| self.released_ms.saturating_add(pause(parked)))
    }
}

enum Pass {
    Told(Option<Entry>),
    Parked,
}

/// Is this a failure of high severity where none was told.
fn is_urgent(now: Option<&Entry>, told: Option<&Entry>) -> bool {
    let fails = |entry: Option<&Entry>| match entry.map(|entry| &entry.body) {
        Some(Body::Finding(finding)) => finding.verdict == Verdict::Fail && finding.severity >= Severity::High,
        _ => false,
    };
    fails(now) && !fails(told)
}

#[cfg(test)]
mod tests;
