//! The content hash of an entry and the order-free digest of a whole state.

use super::Key;

/// BLAKE3 truncated to 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 16]);

impl Hash {
    /// Hashes fields with their lengths in front, so that no two different sequences of fields give the same bytes.
    pub fn of_fields<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for field in fields {
            let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
            hasher.update(&length.to_le_bytes());
            hasher.update(field);
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    /// Reads a hash from exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The sum modulo 2¹²⁸ of BLAKE3-128(kind, key, hash) over a state's entries: order-free and incremental.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u128);

impl Digest {
    /// The digest of no entries.
    pub const EMPTY: Self = Self(0);

    /// Counts an entry in.
    pub fn add(&mut self, key: &Key, hash: &Hash) {
        self.0 = self.0.wrapping_add(Self::term(key, hash));
    }

    /// Takes an entry out that was counted in with this same hash.
    pub fn remove(&mut self, key: &Key, hash: &Hash) {
        self.0 = self.0.wrapping_sub(Self::term(key, hash));
    }

    /// The wire form: 16 bytes, little endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Reads the wire form.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_le_bytes(bytes)))
    }

    fn term(key: &Key, hash: &Hash) -> u128 {
        let kind = [key.kind().number()];
        u128::from_le_bytes(Hash::of_fields([&kind[..], key.as_str().as_bytes(), &hash.0[..]]).0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
