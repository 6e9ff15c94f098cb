//! A snapshot on its way: parts in order, the keys they bring, and whether their digest verifies.
//!
//! Parts are stored as they come, so memory holds keys only; nothing is deleted before the last part has verified.

use std::collections::BTreeSet;

use holdfast_checks::entries::{Digest, Hash, Key, Kind};

use crate::store::ingest::{Progress, Refusal};

/// The most keys a snapshot may bring: the store's quota of findings and as much inventory.
const MAX_KEYS: usize = 40_000;
/// Bytes of those keys, which are in memory until the last part: a hundred for each, where one may have a thousand.
const MAX_KEY_BYTES: usize = 4 * 1024 * 1024;

/// Where a snapshot stands.
#[derive(Debug)]
pub(super) enum Snapshot {
    /// None is needed.
    None,
    /// One is needed; the grant is not there.
    Asked,
    /// The agent was told to send it.
    Granted { since_ms: u64 },
    /// Parts are coming.
    Receiving(Receiving),
}

/// The position of a part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) snapshot: u64,
    pub(super) number: u32,
    pub(super) last: bool,
    pub(super) digest: Option<Digest>,
}

#[derive(Debug)]
pub(super) struct Receiving {
    snapshot: u64,
    next: u32,
    keep: BTreeSet<Key>,
    key_bytes: usize,
    /// Everything that was sent, and that without what was refused: the agent may know of a refusal already.
    all: Digest,
    accepted: Digest,
    since_ms: u64,
}

impl Receiving {
    fn keep(&mut self, key: &Key) {
        if self.keep.insert(key.clone()) {
            self.key_bytes = self.key_bytes.saturating_add(key.as_str().len());
        }
    }
}

impl Snapshot {
    /// A snapshot is needed and not complete: the position must not move.
    pub(super) fn owed(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// How long a grant has been held without a part coming, in milliseconds.
    pub(super) fn paused_ms(&self, now_ms: u64) -> u64 {
        match self {
            Self::None | Self::Asked => 0,
            Self::Granted { since_ms } => now_ms.saturating_sub(*since_ms),
            Self::Receiving(receiving) => now_ms.saturating_sub(receiving.since_ms),
        }
    }

    /// A change between two parts.
    pub(super) fn also(&mut self, upserts: &[(Key, Hash)], gone: &[Key]) {
        let Self::Receiving(receiving) = self else { return };
        for key in gone {
            if receiving.keep.remove(key) {
                receiving.key_bytes = receiving.key_bytes.saturating_sub(key.as_str().len());
            }
        }
        for (key, _) in upserts {
            receiving.keep(key);
        }
    }

    /// Takes a part; what the write does to the position, or why the snapshot is not usable.
    pub(super) fn take(
        &mut self,
        part: &Part,
        entries: &[(Key, Hash)],
        refused: &[Refusal],
        now_ms: u64,
    ) -> Result<Progress, &'static str> {
        if part.number == 0 {
            let (all, accepted) = (Digest::EMPTY, Digest::EMPTY);
            *self = Self::Receiving(Receiving {
                snapshot: part.snapshot,
                next: 0,
                keep: BTreeSet::new(),
                key_bytes: 0,
                all,
                accepted,
                since_ms: now_ms,
            });
        }
        let Self::Receiving(receiving) = self else { return Err("a part came before the first one") };
        if receiving.snapshot != part.snapshot || receiving.next != part.number {
            *self = Self::Asked;
            return Err("a part is missing");
        }
        receiving.next = receiving.next.saturating_add(1);
        receiving.since_ms = now_ms;
        for (key, hash) in entries {
            receiving.all.add(key, hash);
            receiving.accepted.add(key, hash);
            receiving.keep(key);
        }
        for (key, hash) in refused.iter().filter_map(named) {
            receiving.all.add(&key, &hash);
        }
        if receiving.keep.len() > MAX_KEYS || receiving.key_bytes > MAX_KEY_BYTES {
            *self = Self::Asked;
            return Err("it has too many entries");
        }
        if !part.last {
            return Ok(Progress::Partial);
        }
        let verified = part.digest.is_some_and(|digest| digest == receiving.all || digest == receiving.accepted);
        let keep = std::mem::take(&mut receiving.keep);
        *self = if verified { Self::None } else { Self::Asked };
        if verified { Ok(Progress::Snapshot { keep }) } else { Err("its digest is not that of its entries") }
    }
}

/// The key and hash of a refused entry, when it has such.
fn named(refusal: &Refusal) -> Option<(Key, Hash)> {
    let kind = Kind::from_number(refusal.kind)?;
    Some((Key::parse(kind, &refusal.key)?, Hash::from_slice(&refusal.hash)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(from: usize, n: usize, length: usize) -> Vec<(Key, Hash)> {
        let key = |n: usize| Key::parse(Kind::Finding, &format!("check/{n:0length$}")).unwrap();
        (from..from + n).map(|n| (key(n), Hash([1; 16]))).collect()
    }

    fn part(number: u32) -> Part {
        Part { snapshot: 1, number, last: false, digest: None }
    }

    fn held(snapshot: &Snapshot) -> usize {
        if let Snapshot::Receiving(receiving) = snapshot { receiving.key_bytes } else { 0 }
    }

    #[test]
    fn a_snapshot_may_not_bring_more_keys_than_are_kept_in_memory() {
        // Of a hundred bytes each the number counts, of a thousand their size.
        for (length, most) in [(94, MAX_KEYS), (994, MAX_KEY_BYTES / 1_000)] {
            let mut snapshot = Snapshot::Granted { since_ms: 0 };
            assert_eq!(snapshot.take(&part(0), &entries(0, most, length), &[], 0), Ok(Progress::Partial));
            assert_eq!(held(&snapshot), most * (length + 6));
            assert_eq!(snapshot.take(&part(1), &entries(0, most, length), &[], 0), Ok(Progress::Partial), "the same keys once more");
            assert_eq!(snapshot.take(&part(2), &entries(most, 1, length), &[], 0), Err("it has too many entries"));
            assert!(matches!(snapshot, Snapshot::Asked), "nothing is kept of it");
        }
    }

    #[test]
    fn what_goes_while_a_snapshot_comes_makes_room() {
        let most = MAX_KEY_BYTES / 1_000;
        let mut snapshot = Snapshot::Granted { since_ms: 0 };
        let all = entries(0, most, 994);
        snapshot.take(&part(0), &all, &[], 0).unwrap();
        let gone: Vec<Key> = all.iter().take(10).map(|(key, _)| key.clone()).collect();
        snapshot.also(&entries(most, 5, 994), &gone);
        assert_eq!(held(&snapshot), (most - 5) * 1_000);
        assert_eq!(snapshot.take(&part(1), &entries(most + 5, 5, 994), &[], 0), Ok(Progress::Partial));
    }
}
