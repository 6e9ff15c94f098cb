//! `holdfast-agent run`: keeps judging this node and keeps the collector informed, until told to stop.
//!
//! Puts the parts together and supervises them: two threads that read and watch, one task that speaks with the collector,
//! one that answers for health. One that ends without being asked ends the agent, with a message and a non-zero exit.

mod arguments;
mod judge;
mod notices;
mod spool;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::{Agent, Group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use arguments::RunArgs;
use judge::Judging;

use crate::causes::causes;
use crate::connect::rotation;
use crate::health::{self, Gauges};
use crate::host::Host;
use crate::identity::Keeper;
use crate::line::Line;
use crate::own::Own;
use crate::peers::Peers;
use crate::policy::{InForce, Policies};
use crate::privileges::{self, SelfTest};
use crate::sensors::{CriEndpoint, Sensors};
use crate::session::{Introduction, Session};
use crate::watch::{Pending, Watch, WatchOptions};

/// Judgements waiting to be taken into the spool. The judge waits for room: nothing is lost, its next reading covers more.
const JUDGEMENTS: usize = 2;

/// Everything from the command line to the exit: steps down, starts the runtime, and runs until SIGTERM or SIGINT.
///
/// Must be called before any thread starts, because privileges and the seccomp filter are inherited by threads.
///
/// # Errors
/// What stopped the agent, for a person; the exit code is then 3, and 2 for what [`RunArgs`] refuses.
pub fn start(args: RunArgs) -> anyhow::Result<()> {
    // Without the option no group is kept, and the host is not looked at before the privileges are gone.
    let groups = match &args.host.cri {
        CriEndpoint::Off => Vec::new(),
        cri => cri.groups(&Host::open(&args.host.host_root, &args.host.proc).context("cannot open the host")?),
    };
    if let Some(directory) = &args.identity {
        privileges::prepare_identity(directory, args.run_as)?;
    }
    let down = privileges::step_down(args.run_as, args.spool.as_deref(), &groups).context("cannot step down to a reader")?;
    if let Some(error) = down.spool {
        tracing::warn!("{}", causes(&error));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = cancel.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            stop.cancel();
        });
        run(args, cancel).await
    });
    // A sensor that hangs in the kernel must not hold up the exit.
    runtime.shutdown_background();
    result
}

/// Runs until `cancel`. Privileges and signals are the caller's.
///
/// # Errors
/// What could not be set up, or which part ended without being asked.
pub async fn run(args: RunArgs, cancel: CancellationToken) -> anyhow::Result<()> {
    let tested = privileges::self_test_on(&args.host.host_root, &args.host.proc);
    report(&tested);
    let evaluator = Evaluator::new(crate::catalogue::load(args.host.catalogue.as_deref())?);
    let mut sensors = Sensors::open(args.host.sensors()).context("cannot open the host")?;
    let (gauges, pending) = (Arc::new(Gauges::default()), Arc::new(Pending::default()));
    let networks: Vec<String> = args.peer_probes_cidrs.iter().map(ToString::to_string).collect();
    if !networks.is_empty() {
        tracing::info!(networks = networks.join(" "), "the collector may ask this agent to try Kubernetes ports of other nodes");
    }
    let in_force = InForce::default();
    let peers = Peers::new(args.peer_probes_cidrs.clone(), Arc::clone(&gauges)).within(in_force.clone());
    let introduction = Introduction {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        catalogue_hash: evaluator.catalogue_hash(),
        boot_id: own(&args.host.proc, "random/boot_id"),
        node_name: args.host.node_name.clone().unwrap_or_else(|| own(&args.host.proc, "hostname")),
        capabilities: peers.capabilities() | args.token_file.as_ref().map_or(0, |_| holdfast_proto::REAUTHENTICATES),
    };
    tracing::info!(
        version = introduction.agent_version,
        checks = evaluator.catalogue().checks().len(),
        catalogue = %introduction.catalogue_hash,
        "holdfast-agent starts"
    );
    // Whichever part ends first ends the others: by cancellation when asked to, else with an error.
    let _ends_threads = EndsThreads(Arc::clone(&pending));

    let mut parts = tokio::task::JoinSet::new();
    let listener = health::bind(args.health).await?;
    let (health_gauges, health_cancel) = (Arc::clone(&gauges), cancel.clone());
    parts.spawn(async move {
        health::serve(listener, health_gauges, health_cancel).await;
        "health"
    });
    let options = WatchOptions { proc: args.host.proc.clone(), recorded: args.is_recorded(), full_pass: args.full_pass() };
    let (watch, watched) = (Watch::open(options, &pending), Arc::clone(&pending));
    parts.spawn(thread("watch", move || watch.run(&watched))?);
    let (judged, judgements) = mpsc::channel(JUDGEMENTS);
    let (rotated, tokens) = mpsc::channel(1);
    if let Some(file) = &args.token_file {
        // It ends with the connection, and by itself only when that is gone.
        tokio::spawn(rotation::follow(file.clone(), rotation::LOOK, rotated));
    }
    let target = args.target()?;
    let keeper = args.identity.clone().map(|directory| Keeper::new(target.clone(), directory, args.enrolment_token_file.clone()));
    let (mut spool, disk) = spool::open(args.spool, &gauges).await?;
    let known = evaluator.catalogue().checks().iter().map(|check| check.id.to_string());
    let policies = Policies::new(in_force.clone(), Arc::clone(&pending), known);
    // Before the first judgement, and whether there is a collector or not.
    policies.restore(&mut spool);
    let (account, again) = (Own::default().tested(tested.privileges()), Arc::clone(&pending));
    sensors.set_own(account.clone());
    let tell = move |now: &Agent| {
        if account.set(now.clone()) {
            again.add(&[Group::Agent].into());
        }
    };
    let line =
        Line::new(target, Session::new(introduction), spool, peers, Arc::clone(&gauges)).kept_on(disk).telling(tell).policed_by(policies);
    let line = if args.no_damping { line.undamped() } else { line }.reauthenticating(tokens);
    let line = match &keeper {
        Some(keeper) => line.renewed_by(keeper.follow()),
        None => line,
    };
    if let Some(keeper) = keeper {
        let cancel = cancel.clone();
        parts.spawn(async move {
            keeper.run(cancel).await;
            "identity"
        });
    }
    let judging = Judging { sensors, evaluator, policy: in_force, pending: Arc::clone(&pending), gauges, judged };
    parts.spawn(thread("sensors", move || judging.run())?);

    let line_cancel = cancel.clone();
    parts.spawn(async move {
        line.run(judgements, line_cancel).await;
        "connection"
    });

    while let Some(ended) = parts.join_next().await {
        match ended {
            // The connection ends last of all, after its goodbye.
            Ok("connection") if cancel.is_cancelled() => return Ok(()),
            Ok(_) if cancel.is_cancelled() => {}
            Ok(part) => anyhow::bail!("the {part} part of the agent ended without being asked: see the log above, and restart the agent"),
            Err(error) => anyhow::bail!("a part of the agent died ({error}): restart the agent and report this"),
        }
    }
    Ok(())
}

/// A supervised thread, as a future that ends when it does, also by panic.
fn thread(name: &'static str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<impl Future<Output = &'static str> + Send> {
    let (alive, ended) = tokio::sync::oneshot::channel::<()>();
    let body = move || {
        let _alive = alive;
        work();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).with_context(|| format!("cannot start the {name} thread"))?;
    Ok(async move {
        // Nothing is ever sent: the sender goes with the thread.
        drop(ended.await);
        name
    })
}

struct EndsThreads(Arc<Pending>);

impl Drop for EndsThreads {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn report(test: &SelfTest) {
    match test.summary() {
        (true, line) => tracing::info!("{line}"),
        (false, line) => tracing::warn!("{line}"),
    }
}

/// A word the kernel knows of this host; empty when it cannot be read. Told to the collector for people to read.
fn own(proc: &Path, name: &str) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(proc.join("sys/kernel").join(name));
    let read = file.and_then(|file| file.take(256).read_to_string(&mut text));
    if read.is_ok() { text.trim().to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_noticed() {
        let watched = thread("doomed", || panic!("on purpose")).expect("it starts");
        assert_eq!(watched.await, "doomed");
    }
}
