//! Zip archives of documents, entry by entry in their order: neither the archive nor its directory is ever held.
//!
//! An archive is hostile: names are only shown, never used as paths, and everything is capped while it is read, whatever the
//! archive's own numbers say. Must not know formats.

use std::io::Read;

use zip::result::ZipError;
use zip::unstable::read::ZipIterable;
use zip::{CompressionMethod, ZipReadOptions};

use super::refusal::Refusal;
use super::source::Source;

/// The most entries.
pub(crate) const MAX_ENTRIES: u64 = 2_000_000;
/// The largest entry, unpacked: 16 MiB.
pub(crate) const MAX_ENTRY: u64 = 16 << 20;
/// The most that all entries may unpack to: 64 GiB.
pub(crate) const MAX_TOTAL: u64 = 64 << 30;
/// From so much on, the whole is held against the archive's size: 64 MiB.
const SUSPICIOUS: u64 = 64 << 20;
/// Real exports unpack to some 5 to 40 times their size.
pub(crate) const MAX_RATIO: u64 = 200;
/// The longest name that is shown, in characters.
const SHOWN: usize = 120;

/// One document of an archive.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// Its name without directories.
    pub(crate) name: String,
    /// Its content.
    pub(crate) bytes: &'a [u8],
}

/// How far an archive was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Entries seen, of `entries`.
    pub(crate) seen: u64,
    /// Entries in all.
    pub(crate) entries: u64,
    /// Bytes unpacked.
    pub(crate) unpacked: u64,
    /// Entries that are not documents: other files, archives in the archive.
    pub(crate) others: u64,
}

/// Gives every `*.json` entry to `take`, which may stop by an error.
///
/// # Errors
/// What is wrong with the archive, or what `take` says.
pub(crate) fn walk<E: From<Refusal>>(source: &Source, mut take: impl FnMut(Entry<'_>, Walked) -> Result<(), E>) -> Result<Walked, E> {
    let mut archive = ZipIterable::try_new(source.window(), zip::read::Config::default()).map_err(|error| damaged(&error))?;
    let entries = u64::try_from(archive.len()).unwrap_or(u64::MAX);
    if entries > MAX_ENTRIES {
        return Err(Refusal::TooManyEntries { entries }.into());
    }
    let mut walked = Walked { entries, ..Walked::default() };
    let mut content = source.window();
    let mut bytes = Vec::new();
    for entry in archive.files().map_err(|error| damaged(&error))? {
        let entry = entry.map_err(|error| damaged(&error))?;
        walked.seen += 1;
        let name = base_name(entry.name_raw());
        if entry.is_dir() || !is_document(&name) {
            walked.others += 1;
            continue;
        }
        if entry.encrypted() {
            return Err(Refusal::Encrypted { entry: name }.into());
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(Refusal::Compression { entry: name, method: entry.compression().to_string() }.into());
        }
        if entry.size() > MAX_ENTRY {
            return Err(Refusal::EntryTooLarge { entry: name }.into());
        }
        bytes.clear();
        let opened = entry.with_reader(&mut content, ZipReadOptions::new());
        let mut opened = opened.map_err(|error| Refusal::DamagedEntry { entry: name.clone(), problem: words(&error) })?;
        let read = opened.by_ref().take(MAX_ENTRY + 1).read_to_end(&mut bytes);
        read.map_err(|error| Refusal::DamagedEntry { entry: name.clone(), problem: error.to_string() })?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > MAX_ENTRY {
            return Err(Refusal::EntryTooLarge { entry: name }.into());
        }
        walked.unpacked = walked.unpacked.saturating_add(length);
        if walked.unpacked > MAX_TOTAL {
            return Err(Refusal::TooMuch.into());
        }
        if walked.unpacked > SUSPICIOUS && walked.unpacked / MAX_RATIO > source.stamp().size {
            return Err(Refusal::Bomb.into());
        }
        take(Entry { name, bytes: &bytes }, walked)?;
    }
    Ok(walked)
}

/// Documents end in `.json`; everything else is left alone.
fn is_document(name: &str) -> bool {
    name.len() > 5 && name.get(name.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(".json"))
}

/// The last part of a name, safe to print.
fn base_name(raw: &[u8]) -> String {
    let name = String::from_utf8_lossy(raw);
    let base = name.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or_default();
    let count = base.chars().count();
    base.chars().skip(count.saturating_sub(SHOWN)).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn damaged(error: &ZipError) -> Refusal {
    Refusal::DamagedArchive(words(error))
}

/// What the archive's reader says, in one line.
fn words(error: &ZipError) -> String {
    match error {
        ZipError::Io(error) => error.to_string(),
        ZipError::InvalidArchive(problem) => problem.to_string(),
        ZipError::UnsupportedArchive(problem) => (*problem).to_owned(),
        other => other.to_string(),
    }
}

/// Reads a file as an archive, and holds what it gives against its bounds; gives the number of documents. For tests/fuzzing.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(path: &std::path::Path) -> Result<u64, Refusal> {
    use super::source::Kind;
    let Ok(source) = Source::open(path) else { unreachable!("{} cannot be opened", path.display()) };
    if source.kind()? == Kind::Document {
        return Ok(0);
    }
    let (mut documents, mut unpacked) = (0, 0);
    let most = (SUSPICIOUS + MAX_ENTRY).max(source.stamp().size * (MAX_RATIO + 1));
    let walked = walk(&source, |entry, walked| {
        let length = u64::try_from(entry.bytes.len()).unwrap_or(u64::MAX);
        assert!(length <= MAX_ENTRY, "an entry of {length} bytes");
        let is_safe = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
        assert!(entry.name.chars().all(is_safe) && entry.name.chars().count() <= SHOWN, "{:?} is no name", entry.name);
        documents += 1;
        unpacked += length;
        assert!(walked.unpacked == unpacked && unpacked <= most, "{unpacked} bytes were unpacked, {walked:?}");
        assert!(walked.seen >= walked.others + documents && walked.seen <= walked.entries, "{walked:?}");
        // Documents have a target of their own.
        let limits = holdfast_checks::versions::feeds::Limits { bytes: 1 << 16, records: 1_000 };
        drop(holdfast_checks::versions::feeds::parse(&entry.name, entry.bytes, limits));
        Ok::<(), Refusal>(())
    })?;
    assert_eq!((walked.seen, walked.unpacked, walked.others + documents), (walked.entries, unpacked, walked.entries));
    Ok(documents)
}
