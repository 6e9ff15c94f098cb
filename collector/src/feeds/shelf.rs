//! The directory of compiled feeds, `<data>/feeds`: which there are, putting new ones there in one step, taking them away.
//!
//! `<name>.feed` each; `refused.json` beside them. One process writes at a time (`.lock`); readers need no lock, because files are
//! only ever replaced whole. Must not know formats or archives.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::compiled::{Compiled, CompiledError, Draft};
use super::source::Stamp;
use super::{FeedStatus, Refused};
use crate::files::{self, FileError};

/// The directory in the data directory.
const DIRECTORY: &str = "feeds";
/// The longest name of a feed, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// The most feeds that are read.
pub(crate) const MAX_FEEDS: usize = 512;
/// The most refused files that are remembered.
const MAX_REFUSED: usize = 50;
/// How compiled feeds end.
const FEED: &str = ".feed";
/// How drafts end.
const DRAFT: &str = ".draft";

/// Why the directory of feeds could not be used. What is known stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The system refused.
    #[error("{operation} {path}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Another process is importing.
    #[error("another import is under way ({path} is locked)")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// A compiled feed cannot be written or read.
    #[error(transparent)]
    Compiled(#[from] CompiledError),
    /// A small file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The directory.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

/// What is at the place of a feed.
pub(crate) struct Found {
    /// The file.
    pub(crate) path: PathBuf,
    /// The feed, or why it is not used.
    pub(crate) feed: Result<Compiled, CompiledError>,
}

impl Shelf {
    /// The shelf of a data directory. Nothing is read or made.
    pub(crate) fn of(data: &Path) -> Self {
        Self { dir: data.join(DIRECTORY) }
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a feed: its name with everything but letters, digits, `.`, `_` and `-` written as `%2F`.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}{FEED}", escaped(name)))
    }

    /// Every compiled feed by the order of file names; none when there is no directory.
    pub(crate) fn feeds(&self) -> Result<Vec<Found>, ShelfError> {
        let paths = self.files()?;
        Ok(paths.into_iter().map(|path| Found { feed: Compiled::open(&path), path }).collect())
    }

    /// The feed of a name, if there is one that can be read.
    pub(crate) fn feed(&self, name: &str) -> Option<Compiled> {
        Compiled::open(&self.place(name)).ok().filter(|feed| feed.header.status.name == name)
    }

    /// Names of feeds that can be read, with what they say.
    pub(crate) fn statuses(&self) -> Vec<FeedStatus> {
        let found = self.feeds().unwrap_or_default();
        found.into_iter().filter_map(|found| found.feed.ok()).map(|feed| feed.header.status).collect()
    }

    /// Files that were refused, the newest first. A list that cannot be read is none.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        files::read(&self.dir.join("refused.json")).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// What changes whenever anything here does.
    pub(crate) fn state(&self) -> Result<Vec<(PathBuf, Stamp)>, ShelfError> {
        let mut paths = self.files()?;
        paths.push(self.dir.join("refused.json"));
        Ok(paths.into_iter().filter_map(|path| Some((Stamp::of(&std::fs::metadata(&path).ok()?), path))).map(|(s, p)| (p, s)).collect())
    }

    fn files(&self) -> Result<Vec<PathBuf>, ShelfError> {
        let listing = match std::fs::read_dir(&self.dir) {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed("list")(source)),
        };
        let mut paths = Vec::new();
        for entry in listing {
            let path = entry.map_err(self.failed("list"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(FEED) && !name.starts_with('.') {
                paths.push(path);
            }
        }
        paths.sort();
        paths.truncate(MAX_FEEDS);
        Ok(paths)
    }

    /// Becomes the one that writes here. The directory is made, and what a crash left is removed.
    ///
    /// # Errors
    /// [`ShelfError::Busy`] when another process writes.
    pub(crate) fn lock(&self) -> Result<Writing<'_>, ShelfError> {
        let heir = self.heir();
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => hand_over(heir, |uid, gid| lchown(&self.dir, uid, gid)).map_err(self.failed("give away"))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(self.failed("create")(source)),
        }
        let path = self.dir.join(".lock");
        let failed = |operation| {
            let path = path.clone();
            move |source| ShelfError::Failed { operation, path, source }
        };
        let lock = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(lock) => {
                hand_over(heir, |uid, gid| fchown(&lock, uid, gid)).map_err(failed("give away"))?;
                lock
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => OpenOptions::new().write(true).open(&path).map_err(failed("open"))?,
            Err(source) => return Err(failed("open")(source)),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ShelfError::Busy { path }),
            Err(TryLockError::Error(source)) => return Err(ShelfError::Failed { operation: "lock", path, source }),
        }
        let writing = Writing { shelf: self, _lock: lock, heir, drafts: AtomicU64::new(0) };
        writing.sweep()?;
        Ok(writing)
    }

    /// Who is to have what root writes here: the owner of the data directory, as whom the collector runs.
    fn heir(&self) -> Option<(u32, u32)> {
        let data = std::fs::metadata(self.dir.parent()?).ok()?;
        (nix::unistd::geteuid().is_root() && data.uid() != 0).then(|| (data.uid(), data.gid()))
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> ShelfError {
        let path = self.dir.clone();
        move |source| ShelfError::Failed { operation, path: path.clone(), source }
    }
}

/// The right to write, until it is dropped.
pub(crate) struct Writing<'a> {
    shelf: &'a Shelf,
    _lock: File,
    heir: Option<(u32, u32)>,
    drafts: AtomicU64,
}

impl Writing<'_> {
    /// The shelf.
    pub(crate) fn shelf(&self) -> &Shelf {
        self.shelf
    }

    /// Begins a feed.
    pub(crate) fn draft(&self) -> Result<Draft, CompiledError> {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        Draft::create(self.shelf.dir.join(format!(".{number}{DRAFT}")), |file| hand_over(self.heir, |uid, gid| fchown(file, uid, gid)))
    }

    /// Puts finished drafts in their places. All of them are on disk already; what is left is to rename.
    pub(crate) fn install(&self, drafts: impl IntoIterator<Item = (String, Draft)>) -> Result<(), ShelfError> {
        for (name, draft) in drafts {
            draft.install(&self.shelf.place(&name))?;
        }
        self.sync()
    }

    /// Takes a feed away; `false`: there was none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, ShelfError> {
        let path = self.shelf.place(name);
        match std::fs::remove_file(&path) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ShelfError::Failed { operation: "remove", path, source }),
        }
    }

    /// Remembers what was refused, the newest first.
    pub(crate) fn set_refused(&self, refused: &[Refused]) -> Result<(), ShelfError> {
        let kept = refused.get(..refused.len().min(MAX_REFUSED)).unwrap_or_default();
        self.write("refused.json", &serde_json::to_vec_pretty(kept).unwrap_or_default())
    }

    /// Writes a small file here.
    pub(crate) fn write(&self, name: &str, text: &[u8]) -> Result<(), ShelfError> {
        let path = self.shelf.dir.join(name);
        // Left by a crash of a process with the same number, as in a container.
        drop(std::fs::remove_file(self.shelf.dir.join(format!("{name}.{}.new", std::process::id()))));
        files::replace(&path, text)?;
        self.sync()
    }

    fn sync(&self) -> Result<(), ShelfError> {
        File::open(&self.shelf.dir).and_then(|dir| dir.sync_all()).map_err(self.shelf.failed("sync"))
    }

    /// Removes drafts of a process that did not finish.
    fn sweep(&self) -> Result<(), ShelfError> {
        for entry in std::fs::read_dir(&self.shelf.dir).map_err(self.shelf.failed("list"))? {
            let path = entry.map_err(self.shelf.failed("list"))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(DRAFT)) {
                std::fs::remove_file(&path).map_err(|source| ShelfError::Failed { operation: "remove", path, source })?;
            }
        }
        Ok(())
    }
}

/// Gives what was just made to the heir, if there is one.
fn hand_over(heir: Option<(u32, u32)>, give: impl FnOnce(Option<u32>, Option<u32>) -> io::Result<()>) -> io::Result<()> {
    heir.map_or(Ok(()), |(uid, gid)| give(Some(uid), Some(gid)))
}

/// A feed's name as the name of a file.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |escaped, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => escaped + &char::from(byte).to_string(),
        b'.' if !escaped.is_empty() => escaped + ".",
        _ => escaped + &format!("%{byte:02X}"),
    })
}
