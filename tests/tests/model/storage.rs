//! What is behind the collector's machine: something that commits, and can be looked into. In memory here, by the rules the real store
//! is held to; `sqlite` has that.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Digest, Hash, Key, Kind, TransitionEnd};
use holdfast_collector::store::ingest::{NodeWrite, Progress, Refusal, RefusalCode, Written};
use holdfast_collector::store::nodes::{NodeIdentity, Opened, Origin, Resume, SessionStart};

/// What a session wants of the store.
#[derive(Debug)]
pub(crate) enum Job {
    Open(Box<SessionStart>),
    Write(Box<NodeWrite>),
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Done {
    Opened(Opened),
    Written(u64, Written),
}

/// A transition as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) key: Key,
    pub(crate) from: TransitionEnd,
    pub(crate) to: TransitionEnd,
}

/// Everything that is stored of the node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    pub(crate) entries: BTreeMap<Key, Hash>,
    pub(crate) digest: Digest,
    /// By epoch and number.
    pub(crate) history: BTreeMap<(u64, u64), Told>,
    pub(crate) truncated: u64,
}

/// Commits, and says what is committed.
pub(crate) trait Storage {
    fn identity(&self) -> NodeIdentity;
    /// Carries out all of it or, in a crash, nothing: what was not handed over by then is lost.
    fn commit(&mut self, jobs: Vec<Job>) -> Vec<Done>;
    fn content(&self) -> Content;
    /// Is this transition committed, or known to be no news. `None`: too expensive to ask all the time.
    fn has(&self, epoch: u64, number: u64) -> Option<bool>;
    /// Does it refuse to store this.
    fn refuses(&self, key: &Key, hash: &Hash) -> bool;
    /// Takes a copy of everything, for [`Self::bring_back`].
    fn back_up(&mut self) {}
    /// Goes back to the copy; false when there is none.
    fn bring_back(&mut self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Default)]
struct Tables {
    session: i64,
    /// `None` while a snapshot is owed.
    epoch: Option<u64>,
    seq: u64,
    digest: Digest2,
    entries: BTreeMap<Key, Hash>,
    refused: BTreeMap<Key, Hash>,
    history: BTreeMap<(u64, u64), Told>,
    /// What was said of a finding last.
    last: BTreeMap<Key, (u64, TransitionEnd)>,
    no_news: BTreeSet<(u64, u64)>,
    truncated: u64,
}

/// [`Digest`] with a beginning.
#[derive(Debug, Clone, Copy)]
struct Digest2(Digest);

impl Default for Digest2 {
    fn default() -> Self {
        Self(Digest::EMPTY)
    }
}

/// Everything in memory. What was committed stays, whatever happens to the collector.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    now: Tables,
    copy: Option<Tables>,
    /// It refuses one finding in eight.
    refusing: bool,
}

impl Memory {
    pub(crate) fn new(refusing: bool) -> Self {
        Self { refusing, ..Self::default() }
    }
}

impl Storage for Memory {
    fn identity(&self) -> NodeIdentity {
        NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "n".into(), origin: Origin::Agent }
    }

    fn commit(&mut self, jobs: Vec<Job>) -> Vec<Done> {
        let refusing = self.refusing;
        let tables = &mut self.now;
        let done = jobs.into_iter().map(|job| match job {
            Job::Open(start) => Done::Opened(tables.open(&start)),
            Job::Write(write) => Done::Written(write.seq, tables.write(&write, refusing)),
        });
        done.collect()
    }

    fn content(&self) -> Content {
        Content {
            entries: self.now.entries.clone(),
            digest: self.now.digest.0,
            history: self.now.history.clone(),
            truncated: self.now.truncated,
        }
    }

    fn has(&self, epoch: u64, number: u64) -> Option<bool> {
        Some(self.now.history.contains_key(&(epoch, number)) || self.now.no_news.contains(&(epoch, number)))
    }

    fn refuses(&self, key: &Key, hash: &Hash) -> bool {
        self.refusing && refuses(key, hash)
    }

    fn back_up(&mut self) {
        self.copy = Some(self.now.clone());
    }

    fn bring_back(&mut self) -> bool {
        let Some(copy) = &self.copy else { return false };
        self.now = copy.clone();
        true
    }
}

fn refuses(key: &Key, hash: &Hash) -> bool {
    key.kind() == Kind::Finding && hash.0[0] < 32
}

impl Tables {
    fn open(&mut self, start: &SessionStart) -> Opened {
        let known = start.last_acked..=start.sent.unwrap_or(start.last_acked);
        let resume = if self.digest.0 == start.digest {
            Resume::InSync
        } else if self.epoch == Some(start.epoch) && known.contains(&self.seq) {
            Resume::Delta
        } else {
            Resume::Full
        };
        let here = if self.epoch == Some(start.epoch) { self.seq } else { 0 };
        let position = match (resume, start.sent) {
            (Resume::InSync | Resume::Delta, Some(sent)) => here.max(sent),
            _ => start.last_acked,
        };
        self.session += 1;
        let known = self.epoch == Some(start.epoch) && resume != Resume::Full;
        (self.epoch, self.seq) = if known { (self.epoch, position) } else { (None, 0) };
        Opened { node_id: 1, session: self.session, resume, position, digest: self.digest.0 }
    }

    fn write(&mut self, write: &NodeWrite, refusing: bool) -> Written {
        if write.session != self.session {
            return Written::Fenced;
        }
        if self.epoch == Some(write.epoch) && write.seq <= self.seq {
            let again = write.upserts.iter().filter(|entry| self.refused.get(&entry.key) == Some(&entry.hash));
            let refused = write.refused.iter().cloned().chain(again.map(|entry| refusal(&entry.key, entry.hash))).collect();
            return Written::Committed { refused, misnamed: false, digest: self.digest.0 };
        }
        self.remember(write);
        let mut refused = write.refused.clone();
        let malformed = write.refused.iter().filter_map(|refusal| Key::parse(Kind::Finding, &refusal.key));
        for key in malformed.chain(write.gone.iter().cloned()) {
            self.remove(&key);
        }
        for entry in &write.upserts {
            if refusing && refuses(&entry.key, &entry.hash) {
                self.remove(&entry.key);
                self.refused.insert(entry.key.clone(), entry.hash);
                refused.push(refusal(&entry.key, entry.hash));
                continue;
            }
            self.refused.remove(&entry.key);
            self.remove(&entry.key);
            self.digest.0.add(&entry.key, &entry.hash);
            self.entries.insert(entry.key.clone(), entry.hash);
        }
        if let Progress::Snapshot { keep } = &write.progress {
            let left: Vec<Key> = self.entries.keys().filter(|key| !keep.contains(key)).cloned().collect();
            left.iter().for_each(|key| self.remove(key));
        }
        self.truncated = self.truncated.max(write.truncated_transitions);
        if write.progress != Progress::Partial {
            (self.epoch, self.seq) = (Some(write.epoch), write.seq);
        }
        Written::Committed { refused, misnamed: false, digest: self.digest.0 }
    }

    /// History. An agent that lost its spool finds everything new again: that is no news of what was known before, and of what has
    /// another verdict by now it is a change.
    fn remember(&mut self, write: &NodeWrite) {
        for transition in &write.transitions {
            let id = (write.epoch, transition.number);
            if self.history.contains_key(&id) {
                continue;
            }
            let before = self.last.insert(transition.key.clone(), (write.epoch, transition.to));
            let known = before.filter(|(epoch, _)| *epoch != write.epoch && transition.from.is_none()).and_then(|(_, verdict)| verdict);
            if known.is_some() && known == transition.to {
                self.no_news.insert(id);
            } else {
                let told = Told { key: transition.key.clone(), from: known.or(transition.from), to: transition.to };
                self.history.insert(id, told);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(hash) = self.entries.remove(key) {
            self.digest.0.remove(key, &hash);
        }
    }
}

fn refusal(key: &Key, hash: Hash) -> Refusal {
    Refusal { kind: i32::from(key.kind().number()), key: key.as_str().to_owned(), hash: hash.0.to_vec(), code: RefusalCode::Quota }
}
