//! Percentiles of repeated measurements, and where the kernel counts CPU time and memory.

use std::fmt;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// Repeated measurements of one thing.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// Adds one measurement.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort_unstable();
    }

    /// All of them at once.
    pub fn of(mut measured: Vec<Duration>) -> Self {
        measured.sort_unstable();
        Self(measured)
    }

    /// How many measurements there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Has nothing been measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that `percent` of the measurements do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, "p50 {:>7.1} ms  p99 {:>7.1} ms", ms(self.percentile(50)), ms(self.percentile(99)))
    }
}

/// CPU time of all children that have ended.
pub fn children_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0);
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Resident memory of a process in KiB, `VmRSS`.
pub fn resident_kib(pid: i32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// The most memory that a process had resident, in KiB, `VmHWM`.
pub fn peak_kib(pid: i32) -> u64 {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: i32, field: &str) -> u64 {
    let status = std::fs::File::open(format!("/proc/{pid}/status")).and_then(std::io::read_to_string).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// CPU time of a process since it started, in clock ticks of 10 ms.
pub fn cpu_ticks(pid: i32) -> u64 {
    let stat = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(std::io::read_to_string).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    field(11) + field(12)
}
