//! Why something of the host could not be opened or read. Absent, unreadable and malformed are three things.

use std::path::PathBuf;
use std::sync::OnceLock;

use caps::{CapSet, Capability};
use holdfast_checks::facts::{Observed, Reason, Skipped, Unavailable};
use nix::errno::Errno;

/// Why the host itself could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A directory given on the command line.
    #[error("cannot open {}: give the host's root with --host-root and its /proc with --proc", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The kernel, or a sandbox, has no `openat2`.
    #[error("the kernel refuses openat2: Holdfast needs Linux 5.6, and a seccomp profile that allows it")]
    NoOpenat2,
    /// `holdfast-tree.json` could not be read.
    #[error("cannot read the tree's description")]
    Recording {
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A profile that this build ships is bad.
    #[error("a built-in profile is bad: this build is broken, use another one")]
    Profiles {
        /// Which one, and where.
        #[source]
        source: crate::profiles::ProfileError,
    },
    /// `holdfast-tree.json` is not what it should be.
    #[error("{path} at the top of the host root is not a tree's description: correct or remove it")]
    Malformed {
        /// The file.
        path: &'static str,
        /// Line, column and what was expected.
        #[source]
        source: serde_json::Error,
    },
}

/// Why something below a root could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing is there.
    #[error("{path}: not there")]
    Absent {
        /// The path.
        path: String,
    },
    /// It is there and may not be read.
    #[error("{path}: permission denied{}", needs(path))]
    Denied {
        /// The path.
        path: String,
    },
    /// It is not what it should be.
    #[error("{path}: {kind}")]
    Malformed {
        /// The path.
        path: String,
        /// What it is instead.
        kind: Malformation,
    },
    /// It is larger than the cap.
    #[error("{path}: larger than {cap} bytes")]
    TooLarge {
        /// The path.
        path: String,
        /// The cap.
        cap: u64,
    },
    /// Every time it was read it was another before than after.
    #[error("{path}: changed while it was read")]
    Changed {
        /// The path.
        path: String,
    },
    /// The sensor's time or bytes were used up.
    #[error("{path}: not read within the sensor's deadline and byte budget")]
    TimedOut {
        /// The path.
        path: String,
    },
    /// The kernel gave another error.
    #[error("{path}: cannot {operation}")]
    Failed {
        /// The path.
        path: String,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// What stands where a readable thing should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// A directory.
    #[error("a directory, not a file")]
    Directory,
    /// A named pipe.
    #[error("a FIFO, not a file")]
    Fifo,
    /// A socket.
    #[error("a socket, not a file")]
    Socket,
    /// Anything, where a socket should be.
    #[error("not a socket")]
    NoSocket,
    /// A character or block device.
    #[error("a device, not a file")]
    Device,
    /// Links that lead to themselves, or a magic link.
    #[error("a loop of symbolic links")]
    Loop,
    /// A name the kernel refuses.
    #[error("not a path")]
    Name,
    /// Content that does not parse.
    #[error("does not parse as {0}")]
    Content(&'static str),
}

impl ReadError {
    /// The error of `operation` on `path`.
    pub(super) fn new(path: &str, operation: &'static str, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH => Self::Absent { path },
            Errno::EACCES | Errno::EPERM => Self::Denied { path },
            Errno::ELOOP => Self::Malformed { path, kind: Malformation::Loop },
            Errno::EISDIR => Self::Malformed { path, kind: Malformation::Directory },
            Errno::ENXIO => Self::Malformed { path, kind: Malformation::Socket },
            Errno::ENODEV => Self::Malformed { path, kind: Malformation::Device },
            Errno::EINVAL | Errno::ENAMETOOLONG => Self::Malformed { path, kind: Malformation::Name },
            errno => Self::Failed { path, operation, source: errno.into() },
        }
    }

    /// Content of `path` that is not `what`.
    pub fn content(path: &str, what: &'static str) -> Self {
        Self::Malformed { path: path.to_owned(), kind: Malformation::Content(what) }
    }

    /// The class a fact carries.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Absent { .. } => Reason::NotPresent,
            Self::Denied { .. } => Reason::PermissionDenied,
            Self::Malformed { .. } | Self::Changed { .. } => Reason::Malformed,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::TimedOut { .. } => Reason::TimedOut,
            Self::Failed { .. } => Reason::NotSupported,
        }
    }

    /// Is simply nothing there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// As the reason of an unavailable fact, the kernel's words included.
    pub fn unavailable(&self) -> Unavailable {
        let detail = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Unavailable::new(self.reason(), detail)
    }

    /// As an unavailable fact.
    pub fn observed<T>(&self) -> Observed<T> {
        Observed::Unavailable(self.unavailable())
    }

    /// As a gap in a listing.
    pub fn skipped(&self, what: impl Into<String>) -> Skipped {
        let needs = if let Self::Denied { path } = self { needs(path) } else { String::new() };
        Skipped { what: format!("{}{needs}", what.into()), reason: self.reason() }
    }
}

/// Which privilege would have opened `path`; empty where that is none of those the agent is built to have.
fn needs(path: &str) -> String {
    static LACKS: OnceLock<Lacks> = OnceLock::new();
    LACKS.get_or_init(Lacks::now).of(path)
}

/// What this process does not have of what opens other users' files and processes. Asked when it was first refused something: its
/// privileges are what they will be by then.
struct Lacks {
    root: bool,
    ptrace: bool,
    read: bool,
}

impl Lacks {
    fn now() -> Self {
        let held = caps::read(None, CapSet::Effective).unwrap_or_default();
        Self {
            root: !nix::unistd::Uid::effective().is_root(),
            ptrace: !held.contains(&Capability::CAP_SYS_PTRACE),
            read: !held.contains(&Capability::CAP_DAC_READ_SEARCH),
        }
    }

    fn of(&self, path: &str) -> String {
        let path = path.strip_prefix("/proc/").unwrap_or(path);
        // The kernel asks for root itself where a parameter is its own, and for no capability.
        let missing = if path.starts_with("sys/") {
            vec![("uid 0", self.root)]
        } else if path.starts_with('/') {
            vec![("CAP_DAC_READ_SEARCH", self.read)]
        } else {
            vec![("CAP_SYS_PTRACE", self.ptrace), ("CAP_DAC_READ_SEARCH", self.read)]
        };
        let missing: Vec<&str> = missing.into_iter().filter_map(|(name, missing)| missing.then_some(name)).collect();
        if missing.is_empty() { String::new() } else { format!(": needs {}", missing.join(" and ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_privilege_that_is_missing_is_named_and_no_other() {
        let none = Lacks { root: true, ptrace: true, read: true };
        assert_eq!(none.of("exe"), ": needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
        assert_eq!(none.of("/etc/shadow"), ": needs CAP_DAC_READ_SEARCH");
        assert_eq!(none.of("/proc/sys/fs/protected_fifos"), ": needs uid 0");
        let agent = Lacks { root: true, ptrace: false, read: false };
        assert_eq!((agent.of("exe"), agent.of("/etc/shadow")), (String::new(), String::new()), "AppArmor or SELinux refused it");
        let root = Lacks { root: false, ptrace: true, read: false };
        assert_eq!(root.of("ns/net"), ": needs CAP_SYS_PTRACE");
    }
}
