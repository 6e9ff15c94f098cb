//! One entry: a finding or a piece of inventory under its key.

use super::{Finding, Hash, finding};

/// The longest subject, in bytes. A longer one is cut and told apart by a hash of the whole.
pub const MAX_SUBJECT_BYTES: usize = 1024;
/// The largest inventory document, in bytes of JSON.
pub const MAX_INVENTORY_BYTES: usize = 3 * 1024 - 128;
/// The largest entry, in bytes on the wire, framing included. Follows from the other limits; a test proves it.
pub const MAX_ENTRY_BYTES: usize = 4 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A verdict on a subject.
    Finding,
    /// A part of the facts that views and fleet rules need.
    Inventory,
    /// What a later version says, by the number of its kind. It is kept and counted, never made here.
    Other(u8),
}

impl Kind {
    /// The number hashed into digests; equal to the wire's `EntryKind`.
    pub fn number(self) -> u8 {
        match self {
            Self::Finding => 1,
            Self::Inventory => 2,
            Self::Other(number) => number,
        }
    }

    /// The kind of a number of the wire; `None` for what is none, zero and what does not fit into a byte.
    pub fn from_number(number: i32) -> Option<Self> {
        match u8::try_from(number).ok()? {
            0 => None,
            1 => Some(Self::Finding),
            2 => Some(Self::Inventory),
            other => Some(Self::Other(other)),
        }
    }
}

/// What identifies an entry on its node: kind, then `check/subject` or `inventory kind/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: Kind,
    key: String,
}

impl Key {
    /// The key of a finding. Check ids have no `/`, so the first one separates.
    pub fn finding(check: &str, subject: &str) -> Self {
        Self { kind: Kind::Finding, key: format!("{check}/{}", bounded_name(subject)) }
    }

    /// The key of an inventory entry.
    pub fn inventory(kind: &str, name: &str) -> Self {
        Self { kind: Kind::Inventory, key: format!("{kind}/{}", bounded_name(name)) }
    }

    /// Reads a key from its parts, as a peer sent them. What keys of another kind are made of is not known here.
    ///
    /// # Errors
    /// `None` when there is no `/`, a part is empty, or the text is longer than a key can be.
    pub fn parse(kind: Kind, key: &str) -> Option<Self> {
        if matches!(kind, Kind::Other(_)) {
            return (!key.is_empty() && key.len() <= 128 + 1 + MAX_SUBJECT_BYTES).then(|| Self { kind, key: key.to_owned() });
        }
        let (first, rest) = key.split_once('/')?;
        let fits = !first.is_empty() && !rest.is_empty() && first.len() <= 128 && rest.len() <= MAX_SUBJECT_BYTES;
        fits.then(|| Self { kind, key: key.to_owned() })
    }

    /// What the entry is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// `(check, subject)` of a finding, `(kind, name)` of inventory.
    pub fn parts(&self) -> (&str, &str) {
        self.key.split_once('/').unwrap_or((&self.key, ""))
    }
}

/// Cuts a name that is too long and appends a hash of the whole, so that two long names stay two.
fn bounded_name(name: &str) -> String {
    if name.len() <= MAX_SUBJECT_BYTES {
        return name.to_owned();
    }
    let whole = Hash::of_fields([name.as_bytes()]);
    format!("{}…{whole}", finding::cut(name, MAX_SUBJECT_BYTES - 40))
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A verdict.
    Finding(Finding),
    /// A document.
    Inventory(Inventory),
}

/// An inventory document: compact JSON whose shape [`crate::inventory`] gives by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Compact JSON.
    pub json: String,
}

/// A keyed, hashed part of a node's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its identity on the node.
    pub key: Key,
    /// Hash of the canonical content, without times.
    pub hash: Hash,
    /// The content.
    pub body: Body,
    /// When the content last changed on the node: Unix milliseconds. Not hashed.
    pub changed_at: i64,
}

impl Entry {
    /// Wraps a finding, cutting what exceeds the limits.
    pub fn finding(finding: Finding, changed_at: i64) -> Self {
        // Body and key say the same subject, also when it was cut.
        let mut finding = finding.bounded();
        finding.subject = bounded_name(&finding.subject);
        Self { key: Key::finding(&finding.check, &finding.subject), hash: finding.hash(), body: Body::Finding(finding), changed_at }
    }

    /// Wraps an inventory document.
    ///
    /// # Errors
    /// `None` when the document is larger than [`MAX_INVENTORY_BYTES`]: the caller counts and shows what did not fit.
    pub fn inventory(kind: &str, name: &str, document: &serde_json::Value, changed_at: i64) -> Option<Self> {
        let json = document.to_string();
        if json.len() > MAX_INVENTORY_BYTES {
            return None;
        }
        let hash = Hash::of_fields([json.as_bytes()]);
        Some(Self { key: Key::inventory(kind, name), hash, body: Body::Inventory(Inventory { json }), changed_at })
    }
}
