//! A file that is to be imported: opened once, capped, and seen to be the same at the end as at the beginning.
//!
//! Regular files only: a pipe or a device in its place is refused before anything waits for it. Must not know formats.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// The largest single document: 64 MiB.
pub(crate) const MAX_DOCUMENT: u64 = 64 << 20;
/// How a zip archive begins; the second is an empty one.
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// How other packed files begin, and what they are called.
const PACKED: [(&[u8], &str); 5] =
    [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"7z\xbc\xaf", "7-Zip")];
/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Modified: seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    /// The inode changed: the same. Whoever writes a file anew may put the other time back.
    #[serde(default)]
    pub(crate) changed: (i64, i64),
    /// Inode and device.
    pub(crate) inode: (u64, u64),
}

impl Stamp {
    /// Of what `stat` says.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: (metadata.ino(), metadata.dev()),
        }
    }
}

/// Why a file could not be opened: the system's doing, not the content's.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}")]
pub struct SourceError {
    /// What was being done.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's words.
    #[source]
    pub source: io::Error,
}

/// What an opened file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One document.
    Document,
    /// A zip archive of documents.
    Archive,
}

/// A file that is being imported.
pub(crate) struct Source {
    file: Arc<File>,
    path: PathBuf,
    stamp: Stamp,
    /// Its name without directories, safe to print.
    pub(crate) name: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |operation| move |source| SourceError { operation, path: path.to_owned(), source };
        // Opening a pipe would otherwise wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(failed("open"))?;
        let stamp = Stamp::of(&file.metadata().map_err(failed("look at"))?);
        Ok(Self { file: Arc::new(file), path: path.to_owned(), stamp, name: name_of(path) })
    }

    /// What it was when it was opened.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Tells a document from an archive by how it begins.
    ///
    /// # Errors
    /// When it is neither, or too large.
    pub(crate) fn kind(&self) -> Result<Kind, Refusal> {
        let metadata = self.file.metadata().map_err(Refusal::Read)?;
        if !metadata.is_file() {
            return Err(Refusal::NotAFile);
        }
        let mut start = [0; 8];
        let read = self.file.read_at(&mut start, 0).map_err(Refusal::Read)?;
        let start = start.get(..read).unwrap_or_default();
        if ZIP.iter().any(|magic| start.starts_with(magic)) {
            return Ok(Kind::Archive);
        }
        if let Some((_, packing)) = PACKED.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(Refusal::Packed(packing));
        }
        if self.stamp.size > MAX_DOCUMENT {
            return Err(Refusal::DocumentTooLarge { bytes: self.stamp.size });
        }
        Ok(Kind::Document)
    }

    /// All of a document.
    ///
    /// # Errors
    /// When it cannot be read, or grew beyond the limit meanwhile.
    pub(crate) fn document(&self) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.stamp.size.min(MAX_DOCUMENT)).unwrap_or(0));
        self.window().take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(Refusal::Read)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > MAX_DOCUMENT { Err(Refusal::DocumentTooLarge { bytes: length }) } else { Ok(bytes) }
    }

    /// SHA-256 of all of it, hexadecimal.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sha256(&self) -> Result<String, Refusal> {
        let (mut context, mut window, mut chunk) = (Context::new(&SHA256), self.window(), vec![0; CHUNK]);
        loop {
            let read = window.read(&mut chunk).map_err(Refusal::Read)?;
            match chunk.get(..read) {
                Some(bytes) if read > 0 => context.update(bytes),
                _ => return Ok(hex(context.finish().as_ref())),
            }
        }
    }

    /// Is it still what it was when it was opened, and still what its name leads to: a file that is being written is not.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn unchanged(&self) -> Result<(), Refusal> {
        let now = self.file.metadata().map_err(Refusal::Read)?;
        if Stamp::of(&now) == self.stamp { Ok(()) } else { Err(Refusal::Changed) }
    }

    /// The day it was last written, for documents that do not say when they were made.
    pub(crate) fn modified(&self) -> jiff::civil::Date {
        let time = jiff::Timestamp::from_second(self.stamp.modified.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        time.to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A reader with a place of its own in it.
    pub(crate) fn window(&self) -> Window {
        Window { file: Arc::clone(&self.file), length: self.stamp.size, position: 0, start: 0, buffer: Vec::new() }
    }
}

/// A file's name as messages show it: without control characters, and not longer than a name can be.
pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.chars().take(255).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |hex, byte| hex + &format!("{byte:02x}"))
}

/// A buffered reader that several can have of one file. Seeking within what is buffered reads nothing again, which an archive of
/// small entries needs.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<File>,
    length: u64,
    position: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    /// What is buffered from the position on.
    fn buffered(&self) -> &[u8] {
        let into = self.position.checked_sub(self.start).and_then(|into| usize::try_from(into).ok());
        into.and_then(|into| self.buffer.get(into..)).unwrap_or_default()
    }
}

impl Read for Window {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.buffered().is_empty() && !to.is_empty() {
            self.buffer.resize(CHUNK, 0);
            self.start = self.position;
            let read = self.file.read_at(&mut self.buffer, self.position);
            self.buffer.truncate(read.as_ref().copied().unwrap_or(0));
            read?;
        }
        let read = self.buffered().read(to)?;
        self.position = self.position.saturating_add(u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning"))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom};

    use super::{Kind, Source};

    #[test]
    fn a_window_reads_what_is_there_wherever_it_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let source = Source::open(&path).unwrap();
        let mut window = source.window();
        for place in [0_usize, 799_990, 4, 65_530, 65_536, 131_071, 400_000, 399_990] {
            window.seek(SeekFrom::Start(u64::try_from(place).unwrap())).unwrap();
            let mut read = [0; 10];
            window.read_exact(&mut read).unwrap();
            assert_eq!(read, content[place..place + 10], "at {place}");
        }
        assert_eq!(window.seek(SeekFrom::End(-2)).unwrap(), 799_998);
        assert!(window.seek(SeekFrom::Current(-800_000)).is_err());
        let mut rest = Vec::new();
        assert_eq!(window.read_to_end(&mut rest).unwrap(), 2);
    }

    #[test]
    fn pipes_and_directories_are_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Source::open(dir.path()).unwrap().kind().unwrap_err().to_string(), "it is not a regular file");
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(Source::open(&pipe).unwrap().kind().unwrap_err().to_string(), "it is not a regular file");
        let plain = dir.path().join("plain.json");
        std::fs::write(&plain, "{}").unwrap();
        assert_eq!(Source::open(&plain).unwrap().kind().unwrap(), Kind::Document);
    }
}
