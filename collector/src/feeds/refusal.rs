//! Why a file was not taken: what is wrong, where, and what to do. The file's own name is not repeated.

use std::io;

use holdfast_checks::versions::feeds::FeedError;
use jiff::civil::Date;

use super::archive::{MAX_ENTRIES, MAX_ENTRY, MAX_RATIO, MAX_TOTAL};
use super::source::MAX_DOCUMENT;

/// Why a file was refused. Nothing of it is used, and what was known before stays.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A directory, a pipe, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It could not be read to its end.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It was being written.
    #[error("it changed while it was being read: import it again when it is complete")]
    Changed,
    /// It is larger than documents are.
    #[error(
        "it has {} MiB, a document may have {} MiB: import a zip archive of single records, or feeds by product", mebi(*bytes),
        mebi(MAX_DOCUMENT)
    )]
    DocumentTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It is packed in a way that is not read.
    #[error("it is packed with {0}: unpack it, or import the zip archive")]
    Packed(&'static str),
    /// The document says why.
    #[error("{0}")]
    Document(FeedError),
    /// The archive as a whole cannot be used.
    #[error("the archive is damaged or incomplete ({0}): download it again")]
    DamagedArchive(String),
    /// It has more entries than accepted.
    #[error("the archive has {entries} entries, {MAX_ENTRIES} are accepted: import exports by ecosystem")]
    TooManyEntries {
        /// How many it has.
        entries: u64,
    },
    /// An entry is larger than accepted.
    #[error("entry {entry} has more than {} MiB, which no record has", mebi(MAX_ENTRY))]
    EntryTooLarge {
        /// Which.
        entry: String,
    },
    /// An entry is encrypted.
    #[error("entry {entry} is encrypted: import an archive without a password")]
    Encrypted {
        /// Which.
        entry: String,
    },
    /// An entry is compressed in a way that is not read.
    #[error("entry {entry} is compressed with {method}: only deflate and stored entries are read, pack it again with `zip`")]
    Compression {
        /// Which.
        entry: String,
        /// How.
        method: String,
    },
    /// An entry's bytes are not what the archive says.
    #[error("entry {entry} is damaged ({problem}): download the archive again")]
    DamagedEntry {
        /// Which.
        entry: String,
        /// What is wrong.
        problem: String,
    },
    /// It unpacks to more than is read.
    #[error("the archive unpacks to more than {} GiB: import exports by ecosystem", MAX_TOTAL >> 30)]
    TooMuch,
    /// It unpacks to more than an export can have.
    #[error("the archive unpacks to more than {MAX_RATIO} times its size, which no export does")]
    Bomb,
    /// Nothing in it says anything.
    #[error("nothing in it is of use{}: {remedy}", counted(ignored))]
    NothingKept {
        /// What it has instead: reasons, with how many.
        ignored: Vec<(String, u64)>,
        /// What to do.
        remedy: &'static str,
    },
    /// A feed would lose all it has.
    #[error("it has no record for {feed}, which would be empty then: download it again, or `holdfast-collector feeds remove {feed}`")]
    Emptied {
        /// The feed.
        feed: String,
    },
    /// It belongs to more feeds than accepted.
    #[error("it belongs to more than {limit} feeds: import exports by ecosystem")]
    TooManyFeeds {
        /// How many are accepted.
        limit: usize,
    },
    /// The name of a feed cannot be one.
    #[error("it belongs to a feed whose name is longer than {limit} bytes")]
    FeedName {
        /// How long names may be.
        limit: usize,
    },
    /// What is known is newer.
    #[error("it is of {as_of}, and {feed} is of {known} already: `--older` takes it all the same")]
    Older {
        /// The feed.
        feed: String,
        /// The file's day.
        as_of: Date,
        /// The day of what is known.
        known: Date,
    },
}

fn mebi(bytes: u64) -> u64 {
    bytes >> 20
}

/// `; ignored: 12 withdrawn, 3 for another product`.
fn counted(ignored: &[(String, u64)]) -> String {
    let list: Vec<String> = ignored.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if list.is_empty() { String::new() } else { format!(" (left out: {})", list.join(", ")) }
}
