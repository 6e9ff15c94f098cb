//! Reading a host without trusting it: rooted, regular files only, capped in size and time.
//!
//! [`Root`] resolves every path below a directory handle, so that a link planted on the host leads nowhere else.
//! [`Proc`] reads process directories the same way, and follows two magic links only: a process's own root and its program.
//! [`Recording`] is what a recorded tree says in place of `stat`, `uname` and probes. Must not know checks, nor what a file is for.

mod acl;
mod budget;
mod error;
mod proc;
mod recording;
mod root;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

pub use budget::Budget;
pub use error::{HostError, Malformation, ReadError};
pub use proc::{Buffer, Presence, Proc, ProcessDir};
pub use recording::{RecordedFile, RecordedProbe, Recording, Uname};
pub use root::{Entry, HostFile, Metadata, NodeKind, Root, Settled, Stamp, Usage};

/// The name of the file that makes a directory a recorded tree.
pub const RECORDING_FILE: &str = "holdfast-tree.json";
/// A recording lists every file of interest: some hundred bytes each.
const RECORDING_CAP: u64 = 8 * 1024 * 1024;

/// A host: its file system below one directory, its processes below another. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host {
    /// The host's file system.
    pub root: Root,
    /// The host's `/proc`.
    pub proc: Proc,
    /// What the tree says of itself; `None` on a live host.
    pub recording: Option<Arc<Recording>>,
    path: PathBuf,
}

impl Host {
    /// Opens the host whose `/` is at `root` and whose `/proc` is at `proc`.
    ///
    /// A `holdfast-tree.json` counts only where `proc` is no procfs: nobody can turn a live host into a recording by
    /// planting a file.
    ///
    /// # Errors
    /// [`HostError`] when a directory cannot be opened, or the recording's description is not readable.
    pub fn open(root: &Path, proc: &Path) -> Result<Self, HostError> {
        let path = root.to_owned();
        let files = Root::open(root)?;
        let processes = Root::open(proc)?.shown_as("/proc/");
        let filesystem = fstatfs(processes.handle()).map_err(|errno| HostError::Open { path: proc.to_owned(), source: errno.into() })?;
        let live = filesystem.filesystem_type() == PROC_SUPER_MAGIC;
        let recording = if live { None } else { Recording::read(&files, RECORDING_CAP)?.map(Arc::new) };
        Ok(Self { proc: Proc::new(processes, files.clone(), live), root: files, recording, path })
    }

    /// Does `<proc>` belong to a running kernel, rather than to a recorded tree.
    pub fn live(&self) -> bool {
        self.proc.live()
    }

    /// The same host, read within `budget`.
    #[must_use]
    pub fn within(&self, budget: &Budget) -> Self {
        Self { root: self.root.within(budget), proc: self.proc.within(budget), recording: self.recording.clone(), path: self.path.clone() }
    }

    /// A path of the host as a path of this file system, for watching. Never for reading.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }
}
