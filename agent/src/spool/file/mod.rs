//! The spool's file: an [`Image`] on disk, brought up to date by one [`Save`] after another, each of them whole or not there at all.
//!
//! The file is disposable and is treated so: what will not open exactly as it was saved is set aside and begun anew, never mended and
//! never guessed at, because a scan makes good the state and only history is lost. What stands in the way of a good file (a lock, a
//! right, a full disk) is an error that leaves the file alone. `tables` is the content, `stored` its bytes, `backend` its bounds,
//! `place` its name in the directory. Must not know sessions, the runtime or when to save.

mod backend;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod place;
mod stored;
mod tables;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;

use super::{Image, Save};
use backend::Capped;
pub use error::FileError;
pub use place::SetAside;
use place::{Existing, Identity};
pub use stored::FORMAT_VERSION;
use tables::{Tables, TablesError};

/// The file's name in the spool's directory.
pub const FILE_NAME: &str = "spool.redb";
/// The largest the file may grow, in bytes: 8 MiB of pages, and what describes them.
pub const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024 + 64 * 1024;

/// A spool's file, open and locked.
#[derive(Debug)]
pub struct SpoolFile {
    directory: PathBuf,
    path: PathBuf,
    /// None once a save failed.
    tables: Option<Tables>,
}

/// What [`SpoolFile::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The file, ready for a save.
    pub file: SpoolFile,
    /// What it holds; `None`: it is new, and the first save must replace everything.
    pub image: Option<Image>,
    /// A file that would not open was moved out of the way.
    pub set_aside: Option<SetAside>,
}

enum Found {
    Absent,
    Good(Tables, Option<Image>),
    Malformed(Identity, String),
}

impl SpoolFile {
    /// Opens the spool in `directory`, or begins one. Blocks on the disk.
    ///
    /// # Errors
    /// What stands in the way; the file is as it was then, and the agent goes on in memory.
    pub fn open(directory: &Path) -> Result<Opened, FileError> {
        let (directory, path) = (directory.to_owned(), directory.join(FILE_NAME));
        let set_aside = match look(&path)? {
            Found::Good(tables, image) => {
                return Ok(Opened { file: Self { directory, path, tables: Some(tables) }, image, set_aside: None });
            }
            Found::Absent => None,
            Found::Malformed(which, because) => Some(place::set_aside(&directory, &path, which, because)?),
        };
        let tables = begin(&directory, &path, None)?;
        Ok(Opened { file: Self { directory, path, tables: Some(tables) }, image: None, set_aside })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `save` durable: all of it or nothing. Blocks on the disk.
    ///
    /// An entry that would not be read back exactly as it is (nested deeper than JSON is read) is kept as a key whose content is not
    /// known, so that it is told anew after a restart.
    ///
    /// # Errors
    /// What stands in the way. The file is closed then: open it again.
    pub fn write(&mut self, save: &Save) -> Result<(), FileError> {
        let Some(mut tables) = self.tables.take() else { return Err(FileError::Closed { path: self.path.clone() }) };
        let written = guarded(|| tables.write(save));
        match written {
            Ok(()) => {
                self.tables = Some(tables);
                Ok(())
            }
            Err(TablesError::Storage(redb::Error::Io(error))) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                close(tables);
                self.rewrite(save)
            }
            Err(error) => {
                close(tables);
                Err(error.at(&self.path, "write"))
            }
        }
    }

    /// What `save` leaves, as a new file: pages that changes left half empty may be what made the old one too large.
    fn rewrite(&mut self, save: &Save) -> Result<(), FileError> {
        let (old, mut image) = match look(&self.path)? {
            Found::Good(tables, image) => (tables, image.unwrap_or_default()),
            Found::Absent => return Err(FileError::Closed { path: self.path.clone() }),
            Found::Malformed(_, because) => return Err(TablesError::Malformed(because).at(&self.path, "make room in")),
        };
        image.apply(save.clone());
        let whole = Save {
            replace: true,
            rows: image.rows.into_iter().map(|(key, row)| (key, Some(row))).collect(),
            transitions: image.transitions.into_values().collect(),
            transitions_from: 0,
            position: image.position,
        };
        let begun = begin(&self.directory, &self.path, Some(&whole));
        // Only now: its lock kept others away from the name.
        close(old);
        self.tables = Some(begun?);
        Ok(())
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if let Some(tables) = self.tables.take() {
            close(tables);
        }
    }
}

/// What has the name `path`.
fn look(path: &Path) -> Result<Found, FileError> {
    let (which, file) = match place::existing(path)? {
        Existing::Absent => return Ok(Found::Absent),
        Existing::Malformed(which, because) => return Ok(Found::Malformed(which, because)),
        Existing::File(which, file) => (which, file),
    };
    match guarded(|| Tables::open(backend(file)?)) {
        Ok((tables, image)) => Ok(Found::Good(tables, image)),
        Err(error) => match error.stands_in_the_way(path, "open") {
            Ok(error) => Err(error),
            Err(because) => Ok(Found::Malformed(which, because)),
        },
    }
}

/// A new file in the place of whatever has the name. Nothing has that name before it is whole.
fn begin(directory: &Path, path: &Path, content: Option<&Save>) -> Result<Tables, FileError> {
    let fresh = place::fresh(directory)?;
    let (new, file) = (fresh.path().to_owned(), fresh.file()?);
    let made = guarded(|| Tables::create(backend(file)?, content));
    let tables = made.map_err(|error| error.at(&new, "begin"))?;
    fresh.take_place_of(path)?;
    Ok(tables)
}

/// Closes tables, also those that a failure left in pieces.
fn close(tables: Tables) {
    if catch_unwind(AssertUnwindSafe(|| drop(tables))).is_err() {
        tracing::debug!("the spool was not closed cleanly: it is checked when it is opened");
    }
}

fn backend(file: std::fs::File) -> Result<Capped<FileBackend>, TablesError> {
    Ok(Capped::new(FileBackend::new(file)?, MAX_FILE_BYTES))
}

/// Reads a file that something else wrote to, as bytes say: for tests/fuzzing.
#[cfg(feature = "fuzzing")]
pub fn fuzz(content: &[u8]) {
    fuzzing::fuzz(content);
}

/// The library may panic on pages that are not what they were: that says something of the file, and must not end the agent.
fn guarded<T>(work: impl FnOnce() -> Result<T, TablesError>) -> Result<T, TablesError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(TablesError::Panicked))
}
