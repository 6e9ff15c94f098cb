//! `/proc` of a live host, or a recording of one.

use std::io::Read as _;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use super::{Budget, HostFile, ReadError, Root};

/// Longest link text in a recording.
const LINK_CAP: u64 = 4096;

/// Most files of a process fit this.
const BUFFER: usize = 16 * 1024;
/// The longest: 65,536 supplementary groups in `status`.
const BUFFER_CAP: usize = 1024 * 1024;

/// Room for one file of a process after the other.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; BUFFER])
    }
}

/// What `stat` says of a process's directory.
///
/// The kernel makes an inode for a process when somebody looks at it, and keeps it no longer than the process: the same one is
/// the same process. Another one may be the same process, too. Its owner is the process's effective user, also that of one which
/// is not dumpable (`task_dump_owner` in `fs/proc/base.c` excepts this directory).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    inode: u64,
    made: (i64, i64),
    /// Effective host uid.
    pub uid: i64,
    /// Effective host gid.
    pub gid: i64,
}

impl Presence {
    fn of(status: &FileStat) -> Self {
        Self {
            inode: status.st_ino,
            made: (status.st_ctime, status.st_ctime_nsec),
            uid: i64::from(status.st_uid),
            gid: i64::from(status.st_gid),
        }
    }
}

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

    /// What tells that the process `pid` is still the one it was; `None` in a recording. One system call.
    pub fn presence(&self, pid: i64) -> Result<Option<Presence>, ReadError> {
        if !self.live {
            return Ok(None);
        }
        let name = pid.to_string();
        self.root.budget().called(1);
        let status = fstatat(self.root.handle(), name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        status.map(|status| Some(Presence::of(&status))).map_err(|errno| ReadError::new(&name, "stat", errno))
    }

    /// The program of the process `pid`, as [`ProcessDir::link`] gives it for `exe`. One system call on a live host.
    pub fn program(&self, pid: i64) -> Result<String, ReadError> {
        if !self.live {
            return self.process(pid)?.link("exe");
        }
        let name = format!("{pid}/exe");
        self.root.read_link(&name).map_err(|errno| ReadError::new(&name, "read the link", errno))
    }

    /// The root directory of a process as a root of its own. Follows the magic link `<proc>/<pid>/root`, which no path
    /// resolution of ours does otherwise; in a recording the link's text is a path of the host root.
    ///
    /// The caller compares the process's start time before and after.
    pub fn root_of(&self, process: &ProcessDir) -> Result<Root, ReadError> {
        if self.live {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            self.root.budget().called(2);
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

    /// As [`Proc::presence`].
    pub fn presence(&self) -> Result<Option<Presence>, ReadError> {
        if !self.live {
            return Ok(None);
        }
        self.dir.budget().called(1);
        let status = fstat(self.dir.handle()).map_err(|errno| ReadError::new("the process's directory", "stat", errno))?;
        Ok(Some(Presence::of(&status)))
    }

    /// A file of the process that the kernel writes in one go, as it does all but lists: read with as few calls as can be.
    pub fn read_into<'a>(&self, name: &str, buffer: &'a mut Buffer) -> Result<&'a [u8], ReadError> {
        let filled = self.fill(name, buffer, BUFFER_CAP)?;
        if filled > BUFFER_CAP {
            return Err(ReadError::TooLarge { path: name.to_owned(), cap: u64::try_from(BUFFER_CAP).unwrap_or(u64::MAX) });
        }
        Ok(buffer.0.get(..filled).unwrap_or_default())
    }

    /// The first `length` bytes of such a file, or all of it where it is shorter.
    pub fn start_into<'a>(&self, name: &str, length: usize, buffer: &'a mut Buffer) -> Result<&'a [u8], ReadError> {
        let filled = self.fill(name, buffer, length)?;
        Ok(buffer.0.get(..filled.min(length)).unwrap_or_default())
    }

    /// Reads to the end, or until there are more than `wanted` bytes. Gives how many.
    fn fill(&self, name: &str, buffer: &mut Buffer, wanted: usize) -> Result<usize, ReadError> {
        if !self.live {
            let content = self.start_of(name, u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(1))?;
            let filled = content.len();
            if buffer.0.len() < filled {
                buffer.0 = content;
            } else if let Some(room) = buffer.0.get_mut(..filled) {
                room.copy_from_slice(&content);
            }
            return Ok(filled);
        }
        let budget = self.dir.budget();
        let late = || ReadError::TimedOut { path: name.to_owned() };
        if budget.expired() {
            return Err(late());
        }
        budget.called(2);
        // Names of ours in a directory of the kernel's: nothing of this leads elsewhere.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.dir.handle(), name, flags, Mode::empty()).map_err(|errno| ReadError::new(name, "open", errno))?;
        let mut file = std::fs::File::from(file);
        let mut filled = 0;
        loop {
            budget.called(1);
            let read = match file.read(buffer.0.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| ReadError::new(name, "read", Errno::from_raw(error.raw_os_error().unwrap_or(0))))?,
            };
            filled += read;
            if !budget.spend(u64::try_from(read).unwrap_or(u64::MAX)) {
                return Err(late());
            }
            // The kernel fills what room there is: less is the end.
            if filled < buffer.0.len() || filled > wanted {
                return Ok(filled);
            }
            let room = buffer.0.len() * 2;
            buffer.0.resize(room, 0);
        }
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
