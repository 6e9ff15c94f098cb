//! The bounded ring of transitions nobody acknowledged yet, and the count of those that fell off it.

use std::collections::VecDeque;

use holdfast_checks::entries::Transition;

/// The longest reason and the longest line of evidence kept with a transition, in bytes.
const MAX_TEXT_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct History {
    ring: VecDeque<Transition>,
    capacity: usize,
    next_number: u64,
    /// Up to this number everything was sent on this connection.
    sent_to: u64,
    /// Numbers that fell off while in flight: lost only if the connection is.
    doubtful: Vec<u64>,
    truncated: u64,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        Self { ring: VecDeque::new(), capacity, next_number: 1, sent_to: 0, doubtful: Vec::new(), truncated: 0 }
    }

    pub(super) fn truncated(&self) -> u64 {
        self.truncated
    }

    pub(super) fn push(&mut self, mut transition: Transition) {
        transition.number = self.next_number;
        truncate(&mut transition.because);
        truncate(&mut transition.reason);
        self.next_number += 1;
        self.ring.push_back(transition);
        while self.ring.len() > self.capacity {
            match self.ring.pop_front() {
                Some(oldest) if oldest.number <= self.sent_to => self.doubtful.push(oldest.number),
                _ => self.truncated += 1,
            }
        }
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &Transition> {
        let from = self.ring.partition_point(|transition| transition.number <= self.sent_to);
        self.ring.range(from..)
    }

    pub(super) fn sent_to(&mut self, number: u64) {
        self.sent_to = self.sent_to.max(number);
    }

    pub(super) fn acked_to(&mut self, number: u64) {
        self.doubtful.retain(|doubtful| *doubtful > number);
        while self.ring.front().is_some_and(|transition| transition.number <= number) {
            self.ring.pop_front();
        }
    }

    /// The connection is lost: what it carried without an acknowledgement is to be sent again.
    pub(super) fn reset(&mut self) {
        self.truncated += u64::try_from(std::mem::take(&mut self.doubtful).len()).unwrap_or(u64::MAX);
        self.sent_to = 0;
    }
}

fn truncate(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
}
