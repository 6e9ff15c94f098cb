//! The self-test: what the agent can and cannot do after stepping down, tried and not assumed.
//!
//! Every attempt is harmless should it succeed: files are opened and not written, calls get arguments that name nothing.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use caps::CapSet;
use holdfast_checks::facts;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType};
use nix::unistd::{Pid, Uid};

use super::{DEFAULT_UID, KEPT};

/// The most processes looked at for one of another user.
const MAX_PROCESSES: usize = 256;

/// The most processes looked at for one of the agent's own uid: one open file system lookup each, once.
const MAX_OF_ALL: usize = 65_536;

/// One thing the agent must not be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub what: &'static str,
    /// Was it refused.
    pub refused: bool,
    /// Is it the uid that refuses: root is not refused.
    pub by_uid: bool,
    /// The system's answer.
    pub answer: String,
}

/// What the agent is, after stepping down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// Its effective uid.
    pub uid: u32,
    /// Its effective capabilities, by name.
    pub capabilities: Vec<String>,
    /// What it lacks of the capabilities it would use: facts that need them are unavailable.
    pub lacks: Vec<String>,
    /// Can it see what another process runs: `None` without `SYS_PTRACE`, which that needs, or without another process.
    pub sees_other_processes: Option<bool>,
    /// Can it gain privileges by running something.
    pub no_new_privileges: bool,
    /// May it be ptraced and dump core.
    pub dumpable: bool,
    /// What it must not be able to do.
    pub attempts: Vec<Attempt>,
}

impl SelfTest {
    /// What was not refused and should have been, even for whoever runs it.
    pub fn violations(&self) -> impl Iterator<Item = &Attempt> {
        let root = self.uid == 0;
        self.attempts.iter().filter(move |attempt| !(attempt.refused || root && attempt.by_uid))
    }

    /// As a fact. Whether it sees the host is for who reads it.
    pub fn privileges(&self) -> facts::Privileges {
        let told =
            |attempt: &Attempt| facts::Attempt { what: attempt.what.to_owned(), refused: attempt.refused, answer: attempt.answer.clone() };
        let mut attempts: Vec<facts::Attempt> = self.attempts.iter().map(told).collect();
        // What worked first: evidence has room for the beginning.
        attempts.sort_by_key(|attempt| attempt.refused);
        let untold = || facts::Observed::unavailable_because(facts::Reason::NotSupported, "nothing was read yet");
        facts::Privileges {
            uid: self.uid.into(),
            capabilities: self.capabilities.clone(),
            lacks: self.lacks.clone(),
            host_processes: untold(),
            host_network: untold(),
            host_files: untold(),
            no_new_privileges: self.no_new_privileges,
            dumpable: self.dumpable,
            attempts,
        }
    }

    /// The outcome in one line, and whether it is as it should be.
    pub fn summary(&self) -> (bool, String) {
        let capabilities = if self.capabilities.is_empty() { "no capabilities".to_owned() } else { self.capabilities.join(" ") };
        let violations: Vec<String> = self.violations().map(|attempt| format!("{} ({})", attempt.what, attempt.answer)).collect();
        let mut parts = Vec::new();
        if !violations.is_empty() {
            parts.push(format!("not refused and should be: {}", violations.join(", ")));
        }
        if !self.no_new_privileges || self.dumpable {
            parts.push("it could gain privileges or be traced: this is a bug, report it".to_owned());
        }
        if self.sees_other_processes == Some(false) {
            parts.push(
                "SYS_PTRACE is held and other processes are closed all the same: look at AppArmor and SELinux of this container".to_owned(),
            );
        }
        let good = parts.is_empty();
        if self.uid == 0 {
            parts.push(format!("as root it could write the host's files: --run-as {DEFAULT_UID} makes it a reader that cannot"));
        }
        if !self.lacks.is_empty() {
            parts.push(format!("without {} some facts are unknown: start it as root to have them", self.lacks.join(" and ")));
        }
        let refused = self.attempts.iter().filter(|attempt| attempt.refused).count();
        let head = format!("self-test: uid {}, {capabilities}; {refused} of {} attempts refused", self.uid, self.attempts.len());
        (good, std::iter::once(head).chain(parts).collect::<Vec<String>>().join("; "))
    }
}

/// Tries everything. `proc` is where processes are seen, and `host_root` the host's files where that is another directory than `/`.
pub fn self_test(proc: &Path, host_root: &Path) -> SelfTest {
    let held = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut capabilities: Vec<String> = held.iter().map(ToString::to_string).collect();
    capabilities.sort();
    let lacks = KEPT.into_iter().filter(|capability| !held.contains(capability)).map(|capability| capability.to_string()).collect();
    let other = another_process(proc);
    let ptrace = held.contains(&caps::Capability::CAP_SYS_PTRACE);
    SelfTest {
        uid: Uid::effective().as_raw(),
        capabilities,
        lacks,
        sees_other_processes: other.as_ref().filter(|_| ptrace).map(|(_, seen)| *seen),
        no_new_privileges: nix::sys::prctl::get_no_new_privs().unwrap_or(false),
        dumpable: nix::sys::prctl::get_dumpable().unwrap_or(true),
        attempts: attempts(other.as_ref().map(|(path, _)| path.as_path()), proc, host_root),
    }
}

/// Every process but this one.
fn processes(proc: &Path) -> impl Iterator<Item = PathBuf> {
    let own_pid = std::process::id();
    let another = move |path: &PathBuf| {
        let pid: Option<u32> = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        pid.is_some_and(|pid| pid != own_pid)
    };
    std::fs::read_dir(proc).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).filter(another)
}

/// The process to try things on, and whether its program can be seen: one of another user where there is one.
///
/// Process 1 would do on most hosts; some sandboxes close it even to root.
fn another_process(proc: &Path) -> Option<(PathBuf, bool)> {
    let own = Uid::effective().as_raw();
    let mut processes: Vec<PathBuf> = processes(proc).take(MAX_PROCESSES).collect();
    processes.sort_by_key(|path| std::fs::metadata(path).map_or(true, |status| status.uid() == own));
    let seen = processes.iter().find(|path| std::fs::read_link(path.join("exe")).is_ok()).cloned();
    seen.map(|path| (path, true)).or_else(|| processes.into_iter().next().map(|path| (path, false)))
}

/// Who has the agent's uid has its memory open to a taken agent, which no capability of it is needed for and no mount prevents.
fn write_own_uid(proc: &Path) -> Attempt {
    let own = Uid::effective().as_raw();
    let what = "write the memory of another process of its own uid";
    // Of a process that is closed even to its own user, such as another agent, these files are root's.
    let memories = processes(proc).take(MAX_OF_ALL).map(|path| path.join("mem"));
    let mut tried = memories.filter(|memory| std::fs::metadata(memory).is_ok_and(|status| status.uid() == own)).filter_map(|memory| {
        // It may have ended by now: then another one is tried.
        let attempt = write(what, &memory, 0)?;
        // Of root's nearly all are open to root: which one was tried says nothing, and would be another after every start.
        if own == 0 {
            return Some(attempt);
        }
        let process = memory.parent().and_then(Path::file_name).unwrap_or_default().display().to_string();
        Some(Attempt { answer: format!("process {process}: {}", attempt.answer), ..attempt })
    });
    let first = tried.next();
    // Which one is refused does not matter where one is not.
    let open = if first.as_ref().is_some_and(|attempt| attempt.refused) { tried.find(|attempt| !attempt.refused) } else { None };
    open.or(first).unwrap_or_else(|| Attempt { what, refused: true, by_uid: true, answer: "no other process has this uid".to_owned() })
}

fn attempts(other: Option<&Path>, proc: &Path, host_root: &Path) -> Vec<Attempt> {
    let own = Path::new("/");
    let mut writes = vec![
        write("write a file owned by root", &own.join("etc/passwd"), 0),
        write("create a file in a directory owned by root", &own.join("etc"), libc::O_TMPFILE),
        write("set a kernel parameter", &proc.join("sys/kernel/core_pattern"), 0),
    ];
    if let Some(other) = other {
        let root = other.join("root");
        writes.extend([
            write("write a file owned by root through another process", &root.join("etc/passwd"), 0),
            write("create a file in a directory owned by root through another process", &root.join("etc"), libc::O_TMPFILE),
            write("write another process's memory", &other.join("mem"), 0),
        ]);
    }
    if host_root != own {
        writes.extend([
            write("write a file owned by root below the host's root", &host_root.join("etc/passwd"), 0),
            write("create a file in the host's /etc", &host_root.join("etc"), libc::O_TMPFILE),
            // A file system of its own, which a read-only mount of the root does not make read-only.
            write("create a file in the host's /run", &host_root.join("run"), libc::O_TMPFILE),
        ]);
    }
    writes.into_iter().flatten().chain([write_own_uid(proc)]).chain(calls()).collect()
}

/// Opens for writing, and writes nothing. `None` where there is nothing to open, which says nothing.
fn write(what: &'static str, path: &Path, flags: libc::c_int) -> Option<Attempt> {
    let result = OpenOptions::new().write(true).custom_flags(flags).open(path).map(drop);
    let refused = match &result {
        Ok(()) => false,
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS)) => true,
        Err(_) => return None,
    };
    let answer = result.map_or_else(|error| error.to_string(), |()| "it worked".to_owned());
    Some(Attempt { what, refused, by_uid: true, answer })
}

/// What the filter denies, as far as it can be called without naming anything that is there. `bpf`, `perf_event_open`, `kexec_load`,
/// `open_by_handle_at`, `io_uring` and keys have no safe wrapper: the filter's own tests try them on its program.
fn calls() -> Vec<Attempt> {
    let nothing = c"/nonexistent/holdfast-self-test";
    let no_process = Pid::from_raw(i32::MAX);
    vec![
        call("run a program", nix::unistd::execv(nothing, &[nothing]).map(drop)),
        call("trace a process", nix::sys::ptrace::attach(no_process)),
        call("read another process's memory by call", nix::sys::uio::process_vm_readv(no_process, &mut [], &[]).map(drop)),
        call("send a signal", nix::sys::signal::kill(no_process, None)),
        call("mount", nix::mount::mount(Some(nothing), nothing, Some(nothing), nix::mount::MsFlags::empty(), Some(nothing))),
        call("unmount", nix::mount::umount(nothing)),
        call("change the root directory", nix::unistd::chroot(nothing)),
        call("change the root file system", nix::unistd::pivot_root(nothing, nothing)),
        call("enter a namespace", enter_namespace()),
        call("make a namespace", nix::sched::unshare(nix::sched::CloneFlags::empty())),
        call("load a kernel module", nix::kmod::init_module(&[], c"")),
        call("load a kernel module from a file", load_module()),
        call("unload a kernel module", nix::kmod::delete_module(c"", nix::kmod::DeleteModuleFlags::O_NONBLOCK)),
        call("record what processes do", nix::unistd::acct::enable(nothing)),
        call("open a raw socket", open_socket(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp))),
        call("open a packet socket", open_socket(AddressFamily::Packet, SockType::Datagram, None)),
        call("open a socket of the kernel's cryptography", open_socket(AddressFamily::Alg, SockType::SeqPacket, None)),
        call("open a socket to a hypervisor", open_socket(AddressFamily::Vsock, SockType::Stream, None)),
    ]
}

/// A denied call answers EPERM whatever its arguments; a permitted one finds that they name nothing.
fn call(what: &'static str, result: Result<(), Errno>) -> Attempt {
    let answer = result.map_or_else(|errno| errno.to_string(), |()| "it worked".to_owned());
    Attempt { what, refused: result == Err(Errno::EPERM), by_uid: false, answer }
}

/// Something that is open and is neither a namespace nor a module.
fn root_directory() -> Result<std::fs::File, Errno> {
    std::fs::File::open("/").map_err(|error| Errno::try_from(error).unwrap_or(Errno::EIO))
}

fn enter_namespace() -> Result<(), Errno> {
    nix::sched::setns(root_directory()?, nix::sched::CloneFlags::empty())
}

fn load_module() -> Result<(), Errno> {
    nix::kmod::finit_module(root_directory()?, c"", nix::kmod::ModuleInitFlags::empty())
}

fn open_socket(family: AddressFamily, kind: SockType, protocol: Option<SockProtocol>) -> Result<(), Errno> {
    nix::sys::socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(uid: u32) -> SelfTest {
        let attempt = |what, refused, by_uid| Attempt { what, refused, by_uid, answer: "EPERM".to_owned() };
        SelfTest {
            uid,
            capabilities: vec!["CAP_DAC_READ_SEARCH".to_owned(), "CAP_SYS_PTRACE".to_owned()],
            lacks: Vec::new(),
            sees_other_processes: Some(true),
            no_new_privileges: true,
            dumpable: false,
            attempts: vec![attempt("write a file owned by root", uid != 0, true), attempt("run a program", true, false)],
        }
    }

    #[test]
    fn running_as_root_on_purpose_is_one_calm_line() {
        let (good, line) = test(0).summary();
        assert!(good);
        insta::assert_snapshot!(line, @"self-test: uid 0, CAP_DAC_READ_SEARCH CAP_SYS_PTRACE; 1 of 2 attempts refused; as root it could write the host's files: --run-as 65523 makes it a reader that cannot");
        let (good, line) = test(DEFAULT_UID).summary();
        assert!(good);
        insta::assert_snapshot!(line, @"self-test: uid 65523, CAP_DAC_READ_SEARCH CAP_SYS_PTRACE; 2 of 2 attempts refused");
    }

    #[test]
    fn what_nobody_may_do_is_a_warning_for_root_too() {
        for uid in [0, DEFAULT_UID] {
            let mut test = test(uid);
            test.attempts[1].refused = false;
            let (good, line) = test.summary();
            assert!(!good && line.contains("not refused and should be: run a program (EPERM)"), "{line}");
        }
        let mut test = test(DEFAULT_UID);
        test.attempts[0].refused = false;
        assert!(!test.summary().0);
    }

    /// The finding's evidence was another one after every start, wherever processes come and go.
    #[test]
    fn to_root_no_process_is_named_of_all_that_are_open_to_it() {
        if Uid::effective().is_root() {
            let attempt = write_own_uid(Path::new("/proc"));
            assert!(!attempt.answer.starts_with("process "), "{attempt:?}");
        }
    }
}
