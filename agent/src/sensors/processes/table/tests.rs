//! What a pass costs, counted in system calls, on real processes of this host.
#![allow(clippy::disallowed_methods, reason = "a test starts programs")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

use super::*;
use crate::host::Budget;

/// Many processes that wait, forked and not executed: small and quick to start. In a process table of their own, where nobody
/// else comes and goes. They end when it does.
struct Crowd {
    holder: Child,
    proc: PathBuf,
}

impl Crowd {
    /// `None` where making namespaces is refused.
    fn new(size: usize) -> Option<Self> {
        // Each waits for a line that never comes, of the same pipe.
        let script = "i=0; while [ $i -lt $0 ]; do (read line <&3) & i=$((i+1)); done 3<&0; echo made; read line";
        let holder = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c", script, &size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut crowd = Self { holder: holder.ok()?, proc: PathBuf::new() };
        let mut made = [0; 5];
        std::io::Read::read_exact(crowd.holder.stdout.as_mut()?, &mut made).ok()?;
        let pid = crowd.holder.id();
        let children = std::io::read_to_string(std::fs::File::open(format!("/proc/{pid}/task/{pid}/children")).ok()?).ok()?;
        crowd.proc = format!("/proc/{}/root/proc", children.split_whitespace().next()?).into();
        Some(crowd)
    }

    /// One pass, and how many calls it took.
    fn pass(&self, cache: &mut Cache) -> (ProcessTable, u64) {
        let budget = Budget::new(Duration::from_mins(5), u64::MAX);
        let host = Host::open(Path::new("/"), &self.proc).unwrap().within(&budget);
        let table = cache.pass(&host).unwrap();
        assert!(table.skipped.is_empty(), "{:?}", table.skipped);
        (table, budget.calls())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn settle(cache: &mut Cache) {
    for known in cache.seen.values_mut() {
        let seen = Arc::get_mut(&mut known.seen).expect("no table is kept");
        seen.first = seen.first.checked_sub(Duration::from_mins(1)).unwrap();
    }
}

/// The first pass: directory (open, stat, close: 3), `stat`, `status`, `cgroup` and `cmdline` (open, read, close: 12), the links
/// `exe` and `ns/{user,mnt,net}` (4). Whoever is no service of the host: `ns/{ipc,uts,cgroup}` (3). In a container its label
/// (3), where there are labels.
const FIRST: u64 = 3 + 12 + 4 + 3;
/// Who is settled: its directory's owner and its program.
const AGAIN: u64 = 2;
/// After fifteen seconds: the same, its directory, `stat` and `status`.
const LATER: u64 = 2 + 3 + 6;
/// Once a pass: the listing, what the host's namespaces are, one directory of programs.
const ONCE: u64 = 80;

#[test]
fn a_process_costs_a_known_number_of_system_calls() {
    const CROWD: u64 = 300;
    // Where that is refused there is nothing to count.
    let Some(crowd) = Crowd::new(usize::try_from(CROWD).unwrap()) else { return };
    let mut cache = Cache::default();
    let mut calls = |change: fn(&mut Cache), expected: u64| {
        change(&mut cache);
        let (table, calls) = crowd.pass(&mut cache);
        assert_eq!(u64::try_from(table.processes.len()).unwrap(), CROWD + 1);
        let most = (CROWD + 1) * expected + ONCE;
        assert!(calls <= most, "{calls} calls, at most {most}: {} each", calls / CROWD);
        assert!(calls >= CROWD * expected, "fewer than said, {} each: correct what is said", calls / CROWD);
    };
    calls(|_| {}, FIRST);
    calls(|_| {}, FIRST);
    calls(settle, AGAIN);
    calls(|_| {}, AGAIN);
    calls(age, LATER);
    calls(|_| {}, AGAIN);
}

/// As if fifteen seconds had passed.
fn age(cache: &mut Cache) {
    for known in cache.seen.values_mut() {
        known.verified = known.verified.checked_sub(SURE).unwrap();
    }
}

#[test]
fn the_count_is_what_the_kernel_counts() {
    // The calls of one thread by the kernel's own count are not to be had without tracing: what is counted is compared with
    // what reading a file is known to take.
    let budget = Budget::new(Duration::from_mins(1), u64::MAX);
    let host = Host::open(Path::new("/"), Path::new("/proc")).unwrap().within(&budget);
    let process = host.proc.process(i64::from(std::process::id())).unwrap();
    assert_eq!(budget.calls(), 2, "opened, and closed later");
    let mut buffer = Buffer::default();
    assert!(process.read_into("stat", &mut buffer).unwrap().len() > 50);
    assert_eq!(budget.calls(), 2 + 3, "open, read, close");
    assert!(process.presence().unwrap().is_some());
    assert_eq!(budget.calls(), 2 + 3 + 1);
    assert!(process.link("exe").is_ok());
    assert_eq!(budget.calls(), 2 + 3 + 1 + 1);
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0);
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

fn resident_kib() -> u64 {
    let status = std::io::read_to_string(std::fs::File::open("/proc/self/status").unwrap()).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `cargo test --release -p holdfast-agent --lib cost_of_a_pass -- --ignored --nocapture`
#[test]
#[ignore = "prints a measurement"]
fn cost_of_a_pass() {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "one pass; real processes: forked shells that wait in a process table of their own; no services of the host, so the dearer kind"
    )
    .unwrap();
    for size in [100, 500, 5_000, 20_000] {
        let crowd = Crowd::new(size).expect("root may make namespaces");
        let mut cache = Cache::default();
        let resident = resident_kib();
        let measured = |cache: &mut Cache| {
            let (wall, before) = (Instant::now(), cpu());
            let (table, calls) = crowd.pass(cache);
            let (wall, cpu) = (wall.elapsed(), cpu().saturating_sub(before));
            let listed = u64::try_from(table.processes.len()).unwrap();
            (listed, calls, cpu, wall)
        };
        let mut line = |name: &str, (listed, calls, cpu, wall): (u64, u64, Duration, Duration)| {
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            let each = f64::from(u32::try_from(calls).unwrap()) / f64::from(u32::try_from(listed).unwrap());
            let kib = resident_kib().saturating_sub(resident);
            let (cpu, wall) = (ms(cpu), ms(wall));
            writeln!(
                out,
                "{listed:>6} processes  {name}  {calls:>7} calls ({each:>4.1} each)  CPU {cpu:>7.1} ms  wall {wall:>7.1} ms  +{kib} KiB"
            )
            .unwrap();
        };
        line("first ", measured(&mut cache));
        settle(&mut cache);
        line("second", measured(&mut cache));
        line("third ", measured(&mut cache));
        age(&mut cache);
        line("in 15s", measured(&mut cache));
    }
}

/// A pass over a busy host, or one that reads other things too, takes longer than a process has to be old to be judged: what a probe was
/// seen to be would count as what stays.
#[test]
fn a_process_is_as_old_as_it_was_when_it_was_listed_however_late_that_is_told() {
    let host = Host::open(Path::new("/"), Path::new("/proc")).unwrap();
    let started = Instant::now();
    let mut young = Command::new("sleep").arg("60").spawn().unwrap();
    let table = Cache::default().pass(&host).unwrap();
    let listed_within = i64::try_from(started.elapsed().as_millis()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let pid = i64::from(young.id());
    let facts = table.facts();
    let age = facts.value().unwrap().items.iter().find(|process| process.pid == pid).and_then(|process| process.age_ms).unwrap();
    drop(young.kill());
    drop(young.wait());
    assert!((0..listed_within + 100).contains(&age), "{age} ms, and it was listed within {listed_within} ms");
}
