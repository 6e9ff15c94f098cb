//! Does the agent live, and do both sides have the same state: heartbeats, their digests, and what is late.

use holdfast_checks::entries::Digest;
use holdfast_proto::v1;

use super::snapshot::Snapshot;
use super::{Close, Moment, Output, Phase, Session};

/// The first pause before a divergence leads to another snapshot in one session, in milliseconds; doubles.
pub(super) const RESYNC_PAUSE_MS: u64 = 60_000;
/// The longest such pause: an hour.
const RESYNC_PAUSE_MAX_MS: u64 = 60 * 60 * 1000;

impl Session {
    pub(super) fn heard(&mut self, vitals: Option<v1::Heartbeat>, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.heard_ms = now.mono_ms;
        let same = vitals.as_ref().is_some_and(|heartbeat| Digest::from_slice(&heartbeat.digest) == Some(live.stored));
        let confirmed = same && live.in_flight == 0;
        self.out.push(Output::Heard { vitals, confirmed });
    }

    /// Digests are compared only when nothing is under way on either side.
    pub(super) fn heartbeat(&mut self, heartbeat: v1::Heartbeat, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        // While a snapshot is owed the two are known to differ.
        let quiet = live.in_flight == 0 && !live.busy && heartbeat.queued == 0 && !live.snapshot.owed();
        let same = Digest::from_slice(&heartbeat.digest) == Some(live.stored);
        live.busy = false;
        live.mismatches = if quiet && !same { live.mismatches.saturating_add(1) } else { 0 };
        let diverged = live.mismatches >= 2;
        self.heard(Some(heartbeat), now);
        if diverged {
            self.resync(now);
        }
    }

    /// Asks for a snapshot, at growing intervals: a state that cannot be brought together must not loop.
    pub(super) fn resync(&mut self, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.snapshot = Snapshot::Asked;
        live.mismatches = 0;
        if now.mono_ms < live.resync_after_ms {
            return;
        }
        live.asking = true;
        live.resync_after_ms = now.mono_ms.saturating_add(live.resync_pause_ms);
        live.resync_pause_ms = live.resync_pause_ms.saturating_mul(2).min(RESYNC_PAUSE_MAX_MS);
        self.out.push(Output::Dropped("divergence", 1));
        self.out.push(Output::AskGrant);
    }

    pub(super) fn tick(&mut self, now: Moment) {
        match &self.phase {
            Phase::Greeting { until_ms } if now.mono_ms >= *until_ms => self.close(Close::Late("hello")),
            Phase::Live(live) => {
                // Three heartbeats, each up to a fifth later than the mean.
                let patience = u64::from(self.settings.heartbeat_seconds).saturating_mul(3_600);
                if now.mono_ms.saturating_sub(live.heard_ms) > patience {
                    self.close(Close::Late("three heartbeats"));
                } else if live.snapshot.paused_ms(now.mono_ms) > self.settings.snapshot_pause_ms {
                    self.out.push(Output::ReleaseGrant);
                    self.close(Close::Late("the snapshot"));
                } else if matches!(live.snapshot, Snapshot::Asked) && !live.asking {
                    self.resync(now);
                }
            }
            _ => {}
        }
    }
}
