//! The bytes of rows, transitions and the position: the stored format.
//!
//! Messages of our own, not the wire's: the wire must be understood by peers of other versions for years, while this file is read by
//! the next start of the same agent, or of its successor after an upgrade. So no field is ever "unknown and kept". One number,
//! [`FORMAT_VERSION`], stands for every shape here; whoever changes one raises it, and a file of another version is set aside, which
//! costs the history that was not acknowledged and nothing else.
//!
//! Every value is sealed: 16 bytes of BLAKE3 over its table, its key and its content come first. Must not know the library that
//! stores it.

use holdfast_checks::entries::{Body, Digest, Entry, Evidence, Finding, Hash, Inventory, Key, Kind, Severity, Transition, Verdict};
use prost::Message;

use crate::spool::{Position, Remote, Row};

/// The version of everything in this file.
pub const FORMAT_VERSION: u32 = 1;

const SEAL: usize = 16;
/// The largest number of a message or a transition: collectors take no larger, and there is none that an agent comes to.
const MAX_NUMBER: u64 = u64::MAX >> 2;

/// Puts the checksum in front.
pub(super) fn seal(table: &str, key: &[u8], content: &[u8]) -> Vec<u8> {
    [&checksum(table, key, content).0[..], content].concat()
}

/// The content with its checksum, where they belong together.
pub(super) fn unseal<'a>(table: &str, key: &[u8], sealed: &'a [u8]) -> Option<(Hash, &'a [u8])> {
    let (seal, content) = sealed.split_at_checked(SEAL)?;
    let seal = Hash::from_slice(seal)?;
    (seal == checksum(table, key, content)).then_some((seal, content))
}

/// The checksum of a value that was read before.
pub(super) fn sealed_with(sealed: &[u8]) -> Option<Hash> {
    Hash::from_slice(sealed.get(..SEAL)?)
}

fn checksum(table: &str, key: &[u8], content: &[u8]) -> Hash {
    Hash::of_fields([table.as_bytes(), key, content])
}

/// How many values a table holds, and an order-free digest of them: one that is missing, or of another time, shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    count: u64,
    digest: Digest,
}

impl Tally {
    pub(super) fn add(&mut self, key: &Key, seal: &Hash) {
        self.count = self.count.saturating_add(1);
        self.digest.add(key, seal);
    }

    pub(super) fn remove(&mut self, key: &Key, seal: &Hash) {
        self.count = self.count.saturating_sub(1);
        self.digest.remove(key, seal);
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredTally {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPosition {
    #[prost(fixed64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(uint64, tag = "3")]
    last_acked: u64,
    #[prost(uint64, tag = "4")]
    next_transition: u64,
    #[prost(uint64, tag = "5")]
    truncated: u64,
    #[prost(bytes = "vec", tag = "6")]
    policy: Vec<u8>,
    #[prost(message, required, tag = "7")]
    rows: StoredTally,
    #[prost(message, required, tag = "8")]
    transitions: StoredTally,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRow {
    #[prost(message, optional, tag = "1")]
    entry: Option<StoredEntry>,
    #[prost(message, optional, tag = "2")]
    remote: Option<StoredRemote>,
    #[prost(bool, tag = "3")]
    refused: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRemote {
    /// Empty: unsure.
    #[prost(bytes = "vec", tag = "1")]
    holds: Vec<u8>,
}

/// Key, check and subject are the row's key.
#[derive(Clone, PartialEq, Message)]
struct StoredEntry {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(sint64, tag = "2")]
    changed_at: i64,
    #[prost(oneof = "StoredBody", tags = "3, 4")]
    body: Option<StoredBody>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum StoredBody {
    #[prost(message, tag = "3")]
    Finding(StoredFinding),
    #[prost(string, tag = "4")]
    Inventory(String),
}

#[derive(Clone, PartialEq, Message)]
struct StoredFinding {
    #[prost(string, tag = "1")]
    verdict: String,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(string, tag = "3")]
    severity: String,
    #[prost(string, tag = "4")]
    title: String,
    #[prost(message, repeated, tag = "5")]
    evidence: Vec<StoredEvidence>,
    #[prost(bool, tag = "6")]
    evidence_truncated: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvidence {
    #[prost(string, tag = "1")]
    path: String,
    /// JSON; empty: there is none.
    #[prost(string, tag = "2")]
    value: String,
    #[prost(string, tag = "3")]
    source: String,
    #[prost(sint64, tag = "4")]
    at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTransition {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    key: String,
    /// Verdicts; empty: there was none.
    #[prost(string, tag = "3")]
    from: String,
    #[prost(string, tag = "4")]
    to: String,
    #[prost(string, tag = "5")]
    reason: String,
    #[prost(string, tag = "6")]
    severity: String,
    #[prost(string, tag = "7")]
    because: String,
    #[prost(sint64, tag = "8")]
    at: i64,
}

/// A key as a key of the table: its kind's number, then its text.
pub(super) fn key_bytes(key: &Key) -> Vec<u8> {
    [&[key.kind().number()], key.as_str().as_bytes()].concat()
}

/// What [`key_bytes`] made.
pub(super) fn key_from(bytes: &[u8]) -> Option<Key> {
    let (kind, text) = bytes.split_first()?;
    Key::parse(kind_from(u32::from(*kind))?, std::str::from_utf8(text).ok()?)
}

fn kind_from(number: u32) -> Option<Kind> {
    [Kind::Finding, Kind::Inventory].into_iter().find(|kind| u32::from(kind.number()) == number)
}

/// A row's content. An entry that would not be read back exactly leaves its key, with what is there unknown: it is told anew then.
pub(super) fn row_bytes(key: &Key, row: &Row) -> Vec<u8> {
    let stored = StoredRow {
        entry: row.entry.as_ref().map(|entry| StoredEntry {
            hash: entry.hash.0.to_vec(),
            changed_at: entry.changed_at,
            body: Some(match &entry.body {
                Body::Finding(finding) => StoredBody::Finding(finding_from(finding)),
                Body::Inventory(inventory) => StoredBody::Inventory(inventory.json.clone()),
            }),
        }),
        remote: row.remote.map(|remote| match remote {
            Remote::Holds(hash) => StoredRemote { holds: hash.0.to_vec() },
            Remote::Unsure => StoredRemote::default(),
        }),
        refused: row.refused,
    };
    let bytes = stored.encode_to_vec();
    if row_from(key, &bytes).as_ref() == Some(row) {
        return bytes;
    }
    tracing::warn!(key = key.as_str(), "an entry cannot be kept as it is in the spool's file: after a restart it is told anew");
    StoredRow { entry: None, remote: Some(StoredRemote::default()), refused: false }.encode_to_vec()
}

/// What [`row_bytes`] made. An entry whose hash is not that of its content is none.
pub(super) fn row_from(key: &Key, bytes: &[u8]) -> Option<Row> {
    let StoredRow { entry, remote, refused } = StoredRow::decode(bytes).ok()?;
    let entry = match entry {
        None => None,
        Some(StoredEntry { hash, changed_at, body }) => {
            let (body, content) = match body? {
                StoredBody::Finding(stored) => {
                    let finding = finding_to(key, stored)?;
                    let content = finding.hash();
                    (Body::Finding(finding), content)
                }
                StoredBody::Inventory(json) => {
                    let content = Hash::of_fields([json.as_bytes()]);
                    (Body::Inventory(Inventory { json }), content)
                }
            };
            let hash = Hash::from_slice(&hash).filter(|hash| *hash == content)?;
            Some(Entry { key: key.clone(), hash, body, changed_at })
        }
    };
    let remote = match remote {
        None => None,
        Some(StoredRemote { holds }) if holds.is_empty() => Some(Remote::Unsure),
        Some(StoredRemote { holds }) => Some(Remote::Holds(Hash::from_slice(&holds)?)),
    };
    Some(Row { entry, remote, refused })
}

fn finding_from(finding: &Finding) -> StoredFinding {
    let evidence = finding.evidence.iter().map(|item| StoredEvidence {
        path: item.path.clone(),
        value: item.value.as_ref().map(ToString::to_string).unwrap_or_default(),
        source: item.source.clone(),
        at: item.at,
    });
    StoredFinding {
        verdict: finding.verdict.name().to_owned(),
        reason: finding.reason.clone(),
        severity: finding.severity.name().to_owned(),
        title: finding.title.clone(),
        evidence: evidence.collect(),
        evidence_truncated: finding.evidence_truncated,
    }
}

fn finding_to(key: &Key, stored: StoredFinding) -> Option<Finding> {
    let (check, subject) = key.parts();
    let evidence = stored.evidence.into_iter().map(|item| {
        let value = if item.value.is_empty() { None } else { Some(serde_json::from_str(&item.value).ok()?) };
        Some(Evidence { path: item.path, value, source: item.source, at: item.at })
    });
    Some(Finding {
        check: check.to_owned(),
        subject: subject.to_owned(),
        verdict: stored.verdict.parse().ok()?,
        reason: stored.reason,
        severity: stored.severity.parse().ok()?,
        title: stored.title,
        evidence: evidence.collect::<Option<_>>()?,
        evidence_truncated: stored.evidence_truncated,
    })
}

/// A transition's content; its number is the key.
pub(super) fn transition_bytes(transition: &Transition) -> Vec<u8> {
    let end = |verdict: Option<Verdict>| verdict.map(Verdict::name).unwrap_or_default().to_owned();
    let stored = StoredTransition {
        kind: u32::from(transition.key.kind().number()),
        key: transition.key.as_str().to_owned(),
        from: end(transition.from),
        to: end(transition.to),
        reason: transition.reason.clone(),
        severity: transition.severity.name().to_owned(),
        because: transition.because.clone(),
        at: transition.at,
    };
    stored.encode_to_vec()
}

/// What [`transition_bytes`] made.
pub(super) fn transition_from(number: u64, bytes: &[u8]) -> Option<Transition> {
    let stored = StoredTransition::decode(bytes).ok().filter(|_| number <= MAX_NUMBER)?;
    let end = |name: &str| if name.is_empty() { Some(None) } else { name.parse::<Verdict>().ok().map(Some) };
    Some(Transition {
        number,
        key: Key::parse(kind_from(stored.kind)?, &stored.key)?,
        from: end(&stored.from)?,
        to: end(&stored.to)?,
        reason: stored.reason,
        severity: stored.severity.parse::<Severity>().ok()?,
        because: stored.because,
        at: stored.at,
    })
}

/// The position's content, with what there is of rows and transitions.
pub(super) fn position_bytes(position: &Position, rows: Tally, transitions: Tally) -> Vec<u8> {
    let tally = |tally: Tally| StoredTally { count: tally.count, digest: tally.digest.to_bytes().to_vec() };
    let stored = StoredPosition {
        epoch: position.epoch,
        seq: position.seq,
        last_acked: position.last_acked,
        next_transition: position.next_transition,
        truncated: position.truncated,
        policy: position.policy.clone(),
        rows: tally(rows),
        transitions: tally(transitions),
    };
    stored.encode_to_vec()
}

/// What [`position_bytes`] made.
pub(super) fn position_from(bytes: &[u8]) -> Option<(Position, Tally, Tally)> {
    let stored = StoredPosition::decode(bytes).ok()?;
    if stored.seq.max(stored.last_acked).max(stored.next_transition) > MAX_NUMBER {
        return None;
    }
    let tally = |tally: &StoredTally| Some(Tally { count: tally.count, digest: Digest::from_slice(&tally.digest)? });
    let (rows, transitions) = (tally(&stored.rows)?, tally(&stored.transitions)?);
    let position = Position {
        epoch: stored.epoch,
        seq: stored.seq,
        last_acked: stored.last_acked,
        next_transition: stored.next_transition,
        truncated: stored.truncated,
        policy: stored.policy,
    };
    Some((position, rows, transitions))
}

/// Reads bytes as each kind of value; what is read is written so that it is read as the same. For tests/fuzzing.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &[u8]) {
    let (name, value) =
        content.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length))).unwrap_or((&[], content));
    if let Some(key) = key_from(name) {
        assert_eq!(key_bytes(&key), name, "a key is written as it is read");
        // Bytes by chance never have the hash of their content.
        for value in [Some(value.to_vec()), hashed(&key, value)].into_iter().flatten() {
            let Some(row) = row_from(&key, &value) else { continue };
            let anew = Row { entry: None, remote: Some(Remote::Unsure), refused: false };
            let again = row_from(&key, &row_bytes(&key, &row));
            assert!(again.as_ref().is_some_and(|again| *again == row || *again == anew), "{row:?} is read again as {again:?}");
        }
    }
    if let Some(transition) = transition_from(7, value) {
        assert_eq!(transition_from(7, &transition_bytes(&transition)), Some(transition), "a transition is written as it is read");
    }
    if let Some((position, rows, transitions)) = position_from(value) {
        let again = position_from(&position_bytes(&position, rows, transitions));
        assert_eq!(again, Some((position, rows, transitions)), "a position is written as it is read");
    }
}

/// The row with the hash that its entry has.
#[cfg(feature = "fuzzing")]
fn hashed(key: &Key, value: &[u8]) -> Option<Vec<u8>> {
    let mut row = StoredRow::decode(value).ok()?;
    let entry = row.entry.as_mut()?;
    let hash = match entry.body.clone()? {
        StoredBody::Finding(stored) => finding_to(key, stored)?.hash(),
        StoredBody::Inventory(json) => Hash::of_fields([json.as_bytes()]),
    };
    entry.hash = hash.0.to_vec();
    Some(row.encode_to_vec())
}
