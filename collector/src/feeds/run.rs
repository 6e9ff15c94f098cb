//! The task that keeps the library up to date: it notices what was imported by hand, and imports what appears in the watched
//! directory.
//!
//! Files are read and knowledge is built in blocking tasks; verdicts go on meanwhile, by what is known. Must not know formats.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::command::{not_taken, reason, taken};
use super::import::{ImportError, Imported, Options, Progress, Watcher, day_of, import};
use super::shelf::{Shelf, ShelfError};
use super::source::{Source, Stamp, name_of};
use super::watched::{Look, Seen, Watched};
use super::{Library, LibraryError, Refused};
use crate::alerts::Clock;
use crate::files;
use crate::logs::cause;
use crate::metrics::Metrics;

/// What was seen of the watched directory, beside the compiled feeds.
const SEEN: &str = "watched.json";
/// How often progress is logged.
const SAY: Duration = Duration::from_secs(10);

/// How often things are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// What was imported by hand.
    pub shelf: Duration,
    /// The watched directory.
    pub directory: Duration,
    /// The watched directory, while a file in it may still be written.
    pub settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { shelf: Duration::from_secs(10), directory: Duration::from_mins(1), settle: Duration::from_secs(5) }
    }
}

/// Where feeds come from.
#[derive(Clone)]
pub struct Following {
    /// The data directory.
    pub data: PathBuf,
    /// The directory that is watched.
    pub directory: Option<PathBuf>,
    /// What is counted.
    pub metrics: Metrics,
    /// Unix milliseconds.
    pub clock: Clock,
    /// How often things are looked at.
    pub pace: Pace,
}

impl Following {
    /// Of a data directory, looked at as often as is usual.
    pub fn new(data: &Path, directory: Option<&Path>, metrics: Metrics, clock: Clock) -> Self {
        Self { data: data.to_owned(), directory: directory.map(Path::to_owned), metrics, clock, pace: Pace::default() }
    }
}

type State = Option<Vec<(PathBuf, Stamp)>>;

/// Reads what is known now, and returns it with the task that keeps it so until `stop`.
///
/// # Errors
/// Only when a build shipped bad data.
pub async fn follow(
    following: Following,
    stop: CancellationToken,
) -> Result<(super::Follow, impl Future<Output = ()> + Send + 'static), LibraryError> {
    let shelf = Shelf::of(&following.data);
    let before = Arc::new(Library::built_in()?);
    // Looked at before it is read: what changes meanwhile is seen as a change.
    let state = look_at(&shelf).await;
    let library = open(&following).await.unwrap_or(before);
    tell(&following, &library, &mut Vec::new());
    let (sender, follow) = watch::channel(library);
    Ok((follow, keep(following, shelf, state, sender, stop)))
}

async fn keep(following: Following, shelf: Shelf, mut state: State, sender: watch::Sender<Arc<Library>>, stop: CancellationToken) {
    let mut names = Vec::new();
    let mut watched = watched_before(&shelf);
    let mut looks = tokio::time::interval(following.pace.shelf);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = Instant::now();
    let mut unreadable = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
            () = tokio::time::sleep_until(again), if following.directory.is_some() => {
                let (directory, at, halt) = (following.directory.clone().unwrap_or_default(), following.clone(), stop.clone());
                let mut known = std::mem::take(&mut watched);
                let looked = tokio::task::spawn_blocking(move || {
                    let looked = look(&directory, &at, &mut known, &halt);
                    (known, looked)
                });
                again = Instant::now() + following.pace.directory;
                let Ok((known, looked)) = looked.await else {
                    tracing::error!("reading the directory of feeds panicked; what is known stays in force");
                    watched = watched_before(&shelf);
                    continue;
                };
                watched = known;
                if let Err(error) = &looked && !unreadable {
                    tracing::warn!(error = cause(error), "the directory of feeds cannot be read; what is known stays in force");
                }
                unreadable = looked.is_err();
                if matches!(looked, Ok(1..)) {
                    again = Instant::now() + following.pace.settle;
                }
            }
        }
        let now = look_at(&shelf).await;
        let mut fresh = None;
        if now.is_some() && now != state {
            state = now;
            fresh = open(&following).await;
        }
        let library = fresh.clone().unwrap_or_else(|| Arc::clone(&sender.borrow()));
        tell(&following, &library, &mut names);
        if let Some(library) = fresh {
            sender.send_replace(library);
        }
    }
}

/// What is imported, without reading it; `None`: it cannot be told.
async fn look_at(shelf: &Shelf) -> State {
    let shelf = shelf.clone();
    tokio::task::spawn_blocking(move || shelf.state().ok()).await.ok().flatten()
}

/// Everything known; `None` when that cannot be read, which was logged.
async fn open(following: &Following) -> Option<Arc<Library>> {
    let (data, now) = (following.data.clone(), (following.clock)());
    let opened = tokio::task::spawn_blocking(move || Library::open(&data, now)).await;
    match opened {
        Ok(Ok(library)) => {
            for refused in library.refused.iter().filter(|refused| refused.at == now) {
                tracing::error!(file = refused.file, reason = refused.reason, "an imported feed is not used");
            }
            let records = library.feeds.iter().map(|feed| feed.records).sum::<u64>();
            tracing::info!(feeds = library.feeds.len(), records, refused = library.refused.len(), "version knowledge");
            Some(Arc::new(library))
        }
        Ok(Err(error)) => {
            tracing::error!(error = cause(&error), "imported feeds cannot be read; what is known stays in force");
            None
        }
        Err(_) => {
            tracing::error!("reading imported feeds panicked; what is known stays in force");
            None
        }
    }
}

/// Ages and numbers of feeds, for metrics.
fn tell(following: &Following, library: &Library, names: &mut Vec<String>) {
    let today = day_of((following.clock)());
    let mut now = Vec::new();
    for feed in library.knowledge.feeds() {
        let days = feed.as_of.until(today).map_or(0, |span| span.get_days());
        let records = library.feeds.iter().find(|known| known.name == feed.name).map_or(0, |known| known.records);
        following.metrics.feed(&feed.name, i64::from(days), records);
        now.push(feed.name.clone());
    }
    for gone in names.iter().filter(|name| !now.contains(name)) {
        following.metrics.feed_gone(gone);
    }
    following.metrics.feeds_refused(library.refused.len());
    *names = now;
}

/// What is remembered of the watched directory. Files that are said to be refused and were not read could not be.
fn watched_before(shelf: &Shelf) -> Watched {
    let seen: BTreeMap<String, Seen> =
        files::read(&shelf.dir().join(SEEN)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let unread = shelf.refused().into_iter().map(|refused| (refused.file, refused.reason));
    let unread = unread.filter(|(file, _)| !seen.contains_key(file)).collect();
    Watched::knowing(seen, unread)
}

/// Looks at the watched directory once and imports what is new. How many files may still be written.
fn look(directory: &Path, following: &Following, watched: &mut Watched, stop: &CancellationToken) -> Result<usize, LookError> {
    let look = watched.look(directory).map_err(|source| LookError { path: directory.to_owned(), source })?;
    let unsettled = look.unsettled;
    if look.ready.is_empty() && look.gone.is_empty() {
        return Ok(unsettled);
    }
    if let Err(error) = take(look, following, watched, stop) {
        // They are still new at the next look.
        match error {
            ShelfError::Busy { .. } => tracing::info!("another import is under way: the directory of feeds waits"),
            error => tracing::error!(error = cause(&error), "feeds cannot be kept; what is known stays in force"),
        }
    }
    Ok(unsettled)
}

fn take(look: Look, following: &Following, watched: &mut Watched, stop: &CancellationToken) -> Result<(), ShelfError> {
    let shelf = Shelf::of(&following.data);
    let now = (following.clock)();
    let mut fresh = Vec::new();
    let mut seen = watched.seen.clone();
    for (name, path, stamp) in look.ready {
        // One that cannot be read is tried by the import, which says so.
        let sha256 = Source::open(&path).ok().and_then(|source| source.sha256().ok()).unwrap_or_default();
        if let Some(known) = seen.get_mut(&name).filter(|known| known.sha256 == sha256) {
            known.stamp = stamp;
            continue;
        }
        fresh.push((path, Seen { stamp, sha256 }));
    }
    let paths: Vec<PathBuf> = fresh.iter().map(|(path, _)| path.clone()).collect();
    let mut log = Log {
        metrics: following.metrics.clone(),
        stop: stop.clone(),
        said: std::time::Instant::now(),
        unread: watched.unread.clone(),
        outcomes: Vec::new(),
    };
    if !paths.is_empty() {
        import(&following.data, &paths, Options { now, older: false }, &mut log)?;
    }
    let writing = shelf.lock()?;
    let mut refused = shelf.refused();
    let before = refused.clone();
    for name in &look.gone {
        seen.remove(name);
        log.unread.remove(name);
        let shown = name_of(Path::new(name));
        refused.retain(|known| known.file != shown);
    }
    for (path, outcome) in log.outcomes {
        let Some((_, stamped)) = fresh.iter().find(|(fresh, _)| *fresh == path) else { continue };
        let Some(name) = path.file_name().and_then(OsStr::to_str).map(str::to_owned) else { continue };
        let reason = match outcome {
            Outcome::Again => continue,
            Outcome::Unreadable(reason) if log.unread.get(&name) == Some(&reason) => continue,
            Outcome::Unreadable(reason) => {
                log.unread.insert(name, reason.clone());
                Some(reason)
            }
            Outcome::Refused(reason) => {
                log.unread.remove(&name);
                seen.insert(name, stamped.clone());
                Some(reason)
            }
            Outcome::Taken => {
                log.unread.remove(&name);
                seen.insert(name, stamped.clone());
                None
            }
        };
        let shown = name_of(&path);
        refused.retain(|known| known.file != shown);
        if let Some(reason) = reason {
            refused.insert(0, Refused { file: shown, at: now, reason });
        }
    }
    watched.unread = log.unread;
    if refused != before {
        writing.set_refused(&refused)?;
    }
    if seen != watched.seen {
        writing.write(SEEN, &serde_json::to_vec(&seen).unwrap_or_default())?;
        watched.seen = seen;
    }
    Ok(())
}

/// The watched directory cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("list {path}")]
struct LookError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Says in logs and metrics what becomes of files.
struct Log {
    metrics: Metrics,
    stop: CancellationToken,
    said: std::time::Instant,
    /// What could not be read before, with the reason: not said again.
    unread: BTreeMap<String, String>,
    outcomes: Vec<(PathBuf, Outcome)>,
}

/// What became of a file.
enum Outcome {
    Taken,
    /// For good, with the reason.
    Refused(String),
    /// The system does not let us: it is tried again, and said until then.
    Unreadable(String),
    /// Nothing is wrong with the file: it is tried again.
    Again,
}

impl Watcher for Log {
    fn progress(&mut self, file: &str, progress: Progress) -> ControlFlow<()> {
        if self.said.elapsed() >= SAY {
            self.said = std::time::Instant::now();
            let Progress { documents, of, records, bytes } = progress;
            tracing::info!(file, documents, of, records, mebibytes = bytes >> 20, "reading a feed");
        }
        if self.stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn done(&mut self, path: &Path, file: &str, outcome: &Result<Imported, ImportError>) {
        let outcome = match outcome {
            Ok(imported) => {
                tracing::info!("{}", taken(imported));
                self.metrics.feed_imported("accepted");
                Outcome::Taken
            }
            Err(error @ ImportError::Refused { .. }) => {
                tracing::warn!("{}", not_taken(file, error));
                self.metrics.feed_imported("refused");
                Outcome::Refused(reason(file, error))
            }
            Err(ImportError::Stopped) => Outcome::Again,
            Err(error @ ImportError::Source(_)) => {
                let why = reason(file, error);
                let known = path.file_name().and_then(OsStr::to_str).and_then(|name| self.unread.get(name)) == Some(&why);
                if !known {
                    tracing::error!(file, error = why, "a file in the directory of feeds cannot be read; it is tried again");
                    self.metrics.feed_imported("failed");
                }
                Outcome::Unreadable(why)
            }
            Err(error) => {
                tracing::error!("{}", not_taken(file, error));
                self.metrics.feed_imported("failed");
                Outcome::Again
            }
        };
        self.outcomes.push((path.to_owned(), outcome));
    }
}
