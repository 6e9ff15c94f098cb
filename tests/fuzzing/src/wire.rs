//! Protobuf bytes to domain types: what a collector makes of anything an agent may send.

use holdfast_checks::entries::{
    Body, MAX_ENTRY_BYTES, MAX_EVIDENCE_ITEMS, MAX_INVENTORY_BYTES, MAX_REASON_BYTES, MAX_SUBJECT_BYTES,
};
use holdfast_collector::ingest::convert::{self, Incoming};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Said;
use prost::Message;

/// The first byte says which message the rest is; the last choice is a whole `AgentMessage`.
pub(crate) fn messages(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 4 {
        0 => drop(v1::Entry::decode(data).map(entry)),
        1 => drop(v1::Transition::decode(data).map(transition)),
        2 => drop(v1::Hello::decode(data).map(hello)),
        _ => match v1::AgentMessage::decode(data).ok().and_then(|message| message.message) {
            Some(Said::Hello(said)) => hello(said),
            Some(Said::Delta(said)) => {
                said.upserts.into_iter().for_each(entry);
                said.transitions.into_iter().for_each(transition);
                for key in &said.gone {
                    if let Ok(known) = convert::key(key) {
                        assert_eq!(known.as_str(), key.key, "a key is stored as it was sent");
                    }
                }
            }
            Some(Said::Snapshot(said)) => said.entries.into_iter().for_each(entry),
            _ => {}
        },
    }
}

/// An entry that is accepted is within every limit, and says what was sent.
fn entry(wire: v1::Entry) {
    let sent = wire.clone();
    match convert::entry(wire) {
        Err(refusal) => {
            let key = sent.key.unwrap_or_default();
            assert_eq!((refusal.key, refusal.hash), (key.key, sent.hash), "a refusal names what it refuses");
        }
        Ok(Incoming::Opaque(opaque)) => assert!(opaque.key.as_str().len() <= MAX_SUBJECT_BYTES + 129),
        Ok(Incoming::Known(entry)) => {
            assert_eq!(entry.hash.0.as_slice(), sent.hash, "the hash is opaque");
            assert!(!entry.key.as_str().contains('\0'));
            match entry.body {
                Body::Finding(finding) => {
                    assert_eq!(format!("{}/{}", finding.check, finding.subject), entry.key.as_str());
                    assert!(finding.reason.len() <= MAX_REASON_BYTES && finding.evidence.len() <= MAX_EVIDENCE_ITEMS);
                    assert!(finding.title.len() <= MAX_ENTRY_BYTES);
                }
                Body::Inventory(inventory) => assert!(inventory.json.len() <= MAX_INVENTORY_BYTES),
            }
        }
    }
}

fn transition(wire: v1::Transition) {
    if let Some(transition) = convert::transition(wire) {
        assert!(transition.reason.len() <= MAX_REASON_BYTES && transition.because.len() <= MAX_ENTRY_BYTES);
        assert!(!transition.reason.contains('\0') && !transition.because.contains('\0'));
    }
}

fn hello(wire: v1::Hello) {
    if let Ok(greeting) = convert::hello(wire) {
        assert!(holdfast_proto::PROTOCOL.contains(&greeting.protocol));
        assert!(greeting.last_acked <= convert::MAX_SEQ && greeting.sent.is_none_or(|sent| sent >= greeting.last_acked));
        assert!(greeting.agent_version.len() <= 128 && greeting.boot_id.len() <= 128);
    }
}

/// A story out of bytes: two for a step, and as many more as it asks for.
pub(crate) struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// What happens next, and how.
    pub(crate) fn next(&mut self) -> Option<(u8, u8)> {
        let (&[step, argument], rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some((step, argument))
    }

    /// Bytes behind their number as two bytes, the low one first; what there is where there are fewer.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let Some((&length, rest)) = self.0.split_first_chunk() else { return &[] };
        let length = usize::from(u16::from_le_bytes(length)).min(rest.len());
        let (bytes, rest) = rest.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        bytes
    }
}
