//! What stands between the agent and its spool file, in words for a person and in one word for the fact.

use std::io;
use std::path::PathBuf;

/// Why the spool cannot be kept in its file. The agent goes on in memory.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it open.
    #[error("the spool {} is in use by another agent: run one agent per node, or give this one another directory with --spool", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is somebody else's.
    #[error(
        "cannot {operation} the spool {}: it belongs to uid {owner} and this agent runs as uid {own}. Remove it, or give it to uid {own} with its directory",
        path.display()
    )]
    Foreign {
        /// What failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who this agent is.
        own: u32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot {operation} the spool {}: {}", path.display(), advice(source))]
    Io {
        /// What failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// An earlier save failed.
    #[error("the spool {} is closed since a save failed: open it again", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// It was open and no longer is what it was. Opening it again sets it aside.
    #[error("cannot {operation} the spool {}: it is damaged ({because}). It is set aside and begun anew; look at the disk if this repeats", path.display())]
    Damaged {
        /// What failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found.
        because: String,
    },
}

impl FileError {
    /// One word, as in `checks::facts::SpoolState::reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in_use",
            Self::Foreign { .. } => "permission_denied",
            Self::Io { source, .. } => reason(source),
            Self::Closed { .. } | Self::Damaged { .. } => "io",
        }
    }
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk_full",
        io::ErrorKind::ReadOnlyFilesystem => "read_only",
        io::ErrorKind::PermissionDenied => "permission_denied",
        io::ErrorKind::FileTooLarge => "too_large",
        _ => "io",
    }
}

fn advice(error: &io::Error) -> &'static str {
    match reason(error) {
        "disk_full" => "make room on its disk",
        "read_only" => "mount its directory writable, or name another with --spool",
        "permission_denied" => "make its directory writable for the agent, or name another with --spool",
        "too_large" => "what is to be kept does not fit into 8 MiB. It fits again once the collector has taken the history that waits",
        _ => "see that its directory is there and its disk works, or name another with --spool",
    }
}
