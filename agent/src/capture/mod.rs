//! `holdfast-agent capture`, and the archive it makes: what the sensors read on one node, before anything is derived of it.
//!
//! A tar in zstd: `manifest.json`, then `facts/<group>.json` for every group a sensor fills. Whoever reads it derives and
//! judges anew, with a catalogue and version knowledge of their own. Must not know checks or verdicts, and redacts nothing:
//! what reaches it has gone through the sensors, which keep secrets out of facts.
//!
//! It does not test what it may do, as `run` and `scan` do, and gives nothing up: it writes a file for a person, with that person's own
//! privileges, and is gone when somebody judges the archive. A verdict on them would be one on whoever typed the command, and would stand
//! beside a node whose agent may be well. `agent-least-privilege` and its like are not applicable to a capture for that reason. What they
//! would tell of the reading is in the facts themselves: what was not permitted is `unavailable` with that reason, and of a container that
//! is not the host nothing is recorded as the host's.

mod read;
mod write;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use holdfast_checks::facts::Group;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalogue::{self, LoadError};
use crate::causes::causes;
use crate::cli::{CaptureArgs, FAILURE, TROUBLED, USAGE};
use crate::host::HostError;
use crate::sensors::Sensors;
use crate::{inert, progress};
pub use read::{Capture, ReadError, open, read};
pub use write::{WriteError, write};

/// The layout this version writes. A reader refuses any other: members and groups are added without a new one.
const SCHEMA: u32 = 1;
/// Where the manifest is.
const MANIFEST: &str = "manifest.json";
/// The most bytes of one file in an archive. A node with 30,000 processes stays below it.
const FILE_CAP: u64 = 32 * 1024 * 1024;
/// The most bytes of a whole archive, unpacked.
const TOTAL_CAP: u64 = 96 * 1024 * 1024;
/// Far more files than there are groups.
const MAX_FILES: usize = 64;

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The archive's layout.
    pub schema: u32,
    /// The version that read the node.
    pub agent_version: String,
    /// When it began to read.
    pub captured_at: Timestamp,
    /// The catalogue it would have judged by.
    pub catalogue_hash: String,
    /// The node's name.
    pub node: String,
    /// Groups whose sensor timed out or crashed.
    #[serde(default)]
    pub troubled: Vec<String>,
}

impl Manifest {
    /// Of this version, for a reading that starts now.
    pub fn new(node: String, catalogue_hash: String, troubled: &BTreeSet<Group>, captured_at: Timestamp) -> Self {
        let troubled = troubled.iter().map(|group| group.name().to_owned()).collect();
        Self { schema: SCHEMA, agent_version: env!("CARGO_PKG_VERSION").to_owned(), captured_at, catalogue_hash, node, troubled }
    }
}

/// The name of a group's file.
fn file_of(group: Group) -> String {
    format!("facts/{}.json", group.name())
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    /// The catalogue was refused.
    #[error("the catalogue was refused")]
    Catalogue(#[from] LoadError),
    /// The host could not be opened.
    #[error("the host cannot be read")]
    Host(#[from] HostError),
    /// Nobody can read it there.
    #[error("a capture is binary and is not written to a terminal: redirect it, or name a file with -o")]
    Terminal,
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl CaptureError {
    fn code(&self) -> u8 {
        match self {
            Self::Host(HostError::NoOpenat2) | Self::Write(WriteError::Io { .. }) => FAILURE,
            Self::Catalogue(_) | Self::Host(_) | Self::Terminal | Self::Write(_) => USAGE,
        }
    }
}

/// Reads the node into an archive; gives the exit code.
pub fn main(args: &CaptureArgs) -> u8 {
    match capture(args) {
        Ok(true) => TROUBLED,
        Ok(false) => 0,
        Err(error) => {
            say(&format!("holdfast-agent: {}", causes(&error)));
            error.code()
        }
    }
}

/// Had a sensor trouble.
fn capture(args: &CaptureArgs) -> Result<bool, CaptureError> {
    let place = write::Place::new(&args.output, args.force)?;
    if place.is_stdout() && std::io::stdout().is_terminal() {
        return Err(CaptureError::Terminal);
    }
    let catalogue = catalogue::load(args.host.catalogue.as_deref())?;
    let captured_at = Timestamp::now();
    let mut sensors = Sensors::open(args.host.sensors())?;
    let facts = sensors.read_all(&mut progress::reading);
    progress::clear();
    let troubled = sensors.troubled();
    let manifest = Manifest::new(facts.node.name.clone(), catalogue.hash().to_string(), &troubled, captured_at);
    place.fill(|sink| write(&facts, &manifest, sink))?;
    // What is missing in an archive cannot be read later: whoever makes it hears of it now.
    for group in Group::ALL {
        if let Some(why) = facts.unavailable(group).filter(|_| write::has_file(group)) {
            say(&format!("not read: {}: {}: {}", group.name(), why.reason.name(), why.detail));
        }
    }
    Ok(!troubled.is_empty())
}

fn say(text: &str) {
    // Without stderr the exit code is all there is.
    drop(writeln!(std::io::stderr(), "{}", inert::line(text)));
}
