//! The spool's name in its directory: who may have it, how a file gets it, and how one that is no good loses it.
//!
//! No link is followed, nothing but a regular file is opened, and a file is touched only while its lock is held. Must not know what
//! is in the file.

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::Uid;

use super::{FILE_NAME, FileError, MAX_FILE_BYTES};

/// Readable and writable for the agent alone.
const MODE: u32 = 0o600;

/// What has the spool's name.
pub(super) enum Existing {
    /// Nothing.
    Absent,
    /// A file that may be a spool, locked.
    File(Identity, File),
    /// Something that is no spool, and why.
    Malformed(Identity, String),
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file that was no good, out of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub because: String,
}

/// Looks at what has the name `path`.
pub(super) fn existing(path: &Path) -> Result<Existing, FileError> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Absent),
        found => found.map_err(io_error("look at", path))?,
    };
    let identity = Identity::of(&found);
    if !found.is_file() {
        let what = if found.is_dir() {
            "a directory"
        } else if found.is_symlink() {
            "a symbolic link"
        } else {
            "a special file"
        };
        return Ok(Existing::Malformed(identity, format!("it is {what}, not a file")));
    }
    let file = locked("open", path, OpenOptions::new().read(true).write(true))?;
    let metadata = file.metadata().map_err(io_error("look at", path))?;
    let identity = Identity::of(&metadata);
    if metadata.nlink() > 1 {
        return Ok(Existing::Malformed(identity, "the same file has another name: writing here would change it there".to_owned()));
    }
    if metadata.len() == 0 {
        return Ok(Existing::Malformed(identity, "it is empty".to_owned()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Ok(Existing::Malformed(identity, format!("it has {} bytes, more than a spool ever has", metadata.len())));
    }
    if metadata.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(MODE)).map_err(io_error("restrict", path))?;
    }
    Ok(Existing::File(identity, file))
}

/// A new, empty file beside the spool. Unless it takes the spool's place it is gone again.
pub(super) struct Fresh {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    placed: bool,
}

/// Begins a new file in `directory`.
pub(super) fn fresh(directory: &Path) -> Result<Fresh, FileError> {
    let path = directory.join(format!("{FILE_NAME}.new"));
    // What is somebody else's under another name is not emptied, only its name here goes.
    if std::fs::symlink_metadata(&path).is_ok_and(|there| there.is_file() && there.nlink() > 1) {
        std::fs::remove_file(&path).map_err(io_error("begin", &path))?;
    }
    let file = locked("begin", &path, OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE))?;
    let fresh = Fresh { directory: directory.to_owned(), path, file, placed: false };
    // A crash may have left one half made.
    fresh.file.set_len(0).map_err(io_error("begin", &fresh.path))?;
    Ok(fresh)
}

impl Fresh {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, with the lock on it.
    pub(super) fn file(&self) -> Result<File, FileError> {
        self.file.try_clone().map_err(io_error("begin", &self.path))
    }

    /// Gives the file the spool's name, durably.
    pub(super) fn take_place_of(mut self, path: &Path) -> Result<(), FileError> {
        std::fs::rename(&self.path, path).map_err(io_error("put in place", path))?;
        self.placed = true;
        sync(&self.directory, path)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.placed && std::fs::remove_file(&self.path).is_err() {
            tracing::debug!(path = %self.path.display(), "a spool that was begun is left behind: the next one takes its place");
        }
    }
}

/// Moves what has the name `path` out of the way. What was moved there before goes: one is kept for a person to look at.
pub(super) fn set_aside(directory: &Path, path: &Path, which: Identity, because: String) -> Result<SetAside, FileError> {
    let found = std::fs::symlink_metadata(path).map_err(io_error("set aside", path))?;
    // Another agent may have begun a good one in the meantime: that one has the lock, or is another file.
    let _held = found.is_file().then(|| locked("set aside", path, OpenOptions::new().read(true).write(true))).transpose()?;
    if Identity::of(&found) != which {
        return Err(FileError::InUse { path: path.to_owned() });
    }
    let prefix = format!("{FILE_NAME}.bad-");
    let aside = directory.join(format!("{prefix}{}", jiff::Timestamp::now().as_second()));
    let moved = std::fs::rename(path, &aside);
    moved.map_err(io_error("set aside", path))?;
    let listed = std::fs::read_dir(directory).map_err(io_error("look beside", path))?;
    for old in listed.flatten() {
        let named = old.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
        // Whoever made a directory of that name keeps it: what is in it is not ours.
        if named
            && old.path() != aside
            && let Err(error) = std::fs::remove_file(old.path())
        {
            tracing::warn!(path = %old.path().display(), %error, "an earlier spool that was set aside is left: remove it");
        }
    }
    sync(directory, path)?;
    Ok(SetAside { path: aside, because })
}

/// Opens `path` and locks it. With the lock in hand the name still belongs to this file, or somebody else was faster.
fn locked(operation: &'static str, path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    let opened = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path);
    let file = opened.map_err(|source| denied(operation, path, source))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(FileError::InUse { path: path.to_owned() }),
        // Some file systems have no such lock; the library tries its own.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    let (there, here) = (std::fs::symlink_metadata(path), file.metadata());
    match (there, here) {
        (Ok(there), Ok(here)) if Identity::of(&there) == Identity::of(&here) => Ok(file),
        _ => Err(FileError::InUse { path: path.to_owned() }),
    }
}

fn denied(operation: &'static str, path: &Path, source: io::Error) -> FileError {
    let own = Uid::effective().as_raw();
    let owner = std::fs::symlink_metadata(path).map(|metadata| metadata.uid());
    match owner {
        Ok(owner) if owner != own && source.kind() == io::ErrorKind::PermissionDenied => {
            FileError::Foreign { operation, path: path.to_owned(), owner, own, source }
        }
        _ => FileError::Io { operation, path: path.to_owned(), source },
    }
}

/// Makes a change of names durable.
fn sync(directory: &Path, path: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_error("keep the name of", path))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { operation, path, source }
}
