//! What the server says last in HTTP/2: whether it gives a connection up for what the other end did, which it tells nobody here.
//!
//! Must not know more of HTTP/2 than where frames begin, and GOAWAY (RFC 9113, 4.1 and 6.8).

/// GOAWAY, among the kinds of frames.
const GOAWAY: u64 = 7;
/// Bytes before a frame's payload: three of its length, one of its kind, one of flags, four of the stream.
const HEAD: u8 = 9;
/// Bytes of a GOAWAY's payload up to the reason, which are the last stream's, and those of the reason.
const REASON: u8 = 8;

/// The frames that were sent, by where they begin.
#[derive(Debug)]
pub(super) struct Farewell {
    /// Bytes of the payload that are of no interest.
    skip: u64,
    /// Bytes of the head or the reason that are still to come, and what there is of it.
    missing: u8,
    gathered: u128,
    /// What follows is the payload of a GOAWAY, of this length.
    goaway: Option<u64>,
    /// The last reason that was given.
    reason: Option<u32>,
}

impl Default for Farewell {
    fn default() -> Self {
        Self { skip: 0, missing: HEAD, gathered: 0, goaway: None, reason: None }
    }
}

impl Farewell {
    /// Takes in what was sent.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip = self.skip.saturating_sub(u64::try_from(skipped).unwrap_or(u64::MAX));
            bytes = bytes.split_at(skipped).1;
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            (self.gathered, self.missing) = ((self.gathered << 8) | u128::from(*byte), self.missing.saturating_sub(1));
            if self.missing == 0 {
                self.understand();
            }
        }
    }

    fn understand(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        // The lowest bytes: of a head the stream and flags come after its kind, of a GOAWAY the reason is last.
        let low = |shift: u32, bits: u64| u64::try_from((gathered >> shift) & u128::from(bits)).unwrap_or(0);
        if let Some(length) = self.goaway.take() {
            self.reason = u32::try_from(low(0, 0xffff_ffff)).ok();
            (self.skip, self.missing) = (length.saturating_sub(u64::from(REASON)), HEAD);
            return;
        }
        let (length, kind) = (low(48, 0xff_ffff), low(40, 0xff));
        if kind == GOAWAY && length >= u64::from(REASON) {
            (self.goaway, self.missing) = (Some(length), REASON);
        } else {
            (self.skip, self.missing) = (length, HEAD);
        }
    }

    /// Why the server gave the connection up; `None` while it did not, or where the other end did nothing wrong.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self.reason? {
            0 => None,
            1 => Some("what came in the connection is not HTTP/2"),
            3 => Some("it sent more than HTTP/2 lets it"),
            11 => Some("it sent too much of what is small: frames, headers or resets"),
            _ => Some("it broke the rules of HTTP/2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings, an answer, and a GOAWAY for the reason with some words after it.
    fn said(reason: u8) -> Vec<u8> {
        let mut said = vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2];
        said.extend([0, 0, 3, 1, 4, 0, 0, 0, 1, 7, 7, 7]);
        said.extend([0, 0, 11, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, reason, b'x', b'y', b'z']);
        said
    }

    #[test]
    fn the_reason_is_found_however_it_is_cut() {
        for reason in [0, 1, 3, 11, 13] {
            let said = said(reason);
            for first in 0..said.len() {
                let mut farewell = Farewell::default();
                let (before, after) = said.split_at(first);
                farewell.sent(before);
                assert!(farewell.fault().is_none() || first > 43, "{first}");
                after.chunks(3).for_each(|part| farewell.sent(part));
                assert_eq!(farewell.fault().is_some(), reason != 0, "{reason}, cut at {first}");
                farewell.sent(&[0, 0, 0, 4, 1, 0, 0, 0, 0]);
                assert_eq!(farewell.fault().is_some(), reason != 0, "and what comes after changes nothing");
            }
        }
    }
}
