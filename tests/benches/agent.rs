//! Prints what a connected, idle agent costs: resident memory and CPU. `make bench` runs it.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and may fail")]

use std::time::Duration;

use holdfast_tests::figures::{cpu_ticks, resident_kib};
use holdfast_tests::process::pause;
use holdfast_tests::site::{Binaries, Site};

const BINARIES: Binaries =
    Binaries { agent: env!("CARGO_BIN_EXE_holdfast-test-agent"), collector: env!("CARGO_BIN_EXE_holdfast-test-collector") };
const IDLE: Duration = Duration::from_mins(1);

fn main() {
    let site = Site::new(BINARIES).expect("a site");
    site.token("host").expect("a token");
    let collector = site.collector(&[]).expect("the collector starts");
    let agent = site.agent("host", &[]).expect("the agent starts");
    let stored = |api: &holdfast_tests::api::Api| api.findings("node=host").is_ok_and(|found| found.len() > 20);
    site.api().wait("the host is stored", Duration::from_mins(1), stored).expect("the agent reports");
    pause(Duration::from_secs(5));
    for (name, pid) in [("agent", agent.pid().as_raw()), ("collector", collector.pid().as_raw())] {
        println!("{name}: resident {:.1} MiB", f64::from(u32::try_from(resident_kib(pid)).unwrap_or(u32::MAX)) / 1024.0);
    }
    let pid = agent.pid().as_raw();
    let before = cpu_ticks(pid);
    pause(IDLE);
    let ticks = cpu_ticks(pid) - before;
    // A tick is 10 ms: ticks * 10 ms over the time gives the share of a core, in thousandths.
    let millicores = f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) * 10.0 / IDLE.as_secs_f64();
    println!("agent: {millicores:.1} millicores over {} s idle ({ticks} ticks of 10 ms)", IDLE.as_secs());
}
