//! Groups waiting to be read again: a set, so that a storm of changes is one reading and the queue is bounded by itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Group, Observed};

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything.
    All,
    /// These.
    Groups(BTreeSet<Group>),
}

impl Wanted {
    /// Is `group` read.
    pub fn includes(&self, group: Group) -> bool {
        match self {
            Self::All => true,
            Self::Groups(groups) => groups.contains(&group),
        }
    }
}

/// Which processes are not what they were when they were last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These, by pid. New ones need not be among them.
    Processes(BTreeSet<i64>),
    /// Nobody knows which: the kernel had no room for what it told.
    All,
}

impl Default for Touched {
    fn default() -> Self {
        Self::Processes(BTreeSet::new())
    }
}

impl Touched {
    /// The most that are told by pid.
    const MAX: usize = 16_384;

    fn extend(&mut self, more: Self) {
        match (&mut *self, more) {
            (Self::Processes(pids), Self::Processes(more)) if pids.len().saturating_add(more.len()) <= Self::MAX => pids.extend(more),
            _ => *self = Self::All,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    all: bool,
    groups: BTreeSet<Group>,
    /// When the first of `groups` was noticed.
    first: Option<Instant>,
    /// The same of what was taken last.
    noticed: Option<Instant>,
    touched: Touched,
    process_events: Option<Observed<bool>>,
    watched: Option<Vec<(PathBuf, BTreeSet<Group>)>>,
    full_pass: Option<FullPass>,
    closed: bool,
}

/// The time between full passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullPass {
    /// As configured here.
    Own,
    /// As the collector's policy has it.
    Every(Duration),
}

impl Inner {
    fn notice(&mut self, at: Instant) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }
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
        self.add_noticed(groups, Instant::now());
    }

    /// Asks for groups to be read again because of what was noticed a moment ago.
    pub fn add_noticed(&self, groups: &BTreeSet<Group>, at: Instant) {
        let mut inner = self.lock();
        inner.groups.extend(groups);
        inner.notice(at);
        self.changed.notify_all();
    }

    /// Asks for `groups` to be read again because of processes; `touched` says which of those already read changed.
    pub fn add_processes(&self, groups: &BTreeSet<Group>, touched: Touched) {
        let mut inner = self.lock();
        inner.groups.extend(groups);
        inner.touched.extend(touched);
        inner.notice(Instant::now());
        self.changed.notify_all();
    }

    /// The processes that changed since this was last asked.
    pub fn take_touched(&self) -> Touched {
        std::mem::take(&mut self.lock().touched)
    }

    /// Tells how processes are heard of from now on.
    pub fn set_process_events(&self, told: Observed<bool>) {
        self.lock().process_events = Some(told);
    }

    /// How processes are heard of, when that changed since this was last asked.
    pub fn take_process_events(&self) -> Option<Observed<bool>> {
        self.lock().process_events.take()
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
        self.take_until(None)
    }

    /// Waits for something to read, no longer than until then: what is read then may be nothing. `None`: closed.
    pub fn take_until(&self, until: Option<Instant>) -> Option<Wanted> {
        let waiting = |inner: &mut Inner| !inner.closed && !inner.all && inner.groups.is_empty();
        let mut inner = match until {
            None => self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let timeout = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout_while(self.lock(), timeout, waiting).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        if inner.closed {
            return None;
        }
        inner.noticed = inner.first.take();
        let groups = std::mem::take(&mut inner.groups);
        Some(if std::mem::take(&mut inner.all) { Wanted::All } else { Wanted::Groups(groups) })
    }

    /// When the first of what was taken last was noticed; `None` when nothing was.
    pub fn noticed(&self) -> Option<Instant> {
        self.lock().noticed
    }

    /// Tells which directories decide facts now.
    pub fn set_watched(&self, watched: Vec<(PathBuf, BTreeSet<Group>)>) {
        self.lock().watched = Some(watched);
    }

    pub(super) fn take_watched(&self) -> Option<Vec<(PathBuf, BTreeSet<Group>)>> {
        self.lock().watched.take()
    }

    /// Tells the time between full passes from now on.
    pub fn set_full_pass(&self, every: FullPass) {
        self.lock().full_pass = Some(every);
    }

    /// The time between full passes, when that was set since this was last asked.
    pub fn take_full_pass(&self) -> Option<FullPass> {
        self.lock().full_pass.take()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sign_of_what_is_taken_is_remembered() {
        let pending = Pending::default();
        let first = Instant::now();
        pending.add_noticed(&[Group::Files].into(), first);
        pending.add(&[Group::Listeners].into());
        assert_eq!(pending.noticed(), None, "nothing was taken yet");
        pending.take();
        assert_eq!(pending.noticed(), Some(first));
        pending.add_all();
        pending.take();
        assert_eq!(pending.noticed(), None, "a full pass comes of itself");
    }
}
