//! The task that keeps the collector's own findings up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::entries::Hash;
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::versions::knowledge::Knowledge;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::judge::{FleetJudge, Judgement, Peers, basis, judge};
use crate::alerts::{Clock, chain};
use crate::changes::{Change, ChangeFeed, ChangeKind};
use crate::feeds::Follow;
use crate::peers::Roster;
use crate::store::{Store, StoreError};

/// A burst of changes is judged once, this long after its first.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How often the day and peers' answers are looked at.
pub const TICK: Duration = Duration::from_mins(1);

/// What has to be judged.
enum Wanted {
    Everything,
    Nodes(BTreeSet<i64>),
}

/// Judges nodes until `cancel`, and looks at the day and at peers' answers every `tick`. A store that fails is tried again then.
pub async fn run(
    evaluator: Arc<Evaluator>,
    store: Store,
    changes: ChangeFeed,
    roster: Arc<Roster>,
    mut library: Follow,
    clock: Clock,
    tick: Duration,
    cancel: CancellationToken,
) {
    let fleet = FleetJudge::new(evaluator);
    let mut feed = changes.follow();
    let mut judged: BTreeMap<i64, Hash> = BTreeMap::new();
    let mut wanted = Wanted::Everything;
    let mut day = None;
    let mut failing = false;
    let mut asked_about = BTreeSet::new();
    // Beside the feed, not between its changes: a large fleet is never quiet for a minute.
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = clock();
        let today = date_of(now);
        if day != Some(today) {
            wanted = Wanted::Everything;
        }
        let knowledge = Arc::clone(&library.borrow_and_update().knowledge);
        let pass = Pass { fleet: &fleet, store: &store, changes: &changes, roster: &roster, knowledge: &knowledge, today, now };
        let outcome = tokio::select! { () = cancel.cancelled() => return, outcome = pass.judge_all(&wanted, &mut judged) => outcome };
        match &outcome {
            Err(error) if !failing => tracing::error!(error = chain(error), "nodes cannot be judged by the collector; it is tried again"),
            Ok(()) if failing => tracing::info!("nodes are judged by the collector again"),
            _ => {}
        }
        failing = outcome.is_err();
        // What failed is wanted again, whole: only what changed meanwhile costs anything.
        day = (!failing).then_some(today);
        let woken = tokio::select! {
            () = cancel.cancelled() => return,
            // Answers of peers grow old by themselves, and a node may be asked about no longer.
            _ = ticks.tick() => {
                let before = std::mem::replace(&mut asked_about, roster.targets());
                Wanted::Nodes(&before | &asked_about)
            }
            first = next(&mut feed) => first,
            // The library outlives this task only when nothing more is imported.
            Ok(()) = library.changed() => Wanted::Everything,
        };
        if matches!(&woken, Wanted::Nodes(nodes) if nodes.is_empty()) {
            wanted = woken;
            continue;
        }
        tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(DEBOUNCE) => {} }
        wanted = drain(&mut feed, woken);
    }
}

/// The next change that can move a verdict.
async fn next(feed: &mut broadcast::Receiver<Change>) -> Wanted {
    loop {
        match feed.recv().await {
            Ok(change) if moves(change) => return Wanted::Nodes(BTreeSet::from([change.node_id])),
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return Wanted::Everything,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// A node that comes back may have been away for days; inventory is what verdicts rest on.
fn moves(change: Change) -> bool {
    matches!(change.kind, ChangeKind::Inventory | ChangeKind::Node)
}

/// Adds what is waiting in the feed.
fn drain(feed: &mut broadcast::Receiver<Change>, mut wanted: Wanted) -> Wanted {
    loop {
        match (feed.try_recv(), &mut wanted) {
            (Ok(change), Wanted::Nodes(nodes)) if moves(change) => drop(nodes.insert(change.node_id)),
            (Ok(_), _) => {}
            (Err(broadcast::error::TryRecvError::Lagged(_)), _) => wanted = Wanted::Everything,
            (Err(_), _) => return wanted,
        }
    }
}

/// The day in UTC. A time that has no date is the epoch's.
fn date_of(now: i64) -> Date {
    jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date()
}

/// One round at one time.
struct Pass<'a> {
    fleet: &'a FleetJudge,
    store: &'a Store,
    changes: &'a ChangeFeed,
    roster: &'a Roster,
    knowledge: &'a Knowledge,
    today: Date,
    now: i64,
}

impl Pass<'_> {
    async fn judge_all(&self, wanted: &Wanted, judged: &mut BTreeMap<i64, Hash>) -> Result<(), StoreError> {
        let nodes = match wanted {
            Wanted::Nodes(nodes) => nodes.clone(),
            Wanted::Everything => {
                let all: BTreeSet<i64> = self.store.nodes_to_judge().await?.into_iter().collect();
                judged.retain(|node_id, _| all.contains(node_id));
                all
            }
        };
        for node_id in nodes {
            self.judge_one(node_id, judged).await?;
        }
        Ok(())
    }

    async fn judge_one(&self, node_id: i64, judged: &mut BTreeMap<i64, Hash>) -> Result<(), StoreError> {
        let Some(node) = self.store.node_to_judge(node_id).await? else {
            judged.remove(&node_id);
            return Ok(());
        };
        let peers = self.peers(node_id).await?;
        let basis = basis(&node, &peers, self.knowledge, self.today);
        // Before its first inventory a node has nothing to judge: `unknown` would be noise for a second.
        if node.documents.is_empty() || judged.get(&node_id) == Some(&basis) {
            return Ok(());
        }
        match judge(self.fleet, &node, &peers, self.knowledge, self.today, self.now) {
            Ok(Judgement { findings, chain }) => {
                let change = self.store.replace_judged(node_id, self.fleet.checks(), &findings, &chain, self.now).await?;
                if let Some(change) = change {
                    self.changes.publish(change);
                }
            }
            Err(error) => {
                tracing::error!(error = chain(&error), node_id, "a node's inventory cannot be judged; its findings stay as they were");
            }
        }
        judged.insert(node_id, basis);
        Ok(())
    }

    async fn peers(&self, node_id: i64) -> Result<Peers, StoreError> {
        if !self.roster.is_on() {
            return Ok(Peers::SwitchedOff);
        }
        if !self.roster.is_target(node_id) {
            return Ok(Peers::NotListed);
        }
        let mut answers = self.store.peer_answers(node_id).await?;
        answers.retain(|answer| answer.answer.stale_at > self.now);
        Ok(Peers::Asked(answers))
    }
}
