//! A simulated fleet from the command line. `agentsim --help`; docs/testing.md has the recipes.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use holdfast_tests::figures::Figures;
use holdfast_tests::sim::ground::Ground;
use holdfast_tests::sim::report::Report;
use holdfast_tests::sim::{Door, Fleet, Load, read_tokens};
use holdfast_tests::site::Binaries;
use tokio::time::Instant;

/// Runs many agents in one process against a collector: the real session code over real TLS, with made-up nodes.
///
/// Without --collector it starts one of its own, on loopback and in a temporary directory, and says what that costs. One address of
/// loopback has ports for 28,000 agents; both processes need as many open files (`ulimit -Hn`).
#[derive(Debug, Parser)]
#[command(name = "agentsim", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    load: Load,
    /// How long to go on after the ramp.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    duration: f64,
    /// Every so often all connections end at once, and all agents come back [default: never].
    #[arg(long, value_name = "EVERY_SECONDS")]
    storm: Option<f64>,
    /// How they end. All but `drop` need the collector of our own.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = By::Drop, requires = "storm")]
    storm_by: By,
    /// How long all agents may take to be in sync again after a storm.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    patience: f64,
    /// Time between lines of figures.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    every: f64,
    /// A collector that runs already: https://HOST:PORT.
    #[arg(long, value_name = "URL", requires_all = ["ca", "tokens"])]
    collector: Option<String>,
    /// The authority of its certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "collector")]
    ca: Option<PathBuf>,
    /// Tokens it knows, one a line, each for a node of its own.
    #[arg(long, value_name = "FILE", requires = "collector")]
    tokens: Option<PathBuf>,
}

/// How connections end in a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Agents' sockets are reset, all at once.
    Drop,
    /// The collector is asked to stop and started again.
    Restart,
    /// The collector is killed and started again.
    Kill,
}

fn main() -> ExitCode {
    // Its own collector is this program called with a collector's command, so that one binary is all there is to build.
    if matches!(std::env::args().nth(1).as_deref(), Some("serve" | "ca")) {
        return holdfast_collector::cli::main();
    }
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("agentsim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    anyhow::ensure!(
        cli.collector.is_none() || cli.storm_by == By::Drop,
        "--storm-by restart and kill need a collector of our own: leave --collector out"
    );
    let open = holdfast_collector::accept::raise_limit().context("raise the limit of open files")?;
    let needed = usize::try_from(cli.load.agents)? + 1_024;
    anyhow::ensure!(open >= needed, "{open} files may be open here and {needed} are needed: raise the hard limit (ulimit -Hn)");
    let (mut ground, door) = if let (Some(collector), Some(ca), Some(tokens)) = (&cli.collector, &cli.ca, &cli.tokens) {
        let door = Door { collector: collector.clone(), ca: ca.clone(), tokens_file: tokens.clone(), tokens: read_tokens(tokens)? };
        (None, door)
    } else {
        let own = std::env::current_exe().context("the path of this program")?.display().to_string();
        let ground = Ground::new(Binaries { agent: "", collector: own.leak() }, cli.load.agents, cli.load.seed, &[])?;
        let door = ground.door();
        (Some(ground), door)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(simulate(cli, &door, &mut ground));
    runtime.shutdown_background();
    done
}

async fn simulate(cli: &Cli, door: &Door, ground: &mut Option<Ground>) -> Result<()> {
    let (started, mut report) = (Instant::now(), Report::default());
    let fleet = Fleet::start(&cli.load, door)?;
    println!("{} agents of {} entries each, to {}\n{}", fleet.len(), cli.load.entries, door.collector, Report::head());
    let every = Duration::from_secs_f64(cli.every.max(0.1));
    let ramp = Duration::from_secs_f64(cli.load.ramp.max(0.0));
    let synced = until_in_sync(cli, &fleet, ground.as_ref(), &mut report, ramp).await?;
    println!(
        "{} agents connected and in sync {:.1} s after the first began, {:.1} s after the last",
        fleet.len(),
        started.elapsed().as_secs_f64(),
        synced.saturating_sub(ramp).as_secs_f64()
    );

    let ends = Instant::now() + Duration::from_secs_f64(cli.duration.max(0.0));
    let mut storm_at = cli.storm.map(|every| Instant::now() + Duration::from_secs_f64(every.max(1.0)));
    let mut recoveries = Vec::new();
    while Instant::now() < ends {
        let next = (Instant::now() + every).min(ends).min(storm_at.unwrap_or(ends));
        tokio::time::sleep_until(next).await;
        println!("{}", report.line(&fleet, ground.as_ref()));
        if storm_at.is_some_and(|at| Instant::now() >= at) {
            recoveries.push(storm(cli, &fleet, ground, &mut report).await?);
            storm_at = cli.storm.map(|every| Instant::now() + Duration::from_secs_f64(every.max(1.0)));
        }
    }
    fleet.flips(false);
    let settled = until_in_sync(cli, &fleet, ground.as_ref(), &mut report, Duration::ZERO).await;
    print!("\n{}", report.summary(&fleet, ground.as_ref()));
    if !recoveries.is_empty() {
        let recoveries = Figures::of(recoveries);
        println!(
            "{:<13} {} times; all in sync again after: {recoveries}, longest {:.1} s",
            "storm",
            recoveries.len(),
            recoveries.percentile(100).as_secs_f64()
        );
    }
    fleet.stop().await;
    settled.map(drop)
}

/// Ends all connections, and prints until all agents are in sync again; how long that took from the moment they ended.
async fn storm(cli: &Cli, fleet: &Fleet, ground: &mut Option<Ground>, report: &mut Report) -> Result<Duration> {
    let start = Instant::now();
    match (cli.storm_by, ground.as_mut()) {
        (By::Drop, _) | (_, None) => {
            println!("storm: every connection is dropped");
            fleet.storm();
        }
        (by, Some(ground)) => {
            println!("storm: the collector is {}", if by == By::Kill { "killed" } else { "asked to stop" });
            ground.end(by == By::Kill)?;
            let down = start.elapsed();
            ground.start()?;
            println!("storm: it ended after {:.1} s and was ready again after {:.1} s", down.as_secs_f64(), start.elapsed().as_secs_f64());
        }
    }
    // An agent whose connection has just ended notices that a moment later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    until_in_sync(cli, fleet, ground.as_ref(), report, Duration::ZERO).await?;
    println!("storm: all in sync again after {:.1} s", start.elapsed().as_secs_f64());
    Ok(start.elapsed())
}

/// Prints at intervals until all are in sync, `ramp` and the patience at most; how long it took.
async fn until_in_sync(cli: &Cli, fleet: &Fleet, ground: Option<&Ground>, report: &mut Report, ramp: Duration) -> Result<Duration> {
    let start = Instant::now();
    let limit = ramp + Duration::from_secs_f64(cli.patience.max(1.0));
    let every = Duration::from_secs_f64(cli.every.max(0.1));
    loop {
        let outcome = fleet.in_sync(every.min(limit.saturating_sub(start.elapsed()))).await;
        println!("{}", report.line(fleet, ground));
        match outcome {
            Ok(_) => return Ok(start.elapsed()),
            // With flips going on there is always somebody who is just saying something.
            Err(_) if cli.load.flip_rate > 0.0 && almost(fleet) => return Ok(start.elapsed()),
            Err(error) if start.elapsed() >= limit => return Err(error),
            Err(_) => {}
        }
    }
}

fn almost(fleet: &Fleet) -> bool {
    fleet.standing().in_sync * 100 >= fleet.len() * 95
}
