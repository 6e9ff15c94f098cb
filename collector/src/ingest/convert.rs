//! From the wire to domain types. Every message is hostile: what is wrong is refused entry by entry, never a panic.
//!
//! Control characters in names and values are kept: a process may be named with them, and hiding its finding would be
//! worse than escaping it on output. NUL is refused, because stores disagree on it.

use holdfast_checks::entries::{
    Body, Digest, Entry, Evidence, Finding, Hash, Inventory, Key, Kind, MAX_ENTRY_BYTES, MAX_EVIDENCE_ITEMS, MAX_INVENTORY_BYTES,
    MAX_REASON_BYTES, MAX_SUBJECT_BYTES, Transition, TransitionEnd,
};
use holdfast_proto::v1;
use prost::Message;
use serde::de::IgnoredAny;

use crate::store::ingest::{Opaque, Refusal, RefusalCode};
use crate::store::{severity_from, verdict_from};

/// The highest sequence number believed: there is room behind it for whatever an agent will ever send.
pub const MAX_SEQ: u64 = u64::MAX >> 2;
/// The longest agent version, boot id and the like, in bytes.
const MAX_WORD_BYTES: usize = 128;
/// The longest Hello, in bytes.
const MAX_HELLO_BYTES: usize = 4 * 1024;
/// The longest deciding line of a transition, in bytes.
const MAX_BECAUSE_BYTES: usize = MAX_ENTRY_BYTES;

/// What is stored of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// All of it.
    Known(Entry),
    /// That it is there: this version does not know its kind or its body. Refusing it would make the agent's own count of refused
    /// entries grow with every kind that is added, and each would have to be sent again once this side knows it.
    Opaque(Opaque),
}

/// An entry, or why it is not stored.
pub fn entry(wire: v1::Entry) -> Result<Incoming, Refusal> {
    let hash = wire.hash;
    let key = wire.key.unwrap_or_default();
    let refuse = |code| Refusal { kind: key.kind, key: key.key.clone(), hash: hash.clone(), code };
    let known = self::key(&key).map_err(refuse)?;
    let digest_hash = Hash::from_slice(&hash).ok_or_else(|| refuse(RefusalCode::Malformed))?;
    let body = match (known.kind(), wire.body) {
        // What stood in a field this version does not know, the decoder has dropped.
        (Kind::Other(_), _) | (_, None) => return Ok(Incoming::Opaque(Opaque { key: known, hash: digest_hash })),
        (Kind::Finding, Some(v1::entry::Body::Finding(body))) => finding(&known, body).map(Body::Finding),
        (Kind::Inventory, Some(v1::entry::Body::Inventory(body))) => inventory(body).map(Body::Inventory),
        _ => Err(RefusalCode::Malformed),
    };
    let body = body.map_err(refuse)?;
    Ok(Incoming::Known(Entry { key: known, hash: digest_hash, body, changed_at: wire.changed_at }))
}

/// A key, or what is wrong with it.
pub fn key(wire: &v1::Key) -> Result<Key, RefusalCode> {
    let kind = Kind::from_number(wire.kind).ok_or(RefusalCode::Malformed)?;
    if wire.key.len() > MAX_SUBJECT_BYTES + MAX_WORD_BYTES + 1 {
        return Err(RefusalCode::TooLarge);
    }
    let key = Key::parse(kind, &wire.key).ok_or(RefusalCode::Malformed)?;
    if matches!(kind, Kind::Other(_)) {
        return if clean(&wire.key) { Ok(key) } else { Err(RefusalCode::Malformed) };
    }
    let (first, rest) = key.parts();
    let id = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if id && clean(rest) { Ok(key) } else { Err(RefusalCode::Malformed) }
}

fn finding(key: &Key, wire: v1::Finding) -> Result<Finding, RefusalCode> {
    let texts = wire.title.len() + wire.reason.len();
    let size = wire.evidence.iter().map(|item| item.path.len() + item.value.len() + item.source.len()).sum::<usize>();
    let too_large = wire.reason.len() > MAX_REASON_BYTES
        || wire.evidence.len() > MAX_EVIDENCE_ITEMS
        || key.as_str().len() + texts + size > MAX_ENTRY_BYTES;
    if too_large {
        return Err(RefusalCode::TooLarge);
    }
    if !clean(&wire.title) || !clean(&wire.reason) {
        return Err(RefusalCode::Malformed);
    }
    let (check, subject) = key.parts();
    // A verdict or severity of a later version is refused, unlike a kind: a finding that is kept has to be counted and shown as
    // something, and whatever stood for it would be a guess, a hidden one the worst. The agent then says that it was refused.
    Ok(Finding {
        check: check.to_owned(),
        subject: subject.to_owned(),
        verdict: verdict_from(i64::from(wire.verdict)).ok_or(RefusalCode::Malformed)?,
        reason: wire.reason,
        severity: severity_from(i64::from(wire.severity)).ok_or(RefusalCode::Malformed)?,
        title: wire.title,
        evidence: wire.evidence.into_iter().map(evidence).collect::<Result<_, _>>()?,
        evidence_truncated: wire.evidence_truncated,
    })
}

fn evidence(wire: v1::Evidence) -> Result<Evidence, RefusalCode> {
    let value = match wire.value.as_str() {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(|_| RefusalCode::Malformed)?),
    };
    if clean(&wire.path) && clean(&wire.source) {
        Ok(Evidence { path: wire.path, value, source: wire.source, at: wire.at })
    } else {
        Err(RefusalCode::Malformed)
    }
}

fn inventory(wire: v1::Inventory) -> Result<Inventory, RefusalCode> {
    if wire.json.len() > MAX_INVENTORY_BYTES {
        return Err(RefusalCode::TooLarge);
    }
    // Stored as it came; that it is JSON is what views rely on.
    let json: Result<IgnoredAny, _> = serde_json::from_str(&wire.json);
    if json.is_ok() && clean(&wire.json) { Ok(Inventory { json: wire.json }) } else { Err(RefusalCode::Malformed) }
}

/// A transition; `None` when it is not one. History cannot be refused, so it is only counted.
pub fn transition(wire: v1::Transition) -> Option<Transition> {
    let key = key(&wire.key.unwrap_or_default()).ok().filter(|key| key.kind() == Kind::Finding)?;
    let fits = wire.reason.len() <= MAX_REASON_BYTES && wire.because.len() <= MAX_BECAUSE_BYTES;
    (fits && clean(&wire.reason) && clean(&wire.because)).then_some(())?;
    Some(Transition {
        number: wire.number,
        key,
        from: end(wire.from).ok()?,
        to: end(wire.to).ok()?,
        reason: wire.reason,
        severity: severity_from(i64::from(wire.severity))?,
        because: wire.because,
        at: wire.at,
    })
}

/// One end of a transition: no verdict, or one we know.
fn end(number: i32) -> Result<TransitionEnd, RefusalCode> {
    let verdict = verdict_from(i64::from(number));
    if number == 0 || verdict.is_some() { Ok(verdict) } else { Err(RefusalCode::Malformed) }
}

/// What a Hello says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The protocol both speak.
    pub protocol: u32,
    /// The agent's version.
    pub agent_version: String,
    /// The spool's epoch.
    pub epoch: u64,
    /// What the agent knows to be stored.
    pub last_acked: u64,
    /// Up to which number it knows what it sent, when it numbers on from where it is told to.
    pub sent: Option<u64>,
    /// Its state.
    pub digest: Digest,
    /// Its catalogue, hex.
    pub catalogue_hash: String,
    /// Its boot.
    pub boot_id: String,
    /// It tries other nodes' ports when asked.
    pub probes_peers: bool,
    /// It applies policies.
    pub takes_policy: bool,
    /// The policy it says it holds; empty for none.
    pub policy_hash: Vec<u8>,
}

/// Why a Hello was not accepted. Told to the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// No protocol version in common.
    #[error("no common protocol: the agent speaks {min} to {max}, this collector {ours_min} to {ours_max}; update the older one")]
    Protocol {
        /// The agent's lowest.
        min: u32,
        /// The agent's highest.
        max: u32,
        /// Our lowest.
        ours_min: u32,
        /// Our highest.
        ours_max: u32,
    },
    /// A field is not what it has to be.
    #[error("hello is malformed: {0}")]
    Malformed(&'static str),
}

/// Checks a Hello.
pub fn hello(wire: v1::Hello) -> Result<Greeting, GreetingError> {
    if wire.encoded_len() > MAX_HELLO_BYTES {
        return Err(GreetingError::Malformed("it is longer than 4 KiB"));
    }
    let ours = holdfast_proto::PROTOCOL;
    let (ours_min, ours_max) = (*ours.start(), *ours.end());
    let (min, max) = (wire.protocol_min, wire.protocol_max);
    let protocol = max.min(ours_max);
    if protocol < min.max(ours_min) {
        return Err(GreetingError::Protocol { min, max, ours_min, ours_max });
    }
    let word =
        |text: String, what| if text.len() <= MAX_WORD_BYTES && clean(&text) { Ok(text) } else { Err(GreetingError::Malformed(what)) };
    let hash = Hash::from_slice(&wire.catalogue_hash).ok_or(GreetingError::Malformed("catalogue_hash is not 16 bytes"))?;
    let sent = (wire.capabilities & holdfast_proto::NUMBERS_FROM_WELCOME != 0).then_some(wire.sent_seq);
    if wire.policy_hash.len() > MAX_WORD_BYTES {
        return Err(GreetingError::Malformed("policy_hash is longer than 128 bytes"));
    }
    if wire.last_acked_seq > MAX_SEQ || sent.is_some_and(|sent| sent > MAX_SEQ) {
        return Err(GreetingError::Malformed("a sequence number is out of range"));
    }
    if sent.is_some_and(|sent| sent < wire.last_acked_seq) {
        return Err(GreetingError::Malformed("sent_seq is lower than last_acked_seq"));
    }
    Ok(Greeting {
        protocol,
        agent_version: word(wire.agent_version, "agent_version is longer than 128 bytes")?,
        epoch: wire.epoch,
        last_acked: wire.last_acked_seq,
        sent,
        digest: Digest::from_slice(&wire.state_digest).ok_or(GreetingError::Malformed("state_digest is not 16 bytes"))?,
        catalogue_hash: hash.to_string(),
        boot_id: word(wire.boot_id, "boot_id is longer than 128 bytes")?,
        probes_peers: wire.capabilities & holdfast_proto::PROBES_PEERS != 0,
        takes_policy: wire.capabilities & holdfast_proto::TAKES_POLICY != 0,
        policy_hash: wire.policy_hash,
    })
}

/// A refusal as the agent is told.
pub fn refused(refusal: Refusal) -> v1::Refused {
    let code = match refusal.code {
        RefusalCode::Malformed => v1::refused::Code::Malformed,
        RefusalCode::TooLarge => v1::refused::Code::TooLarge,
        RefusalCode::Quota => v1::refused::Code::Quota,
        RefusalCode::Foreign => v1::refused::Code::Foreign,
    };
    v1::Refused { key: Some(v1::Key { kind: refusal.kind, key: refusal.key }), code: code.into(), hash: refusal.hash }
}

/// What a refused entry is counted as.
pub fn counted(code: v1::refused::Code) -> &'static str {
    match code {
        v1::refused::Code::Malformed => "malformed",
        v1::refused::Code::TooLarge => "too_large",
        v1::refused::Code::Quota => "quota",
        v1::refused::Code::Foreign => "foreign",
        v1::refused::Code::Unspecified => "unknown",
    }
}

fn clean(text: &str) -> bool {
    !text.contains('\0')
}

#[cfg(test)]
mod tests;
