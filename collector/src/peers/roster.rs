//! The agents that can ask, and the way to and from their sessions. Bounded on both sides; locked for moments, never across a
//! wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_proto::v1;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::nodes::{Breach, Registry};
use crate::refusals::Refusal;

/// Requests that may wait for one session.
const WAITING: usize = 8;
/// Results that may wait to be looked at.
const HEARD: usize = 1_024;

/// A result, and in whose session it came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) vantage: i64,
    pub(super) session: i64,
    pub(super) result: v1::ProbeResult,
}

#[derive(Debug)]
struct Member {
    session: i64,
    questions: mpsc::Sender<v1::ProbeRequest>,
}

/// Who is there.
#[derive(Debug)]
pub struct Roster {
    members: Mutex<BTreeMap<i64, Member>>,
    targets: Mutex<BTreeSet<i64>>,
    heard: mpsc::Sender<Heard>,
    receiver: Mutex<Option<mpsc::Receiver<Heard>>>,
    metrics: Metrics,
    on: bool,
    /// Who is told that an agent answered what another one was asked.
    registry: Option<Arc<Registry>>,
}

impl Roster {
    /// Without `on` nobody is ever asked, and every result is one that nobody asked for.
    pub fn new(on: bool, metrics: Metrics) -> Self {
        let (heard, receiver) = mpsc::channel(HEARD);
        Self {
            members: Mutex::default(),
            targets: Mutex::default(),
            heard,
            receiver: Mutex::new(Some(receiver)),
            metrics,
            on,
            registry: None,
        }
    }

    /// The same, telling `registry` of agents that answer what others were asked.
    #[must_use]
    pub fn telling(self, registry: Arc<Registry>) -> Self {
        Self { registry: Some(registry), ..self }
    }

    /// An agent answered what another node's was asked.
    pub(super) fn foreign(&self, node_id: i64, now: i64) {
        self.metrics.rejected(Refusal::ForeignWrite.code());
        if let Some(registry) = &self.registry {
            registry.breached(node_id, Breach::ForeignWrite, "its agent answered a peer probe that another node's agent was asked", now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent that can ask has a session; what it is to be asked comes out here. `None`: nobody is asked.
    pub fn join(&self, node_id: i64, session: i64) -> Option<mpsc::Receiver<v1::ProbeRequest>> {
        if !self.on {
            return None;
        }
        let (questions, receiver) = mpsc::channel(WAITING);
        let mut members = self.lock();
        if members.get(&node_id).is_none_or(|member| member.session <= session) {
            members.insert(node_id, Member { session, questions });
        }
        Some(receiver)
    }

    /// The session is over.
    pub fn leave(&self, node_id: i64, session: i64) {
        let mut members = self.lock();
        if members.get(&node_id).is_some_and(|member| member.session == session) {
            members.remove(&node_id);
        }
    }

    /// A session has received a result.
    pub fn heard(&self, vantage: i64, session: i64, result: v1::ProbeResult) {
        let taken = self.on && self.heard.try_send(Heard { vantage, session, result }).is_ok();
        if !taken {
            let reason = if self.on { "overflow" } else { "unsolicited" };
            tracing::debug!(vantage, reason, "a peer-probe result was not taken");
            self.metrics.peer_result_refused(reason);
        }
    }

    /// Are peers asked at all.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// The nodes that are asked about.
    pub fn targets(&self) -> BTreeSet<i64> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Is a node asked about.
    pub fn is_target(&self, node_id: i64) -> bool {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).contains(&node_id)
    }

    /// Says which nodes are asked about.
    pub fn set_targets(&self, targets: BTreeSet<i64>) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    /// `(node, session)` of everyone.
    pub(super) fn members(&self) -> Vec<(i64, i64)> {
        self.lock().iter().map(|(node_id, member)| (*node_id, member.session)).collect()
    }

    /// Hands a request to a session; `false` when it is gone or has enough to do.
    pub(super) fn ask(&self, node_id: i64, session: i64, request: v1::ProbeRequest) -> bool {
        let members = self.lock();
        members.get(&node_id).filter(|member| member.session == session).is_some_and(|member| member.questions.try_send(request).is_ok())
    }

    /// The results; only the first caller gets them.
    pub(super) fn results(&self) -> Option<mpsc::Receiver<Heard>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
