//! Those who have not shown yet that they belong here: a bounded number, in which the one that stood about longest gives way to the next.
//!
//! Who gives way is the oldest of the address with the most. One address that floods displaces its own; many agents behind one
//! address come in all the same, because whoever means it is through long before as many others came after it. A share for each address
//! would refuse those agents, and waiting for room would let whoever says nothing keep everybody out.
//! Must not know TLS or what is shown.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Whom an address stands for: a host that has many addresses of its own counts as one.
pub(super) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[derive(Debug, Default)]
struct Member {
    displaced: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct Standing {
    /// From when on it may be displaced.
    of_age: Instant,
    member: Arc<Member>,
}

#[derive(Debug, Default)]
struct Members {
    /// Of each address, by arrival.
    by_origin: HashMap<IpAddr, BTreeMap<u64, Standing>>,
    /// Those with nothing to hope for: they go first.
    forfeited: BTreeMap<u64, Standing>,
    count: usize,
    arrivals: u64,
}

impl Members {
    fn take(&mut self, origin: IpAddr, arrival: u64) -> Option<Standing> {
        let standing = self.forfeited.remove(&arrival).or_else(|| self.take_hopeful(origin, arrival))?;
        self.count = self.count.saturating_sub(1);
        Some(standing)
    }

    fn take_hopeful(&mut self, origin: IpAddr, arrival: u64) -> Option<Standing> {
        let of_origin = self.by_origin.get_mut(&origin)?;
        let standing = of_origin.remove(&arrival)?;
        if of_origin.is_empty() {
            self.by_origin.remove(&origin);
        }
        Some(standing)
    }

    /// Who gives way next: the oldest of the address with the most, and of those that have as many, the oldest of all.
    fn next_out(&self) -> Option<(IpAddr, u64, Instant)> {
        if let Some((arrival, standing)) = self.forfeited.first_key_value() {
            return Some((IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), *arrival, standing.of_age));
        }
        let oldest = |(origin, of_origin): (&IpAddr, &BTreeMap<u64, Standing>)| {
            let (arrival, standing) = of_origin.first_key_value()?;
            Some((of_origin.len(), std::cmp::Reverse(*arrival), *origin, standing.of_age))
        };
        let (_, std::cmp::Reverse(arrival), origin, of_age) = self.by_origin.iter().filter_map(oldest).max_by_key(|out| (out.0, out.1))?;
        Some((origin, arrival, of_age))
    }

    fn displace(&mut self) -> bool {
        let out = self.next_out().and_then(|(origin, arrival, _)| self.take(origin, arrival));
        let Some(out) = out else { return false };
        out.member.displaced.store(true, Ordering::Release);
        out.member.waker.wake();
        true
    }
}

/// A bounded number of connections. Shared.
#[derive(Debug)]
pub(super) struct Crowd {
    limit: usize,
    /// Time that each has, whatever comes after it.
    grace: Duration,
    members: Mutex<Members>,
    left: Notify,
}

impl Crowd {
    pub(super) fn new(limit: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), grace, members: Mutex::default(), left: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().count
    }

    /// Until another may join: there is room, or somebody has had the time that each has.
    pub(super) async fn room(&self) {
        loop {
            let left = self.left.notified();
            let full_until = {
                let members = self.lock();
                (members.count >= self.limit).then(|| members.next_out().map(|(_, _, of_age)| of_age)).flatten()
            };
            match full_until {
                Some(of_age) if of_age > Instant::now() => tokio::select! {
                    () = left => {}
                    () = sleep_until(of_age) => {}
                },
                _ => return,
            }
        }
    }

    /// Takes a place; when all are taken somebody gives way.
    pub(super) fn join(self: &Arc<Self>, address: IpAddr) -> Place {
        let (origin, member) = (origin(address), Arc::<Member>::default());
        let mut members = self.lock();
        let arrival = members.arrivals;
        (members.arrivals, members.count) = (arrival.wrapping_add(1), members.count + 1);
        let standing = Standing { of_age: Instant::now() + self.grace, member: Arc::clone(&member) };
        members.by_origin.entry(origin).or_default().insert(arrival, standing);
        if members.count > self.limit {
            members.displace();
        }
        Place { crowd: Arc::clone(self), origin, arrival, member }
    }

    /// Has a quarter give way, and at least one: what they hold is wanted elsewhere.
    pub(super) fn displace_some(&self) {
        let mut members = self.lock();
        for _ in 0..members.count.div_ceil(4) {
            members.displace();
        }
    }

    /// Has somebody give way; `false` when nobody is there.
    pub(super) fn displace(&self) -> bool {
        self.lock().displace()
    }
}

/// A place in the crowd; dropping it leaves.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    origin: IpAddr,
    arrival: u64,
    member: Arc<Member>,
}

impl Place {
    /// Ready once it has to give way.
    pub(super) fn poll_displaced(&self, context: &mut Context<'_>) -> Poll<()> {
        self.member.waker.register(context.waker());
        if self.member.displaced.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Of which it is one.
    pub(super) fn crowd(&self) -> Arc<Crowd> {
        Arc::clone(&self.crowd)
    }

    /// Until it has to give way.
    pub(super) async fn displaced(&self) {
        std::future::poll_fn(|context| self.poll_displaced(context)).await;
    }

    /// It has nothing to hope for any longer: gives way to anybody, at once.
    pub(super) fn forfeit(&self) {
        let mut members = self.crowd.lock();
        if let Some(standing) = members.take_hopeful(self.origin, self.arrival) {
            members.forfeited.insert(self.arrival, Standing { of_age: Instant::now(), ..standing });
        }
        drop(members);
        self.crowd.left.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever was displaced is out already.
        let left = self.crowd.lock().take(self.origin, self.arrival).is_some();
        if left {
            self.crowd.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::{Crowd, Place};

    const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const AGENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn out(place: &Place) -> bool {
        place.displaced().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_flood_from_one_address_displaces_its_own_oldest() {
        let crowd = Crowd::new(3, Duration::ZERO);
        let agent = crowd.join(AGENT);
        let flood: Vec<Place> = (0..10).map(|_| crowd.join(FLOOD)).collect();
        assert!(!out(&agent), "the oldest of all, and not of the address with the most");
        assert_eq!(flood.iter().filter(|place| !out(place)).count(), 2);
        assert!(!out(&flood[9]), "the newest stays");
        assert_eq!(crowd.len(), 3);
        drop(flood);
        assert_eq!(crowd.len(), 1, "whoever was displaced does not leave twice");
    }

    #[tokio::test]
    async fn one_of_many_addresses_gives_way_by_age() {
        let crowd = Crowd::new(2, Duration::ZERO);
        let all: Vec<Place> = (1..=3).map(|last| crowd.join([192, 0, 2, last].into())).collect();
        assert_eq!(all.iter().map(out).collect::<Vec<_>>(), [true, false, false]);
        let crowd = Crowd::new(2, Duration::ZERO);
        let hosts = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:2::2"].map(|host| crowd.join(host.parse().unwrap()));
        assert_eq!(hosts.iter().map(out).collect::<Vec<_>>(), [false, true, false], "a network of 64 bits is one host");
    }

    #[tokio::test]
    async fn agents_that_come_all_at_once_wait_their_turn_and_displace_nobody() {
        let crowd = Crowd::new(2, Duration::from_millis(500));
        let (first, _second) = (crowd.join(AGENT), crowd.join(AGENT));
        assert!(crowd.room().now_or_never().is_none(), "no room while both are new");
        drop(first);
        crowd.room().now_or_never().expect("room once one is through");
        let _third = crowd.join(AGENT);
        let before = tokio::time::Instant::now();
        crowd.room().await;
        assert!(before.elapsed() >= Duration::from_millis(400), "or once one has had its time");
    }

    #[tokio::test]
    async fn one_that_failed_holds_nobody_up() {
        let crowd = Crowd::new(1, Duration::from_millis(500));
        let failed = crowd.join(FLOOD);
        assert!(crowd.room().now_or_never().is_none());
        failed.forfeit();
        crowd.room().now_or_never().expect("at once");
        let _agent = crowd.join(AGENT);
        assert!(out(&failed));
    }
}
