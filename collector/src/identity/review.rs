//! Service-account tokens, reviewed by the cluster's API server (TokenReview).
//!
//! Accepted is only a token for our audience, of our agents' service account, bound to a pod on a node; and only where that pod is one
//! of our DaemonSet, on that node, and the node still the one that the token names (`claims`). Answers are remembered by the token's
//! hash (`memory`), few are asked for at once and one for the same token at a time, so that a storm of reconnects cannot hurt the API
//! server; and whoever floods waits behind those who do not (`queue`).

mod claims;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod memory;
mod queue;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::time::timeout_at;

use self::claims::{Claims, Place, expiry};
use self::memory::Memory;
use self::queue::{Full, Limits, Queue};
use super::{Admitted, Holder, Rejection, sha256};
use crate::cluster::{ApiServer, Unanswered};
use crate::metrics::Metrics;
use crate::refusals::Refusal;
use crate::store::nodes::{NodeIdentity, Origin};

/// The audience agents' tokens are made for.
const AUDIENCE: &str = "holdfast-collector";
/// Reviews under way at once; of one address three quarters of them, and as many forged tokens a second; those that may wait for their turn.
const LIMITS: Limits = Limits { at_once: 20, of_one: 15, waiting: 1_000, rest: Duration::from_secs(1) };
/// How long a decision may take, waiting for its turn and a fresh look at pod and node included.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long an acceptance is remembered, and how many are.
const ACCEPTED: (Duration, usize) = (Duration::from_mins(1), 50_000);
/// How long a refusal is remembered, and how many are: apart, so that bad tokens cannot push out good ones.
const REFUSED: (Duration, usize) = (Duration::from_secs(5), 10_000);

/// SHA-256 of a token.
type Hash = [u8; 32];
/// A decision that whoever shows the same token waits for.
type Pending = Arc<OnceCell<Result<Admitted, Rejection>>>;

/// Asks the API server whom a token belongs to.
#[derive(Debug)]
pub struct TokenReview {
    api: ApiServer,
    metrics: Metrics,
    queue: Arc<Queue>,
    accepted: Mutex<Memory<Admitted>>,
    refused: Mutex<Memory<Rejection>>,
    pending: Mutex<BTreeMap<Hash, Pending>>,
}

impl TokenReview {
    /// Asks that API server.
    pub fn new(api: ApiServer, metrics: Metrics) -> Self {
        Self {
            api,
            metrics,
            queue: Queue::new(LIMITS),
            accepted: Mutex::new(Memory::new(ACCEPTED.0, ACCEPTED.1)),
            refused: Mutex::new(Memory::new(REFUSED.0, REFUSED.1)),
            pending: Mutex::default(),
        }
    }

    /// Who shows a token, from an address or, where that is `None`, in a session.
    ///
    /// # Errors
    /// Why it is not accepted, or that this cannot be decided now.
    pub async fn admit(&self, token: &str, from: Option<IpAddr>) -> Result<Admitted, Rejection> {
        let hash = sha256(token);
        if let Some(admitted) = lock(&self.accepted).get(&hash, Instant::now()) {
            // The pod may be gone since.
            return self.standing(&admitted).map(|()| admitted);
        }
        if let Some(rejection) = lock(&self.refused).get(&hash, Instant::now()) {
            return Err(rejection);
        }
        claims::hopeful(token, AUDIENCE, jiff::Timestamp::now().as_millisecond())?;
        let shared = Shared { review: self, hash, decision: Arc::clone(lock(&self.pending).entry(hash).or_default()) };
        shared.decision.get_or_init(|| self.decide_once(token, hash, from)).await.clone()
    }

    /// Does what was accepted before still hold, by what is known of pod and node. While the API server is away it does.
    ///
    /// # Errors
    /// Why it does not.
    pub fn standing(&self, admitted: &Admitted) -> Result<(), Rejection> {
        let Holder::Pod(uid) = &admitted.holder else { return Ok(()) };
        let cluster = self.api.cluster();
        if cluster.lacks_pod(uid) {
            return Err(Rejection::new(Refusal::PodDeleted, format!("its pod {uid} was deleted")));
        }
        if cluster.pod(uid).is_some_and(|pod| pod.ended) {
            return Err(Rejection::new(Refusal::PodDeleted, format!("its pod {uid} has ended")));
        }
        let node = &admitted.node;
        match cluster.node(&node.name).filter(|now| now.uid != node.uid) {
            Some(now) => Err(claims::replaced(&node.name, &node.uid, &now.uid)),
            None => Ok(()),
        }
    }

    /// Decides, within bounds, and remembers.
    async fn decide_once(&self, token: &str, hash: Hash, from: Option<IpAddr>) -> Result<Admitted, Rejection> {
        let _waiting = Waiting::new(&self.metrics);
        let decided = self.decide_in_turn(token, hash, from).await;
        let now = Instant::now();
        match &decided {
            Ok(admitted) => {
                let left = admitted.expires_at.map(|end| end.saturating_sub(jiff::Timestamp::now().as_millisecond()));
                let left = left.map_or(ACCEPTED.0, |left| Duration::from_millis(u64::try_from(left).unwrap_or_default()));
                lock(&self.accepted).put(hash, admitted.clone(), left, now);
            }
            Err(rejection) if rejection.undecided() => {}
            Err(rejection) => lock(&self.refused).put(hash, rejection.clone(), REFUSED.0, now),
        }
        self.metrics.reviewed(match &decided {
            Ok(_) => "accepted",
            Err(rejection) if rejection.refusal == Refusal::ReviewBusy => "busy",
            Err(rejection) if rejection.undecided() => "unavailable",
            Err(_) => "refused",
        });
        decided
    }

    /// Waits for its turn, and decides.
    async fn decide_in_turn(&self, token: &str, hash: Hash, from: Option<IpAddr>) -> Result<Admitted, Rejection> {
        let end = tokio::time::Instant::now() + TIMEOUT;
        let busy = |why: String| Rejection::new(Refusal::ReviewBusy, why);
        let turn = timeout_at(end, self.queue.turn(from)).await;
        let turn = turn.map_err(|_| busy(format!("its turn to be reviewed did not come within {} s", TIMEOUT.as_secs())))?;
        let mut turn = turn.map_err(|Full| busy("more tokens than may wait are yet to be reviewed".to_owned()))?;
        let decided = timeout_at(end, self.decide(token, hash)).await;
        let decided = decided.unwrap_or_else(|_| Err(unavailable(format!("not decided within {} s", TIMEOUT.as_secs()))));
        if decided.is_ok() {
            turn.went_well();
        }
        decided
    }

    async fn decide(&self, token: &str, hash: Hash) -> Result<Admitted, Rejection> {
        let unanswered = |Unanswered(why)| unavailable(why);
        let status = self.api.review(token, AUDIENCE).await.map_err(unanswered)?;
        let claims = Claims::of(status, AUDIENCE, self.api.namespace())?;
        let cluster = self.api.cluster();
        let known = Place { pod: cluster.pod(&claims.pod_uid), node: cluster.node(&claims.node_name), daemon_set: cluster.daemon_set() };
        if known.holds(&claims).is_err() {
            // Made or replaced a moment ago: the watches may not have told yet.
            let asked = tokio::try_join!(self.api.pod(&claims.pod_name), self.api.node(&claims.node_name), self.api.daemon_set());
            let (pod, node, daemon_set) = asked.map_err(unanswered)?;
            let fresh = Place { pod: pod.filter(|pod| pod.uid == claims.pod_uid), node, daemon_set };
            fresh.holds(&claims)?;
            fresh.pod.into_iter().for_each(|pod| cluster.upsert_pod(pod));
            fresh.node.into_iter().for_each(|node| cluster.upsert_node(node));
        }
        let cluster = cluster.name().to_owned();
        let node = NodeIdentity { cluster, uid: claims.node_uid, name: claims.node_name, origin: Origin::Agent };
        Ok(Admitted { node, holder: Holder::Pod(claims.pod_uid), expires_at: expiry(token), token_hash: Some(hash) })
    }
}

fn unavailable(reason: impl Into<String>) -> Rejection {
    Rejection::new(Refusal::ReviewUnavailable, reason)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of those who wait for the same decision. The last one to leave takes it out.
struct Shared<'a> {
    review: &'a TokenReview,
    hash: Hash,
    decision: Pending,
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let mut pending = lock(&self.review.pending);
        let ours = pending.get(&self.hash).is_some_and(|decision| Arc::ptr_eq(decision, &self.decision));
        // Decided: whoever comes now finds it remembered, or asks anew. Else it is kept for the others: the map's and ours are two.
        if ours && (self.decision.initialized() || Arc::strong_count(&self.decision) <= 2) {
            pending.remove(&self.hash);
        }
    }
}

/// Counts a token that is yet to be decided.
struct Waiting<'a>(&'a Metrics);

impl<'a> Waiting<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.review_waiting(1);
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.review_waiting(-1);
    }
}

#[cfg(test)]
mod tests;
