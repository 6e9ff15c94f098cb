//! A directory handle below which every path is resolved, whatever links say.

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::facts::{AclEntry, Reason, Unavailable};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statvfs::fstatvfs;

use super::{Budget, HostError, Malformation, ReadError};

/// Cap of a file whose size has no reason to be larger.
const DEFAULT_CAP: u64 = 1024 * 1024;
/// Room for the first read of a file.
const FIRST_READ: usize = 4096;
/// The most entries of a directory. `/proc` of the largest hosts has fewer.
const MAX_ENTRIES: usize = 200_000;
/// `openat2` may be asked to try again when a rename runs beside it.
const RETRIES: usize = 8;
/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 4;
/// A budget for whoever set none.
const DEFAULT_TIME: Duration = Duration::from_hours(24);

/// A directory below which paths are resolved with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Arc<OwnedFd>,
    budget: Budget,
    /// Stands before paths in messages.
    prefix: &'static str,
    /// Somebody else's: what is there is looked at before it is opened, as opening a device can do something.
    foreign: bool,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A socket, FIFO or device.
    Special,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// What it is, links not followed; `None` where the file system does not say.
    pub kind: Option<NodeKind>,
}

/// What `stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// After following links.
    pub kind: NodeKind,
    /// Permission bits, `0o7777` mask.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time: Unix seconds.
    pub modified: i64,
    /// The link's target where the path itself is a link.
    pub target: Option<String>,
    /// What a POSIX access ACL says beyond the mode bits, or why that is not known.
    pub acl: Result<Vec<AclEntry>, Unavailable>,
}

/// What tells one state of a file from another: which file it is, and when it last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
    /// Bytes.
    pub size: i64,
    /// Last written: Unix seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Last written or changed in its inode: Unix seconds and nanoseconds.
    pub changed: (i64, i64),
}

impl Stamp {
    fn of(status: &FileStat) -> Self {
        Self {
            device: status.st_dev,
            inode: status.st_ino,
            size: status.st_size,
            modified: (status.st_mtime, status.st_mtime_nsec),
            changed: (status.st_ctime, status.st_ctime_nsec),
        }
    }

    /// Is it the same file, whatever was done to it.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// How full a file system is, in its own blocks and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Blocks.
    pub blocks: u64,
    /// Blocks that nobody uses.
    pub free: u64,
    /// Of these, what is not kept for root.
    pub available: u64,
    /// Inodes; zero where they have no limit.
    pub inodes: u64,
    /// Inodes that nobody uses.
    pub inodes_free: u64,
}

/// A file's content, and whose it was.
#[derive(Debug)]
pub struct Settled {
    /// What it held.
    pub content: Vec<u8>,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Permission bits, `0o7777` mask.
    pub mode: u32,
}

/// A file open for reading, capped and within its budget.
#[derive(Debug)]
pub struct HostFile {
    file: std::fs::File,
    left: u64,
    budget: Budget,
}

impl Root {
    /// Opens `path` of this file system as a root.
    pub(super) fn open(path: &Path) -> Result<Self, HostError> {
        let failed = |errno: Errno| HostError::Open { path: path.to_owned(), source: errno.into() };
        let dir = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        let root = Self::from_handle(dir);
        match root.resolve(".", OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOSYS | Errno::EPERM) => Err(HostError::NoOpenat2),
            Err(errno) => Err(failed(errno)),
            Ok(_) => Ok(root),
        }
    }

    pub(super) fn from_handle(dir: OwnedFd) -> Self {
        Self { dir: Arc::new(dir), budget: Budget::new(DEFAULT_TIME, u64::MAX), prefix: "", foreign: false }
    }

    /// The same root, as one that somebody else fills.
    pub(super) fn foreign(self) -> Self {
        Self { foreign: true, ..self }
    }

    /// What it is read within.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The same root, read within `budget`.
    #[must_use]
    pub fn within(&self, budget: &Budget) -> Self {
        Self { dir: Arc::clone(&self.dir), budget: budget.clone(), prefix: self.prefix, foreign: self.foreign }
    }

    /// The directory at `path` as a root of its own: nothing above it is reachable from it.
    pub fn below(&self, path: &str) -> Result<Self, ReadError> {
        let dir = self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(|errno| self.error(path, "open", errno))?;
        Ok(Self { dir: Arc::new(dir), budget: self.budget.clone(), prefix: "", foreign: self.foreign })
    }

    /// The content of a regular file of at most 1 MiB.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        self.read_capped(path, DEFAULT_CAP)
    }

    /// As [`Self::read`]; bytes that are no UTF-8 are replaced.
    pub fn read_text(&self, path: &str) -> Result<String, ReadError> {
        self.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content of a regular file of at most `cap` bytes.
    pub fn read_capped(&self, path: &str, cap: u64) -> Result<Vec<u8>, ReadError> {
        let mut file = self.open_file(path, cap)?;
        self.contents(path, cap, &mut file)
    }

    /// The content of a regular file of at most 1 MiB as it was at one time: read again while somebody writes or replaces it.
    pub fn read_settled(&self, path: &str) -> Result<Settled, ReadError> {
        let failed = |error: std::io::Error| self.error(path, "stat", Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        for _ in 0..ATTEMPTS {
            let mut file = self.open_file(path, DEFAULT_CAP)?;
            let before = file.stamp().map_err(failed)?;
            let (uid, gid, mode) = file.owner().map_err(failed)?;
            let content = self.contents(path, DEFAULT_CAP, &mut file)?;
            if file.stamp().map_err(failed)? == before && self.stamp(path).is_ok_and(|there| there == before) {
                return Ok(Settled { content, uid, gid, mode });
            }
        }
        Err(ReadError::Changed { path: self.show(path) })
    }

    fn contents(&self, path: &str, cap: u64, file: &mut HostFile) -> Result<Vec<u8>, ReadError> {
        // Files of /proc have no size to go by, and most fit one page.
        let mut content = Vec::with_capacity(FIRST_READ);
        file.read_to_end(&mut content).map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => ReadError::TimedOut { path: self.show(path) },
            std::io::ErrorKind::FileTooLarge => ReadError::TooLarge { path: self.show(path), cap },
            _ => self.error(path, "read", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        })?;
        Ok(content)
    }

    /// A regular file, to be read piece by piece. More than `cap` bytes are an error of kind `FileTooLarge`.
    pub fn open_file(&self, path: &str, cap: u64) -> Result<HostFile, ReadError> {
        if self.budget.expired() {
            return Err(ReadError::TimedOut { path: self.show(path) });
        }
        self.budget.called(1);
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let failed = |errno| self.error(path, "open", errno);
        let handle = if self.foreign {
            let there = self.resolve(path, OFlag::O_PATH).map_err(failed)?;
            if let Some(kind) = not_a_file(&fstat(&there).map_err(failed)?) {
                return Err(ReadError::Malformed { path: self.show(path), kind });
            }
            // The same file, whatever has taken its name meanwhile.
            open(format!("/proc/self/fd/{}", there.as_raw_fd()).as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?
        } else {
            self.resolve(path, flags).map_err(failed)?
        };
        let status = fstat(&handle).map_err(|errno| self.error(path, "stat", errno))?;
        if let Some(kind) = not_a_file(&status) {
            return Err(ReadError::Malformed { path: self.show(path), kind });
        }
        if u64::try_from(status.st_size).is_ok_and(|size| size > cap) {
            return Err(ReadError::TooLarge { path: self.show(path), cap });
        }
        Ok(HostFile { file: handle.into(), left: cap, budget: self.budget.clone() })
    }

    /// The socket at `path`, links followed below this root: held, to be connected to as `/proc/self/fd/N`, whatever takes its name.
    pub fn open_socket(&self, path: &str) -> Result<OwnedFd, ReadError> {
        let there = self.resolve(path, OFlag::O_PATH).map_err(|errno| self.error(path, "open", errno))?;
        let status = fstat(&there).map_err(|errno| self.error(path, "stat", errno))?;
        if file_type(&status) == SFlag::S_IFSOCK {
            Ok(there)
        } else {
            Err(ReadError::Malformed { path: self.show(path), kind: Malformation::NoSocket })
        }
    }

    /// Which file `path` is now, links followed below this root.
    pub fn stamp(&self, path: &str) -> Result<Stamp, ReadError> {
        let failed = |errno| self.error(path, "stat", errno);
        let handle = self.resolve(path, OFlag::O_PATH).map_err(failed)?;
        fstat(&handle).map(|status| Stamp::of(&status)).map_err(failed)
    }

    /// How full the file system is that `path` lies on. Asks it: one on the network may not answer.
    pub fn usage(&self, path: &str) -> Result<Usage, ReadError> {
        let handle = self.resolve(path, OFlag::O_PATH).map_err(|errno| self.error(path, "open", errno))?;
        let said = fstatvfs(&handle).map_err(|errno| self.error(path, "statvfs", errno))?;
        Ok(Usage {
            blocks: said.blocks(),
            free: said.blocks_free(),
            available: said.blocks_available(),
            inodes: said.files(),
            inodes_free: said.files_free(),
        })
    }

    /// The target of the link at `path`; `None` where it is no link.
    pub fn link_at(&self, path: &str) -> Result<Option<String>, ReadError> {
        let failed = |errno| self.error(path, "stat", errno);
        let itself = self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW).map_err(failed)?;
        let is_link = kind_of(&fstat(&itself).map_err(failed)?) == NodeKind::Symlink;
        is_link.then(|| readlinkat(&itself, "").map(|target| target.to_string_lossy().into_owned())).transpose().map_err(failed)
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, ReadError> {
        let failed = |errno| self.error(path, "list", errno);
        let handle = self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK).map_err(failed)?;
        self.budget.called(2);
        let mut entries = Vec::new();
        for entry in Dir::from_fd(handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == MAX_ENTRIES || self.budget.expired() {
                return Err(ReadError::TimedOut { path: self.show(path) });
            }
            let kind = entry.file_type().map(|kind| match kind {
                nix::dir::Type::File => NodeKind::File,
                nix::dir::Type::Directory => NodeKind::Directory,
                nix::dir::Type::Symlink => NodeKind::Symlink,
                _ => NodeKind::Special,
            });
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What `stat` says of `path`, links followed below this root.
    pub fn metadata(&self, path: &str) -> Result<Metadata, ReadError> {
        let itself = self.look(path)?;
        if itself.kind != NodeKind::Symlink {
            return Ok(itself);
        }
        let handle = self.resolve(path, OFlag::O_PATH).map_err(|errno| self.error(path, "stat", errno))?;
        Ok(Metadata { target: itself.target, ..self.status(path, &handle)? })
    }

    /// What `stat` says of `path` itself: of a link, not of where it leads. Links before its last name are followed.
    pub fn look(&self, path: &str) -> Result<Metadata, ReadError> {
        let failed = |errno| self.error(path, "stat", errno);
        let handle = self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW).map_err(failed)?;
        let mut itself = self.status(path, &handle)?;
        if itself.kind == NodeKind::Symlink {
            itself.target = Some(readlinkat(&handle, "").map_err(failed)?.to_string_lossy().into_owned());
        }
        Ok(itself)
    }

    fn status(&self, path: &str, handle: &OwnedFd) -> Result<Metadata, ReadError> {
        let status = fstat(handle).map_err(|errno| self.error(path, "stat", errno))?;
        let (kind, mode) = (kind_of(&status), status.st_mode & 0o7777);
        // A link has no rights of its own.
        let acl = if kind == NodeKind::Symlink { Ok(Vec::new()) } else { acl(handle, mode, status.st_gid) };
        Ok(Metadata {
            kind,
            mode,
            uid: status.st_uid,
            gid: status.st_gid,
            modified: status.st_mtime,
            target: None,
            acl: acl.map_err(|(reason, problem)| Unavailable::new(reason, format!("{}: its access list {problem}", self.show(path)))),
        })
    }

    /// The permission bits of the directory at `path`, links followed below this root.
    pub fn directory_mode(&self, path: &str) -> Result<u32, ReadError> {
        let failed = |errno| self.error(path, "stat", errno);
        let handle = self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(failed)?;
        self.budget.called(1);
        fstat(&handle).map(|status| status.st_mode & 0o7777).map_err(failed)
    }

    /// Where the directory at `path` is in this file system, links followed below this root. For watching, never for reading:
    /// it may be elsewhere a moment later.
    pub fn found_at(&self, path: &str) -> Option<PathBuf> {
        let handle = self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
        std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).ok()
    }

    /// The target of the link at `path`, not followed.
    pub(super) fn read_link(&self, path: &str) -> Result<String, Errno> {
        self.budget.called(1);
        readlinkat(&self.dir, path).map(|target| target.to_string_lossy().into_owned())
    }

    /// The same root, whose paths are shown after `prefix`.
    pub(super) fn shown_as(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    fn show(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn error(&self, path: &str, operation: &'static str, errno: Errno) -> ReadError {
        ReadError::new(&self.show(path), operation, errno)
    }

    fn resolve(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        self.budget.called(2);
        let how =
            || OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut answer = openat2(&self.dir, path, how());
        for _ in 0..RETRIES {
            if !matches!(answer, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
            answer = openat2(&self.dir, path, how());
        }
        answer
    }
}

impl HostFile {
    /// `handle` as a file, if it is a regular one.
    pub(super) fn of(handle: OwnedFd, budget: &Budget) -> Result<Self, Errno> {
        match not_a_file(&fstat(&handle)?) {
            None => Ok(Self { file: handle.into(), left: u64::MAX, budget: budget.clone() }),
            Some(_) => Err(Errno::ENODEV),
        }
    }

    /// The same, of which at most `cap` bytes may be read, however long it is. For files of which one needs a few parts.
    #[must_use]
    pub fn limited(self, cap: u64) -> Self {
        Self { left: cap, ..self }
    }

    /// What it is read within.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Which file it is, and in which state.
    pub fn stamp(&self) -> std::io::Result<Stamp> {
        Ok(Stamp::of(&fstat(&self.file)?))
    }

    /// Owner, group and permission bits.
    pub fn owner(&self) -> std::io::Result<(u32, u32, u32)> {
        let status = fstat(&self.file)?;
        Ok((status.st_uid, status.st_gid, status.st_mode & 0o7777))
    }

    /// Was its name removed: nobody can open it by a path any more.
    pub fn removed(&self) -> std::io::Result<bool> {
        Ok(fstat(&self.file)?.st_nlink == 0)
    }
}

impl Seek for HostFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

impl Read for HostFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.budget.expired() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        let read = self.file.read(buffer)?;
        self.budget.called(1);
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        if bytes > self.left {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.left -= bytes;
        if !self.budget.spend(bytes) {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        Ok(read)
    }
}

/// File systems without ACLs have none.
fn acl(handle: &OwnedFd, mode: u32, gid: u32) -> Result<Vec<AclEntry>, (Reason, String)> {
    match xattr::get_deref(format!("/proc/self/fd/{}", handle.as_raw_fd()), "system.posix_acl_access") {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(bytes)) => super::acl::parse(&bytes, mode, gid).ok_or_else(|| (Reason::Malformed, "does not parse".to_owned())),
        Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err((Reason::PermissionDenied, format!("cannot be read: {error}"))),
    }
}

fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

fn kind_of(status: &FileStat) -> NodeKind {
    match file_type(status) {
        SFlag::S_IFREG => NodeKind::File,
        SFlag::S_IFDIR => NodeKind::Directory,
        SFlag::S_IFLNK => NodeKind::Symlink,
        _ => NodeKind::Special,
    }
}

fn not_a_file(status: &FileStat) -> Option<Malformation> {
    match file_type(status) {
        SFlag::S_IFREG => None,
        SFlag::S_IFDIR => Some(Malformation::Directory),
        SFlag::S_IFIFO => Some(Malformation::Fifo),
        SFlag::S_IFSOCK => Some(Malformation::Socket),
        _ => Some(Malformation::Device),
    }
}
