//! Change detection: which fact groups may have changed, as soon as it can be told and as cheaply.
//!
//! One thread looks: inotify on directories, the sockets in LISTEN and what the kernel tells of processes ten times a second (where
//! it tells nothing, the process ids once a second), UDP sockets once a second, and everything every quarter of an hour or as the collector's policy says. What it finds
//! gathers in [`Pending`], where several changes become one. It says "read again", never what changed: a missed or doubled hint costs
//! time, not truth. Must not know facts' contents or checks.

mod changes;
mod connector;
mod directories;
mod listening;
mod pending;
mod pids;
mod processes;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Group, Observed, Reason};

use crate::causes::causes;
use directories::Directories;
pub use listening::{Listening, ListeningError, Transport};
pub use pending::{FullPass, Pending, Touched, Wanted};
use processes::Processes;

/// How often the sockets in LISTEN are compared when the kernel dumps them for us.
const LISTEN_EVERY: Duration = Duration::from_millis(100);
/// How often when they have to be read from `/proc`.
const LISTEN_SLOWLY: Duration = Duration::from_secs(1);
const DATAGRAMS_EVERY: Duration = Duration::from_secs(1);
/// What is due so soon is done now, so that the thread wakes up once for both.
const TOGETHER: Duration = Duration::from_millis(30);
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

/// The groups that a process that starts, changes or ends can change. Reading them tells whether more is to be read.
pub fn touched_by_processes() -> BTreeSet<Group> {
    [Group::Processes, Group::Kubelets, Group::Components, Group::Containers].into()
}

/// Everything that is looked at.
pub struct Watch {
    options: WatchOptions,
    /// Time between full passes: the options' own, or as last told.
    full_pass: Duration,
    directories: Option<Directories>,
    listening: Listening,
    listen_every: Duration,
    sockets: Option<u64>,
    datagrams: Option<u64>,
    processes: Option<Processes>,
    /// Groups of file events not told yet, and when to tell.
    debounced: Option<(Instant, BTreeSet<Group>)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("options", &self.options).field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Watch {
    /// Opens what can be watched, and tells `pending` how processes are heard of. What cannot be watched is logged once and left to
    /// the slower ways.
    pub fn open(options: WatchOptions, pending: &Pending) -> Self {
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
        let (processes, told) = if options.recorded {
            (None, Observed::unavailable_because(Reason::NotSupported, "a recorded tree does not change by itself"))
        } else {
            let (processes, told) = Processes::open(&options.proc);
            (Some(processes), told)
        };
        pending.set_process_events(told);
        let full_pass = options.full_pass;
        Self { options, full_pass, directories, listening, listen_every, sockets: None, datagrams: None, processes, debounced: None }
    }

    /// Watches until `pending` is closed. For a thread of its own: it blocks.
    pub fn run(mut self, pending: &Pending) {
        let start = Instant::now();
        let (mut sockets_at, mut datagrams_at, mut full_at) = (start, start, start + self.jittered());
        while !pending.is_closed() {
            if let (Some(directories), Some(wanted)) = (&mut self.directories, pending.take_watched()) {
                let fresh = directories.set(wanted);
                if !fresh.is_empty() {
                    pending.add(&fresh);
                }
            }
            let now = Instant::now();
            if let Some(every) = pending.take_full_pass() {
                self.full_pass = match every {
                    FullPass::Own => self.options.full_pass,
                    FullPass::Every(time) => time,
                };
                full_at = now + self.jittered();
            }
            if now >= full_at {
                full_at = now + self.jittered();
                pending.add_all();
            }
            let mut next = full_at.min(now + DATAGRAMS_EVERY);
            if !self.options.recorded {
                if now >= sockets_at {
                    sockets_at = now + self.listen_every;
                    self.sockets(pending);
                }
                if now >= datagrams_at {
                    datagrams_at = now + DATAGRAMS_EVERY;
                    self.datagrams(pending);
                }
                next = next.min(sockets_at).min(self.processes(now, pending));
            }
            let tell_at = self.debounced.as_ref().map(|(at, _)| *at);
            if tell_at.is_some_and(|at| now >= at)
                && let Some((at, groups)) = self.debounced.take()
            {
                pending.add_noticed(&groups, at.checked_sub(DEBOUNCE).unwrap_or(at));
            }
            self.wait(tell_at.filter(|at| *at > now).map_or(next, |at| at.min(next)), pending);
        }
        tracing::debug!("change detection ends");
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

    /// Looks if it is time; gives when to look next.
    fn processes(&mut self, now: Instant, pending: &Pending) -> Instant {
        let Some(processes) = &mut self.processes else { return now + DATAGRAMS_EVERY };
        if now + TOGETHER < processes.next() {
            return processes.next();
        }
        let (touched, ended) = processes.look(&self.options.proc, now);
        if let Some(touched) = touched {
            pending.add_processes(&touched_by_processes(), touched);
        }
        if let Some(why) = ended {
            pending.set_process_events(Observed::Unavailable(why));
            pending.add(&[Group::Node].into());
        }
        processes.next()
    }

    /// The time to the next full pass: ± 10 %, so that a fleet that was started together does not stay together.
    fn jittered(&self) -> Duration {
        let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
        self.full_pass.mul_f64(0.9 + 0.2 * f64::from(draw) / f64::from(u32::MAX))
    }
}

/// A datagram of the process connector, for tests/fuzzing.
#[cfg(feature = "fuzzing")]
pub fn fuzz_connector(datagram: &[u8]) {
    connector::fuzz(datagram);
}
