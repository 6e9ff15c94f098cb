//! The agent as it stands with its own work: where it keeps state, what it could not deliver as it is.

use serde::{Deserialize, Serialize};

use super::{Listing, Observed, Reason};

/// A running agent's account of its own delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Is an agent running that delivers to a collector; false for a scan, which has nothing to deliver.
    pub running: bool,
    /// Where state and history are kept.
    pub spool: SpoolState,
    /// Entries the collector would not store as they are.
    pub refused: Listing<RefusedEntry>,
    /// Findings that changed so often that they are told less often than they change.
    pub flapping: Listing<Flapping>,
    /// Transitions that were lost since this agent started: off the spool's ring before the collector acknowledged them, or in a file
    /// that it could not read.
    pub truncated_transitions: i64,
    /// Did it test itself: it runs, or is a scan of the host it is on.
    #[serde(default)]
    pub tested: bool,
    /// What it may do on the node, as it tried on itself. Unavailable where it did not, as in a recording.
    #[serde(default = "untested")]
    pub privileges: Observed<Privileges>,
}

/// What the agent may do on the node, tried after stepping down and not assumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Privileges {
    /// Effective uid.
    pub uid: i64,
    /// Effective capabilities, `CAP_SYS_PTRACE`, sorted.
    pub capabilities: Vec<String>,
    /// What it would use and does not have: `CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`, `host_pid`, `host_network`, `host_files`.
    pub lacks: Vec<String>,
    /// Is what it sees the host, and not a container of its own: processes, network, files. Unavailable where that cannot be told.
    pub host_processes: Observed<bool>,
    /// See `host_processes`.
    pub host_network: Observed<bool>,
    /// See `host_processes`.
    pub host_files: Observed<bool>,
    /// Cannot gain privileges by running something.
    pub no_new_privileges: bool,
    /// May be traced and dump core.
    pub dumpable: bool,
    /// What it must not be able to do, each tried.
    pub attempts: Vec<Attempt>,
}

/// Something the agent must not be able to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// Was it refused.
    pub refused: bool,
    /// The system's answer.
    pub answer: String,
}

fn untested() -> Observed<Privileges> {
    Observed::unavailable_because(Reason::NotSupported, "the agent did not test itself")
}

impl Agent {
    /// For a scan: nobody delivers anything.
    pub fn not_running() -> Self {
        let spool =
            SpoolState { kind: SpoolKind::Memory, path: String::new(), reason: String::new(), detail: String::new(), recreated: None };
        let (refused, flapping) = (Listing { items: Vec::new(), skipped: Vec::new() }, Listing { items: Vec::new(), skipped: Vec::new() });
        Self { running: false, spool, refused, flapping, truncated_transitions: 0, tested: false, privileges: untested() }
    }
}

/// Where state and history are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolState {
    /// In a file, or in memory only.
    pub kind: SpoolKind,
    /// The file; empty when none was asked for.
    pub path: String,
    /// Why not in the file: `not_configured`, `disk_full`, `read_only`, `permission_denied`, `in_use`, `too_large` or `io`; empty for a file.
    pub reason: String,
    /// The same for a person, with what to do.
    pub detail: String,
    /// Since this agent started, a spool that would not open was set aside and a new one begun.
    pub recreated: Option<Recreated>,
}

/// File or memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpoolKind {
    /// What is not acknowledged survives a restart.
    File,
    /// It does not.
    Memory,
}

/// A spool that had to be begun anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recreated {
    /// Where the old one is.
    pub set_aside: String,
    /// What was wrong with it.
    pub because: String,
    /// Unix milliseconds.
    pub at: i64,
}

/// An entry the collector would not store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEntry {
    /// Its key.
    pub key: String,
    /// `malformed`, `too_large`, `quota`, `foreign`, or `unknown` for a code of a later version.
    pub code: String,
}

/// A finding that changes too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// The check.
    pub check: String,
    /// The finding's subject.
    pub finding: String,
    /// How often it changed since then.
    pub changes: i64,
    /// Unix milliseconds.
    pub since: i64,
}
