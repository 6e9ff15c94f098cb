//! A compiled feed: what was imported, in one file of ours.
//!
//! The first 16 KiB are the header, text padded with spaces: one line of JSON (`head -1` shows it), one line with its checksum. Then
//! the records, one JSON line each, as one zstd frame. The header says how many records and bytes follow and their BLAKE3, so
//! that a file that is cut off or damaged is seen before anything of it is used. Must not know where files are or what they mean.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use holdfast_checks::versions::knowledge::Record;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::FeedStatus;

/// The version of this format. A file of a newer one is left alone.
const SCHEMA: u32 = 1;
/// Where the records begin.
const HEADER_BYTES: u64 = 16 * 1024;
/// Compression of the records: little time, and little memory for each feed that is being written.
const LEVEL: i32 = 3;
/// How far back compression looks: 512 KiB.
const WINDOW_LOG: u32 = 19;
/// The longest line: nothing that was imported can be longer.
const MAX_LINE: u64 = 64 << 20;

/// What a compiled feed says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the format.
    schema: u32,
    /// The feed as people know it.
    #[serde(flatten)]
    pub(crate) status: FeedStatus,
    /// Is it an export as a whole, or single records that were put together.
    pub(crate) complete: bool,
    /// Bytes of the compressed records.
    body_bytes: u64,
    /// BLAKE3 of the records' lines, hexadecimal.
    pub(crate) body_blake3: String,
}

/// The only field that every version has.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// The second line.
#[derive(Serialize, Deserialize)]
struct Seal {
    blake3: String,
}

/// Why a compiled feed is not used.
#[derive(Debug, thiserror::Error)]
pub enum CompiledError {
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
    /// A newer version wrote it.
    #[error("{path} has schema {schema}, this version reads {SCHEMA}: import the feed again, or use the newer version")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: u32,
    },
    /// It is not what was written.
    #[error("{path} is damaged ({problem}): import the feed again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A feed that is being written. What is not installed is removed again.
pub(crate) struct Draft {
    path: PathBuf,
    out: Option<zstd::Encoder<'static, BufWriter<File>>>,
    hash: blake3::Hasher,
    records: u64,
    line: Vec<u8>,
}

impl Draft {
    /// Begins a file at `path`, which must not be there; `own` says whose it is.
    pub(crate) fn create(path: PathBuf, own: impl FnOnce(&File) -> io::Result<()>) -> Result<Self, CompiledError> {
        let failed = |source| CompiledError::Failed { operation: "write", path: path.clone(), source };
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let begun = own(&file).and_then(|()| file.seek(SeekFrom::Start(HEADER_BYTES))).and_then(|_| {
            let mut out = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
            out.window_log(WINDOW_LOG)?;
            Ok(out)
        });
        let out = begun.map_err(failed)?;
        Ok(Self { path, out: Some(out), hash: blake3::Hasher::new(), records: 0, line: Vec::new() })
    }

    /// Records written so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Writes one more record.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), CompiledError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record).map_err(|error| self.failed("write", error.into()))?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.records += 1;
        match &mut self.out {
            Some(out) => out.write_all(&self.line).map_err(|source| self.failed("write", source)),
            None => Ok(()),
        }
    }

    /// Writes the header and brings everything to disk.
    pub(crate) fn finish(&mut self, mut status: FeedStatus, complete: bool) -> Result<(), CompiledError> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let failed = |source| CompiledError::Failed { operation: "write", path: self.path.clone(), source };
        let file = out.finish().and_then(|buffered| buffered.into_inner().map_err(io::IntoInnerError::into_error)).map_err(failed)?;
        status.records = self.records;
        let body_bytes = file.metadata().map_err(failed)?.len().saturating_sub(HEADER_BYTES);
        let body_blake3 = self.hash.finalize().to_hex().to_string();
        let header = Header { schema: SCHEMA, status, complete, body_bytes, body_blake3 };
        let text = header.text().map_err(failed)?;
        file.write_all_at(&text, 0).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Puts a finished file in its place in one step.
    pub(crate) fn install(self, place: &Path) -> Result<(), CompiledError> {
        std::fs::rename(&self.path, place).map_err(|source| self.failed("replace", source))
    }

    /// Reads back what was written, before it is finished.
    pub(crate) fn rewind(&mut self) -> Result<Records, CompiledError> {
        let Some(out) = self.out.take() else { return Err(self.damaged()) };
        let finished = out.finish().and_then(|buffered| buffered.into_inner().map_err(io::IntoInnerError::into_error));
        let mut file = finished.map_err(|source| self.failed("write", source))?;
        file.seek(SeekFrom::Start(HEADER_BYTES)).map_err(|source| self.failed("read", source))?;
        Records::new(self.path.clone(), file)
    }

    fn damaged(&self) -> CompiledError {
        CompiledError::Damaged { path: self.path.clone(), problem: "it was finished before" }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> CompiledError {
        CompiledError::Failed { operation, path: self.path.clone(), source }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Installed, it is no longer at this path.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Header {
    /// As it stands in the file.
    fn text(&self) -> Result<Vec<u8>, io::Error> {
        let mut text = serde_json::to_vec(self)?;
        let seal = Seal { blake3: blake3::hash(&text).to_hex().to_string() };
        text.push(b'\n');
        serde_json::to_writer(&mut text, &seal)?;
        let room = usize::try_from(HEADER_BYTES).unwrap_or(usize::MAX) - 1;
        if text.len() > room {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the header is too long"));
        }
        text.resize(room, b' ');
        text.push(b'\n');
        Ok(text)
    }
}

/// A compiled feed whose header was read.
#[derive(Debug)]
pub(crate) struct Compiled {
    path: PathBuf,
    file: File,
    /// What it says of itself.
    pub(crate) header: Header,
}

impl Compiled {
    /// Opens a file and reads its header. That it has all its bytes is known then, not that they are right.
    pub(crate) fn open(path: &Path) -> Result<Self, CompiledError> {
        let failed = |source| CompiledError::Failed { operation: "read", path: path.to_owned(), source };
        let damaged = |problem| CompiledError::Damaged { path: path.to_owned(), problem };
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(damaged("it is not a regular file"));
        }
        let mut text = Vec::new();
        Read::by_ref(&mut &file).take(HEADER_BYTES).read_to_end(&mut text).map_err(failed)?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let Ok(Version { schema }) = serde_json::from_slice(first) else { return Err(damaged("its header cannot be read")) };
        if schema > SCHEMA {
            return Err(CompiledError::Newer { path: path.to_owned(), schema });
        }
        let sealed = serde_json::from_slice(second).is_ok_and(|seal: Seal| seal.blake3 == blake3::hash(first).to_hex().as_str());
        let Ok(header) = serde_json::from_slice::<Header>(first) else { return Err(damaged("its header cannot be read")) };
        if !sealed {
            return Err(damaged("its header is not what was written"));
        }
        if metadata.len() != HEADER_BYTES.saturating_add(header.body_bytes) {
            return Err(damaged("it is cut off"));
        }
        Ok(Self { path: path.to_owned(), file, header })
    }

    /// Reads everything and compares it with what the header says.
    pub(crate) fn verify(&self) -> Result<(), CompiledError> {
        let mut lines = self.lines()?;
        let (mut hash, mut records, mut chunk) = (blake3::Hasher::new(), 0_u64, vec![0; 128 * 1024]);
        loop {
            let read = lines.read(&mut chunk).map_err(|_| self.damaged("its records cannot be unpacked"))?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hash.update(bytes);
            records += bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        }
        if records != self.header.status.records || hash.finalize().to_hex().as_str() != self.header.body_blake3 {
            return Err(self.damaged("its records are not what was written"));
        }
        Ok(())
    }

    /// Its records, in their order.
    pub(crate) fn records(&self) -> Result<Records, CompiledError> {
        let lines = self.lines()?;
        Ok(Records { path: self.path.clone(), lines, line: Vec::new() })
    }

    fn lines(&self) -> Result<Lines, CompiledError> {
        let failed = |source| CompiledError::Failed { operation: "read", path: self.path.clone(), source };
        let mut file = self.file.try_clone().map_err(failed)?;
        file.seek(SeekFrom::Start(HEADER_BYTES)).map_err(failed)?;
        lines_of(file).map_err(failed)
    }

    fn damaged(&self, problem: &'static str) -> CompiledError {
        CompiledError::Damaged { path: self.path.clone(), problem }
    }
}

type Lines = BufReader<zstd::Decoder<'static, BufReader<File>>>;

fn lines_of(file: File) -> io::Result<Lines> {
    let mut decoder = zstd::Decoder::new(file)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(BufReader::with_capacity(128 * 1024, decoder))
}

/// The records of a compiled feed.
pub(crate) struct Records {
    path: PathBuf,
    lines: Lines,
    line: Vec<u8>,
}

impl Records {
    fn new(path: PathBuf, file: File) -> Result<Self, CompiledError> {
        match lines_of(file) {
            Ok(lines) => Ok(Self { path, lines, line: Vec::new() }),
            Err(source) => Err(CompiledError::Failed { operation: "read", path, source }),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, CompiledError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        let damaged = |problem| Some(Err(CompiledError::Damaged { path: self.path.clone(), problem }));
        match Read::by_ref(&mut self.lines).take(MAX_LINE).read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) => match serde_json::from_slice(&self.line) {
                Ok(record) => Some(Ok(record)),
                Err(_) => damaged("a record cannot be read"),
            },
            Err(_) => damaged("its records cannot be unpacked"),
        }
    }
}

/// The record of a vulnerability that a record of ours came from; `None` for what is not published record by record.
pub(crate) fn record_id(record: &Record) -> Option<&str> {
    match record {
        Record::Advisory(advisory) => Some(&advisory.record),
        Record::Package(package) => Some(&package.record),
        _ => None,
    }
}

/// Reasons with their numbers, put together.
pub(crate) fn add_counts<K: ToString>(to: &mut BTreeMap<String, u64>, counts: impl IntoIterator<Item = (K, u64)>) {
    for (reason, count) in counts {
        *to.entry(reason.to_string()).or_default() += count;
    }
}
