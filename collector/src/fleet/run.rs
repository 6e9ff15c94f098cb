//! The task that keeps the collector's own findings up to date.
//!
//! What changed on a node is judged before what has to be judged again all over the fleet: importing a feed into a fleet of ten
//! thousand nodes delays nobody's news by more than a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::entries::Hash;
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::Observed;
use holdfast_checks::versions::knowledge::Knowledge;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::census::Census;
use super::judge::{FleetJudge, Judgement, Outside, Peers, basis, judge};
use super::membership::membership;
use crate::alerts::{Clock, chain};
use crate::changes::{Change, ChangeFeed, ChangeKind};
use crate::cluster::Cluster;
use crate::feeds::Follow;
use crate::nodes::{Admission, Registry};
use crate::peers::Roster;
use crate::store::{Store, StoreError};

/// A burst of changes is judged once, this long after its first.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How often the day, peers' answers and clocks are looked at.
pub const TICK: Duration = Duration::from_mins(1);
/// Nodes that are judged before the feed is looked at again.
const BATCH: usize = 32;
/// Counting what the fleet runs takes at most a tenth of the time, however often nodes change.
const REST: u32 = 9;

/// What has to be judged.
#[derive(Debug, Default)]
struct Backlog {
    /// Every node there is, not listed yet.
    all: bool,
    /// Nodes of which something is new.
    changed: BTreeSet<i64>,
    /// Nodes for which something else is new: the day, the library, another node.
    again: BTreeSet<i64>,
    /// What the fleet runs may have changed.
    count: bool,
}

impl Backlog {
    /// A node that comes back may have been away for days; inventory is what verdicts rest on.
    fn hear(&mut self, heard: &Result<Change, broadcast::error::RecvError>) {
        match heard {
            Ok(Change { kind: ChangeKind::Inventory, node_id, .. }) => drop(self.changed.insert(*node_id)),
            Ok(Change { kind: ChangeKind::Node, node_id: 0, .. }) | Err(broadcast::error::RecvError::Lagged(_)) => {
                (self.all, self.count) = (true, true);
            }
            Ok(Change { kind: ChangeKind::Node, node_id, .. }) => {
                self.changed.insert(*node_id);
                self.count = true;
            }
            Ok(_) | Err(broadcast::error::RecvError::Closed) => {}
        }
    }

    /// Adds what is waiting in the feed.
    fn drain(&mut self, feed: &mut broadcast::Receiver<Change>) {
        loop {
            match feed.try_recv() {
                Ok(change) => self.hear(&Ok(change)),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => self.hear(&Err(broadcast::error::RecvError::Lagged(missed))),
                Err(_) => return,
            }
        }
    }

    /// Takes the next nodes: news first, but a node that is never quiet does not hold up the rest.
    fn batch(&mut self) -> Vec<i64> {
        let mut batch: Vec<i64> = std::iter::from_fn(|| self.changed.pop_first()).take(BATCH).collect();
        for node_id in &batch {
            self.again.remove(node_id);
        }
        batch.extend(std::iter::from_fn(|| self.again.pop_first()).take(BATCH));
        batch
    }

    fn is_empty(&self) -> bool {
        !self.all && self.changed.is_empty() && self.again.is_empty()
    }
}

/// What nodes are judged with.
pub struct Judging {
    /// The checks, compiled.
    pub evaluator: Arc<Evaluator>,
    /// Where inventory is and findings go.
    pub store: Store,
    /// What nodes change, and what is found.
    pub changes: ChangeFeed,
    /// Whom peers are asked about.
    pub roster: Arc<Roster>,
    /// How far clocks are off.
    pub registry: Arc<Registry>,
    /// Whose Node objects are followed, if any's.
    pub cluster: Option<Arc<Cluster>>,
    /// What is known of versions.
    pub library: Follow,
    /// Unix milliseconds.
    pub clock: Clock,
    /// How often the day, peers' answers and clocks are looked at.
    pub tick: Duration,
}

/// Judges nodes until `cancel`, and looks at the day, at peers' answers and at clocks every `tick`. A store that fails is tried again then.
pub async fn run(judging: Judging, cancel: CancellationToken) {
    let Judging { evaluator, store, changes, roster, registry, cluster, mut library, clock, tick } = judging;
    let mut feed = changes.follow();
    let mut fleet = Fleet {
        judge: FleetJudge::new(evaluator),
        store,
        changes,
        roster,
        registry,
        cluster,
        judged: BTreeMap::new(),
        // Not counted yet, which is no empty fleet: nothing is judged before.
        census: None,
        counting_rests_until: Instant::now(),
    };
    let mut backlog = Backlog { all: true, count: true, ..Backlog::default() };
    let mut judged_by: Option<(Date, Arc<Knowledge>)> = None;
    let mut failing = false;
    let mut asked_about = BTreeSet::new();
    let mut clocks = BTreeMap::new();
    let mut breached = BTreeMap::new();
    // Beside the feed, not between its changes: a large fleet is never quiet for a minute.
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = clock();
        let today = date_of(now);
        let knowledge = Arc::clone(&library.borrow_and_update().knowledge);
        let same = judged_by.as_ref().is_some_and(|(day, known)| *day == today && Arc::ptr_eq(known, &knowledge));
        backlog.all |= !same;
        judged_by = Some((today, Arc::clone(&knowledge)));
        let pass = Pass { basis: knowledge.basis(), knowledge: &knowledge, today, now };
        let outcome = tokio::select! { () = cancel.cancelled() => return, outcome = fleet.step(&pass, &mut backlog) => outcome };
        match &outcome {
            Err(error) if !failing => tracing::error!(error = chain(error), "nodes cannot be judged by the collector; it is tried again"),
            Ok(()) if failing => tracing::info!("nodes are judged by the collector again"),
            _ => {}
        }
        failing = outcome.is_err();
        if failing {
            // What failed is wanted again, whole: only what changed meanwhile costs anything.
            (backlog.all, backlog.count) = (true, true);
        }
        let more = !failing && !backlog.is_empty();
        let rests = fleet.counting_rests_until;
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            // Answers of peers grow old by themselves, and a node may be asked about no longer.
            _ = ticks.tick() => {
                let before = std::mem::replace(&mut asked_about, fleet.roster.targets());
                backlog.changed.extend(&before | &asked_about);
                let before = std::mem::replace(&mut clocks, fleet.registry.clocks());
                let moved = clocks.keys().chain(before.keys()).filter(|node_id| clocks.get(node_id) != before.get(node_id));
                backlog.changed.extend(moved.copied());
                // What was refused of a node counts for an hour.
                let before = std::mem::replace(&mut breached, fleet.registry.breached_lately(now));
                let moved = breached.keys().chain(before.keys()).filter(|node_id| breached.get(node_id) != before.get(node_id));
                backlog.changed.extend(moved.copied());
                backlog.count = true;
                continue;
            }
            () = tokio::task::yield_now(), if more => {
                backlog.drain(&mut feed);
                continue;
            }
            heard = feed.recv() => backlog.hear(&heard),
            // The library outlives this task only when nothing more is imported.
            Ok(()) = library.changed() => {}
            () = tokio::time::sleep_until(rests), if backlog.count && !failing => continue,
        }
        if !backlog.changed.is_empty() {
            tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(DEBOUNCE) => {} }
        }
        backlog.drain(&mut feed);
    }
}

/// The day in UTC. A time that has no date is the epoch's.
fn date_of(now: i64) -> Date {
    jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date()
}

/// What verdicts are judged by at one time.
struct Pass<'a> {
    knowledge: &'a Knowledge,
    /// Stands for the knowledge.
    basis: String,
    today: Date,
    now: i64,
}

/// The fleet as it was judged last.
struct Fleet {
    judge: FleetJudge,
    store: Store,
    changes: ChangeFeed,
    roster: Arc<Roster>,
    registry: Arc<Registry>,
    cluster: Option<Arc<Cluster>>,
    /// By what each node was judged. One that has to be judged in any case is not in it.
    judged: BTreeMap<i64, Hash>,
    census: Option<Census>,
    counting_rests_until: Instant,
}

impl Fleet {
    /// Judges the next batch, or counts what the fleet runs once there is none.
    async fn step(&mut self, pass: &Pass<'_>, backlog: &mut Backlog) -> Result<(), StoreError> {
        if self.census.is_none() {
            self.count(backlog).await?;
        }
        if backlog.all {
            let all: BTreeSet<i64> = self.store.nodes_to_judge().await?.into_iter().collect();
            self.judged.retain(|node_id, _| all.contains(node_id));
            backlog.again = all;
            backlog.all = false;
        }
        for node_id in backlog.batch() {
            backlog.count |= self.judge_one(node_id, pass).await?;
        }
        // Half-way through the fleet there is nothing to count.
        if backlog.again.is_empty() && backlog.count && Instant::now() >= self.counting_rests_until {
            self.count(backlog).await?;
        }
        Ok(())
    }

    /// Counts, and has those judged again whose newest moved.
    async fn count(&mut self, backlog: &mut Backlog) -> Result<(), StoreError> {
        let began = Instant::now();
        let census = Census::of(&self.store.running().await?);
        if let Some(before) = &self.census {
            let mut concerned = BTreeSet::new();
            for cohort in census.moved(before) {
                concerned.extend(self.store.nodes_of(&cohort).await?);
            }
            for node_id in &concerned {
                self.judged.remove(node_id);
            }
            backlog.again.append(&mut concerned);
        }
        self.census = Some(census);
        backlog.count = false;
        let ended = Instant::now();
        self.counting_rests_until = ended + ended.duration_since(began).saturating_mul(REST);
        Ok(())
    }

    /// `true` when something of the node was written.
    async fn judge_one(&mut self, node_id: i64, pass: &Pass<'_>) -> Result<bool, StoreError> {
        let Some(node) = self.store.node_to_judge(node_id).await? else {
            self.judged.remove(&node_id);
            return Ok(false);
        };
        let (peers, clock) = (self.peers(node_id, pass.now).await?, self.registry.clock(node_id));
        let breaches = self.store.recent_breaches(node_id, pass.now).await?;
        let admission = Admission::of(&node.holder, &breaches, pass.now);
        let outside = Outside { peers, clock, admission, membership: membership(&node, self.cluster.as_deref(), pass.now) };
        let basis = basis(&node, &outside, &pass.basis, pass.today);
        // Before its first inventory a node has nothing to judge but that it exists: `unknown` would be noise for a second.
        if node.documents.is_empty() && outside.membership.as_ref().and_then(Observed::value).is_none()
            || self.judged.get(&node_id) == Some(&basis)
        {
            return Ok(false);
        }
        let nobody = Census::default();
        let census = self.census.as_ref().unwrap_or(&nobody);
        let change = match judge(&self.judge, &node, &outside, census, pass.knowledge, pass.today, pass.now) {
            Ok(Judgement { findings, chain }) => {
                self.store.replace_judged(node_id, self.judge.checks(), &findings, &chain, pass.now).await?
            }
            Err(error) => {
                tracing::error!(error = chain(&error), node_id, "a node's inventory cannot be judged; its findings stay as they were");
                None
            }
        };
        self.judged.insert(node_id, basis);
        if let Some(change) = change {
            self.changes.publish(change);
        }
        Ok(change.is_some())
    }

    async fn peers(&self, node_id: i64, now: i64) -> Result<Peers, StoreError> {
        if !self.roster.is_on() {
            return Ok(Peers::SwitchedOff);
        }
        if !self.roster.is_target(node_id) {
            return Ok(Peers::NotListed);
        }
        let mut answers = self.store.peer_answers(node_id).await?;
        answers.retain(|answer| answer.answer.stale_at > now);
        Ok(Peers::Asked(answers))
    }
}
