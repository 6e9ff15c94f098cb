//! The current entries of a node with their digest, and the difference a new scan makes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Body, Digest, Entry, Key, Severity, Transition, TransitionEnd};

/// A node's entries by key, and their digest.
#[derive(Debug, Clone, Default)]
pub struct State {
    entries: BTreeMap<Key, Entry>,
    digest: Digest,
}

/// What a new set of entries changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// New entries, and entries whose hash differs.
    pub upserts: Vec<Entry>,
    /// Keys that are no longer there.
    pub gone: Vec<Key>,
    /// Findings whose verdict moved. Numbers are 0 until the spool assigns them.
    pub transitions: Vec<Transition>,
}

impl Changes {
    /// Is there nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.gone.is_empty() && self.transitions.is_empty()
    }
}

impl State {
    /// The digest of all entries.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry under `key`.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Adds or replaces an entry.
    pub fn upsert(&mut self, entry: Entry) {
        self.digest.add(&entry.key, &entry.hash);
        if let Some(old) = self.entries.insert(entry.key.clone(), entry) {
            self.digest.remove(&old.key, &old.hash);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        let old = self.entries.remove(key)?;
        self.digest.remove(&old.key, &old.hash);
        Some(old)
    }

    /// Compares this state with `fresh`, which replaces every entry whose key `covers`; other entries stand.
    ///
    /// Of several fresh entries under one key the first counts. `at` (Unix milliseconds) dates the transitions. The state itself is not changed: [`State::apply`] does.
    pub fn compare(&self, fresh: Vec<Entry>, covers: impl Fn(&Key) -> bool, at: i64) -> Changes {
        let mut changes = Changes::default();
        let mut seen = BTreeSet::new();
        for entry in fresh {
            if !seen.insert(entry.key.clone()) {
                continue;
            }
            let old = self.entries.get(&entry.key);
            if old.is_some_and(|old| old.hash == entry.hash) {
                continue;
            }
            changes.transitions.extend(transition(old, Some(&entry), at));
            changes.upserts.push(entry);
        }
        for (key, old) in &self.entries {
            if covers(key) && !seen.contains(key) {
                changes.transitions.extend(transition(Some(old), None, at));
                changes.gone.push(key.clone());
            }
        }
        changes
    }

    /// Carries out what [`State::compare`] found.
    pub fn apply(&mut self, changes: &Changes) {
        for key in &changes.gone {
            self.remove(key);
        }
        for entry in &changes.upserts {
            self.upsert(entry.clone());
        }
    }
}

/// The transition between two contents of one key; `None` for inventory and when only evidence moved.
fn transition(old: Option<&Entry>, new: Option<&Entry>, at: i64) -> Option<Transition> {
    let finding = |entry: Option<&Entry>| match entry.map(|entry| &entry.body) {
        Some(Body::Finding(finding)) => Some(finding.clone()),
        _ => None,
    };
    let (before, after) = (finding(old), finding(new));
    let from: TransitionEnd = before.as_ref().map(|finding| finding.verdict);
    let to: TransitionEnd = after.as_ref().map(|finding| finding.verdict);
    if from == to {
        return None;
    }
    let key = new.or(old)?.key.clone();
    let said = after.as_ref().or(before.as_ref());
    Some(Transition {
        number: 0,
        key,
        from,
        to,
        reason: after.as_ref().map(|finding| finding.reason.clone()).unwrap_or_default(),
        severity: said.map_or(Severity::Info, |finding| finding.severity),
        because: said.map(super::Finding::deciding).unwrap_or_default(),
        at,
    })
}
