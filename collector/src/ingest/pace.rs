//! How fast one agent may send: a token bucket, by messages and by bytes. Too fast is slowed, not refused.

use std::time::Duration;

/// Sustained messages a second, and the burst.
const MESSAGES: (f64, f64) = (20.0, 100.0);
/// Sustained bytes a second, and the burst: a full snapshot.
const BYTES: (f64, f64) = (64.0 * 1024.0, 1024.0 * 1024.0);

/// One agent's allowance.
#[derive(Debug)]
pub(super) struct Pace {
    messages: f64,
    bytes: f64,
    at_ms: u64,
}

impl Pace {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { messages: MESSAGES.1, bytes: BYTES.1, at_ms: now_ms }
    }

    /// Takes one message from the allowance; how long to wait before reading the next.
    pub(super) fn take(&mut self, bytes: usize, now_ms: u64) -> Duration {
        let passed = Duration::from_millis(now_ms.saturating_sub(self.at_ms)).as_secs_f64();
        self.at_ms = now_ms;
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.messages = (self.messages + passed * MESSAGES.0).min(MESSAGES.1) - 1.0;
        self.bytes = (self.bytes + passed * BYTES.0).min(BYTES.1) - bytes;
        let debt = (-self.messages / MESSAGES.0).max(-self.bytes / BYTES.0).max(0.0);
        Duration::from_secs_f64(debt.min(5.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Pace};

    #[test]
    fn a_burst_passes_and_what_follows_is_slowed() {
        let mut pace = Pace::new(0);
        assert!((0..100).all(|_| pace.take(100, 0) == Duration::ZERO));
        assert_eq!(pace.take(100, 0), Duration::from_millis(50));
        assert_eq!(pace.take(100, 10_000), Duration::ZERO, "time restores it");
        assert!(pace.take(2 * 1024 * 1024, 20_000) > Duration::from_secs(4));
    }
}
