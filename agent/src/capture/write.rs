//! Writes an archive: facts as they came from the sensors, one file per group, into a file that appears whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use holdfast_checks::facts::{Group, NodeFacts, Observed, Reason};
use serde::Serialize;

use super::{FILE_CAP, MANIFEST, Manifest, TOTAL_CAP, file_of};

/// zstd's own default: what remains is dominated by reading the node.
const LEVEL: i32 = 3;
/// The archive holds what root read.
const MODE: u32 = 0o600;

/// More than the manifest and what tar puts around files.
const HEADERS: u64 = 1024 * 1024;

/// Why an archive was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file of that name is there.
    #[error("{} is there already: choose another name, or overwrite it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Something that must not be replaced by a file.
    #[error("{} is not a regular file and is not replaced: name a file, or `-` for stdout", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It names a directory, or nothing.
    #[error("{} names no file: give the archive a name, such as node.tar.zst", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot write the capture to {}: is there room, and may you write there", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Writes what the sensors read of one node. What derivation has added is left to whoever reads it.
///
/// # Errors
/// What `sink` says; `InvalidData` for facts that are no JSON, which no sensor makes.
pub fn write(facts: &NodeFacts, manifest: &Manifest, sink: &mut dyn Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(sink, LEVEL)?;
    // So that a reader tells a damaged archive from a whole one.
    encoder.include_checksum(true)?;
    let mut archive = tar::Builder::new(encoder);
    let at = u64::try_from(manifest.captured_at.as_second()).unwrap_or(0);
    let mut append = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
        header.set_mode(MODE);
        header.set_mtime(at);
        archive.append_data(&mut header, name, content)
    };
    append(MANIFEST, &serde_json::to_vec_pretty(manifest)?)?;
    let mut left = TOTAL_CAP - HEADERS;
    for group in Group::ALL {
        let Some(content) = content(facts, group) else { continue };
        let mut content = content?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if size > FILE_CAP.min(left) {
            let why = format!("{size} bytes are more than a capture takes");
            content = serde_json::to_vec(&Observed::<()>::unavailable_because(Reason::TooLarge, why))?;
        } else {
            left -= size;
        }
        append(&file_of(group), &content)?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// Has a group a file in the archive: every one that a sensor fills.
pub(super) fn has_file(group: Group) -> bool {
    group != Group::Versions
}

fn content(facts: &NodeFacts, group: Group) -> Option<serde_json::Result<Vec<u8>>> {
    fn json(facts: &impl Serialize) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(facts)
    }
    let content = match group {
        Group::Node => json(&facts.node),
        Group::Os => json(&facts.os),
        Group::Kernel => json(&facts.kernel),
        Group::Kubelets => json(&facts.kubelets),
        Group::Components => json(&facts.components),
        Group::Files => json(&facts.files),
        Group::Certificates => json(&facts.certificates),
        Group::Listeners => json(&facts.listeners),
        Group::Processes => json(&facts.processes),
        Group::Probes => json(&facts.probes),
        Group::Handshakes => json(&facts.handshakes),
        Group::Runtimes => json(&facts.runtimes),
        Group::Containers => json(&facts.containers),
        Group::System => json(&facts.system),
        Group::Network => json(&facts.network),
        Group::Agent | Group::Versions => return None,
    };
    Some(content)
}

/// Where an archive goes: a file that must not be there yet, or stdout.
pub(super) enum Place {
    Stdout,
    File(PathBuf),
}

impl Place {
    /// Looks at the place, so that a node is not read in vain.
    pub(super) fn new(path: &Path, force: bool) -> Result<Self, WriteError> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let path = path.to_owned();
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && force => Ok(Self::File(path)),
            Ok(found) if found.is_file() => Err(WriteError::Exists { path }),
            Ok(_) => Err(WriteError::NotAFile { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => Ok(Self::File(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(WriteError::NoName { path }),
            Err(source) => Err(WriteError::Io { path, source }),
        }
    }

    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Puts there what `write` writes, if that succeeds; otherwise leaves the place as it was.
    pub(super) fn fill(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
        match self {
            Self::Stdout => {
                let failed = |source| WriteError::Io { path: PathBuf::from("stdout"), source };
                write(&mut io::stdout().lock()).map_err(failed)
            }
            Self::File(path) => {
                let failed = |source| WriteError::Io { path: path.clone(), source };
                let partial = Partial::beside(path).map_err(failed)?;
                let mut file = &partial.file;
                write(&mut file).and_then(|()| partial.file.sync_all()).map_err(failed)?;
                partial.publish(path).map_err(failed)
            }
        }
    }
}

/// A file with a name of its own until it is whole; gone when it never is.
struct Partial {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Partial {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unguessed = getrandom::u64().map_err(io::Error::other)?;
        let path = path.with_file_name(format!(".{name}.{unguessed:016x}.partial"));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path)?;
        Ok(Self { file, path, published: false })
    }

    fn publish(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // It is hidden, private and incomplete; what could be done about a failure.
            drop(std::fs::remove_file(&self.path));
        }
    }
}
