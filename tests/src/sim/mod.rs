//! A fleet in one process: many agents on the real session code, with real TLS to a real collector.
//!
//! What is left out of an agent is what reads and judges a node: [`content`] makes that up, the same for the same seed. `meter` counts
//! what goes over the wire, `dial` is the real way to the collector with that in it, `agent` is one agent's life, [`ground`] a
//! collector for a fleet, [`report`] prints. Not repeatable is
//! when the runtime schedules what, and the session's own chance.

mod agent;
pub mod content;
mod dial;
pub mod dice;
pub mod ground;
pub mod meter;
pub mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use holdfast_agent::connect::{Credentials, Shown, Target};
use holdfast_agent::session::Introduction;
use holdfast_checks::entries::Digest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use agent::{Agent, View};
use content::{Node, Template};
use dial::{Cable, Dial};
use dice::Dice;
use meter::Meter;

/// What a fleet does.
#[derive(Debug, Clone, clap::Args)]
pub struct Load {
    /// How many agents.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub agents: u32,
    /// Findings and inventory of each node: those of a recorded node, cut or repeated.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    pub entries: u32,
    /// Time over which the agents start.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub ramp: f64,
    /// Verdicts that flip, per agent and minute.
    #[arg(long, value_name = "PER_AGENT_PER_MINUTE", default_value_t = 0.0)]
    pub flip_rate: f64,
    /// Spools that are lost, per agent and hour: the agent is killed and comes back with nothing but its node.
    #[arg(long, value_name = "PER_AGENT_PER_HOUR", default_value_t = 0.0)]
    pub epoch_loss: f64,
    /// Wall clocks are wrong by up to this, evenly in both directions.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pub clock_skew: u32,
    /// So many agents of a hundred read half a kilobyte a second.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub slow_reader: u8,
    /// The same seed gives the same nodes with the same names, tokens and flips.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self { agents: 1_000, entries: 100, ramp: 10.0, flip_rate: 0.0, epoch_loss: 0.0, clock_skew: 0, slow_reader: 0, seed: 1 }
    }
}

/// Where a fleet's collector is, and what it knows the agents by.
#[derive(Debug, Clone)]
pub struct Door {
    /// `https://host:port`.
    pub collector: String,
    /// PEM file of the collector's authority.
    pub ca: PathBuf,
    /// The file that `tokens` came from: for error messages.
    pub tokens_file: PathBuf,
    /// One token an agent.
    pub tokens: Vec<String>,
}

/// How a fleet stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Agents with a session.
    pub connected: usize,
    /// Agents of which the collector has acknowledged everything.
    pub in_sync: usize,
}

/// Agents that run. Dropping it ends them.
#[derive(Debug)]
pub struct Fleet {
    template: Arc<Template>,
    views: Vec<Arc<View>>,
    meter: Arc<Meter>,
    cable: Arc<Cable>,
    quiet: Arc<AtomicBool>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

/// The name of an agent's node.
pub fn name(agent: u32) -> String {
    format!("sim-{agent:05}")
}

impl Fleet {
    /// Starts agents, each at its time of the ramp. Needs a tokio runtime.
    ///
    /// # Errors
    /// The collector's address, its CA, a token or the recording cannot be used.
    pub fn start(load: &Load, door: &Door) -> Result<Self> {
        let target = Arc::new(Target {
            collector: Target::parse_collector(&door.collector).map_err(anyhow::Error::msg).context("--collector")?,
            ca: door.ca.clone(),
            shown: Shown::Token(door.tokens_file.clone()),
            server_name: None,
            allow_tls12: false,
        });
        let trust = Credentials::trust(&door.ca)?;
        let template = Arc::new(Template::new(usize::try_from(load.entries)?, 1)?);
        let (meter, cable, quiet) = (Arc::new(Meter::default()), Arc::new(Cable::default()), Arc::default());
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut fleet = Self { template: Arc::clone(&template), views: Vec::new(), meter, cable, quiet, cancel, tasks };
        if door.tokens.len() < usize::try_from(load.agents)? {
            bail!("{}: {} tokens for {} agents: one line each", door.tokens_file.display(), door.tokens.len(), load.agents);
        }
        for (number, token) in (0..load.agents).zip(&door.tokens) {
            let mut dice = Dice::new(load.seed, u64::from(number));
            let node = Node::new(Arc::clone(&template), &mut dice);
            let view = Arc::new(View::new(name(number), node.digest()));
            let unusable = || format!("{}: line {} is no token", door.tokens_file.display(), number + 1);
            let credentials = Credentials::new(Arc::clone(&trust), token).with_context(unusable)?;
            let dial = Dial {
                target: Arc::clone(&target),
                credentials,
                meter: Arc::clone(&fleet.meter),
                account: view.account(),
                cable: Arc::clone(&fleet.cable),
                slow: dice.share() * 100.0 < f64::from(load.slow_reader),
            };
            let agent = Agent {
                node,
                dial,
                introduction: introduction(&view.name, &template),
                flips: load.flip_rate / 60.0,
                quiet: Arc::clone(&fleet.quiet),
                losses: load.epoch_loss / 3_600.0,
                skew_ms: skew(load.clock_skew, &mut dice),
                dice,
                view: Arc::clone(&view),
            };
            fleet.views.push(view);
            let delay = Duration::from_secs_f64(load.ramp.max(0.0) * f64::from(number) / f64::from(load.agents));
            fleet.tasks.spawn(Box::pin(agent.live(delay, fleet.cancel.clone())));
        }
        fleet.tasks.close();
        Ok(fleet)
    }

    /// What was counted since the start.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How many agents there are.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Is there no agent.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        let count = |of: fn(&View) -> bool| self.views.iter().filter(|view| of(view)).count();
        Standing { connected: count(View::is_connected), in_sync: count(View::is_in_sync) }
    }

    /// Waits until all are in sync; how long that took. Does not wait when they are.
    ///
    /// # Errors
    /// Not within that time.
    pub async fn in_sync(&self, within: Duration) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let standing = self.standing();
            if standing.in_sync == self.len() {
                return Ok(start.elapsed());
            }
            if start.elapsed() > within {
                bail!("not all {} agents are in sync after {within:?}: {standing:?}", self.len());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Drops every connection at once.
    pub fn storm(&self) {
        self.cable.cut();
    }

    /// Lets verdicts flip, or not.
    pub fn flips(&self, go_on: bool) {
        self.quiet.store(!go_on, Ordering::Relaxed);
    }

    /// What the collector should hold, by node.
    pub fn digests(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.views.iter().map(|view| (view.name.as_str(), view.digest()))
    }

    /// How many transitions the collector should hold: every finding came once, and flipped. Only while no spool was lost.
    pub fn transitions(&self) -> u64 {
        let came = u64::try_from(self.template.findings() * self.len()).unwrap_or(u64::MAX);
        self.views.iter().map(|view| view.flips()).sum::<u64>() + came
    }

    /// Has every agent say goodbye, and waits for that.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn introduction(name: &str, template: &Template) -> Introduction {
    Introduction {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        catalogue_hash: template.catalogue,
        boot_id: "simulated".to_owned(),
        node_name: name.to_owned(),
        capabilities: 0,
    }
}

fn skew(most: u32, dice: &mut Dice) -> i64 {
    let width = usize::try_from(most).unwrap_or(0).saturating_mul(2) + 1;
    i64::try_from(dice.below(width)).unwrap_or(0) - i64::from(most)
}

/// The tokens of a file, one a line.
///
/// # Errors
/// It cannot be read.
pub fn read_tokens(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read(path).with_context(|| format!("--tokens {}", path.display()))?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
