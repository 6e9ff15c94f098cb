//! The spool's file: an [`Image`] on disk, brought up to date by one [`Save`] after another, each of them whole or not there at all.
//!
//! The file is disposable and is treated so: what will not open exactly as it was saved is set aside and begun anew, never mended and
//! never guessed at, because a scan makes good the state and only history is lost. What stands in the way of a good file (a lock, a
//! right, a full disk) is an error that leaves the file alone. `tables` is the content, `stored` its bytes, `backend` its bounds,
//! `place` its name in the directory. Must not know sessions, the runtime or when to save.

mod backend;
mod error;
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
use place::Existing;
pub use place::SetAside;
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
    tables: Tables,
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

impl SpoolFile {
    /// Opens the spool in `directory`, or begins one. Blocks on the disk.
    ///
    /// # Errors
    /// What stands in the way; the file is as it was then, and the agent goes on in memory.
    pub fn open(directory: &Path) -> Result<Opened, FileError> {
        let path = directory.join(FILE_NAME);
        let set_aside = match place::existing(&path)? {
            Existing::Absent => None,
            Existing::Malformed(which, because) => Some(place::set_aside(directory, &path, which, because)?),
            Existing::File(which, file) => match guarded(|| Tables::open(backend(file)?)) {
                Ok((tables, image)) => {
                    let file = Self { directory: directory.to_owned(), path, tables };
                    return Ok(Opened { file, image, set_aside: None });
                }
                Err(error) => match error.stands_in_the_way(&path, "open") {
                    Ok(error) => return Err(error),
                    Err(because) => Some(place::set_aside(directory, &path, which, because)?),
                },
            },
        };
        let tables = Self::begin(directory, &path, None)?;
        Ok(Opened { file: Self { directory: directory.to_owned(), path, tables }, image: None, set_aside })
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
    /// What stands in the way. The file is of no use any more then: drop it and open it again.
    pub fn write(&mut self, save: &Save) -> Result<(), FileError> {
        match guarded(|| self.tables.write(save)) {
            Ok(()) => Ok(()),
            Err(TablesError::Storage(redb::Error::Io(error))) if error.kind() == std::io::ErrorKind::FileTooLarge => self.rewrite(save),
            Err(error) => Err(error.at(&self.path, "write")),
        }
    }

    /// Closes a file, also one that a failed save left in pieces.
    pub fn close(self) {
        let path = self.path.clone();
        if catch_unwind(AssertUnwindSafe(|| drop(self))).is_err() {
            tracing::debug!(path = %path.display(), "the spool was not closed cleanly: it is checked when it is opened");
        }
    }

    /// What `save` leaves, as a new file: pages that changes left half empty may be what made the old one too large.
    fn rewrite(&mut self, save: &Save) -> Result<(), FileError> {
        let failed = |error: TablesError| error.at(&self.path, "make room in");
        let mut image = if save.replace { Image::default() } else { guarded(|| self.tables.committed()).map_err(failed)? };
        image.apply(save.clone());
        let whole = Save {
            replace: true,
            rows: image.rows.into_iter().map(|(key, row)| (key, Some(row))).collect(),
            transitions: image.transitions.into_values().collect(),
            transitions_from: 0,
            position: image.position,
        };
        self.tables = Self::begin(&self.directory, &self.path, Some(&whole))?;
        Ok(())
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
}

fn backend(file: std::fs::File) -> Result<Capped<FileBackend>, TablesError> {
    Ok(Capped::new(FileBackend::new(file)?, MAX_FILE_BYTES))
}

/// The library may panic on pages that are not what they were: that says something of the file, and must not end the agent.
fn guarded<T>(work: impl FnOnce() -> Result<T, TablesError>) -> Result<T, TablesError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(TablesError::Panicked))
}
