//! How long and how much one sensor may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A deadline and a number of bytes, shared by every read of one sensor's pass. Clones share the bytes, and the count of what
/// the kernel was asked.
#[derive(Debug, Clone)]
pub struct Budget {
    deadline: Instant,
    left: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
}

impl Budget {
    /// A budget that ends `time` from now, or after `bytes`.
    pub fn new(time: Duration, bytes: u64) -> Self {
        Self { deadline: Instant::now() + time, left: Arc::new(AtomicU64::new(bytes)), calls: Arc::default() }
    }

    /// Is the time over.
    pub fn expired(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Is the time over, or no byte left: then what was read is not all there was.
    pub fn used_up(&self) -> bool {
        self.expired() || self.left.load(Ordering::Relaxed) == 0
    }

    /// How many system calls were made within it.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts `calls`, which were made or surely will be: opening counts the closing.
    pub(super) fn called(&self, calls: u64) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// Takes `bytes`; `false` when they are not there, and then nothing is left.
    pub fn spend(&self, bytes: u64) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)))
            .is_ok_and(|before| before >= bytes)
    }
}
