//! What everybody else learns of a session: the registry of nodes, the roster of those who probe, the policies' desk, refusals.

use std::num::NonZeroU64;
use std::sync::Arc;

use holdfast_proto::v1;

use super::end::End;
use super::{Connection, patiently};
use crate::accept::SessionPlace;
use crate::ingest::session::{Close, Input, Policed};
use crate::nodes::{Breach, Heartbeat};
use crate::policy;
use crate::refusals::Refusal;
use crate::store::nodes::Opened;
use crate::store::policy::PolicyNote;

impl Connection {
    /// The session is open, and known to be this node's.
    pub(super) fn opened(&self, opened: &Opened) {
        let (ingest, now) = (&self.ingest, self.ingest.now());
        ingest.registry.connected(opened.node_id, opened.session, now);
        ingest.metrics.resumed(opened.resume.name());
        let (node, session, resume) = (self.admitted.node.name.as_str(), opened.session, opened.resume.name());
        if let Some(untold) = self.claim.as_ref().and_then(|claim| claim.untold) {
            let (holder, untold) = (self.admitted.holder.text(), NonZeroU64::new(untold));
            tracing::info!(node, session, resume, holder, untold, "session opened");
        } else {
            tracing::debug!(node, session, resume, "session opened");
        }
        self.place.iter().for_each(SessionPlace::opened);
        let Some(claim) = &self.claim else { return };
        ingest.holders.opened(&self.admitted, claim.number, opened.node_id);
        if claim.alternates {
            let from = self.peer.map_or_else(|| "somewhere".to_owned(), |peer| peer.ip().to_string());
            let detail =
                format!("two machines show the same credentials in turns: the one that came back now, from {from}, is not the one before");
            tracing::warn!(node, detail, "a copied identity");
            ingest.registry.breached(opened.node_id, Breach::Alternation, &detail, now.wall_ms);
        }
    }

    /// Something was said that is not this agent's to say.
    pub(super) fn foreign(&self, what: &str) {
        let node = self.admitted.node.name.as_str();
        self.ingest.refusals.note(Refusal::ForeignWrite, self.peer, Some(node), &what);
        if let Some(opened) = self.session.opened() {
            self.ingest.registry.breached(opened.node_id, Breach::ForeignWrite, what, self.ingest.now().wall_ms);
        }
    }

    pub(super) fn heard(&self, vitals: Option<v1::Heartbeat>, confirmed: bool) -> Result<(), End> {
        let Some(opened) = self.session.opened() else { return Ok(()) };
        let now = self.ingest.now();
        let heartbeat = vitals.map(|said| Heartbeat {
            rss: number(said.rss_bytes),
            cpu_ms: number(said.cpu_ms_total),
            queued: i64::from(said.queued),
            dropped: number(said.dropped_total),
            skew_ms: (said.wall_ms != 0).then(|| said.wall_ms.saturating_sub(now.wall_ms)),
        });
        let newest = self.ingest.registry.heard(opened.node_id, opened.session, now, heartbeat, confirmed);
        if newest { Ok(()) } else { Err(End::Closed(Close::Superseded)) }
    }

    pub(super) async fn stopped(&mut self, reason: String) -> Result<(), End> {
        self.stopped = true;
        if let Some(claim) = &self.claim {
            self.ingest.holders.left(&self.admitted, claim.number);
        }
        let Some(opened) = self.session.opened() else { return Ok(()) };
        let change = self.ingest.registry.stopped(opened.node_id, opened.session, &reason, self.ingest.now());
        match change {
            Some(change) => patiently(self.ingest.writer.write_states(vec![change])).await,
            None => Ok(()),
        }
    }

    pub(super) fn probed(&self, result: v1::ProbeResult) {
        if let Some(opened) = self.session.opened() {
            self.ingest.roster.heard(opened.node_id, opened.session, result);
        }
    }

    /// What this agent is to hold now.
    pub(super) fn policy(&mut self) -> Input {
        let policies = Arc::clone(&self.policies.borrow_and_update());
        Input::Policy(Arc::new(policy::to_wire(policies.of(&self.admitted.node.cluster))))
    }

    pub(super) fn policed(&self, policed: Policed) {
        let Some(opened) = self.session.opened() else { return };
        let Policed { hash, held, state, reason } = policed;
        if state == "refused" {
            tracing::warn!(node = self.admitted.node.name, policy = hash, reason = ?reason.as_deref().unwrap_or_default(), "an agent refused its policy");
        } else {
            tracing::debug!(node = self.admitted.node.name, policy = hash, state, "policy");
        }
        let (node_id, session, at) = (opened.node_id, opened.session, self.ingest.now().wall_ms);
        self.ingest.policies.note(PolicyNote { node_id, session, hash, held, state, reason, at });
    }
}

fn number(said: u64) -> i64 {
    i64::try_from(said).unwrap_or(i64::MAX)
}
