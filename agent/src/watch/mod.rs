//! Change detection: which fact groups may have changed, as soon as it can be told and as cheaply.
//!
//! One thread looks: inotify on directories, the sockets in LISTEN ten times a second, UDP sockets and process ids once a
//! second, and everything every quarter of an hour. What it finds gathers in [`Pending`], where several changes become one. It says
//! "read again", never what changed: a missed or doubled hint costs time, not truth. Must not know facts' contents or checks.

mod directories;
mod listening;
mod pending;
mod pids;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_checks::facts::Group;

use crate::causes::causes;
use directories::Directories;
pub use listening::{Listening, ListeningError, Transport};
pub use pending::{Pending, Wanted};

/// How often the sockets in LISTEN are compared when the kernel dumps them for us.
const LISTEN_EVERY: Duration = Duration::from_millis(100);
/// How often when they have to be read from `/proc`.
const LISTEN_SLOWLY: Duration = Duration::from_secs(1);
const PROCESSES_EVERY: Duration = Duration::from_secs(1);
/// So many passes after a new process it is looked at for the last time: it is judged only once it is three seconds old.
const LOOK_AGAIN: u8 = 4;
/// A file is often written, renamed and its mode changed in one go: this long after the first event they count as one.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// What is watched.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The host's `/proc`.
    pub proc: PathBuf,
    /// A recorded tree does not change by itself: only full passes.
    pub recorded: bool,
    /// Time between full passes.
    pub full_pass: Duration,
}

/// The groups that a change of the listening sockets can change.
pub fn touched_by_sockets() -> BTreeSet<Group> {
    [Group::Listeners, Group::Probes].into()
}

/// The groups that a process that starts or ends can change.
pub fn touched_by_processes() -> BTreeSet<Group> {
    [Group::Processes, Group::Kubelets, Group::Components].into()
}

/// Watches until `pending` is closed. For a thread of its own: it blocks.
///
/// What cannot be watched is logged once and left to the slower ways.
pub fn watch(options: &WatchOptions, pending: &Pending) {
    Watch::new(options).run(pending);
    tracing::debug!("change detection ends");
}

struct Watch<'a> {
    options: &'a WatchOptions,
    directories: Option<Directories>,
    listening: Listening,
    listen_every: Duration,
    sockets: Option<u64>,
    datagrams: Option<u64>,
    pids: Option<BTreeSet<i32>>,
    /// Passes until processes are looked at again though none came or went.
    look_again: u8,
    /// Groups of file events not told yet, and when to tell.
    debounced: Option<(Instant, BTreeSet<Group>)>,
}

impl<'a> Watch<'a> {
    fn new(options: &'a WatchOptions) -> Self {
        let directories = if options.recorded {
            None
        } else {
            Directories::open()
                .inspect_err(|error| tracing::warn!(%error, "files are not watched: their changes are seen on the next full pass"))
                .ok()
        };
        let (listening, listen_every) = match Listening::open(&options.proc) {
            Ok(listening) => (listening, LISTEN_EVERY),
            Err(error) => {
                tracing::info!(error = causes(&error), "no socket dumps: /proc is read every second instead");
                (Listening::of_proc(&options.proc), LISTEN_SLOWLY)
            }
        };
        Self { options, directories, listening, listen_every, sockets: None, datagrams: None, pids: None, look_again: 0, debounced: None }
    }

    fn run(mut self, pending: &Pending) {
        let start = Instant::now();
        let (mut sockets_at, mut processes_at, mut full_at) = (start, start, start + self.jittered());
        while !pending.is_closed() {
            if let (Some(directories), Some(wanted)) = (&mut self.directories, pending.take_watched()) {
                let fresh = directories.set(wanted);
                if !fresh.is_empty() {
                    pending.add(&fresh);
                }
            }
            let now = Instant::now();
            if now >= full_at {
                full_at = now + self.jittered();
                pending.add_all();
            }
            if !self.options.recorded {
                if now >= sockets_at {
                    sockets_at = now + self.listen_every;
                    self.sockets(pending);
                }
                if now >= processes_at {
                    processes_at = now + PROCESSES_EVERY;
                    self.processes(pending);
                    self.datagrams(pending);
                }
            }
            let tell_at = self.debounced.as_ref().map(|(at, _)| *at);
            if tell_at.is_some_and(|at| now >= at)
                && let Some((_, groups)) = self.debounced.take()
            {
                pending.add(&groups);
            }
            let next = if self.options.recorded { full_at.min(now + PROCESSES_EVERY) } else { sockets_at.min(processes_at) };
            self.wait(tell_at.filter(|at| *at > now).map_or(next, |at| at.min(next)), pending);
        }
    }

    /// Waits until `until`, or until a directory changes.
    fn wait(&mut self, until: Instant, pending: &Pending) {
        let timeout = until.saturating_duration_since(Instant::now());
        let Some(directories) = &mut self.directories else { return pending.wait_closed(timeout) };
        match directories.wait(timeout) {
            Ok(groups) if groups.is_empty() => {}
            Ok(groups) => self.debounced.get_or_insert_with(|| (Instant::now() + DEBOUNCE, BTreeSet::new())).1.extend(groups),
            Err(error) => {
                tracing::warn!(%error, "files are no longer watched: their changes are seen on the next full pass");
                self.directories = None;
                pending.add_all();
            }
        }
    }

    fn sockets(&mut self, pending: &Pending) {
        match self.listening.sample(Transport::Tcp) {
            Ok(sample) => {
                if self.sockets.replace(sample).is_some_and(|before| before != sample) {
                    pending.add(&touched_by_sockets());
                }
            }
            Err(error) if self.listen_every == LISTEN_EVERY => {
                tracing::info!(error = causes(&error), "socket dumps failed: /proc is read every second instead");
                self.listening = Listening::of_proc(&self.options.proc);
                self.listen_every = LISTEN_SLOWLY;
                self.sockets = None;
            }
            Err(error) => tracing::debug!(error = causes(&error), "listening sockets could not be compared"),
        }
    }

    fn datagrams(&mut self, pending: &Pending) {
        match self.listening.sample(Transport::Udp) {
            Ok(sample) => {
                if self.datagrams.replace(sample).is_some_and(|before| before != sample) {
                    pending.add(&[Group::Listeners].into());
                }
            }
            Err(error) => tracing::debug!(error = causes(&error), "UDP sockets could not be compared: the next full pass sees them"),
        }
    }

    fn processes(&mut self, pending: &Pending) {
        let Ok(pids) = pids::pids(&self.options.proc) else { return };
        let changed = self.pids.as_ref().is_some_and(|before| *before != pids);
        let fresh = self.pids.as_ref().is_some_and(|before| !pids.is_subset(before));
        self.pids = Some(pids);
        // A new process is often seen between fork and exec: the next pass looks, too.
        if changed || matches!(self.look_again, 1 | LOOK_AGAIN) {
            pending.add(&touched_by_processes());
        }
        self.look_again = if fresh { LOOK_AGAIN } else { self.look_again.saturating_sub(1) };
    }

    /// The time to the next full pass: ± 10 %, so that a fleet that was started together does not stay together.
    fn jittered(&self) -> Duration {
        let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
        self.options.full_pass.mul_f64(0.9 + 0.2 * f64::from(draw) / f64::from(u32::MAX))
    }
}
