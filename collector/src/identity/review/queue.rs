//! Whose token is reviewed next: few at once, and fair between those who show them.
//!
//! Whoever shows tokens waits in the lane of the address; a free turn goes to the lane that has the fewest. No lane has all turns, so that
//! another one's first token waits for nothing. A token that is not accepted keeps its place in the lane for a while, also when nobody
//! waits for the answer any longer: that bounds what one address can have the API server asked. Where as many wait as may, the newest
//! of the lane with the most gives way. Sessions that show a rotated token have a lane of their own, which goes first: their agents are
//! known, and one that is refused has lost its session.
//! Must not know tokens or answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Where somebody waits: by the address, or with those that have a session.
pub(super) type Lane = Option<IpAddr>;

/// How many may do what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Turns at once.
    pub(super) at_once: usize,
    /// Turns of one lane at once, those included that are not free again yet.
    pub(super) of_one: usize,
    /// Waiting for a turn.
    pub(super) waiting: usize,
    /// How long a turn that came to nothing stays taken in its lane.
    pub(super) rest: Duration,
}

/// As many wait as may, most of them in this lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Default)]
struct Waiters {
    /// By arrival.
    waiting: BTreeMap<u64, oneshot::Sender<Turn>>,
    under_way: usize,
    resting: usize,
}

impl Waiters {
    fn taken(&self) -> usize {
        self.under_way + self.resting
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.taken() == 0
    }
}

#[derive(Debug, Default)]
struct Lanes {
    waiters: BTreeMap<Lane, Waiters>,
    under_way: usize,
    waiting: usize,
    arrivals: u64,
}

impl Lanes {
    /// The lane whose turn it is: that of sessions, or the one that has the fewest, and of those the one that has waited longest.
    fn next(&self, of_one: usize) -> Option<Lane> {
        let may = self.waiters.iter().filter(|(_, waiters)| waiters.taken() < of_one);
        let ranked = may.filter_map(|(lane, waiters)| {
            let (arrival, _) = waiters.waiting.first_key_value()?;
            Some(((lane.is_some(), waiters.taken(), *arrival), *lane))
        });
        ranked.min().map(|(_, lane)| lane)
    }

    /// Has the newest of the lane with the most give way to one more of `newcomer`; `false` when that one has the most itself.
    fn make_room(&mut self, newcomer: Lane) -> bool {
        let own = newcomer.and_then(|_| self.waiters.get(&newcomer)).map_or(0, |waiters| waiters.waiting.len());
        let of_addresses = self.waiters.iter_mut().filter(|(lane, _)| lane.is_some());
        let most = of_addresses.map(|(lane, waiters)| (*lane, waiters)).max_by_key(|(_, waiters)| waiters.waiting.len());
        let Some((lane, most)) = most.filter(|(_, waiters)| waiters.waiting.len() > own + usize::from(newcomer.is_some())) else {
            return false;
        };
        // Whose sender is dropped hears of it.
        if most.waiting.pop_last().is_some() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        self.tidy(lane);
        true
    }

    fn tidy(&mut self, lane: Lane) {
        if self.waiters.get(&lane).is_some_and(Waiters::is_empty) {
            self.waiters.remove(&lane);
        }
    }
}

/// Turns, and who waits for them.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    lanes: Mutex<Lanes>,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, lanes: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn of a lane. Whoever stops waiting has left.
    pub(super) async fn turn(self: &Arc<Self>, lane: Lane) -> Result<Turn, Full> {
        // Dropped in the opposite order: whoever leaves is no longer there to be called, and gives back a turn that is on its way.
        let (call, called) = oneshot::channel();
        let _waiting = {
            let mut lanes = self.lock();
            if lanes.waiting >= self.limits.waiting && !lanes.make_room(lane) {
                return Err(Full);
            }
            let arrival = lanes.arrivals;
            (lanes.arrivals, lanes.waiting) = (arrival.wrapping_add(1), lanes.waiting + 1);
            lanes.waiters.entry(lane).or_default().waiting.insert(arrival, call);
            Waiting { queue: self, lane, arrival }
        };
        self.call();
        called.await.map_err(|_| Full)
    }

    /// Gives turns to whoever is next, while there are any.
    fn call(self: &Arc<Self>) {
        loop {
            let mut lanes = self.lock();
            let next = lanes.next(self.limits.of_one).filter(|_| lanes.under_way < self.limits.at_once);
            let Some(lane) = next else { return };
            let call = lanes.waiters.get_mut(&lane).and_then(|waiters| {
                let (_, call) = waiters.waiting.pop_first()?;
                waiters.under_way += 1;
                Some(call)
            });
            let Some(call) = call else { return };
            (lanes.under_way, lanes.waiting) = (lanes.under_way + 1, lanes.waiting.saturating_sub(1));
            drop(lanes);
            // One that is not taken gives itself back.
            drop(call.send(Turn { queue: Arc::clone(self), lane, well: false }));
        }
    }

    fn change(self: &Arc<Self>, lane: Lane, change: impl FnOnce(&mut Waiters)) {
        let mut lanes = self.lock();
        if let Some(waiters) = lanes.waiters.get_mut(&lane) {
            change(waiters);
        }
        lanes.tidy(lane);
        drop(lanes);
        self.call();
    }
}

/// A place among those who wait.
struct Waiting<'a> {
    queue: &'a Queue,
    lane: Lane,
    arrival: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut lanes = self.queue.lock();
        let left = lanes.waiters.get_mut(&self.lane).and_then(|waiters| waiters.waiting.remove(&self.arrival)).is_some();
        if left {
            lanes.waiting = lanes.waiting.saturating_sub(1);
            lanes.tidy(self.lane);
        }
    }
}

/// A turn. It is free again once dropped; in its lane, only at once if all was well.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    lane: Lane,
    well: bool,
}

impl Turn {
    /// What it was for was accepted.
    pub(super) fn went_well(&mut self) {
        self.well = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (queue, lane) = (Arc::clone(&self.queue), self.lane);
        // Without a runtime nobody waits either.
        let runtime = Handle::try_current().ok().filter(|_| !self.well && lane.is_some());
        let resting = usize::from(runtime.is_some());
        {
            let mut lanes = queue.lock();
            lanes.under_way = lanes.under_way.saturating_sub(1);
        }
        queue.change(lane, |waiters| {
            waiters.under_way = waiters.under_way.saturating_sub(1);
            waiters.resting += resting;
        });
        if let Some(runtime) = runtime {
            // As many at most as a lane has turns.
            runtime.spawn(async move {
                sleep(queue.limits.rest).await;
                queue.change(lane, |waiters| waiters.resting = waiters.resting.saturating_sub(1));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

    use std::future::Future;
    use std::pin::Pin;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::time::{Instant, timeout};

    use super::*;

    const FLOOD: Lane = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const AGENT: Lane = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));
    const LIMITS: Limits = Limits { at_once: 4, of_one: 3, waiting: 10, rest: Duration::from_secs(1) };

    type Wait<'a> = Pin<Box<dyn Future<Output = Result<Turn, Full>> + 'a>>;

    /// Somebody who has taken a place.
    fn wait(queue: &Arc<Queue>, lane: Lane) -> Wait<'_> {
        let mut wait: Wait<'_> = Box::pin(queue.turn(lane));
        assert!(wait.as_mut().now_or_never().is_none(), "there is no turn yet");
        wait
    }

    fn at_once(queue: &Arc<Queue>, lane: Lane) -> Turn {
        queue.turn(lane).now_or_never().expect("a turn at once").unwrap()
    }

    async fn soon<T>(wait: impl Future<Output = T>) -> T {
        timeout(Duration::from_millis(100), wait).await.expect("its turn")
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_address_leaves_a_turn_for_another() {
        let queue = Queue::new(LIMITS);
        let held: Vec<Turn> = (0..3).map(|_| at_once(&queue, FLOOD)).collect();
        let mut flood: Vec<Wait<'_>> = (0..10).map(|_| wait(&queue, FLOOD)).collect();
        let mut agent = at_once(&queue, AGENT);
        // All turns are taken, and the next free one is the other's again, however many came before.
        let second = wait(&queue, AGENT);
        agent.went_well();
        drop(agent);
        let _second = soon(second).await.unwrap();
        drop(held);
        sleep(LIMITS.rest * 2).await;
        assert!(soon(flood.remove(0)).await.is_ok(), "and then it is the flood's turn");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_nothing_is_not_free_in_its_lane_for_a_while() {
        let queue = Queue::new(LIMITS);
        let began = Instant::now();
        for _ in 0..9 {
            drop(queue.turn(FLOOD).await.unwrap());
        }
        assert_eq!(began.elapsed().as_secs(), 2, "three a second");
        let began = Instant::now();
        for _ in 0..100 {
            queue.turn(AGENT).await.unwrap().went_well();
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "whoever is accepted makes room at once");
        sleep(LIMITS.rest * 2).await;
        assert!(queue.lock().waiters.is_empty() && queue.lock().under_way == 0, "nothing is left of anybody");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_while_asked_about_has_had_the_turn() {
        let queue = Queue::new(LIMITS);
        let began = Instant::now();
        for _ in 0..6 {
            let held = queue.turn(FLOOD).await.unwrap();
            let asking = async move {
                std::future::pending::<()>().await;
                drop(held);
            };
            assert!(timeout(Duration::from_millis(1), asking).await.is_err());
        }
        drop(queue.turn(FLOOD).await.unwrap());
        assert!(began.elapsed() >= LIMITS.rest * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_of_the_lane_with_the_most_gives_way_and_that_lane_takes_no_more() {
        let queue = Queue::new(LIMITS);
        let _held: Vec<Turn> = (0..3).map(|_| at_once(&queue, FLOOD)).collect();
        let other = at_once(&queue, AGENT);
        let mut flood: Vec<Wait<'_>> = (0..10).map(|_| wait(&queue, FLOOD)).collect();
        assert_eq!(queue.turn(FLOOD).now_or_never().unwrap().unwrap_err(), Full);
        let _agents: Vec<Wait<'_>> = (0..5).map(|_| wait(&queue, AGENT)).collect();
        let displaced = flood.iter_mut().map(|wait| wait.now_or_never().is_some()).collect::<Vec<_>>();
        assert_eq!(displaced, [[false; 5], [true; 5]].concat());
        assert_eq!(queue.turn(AGENT).now_or_never().unwrap().unwrap_err(), Full, "both have as many");
        // A session with a rotated token displaces anybody, and goes first.
        let session = wait(&queue, None);
        drop(other);
        let _session = soon(session).await.unwrap();
        assert_eq!(queue.lock().waiting, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_has_left() {
        let queue = Queue::new(LIMITS);
        let held: Vec<Turn> = (0..3).map(|_| at_once(&queue, FLOOD)).collect();
        let flood: Vec<Wait<'_>> = (0..10).map(|_| wait(&queue, FLOOD)).collect();
        drop(flood);
        assert_eq!(queue.lock().waiting, 0);
        // Called and gone at the same moment: the turn is not lost.
        let gone = wait(&queue, FLOOD);
        drop(held);
        sleep(LIMITS.rest * 2).await;
        drop(gone);
        sleep(LIMITS.rest * 2).await;
        assert!(queue.lock().waiters.is_empty() && queue.lock().under_way == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_agents_behind_one_address_come_in_when_nobody_floods() {
        let queue = Queue::new(Limits { at_once: 20, of_one: 15, waiting: 1_000, ..LIMITS });
        let began = Instant::now();
        let all = join_all((0..1_000).map(|_| async {
            let mut turn = queue.turn(AGENT).await?;
            sleep(Duration::from_millis(10)).await;
            turn.went_well();
            Ok::<_, Full>(())
        }));
        assert!(all.await.into_iter().all(|admitted| admitted.is_ok()));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
