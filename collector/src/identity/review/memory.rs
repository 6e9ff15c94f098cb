//! What is remembered for a while, and never more than so much of it: two halves, of which the older one is forgotten as a whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Remembers values by hash.
#[derive(Debug)]
pub(super) struct Memory<T> {
    lifetime: Duration,
    half: usize,
    young: BTreeMap<[u8; 32], (Instant, T)>,
    old: BTreeMap<[u8; 32], (Instant, T)>,
    turned: Instant,
}

impl<T: Clone> Memory<T> {
    /// Remembers at most `most` values, each for at most `lifetime`.
    pub(super) fn new(lifetime: Duration, most: usize) -> Self {
        Self { lifetime, half: (most / 2).max(1), young: BTreeMap::new(), old: BTreeMap::new(), turned: Instant::now() }
    }

    /// What is remembered of a hash.
    pub(super) fn get(&self, hash: &[u8; 32], now: Instant) -> Option<T> {
        let found = self.young.get(hash).or_else(|| self.old.get(hash));
        found.filter(|(until, _)| now < *until).map(|(_, value)| value.clone())
    }

    /// Remembers a value, for no longer than `left`.
    pub(super) fn put(&mut self, hash: [u8; 32], value: T, left: Duration, now: Instant) {
        if self.young.len() >= self.half || now.duration_since(self.turned) >= self.lifetime {
            self.old = std::mem::take(&mut self.young);
            self.turned = now;
        }
        self.young.insert(hash, (now + left.min(self.lifetime), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
        hash
    }

    #[test]
    fn nothing_is_remembered_longer_than_its_time_nor_than_the_lifetime() {
        let (mut memory, start) = (Memory::new(Duration::from_mins(1), 10), Instant::now());
        memory.put(hash(1), "short", Duration::from_secs(5), start);
        memory.put(hash(2), "long", Duration::from_hours(1), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!((memory.get(&hash(1), at(4)), memory.get(&hash(2), at(59))), (Some("short"), Some("long")));
        assert_eq!((memory.get(&hash(1), at(5)), memory.get(&hash(2), at(60))), (None, None));
    }

    #[test]
    fn a_flood_is_bounded_and_the_newest_are_kept() {
        let (mut memory, start) = (Memory::new(Duration::from_mins(1), 100), Instant::now());
        for n in 0..10_000 {
            memory.put(hash(n), n, Duration::from_mins(1), start);
        }
        assert!(memory.young.len() + memory.old.len() <= 100);
        assert!((9_950..10_000).all(|n| memory.get(&hash(n), start) == Some(n)));
        assert_eq!(memory.get(&hash(0), start), None);
    }
}
