//! Texts kept once, end to end in one buffer: a number of four bytes stands for each.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(std::num::NonZeroU32);

/// The texts.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    buffer: String,
    /// Where each text ends.
    ends: Vec<u32>,
    /// By hash; only while texts are added.
    known: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Texts {
    /// The number of a text. Beyond four gigabytes of text everything is the last one that fitted, which no feed reaches.
    pub(super) fn keep(&mut self, text: &str) -> Text {
        let mut hash = self.hasher.hash_one(text);
        while let Some(&at) = self.known.get(&hash) {
            if self.at(at) == text {
                return Text(number(at));
            }
            hash = hash.wrapping_add(1);
        }
        let at = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.buffer.push_str(text);
        self.ends.push(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
        self.known.insert(hash, at);
        Text(number(at))
    }

    /// The text.
    pub(super) fn get(&self, text: Text) -> &str {
        self.at(text.0.get() - 1)
    }

    /// Nothing is added any more.
    pub(super) fn close(&mut self) {
        self.known = HashMap::new();
        self.buffer.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    fn at(&self, at: u32) -> &str {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = |at: usize| self.ends.get(at).and_then(|end| usize::try_from(*end).ok());
        let start = at.checked_sub(1).map_or(Some(0), end);
        start.zip(end(at)).and_then(|(start, end)| self.buffer.get(start..end)).unwrap_or_default()
    }
}

fn number(at: u32) -> std::num::NonZeroU32 {
    std::num::NonZeroU32::MIN.saturating_add(at)
}
