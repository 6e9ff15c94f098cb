//! Whose session it is, and for how long: the claim on the node, credentials that end or are renewed, and others that take over.

use std::future::pending;
use std::sync::Arc;

use holdfast_checks::entries::Hash;

use super::Connection;
use super::end::End;
use crate::accept::SessionPlace;
use crate::identity::{Admitted, Rejection};
use crate::ingest::reauth::replaces;
use crate::ingest::session::Close;
use crate::nodes::{Breach, Claim, Speaker};
use crate::store::nodes::SessionStart;

/// The longest before its credentials end that an agent without fresh ones is sent to come back with what it has then, in milliseconds.
const LEAVE_BEFORE_MS: i64 = 60_000;

impl Connection {
    /// Why another session took over: it is of the same holder, or this one's credentials do not hold any longer.
    pub(super) fn taken_over(&self) -> End {
        match self.ingest.identities.standing(&self.admitted, self.ingest.now().wall_ms) {
            Ok(()) => End::Closed(Close::Superseded),
            Err(rejection) => End::Credentials(rejection),
        }
    }

    /// Has the node, or is told that another agent has it; nothing is stored of that one's position then.
    pub(super) fn claim(&mut self, start: &SessionStart) -> Result<(), End> {
        let (ingest, now) = (&self.ingest, self.ingest.now());
        let stands = |admitted: &Admitted| ingest.identities.standing(admitted, now.wall_ms).is_ok();
        let speaker = Speaker::new(&start.boot_id, start.epoch);
        let from = self.peer.map_or_else(|| "somewhere".to_owned(), |peer| peer.ip().to_string());
        match ingest.holders.claim(&self.admitted, speaker, now.mono_ms, stands) {
            Ok(claim) => {
                self.claim = Some(claim);
                self.place.iter().for_each(SessionPlace::holds);
                Ok(())
            }
            Err(taken) => {
                let holder = self.admitted.holder.text();
                let detail = format!("{holder} came from {from} while {} had the session", taken.holder);
                if let Some(node_id) = taken.node_id {
                    ingest.registry.breached(node_id, Breach::Duplicate, &detail, now.wall_ms);
                }
                Err(End::Duplicate(detail))
            }
        }
    }

    /// A rotated token was accepted, or ends the session.
    pub(super) fn renew(&mut self, decided: Result<Admitted, Rejection>) -> Result<(), End> {
        let fresh = replaces(&self.admitted, decided).map_err(End::Credentials)?;
        let now = self.ingest.now();
        tracing::debug!(node = fresh.node.name, expires_at = fresh.expires_at, "fresh credentials");
        self.leave_at = leave_at(&fresh, now.wall_ms);
        self.admitted = Arc::new(fresh);
        if let Some(claim) = &self.claim {
            self.ingest.holders.renewed(&self.admitted, claim.number);
        }
        Ok(())
    }

    /// Has a newer session of the node been opened. One that says nothing would find out by its next heartbeat only.
    pub(super) fn superseded(&self) -> bool {
        self.session.opened().is_some_and(|opened| !self.ingest.registry.is_newest(opened.node_id, opened.session))
    }
}

/// When an agent that shows no fresh credentials is sent to come back with what it has then: within the last minute before these end,
/// or the second half of what is left of them, each agent at a time of its own.
pub(super) fn leave_at(admitted: &Admitted, now: i64) -> Option<i64> {
    let end = admitted.expires_at?;
    let spread = LEAVE_BEFORE_MS.min(end.saturating_sub(now).max(0) / 2);
    let of = Hash::of_fields([admitted.node.cluster.as_bytes(), admitted.node.uid.as_bytes(), &end.to_be_bytes()]);
    let draw = of.0.first().copied().map_or(0, i64::from);
    // Not with the last second: it takes a moment to leave.
    Some(end.saturating_sub(spread * (draw + 16) / (255 + 16)))
}

/// Another session took over.
pub(super) async fn taken_over(claim: Option<&Claim>) {
    match claim {
        Some(claim) => claim.taken_over.cancelled().await,
        None => pending().await,
    }
}
