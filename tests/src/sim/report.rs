//! Figures of a fleet as lines of text: one at every interval, and a table at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Fleet;
use super::ground::Ground;
use super::meter::Meter;
use crate::figures::{Figures, cpu_ticks};

/// Keeps what was counted until the last line.
#[derive(Debug)]
pub struct Report {
    start: Instant,
    line: Instant,
    before: Totals,
    acks: Vec<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    up: u64,
    down: u64,
    messages_up: u64,
    messages_down: u64,
    rows: u64,
    cpu: f64,
}

impl Totals {
    fn of(meter: &Meter, ground: Option<&Ground>) -> Self {
        Self {
            up: read(&meter.bytes_up),
            down: read(&meter.bytes_down),
            messages_up: read(&meter.messages_up),
            messages_down: read(&meter.messages_down),
            rows: read(&meter.entries) + read(&meter.transitions),
            cpu: ground.map_or(0.0, Ground::cpu_seconds),
        }
    }
}

/// A counter as a number to calculate with.
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A count as a number to divide.
pub fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count / 1_000_000).unwrap_or(u32::MAX)) * 1e6 + f64::from(u32::try_from(count % 1_000_000).unwrap_or(0))
}

impl Default for Report {
    fn default() -> Self {
        let now = Instant::now();
        Self { start: now, line: now, before: Totals::default(), acks: Vec::new() }
    }
}

impl Report {
    /// What the columns are.
    pub fn head() -> &'static str {
        "    time  connected  in sync   up KiB/s  down KiB/s    msg/s up  down   rows/s   ack p50      p99   collector MiB  peak  KiB/conn  CPU s  cores"
    }

    /// How the fleet stands, and what happened since the last line.
    pub fn line(&mut self, fleet: &Fleet, ground: Option<&Ground>) -> String {
        let (now, standing) = (Totals::of(fleet.meter(), ground), fleet.standing());
        let passed = self.line.elapsed().as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| float(now.saturating_sub(before)) / passed;
        let acks = fleet.meter().take_acks();
        self.acks.extend_from_slice(&acks);
        let acks = Figures::of(acks);
        let ms = |percent| acks.percentile(percent).as_secs_f64() * 1_000.0;
        let before = self.before;
        let mut line = format!(
            "{:>6.1} s  {:>9}  {:>7}  {:>9.1}  {:>10.1}  {:>10.0}  {:>5.0}  {:>7.0}  {:>5.0} ms  {:>5.0} ms",
            self.start.elapsed().as_secs_f64(),
            standing.connected,
            standing.in_sync,
            rate(now.up, before.up) / 1024.0,
            rate(now.down, before.down) / 1024.0,
            rate(now.messages_up, before.messages_up),
            rate(now.messages_down, before.messages_down),
            rate(now.rows, before.rows),
            ms(50),
            ms(99),
        );
        if let Some(ground) = ground {
            let (resident, peak) = ground.memory_kib();
            let mib = |kib: u64| float(kib) / 1024.0;
            let each = ground.kib_per_connection(standing.connected);
            let cores = (now.cpu - before.cpu).max(0.0) / passed;
            line = format!("{line}   {:>13.1} {:>5.0}  {each:>8.1}  {:>5.1}  {cores:>5.2}", mib(resident), mib(peak), now.cpu);
        }
        self.before = now;
        self.line = Instant::now();
        line
    }

    /// All of it.
    pub fn summary(&mut self, fleet: &Fleet, ground: Option<&Ground>) -> String {
        let (now, meter, standing) = (Totals::of(fleet.meter(), ground), fleet.meter(), fleet.standing());
        self.acks.extend(meter.take_acks());
        let acks = Figures::of(std::mem::take(&mut self.acks));
        let (seconds, agents) = (self.start.elapsed().as_secs_f64(), fleet.len());
        let mib = |bytes: u64| float(bytes) / 1024.0 / 1024.0;
        let mut rows = vec![
            ("agents", format!("{agents}: {} connected, {} in sync, after {seconds:.1} s", standing.connected, standing.in_sync)),
            (
                "sessions",
                format!(
                    "{} connections; {} in sync, {} went on with changes, {} sent everything",
                    read(&meter.connections),
                    read(&meter.in_sync),
                    read(&meter.delta),
                    read(&meter.full)
                ),
            ),
            (
                "messages",
                format!(
                    "{} up ({} heartbeats), {} down; {} entries and {} transitions",
                    now.messages_up,
                    read(&meter.heartbeats),
                    now.messages_down,
                    read(&meter.entries),
                    read(&meter.transitions)
                ),
            ),
            (
                "bytes",
                format!(
                    "{:.2} MiB up, {:.2} MiB down at the sockets, {:.1} KiB an agent, TLS and HTTP/2 included",
                    mib(now.up),
                    mib(now.down),
                    mib(now.up + now.down) * 1024.0 / float(u64::try_from(agents).unwrap_or(1))
                ),
            ),
            ("acknowledged", format!("{acks}, {} messages", acks.len())),
            ("simulator", format!("{:.1} CPU s, on the same cores", float(cpu_ticks(own_pid())) / 100.0)),
        ];
        if let Some(ground) = ground {
            let (resident, peak) = ground.memory_kib();
            let each = ground.kib_per_connection(standing.connected);
            rows.push((
                "collector",
                format!(
                    "{:.1} MiB resident, peak {:.1}, {:.1} when it was ready: {each:.1} KiB a connection",
                    mib(resident * 1024),
                    mib(peak * 1024),
                    mib(ground.bare_kib() * 1024)
                ),
            ));
            let (messages, stored) = (float(now.messages_up) / now.cpu.max(0.01), float(now.rows) / now.cpu.max(0.01));
            rows.push(("", format!("{:.1} CPU s: {messages:.0} messages and {stored:.0} rows a CPU second", now.cpu)));
            let (commits, took) = (
                ground.site.api().metric("holdfast_commit_duration_seconds_count"),
                ground.site.api().metric("holdfast_commit_duration_seconds_sum"),
            );
            rows.push(("", format!("{commits:.0} commits since its last start, {:.1} ms in the mean", took / commits.max(1.0) * 1_000.0)));
        }
        let row = |(name, text): &(&str, String)| format!("{name:<13} {text}\n");
        rows.iter().map(row).collect()
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}
