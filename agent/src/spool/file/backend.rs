//! Bytes below the library: a storage that refuses to grow beyond its limit.
//!
//! The limit stands before the system's own (`RLIMIT_FSIZE`, which would answer with a signal), and makes a spool that grows an error
//! like any other. Must not know what is stored.

use std::io;
use std::ops::Bound;

use redb::{BackendError, StorageBackend};

/// A storage of at most `limit` bytes.
#[derive(Debug)]
pub(super) struct Capped<B> {
    inner: B,
    limit: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("{wanted} bytes are more than the {limit} a spool may have")]
struct OverLimit {
    wanted: u64,
    limit: u64,
}

impl<B> Capped<B> {
    pub(super) fn new(inner: B, limit: u64) -> Self {
        Self { inner, limit }
    }

    fn fits(&self, wanted: u64) -> io::Result<()> {
        if wanted <= self.limit {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::FileTooLarge, OverLimit { wanted, limit: self.limit }))
    }
}

impl<B: StorageBackend> StorageBackend for Capped<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fits(len)?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fits(offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX)))?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
