//! The spool: what this node is, what the collector holds of it, and the history it has not acknowledged.
//!
//! State, not events: an entry is unsent when it differs from what the collector holds, so a change that is undone before
//! it was sent is never sent, and the spool's size follows the node, not the length of an outage. Transitions keep the
//! history of such flaps in a bounded ring. Kept in memory in this version; a file behind the same operations comes next.
//! Must not know the wire, time or sockets.

mod history;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_checks::entries::{Changes, Digest, Entry, Hash, Key, State, Transition};

use history::History;

/// The most transitions kept while nobody acknowledges them.
pub const MAX_TRANSITIONS: usize = 10_000;

/// What the collector holds under a key, as far as this side can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    /// This content, once everything in flight has arrived.
    Holds(Hash),
    /// A message about this key was lost with its connection: the collector may or may not have applied it.
    Unsure,
}

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
    /// Content the collector will not store; it leaves the digest and is not resent until its hash changes.
    refused: BTreeMap<Key, Hash>,
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
    history: History,
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
            history: History::new(ring),
        }
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
        self.unsent.len() + self.history.unsent().count()
    }

    /// Is there something to send.
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

    /// Transitions not sent on this connection, oldest first.
    pub fn unsent_transitions(&self) -> impl Iterator<Item = &Transition> {
        self.history.unsent()
    }

    /// Every entry a snapshot holds: all but the refused ones.
    pub fn snapshot_entries(&self) -> impl Iterator<Item = &Entry> {
        self.state.iter().filter(|entry| self.refused.get(&entry.key) != Some(&entry.hash))
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
            if self.refused.get(&key).is_some_and(|refused| *refused != entry.hash) {
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
        let all = self.snapshot_entries().map(|entry| (entry.key.clone(), entry.hash)).collect();
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
        for (key, hash) in &batch.upserts {
            self.remote.insert(key.clone(), Remote::Holds(*hash));
        }
        for key in &batch.gone {
            self.remote.remove(key);
        }
        for key in batch.upserts.iter().map(|(key, _)| key).chain(&batch.gone) {
            self.mark(key);
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
            self.in_flight.pop_front();
        }
        if self.snapshot_ends.is_some_and(|last| last <= seq) {
            self.snapshot = false;
            self.snapshot_ends = None;
        }
    }

    /// The collector will not store `key` with content `hash`: it leaves the digest and is not resent as it is.
    pub fn refused(&mut self, key: &Key, hash: Hash) {
        let left = self.effective(key);
        if self.remote.get(key) == Some(&Remote::Holds(hash)) {
            self.remote.remove(key);
        }
        if self.state.get(key).is_some_and(|entry| entry.hash == hash) {
            self.refused.insert(key.clone(), hash);
        }
        self.settle(key, left);
    }

    /// The connection is lost: what was in flight may or may not have arrived, and is sent again under new numbers.
    pub fn reset_in_flight(&mut self) {
        let mut touched: Vec<Key> = Vec::new();
        if std::mem::take(&mut self.snapshot) {
            touched.extend(self.remote.keys().cloned());
        }
        self.snapshot_ends = None;
        for (_, batch) in self.in_flight.drain(..) {
            touched.extend(batch.upserts.into_iter().map(|(key, _)| key).chain(batch.gone));
        }
        for key in touched {
            self.remote.insert(key.clone(), Remote::Unsure);
            self.mark(&key);
        }
        self.announced = BTreeMap::new();
        self.history.reset();
    }

    /// The entry under `key` unless it was refused as it is.
    fn effective_entry(&self, key: &Key) -> Option<&Entry> {
        let entry = self.state.get(key)?;
        (self.refused.get(key) != Some(&entry.hash)).then_some(entry)
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
        self.mark(key);
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
        self.remote = held.into_iter().map(|(key, hash)| (key, Remote::Holds(hash))).collect();
        let keys: BTreeSet<Key> = self.state.iter().map(|entry| entry.key.clone()).chain(self.remote.keys().cloned()).collect();
        self.unsent.clear();
        for key in keys {
            self.mark(&key);
        }
    }
}
