//! Packs entries and transitions into messages by bytes, so that nothing above the limit can be built.

use holdfast_checks::entries::{Entry, Hash, Key};
use holdfast_proto::v1;
use prost::Message;

use super::convert;
use crate::spool::{Batch, Spool, Unsent};

/// Bytes of a message that are not items: the gRPC frame's five, the envelope, sequence number, digest and counters.
const FRAME_BYTES: usize = 96;
/// The smallest limit obeyed: below it a single entry might not fit.
pub(super) const SMALLEST_LIMIT: usize = 8 * 1024;

/// A part of a snapshot, and what it puts in flight.
pub(super) type Part = (v1::Snapshot, Batch);

/// The room left in one message.
struct Room(usize);

impl Room {
    fn of(limit: usize) -> Self {
        Self(limit.saturating_sub(FRAME_BYTES))
    }

    /// Takes what `item` needs as a repeated field, if there is that much.
    fn take(&mut self, item: &impl Message) -> bool {
        let length = item.encoded_len();
        let needed = length + prost::length_delimiter_len(length) + 1;
        let fits = needed <= self.0;
        if fits {
            self.0 -= needed;
        }
        fits
    }
}

/// The next Delta of what is unsent, without number and digest, and what it puts in flight. `None`: nothing is unsent.
///
/// `Err` names an entry that fits no message at all, for the caller to set aside.
pub(super) fn delta(spool: &Spool, limit: usize) -> Result<Option<(v1::Delta, Batch)>, (Key, Hash)> {
    if !spool.has_unsent() {
        return Ok(None);
    }
    let (mut delta, mut batch, mut room) = (v1::Delta::default(), Batch::default(), Room::of(limit));
    for unsent in spool.unsent() {
        let fits = match unsent {
            Unsent::Upsert(entry) => {
                let wire = convert::entry(entry);
                let fits = room.take(&wire);
                if fits {
                    delta.upserts.push(wire);
                    batch.upserts.push((entry.key.clone(), entry.hash));
                } else if batch == Batch::default() {
                    return Err((entry.key.clone(), entry.hash));
                }
                fits
            }
            Unsent::Gone(key) => {
                let wire = convert::key(key);
                let fits = room.take(&wire);
                if fits {
                    delta.gone.push(wire);
                    batch.gone.push(key.clone());
                }
                fits
            }
        };
        if !fits {
            return Ok(Some((delta, batch)));
        }
    }
    for transition in spool.unsent_transitions() {
        let wire = convert::transition(transition);
        if room.take(&wire) {
            delta.transitions.push(wire);
        } else if batch != Batch::default() {
            break;
        }
        // One that fits no message even alone is passed over: it must not hold up those behind it.
        batch.transitions_to = transition.number;
    }
    Ok(Some((delta, batch)))
}

/// The whole state in parts, without numbers, and what each puts in flight. An empty state is one empty last part.
///
/// `Err` names entries that fit no message at all.
pub(super) fn snapshot(spool: &Spool, id: u64, limit: usize) -> Result<Vec<Part>, Vec<(Key, Hash)>> {
    let too_large: Vec<_> = spool
        .snapshot_entries()
        .filter(|entry| !Room::of(limit).take(&convert::entry(entry)))
        .map(|entry| (entry.key.clone(), entry.hash))
        .collect();
    if !too_large.is_empty() {
        return Err(too_large);
    }
    let mut parts = Vec::new();
    let (mut part, mut batch, mut room) = (v1::Snapshot::default(), Batch::default(), Room::of(limit));
    for entry in spool.snapshot_entries() {
        let wire = convert::entry(entry);
        if !room.take(&wire) {
            parts.push((std::mem::take(&mut part), std::mem::take(&mut batch)));
            room = Room::of(limit);
            room.take(&wire);
        }
        part.entries.push(wire);
        batch.upserts.push(name(entry));
    }
    parts.push((part, batch));
    let last = parts.len() - 1;
    for (index, (part, _)) in parts.iter_mut().enumerate() {
        part.snapshot = id;
        part.part = u32::try_from(index).unwrap_or(u32::MAX);
        part.last = index == last;
        if part.last {
            part.digest = spool.digest().to_bytes().to_vec();
        }
    }
    Ok(parts)
}

fn name(entry: &Entry) -> (Key, Hash) {
    (entry.key.clone(), entry.hash)
}
