//! Who asks which node about which port, and when; and whether a result was asked for. No socket, clock or chance of its own:
//! the moment and draws are passed in.
//!
//! Nodes stand on a ring by a seeded hash. A node is asked about by the next agents after it that may, of other pools first: the
//! work is spread evenly, and an agent that comes or goes moves only its neighbours' work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use holdfast_checks::facts::ProbeOutcome;
use holdfast_checks::peers::{QUESTIONS, Question, Refusal, from_workers_only, outcome_of, question};
use holdfast_proto::v1;

use crate::policy::Policies;
use crate::store::peers::Met;

const MINUTE_MS: u64 = 60_000;
/// Requests to one agent in any minute: below what agents themselves allow.
const MOST_PER_MINUTE: usize = 8;
/// Of those, requests of the ordinary rounds: some are left for ports that open or close.
const ROUTINE_PER_MINUTE: usize = 6;
/// Requests one agent may have unanswered.
const MOST_IN_FLIGHT: usize = 4;
/// How long an answer may take: an agent's own queue, two seconds each, and the way.
const PATIENCE_MS: u64 = 30_000;
/// Requests that are over and remembered, so that a late or repeated result is known for what it is.
const REMEMBERED: usize = 4_096;
/// The first round is spread over this.
const FIRST_ROUND_MS: u64 = 60_000;
/// After a port opened or closed it is asked about this much later, so that a flapping one is asked about once.
const DEBOUNCE_MS: u64 = 1_000;
/// How many agents along the ring are looked at for one of another pool.
const LOOKED_AT: usize = 16;
/// The longest word in a result, in bytes.
const MAX_WORD_BYTES: usize = 32;

/// How often, and from how many sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two rounds, in milliseconds.
    pub every_ms: u64,
    /// Agents that ask about one port.
    pub vantages: usize,
}

/// A node that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node_id: i64,
    /// Its cluster: only agents of the same one ask.
    pub cluster: String,
    /// See [`super::ListedNode::pool`].
    pub pool: String,
    /// Where.
    pub addresses: Vec<IpAddr>,
    /// Ports it says it listens on: asked about first, and again when they change.
    pub listening: BTreeSet<i64>,
}

/// An agent that can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Its node.
    pub node_id: i64,
    /// Its session.
    pub session: i64,
    /// Its cluster.
    pub cluster: String,
    /// Its pool.
    pub pool: String,
    /// Its own addresses, as listed; none when it is not.
    pub addresses: Vec<IpAddr>,
    /// It belongs to the control plane.
    pub control_plane: bool,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// To whom.
    pub vantage: i64,
    /// In which of its sessions.
    pub session: i64,
    /// What.
    pub request: v1::ProbeRequest,
}

/// A result that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The node asked about.
    pub node_id: i64,
    /// The node whose agent asked.
    pub vantage: i64,
    /// Where.
    pub address: IpAddr,
    /// What.
    pub question: Question,
    /// What came of it.
    pub met: Met,
}

/// Why a result is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotTaken {
    /// Nobody asked this agent for it.
    #[error("nobody asked for it")]
    Unsolicited,
    /// Another node's agent was asked for it.
    #[error("another node's agent was asked for it")]
    Foreign,
    /// It came after its time.
    #[error("it came too late")]
    Late,
    /// It came before.
    #[error("it came before")]
    Duplicate,
    /// It says nothing this version understands.
    #[error("it is malformed")]
    Malformed,
}

impl NotTaken {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsolicited => "unsolicited",
            Self::Foreign => "foreign",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
        }
    }
}

/// What is asked, of whom, by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Errand {
    target: i64,
    address: IpAddr,
    port: i64,
    vantage: i64,
}

#[derive(Debug)]
struct Asked {
    errand: Errand,
    session: i64,
    question: Question,
    until_ms: u64,
}

/// The plan and what is under way.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    seed: u64,
    targets: BTreeMap<i64, Target>,
    askers: BTreeMap<i64, Asker>,
    /// When each errand is next due; at most one entry each.
    due: BTreeMap<Errand, u64>,
    /// Errands to ports that opened or closed, before all others.
    urgent: BTreeSet<Errand>,
    /// Whose pools say who may ask whom.
    policies: Arc<Policies>,
    stale: bool,
    asked: BTreeMap<u64, Asked>,
    /// Requests that are over: how, and whose they were.
    over: BTreeMap<u64, (NotTaken, i64)>,
    over_order: VecDeque<u64>,
    /// When each agent was last asked, within the minute.
    sent: BTreeMap<i64, VecDeque<u64>>,
}

impl Schedule {
    /// Nothing to do yet.
    pub fn new(pace: Pace, seed: u64) -> Self {
        Self {
            pace,
            seed,
            targets: BTreeMap::new(),
            askers: BTreeMap::new(),
            due: BTreeMap::new(),
            urgent: BTreeSet::new(),
            policies: Arc::default(),
            stale: false,
            asked: BTreeMap::new(),
            over: BTreeMap::new(),
            over_order: VecDeque::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Sets how often and from how many sides.
    pub fn set_pace(&mut self, pace: Pace) {
        self.stale |= self.pace != pace;
        self.pace = pace;
    }

    /// Sets whose pools say who may ask whom.
    pub fn set_policies(&mut self, policies: Arc<Policies>) {
        let other = !Arc::ptr_eq(&self.policies, &policies) && *self.policies != *policies;
        self.stale |= other;
        self.policies = policies;
    }

    /// The pace.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// How many nodes are asked about.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Is the node asked about.
    pub fn is_target(&self, node_id: i64) -> bool {
        self.targets.contains_key(&node_id)
    }

    /// Adds a target or replaces it. Ports that opened or closed are asked about at once.
    pub fn set_target(&mut self, target: Target, now_ms: u64) {
        let old = self.targets.get(&target.node_id);
        if let Some(old) = old {
            let moved: BTreeSet<i64> = old.listening.symmetric_difference(&target.listening).copied().collect();
            let first = Errand { target: target.node_id, address: Ipv4Addr::UNSPECIFIED.into(), port: i64::MIN, vantage: i64::MIN };
            let its = self.due.range_mut(first..).take_while(|(errand, _)| errand.target == target.node_id && !moved.is_empty());
            for (errand, due) in its.filter(|(errand, _)| moved.contains(&errand.port)) {
                self.urgent.insert(*errand);
                *due = (*due).min(now_ms.saturating_add(DEBOUNCE_MS));
            }
        }
        self.stale |= old.is_none_or(|old| (&old.addresses, &old.pool, &old.cluster) != (&target.addresses, &target.pool, &target.cluster));
        self.targets.insert(target.node_id, target);
    }

    /// Nobody asks about this node any more.
    pub fn drop_target(&mut self, node_id: i64) {
        self.stale |= self.targets.remove(&node_id).is_some();
    }

    /// The agents there are. What an agent was asked in a session that is over is over, too.
    pub fn set_askers(&mut self, askers: impl IntoIterator<Item = Asker>) {
        let askers: BTreeMap<i64, Asker> = askers.into_iter().map(|asker| (asker.node_id, asker)).collect();
        if askers == self.askers {
            return;
        }
        self.askers = askers;
        self.stale = true;
        let there = |asked: &Asked| self.askers.get(&asked.errand.vantage).is_some_and(|asker| asker.session == asked.session);
        let gone: Vec<u64> = self.asked.iter().filter(|(_, asked)| !there(asked)).map(|(id, _)| *id).collect();
        for id in gone {
            self.close(id, NotTaken::Late);
        }
    }

    /// What to send now. `draw` gives uniform numbers: for jitter, and for requests' unguessable names.
    pub fn tick(&mut self, now_ms: u64, draw: &mut dyn FnMut() -> u64) -> Vec<Ask> {
        let expired: Vec<u64> = self.asked.iter().filter(|(_, asked)| now_ms >= asked.until_ms).map(|(id, _)| *id).collect();
        for id in expired {
            self.close(id, NotTaken::Late);
        }
        if std::mem::take(&mut self.stale) {
            self.replan(now_ms, draw);
        }
        // Kept over a reconnect: the agent's own count is.
        self.sent.retain(|_, sent| sent.back().is_some_and(|at| now_ms.saturating_sub(*at) < MINUTE_MS));
        let mut in_flight: BTreeMap<i64, usize> = BTreeMap::new();
        for asked in self.asked.values() {
            *in_flight.entry(asked.errand.vantage).or_default() += 1;
        }
        let ready = self.due.iter().filter(|(_, due)| now_ms >= **due);
        let mut ready: Vec<(bool, u64, Errand)> = ready.map(|(errand, due)| (!self.urgent.contains(errand), *due, *errand)).collect();
        ready.sort_unstable();
        let mut asks = Vec::new();
        for (routine, _, errand) in ready {
            let (Some(asker), Some(question)) = (self.askers.get(&errand.vantage), question(errand.port)) else { continue };
            let sent = self.sent.entry(errand.vantage).or_default();
            while sent.front().is_some_and(|at| now_ms.saturating_sub(*at) >= MINUTE_MS) {
                sent.pop_front();
            }
            let flying = in_flight.entry(errand.vantage).or_default();
            let most = if routine { ROUTINE_PER_MINUTE } else { MOST_PER_MINUTE };
            if *flying >= MOST_IN_FLIGHT || sent.len() >= most {
                continue;
            }
            let id = draw();
            if id == 0 || self.asked.contains_key(&id) || self.over.contains_key(&id) {
                continue;
            }
            *flying += 1;
            self.urgent.remove(&errand);
            sent.push_back(now_ms);
            self.due.insert(errand, now_ms.saturating_add(jittered(self.pace.every_ms, draw())));
            let (address, path) = (errand.address.to_string(), question.path.to_owned());
            let request = v1::ProbeRequest { request: id, address, port: question.port.into(), path };
            asks.push(Ask { vantage: errand.vantage, session: asker.session, request });
            let until_ms = now_ms.saturating_add(PATIENCE_MS);
            self.asked.insert(id, Asked { errand, session: asker.session, question, until_ms });
        }
        asks
    }

    /// A request could not be handed over: it is tried again.
    pub fn unsent(&mut self, id: u64, now_ms: u64) {
        if let Some(asked) = self.asked.remove(&id) {
            self.put_off(asked.errand, now_ms);
        }
    }

    /// Takes a result of an agent, if it was asked for it in this session and has not given it yet.
    ///
    /// # Errors
    /// [`NotTaken`]. What the agent was asked stays open then, but for a malformed result.
    pub fn answered(&mut self, vantage: i64, session: i64, result: &v1::ProbeResult, now_ms: u64) -> Result<Answer, NotTaken> {
        let id = result.request;
        let Some(asked) = self.asked.get(&id).filter(|asked| (asked.errand.vantage, asked.session) == (vantage, session)) else {
            // Ids are random: this one was not guessed.
            if self.asked.get(&id).is_some_and(|asked| asked.errand.vantage != vantage) {
                return Err(NotTaken::Foreign);
            }
            let over = self.over.get(&id).filter(|(_, whose)| *whose == vantage);
            return Err(over.map_or(NotTaken::Unsolicited, |(how, _)| *how));
        };
        if now_ms >= asked.until_ms {
            self.close(id, NotTaken::Late);
            return Err(NotTaken::Late);
        }
        let (errand, question) = (asked.errand, asked.question);
        self.close(id, NotTaken::Duplicate);
        let met = met(result).ok_or(NotTaken::Malformed)?;
        if matches!(met, Met::Refused(Refusal::TooMany | Refusal::Busy)) {
            self.put_off(errand, now_ms);
        }
        Ok(Answer { node_id: errand.target, vantage, address: errand.address, question, met })
    }

    /// Not this time: in a minute.
    fn put_off(&mut self, errand: Errand, now_ms: u64) {
        if let Some(due) = self.due.get_mut(&errand) {
            *due = (*due).min(now_ms.saturating_add(MINUTE_MS));
        }
    }

    fn close(&mut self, id: u64, how: NotTaken) {
        let Some(asked) = self.asked.remove(&id) else { return };
        self.over.insert(id, (how, asked.errand.vantage));
        self.over_order.push_back(id);
        while self.over_order.len() > REMEMBERED {
            if let Some(oldest) = self.over_order.pop_front() {
                self.over.remove(&oldest);
            }
        }
    }

    /// Who asks what, anew; what was planned before and still is keeps its time.
    fn replan(&mut self, now_ms: u64, draw: &mut dyn FnMut() -> u64) {
        let mut rings: BTreeMap<&str, Vec<(u64, &Asker)>> = BTreeMap::new();
        for asker in self.askers.values() {
            rings.entry(&asker.cluster).or_default().push((self.place(asker.node_id), asker));
        }
        for ring in rings.values_mut() {
            ring.sort_unstable_by_key(|(place, asker)| (*place, asker.node_id));
        }
        let mut due = BTreeMap::new();
        for target in self.targets.values() {
            let Some(ring) = rings.get(target.cluster.as_str()) else { continue };
            let place = self.place(target.node_id);
            let start = ring.partition_point(|(at, asker)| (*at, asker.node_id) <= (place, target.node_id));
            let around = || ring.iter().cycle().skip(start).take(ring.len()).map(|(_, asker)| *asker);
            let policy = self.policies.of(&target.cluster);
            for address in target.addresses.iter().copied() {
                let may = |asker: &&Asker| policy.may_try(&asker.addresses, address);
                let any = chosen(target, around().filter(may), self.pace.vantages);
                let workers = chosen(target, around().filter(may).filter(|asker| !asker.control_plane), self.pace.vantages);
                for (question, vantage) in QUESTIONS.into_iter().flat_map(|question| {
                    let vantages = if from_workers_only(question.port.into()) { &workers } else { &any };
                    vantages.iter().map(move |vantage| (question, *vantage))
                }) {
                    let port = i64::from(question.port);
                    let errand = Errand { target: target.node_id, address, port, vantage };
                    let spread = if target.listening.contains(&port) { DEBOUNCE_MS } else { FIRST_ROUND_MS.min(self.pace.every_ms) };
                    let first = || now_ms.saturating_add(draw() % spread.max(1));
                    due.insert(errand, self.due.get(&errand).copied().unwrap_or_else(first));
                }
            }
        }
        self.due = due;
        self.urgent.retain(|errand| self.due.contains_key(errand));
    }

    /// Where a node stands on the ring.
    fn place(&self, node_id: i64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, node_id).hash(&mut hasher);
        hasher.finish()
    }
}

/// The first agents along the ring that are not the target's own, of pools not chosen yet before others.
fn chosen<'a>(target: &Target, around: impl Iterator<Item = &'a Asker>, vantages: usize) -> Vec<i64> {
    let near: Vec<&Asker> = around.filter(|asker| asker.node_id != target.node_id).take(LOOKED_AT.max(vantages)).collect();
    let mut pools: BTreeSet<&str> = BTreeSet::from([target.pool.as_str()]);
    let mut picked: Vec<i64> = Vec::with_capacity(vantages);
    for asker in &near {
        if picked.len() < vantages && !asker.pool.is_empty() && pools.insert(&asker.pool) {
            picked.push(asker.node_id);
        }
    }
    for asker in &near {
        if picked.len() < vantages && !picked.contains(&asker.node_id) {
            picked.push(asker.node_id);
        }
    }
    picked
}

/// `every` ± 10 %.
fn jittered(every_ms: u64, draw: u64) -> u64 {
    let tenth = every_ms / 10;
    every_ms.saturating_sub(tenth).saturating_add(draw % tenth.saturating_mul(2).max(1))
}

/// What a result says, in our words; `None` when it says nothing that makes sense.
fn met(result: &v1::ProbeResult) -> Option<Met> {
    if result.refused_by_agent {
        let word = result.reason.len() <= MAX_WORD_BYTES;
        return Some(Met::Refused(if word { Refusal::of(&result.reason) } else { Refusal::Other }));
    }
    let outcome = outcome_of(&result.outcome)?;
    let status = i64::from(result.status);
    let fits = if outcome == ProbeOutcome::Answered { (100..600).contains(&status) } else { status == 0 };
    fits.then_some(Met::Asked(outcome, status))
}

#[cfg(test)]
mod tests;
