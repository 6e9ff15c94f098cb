//! Prints what connections cost the collector: memory of each, handshakes a CPU second, and how long a fleet takes to come back.
//! `AGENTS` makes it another size, or several, one after the other: `AGENTS=500,1500`.
//!
//! Memory is what is resident beyond what was when the collector was ready, divided by connections: caches of the database are in it,
//! and what the allocator has not given back. Between two sizes what does not grow with the fleet falls out. `MALLOC_ARENA_MAX` and the
//! like reach the collector. CPU time is the kernel's count for the collector's process; agents are the simulator's,
//! on the same cores.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and may fail")]

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use holdfast_tests::figures::Figures;
use holdfast_tests::intruder::Intruder;
use holdfast_tests::sim::ground::Ground;
use holdfast_tests::sim::report::float;
use holdfast_tests::sim::{Fleet, Load};
use holdfast_tests::site::Binaries;
use holdfast_tests::unfinished::Unfinished;

const BINARIES: Binaries =
    Binaries { agent: env!("CARGO_BIN_EXE_holdfast-test-agent"), collector: env!("CARGO_BIN_EXE_holdfast-test-collector") };
const PATIENCE: Duration = Duration::from_mins(5);
/// What is left to do after a change is not the connection's.
const SETTLE: Duration = Duration::from_secs(15);
/// Handshakes that are counted, and so many at once; with the connections before them fewer than one address may have.
const HANDSHAKES: (usize, usize) = (2_500, 16);
/// What strangers leave unfinished.
const REQUESTS: [(&str, Unfinished); 3] = [
    ("with two requests without a body", Unfinished::Body),
    ("with two requests that lack a byte", Unfinished::Message),
    ("with those, and headers that do not end", Unfinished::Most),
];
/// How often a fleet comes back.
const RECONNECTS: usize = 3;

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    holdfast_collector::accept::raise_limit().expect("open files");
    let sizes = std::env::var("AGENTS").unwrap_or_else(|_| "1000".to_owned());
    let sizes: Vec<u32> = sizes.split(',').map(|size| size.parse().expect("AGENTS=500,1500")).collect();
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("MALLOC_")) {
        println!("{name}={value}");
    }
    let mut before: Option<Vec<Weight>> = None;
    for agents in sizes {
        let weights = measure(agents).await;
        for (was, is) in before.iter().flatten().zip(&weights).filter(|(was, is)| was.connections < is.connections) {
            let more = (float(is.resident_kib) - float(was.resident_kib)) / (float(is.connections) - float(was.connections));
            println!("from {} to {} connections {}: {more:.1} KiB each", was.connections, is.connections, is.what);
        }
        before = Some(weights);
    }
}

/// What so many connections had resident, all together.
struct Weight {
    what: &'static str,
    connections: u64,
    resident_kib: u64,
}

async fn measure(agents: u32) -> Vec<Weight> {
    let mut ground = Ground::new(BINARIES, agents, 1, &[]).expect("the collector starts");
    let load = Load { agents, entries: 100, ramp: 0.0, ..Load::default() };
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("{agents} agents of {} entries; {build} build; load average {}", load.entries, load_average());

    let mut weights = vec![strangers(&ground, agents).await];
    for (what, request) in REQUESTS {
        weights.push(unfinished(agents, what, request).await);
    }
    handshakes(&ground).await;
    again(&mut ground);

    let fleet = Fleet::start(&load, &ground.door()).expect("the fleet starts");
    fleet.flips(false);
    let took = fleet.in_sync(PATIENCE).await.expect("in sync");
    println!("first load of everybody at once: in sync after {:.1} s", took.as_secs_f64());
    tokio::time::sleep(SETTLE).await;
    weights.push(memory(&ground, fleet.standing().connected, "with a session, after its first load"));

    let mut back = Figures::default();
    for _ in 0..RECONNECTS {
        again(&mut ground);
        let start = Instant::now();
        fleet.in_sync(PATIENCE).await.expect("in sync again");
        back.add(start.elapsed());
    }
    println!("{agents} agents are in sync again after a restarted collector was ready: {back}, {} times", back.len());
    tokio::time::sleep(SETTLE).await;
    weights.push(memory(&ground, fleet.standing().connected, "with a session, idle since a collector's start"));
    let start = Instant::now();
    fleet.storm();
    while fleet.standing().in_sync == fleet.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fleet.in_sync(PATIENCE).await.expect("in sync again");
    println!("… after all connections were cut at once: {:.1} s", start.elapsed().as_secs_f64());
    tokio::time::sleep(SETTLE).await;
    weights.push(memory(&ground, fleet.standing().connected, "with a session, after that"));
    println!("load average {}", load_average());
    fleet.stop().await;
    weights
}

/// Of one, five and fifteen minutes: what else ran on the same cores.
fn load_average() -> String {
    let text = std::fs::File::open("/proc/loadavg").and_then(std::io::read_to_string).unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Another process, so that what was done before is not counted as connections.
fn again(ground: &mut Ground) {
    ground.end(true).expect("it is killed");
    ground.start().expect("it starts again");
}

fn memory(ground: &Ground, connections: usize, what: &'static str) -> Weight {
    let (resident, peak) = ground.memory_kib();
    println!(
        "a connection {what}: {:.1} KiB; {connections} connections, {:.1} MiB resident, {:.1} when it was ready, peak {:.1}",
        ground.kib_per_connection(connections),
        float(resident) / 1024.0,
        float(ground.bare_kib()) / 1024.0,
        float(peak) / 1024.0,
    );
    Weight { what, connections: u64::try_from(connections).unwrap_or(u64::MAX), resident_kib: resident }
}

fn intruder(ground: &Ground) -> Intruder {
    Intruder::new(ground.site.grpc, Path::new(&ground.site.path("tls/ca.crt"))).expect("a certificate")
}

/// Memory of connections that speak HTTP/2 and have no session.
async fn strangers(ground: &Ground, n: u32) -> Weight {
    let intruder = intruder(ground);
    let connecting = stream::iter(0..n).map(|_| intruder.without_session()).buffer_unordered(HANDSHAKES.1);
    let connected: Vec<_> = connecting.map(|connected| connected.expect("a connection")).collect().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    memory(ground, connected.len(), "without a session")
}

/// The same of connections in which requests have begun and do not end, of a collector of their own.
async fn unfinished(n: u32, what: &'static str, request: Unfinished) -> Weight {
    let ground = Ground::enrolling(BINARIES, 0, 1).expect("the collector starts");
    let intruder = intruder(&ground);
    let connecting = stream::iter(0..n).map(|_| intruder.unfinished(request)).buffer_unordered(HANDSHAKES.1);
    let connected: Vec<_> = connecting.map(|connected| connected.expect("a connection")).collect().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    memory(&ground, connected.len(), what)
}

/// Handshakes a CPU second, the end of each connection included.
async fn handshakes(ground: &Ground) {
    let intruder = intruder(ground);
    let (start, cpu) = (Instant::now(), ground.cpu_seconds());
    let shaking = stream::iter(0..HANDSHAKES.0).map(|_| intruder.shaken()).buffer_unordered(HANDSHAKES.1);
    let n = shaking.filter(|shaken| std::future::ready(shaken.is_ok())).count().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (cpu, passed) = (ground.cpu_seconds() - cpu, start.elapsed().as_secs_f64());
    let n = float(u64::try_from(n).unwrap_or(0));
    println!("{n:.0} TLS handshakes in {passed:.1} s and {cpu:.2} CPU s of the collector: {:.0} a CPU second", n / cpu.max(0.01));
}
