//! Peer probes: the collector asks this agent to try another node's port, and the agent decides by itself whether it does.
//!
//! `limits` is that decision, pure; here requests are carried out beside the session's task, few at a time, each a GET without
//! credentials. Off unless networks are given. Must not know the session, or believe the collector anything.

mod limits;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use holdfast_checks::peers::{Refusal, outcome_name};
use holdfast_proto::v1;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use holdfast_checks::peers::Network;
pub use limits::{Limits, Target};

use crate::health::Gauges;
use crate::policy::InForce;
use crate::sensors::ask_stranger;

/// Requests made at once.
const AT_ONCE: usize = 2;
/// Requests under way or waiting; more are refused.
const MOST_WAITING: usize = 10;
/// Refusals are logged one by one at most this often: whoever asks for nonsense shall not fill the disk.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// What is logged of a text the collector sent, in characters.
const LOGGED: usize = 64;

/// Does what the collector asks for, as far as this agent's own limits allow.
pub struct Peers {
    limits: Limits,
    policy: InForce,
    gauges: Arc<Gauges>,
    turns: Arc<Semaphore>,
    under_way: JoinSet<v1::ProbeResult>,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Peers {
    /// Asks within `networks` only; without any, nothing.
    pub fn new(networks: Vec<Network>, gauges: Arc<Gauges>) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self {
            limits: Limits::new(networks),
            policy: InForce::default(),
            gauges,
            turns,
            under_way: JoinSet::new(),
            logged: None,
            unlogged: 0,
        }
    }

    /// Asks within the pools of the policy in force, too.
    #[must_use]
    pub fn within(mut self, policy: InForce) -> Self {
        self.policy = policy;
        self
    }

    /// What a Hello says of it.
    pub fn capabilities(&self) -> u64 {
        if self.limits.switched_off() { 0 } else { holdfast_proto::PROBES_PEERS }
    }

    /// Starts a request, or gives the refusal to send. Needs a tokio runtime.
    pub fn ask(&mut self, request: &v1::ProbeRequest) -> Option<v1::ProbeResult> {
        let allowed = if self.under_way.len() >= MOST_WAITING {
            Err(Refusal::Busy)
        } else {
            self.limits.allow(request, |address| self.policy.may_try(address), Instant::now())
        };
        match allowed {
            Ok(target) => {
                self.gauges.peer_probes.fetch_add(1, Ordering::Relaxed);
                tracing::info!(address = %target.address, path = target.path, "asking another node's port for the collector");
                self.start(request.request, target);
                None
            }
            Err(refusal) => {
                self.gauges.peer_probes_refused.fetch_add(1, Ordering::Relaxed);
                self.log(request, refusal);
                let reason = refusal.name().to_owned();
                Some(v1::ProbeResult { request: request.request, refused_by_agent: true, reason, ..v1::ProbeResult::default() })
            }
        }
    }

    fn start(&mut self, request: u64, target: Target) {
        let turns = Arc::clone(&self.turns);
        self.under_way.spawn(async move {
            // The semaphore is never closed; without it requests would only be faster.
            let turn = turns.acquire_owned().await;
            let Target { address, tls, path } = target;
            let asked = tokio::task::spawn_blocking(move || ask_stranger(address, tls, path)).await;
            drop(turn);
            let met = asked.unwrap_or_else(|error| {
                tracing::error!(%error, %address, "asking another node's port died: report this");
                None
            });
            let answered = v1::ProbeResult { request, ..v1::ProbeResult::default() };
            if let Some((outcome, status)) = met {
                v1::ProbeResult { outcome: outcome_name(outcome).to_owned(), status: status.into(), ..answered }
            } else {
                v1::ProbeResult { refused_by_agent: true, reason: Refusal::Other.name().to_owned(), ..answered }
            }
        });
    }

    /// The next result; for ever when nothing is under way.
    pub async fn next(&mut self) -> v1::ProbeResult {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(result)) => return result,
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Forgets what is under way: the session that asked is over. The minute's count stays.
    pub fn forget(&mut self) {
        self.under_way = JoinSet::new();
    }

    fn log(&mut self, request: &v1::ProbeRequest, refusal: Refusal) {
        if self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            self.unlogged = self.unlogged.saturating_add(1);
            return;
        }
        self.logged = Some(Instant::now());
        let unlogged = std::mem::take(&mut self.unlogged);
        let short = |text: &str| text.chars().take(LOGGED).collect::<String>();
        tracing::warn!(
            address = ?short(&request.address),
            port = request.port,
            path = ?short(&request.path),
            reason = refusal.name(),
            unlogged = NonZeroU64::new(unlogged),
            "refused to ask another node's port for the collector: --peer-probes-cidrs, the built-in limits or the collector's own pools do not allow it"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use holdfast_checks::facts::ProbeOutcome;

    use super::*;

    fn request(number: u64, address: &str, port: u32, path: &str) -> v1::ProbeRequest {
        v1::ProbeRequest { request: number, address: address.to_owned(), port, path: path.to_owned() }
    }

    fn peers(networks: &[&str]) -> (Peers, Arc<Gauges>) {
        let gauges = Arc::new(Gauges::default());
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        (Peers::new(networks, Arc::clone(&gauges)), gauges)
    }

    #[tokio::test]
    async fn a_refusal_comes_at_once_is_counted_and_says_why() {
        let (mut peers, gauges) = peers(&[]);
        assert_eq!(peers.capabilities(), 0);
        let result = peers.ask(&request(7, "10.0.0.1", 10250, "/pods")).unwrap();
        assert_eq!((result.request, result.refused_by_agent, result.reason.as_str()), (7, true, "switched_off"));
        assert_eq!(gauges.peer_probes_refused.load(Ordering::Relaxed), 1);
        assert_eq!(gauges.peer_probes.load(Ordering::Relaxed), 0);
    }

    /// An address that is taken, and where nobody listens: nobody else can come to do so.
    fn closed() -> (tokio::net::TcpSocket, SocketAddr) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// A target on loopback, which no request can name, that accepts and never answers.
    fn silent() -> (TcpListener, Target) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, Target { address, tls: false, path: "/pods" })
    }

    #[tokio::test]
    async fn a_request_is_made_beside_the_session_and_its_result_comes_later() {
        let (mut peers, _) = peers(&["10.0.0.0/8"]);
        assert_eq!(peers.capabilities(), holdfast_proto::PROBES_PEERS);
        let (_held, address) = closed();
        peers.start(1, Target { address, tls: false, path: "/pods" });
        let result = tokio::time::timeout(Duration::from_mins(1), peers.next()).await.unwrap();
        assert_eq!((result.request, result.refused_by_agent, result.outcome.as_str(), result.status), (1, false, "refused", 0));
    }

    #[tokio::test]
    async fn few_wait_and_what_an_ended_session_asked_is_never_answered() {
        let (mut peers, gauges) = peers(&["10.0.0.0/8"]);
        let (_listener, target) = silent();
        for request in 0..10 {
            peers.start(request, target);
        }
        let result = peers.ask(&request(11, "10.0.0.1", 10250, "/pods")).unwrap();
        assert_eq!((result.refused_by_agent, result.reason.as_str()), (true, "busy"));
        assert_eq!(gauges.peer_probes.load(Ordering::Relaxed), 0);
        peers.forget();
        assert!(tokio::time::timeout(Duration::from_secs(3), peers.next()).await.is_err());
    }

    #[test]
    fn the_client_is_the_sensors_own() {
        let (_held, address) = closed();
        assert_eq!(ask_stranger(address, false, "/pods"), Some((ProbeOutcome::Refused, 0)));
    }
}
