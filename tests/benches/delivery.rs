//! Prints what delivery costs at a thousand agents: bytes of an idle agent, memory of a connection, rows, messages and findings a CPU
//! second of the collector. `make bench` runs it; `AGENTS` and `IDLE_SECONDS` make it another size.
//!
//! Agents are the simulator's, on the same cores as the collector, whose CPU time is the kernel's count for its process: fleet rules and
//! alerts are in it. Bytes are counted at the agents' sockets, TLS and HTTP/2 included.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and may fail")]

use std::time::{Duration, Instant};

use holdfast_tests::figures::Figures;
use holdfast_tests::sim::ground::Ground;
use holdfast_tests::sim::meter::Meter;
use holdfast_tests::sim::report::{float, read};
use holdfast_tests::sim::{Fleet, Load};
use holdfast_tests::site::Binaries;

const BINARIES: Binaries =
    Binaries { agent: env!("CARGO_BIN_EXE_holdfast-test-agent"), collector: env!("CARGO_BIN_EXE_holdfast-test-collector") };
const PATIENCE: Duration = Duration::from_mins(5);
/// How long verdicts flip.
const BUSY: Duration = Duration::from_secs(20);
/// Flips per agent and minute: more than a debug build can store, and about what a release build can.
const FLIPS: f64 = 60.0;
/// Of a segment over IPv4 with timestamps.
const TCP_IP: f64 = 52.0;
const TRIALS: usize = 100;

/// What was counted up to a moment.
struct Mark {
    at: Instant,
    cpu: f64,
    rows: f64,
    messages: f64,
    findings: f64,
    commits: f64,
    committing: f64,
}

impl Mark {
    fn set(ground: &Ground, meter: &Meter) -> Self {
        let api = ground.site.api();
        Self {
            at: Instant::now(),
            cpu: ground.cpu_seconds(),
            rows: float(read(&meter.entries) + read(&meter.transitions)),
            messages: float(read(&meter.messages_up)),
            findings: float(read(&meter.entries)),
            commits: api.metric("holdfast_commit_duration_seconds_count"),
            committing: api.metric("holdfast_commit_duration_seconds_sum"),
        }
    }

    fn print(&self, what: &str, now: &Self, acks: Vec<Duration>) {
        let (passed, cpu) = (now.at.duration_since(self.at).as_secs_f64(), (now.cpu - self.cpu).max(0.01));
        let (rows, messages, findings) = (now.rows - self.rows, now.messages - self.messages, now.findings - self.findings);
        let acks = Figures::of(acks);
        println!("{what}: {rows:.0} rows in {messages:.0} messages, {passed:.1} s and {cpu:.1} CPU s of the collector");
        println!("  {:>9.0} rows a second", rows / passed);
        println!("  {:>9.0} rows, {:.0} messages and {:.0} entries a CPU second", rows / cpu, messages / cpu, findings / cpu);
        println!("  sent → acknowledged, {} messages: {acks}", acks.len());
        let commits = now.commits - self.commits;
        println!(
            "  {commits:.0} commits, {:.1} ms and {:.0} rows in the mean",
            (now.committing - self.committing) / commits.max(1.0) * 1_000.0,
            rows / commits.max(1.0)
        );
    }
}

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    holdfast_collector::accept::raise_limit().expect("open files");
    let agents = from_environment("AGENTS", 1_000);
    let idle = Duration::from_secs(from_environment("IDLE_SECONDS", 180).into());
    let mut ground = Ground::new(BINARIES, agents, 1, &[]).expect("the collector starts");
    let load = Load { agents, entries: 100, ramp: 0.0, flip_rate: FLIPS, ..Load::default() };
    println!("{agents} agents of {} entries; {} build", load.entries, if cfg!(debug_assertions) { "debug" } else { "release" });

    let fleet = Fleet::start(&load, &ground.door()).expect("the fleet starts");
    fleet.flips(false);
    let before = Mark::set(&ground, fleet.meter());
    fleet.in_sync(PATIENCE).await.expect("in sync");
    before.print("snapshots of everybody at once", &Mark::set(&ground, fleet.meter()), fleet.meter().take_acks());

    // A new process, so that what ingest had in its caches is not counted as connections.
    ground.end(true).expect("it is killed");
    ground.start().expect("it starts again");
    let start = Instant::now();
    fleet.in_sync(PATIENCE).await.expect("in sync again");
    println!("everybody in sync again {:.1} s after a restarted collector was ready", start.elapsed().as_secs_f64());

    idle_agents(&ground, &fleet, agents, idle).await;

    fleet.flips(true);
    let before = Mark::set(&ground, fleet.meter());
    tokio::time::sleep(BUSY).await;
    fleet.flips(false);
    fleet.in_sync(PATIENCE).await.expect("in sync after flips");
    before.print("verdicts that flip", &Mark::set(&ground, fleet.meter()), fleet.meter().take_acks());
    fleet.stop().await;
}

/// What agents cost that have nothing to say.
async fn idle_agents(ground: &Ground, fleet: &Fleet, agents: u32, idle: Duration) {
    // What the restart left to do is not idleness.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let meter = fleet.meter();
    let counts = || [&meter.bytes_up, &meter.bytes_down, &meter.heartbeats, &meter.messages_up].map(|counter| float(read(counter)));
    let ([up, down, heartbeats, messages], cpu) = (counts(), ground.cpu_seconds());
    let mut memory = Vec::new();
    let start = Instant::now();
    while start.elapsed() < idle {
        tokio::time::sleep(idle / u32::try_from(TRIALS).unwrap_or(1)).await;
        memory.push(ground.kib_per_connection(fleet.standing().connected));
    }
    let (now, passed) = (counts(), start.elapsed().as_secs_f64());
    let [up, down, heartbeats, messages] = [now[0] - up, now[1] - down, now[2] - heartbeats, now[3] - messages];
    memory.sort_by(f64::total_cmp);
    let at = |percent: usize| memory.get(memory.len() * percent / 100).or(memory.last()).copied().unwrap_or_default();
    let (resident, peak) = ground.memory_kib();
    println!("idle for {passed:.0} s, {heartbeats:.0} heartbeats and {:.0} other messages", messages - heartbeats);
    println!(
        "  collector: {:.1} KiB a connection (p50 of {TRIALS} looks, p99 {:.1}); {:.1} MiB resident, peak {:.1}; {:.1} millicores",
        at(50),
        at(99),
        float(resident) / 1024.0,
        float(peak) / 1024.0,
        (ground.cpu_seconds() - cpu) / passed * 1_000.0
    );
    let hours = f64::from(agents) * passed / 3_600.0;
    println!(
        "  an agent and hour: {:.1} KiB up and {:.1} KiB down at the socket, with {:.1} heartbeats; a heartbeat and its share of all else is {:.0} bytes",
        up / hours / 1024.0,
        down / hours / 1024.0,
        heartbeats / hours,
        (up + down) / heartbeats.max(1.0)
    );
    println!(
        "  with TCP and IP computed (a segment and its acknowledgement a heartbeat, {TCP_IP:.0} bytes each): {:.1} KiB",
        ((up + down) / hours + heartbeats / hours * 2.0 * TCP_IP) / 1024.0
    );
}
