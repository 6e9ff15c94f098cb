//! How fast enrolments are taken: by everybody together, and by one asker. Pure; the clock is an argument.

use std::collections::BTreeMap;

/// A bucket: attempts a second, and how many may come at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

/// What is left in a bucket, in thousandths of an attempt, and since when.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    at_ms: u64,
}

/// Buckets by asker, a bounded number of them.
#[derive(Debug)]
pub(super) struct Pace<K> {
    all: (Rate, Bucket),
    each: Rate,
    askers: BTreeMap<K, Bucket>,
    most: usize,
}

impl Rate {
    fn full(self) -> u64 {
        u64::from(self.burst) * 1000
    }

    fn refilled(self, bucket: Bucket, now_ms: u64) -> u64 {
        let more = now_ms.saturating_sub(bucket.at_ms).saturating_mul(u64::from(self.per_second));
        bucket.left.saturating_add(more).min(self.full())
    }

    /// Takes one out of a bucket, if there is one.
    fn take(self, bucket: &mut Bucket, now_ms: u64) -> bool {
        let left = self.refilled(*bucket, now_ms);
        let taken = left.checked_sub(1000);
        *bucket = Bucket { left: taken.unwrap_or(left), at_ms: now_ms };
        taken.is_some()
    }
}

impl<K: Ord + Clone> Pace<K> {
    /// With every bucket full, for `most` askers at once.
    pub(super) fn new(all: Rate, each: Rate, most: usize) -> Self {
        Self { all: (all, Bucket { left: all.full(), at_ms: 0 }), each, askers: BTreeMap::new(), most }
    }

    /// May this asker be answered now. One who is too fast takes nothing from the others.
    pub(super) fn allows(&mut self, asker: &K, now_ms: u64) -> bool {
        if !self.askers.contains_key(asker) {
            if self.askers.len() >= self.most {
                // Whoever has rested long enough is nobody to remember.
                let each = self.each;
                self.askers.retain(|_, bucket| each.refilled(*bucket, now_ms) < each.full());
            }
            if self.askers.len() >= self.most {
                return false;
            }
        }
        let full = Bucket { left: self.each.full(), at_ms: now_ms };
        let bucket = self.askers.entry(asker.clone()).or_insert(full);
        self.each.take(bucket, now_ms) && self.all.0.take(&mut self.all.1, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Rate};

    #[test]
    fn one_who_is_too_fast_waits_and_takes_nothing_from_the_others() {
        let mut pace = Pace::new(Rate { per_second: 10, burst: 6 }, Rate { per_second: 1, burst: 3 }, 100);
        let taken = (0..50).filter(|_| pace.allows(&"flood", 0)).count();
        assert_eq!(taken, 3);
        assert!(pace.allows(&"other", 0));
        assert!(!pace.allows(&"flood", 999) && pace.allows(&"flood", 1000));
        // Everybody together.
        let many: Vec<String> = (0..50).map(|n| format!("{n}")).collect();
        let mut pace = Pace::new(Rate { per_second: 10, burst: 6 }, Rate { per_second: 1, burst: 3 }, 100);
        assert_eq!(many.iter().filter(|asker| pace.allows(asker, 0)).count(), 6);
        assert_eq!(many.iter().filter(|asker| pace.allows(asker, 500)).count(), 5);
    }

    #[test]
    fn askers_are_remembered_in_bounds() {
        let mut pace = Pace::new(Rate { per_second: 1000, burst: 1000 }, Rate { per_second: 1, burst: 1 }, 10);
        let taken = (0..1000).filter(|asker| pace.allows(asker, 0)).count();
        assert_eq!((taken, pace.askers.len()), (10, 10));
        assert!(pace.allows(&5000, 1000), "the others have rested");
        assert_eq!(pace.askers.len(), 1);
    }
}
