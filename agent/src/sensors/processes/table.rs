//! One pass over all processes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Listing, Observed, Placement, Process, Reason, Skipped, Source, SourceKind};

use super::label::Labels;
use super::namespaces::Namespaces;
use super::parse;
use super::place::Places;
use super::seen::{Pass, Seen, UidMaps};
use crate::host::{Buffer, Host, Presence, ReadError};
use crate::sensors::ages;
use crate::sensors::aside::Aside;
use crate::sensors::containers::Bundles;
use crate::sensors::now;
use crate::sensors::programs::Programs;

/// A settled service of the host is not looked at between two of these, and nothing of others that takes more than two calls: on
/// a busy host a process starts every second, and asking each of thousands whether it is still itself would cost more than all
/// else. A service's pid could be another's that soon only if all pids were used up between two passes.
const SURE: Duration = Duration::from_secs(15);
/// The most processes that are named one by one as not readable; the others are counted.
const MAX_SKIPPED: usize = 64;
/// The kernel counts the start of processes in these, whatever its own clock: `sysconf(_SC_CLK_TCK)` of every architecture that
/// runs Kubernetes.
const TICKS_PER_SECOND: u64 = 100;

/// Every process of one pass, by pid.
#[derive(Debug)]
pub(in crate::sensors) struct ProcessTable {
    pub(in crate::sensors) processes: Vec<Arc<Seen>>,
    pub(in crate::sensors) skipped: Vec<Skipped>,
    pub(in crate::sensors) at: i64,
    /// When they were listed, by the clock that their start times are told by, in milliseconds.
    listed_ms: Option<i64>,
    /// What is known of the programs they run.
    pub(in crate::sensors) programs: Arc<Programs>,
    /// For reading those that are not the node's.
    pub(in crate::sensors) aside: Arc<Aside>,
    /// What files tell of the containers they are in.
    pub(in crate::sensors) bundles: Arc<Bundles>,
}

/// What earlier passes read, by pid.
#[derive(Debug, Default)]
pub(in crate::sensors) struct Cache {
    seen: HashMap<i64, Known>,
    /// Threads of the kernel: they stay what they are.
    threads: HashMap<i64, Presence>,
    of_host: Option<(Namespaces, Labels)>,
    places: Places,
    programs: Arc<Programs>,
    aside: Arc<Aside>,
    bundles: Arc<Bundles>,
}

/// A process, and when it was last found to be still itself.
#[derive(Debug)]
struct Known {
    seen: Arc<Seen>,
    presence: Option<Presence>,
    verified: Instant,
}

/// What one process turned out to be.
enum Read {
    Process(Known),
    Thread(Option<Presence>),
    /// A dead process, or one that ended meanwhile.
    Nothing,
}

impl Cache {
    /// Forgets every process. What is known of files stays: it is looked up by what they are.
    pub(in crate::sensors) fn forget(&mut self) {
        self.seen.clear();
        self.threads.clear();
        self.of_host = None;
        self.places = Places::default();
    }

    /// Forgets these processes, which changed after they were read.
    pub(in crate::sensors) fn touched(&mut self, pids: &BTreeSet<i64>) {
        for pid in pids {
            self.seen.remove(pid);
        }
    }

    /// Looks at every process; reads those not read before, and those that changed.
    pub(in crate::sensors) fn pass(&mut self, host: &Host) -> Result<ProcessTable, ReadError> {
        let pids = host.proc.pids()?;
        let listed_ms = ages::now_ms(host);
        let of_host = || (Namespaces::of_host(host, &pids), Labels::of_host(host));
        let (namespaces, labels) = self.of_host.get_or_insert_with(of_host).clone();
        let (programs, aside, bundles) = (Arc::clone(&self.programs), Arc::clone(&self.aside), Arc::clone(&self.bundles));
        let processes = Vec::with_capacity(pids.len());
        let mut table = ProcessTable { processes, skipped: Vec::new(), at: now(), listed_ms, programs, aside, bundles };
        if host.live() && pids.first() != Some(&1) {
            // Process 1 always runs. Where it is not listed, /proc is mounted with hidepid, and others are hidden too.
            table.skipped.push(Skipped {
                what: "processes hidden from the agent: needs CAP_SYS_PTRACE".to_owned(),
                reason: Reason::PermissionDenied,
            });
        }
        let mut before = std::mem::take(&mut self.seen);
        let threads = std::mem::take(&mut self.threads);
        let (mut buffer, mut unread) = (Buffer::default(), Vec::new());
        let mut pass = Pass {
            host,
            namespaces: &namespaces,
            labels,
            places: &mut self.places,
            bundles: &self.bundles,
            uid_maps: &mut UidMaps::default(),
            buffer: &mut buffer,
        };
        let clock = Clock::at(listed_ms);
        let mut seen = Vec::with_capacity(pids.len());
        for pid in pids {
            if let Some(thread) = threads.get(&pid)
                && host.proc.presence(pid).is_ok_and(|now| now.as_ref() == Some(thread))
            {
                self.threads.insert(pid, *thread);
                continue;
            }
            match process(&mut pass, &clock, pid, before.remove(&pid)) {
                Ok(Read::Process(known)) => seen.push((pid, known)),
                Ok(Read::Thread(presence)) => self.threads.extend(presence.map(|presence| (pid, presence))),
                Ok(Read::Nothing) => {}
                Err(error @ ReadError::TimedOut { .. }) => return Err(error),
                Err(error) => unread.push(error.skipped(format!("process {pid}"))),
            }
        }
        self.places.look_up(host, seen.iter_mut().filter_map(|(_, known)| Arc::get_mut(&mut known.seen)));
        table.processes.extend(seen.iter().map(|(_, known)| Arc::clone(&known.seen)));
        table.skip(unread);
        self.seen = seen.into_iter().collect();
        Ok(table)
    }
}

/// What the process `pid` is now, by what it was.
fn process(pass: &mut Pass<'_>, clock: &Clock, pid: i64, before: Option<Known>) -> Result<Read, ReadError> {
    match read(pass, clock, pid, before) {
        Err(error) if error.is_absent() => Ok(Read::Nothing),
        other => other,
    }
}

fn read(pass: &mut Pass<'_>, clock: &Clock, pid: i64, before: Option<Known>) -> Result<Read, ReadError> {
    let mut ask = true;
    if let Some(known) = before.as_ref().filter(|known| known.seen.settled()) {
        let look = if known.is_sure() { Look::Same } else { known.look(pass.host, pid)? };
        if look == Look::Same && known.is_fresh() {
            return Ok(before.map_or(Read::Nothing, Read::Process));
        }
        ask = look == Look::Changed;
    }
    let process = pass.host.proc.process(pid)?;
    let presence = process.presence()?;
    let stat = parse::stat(process.read_into("stat", pass.buffer)?).ok_or_else(|| ReadError::content("stat", "a process's stat"))?;
    if stat.kernel_thread {
        return Ok(Read::Thread(presence));
    }
    if stat.dead {
        return Ok(Read::Nothing);
    }
    let before = before.filter(|known| known.is(&stat));
    let first = clock.start(stat.start_ticks).or_else(|| before.as_ref().map(|known| known.seen.first)).unwrap_or_else(Instant::now);
    if let Some(known) = before.filter(|known| !ask && known.seen.settled())
        && (known.of_host() || parse::status(process.read_into("status", pass.buffer)?).is_some_and(|status| known.seen.agrees(&status)))
    {
        return Ok(Read::Process(Known { presence, verified: Instant::now(), ..known }));
    }
    let seen = Arc::new(Seen::read(pass, &process, &stat, first)?);
    Ok(Read::Process(Known { seen, presence, verified: Instant::now() }))
}

/// What two system calls say of a process that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Nothing changed.
    Same,
    /// It may be another one.
    Unsure,
    /// Another user, or another program.
    Changed,
}

impl Known {
    /// Is it not worth a look yet. The few components of Kubernetes always are.
    fn is_sure(&self) -> bool {
        self.of_host() && self.is_fresh()
    }

    fn is_fresh(&self) -> bool {
        self.seen.role.is_none() && self.verified.elapsed() < SURE
    }

    fn of_host(&self) -> bool {
        self.seen.fact.placement == Placement::Host
    }

    /// The same process under the same name.
    fn is(&self, stat: &parse::Stat) -> bool {
        self.seen.fact.start_ticks == stat.start_ticks && self.seen.fact.name == stat.name
    }

    fn look(&self, host: &Host, pid: i64) -> Result<Look, ReadError> {
        let presence = host.proc.presence(pid)?;
        let user = |presence: &Presence| (presence.uid, presence.gid);
        if presence.as_ref().map(user) != self.presence.as_ref().map(user) {
            return Ok(Look::Changed);
        }
        let changed = match (self.seen.fact.exe.value(), host.proc.program(pid)) {
            (Some(before), Ok(now)) => *before != now,
            // Refused before and now, or it ended.
            (None, Err(_)) => false,
            _ => true,
        };
        Ok(match (changed, presence == self.presence) {
            (true, _) => Look::Changed,
            (false, true) => Look::Same,
            (false, false) => Look::Unsure,
        })
    }
}

/// Now, on the clock by which the kernel says when a process started.
struct Clock(Option<(Instant, Duration)>);

impl Clock {
    /// A recording's clock stands still.
    fn at(uptime_ms: Option<i64>) -> Self {
        let uptime = uptime_ms.and_then(|ms| u64::try_from(ms / 1_000).ok());
        Self(uptime.map(|seconds| (Instant::now(), Duration::from_secs(seconds))))
    }

    fn start(&self, ticks: i64) -> Option<Instant> {
        let (now, uptime) = self.0?;
        let start = Duration::from_millis(u64::try_from(ticks).ok()?.saturating_mul(1000 / TICKS_PER_SECOND));
        now.checked_sub(uptime.saturating_sub(start))
    }
}

impl ProcessTable {
    /// As facts.
    pub(in crate::sensors) fn facts(&self) -> Observed<Listing<Process>> {
        let aged = |seen: &Arc<Seen>| {
            let mut process = seen.fact.clone();
            ages::tell(self.listed_ms, &mut process);
            process
        };
        let items = self.processes.iter().map(aged).collect();
        Observed::known(Listing { items, skipped: self.skipped.clone() }, Source::new(SourceKind::Kernel, "/proc"), self.at)
    }

    fn skip(&mut self, mut unread: Vec<Skipped>) {
        let more = unread.len().saturating_sub(MAX_SKIPPED);
        if more > 0 {
            let reason = unread.get(MAX_SKIPPED).map_or(Reason::NotSupported, |first| first.reason);
            unread.truncate(MAX_SKIPPED);
            unread.push(Skipped { what: format!("{more} processes more"), reason });
        }
        self.skipped.append(&mut unread);
    }
}

#[cfg(test)]
mod tests;
