//! Version knowledge as the collector holds it: the built-in snapshot, and feeds that an administrator imported over it.
//!
//! Files, archives and directories live here; formats and meaning are `holdfast_checks::versions`'. What is known at one time is
//! one [`Library`]; whoever judges or shows follows it through a [`Follow`]. Makes no network call. Must not know nodes or pages.

mod archive;
mod command;
mod compiled;
mod import;
mod library;
mod overlay;
mod refusal;
mod run;
mod shelf;
mod source;
mod status;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_checks::versions::KnowledgeError;
use holdfast_checks::versions::knowledge::Knowledge;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use command::{Feeds, Output, Terminal, run as command};
pub use compiled::CompiledError;
pub use import::{Change, ImportError, Imported, Options, Progress, Watcher, import};
pub use library::LibraryError;
pub use refusal::Refusal;
pub use run::{Following, Pace, follow};
pub use shelf::ShelfError;
pub use source::SourceError;
pub use status::Report;

/// The library as it changes.
pub type Follow = watch::Receiver<Arc<Library>>;

/// Everything known at one time, with where it comes from.
#[derive(Debug, Clone)]
pub struct Library {
    /// What verdicts are judged by.
    pub knowledge: Arc<Knowledge>,
    /// Imported feeds, by name.
    pub feeds: Vec<FeedStatus>,
    /// Files that were refused and not accepted since, the newest first.
    pub refused: Vec<Refused>,
}

/// An imported feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// `osv/Debian`, `kev`, ….
    pub name: String,
    /// The file it came from, its name only.
    pub file: String,
    /// SHA-256 of that file, hexadecimal.
    pub sha256: String,
    /// The day it was true on, `2026-11-18`.
    pub as_of: String,
    /// When it was imported: Unix milliseconds.
    pub imported_at: i64,
    /// Records that are kept.
    pub records: u64,
    /// Records that were left out, by reason.
    pub ignored: BTreeMap<String, u64>,
}

/// A file that was refused; what was known before stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The file, its name only.
    pub file: String,
    /// When: Unix milliseconds.
    pub at: i64,
    /// What is wrong with it, and where.
    pub reason: String,
}

impl Library {
    /// What this build ships, without any feed.
    ///
    /// # Errors
    /// Only when a build shipped bad data.
    pub fn built_in() -> Result<Self, KnowledgeError> {
        Ok(Self { knowledge: Knowledge::built_in()?, feeds: Vec::new(), refused: Vec::new() })
    }

    /// A library that does not change.
    pub fn fixed(self) -> Follow {
        watch::channel(Arc::new(self)).1
    }
}

/// Reads a file as an archive of a feed's documents, and every document: for tests/fuzzing. It panics where the reader does, and
/// where it gives more than it may.
///
/// # Errors
/// Why it is refused.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_archive(path: &std::path::Path) -> Result<u64, Refusal> {
    archive::fuzz(path)
}
