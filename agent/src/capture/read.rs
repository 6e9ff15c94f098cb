//! Reads an archive, which may be anybody's: everything capped, plain files only, nothing unpacked to disk.
//!
//! An archive that is damaged or dressed up is refused as a whole. One that lacks a group, or has it in a shape this version
//! cannot read, is read: the group is unavailable, with the reason.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use holdfast_checks::facts::{Group, NodeFacts, Observed, Reason};
use serde::de::DeserializeOwned;

use super::{FILE_CAP, MANIFEST, MAX_FILES, Manifest, SCHEMA, TOTAL_CAP, file_of};

/// So much of an error of the parser is shown: it may repeat what it read.
const DETAIL_CAP: usize = 200;

/// An archive, read.
#[derive(Debug)]
pub struct Capture {
    /// What it says of itself.
    pub manifest: Manifest,
    /// What was read on the node, not derived.
    pub facts: NodeFacts,
    /// Files in it that this version does not know.
    pub ignored: Vec<String>,
}

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened or read.
    #[error("cannot read it: is it there, and may you read it")]
    Open(#[source] io::Error),
    /// It is not a whole zstd stream.
    #[error("it is damaged, incomplete or no capture: copy it again, or make a new one with `holdfast-agent capture`")]
    Damaged(#[source] io::Error),
    /// It is zstd, and no capture.
    #[error("it is no capture, for it has no {MANIFEST}: make one with `holdfast-agent capture`")]
    NoManifest,
    /// Its manifest or its node does not parse.
    #[error("its {file} is not what a capture has there: make a new one with `holdfast-agent capture`")]
    Malformed {
        /// The file.
        file: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A layout that came later.
    #[error("its layout is {found} and this version reads {SCHEMA}: use holdfast-agent {written_by} or newer")]
    Newer {
        /// The layout.
        found: u64,
        /// The version that wrote it.
        written_by: String,
    },
    /// Its node is missing.
    #[error("it does not say which node it is of ({file} is missing): make a new one with `holdfast-agent capture`")]
    NoNode {
        /// The file.
        file: &'static str,
    },
    /// More than a node gives.
    #[error("it is larger than any node's capture: at most {MAX_FILES} files, {FILE_CAP} bytes each, {TOTAL_CAP} bytes in all")]
    TooLarge,
    /// Links, devices, names that lead elsewhere, a name twice: no capture has them.
    #[error("`{name}` in it is {what}, which no capture has: do not trust where it came from")]
    Hostile {
        /// The entry's name.
        name: String,
        /// What it is.
        what: &'static str,
    },
}

/// Reads the archive at `path`; `-` is stdin.
///
/// # Errors
/// [`ReadError`].
pub fn open(path: &Path) -> Result<Capture, ReadError> {
    if path.as_os_str() == "-" {
        return read(io::stdin().lock());
    }
    read(std::fs::File::open(path).map_err(ReadError::Open)?)
}

/// Reads an archive.
///
/// # Errors
/// [`ReadError`].
pub fn read(source: impl Read) -> Result<Capture, ReadError> {
    let mut files = files(source)?;
    let manifest = manifest(&files.remove(MANIFEST).ok_or(ReadError::NoManifest)?)?;
    let node = files.remove(NODE).ok_or(ReadError::NoNode { file: NODE })?;
    let node = serde_json::from_slice(&node).map_err(|source| ReadError::Malformed { file: NODE, source })?;
    let mut groups = Groups { files, written_by: &manifest.agent_version };
    let facts = NodeFacts {
        node,
        os: groups.take(Group::Os),
        kernel: groups.take(Group::Kernel),
        kubelets: groups.take(Group::Kubelets),
        components: groups.take(Group::Components),
        files: groups.take(Group::Files),
        certificates: groups.take(Group::Certificates),
        listeners: groups.take(Group::Listeners),
        processes: groups.take(Group::Processes),
        probes: groups.take(Group::Probes),
        handshakes: groups.take(Group::Handshakes),
        runtimes: groups.take(Group::Runtimes),
        containers: groups.take(Group::Containers),
        system: groups.take(Group::System),
        network: groups.take(Group::Network),
        agent: holdfast_checks::facts::not_running(),
        versions: Observed::unavailable_because(Reason::NotSupported, "not judged yet"),
    };
    let ignored = groups.files.into_keys().collect();
    Ok(Capture { manifest, facts, ignored })
}

/// The node's identity, without which nothing can be said.
const NODE: &str = "facts/node.json";

fn manifest(content: &[u8]) -> Result<Manifest, ReadError> {
    let malformed = |source| ReadError::Malformed { file: MANIFEST, source };
    // A later layout may have another manifest: its number is looked at first.
    let document: serde_json::Value = serde_json::from_slice(content).map_err(malformed)?;
    if let Some(found) = document.get("schema").and_then(serde_json::Value::as_u64).filter(|found| *found != u64::from(SCHEMA)) {
        let written_by = document.get("agent_version").and_then(serde_json::Value::as_str).unwrap_or("of its maker");
        return Err(ReadError::Newer { found, written_by: shortened(written_by) });
    }
    serde_json::from_value(document).map_err(malformed)
}

/// Every file of the archive by name.
fn files(source: impl Read) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
    // The packed bytes are capped too: empty frames go on for ever and unpack to nothing.
    let decoder = zstd::Decoder::new(Capped::new(source)).map_err(ReadError::Damaged)?;
    let mut archive = tar::Archive::new(Capped::new(decoder));
    let mut files = BTreeMap::new();
    // Raw: no entry changes the name, size or kind of another.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let hostile = |what| ReadError::Hostile { name: shortened(&name), what };
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(hostile("not a plain file"));
        }
        if name.starts_with('/') || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(hostile("a name that leads elsewhere"));
        }
        if files.len() == MAX_FILES || entry.size() > FILE_CAP {
            return Err(ReadError::TooLarge);
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(damaged)?;
        // `tar` gives what there is when the archive ends too soon.
        if u64::try_from(content.len()).ok() != Some(entry.size()) {
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        if files.insert(name.clone(), content).is_some() {
            return Err(hostile("there twice"));
        }
    }
    // To the end, so that the checksum is compared.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(files)
}

fn damaged(error: io::Error) -> ReadError {
    if error.kind() == io::ErrorKind::FileTooLarge { ReadError::TooLarge } else { ReadError::Damaged(error) }
}

struct Groups<'a> {
    files: BTreeMap<String, Vec<u8>>,
    written_by: &'a str,
}

impl Groups<'_> {
    /// A group as it was read, or why it is not there.
    fn take<T: DeserializeOwned>(&mut self, group: Group) -> Observed<T> {
        let file = file_of(group);
        let Some(content) = self.files.remove(&file) else {
            let why = format!("the capture has no {file}: holdfast-agent {} did not read it", shortened(self.written_by));
            return Observed::unavailable_because(Reason::NotSupported, why);
        };
        let malformed = |error: serde_json::Error| {
            let why = format!("{file} of the capture does not parse: {}", shortened(&error.to_string()));
            Observed::unavailable_because(Reason::Malformed, why)
        };
        serde_json::from_slice(&content).unwrap_or_else(malformed)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(DETAIL_CAP).collect()
}

/// Fails after [`TOTAL_CAP`] bytes.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Capped<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: TOTAL_CAP }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = u64::try_from(read).ok().and_then(|read| self.left.checked_sub(read));
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}
