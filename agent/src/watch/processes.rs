//! Processes that start, change and end: the kernel tells, or a listing every second does.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_checks::derive::SETTLED_MS;
use holdfast_checks::facts::{Observed, Source, SourceKind, Unavailable};

use super::changes::Changes;
use super::connector::Connector;
use super::pending::Touched;
use super::pids::Pids;

/// How often the kernel's queue is emptied: the thread is awake for the sockets then anyway, and waking up for each event would cost
/// more than all of them.
const HEAR_EVERY: Duration = Duration::from_millis(100);
/// How often in a storm: the queue holds some hundred events.
const HEAR_IN_A_STORM: Duration = Duration::from_millis(20);
/// So many events at once are a storm.
const STORM: usize = 64;
const LIST_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Processes {
    from: From,
    next: Instant,
}

enum From {
    Kernel { connector: Connector, changes: Changes },
    Listing(Pids),
}

impl Processes {
    /// By the kernel where it tells, and why not where it does not.
    pub(super) fn open(proc: &Path) -> (Self, Observed<bool>) {
        let next = Instant::now();
        match Connector::open(proc) {
            Ok(connector) => {
                tracing::info!("the kernel tells of processes that start, change and end");
                let changes = Changes::new(Duration::from_millis(SETTLED_MS.unsigned_abs()));
                let at = jiff::Timestamp::now().as_millisecond();
                let told = Observed::known(true, Source::new(SourceKind::Kernel, "process connector"), at);
                (Self { from: From::Kernel { connector, changes }, next }, told)
            }
            Err(error) => {
                let why = error.unavailable();
                tracing::info!(reason = why.reason.name(), "no process events: {}", why.detail);
                (Self { from: From::Listing(Pids::default()), next }, Observed::Unavailable(why))
            }
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks: what is to be read again, and why the kernel does not tell any more, if it just stopped.
    pub(super) fn look(&mut self, proc: &Path, now: Instant) -> (Option<Touched>, Option<Unavailable>) {
        match &mut self.from {
            From::Kernel { connector, changes } => match connector.hear() {
                Ok(heard) => {
                    let storm = heard.lost || heard.more || heard.events.len() >= STORM;
                    self.next = now + if storm { HEAR_IN_A_STORM } else { HEAR_EVERY };
                    changes.take_in(heard, now);
                    (changes.due(now), None)
                }
                Err(error) => {
                    let why = error.unavailable();
                    tracing::warn!(reason = why.reason.name(), "no more process events: {}", why.detail);
                    *self = Self { from: From::Listing(Pids::default()), next: now };
                    (Some(Touched::All), Some(why))
                }
            },
            From::Listing(pids) => {
                self.next = now + LIST_EVERY;
                let changed = pids.changed(proc).unwrap_or_else(|error| {
                    tracing::debug!(%error, "processes could not be listed: the next full pass sees them");
                    false
                });
                (changed.then(Touched::default), None)
            }
        }
    }
}
