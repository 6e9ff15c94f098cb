//! The collector's own files: capped reads, private writes, replacement in one step.
//!
//! Small files of ours only (certificates, tokens); a device, a pipe or a huge file in their place is an error.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The largest file read: 4 MiB.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What tells one version of a file from another without reading it. Size and the time of writing can be made the same again; the time
/// of the last change to the inode cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    file: (u64, u64),
    /// Seconds and nanoseconds.
    changed: (i64, i64),
    modified: (i64, i64),
    size: u64,
}

impl Stamp {
    /// Of the file as it is, or where a link leads; `None` where there is none, or none that may be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
        })
    }
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("{path} does not exist")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// It is there already and would be overwritten.
    #[error("{path} exists already: move it away or choose another place")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is not a regular file of a sensible size.
    #[error("{path} is not a regular file of at most 4 MiB")]
    Unsuitable {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{operation} {path}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}

impl FileError {
    fn of(operation: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                ErrorKind::NotFound => Self::Absent { path },
                ErrorKind::AlreadyExists => Self::Exists { path },
                _ => Self::Failed { operation, path, source },
            }
        }
    }
}

/// Reads a small file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = FileError::of("read", path);
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let before = std::fs::metadata(path).map_err(&failed)?;
    if !before.is_file() || before.len() > MAX_BYTES {
        return Err(FileError::Unsuitable { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(&failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(&failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(FileError::Unsuitable { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Reads a small text file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|_| FileError::Unsuitable { path: path.to_owned() })
}

/// Writes a file that must not be there yet, with exactly this mode.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let failed = FileError::of("write", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(&failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(&failed)
}

/// Makes a directory that is ours alone, unless it is there. One that is there stays as open as whoever made it wanted it.
pub fn private_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file in one step: a reader sees the old one or the new one. Mode 0600.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fresh = fresh(path);
    create(&fresh, bytes, 0o600)?;
    std::fs::rename(&fresh, path).map_err(FileError::of("replace", path))
}

/// Replaces two files that belong together, with these modes where they are new; one that is there keeps its owner and mode. Neither is
/// touched before both are written, so that what fails changes nothing; then each is replaced in one step.
pub fn replace_both(pair: [(&Path, &[u8], u32); 2]) -> Result<(), FileError> {
    let fresh = pair.map(|(path, _, _)| fresh(path));
    let written = fresh.iter().zip(pair).try_for_each(|(fresh, (path, bytes, mode))| write_like(fresh, path, bytes, mode));
    let done = written.and_then(|()| {
        fresh.iter().zip(pair).try_for_each(|(fresh, (path, _, _))| std::fs::rename(fresh, path).map_err(FileError::of("replace", path)))
    });
    if done.is_err() {
        // What is left of it is in nobody's way, and may be a key.
        for fresh in &fresh {
            drop(std::fs::remove_file(fresh));
        }
    }
    done
}

/// Beside the file it is to replace.
fn fresh(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

/// Writes `fresh`, with owner and mode of the file at `path` if there is one.
fn write_like(fresh: &Path, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    // Nobody else's before it has its owner.
    create(fresh, bytes, 0o600)?;
    let failed = FileError::of("keep owner and mode of", path);
    let (mode, owner) = match std::fs::metadata(path) {
        Ok(before) => (before.mode() & 0o777, Some((before.uid(), before.gid()))),
        Err(error) if error.kind() == ErrorKind::NotFound => (mode, None),
        Err(error) => return Err(failed(error)),
    };
    let now = std::fs::metadata(fresh).map_err(&failed)?;
    if let Some((uid, gid)) = owner.filter(|owner| *owner != (now.uid(), now.gid())) {
        std::os::unix::fs::chown(fresh, Some(uid), Some(gid)).map_err(&failed)?;
    }
    std::fs::set_permissions(fresh, Permissions::from_mode(mode)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{FileError, create, private_directory, read, replace};

    #[test]
    fn what_is_weak_in_a_fleet_is_not_for_every_user_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("state/data");
        private_directory(&data).unwrap();
        private_directory(&data).unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_private_file_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, b"one", 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, b"two", 0o600), Err(FileError::Exists { .. })));
        replace(&path, b"three").unwrap();
        assert_eq!(read(&path).unwrap(), b"three");
    }

    #[test]
    fn absent_and_unsuitable_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(&dir.path().join("no")), Err(FileError::Absent { .. })));
        assert!(matches!(read(dir.path()), Err(FileError::Unsuitable { .. })));
        let huge = dir.path().join("huge");
        std::fs::File::create(&huge).unwrap().set_len(2 << 30).unwrap();
        assert!(matches!(read(&huge), Err(FileError::Unsuitable { .. })));
    }
}
