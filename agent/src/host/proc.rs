//! `/proc` of a live host, or a recording of one.

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Budget, HostFile, ReadError, Root};

/// Longest link text in a recording.
const LINK_CAP: u64 = 4096;

/// The processes of a host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proc {
    root: Root,
    host: Root,
    live: bool,
}

/// One process directory, held open: a process that took over the pid cannot slip in.
#[derive(Debug)]
pub struct ProcessDir {
    /// The directory's number.
    pub pid: i64,
    dir: Root,
    live: bool,
}

impl Proc {
    pub(super) fn new(root: Root, host: Root, live: bool) -> Self {
        Self { root, host, live }
    }

    pub(super) fn live(&self) -> bool {
        self.live
    }

    pub(super) fn within(&self, budget: &Budget) -> Self {
        Self { root: self.root.within(budget), host: self.host.within(budget), live: self.live }
    }

    /// Files that belong to no process: `sys/kernel/…`, `stat`, `1/net/tcp`.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The pids, ascending.
    pub fn pids(&self) -> Result<Vec<i64>, ReadError> {
        let mut pids: Vec<i64> = self.root.list(".")?.iter().filter_map(|entry| entry.name.parse().ok()).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// The network namespace of `process`, a pid or `self`, as its link names it.
    pub fn network(&self, process: &str) -> Option<String> {
        self.root.read_link(&format!("{process}/ns/net")).ok()
    }

    /// The directory of `pid`.
    pub fn process(&self, pid: i64) -> Result<ProcessDir, ReadError> {
        Ok(ProcessDir { pid, dir: self.root.below(&pid.to_string())?, live: self.live })
    }

    /// The root directory of a process as a root of its own. Follows the magic link `<proc>/<pid>/root`, which no path
    /// resolution of ours does otherwise; in a recording the link's text is a path of the host root.
    ///
    /// The caller compares the process's start time before and after.
    pub fn root_of(&self, process: &ProcessDir) -> Result<Root, ReadError> {
        if self.live {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let dir = openat(process.dir.handle(), "root", flags, Mode::empty());
            let dir = dir.map_err(|errno| ReadError::new("the process's root directory", "open", errno))?;
            return Ok(Root::from_handle(dir).foreign().within(self.root.budget()));
        }
        self.host.below(&process.link("root")?)
    }

    /// The program file a process runs, whether or not a path still leads to it; of its content at most `cap` bytes. Follows
    /// the magic link `<proc>/<pid>/exe`; in a recording the link's text is a path of the process's root.
    pub fn program_of(&self, process: &ProcessDir, cap: u64) -> Result<HostFile, ReadError> {
        let failed = |errno| ReadError::new("the process's program file", "open", errno);
        if self.live {
            // A program runs from a regular file: opening it does nothing, whatever the file system says of it.
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            let handle = openat(process.dir.handle(), "exe", flags, Mode::empty()).map_err(failed)?;
            return HostFile::of(handle, self.root.budget()).map(|file| file.limited(cap)).map_err(failed);
        }
        let path = process.link("exe")?;
        Ok(self.root_of(process)?.open_file(path.trim_end_matches(" (deleted)"), u64::MAX)?.limited(cap))
    }
}

impl ProcessDir {
    /// A file of the process.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        self.dir.read(name)
    }

    /// The first `length` bytes of a file of the process, or all of it where it is shorter.
    pub fn start_of(&self, name: &str, length: u64) -> Result<Vec<u8>, ReadError> {
        let mut content = Vec::new();
        let mut start = std::io::Read::take(self.dir.open_file(name, u64::MAX)?, length);
        let read = std::io::Read::read_to_end(&mut start, &mut content);
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => ReadError::TimedOut { path: name.to_owned() },
            _ => ReadError::new(name, "read", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        })?;
        Ok(content)
    }

    /// A file of the process of at most `cap` bytes.
    pub fn read_capped(&self, name: &str, cap: u64) -> Result<Vec<u8>, ReadError> {
        self.dir.read_capped(name, cap)
    }

    /// A file of the process that may be long, to be read piece by piece.
    pub fn open(&self, name: &str) -> Result<HostFile, ReadError> {
        self.dir.open_file(name, u64::MAX)
    }

    /// The text of a link: `exe`, `ns/net`, `fd/3`. In a recording it may be a small file instead.
    pub fn link(&self, name: &str) -> Result<String, ReadError> {
        match self.dir.read_link(name) {
            Ok(target) => Ok(target),
            Err(Errno::EINVAL) if !self.live => {
                let content = self.dir.read_capped(name, LINK_CAP)?;
                Ok(String::from_utf8_lossy(&content).trim_end_matches('\n').to_owned())
            }
            Err(errno) => Err(ReadError::new(name, "read the link", errno)),
        }
    }

    /// The names under `fd`.
    pub fn descriptors(&self) -> Result<Vec<String>, ReadError> {
        Ok(self.dir.list("fd")?.into_iter().map(|entry| entry.name).collect())
    }
}
