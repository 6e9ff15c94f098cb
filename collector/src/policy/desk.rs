//! Where sessions learn what their agents are to hold, and leave what they made of it. Nothing here waits or reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::file::Policies;
use crate::store::policy::PolicyNote;

/// How the file was last read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reload {
    /// The file; `None`: the collector has none.
    pub path: Option<String>,
    /// Why its present content is not used; `None` when it is.
    pub problem: Option<String>,
    /// When what holds was read, Unix milliseconds.
    pub since: i64,
}

/// Shared by sessions, pages and the task that keeps it.
#[derive(Debug)]
pub struct Desk {
    wanted: watch::Sender<Arc<Policies>>,
    reload: Mutex<Reload>,
    /// What is not stored yet, the last word of each node.
    notes: Mutex<BTreeMap<i64, PolicyNote>>,
    noted: Notify,
}

impl Default for Desk {
    fn default() -> Self {
        Self::new(Policies::default(), Reload::default())
    }
}

impl Desk {
    /// Beginning with what was read at start.
    pub fn new(policies: Policies, reload: Reload) -> Self {
        let wanted = watch::Sender::new(Arc::new(policies));
        Self { wanted, reload: Mutex::new(reload), notes: Mutex::default(), noted: Notify::new() }
    }

    /// What holds now.
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.wanted.borrow())
    }

    /// Follows what holds.
    pub fn follow(&self) -> watch::Receiver<Arc<Policies>> {
        self.wanted.subscribe()
    }

    /// How the file was last read.
    pub fn reload(&self) -> Reload {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these hold; `false` when they did before.
    pub fn put(&self, policies: Policies, at: i64) -> bool {
        let other = self.wanted.send_if_modified(|wanted| {
            let other = **wanted != policies;
            if other {
                *wanted = Arc::new(policies);
            }
            other
        });
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        if reload.problem.take().is_some() || other {
            reload.since = at;
        }
        other
    }

    /// The file is not usable as it is now: what held still does.
    pub fn keep(&self, problem: String) {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).problem = Some(problem);
    }

    /// A session's word about its node; an older word that is not stored yet is replaced.
    pub fn note(&self, note: PolicyNote) {
        let mut notes = self.lock();
        if notes.get(&note.node_id).is_none_or(|other| other.session <= note.session) {
            notes.insert(note.node_id, note);
        }
        drop(notes);
        self.noted.notify_one();
    }

    /// Something is to be stored.
    pub(super) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// What is to be stored.
    pub(super) fn take(&self) -> Vec<PolicyNote> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    /// It could not be stored: it stays, unless there is a newer word.
    pub(super) fn give_back(&self, notes: Vec<PolicyNote>) {
        let mut kept = self.lock();
        for note in notes {
            kept.entry(note.node_id).or_insert(note);
        }
        drop(kept);
        self.noted.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, PolicyNote>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
