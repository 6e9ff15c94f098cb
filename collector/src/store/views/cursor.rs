//! The opaque, signed position of a keyset page.
//!
//! It carries the last row's sort key, so that a deleted row breaks nothing, and how many rows came before. The signature is
//! keyed per process: a position does not outlive a restart, and a reader is then sent to the first page.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest position accepted, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// The key positions are signed with.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}

/// The position is not one this process gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`after` is not a page position of this collector: start from the first page")]
pub struct BadCursor;

/// A position in a sorted list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which list and order it belongs to.
    pub order: String,
    /// Rows before it.
    pub offset: i64,
    /// The sort key of the last row shown.
    pub key: Vec<Value>,
}

impl CursorKey {
    /// A key from random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The position as text for a link.
    pub fn sign(&self, cursor: &Cursor) -> String {
        let body = serde_json::to_vec(cursor).unwrap_or_default();
        let hex: String =
            body.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
        let seal = self.seal(&body);
        format!("{hex}.{seal}")
    }

    /// Reads a position that must belong to `order`.
    ///
    /// # Errors
    /// [`BadCursor`] when it was not signed with this key or belongs to another order.
    pub fn read(&self, text: &str, order: &str) -> Result<Cursor, BadCursor> {
        if text.len() > MAX_BYTES {
            return Err(BadCursor);
        }
        let (hex, seal) = text.split_once('.').ok_or(BadCursor)?;
        let body = unhex(hex).ok_or(BadCursor)?;
        // `blake3::Hash` compares in constant time.
        let given = blake3::Hash::from_hex(seal).map_err(|_| BadCursor)?;
        if given != blake3::keyed_hash(&self.0, &body) {
            return Err(BadCursor);
        }
        let cursor: Cursor = serde_json::from_slice(&body).map_err(|_| BadCursor)?;
        (cursor.order == order).then_some(cursor).ok_or(BadCursor)
    }

    fn seal(&self, body: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, body)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_a_forged_one_refused() {
        let key = CursorKey::new([7; 32]);
        let cursor = Cursor { order: "findings/severity".into(), offset: 50, key: vec![Value::from(-5), Value::from("x")] };
        let text = key.sign(&cursor);
        assert_eq!(key.read(&text, "findings/severity"), Ok(cursor));
        assert_eq!(key.read(&text, "findings/node"), Err(BadCursor));
        assert_eq!(CursorKey::new([8; 32]).read(&text, "findings/severity"), Err(BadCursor));
        assert_eq!(key.read(&text.replacen('7', "8", 1), "findings/severity"), Err(BadCursor));
        for junk in ["", ".", "zz.zz", "é.é", &"a".repeat(20_000)] {
            assert_eq!(key.read(junk, "findings/severity"), Err(BadCursor), "{junk}");
        }
    }
}
