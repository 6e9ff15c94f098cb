//! What a Welcome sets, clamped to what this agent accepts.

use holdfast_proto::v1;

use super::pack::SMALLEST_LIMIT;

/// The bounds of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Mean time between heartbeats, seconds.
    pub heartbeat_seconds: u32,
    /// Largest message, bytes, the gRPC frame included.
    pub message_bytes: usize,
    /// Most messages without acknowledgement.
    pub in_flight: usize,
    /// Upper bound of the first random delay after a lost connection, milliseconds.
    pub reconnect_spread_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { heartbeat_seconds: 60, message_bytes: holdfast_proto::MAX_MESSAGE_BYTES, in_flight: 4, reconnect_spread_ms: 2_000 }
    }
}

impl Limits {
    /// Zero means "as by default"; anything out of range is brought into it.
    pub(super) fn of(welcome: &v1::Welcome) -> Self {
        let or_default = |value: u32, default: u32| if value == 0 { default } else { value };
        let default = Self::default();
        let bytes = usize::try_from(welcome.max_message_bytes).unwrap_or(usize::MAX);
        let bytes = if bytes == 0 { default.message_bytes } else { bytes.clamp(SMALLEST_LIMIT, default.message_bytes) };
        Self {
            heartbeat_seconds: or_default(welcome.heartbeat_seconds, default.heartbeat_seconds).clamp(1, 3_600),
            message_bytes: bytes,
            in_flight: usize::try_from(welcome.max_inflight).ok().filter(|most| *most > 0).unwrap_or(default.in_flight).min(64),
            reconnect_spread_ms: or_default(welcome.reconnect_spread_ms, default.reconnect_spread_ms).min(900_000),
        }
    }

    /// The time to the next heartbeat: the mean ± 20 %, by a fresh uniform draw.
    pub(super) fn heartbeat_ms(&self, draw: u32) -> u64 {
        let mean = u64::from(self.heartbeat_seconds) * 1_000;
        mean * 4 / 5 + mean * 2 / 5 * u64::from(draw) / u64::from(u32::MAX)
    }
}
