//! One seed's story: what happens to the nodes, the network and the processes, and when; then everything is made well again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_collector::identity::{Tokens, add};
use holdfast_collector::store::nodes::Origin;
use holdfast_tests::sim::dice::Dice;
use holdfast_tests::stored::Stored;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::agent::Agent;
use crate::check::agrees;
use crate::collector::{Database, Slot, Start};
use crate::disk::Mood;

/// The simulation's step: within it every process runs, between two of them messages arrive.
const TICK: Duration = Duration::from_millis(10);
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(75);
/// How long it may take then, in simulated time: agents that failed all the while wait for minutes.
const HEALED: Duration = Duration::from_mins(20);
const COLLECTOR: &str = "collector";
/// A link in good order.
const NEAR: Duration = Duration::from_millis(40);

/// What a story came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Came {
    pub(crate) simulated: Duration,
    pub(crate) sessions: u64,
    pub(crate) transitions: u64,
}

/// What is due at a moment of the simulation.
#[derive(Debug)]
enum Due {
    Change(usize),
    Trouble,
    Release(usize),
    Repair(usize),
    Near(usize),
    CollectorStarts,
    AgentStarts(usize),
    DiskWell(usize),
}

struct Story<'a> {
    sim: Sim<'a>,
    dice: Dice,
    database: Database,
    collector: Slot,
    tokens: std::path::PathBuf,
    stopping: CancellationToken,
    agents: Vec<Agent>,
    due: BTreeMap<(Duration, u64), Due>,
    planned: u64,
    collector_up: bool,
    agent_up: Vec<bool>,
    log: String,
}

/// Plays the story of `seed` in `directory`.
///
/// # Errors
/// What does not hold, and what happened before.
pub(crate) fn play(seed: u64, directory: &Path) -> Result<Came, String> {
    let mut story = Story::new(seed, directory);
    story.run().map_err(|problem| format!("{problem}\n{}", story.log))
}

/// Unix milliseconds of a moment of the simulation: an hour ago and on, so that no node's clock is ahead of the collector's.
fn wall(elapsed: Duration) -> i64 {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from((started.saturating_sub(Duration::from_hours(1)) + elapsed).as_millis()).unwrap()
}

impl Story<'_> {
    fn new(seed: u64, directory: &Path) -> Self {
        let mut dice = Dice::new(seed, 0);
        let tokens = directory.join("tokens.yaml");
        let mut builder = turmoil::Builder::new();
        builder.tick_duration(TICK).rng_seed(seed).enable_random_order().tcp_capacity(65_536).simulation_duration(Duration::MAX);
        builder.min_message_latency(Duration::from_millis(1)).max_message_latency(NEAR);
        let mut sim = builder.build();
        let collector = Slot::default();
        let host = collector.clone();
        let mut story_database = Database::new(directory);
        let count = usize::try_from(dice.between(2, 4)).unwrap();
        let names = (1..=count).map(|n| format!("node-{n}"));
        let agents: Vec<Agent> =
            names.map(|name| Agent::new(name.clone(), &add(&tokens, "c", &name, Origin::Agent).unwrap(), dice.one_in(4))).collect();
        let stopping = Self::prepare(&mut story_database, &collector, &tokens);
        sim.host(COLLECTOR, move || host.clone().run());
        let mut story = Self {
            sim,
            dice,
            database: story_database,
            collector,
            tokens,
            stopping,
            agent_up: vec![true; agents.len()],
            agents,
            due: BTreeMap::new(),
            planned: 0,
            collector_up: true,
            log: String::new(),
        };
        for n in 0..count {
            let agent = &mut story.agents[n];
            agent.node.change(&mut story.dice, 120, wall(Duration::ZERO));
            agent.prepare(&mut story.dice, wall(Duration::ZERO));
            let slot = agent.slot();
            story.sim.host(agent.name.clone(), move || slot.clone().run());
            story.plan(100, 2_000, Due::Change(n));
        }
        story.plan(500, 4_000, Due::Trouble);
        story
    }

    fn prepare(database: &mut Database, collector: &Slot, tokens: &Path) -> CancellationToken {
        let (writer, known) = database.open();
        let stop = CancellationToken::new();
        collector.put(Start { writer, known, tokens: Tokens::load(tokens).unwrap(), stop: stop.clone() });
        stop
    }

    /// Something is due between `low` and `high` milliseconds from now.
    fn plan(&mut self, low: u64, high: u64, due: Due) {
        let at = self.sim.elapsed() + Duration::from_millis(self.dice.between(low, high));
        self.planned += 1;
        self.due.insert((at, self.planned), due);
    }

    fn note(&mut self, what: &str) {
        writeln!(self.log, "{:>9.2} s  {what}", self.sim.elapsed().as_secs_f64()).unwrap();
    }

    fn run(&mut self) -> Result<Came, String> {
        while self.sim.elapsed() < TROUBLE {
            self.step()?;
        }
        self.heal();
        let healed = self.sim.elapsed();
        let stored = self.database.run(Stored::open(self.database.file())).unwrap();
        let mut settled = false;
        while !settled && self.sim.elapsed() < healed + HEALED {
            for _ in 0..50 {
                self.step()?;
            }
            settled = self.is_settled(&stored);
        }
        self.note("checked");
        let checked = self.agents.iter().try_for_each(|agent| self.database.run(agrees(&stored, agent)));
        self.database.run(stored.close());
        checked.map_err(|problem| problem.to_string())?;
        self.database.crash();
        let sum = |of: fn(&Agent) -> u64| self.agents.iter().map(of).sum();
        Ok(Came { simulated: self.sim.elapsed(), sessions: sum(|agent| agent.sessions()), transitions: sum(|agent| agent.made()) })
    }

    fn step(&mut self) -> Result<(), String> {
        self.sim.step().map_err(|error| format!("the simulation ended: {error}"))?;
        self.database.settle();
        let now = wall(self.sim.elapsed());
        for n in 0..self.agents.len() {
            self.agents[n].retell(now);
            self.agents[n].disk.step(self.sim.elapsed(), &mut self.dice);
            if self.agent_up[n] && !self.sim.is_host_running(self.agents[n].name.as_str()) {
                self.note(&format!("{} has stopped", self.agents[n].name));
                self.agent_gone(n);
            }
        }
        if self.collector_up && !self.sim.is_host_running(COLLECTOR) {
            self.note("the collector has stopped");
            self.collector_gone(true);
        }
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= self.sim.elapsed()
        {
            let due = entry.remove();
            self.happens(due);
        }
        Ok(())
    }

    fn is_settled(&self, stored: &Stored) -> bool {
        self.agents.iter().all(|agent| {
            let digest = || self.database.run(stored.digest(&agent.name)).unwrap();
            agent.is_done() && digest().is_some_and(|digest| digest == agent.node.state().digest().to_string())
        })
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Change(n) => self.change(n),
            Due::Trouble => {
                self.trouble();
                self.plan(200, 4_000, Due::Trouble);
            }
            Due::Release(n) => {
                self.note(&format!("{}: what was held goes on", self.agents[n].name));
                self.sim.release(COLLECTOR, self.agents[n].name.as_str());
            }
            Due::Repair(n) => {
                self.note(&format!("{}: the network is repaired", self.agents[n].name));
                self.sim.repair(COLLECTOR, self.agents[n].name.as_str());
            }
            Due::Near(n) => {
                self.note(&format!("{}: the network is fast again", self.agents[n].name));
                self.sim.set_link_max_message_latency(COLLECTOR, self.agents[n].name.as_str(), NEAR);
            }
            Due::CollectorStarts => self.start_collector(),
            Due::AgentStarts(n) => self.start_agent(n),
            Due::DiskWell(n) => {
                self.note(&format!("{}: its disk is well", self.agents[n].name));
                self.agents[n].disk.set_mood(Mood::Well);
            }
        }
    }

    fn change(&mut self, n: usize) {
        let now = wall(self.sim.elapsed());
        let most = if self.dice.one_in(10) { 150 } else { 8 };
        let agent = &mut self.agents[n];
        let touched = agent.node.change(&mut self.dice, most, now);
        let covers = (!self.dice.one_in(4)).then_some(touched);
        agent.tell(agent.node.judged(covers, now));
        let busy = self.dice.one_in(3);
        self.plan(20, if busy { 200 } else { 3_000 }, Due::Change(n));
    }

    fn trouble(&mut self) {
        let n = self.dice.below(self.agents.len());
        let name = self.agents[n].name.clone();
        match self.dice.between(0, 13) {
            0 | 1 => {
                self.note(&format!("{name}: messages are held"));
                self.sim.hold(COLLECTOR, name.as_str());
                self.plan(100, 30_000, Due::Release(n));
            }
            2 => {
                self.note(&format!("{name}: messages are lost"));
                self.sim.partition(COLLECTOR, name.as_str());
                self.plan(500, 30_000, Due::Repair(n));
            }
            3 => {
                self.note(&format!("{name}: its messages are lost"));
                self.sim.partition_oneway(name.as_str(), COLLECTOR);
                self.plan(500, 10_000, Due::Repair(n));
            }
            4 => {
                self.note(&format!("{name}: what it is told is lost"));
                self.sim.partition_oneway(COLLECTOR, name.as_str());
                self.plan(500, 10_000, Due::Repair(n));
            }
            5 | 6 => {
                let slow = Duration::from_millis(self.dice.between(200, 8_000));
                self.note(&format!("{name}: messages take up to {slow:?}"));
                self.sim.set_link_max_message_latency(COLLECTOR, name.as_str(), slow);
                self.plan(500, 15_000, Due::Near(n));
            }
            7 | 8 => {
                self.note(&format!("{name}: its connection is cut"));
                self.agents[n].dialer.cut();
            }
            9 if self.collector_up => {
                // Messages of this step are committed already; what it has acknowledged of them may not have left.
                self.note("the collector is killed");
                self.sim.crash(COLLECTOR);
                self.collector_gone(false);
            }
            10 if self.collector_up => {
                self.note("the collector is asked to stop");
                self.stopping.cancel();
            }
            11 if self.agent_up[n] => {
                if self.dice.one_in(3) {
                    self.note(&format!("{name} is asked to stop"));
                    self.agents[n].stop();
                } else {
                    self.note(&format!("{name} is killed"));
                    self.sim.crash(name.as_str());
                    self.agent_gone(n);
                }
            }
            12 => {
                let mood = if self.dice.one_in(2) { Mood::Slow } else { Mood::Broken };
                self.note(&format!("{name}: its disk is {mood:?}").to_lowercase());
                self.agents[n].disk.set_mood(mood);
                self.plan(500, 15_000, Due::DiskWell(n));
            }
            _ => {}
        }
    }

    fn collector_gone(&mut self, orderly: bool) {
        self.collector_up = false;
        if orderly {
            self.database.settle();
        }
        self.database.crash();
        self.plan(50, 8_000, Due::CollectorStarts);
    }

    fn start_collector(&mut self) {
        self.note("the collector starts");
        self.stopping = Self::prepare(&mut self.database, &self.collector, &self.tokens);
        self.sim.bounce(COLLECTOR);
        self.collector_up = true;
    }

    fn agent_gone(&mut self, n: usize) {
        self.agent_up[n] = false;
        self.agents[n].ended(&mut self.dice);
        self.plan(50, 5_000, Due::AgentStarts(n));
    }

    fn start_agent(&mut self, n: usize) {
        let name = self.agents[n].name.clone();
        let lost = self.dice.one_in(8);
        if lost {
            self.agents[n].disk.lose();
        }
        self.note(&format!("{name} starts{}", if lost { " without its spool" } else { "" }));
        self.agents[n].prepare(&mut self.dice, wall(self.sim.elapsed()));
        self.sim.bounce(name);
        self.agent_up[n] = true;
    }

    /// Ends every trouble and says the last word on every node.
    fn heal(&mut self) {
        self.note("everything is made well");
        // A process on its way down comes up again later; nothing else is due any more.
        self.due.retain(|_, due| matches!(due, Due::CollectorStarts | Due::AgentStarts(_)));
        for n in 0..self.agents.len() {
            let name = self.agents[n].name.clone();
            self.sim.release(COLLECTOR, name.as_str());
            self.sim.repair(COLLECTOR, name.as_str());
            self.sim.set_link_max_message_latency(COLLECTOR, name.as_str(), NEAR);
            self.agents[n].disk.set_mood(Mood::Well);
            let now = wall(self.sim.elapsed());
            let judgement = self.agents[n].node.judged(None, now);
            self.agents[n].tell(judgement);
        }
    }
}
