//! `holdfast-tree.json`: what a recorded tree says in place of `stat`, `uname` and probing.

use std::collections::BTreeMap;

use holdfast_checks::facts::{AclEntry, Handshake, ProbeOutcome};
use serde::{Deserialize, Deserializer};

use super::{HostError, RECORDING_FILE, ReadError, Root};

/// A recorded tree's description. What it leaves out is not known.
#[derive(Debug, Default, Deserialize)]
pub struct Recording {
    /// By path: what `stat` said. Empty: the tree's own files are asked.
    #[serde(default)]
    pub files: BTreeMap<String, RecordedFile>,
    /// What `uname` said.
    pub uname: Option<Uname>,
    /// What probing met; `None`: nobody probed.
    pub probes: Option<Vec<RecordedProbe>>,
    /// What TLS handshakes showed, in the fact's own shape; `None`: nobody tried.
    pub handshakes: Option<Vec<Handshake>>,
}

/// What `stat` said of one path.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedFile {
    /// Permission bits, written in octal as text.
    #[serde(deserialize_with = "octal")]
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// `file`, `directory`, `symlink`, `socket`; absent: `file`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Where a symlink leads.
    #[serde(default)]
    pub target: Option<String>,
    /// What its POSIX access ACL says beyond the mode.
    #[serde(default)]
    pub acl: Vec<AclEntry>,
}

/// What `uname` said.
#[derive(Debug, Clone, Deserialize)]
pub struct Uname {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    #[serde(default)]
    pub version: String,
}

/// One recorded, unauthenticated request.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedProbe {
    /// The address asked.
    pub address: String,
    /// The port asked.
    pub port: u16,
    /// The path asked.
    pub path: String,
    /// Was the request made over TLS.
    #[serde(default)]
    pub tls: bool,
    /// The HTTP status; 0 where there was none.
    #[serde(default)]
    pub status: u16,
    /// What happened; absent: an answer with `status`.
    #[serde(default)]
    pub outcome: Option<ProbeOutcome>,
    /// What the body was taken for, see [`holdfast_checks::facts::Probe::body`].
    #[serde(default)]
    pub body: String,
}

impl Recording {
    /// The description at the top of `root`, if there is one.
    pub(super) fn read(root: &Root, cap: u64) -> Result<Option<Self>, HostError> {
        match root.read_capped(RECORDING_FILE, cap) {
            Ok(content) => {
                serde_json::from_slice(&content).map(Some).map_err(|source| HostError::Malformed { path: RECORDING_FILE, source })
            }
            Err(ReadError::Absent { .. }) => Ok(None),
            Err(source) => Err(HostError::Recording { source }),
        }
    }
}

fn octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    u32::from_str_radix(&text, 8).map_err(|_| serde::de::Error::custom(format!("`{text}` is not a mode in octal digits")))
}
