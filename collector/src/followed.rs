//! A small file of an operator's that is read again when it has changed: looked at once a second at most, and at once for what is not
//! found in it, so that what was just added is there. One that is broken changes nothing and says so.
//!
//! Must not know what is in it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::logs::cause;

/// How often the file is looked at, at most, while everything asked for is found.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Loaded<T> {
    content: T,
    seen: Option<(SystemTime, u64)>,
    looked: Instant,
}

/// The content in use.
#[derive(Debug)]
pub struct Followed<T, E> {
    path: PathBuf,
    what: &'static str,
    parse: fn(&Path) -> Result<T, E>,
    loaded: Mutex<Loaded<T>>,
}

impl<T, E: Error + 'static> Followed<T, E> {
    /// Reads the file for the first time by `first`, and by `parse` from then on. `what` is what people call it.
    ///
    /// # Errors
    /// Those of `first`.
    pub fn load(path: &Path, what: &'static str, parse: fn(&Path) -> Result<T, E>, first: fn(&Path) -> Result<T, E>) -> Result<Self, E> {
        // Before it is read: a change in between is then seen as one.
        let seen = stamp(path);
        let content = first(path)?;
        Ok(Self { path: path.to_owned(), what, parse, loaded: Mutex::new(Loaded { content, seen, looked: Instant::now() }) })
    }

    /// Looks something up.
    pub fn find<R>(&self, find: impl Fn(&T) -> Option<R>) -> Option<R> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let found = find(&loaded.content);
        if (loaded.looked.elapsed() < LOOK && found.is_some()) || !self.refresh(&mut loaded) {
            return found;
        }
        find(&loaded.content)
    }

    /// Reads the file again when it has changed. A stat and a small local file: not worth a thread.
    fn refresh(&self, loaded: &mut Loaded<T>) -> bool {
        loaded.looked = Instant::now();
        let seen = stamp(&self.path);
        if seen == loaded.seen {
            return false;
        }
        loaded.seen = seen;
        match (self.parse)(&self.path) {
            Ok(content) => {
                tracing::info!(path = %self.path.display(), "{} read again", self.what);
                loaded.content = content;
                true
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error = cause(&error), "{} not usable: keeping what was read before", self.what);
                false
            }
        }
    }
}

/// What tells one version of a file from another.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
