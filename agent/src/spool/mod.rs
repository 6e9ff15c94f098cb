//! The spool: what this node is, what the collector holds of it, and the history it has not acknowledged.
//!
//! State, not events: an entry is unsent when it differs from what the collector holds, so a change that is undone before
//! it was sent is never sent, and the spool's size follows the node, not the length of an outage. Transitions keep the
//! history of such flaps in a bounded ring. [`Spool`] is memory and pure; what of it survives a crash is an [`Image`], brought up to
//! date by one [`Save`] after another. Must not know the wire, time, files or sockets.

pub mod file;
mod history;
mod image;
mod refusal;
pub mod writer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_checks::entries::{Changes, Digest, Entry, Hash, Key, State, Transition};

use history::History;
pub use image::{Image, Position, Remote, Row, Save};
use refusal::Refused;
pub use refusal::{Refusal, RefusedEntry};

/// The most transitions kept while nobody acknowledges them.
pub const MAX_TRANSITIONS: usize = 10_000;

/// Something the collector does not hold as it is here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unsent<'a> {
    /// An entry that is new or differs.
    Upsert(&'a Entry),
    /// A key that is no longer there.
    Gone(&'a Key),
}

/// What one message carries. Immutable once in flight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Entries, by key and content.
    pub upserts: Vec<(Key, Hash)>,
    /// Keys reported gone.
    pub gone: Vec<Key>,
    /// The highest transition number in it; 0 for none.
    pub transitions_to: u64,
}

/// The agent's replicated state with its bookkeeping.
#[derive(Debug)]
pub struct Spool {
    epoch: u64,
    seq: u64,
    last_acked: u64,
    state: State,
    /// Content the collector will not store; it leaves the digest and is not resent until its hash changes, or all is asked for.
    refused: BTreeMap<Key, Refused>,
    remote: BTreeMap<Key, Remote>,
    unsent: BTreeSet<Key>,
    /// The digest of what is here without refused content.
    digest: Digest,
    in_flight: VecDeque<(u64, Batch)>,
    /// What was said to be here in the last Hello.
    announced: BTreeMap<Key, Hash>,
    /// The last part of a snapshot is neither acknowledged nor lost yet.
    snapshot: bool,
    /// Sequence number of the last part of the snapshot under way, once it is known.
    snapshot_ends: Option<u64>,
    /// Keys the collector may hold that the snapshot under way takes from it.
    displaced: BTreeSet<Key>,
    history: History,
    /// The last good policy, encoded as it came.
    policy: Vec<u8>,
    keeping: Keeping,
}

/// What a file is to be told. Without a file nothing is noted.
#[derive(Debug, Default)]
struct Keeping {
    file: bool,
    /// Keys whose rows differ from the file's.
    dirty: BTreeSet<Key>,
    /// The file's content is to be replaced as a whole.
    replace: bool,
    /// Position, history or policy moved.
    moved: bool,
    /// What the save under way covers, in case it fails.
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    keys: BTreeSet<Key>,
    replace: bool,
    history_to: u64,
}

impl Spool {
    /// An empty spool. `epoch` is random: it tells the collector that what it knew of sequence numbers is void.
    pub fn in_memory(epoch: u64) -> Self {
        Self::with_ring(epoch, MAX_TRANSITIONS)
    }

    /// An empty spool that keeps at most `ring` transitions.
    pub fn with_ring(epoch: u64, ring: usize) -> Self {
        Self {
            epoch,
            seq: 0,
            last_acked: 0,
            state: State::default(),
            refused: BTreeMap::new(),
            remote: BTreeMap::new(),
            unsent: BTreeSet::new(),
            digest: Digest::EMPTY,
            in_flight: VecDeque::new(),
            announced: BTreeMap::new(),
            snapshot: false,
            snapshot_ends: None,
            displaced: BTreeSet::new(),
            history: History::new(ring),
            policy: Vec::new(),
            keeping: Keeping::default(),
        }
    }

    /// What a file held, as it is to go on, kept in that file. `draw` is a fresh uniform draw: transitions are numbered from far behind
    /// the last number of the file, so that numbers given out by a life that could not save them are not given out again.
    pub fn restore(image: Image, draw: u64) -> Self {
        Self::restore_with_ring(image, draw, MAX_TRANSITIONS)
    }

    /// The same, keeping at most `ring` transitions.
    pub fn restore_with_ring(image: Image, draw: u64, ring: usize) -> Self {
        let Image { position, rows, transitions } = image;
        let mut spool = Self::with_ring(position.epoch, ring);
        spool.seq = position.seq.max(position.last_acked);
        spool.last_acked = position.last_acked;
        spool.policy = position.policy;
        for (key, row) in rows {
            if let Some(entry) = row.entry {
                if row.refused {
                    spool.refused.insert(key.clone(), Refused { hash: entry.hash, why: Refusal::Unknown });
                } else {
                    spool.digest.add(&key, &entry.hash);
                }
                spool.state.upsert(entry);
            }
            if let Some(remote) = row.remote {
                spool.remote.insert(key.clone(), remote);
            }
            spool.mark(&key);
        }
        let next = position.next_transition.max(1).saturating_add(draw >> 24);
        spool.history.restore(transitions.into_values(), next, position.truncated);
        spool.keeping.file = true;
        spool.keeping.moved = true;
        spool
    }

    /// From now on what changes is to be saved, beginning with everything; transitions leave only once they are.
    pub fn keep_in_file(&mut self) {
        self.keeping = Keeping { file: true, replace: true, ..Keeping::default() };
        self.history.keep(true);
    }

    /// The file that is about to be replaced held this much history of a life that this one does not go on from.
    pub fn lost(&mut self, transitions: u64) {
        self.history.lose(transitions);
        self.keeping.moved = true;
    }

    /// From now on nothing is saved, and nothing waits for it.
    pub fn keep_in_memory(&mut self) {
        self.keeping = Keeping::default();
        self.history.keep(false);
    }

    /// Is there something to save and no save under way.
    pub fn has_unsaved(&self) -> bool {
        let keeping = &self.keeping;
        keeping.file && keeping.under_way.is_none() && (keeping.replace || keeping.moved || !keeping.dirty.is_empty())
    }

    /// Does a transition of high severity wait until it is durable.
    pub fn has_urgent(&self) -> bool {
        self.keeping.file && self.history.has_urgent()
    }

    /// What is to be saved now. [`Self::saved`] or [`Self::not_saved`] tells what came of it; until then there is no other.
    pub fn save(&mut self) -> Option<Save> {
        if !self.has_unsaved() {
            return None;
        }
        let replace = std::mem::take(&mut self.keeping.replace);
        let dirty = std::mem::take(&mut self.keeping.dirty);
        self.keeping.moved = false;
        let transitions: Vec<Transition> =
            if replace { self.history.all().cloned().collect() } else { self.history.unsaved().cloned().collect() };
        let flying: BTreeSet<&Key> =
            self.in_flight.iter().flat_map(|(_, batch)| batch.upserts.iter().map(|(key, _)| key).chain(&batch.gone)).collect();
        let row = |key: &Key| (key.clone(), self.row(key, flying.contains(key)));
        let rows = if replace { self.all_keys().iter().map(row).collect() } else { dirty.iter().map(row).collect() };
        let position = Position {
            epoch: self.epoch,
            seq: self.seq,
            last_acked: self.last_acked,
            next_transition: self.history.next_number(),
            truncated: self.history.truncated_at_worst(),
            policy: self.policy.clone(),
        };
        let save = Save { replace, rows, transitions, transitions_from: self.history.first_number(), position };
        let history_to = self.history.saving();
        self.keeping.under_way = Some(UnderWay { keys: dirty, replace, history_to });
        Some(save)
    }

    /// The save under way is durable.
    pub fn saved(&mut self) {
        if let Some(done) = self.keeping.under_way.take() {
            self.history.saved(done.history_to);
        }
    }

    /// The save under way failed: what it covered is to be saved still.
    pub fn not_saved(&mut self) {
        if let Some(failed) = self.keeping.under_way.take() {
            self.keeping.dirty.extend(failed.keys);
            self.keeping.replace |= failed.replace;
            self.keeping.moved = true;
            self.history.not_saved();
        }
    }

    /// The last good policy, an encoded `holdfast.v1.Policy`; empty for none.
    pub fn policy(&self) -> &[u8] {
        &self.policy
    }

    /// Keeps a policy that was applied.
    pub fn set_policy(&mut self, encoded: Vec<u8>) {
        self.policy = encoded;
        self.keeping.moved = true;
    }

    /// Changes only when the spool was lost.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last sequence number given out.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last sequence number the collector acknowledged.
    pub fn last_acked(&self) -> u64 {
        self.last_acked
    }

    /// The current entries, refused ones included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The digest of the current entries without refused ones.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many entries the digest counts.
    pub fn entries(&self) -> usize {
        self.state.len() - self.refused.len()
    }

    /// How many entries the collector refused as they are now.
    pub fn refused_entries(&self) -> usize {
        self.refused.len()
    }

    /// Entries the collector refused as they are now, in key order.
    pub fn all_refused(&self) -> impl Iterator<Item = RefusedEntry<'_>> {
        self.refused.iter().map(|(key, refused)| RefusedEntry { key, why: refused.why })
    }

    /// Transitions of this epoch that fell off the ring before they were acknowledged.
    pub fn truncated(&self) -> u64 {
        self.history.truncated()
    }

    /// How many messages wait for their acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many entries and transitions are still to be sent.
    pub fn queued(&self) -> usize {
        self.unsent.len() + self.history.waiting()
    }

    /// Is there something that may be sent.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.history.unsent().next().is_some()
    }

    /// Does the collector, once everything in flight has arrived, hold other entries than there are here.
    pub fn has_unsent_entries(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// What the collector does not hold as it is here, in key order.
    pub fn unsent(&self) -> impl Iterator<Item = Unsent<'_>> {
        self.unsent.iter().map(|key| match self.effective_entry(key) {
            Some(entry) => Unsent::Upsert(entry),
            None => Unsent::Gone(key),
        })
    }

    /// Transitions not sent on this connection that may be, oldest first.
    pub fn unsent_transitions(&self) -> impl Iterator<Item = &Transition> {
        self.history.unsent()
    }

    /// Every entry a snapshot holds: all but the refused ones.
    pub fn snapshot_entries(&self) -> impl Iterator<Item = &Entry> {
        self.state.iter().filter(|entry| !self.is_refused(entry))
    }

    /// Takes in what a scan changed and numbers its transitions.
    pub fn apply(&mut self, changes: Changes) {
        for key in changes.gone {
            let left = self.effective(&key);
            self.state.remove(&key);
            self.refused.remove(&key);
            self.settle(&key, left);
        }
        for entry in changes.upserts {
            let (key, left) = (entry.key.clone(), self.effective(&entry.key));
            if self.refused.get(&key).is_some_and(|refused| refused.hash != entry.hash) {
                self.refused.remove(&key);
            }
            self.state.upsert(entry);
            self.settle(&key, left);
        }
        for transition in changes.transitions {
            self.history.push(transition);
        }
    }

    /// Notes what a Hello says is here, so that "in sync" is believed for exactly that.
    pub fn announce(&mut self) {
        self.announced = self.snapshot_entries().map(|entry| (entry.key.clone(), entry.hash)).collect();
    }

    /// The collector stands at `seq`: nothing that follows has that number or a lower one. Lower than what is known here is not believed.
    pub fn positioned(&mut self, seq: u64) {
        if seq >= self.last_acked {
            self.seq = self.seq.max(seq);
            self.last_acked = seq;
            self.keeping.moved = true;
        }
    }

    /// The collector holds exactly what was announced.
    pub fn in_sync(&mut self) {
        let announced = std::mem::take(&mut self.announced);
        self.expect_remote(announced);
    }

    /// The collector does not hold what was announced; nothing more is known than before.
    pub fn not_in_sync(&mut self) {
        self.announced = BTreeMap::new();
    }

    /// A snapshot of everything here replaces what the collector holds. Each part is put in flight as it is sent;
    /// [`Self::snapshot_sent`] names the last.
    pub fn begin_snapshot(&mut self) {
        let all: BTreeMap<Key, Hash> = self.snapshot_entries().map(|entry| (entry.key.clone(), entry.hash)).collect();
        self.displaced.extend(self.remote.keys().filter(|key| !all.contains_key(key)).cloned());
        self.expect_remote(all);
        self.snapshot = true;
        self.snapshot_ends = None;
    }

    /// The last part of the snapshot went out under `seq`.
    pub fn snapshot_sent(&mut self, seq: u64) {
        self.snapshot_ends = Some(seq);
    }

    /// Puts a message in flight and gives it its sequence number, which no other content will ever have.
    pub fn send(&mut self, batch: Batch) -> u64 {
        self.seq += 1;
        self.keeping.moved = true;
        for (key, hash) in &batch.upserts {
            self.remote.insert(key.clone(), Remote::Holds(*hash));
        }
        for key in &batch.gone {
            self.remote.remove(key);
        }
        for key in batch.upserts.iter().map(|(key, _)| key).chain(&batch.gone) {
            self.touch(key);
        }
        self.history.sent_to(batch.transitions_to);
        self.in_flight.push_back((self.seq, batch));
        self.seq
    }

    /// Everything up to `seq` is durable on the collector.
    pub fn acked(&mut self, seq: u64) {
        while let Some((sent, batch)) = self.in_flight.front() {
            if *sent > seq {
                break;
            }
            self.last_acked = *sent;
            self.history.acked_to(batch.transitions_to);
            if self.keeping.file {
                self.keeping.dirty.extend(batch.upserts.iter().map(|(key, _)| key.clone()).chain(batch.gone.iter().cloned()));
                self.keeping.moved = true;
            }
            self.in_flight.pop_front();
        }
        if self.snapshot_ends.is_some_and(|last| last <= seq) {
            self.snapshot = false;
            self.snapshot_ends = None;
            if self.keeping.file {
                // They were saved as unsure.
                self.keeping.dirty.extend(self.all_keys());
                self.keeping.dirty.append(&mut self.displaced);
            }
            self.displaced.clear();
        }
    }

    /// The collector will not store `key` with content `hash`: it leaves the digest and is not resent as it is.
    pub fn refused(&mut self, key: &Key, hash: Hash, why: Refusal) {
        let left = self.effective(key);
        if self.remote.get(key) == Some(&Remote::Holds(hash)) {
            self.remote.remove(key);
        }
        if self.state.get(key).is_some_and(|entry| entry.hash == hash) {
            self.refused.insert(key.clone(), Refused { hash, why });
        }
        self.settle(key, left);
    }

    /// The collector wants all of it: what one refused before, another one or a later version may take, and one that lied about it must not
    /// be believed by the next.
    pub fn forget_refusals(&mut self) {
        let keys: Vec<(Key, Option<Hash>)> = self.refused.keys().map(|key| (key.clone(), self.effective(key))).collect();
        self.refused.clear();
        for (key, left) in keys {
            self.settle(&key, left);
        }
    }

    /// The connection is lost: what was in flight may or may not have arrived, and is sent again under new numbers.
    pub fn reset_in_flight(&mut self) {
        let mut touched: Vec<Key> = Vec::new();
        if std::mem::take(&mut self.snapshot) {
            touched.extend(self.remote.keys().cloned());
            touched.extend(std::mem::take(&mut self.displaced));
        }
        self.snapshot_ends = None;
        for (_, batch) in self.in_flight.drain(..) {
            touched.extend(batch.upserts.into_iter().map(|(key, _)| key).chain(batch.gone));
        }
        for key in touched {
            self.remote.insert(key.clone(), Remote::Unsure);
            self.touch(&key);
        }
        self.announced = BTreeMap::new();
        self.history.reset();
    }

    /// The entry under `key` unless it was refused as it is.
    fn effective_entry(&self, key: &Key) -> Option<&Entry> {
        self.state.get(key).filter(|entry| !self.is_refused(entry))
    }

    fn is_refused(&self, entry: &Entry) -> bool {
        self.refused.get(&entry.key).is_some_and(|refused| refused.hash == entry.hash)
    }

    fn effective(&self, key: &Key) -> Option<Hash> {
        self.effective_entry(key).map(|entry| entry.hash)
    }

    /// Brings digest and unsent mark of `key` up to date after its effective content was `left`.
    fn settle(&mut self, key: &Key, left: Option<Hash>) {
        if let Some(hash) = left {
            self.digest.remove(key, &hash);
        }
        if let Some(hash) = self.effective(key) {
            self.digest.add(key, &hash);
        }
        self.touch(key);
    }

    /// What is here or there under `key` moved.
    fn touch(&mut self, key: &Key) {
        if self.keeping.file {
            self.keeping.dirty.insert(key.clone());
        }
        self.mark(key);
    }

    /// What a file is to hold of `key`. In flight means unsure: after a crash nobody knows whether it arrived.
    fn row(&self, key: &Key, flying: bool) -> Option<Row> {
        let remote = self.remote.get(key).copied();
        let displaced = self.displaced.contains(key);
        // No part of a snapshot need have arrived, and then what was there before still is.
        let unsure = flying || displaced || self.snapshot && remote.is_some();
        let remote = if unsure { Some(Remote::Unsure) } else { remote };
        let entry = self.state.get(key).cloned();
        let refused = entry.as_ref().is_some_and(|entry| self.is_refused(entry));
        (entry.is_some() || remote.is_some()).then_some(Row { entry, remote, refused })
    }

    fn all_keys(&self) -> BTreeSet<Key> {
        let unseen = self.in_flight.iter().flat_map(|(_, batch)| &batch.gone).chain(&self.displaced);
        self.state.iter().map(|entry| &entry.key).chain(self.remote.keys()).chain(unseen).cloned().collect()
    }

    fn mark(&mut self, key: &Key) {
        let same = match (self.remote.get(key), self.effective(key)) {
            (None, None) => true,
            (Some(Remote::Holds(there)), Some(here)) => *there == here,
            _ => false,
        };
        if same {
            self.unsent.remove(key);
        } else {
            self.unsent.insert(key.clone());
        }
    }

    /// Believes that the collector holds exactly `held`.
    fn expect_remote(&mut self, held: BTreeMap<Key, Hash>) {
        let remote = held.into_iter().map(|(key, hash)| (key, Remote::Holds(hash))).collect();
        let before = std::mem::replace(&mut self.remote, remote);
        let keys: BTreeSet<Key> = self.all_keys().into_iter().chain(before.keys().cloned()).collect();
        self.unsent.clear();
        for key in keys {
            if before.get(&key) == self.remote.get(&key) {
                self.mark(&key);
            } else {
                self.touch(&key);
            }
        }
    }
}
