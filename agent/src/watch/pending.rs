//! Groups waiting to be read again: a set, so that a storm of changes is one reading and the queue is bounded by itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_checks::facts::Group;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything.
    All,
    /// These.
    Groups(BTreeSet<Group>),
}

#[derive(Debug, Default)]
struct Inner {
    all: bool,
    groups: BTreeSet<Group>,
    watched: Option<Vec<(PathBuf, BTreeSet<Group>)>>,
    closed: bool,
}

/// Shared between who sees changes and who reads.
#[derive(Debug, Default)]
pub struct Pending {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Pending {
    /// Asks for groups to be read again.
    pub fn add(&self, groups: &BTreeSet<Group>) {
        self.lock().groups.extend(groups);
        self.changed.notify_all();
    }

    /// Asks for everything to be read again.
    pub fn add_all(&self) {
        self.lock().all = true;
        self.changed.notify_all();
    }

    /// Ends both sides.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Has it been closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for something to read. `None`: closed.
    pub fn take(&self) -> Option<Wanted> {
        let waiting = |inner: &mut Inner| !inner.closed && !inner.all && inner.groups.is_empty();
        let mut inner = self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return None;
        }
        let groups = std::mem::take(&mut inner.groups);
        Some(if std::mem::take(&mut inner.all) { Wanted::All } else { Wanted::Groups(groups) })
    }

    /// Tells which directories decide facts now.
    pub fn set_watched(&self, watched: Vec<(PathBuf, BTreeSet<Group>)>) {
        self.lock().watched = Some(watched);
    }

    pub(super) fn take_watched(&self) -> Option<Vec<(PathBuf, BTreeSet<Group>)>> {
        self.lock().watched.take()
    }

    /// Waits at most `timeout`, less when closed.
    pub fn wait_closed(&self, timeout: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), timeout, |inner| !inner.closed));
    }

    /// A holder that panicked left a set of hints: as good as any.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
