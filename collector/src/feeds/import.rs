//! From files to compiled feeds: a file is taken whole or refused whole, and what was known before stays until then.
//!
//! An archive is read entry by entry into drafts; single records are collected and laid over their feed together. Must not know
//! how results are shown, nor the clock: the time is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use holdfast_checks::versions::feeds::{self, Content, FeedError, Format, Limits};
use holdfast_checks::versions::knowledge::Record;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::FeedStatus;
use super::archive::{self, Walked};
use super::compiled::{Compiled, CompiledError, Draft, add_counts};
use super::overlay::{Overlay, lay_over};
use super::refusal::Refusal;
use super::shelf::{MAX_NAME, Shelf, ShelfError, Writing};
use super::source::{Kind, MAX_DOCUMENT, Source, SourceError, name_of};

/// The most feeds that one file belongs to.
const MAX_FEEDS: usize = 64;
/// Records that are collected before they are laid over their feeds.
const MAX_PENDING: usize = 50_000;
/// An archive of at least so many documents is an ecosystem's export, if this share of them (per cent) names its feed; a feed that
/// less than the other share names is not what it is an export of.
const EXPORT: (u64, u64, u64) = (100, 99, 5);

/// What the one who imports decides.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Unix milliseconds.
    pub now: i64,
    /// Take what is older than what is known.
    pub older: bool,
}

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Documents read.
    pub documents: u64,
    /// Documents in all.
    pub of: u64,
    /// Records made of them.
    pub records: u64,
    /// Bytes read, unpacked.
    pub bytes: u64,
}

/// A file that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name.
    pub file: String,
    /// What became of feeds.
    pub feeds: Vec<Change>,
    /// What was left out: reason, how many.
    pub ignored: BTreeMap<String, u64>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// What became of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The feed.
    pub name: String,
    /// The day it was true on.
    pub as_of: Date,
    /// Records that the file has for it.
    pub records: u64,
    /// Laid over what is there, record by record.
    pub laid_over: bool,
    /// What it was before: day and records.
    pub before: Option<(String, u64)>,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not right. Those feeds stay as they were.
    #[error("{refusal}")]
    Refused {
        /// What is wrong.
        refusal: Refusal,
        /// Feeds that it would have replaced.
        stays: Vec<FeedStatus>,
    },
    /// It could not be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It could not be kept.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

impl From<CompiledError> for ImportError {
    fn from(error: CompiledError) -> Self {
        Self::Shelf(error.into())
    }
}

/// What stops reading a file.
enum Stop {
    Refused(Refusal),
    Other(ImportError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ShelfError> for Stop {
    fn from(error: ShelfError) -> Self {
        Self::Other(error.into())
    }
}

impl From<CompiledError> for Stop {
    fn from(error: CompiledError) -> Self {
        Self::Other(error.into())
    }
}

/// What happens to a file, and how far it is.
pub trait Watcher {
    /// Called often; an answer of `Break` stops the import.
    fn progress(&mut self, file: &str, progress: Progress) -> ControlFlow<()>;
    /// A file was taken or not.
    fn done(&mut self, path: &Path, file: &str, outcome: &Result<Imported, ImportError>);
}

/// Imports files one after another. What is taken is in force when this returns.
///
/// # Errors
/// When nothing can be imported at all: [`ShelfError::Busy`] while another process does, or a directory that cannot be written.
pub fn import(data: &Path, files: &[PathBuf], options: Options, watcher: &mut dyn Watcher) -> Result<(), ShelfError> {
    let shelf = Shelf::of(data);
    let mut importing =
        Importing { writing: shelf.lock()?, options, today: day_of(options.now), watcher, pending: BTreeMap::new(), waiting: Vec::new() };
    for path in files {
        let name = name_of(path);
        match importing.file(path) {
            Ok(Some(imported)) => importing.watcher.done(path, &name, &Ok(imported)),
            Ok(None) => {}
            Err(error) => importing.watcher.done(path, &name, &Err(error)),
        }
    }
    importing.flush();
    Ok(())
}

struct Importing<'a> {
    writing: Writing<'a>,
    options: Options,
    today: Date,
    watcher: &'a mut dyn Watcher,
    /// Single records by feed, until they are laid over it.
    pending: BTreeMap<String, Overlay>,
    /// The files they came from.
    waiting: Vec<Waiting>,
}

/// A file with one record, which is in force when its feed was written.
struct Waiting {
    path: PathBuf,
    imported: Imported,
    /// The record's id, when nothing of it is of use now: what was kept of it before goes.
    withdrawn: Option<String>,
}

/// What one archive gives for one feed.
struct Part {
    draft: Draft,
    documents: u64,
}

impl Importing<'_> {
    /// `None`: it was taken, and is in force with others that follow.
    fn file(&mut self, path: &Path) -> Result<Option<Imported>, ImportError> {
        let source = Source::open(path)?;
        let mut concerned = Vec::new();
        let read = source.kind().map_err(Stop::from).and_then(|kind| match kind {
            Kind::Document => self.document(&source, &mut concerned),
            Kind::Archive => {
                self.flush();
                self.archive(&source, &mut concerned).map(Some)
            }
        });
        read.map_err(|stop| match stop {
            Stop::Other(error) => error,
            Stop::Refused(refusal) => ImportError::Refused { refusal, stays: self.stays(&concerned) },
        })
    }

    /// Feeds that are there and would have been replaced: by name, or all that begin so.
    fn stays(&self, concerned: &[String]) -> Vec<FeedStatus> {
        let of = |name: &str| concerned.iter().any(|one| one == name || (one.ends_with('/') && name.starts_with(one.as_str())));
        self.writing.shelf().statuses().into_iter().filter(|feed| of(&feed.name)).collect()
    }

    fn document(&mut self, source: &Source, concerned: &mut Vec<String>) -> Result<Option<Imported>, Stop> {
        let bytes = source.document()?;
        let own = |error| Refusal::Document(error);
        let format = feeds::detect(&source.name, &bytes).map_err(own)?;
        concerned.push(family(format, &source.name));
        let content = read(&source.name, &bytes).map_err(own)?;
        let sha256 = source.sha256()?;
        source.unchanged()?;
        let empty = content.feeds.values().all(Vec::is_empty);
        let withdrawn = (is_single(format) && empty).then(|| id_of(&bytes)).flatten();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        drop(bytes);
        let records = content.feeds.values().map(Vec::len).sum::<usize>();
        let progress = Progress { documents: 1, of: 1, records: u64::try_from(records).unwrap_or(u64::MAX), bytes: length };
        self.tell(source, progress)?;
        concerned.clone_from(&content.feeds.keys().cloned().collect());
        let mut imported = Imported { file: source.name.clone(), feeds: Vec::new(), ignored: BTreeMap::new(), notes: Vec::new() };
        add_counts(&mut imported.ignored, content.ignored.iter().map(|(reason, count)| (*reason, *count)));
        let as_of = self.as_of(source, content.as_of, &mut imported);
        check_names(content.feeds.keys())?;
        if is_single(format) {
            self.single(source, &sha256, content, as_of, imported, withdrawn)?;
            return Ok(None);
        }
        self.flush();
        if content.feeds.is_empty() {
            return Err(nothing(imported.ignored).into());
        }
        let alone = content.feeds.len() == 1;
        let mut drafts = Vec::new();
        for (feed, records) in content.feeds {
            if records.is_empty() {
                return Err(Refusal::Emptied { feed }.into());
            }
            imported.feeds.push(self.change(&feed, as_of, records.len(), false)?);
            let mut draft = self.writing.draft()?;
            for record in &records {
                draft.add(record)?;
            }
            let ignored = if alone { imported.ignored.clone() } else { BTreeMap::new() };
            draft.finish(self.status(&feed, source, &sha256, as_of, ignored), true)?;
            drafts.push((feed, draft));
        }
        self.writing.install(drafts)?;
        Ok(Some(imported))
    }

    /// A record by itself waits for others of its kind: its feed is written once for all of them.
    fn single(
        &mut self,
        source: &Source,
        sha256: &str,
        content: Content,
        as_of: Date,
        mut imported: Imported,
        withdrawn: Option<String>,
    ) -> Result<(), Stop> {
        for (feed, records) in &content.feeds {
            imported.feeds.push(self.change(feed, as_of, records.len(), true)?);
        }
        for (feed, records) in content.feeds {
            let overlay = self.pending.entry(feed).or_default();
            overlay.add(&source.name, sha256, as_of, &imported.ignored, records);
        }
        self.waiting.push(Waiting { path: source.path().to_owned(), imported, withdrawn });
        if self.waiting.len() >= MAX_PENDING || self.pending.values().map(Overlay::len).sum::<usize>() >= MAX_PENDING {
            self.flush();
        }
        Ok(())
    }

    /// Lays collected records over their feeds, and says of their files what became of them.
    fn flush(&mut self) {
        let (mut pending, mut waiting) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.waiting));
        let withdrawn: BTreeSet<String> = waiting.iter().filter_map(|waiting| waiting.withdrawn.clone()).collect();
        if !withdrawn.is_empty() {
            let single = |feed: &FeedStatus| feed.name.starts_with("osv/") || feed.name == "kernel-cve";
            for feed in self.writing.shelf().statuses().into_iter().filter(single) {
                pending.entry(feed.name).or_default();
            }
        }
        let mut drafts = Vec::new();
        let mut failed = None;
        for (feed, overlay) in pending {
            match lay_over(&self.writing, &feed, overlay, &withdrawn, self.options.now) {
                Ok(laid) => {
                    let is_gone = |one: &&mut Waiting| one.withdrawn.as_ref().is_some_and(|id| laid.gone.contains(id));
                    for one in waiting.iter_mut().filter(is_gone) {
                        one.imported.notes.push(format!("what {feed} had of it was taken out"));
                    }
                    drafts.extend(laid.draft.map(|draft| (feed, draft)));
                }
                Err(error) => failed = Some(ShelfError::from(error)),
            }
        }
        let mut outcome = match failed {
            Some(error) => Err(error),
            None if drafts.is_empty() => Ok(()),
            None => self.writing.install(drafts),
        };
        for Waiting { path, imported, .. } in waiting {
            let name = imported.file.clone();
            let result = match std::mem::replace(&mut outcome, Ok(())) {
                Ok(()) => Ok(imported),
                Err(error) => {
                    let again = Err(same(&error));
                    outcome = again;
                    Err(ImportError::Shelf(error))
                }
            };
            self.watcher.done(&path, &name, &result);
        }
    }

    fn archive(&mut self, source: &Source, concerned: &mut Vec<String>) -> Result<Imported, Stop> {
        let sha256 = source.sha256()?;
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        let mut imported = Imported { file: source.name.clone(), feeds: Vec::new(), ignored: BTreeMap::new(), notes: Vec::new() };
        let (mut newest, mut documents, mut records) = (None, 0, 0);
        let walked = archive::walk(source, |entry, walked| {
            let content = match read(&entry.name, entry.bytes) {
                Ok(content) => content,
                Err(error) => {
                    let known = feeds::detect(&entry.name, entry.bytes).ok();
                    concerned.extend(known.map(|format| family(format, &entry.name)));
                    return Err(Stop::from(Refusal::Document(error)));
                }
            };
            newest = newest.max(content.as_of);
            add_counts(&mut imported.ignored, content.ignored.iter().map(|(reason, count)| (*reason, *count)));
            documents += u64::from(!content.feeds.is_empty());
            for (feed, list) in content.feeds {
                let part = self.part(&mut parts, feed, concerned)?;
                part.documents += 1;
                for record in &list {
                    part.draft.add(record)?;
                    records += 1;
                }
            }
            self.tell(source, Progress { records, ..progress(walked) })
        })?;
        source.unchanged()?;
        self.tell(source, Progress { records, ..progress(walked) })?;
        if walked.others > 0 {
            add_counts(&mut imported.ignored, [("files in it that are not JSON", walked.others)]);
        }
        if records == 0 {
            return Err(nothing(imported.ignored).into());
        }
        let as_of = self.as_of(source, newest, &mut imported);
        let strays = strays(&parts, documents);
        let main = parts.iter().max_by_key(|(_, part)| part.documents).map(|(feed, _)| feed.clone());
        let mut drafts = Vec::new();
        for (feed, mut part) in parts {
            if part.draft.records() == 0 {
                continue;
            }
            let stray = strays.contains(&feed);
            let change = self.change(&feed, as_of, usize::try_from(part.draft.records()).unwrap_or(usize::MAX), stray)?;
            if let Some((_, before)) = change.before.as_ref().filter(|(_, before)| !stray && before / 2 > change.records) {
                let now = change.records;
                imported.notes.push(format!("{feed} had {before} records and has {now} now: an archive stands for all that there is"));
            }
            imported.feeds.push(change);
            if stray {
                let mut overlay = Overlay::default();
                let rest = part.draft.rewind()?.collect::<Result<Vec<Record>, _>>()?;
                overlay.add(&source.name, &sha256, as_of, &BTreeMap::new(), rest);
                let laid = lay_over(&self.writing, &feed, overlay, &BTreeSet::new(), self.options.now)?;
                drafts.extend(laid.draft.map(|draft| (feed, draft)));
                continue;
            }
            let ignored = if main.as_ref() == Some(&feed) { imported.ignored.clone() } else { BTreeMap::new() };
            part.draft.finish(self.status(&feed, source, &sha256, as_of, ignored), true)?;
            drafts.push((feed, part.draft));
        }
        self.writing.install(drafts)?;
        Ok(imported)
    }

    fn part<'p>(&self, parts: &'p mut BTreeMap<String, Part>, feed: String, concerned: &mut Vec<String>) -> Result<&'p mut Part, Stop> {
        use std::collections::btree_map::Entry;
        let count = parts.len();
        match parts.entry(feed) {
            Entry::Occupied(part) => Ok(part.into_mut()),
            Entry::Vacant(place) => {
                check_names([place.key()])?;
                if count >= MAX_FEEDS {
                    return Err(Refusal::TooManyFeeds { limit: MAX_FEEDS }.into());
                }
                concerned.push(place.key().clone());
                Ok(place.insert(Part { draft: self.writing.draft()?, documents: 0 }))
            }
        }
    }

    /// What will become of a feed, if the file is not older than what is there.
    fn change(&self, feed: &str, as_of: Date, records: usize, laid_over: bool) -> Result<Change, Stop> {
        let before = self.writing.shelf().feed(feed).map(|feed| feed.header);
        if let Some(known) = before.as_ref().filter(|known| known.complete && !self.options.older) {
            let known = known.status.as_of.parse().unwrap_or(Date::ZERO);
            if as_of < known {
                return Err(Refusal::Older { feed: feed.to_owned(), as_of, known }.into());
            }
        }
        let before = before.map(|known| (known.status.as_of, known.status.records));
        Ok(Change { name: feed.to_owned(), as_of, records: u64::try_from(records).unwrap_or(u64::MAX), laid_over, before })
    }

    /// The day a file was true on: by its own words, else when it was written; never in the future.
    fn as_of(&self, source: &Source, own: Option<Date>, imported: &mut Imported) -> Date {
        let as_of = own.unwrap_or_else(|| source.modified());
        if as_of <= self.today {
            return as_of;
        }
        imported.notes.push(format!("its date {as_of} is in the future: taken as of {}", self.today));
        self.today
    }

    fn status(&self, feed: &str, source: &Source, sha256: &str, as_of: Date, ignored: BTreeMap<String, u64>) -> FeedStatus {
        FeedStatus {
            name: feed.to_owned(),
            file: source.name.clone(),
            sha256: sha256.to_owned(),
            as_of: as_of.to_string(),
            imported_at: self.options.now,
            records: 0,
            ignored,
        }
    }

    fn tell(&mut self, source: &Source, progress: Progress) -> Result<(), Stop> {
        match self.watcher.progress(&source.name, progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Other(ImportError::Stopped)),
        }
    }
}

/// Feeds that an archive has something for without being their export. Few enough to be held.
fn strays(parts: &BTreeMap<String, Part>, documents: u64) -> Vec<String> {
    let (least, main, stray) = EXPORT;
    let percent = |part: &Part| part.documents.saturating_mul(100) / documents.max(1);
    if documents < least || !parts.values().any(|part| percent(part) >= main) {
        return Vec::new();
    }
    let is_stray = |part: &Part| percent(part) < stray && part.draft.records() <= u64::try_from(MAX_PENDING).unwrap_or(0);
    parts.iter().filter(|(_, part)| is_stray(part)).map(|(feed, _)| feed.clone()).collect()
}

fn read(name: &str, bytes: &[u8]) -> Result<Content, FeedError> {
    let limits = Limits { bytes: usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX), ..Limits::default() };
    feeds::parse(name, bytes, limits)
}

/// Published one record a file.
fn is_single(format: Format) -> bool {
    matches!(format, Format::Osv | Format::KernelCve)
}

/// The id of a record that was read before.
fn id_of(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Osv {
        id: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cve {
        cve_metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        cve_id: String,
    }
    let osv = || serde_json::from_slice(bytes).ok().map(|Osv { id }| id);
    osv().or_else(|| serde_json::from_slice(bytes).ok().map(|Cve { cve_metadata }| cve_metadata.cve_id))
}

/// What feeds a document of a format is about, when it could not be read so far.
fn family(format: Format, file: &str) -> String {
    match format {
        Format::EndOfLifeV0 => format!("endoflife/{}", file.strip_suffix(".json").unwrap_or(file)),
        Format::EndOfLifeV1 => "endoflife/".to_owned(),
        Format::Osv => "osv/".to_owned(),
        Format::Kev => "kev".to_owned(),
        Format::KernelReleases => "kernel-releases".to_owned(),
        Format::KernelCve => "kernel-cve".to_owned(),
        Format::KubernetesCve => "kubernetes-cve".to_owned(),
    }
}

fn check_names<'n>(names: impl IntoIterator<Item = &'n String>) -> Result<(), Refusal> {
    for (number, name) in names.into_iter().enumerate() {
        if name.len() > MAX_NAME {
            return Err(Refusal::FeedName { limit: MAX_NAME });
        }
        if number >= MAX_FEEDS {
            return Err(Refusal::TooManyFeeds { limit: MAX_FEEDS });
        }
    }
    Ok(())
}

fn nothing(ignored: BTreeMap<String, u64>) -> Refusal {
    Refusal::NothingKept { ignored: ignored.into_iter().collect(), remedy: "docs/feeds.md lists what is read" }
}

fn progress(walked: Walked) -> Progress {
    Progress { documents: walked.seen, of: walked.entries, records: 0, bytes: walked.unpacked }
}

/// The same failure, to be said of another file.
fn same(error: &ShelfError) -> ShelfError {
    match error {
        ShelfError::Compiled(CompiledError::Failed { operation, path, source }) | ShelfError::Failed { operation, path, source } => {
            let source = std::io::Error::new(source.kind(), source.to_string());
            ShelfError::Failed { operation, path: path.clone(), source }
        }
        other => ShelfError::Failed { operation: "write", path: PathBuf::new(), source: std::io::Error::other(other.to_string()) },
    }
}

/// The day of a time, UTC.
pub(crate) fn day_of(now: i64) -> Date {
    Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date()
}

/// Is a compiled feed as a whole what was written.
pub(crate) fn usable(feed: Option<Compiled>) -> Option<Compiled> {
    feed.filter(|feed| feed.verify().is_ok())
}
