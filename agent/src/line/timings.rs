//! How long each part of a change's way takes, from the first sign of it to the collector's acknowledgement.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Took;
use crate::health::Gauges;

/// The most changes and messages timed at once; those beyond are not.
const MOST: usize = 64;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Timings {
    gauges: Arc<Gauges>,
    /// Taken into the spool and in no save yet.
    taken: Vec<Instant>,
    /// In the save under way.
    saving: Vec<Instant>,
    /// Sent and not acknowledged, by sequence number.
    sent: VecDeque<(u64, Instant)>,
}

impl Timings {
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        Self { gauges, taken: Vec::new(), saving: Vec::new(), sent: VecDeque::new() }
    }

    /// A judgement that changed something is in the spool. `kept`: it is to be saved.
    pub(super) fn taken(&mut self, took: Option<Took>, kept: bool) {
        let Some(took) = took else { return };
        let times = &self.gauges.changes;
        times.watch.add(took.watch);
        times.read.add(took.read);
        times.judge.add(took.judge);
        if kept && self.taken.len() < MOST {
            self.taken.push(Instant::now());
        }
    }

    /// A save has begun: it covers what was taken until now.
    pub(super) fn saving(&mut self) {
        self.saving.append(&mut self.taken);
        self.saving.truncate(MOST);
    }

    /// The save has ended.
    pub(super) fn saved(&mut self, durable: bool) {
        for taken in self.saving.drain(..) {
            if durable {
                self.gauges.changes.spool.add(taken.elapsed());
            }
        }
    }

    /// Changes left under this number.
    pub(super) fn sent(&mut self, seq: u64) {
        if self.sent.len() < MOST {
            self.sent.push_back((seq, Instant::now()));
        }
    }

    /// Everything up to this number is durable on the collector.
    pub(super) fn acked(&mut self, seq: u64) {
        while let Some((_, sent)) = self.sent.pop_front_if(|(number, _)| *number <= seq) {
            self.gauges.changes.ack.add(sent.elapsed());
        }
    }

    /// The connection is lost with what was under way.
    pub(super) fn lost(&mut self) {
        self.sent.clear();
    }
}
