//! The bounded ring of transitions nobody acknowledged yet, and the count of those that fell off it.
//!
//! A transition leaves only once it is durable: a number that was sent and then forgotten in a crash would be given to another one.

use std::collections::VecDeque;

use holdfast_checks::entries::{Severity, Transition};

/// The longest reason and the longest line of evidence kept with a transition, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// The most bytes of text kept in the ring.
const MAX_RING_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct History {
    ring: VecDeque<Transition>,
    capacity: usize,
    bytes: usize,
    next_number: u64,
    /// Up to this number everything was sent on this connection.
    sent_to: u64,
    /// Up to this number everything is durable and may leave.
    durable_to: u64,
    /// Up to this number everything was handed out to be saved.
    saving_to: u64,
    /// Numbers that fell off while in flight: lost only if the connection is.
    doubtful: Vec<u64>,
    truncated: u64,
}

impl History {
    /// An empty ring. In memory only until [`Self::keep`] says otherwise: everything may leave at once.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            capacity,
            bytes: 0,
            next_number: 1,
            sent_to: 0,
            durable_to: u64::MAX,
            saving_to: 0,
            doubtful: Vec::new(),
            truncated: 0,
        }
    }

    /// What a file held. It is durable.
    pub(super) fn restore(&mut self, transitions: impl IntoIterator<Item = Transition>, next_number: u64, truncated: u64) {
        self.next_number = next_number;
        self.truncated = truncated;
        for transition in transitions {
            self.next_number = self.next_number.max(transition.number.saturating_add(1));
            self.saving_to = self.saving_to.max(transition.number);
            self.keep_in_ring(transition);
        }
        self.durable_to = self.saving_to;
    }

    pub(super) fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The same if this process ended now: what fell off while in flight may not have arrived, and nobody would send it again.
    pub(super) fn truncated_at_worst(&self) -> u64 {
        self.truncated.saturating_add(u64::try_from(self.doubtful.len()).unwrap_or(u64::MAX))
    }

    /// Transitions that are lost.
    pub(super) fn lose(&mut self, transitions: u64) {
        self.truncated = self.truncated.saturating_add(transitions);
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Numbers below this are neither kept nor to be kept.
    pub(super) fn first_number(&self) -> u64 {
        self.ring.front().map_or(self.next_number, |oldest| oldest.number)
    }

    pub(super) fn push(&mut self, mut transition: Transition) {
        transition.number = self.next_number;
        truncate(&mut transition.because);
        truncate(&mut transition.reason);
        self.next_number += 1;
        self.keep_in_ring(transition);
    }

    fn keep_in_ring(&mut self, transition: Transition) {
        self.bytes += size(&transition);
        self.ring.push_back(transition);
        while self.ring.len() > self.capacity || self.bytes > MAX_RING_BYTES {
            match self.take_oldest() {
                Some(oldest) if oldest.number <= self.sent_to => self.doubtful.push(oldest.number),
                Some(_) => self.lose(1),
                None => break,
            }
        }
    }

    fn take_oldest(&mut self) -> Option<Transition> {
        let oldest = self.ring.pop_front()?;
        self.bytes = self.bytes.saturating_sub(size(&oldest));
        Some(oldest)
    }

    /// Does anything wait for durability that should not wait long.
    pub(super) fn has_urgent(&self) -> bool {
        self.ring.range(self.index_after(self.saving_to)..).any(|transition| transition.severity >= Severity::High)
    }

    /// Not handed out to be saved yet, oldest first.
    pub(super) fn unsaved(&self) -> impl Iterator<Item = &Transition> {
        self.ring.range(self.index_after(self.saving_to)..)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Transition> {
        self.ring.iter()
    }

    /// Everything there is was handed out to be saved.
    pub(super) fn saving(&mut self) -> u64 {
        self.saving_to = self.next_number - 1;
        self.saving_to
    }

    /// Up to `number` everything is durable.
    pub(super) fn saved(&mut self, number: u64) {
        self.durable_to = self.durable_to.max(number);
    }

    /// What was handed out since was not saved.
    pub(super) fn not_saved(&mut self) {
        self.saving_to = self.durable_to.min(self.next_number - 1);
    }

    /// `durable`: from now on what was not sent waits until it is saved, whatever an earlier file was handed. Else nothing waits.
    pub(super) fn keep(&mut self, durable: bool) {
        self.saving_to = self.sent_to;
        self.durable_to = if durable { self.sent_to } else { u64::MAX };
    }

    /// What was not sent on this connection and may be, oldest first.
    pub(super) fn unsent(&self) -> impl Iterator<Item = &Transition> {
        let durable_to = self.durable_to;
        self.ring.range(self.index_after(self.sent_to)..).take_while(move |transition| transition.number <= durable_to)
    }

    /// How many were not sent on this connection, whether they may be or not.
    pub(super) fn waiting(&self) -> usize {
        self.ring.len() - self.index_after(self.sent_to)
    }

    pub(super) fn sent_to(&mut self, number: u64) {
        self.sent_to = self.sent_to.max(number);
    }

    pub(super) fn acked_to(&mut self, number: u64) {
        self.doubtful.retain(|doubtful| *doubtful > number);
        while self.ring.front().is_some_and(|transition| transition.number <= number) {
            self.take_oldest();
        }
    }

    /// The connection is lost: what it carried without an acknowledgement is to be sent again.
    pub(super) fn reset(&mut self) {
        self.truncated = self.truncated_at_worst();
        self.doubtful.clear();
        self.sent_to = 0;
    }

    fn index_after(&self, number: u64) -> usize {
        self.ring.partition_point(|transition| transition.number <= number)
    }
}

fn size(transition: &Transition) -> usize {
    transition.key.as_str().len() + transition.reason.len() + transition.because.len() + 64
}

fn truncate(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
}
