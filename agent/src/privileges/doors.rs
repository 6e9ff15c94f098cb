//! The doors that close behind the agent: no new privileges, no core or ptrace of itself, no large file, and the system
//! calls a reader never needs.
//!
//! The filter denies by list and allows the rest: it is the third line behind the uid and read-only mounts, and a list of
//! allowed calls would break with every libc. Of sockets it is the other way round: four families are allowed. Denied calls
//! answer EPERM, so that a bug shows as an error and not as a kill; calls by the numbers of another processor, such as those
//! of 32-bit x86, end the process: seccompiler puts that first. x32's numbers, which the same processor has, are denied too.

use std::collections::BTreeMap;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// The largest file the agent may write, in bytes: twice the spool, whose own limit is met long before.
const MAX_FILE_BYTES: u64 = 2 * crate::spool::file::MAX_FILE_BYTES;

/// Why a door would not close.
#[derive(Debug, thiserror::Error)]
pub enum DoorsError {
    /// A process setting was refused.
    #[error("cannot set {what}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: nix::Error,
    },
    /// The seccomp filter could not be built or installed.
    #[error("cannot install the seccomp filter: this kernel needs CONFIG_SECCOMP_FILTER")]
    Seccomp(#[source] Box<seccompiler::Error>),
    /// No filter for this processor.
    #[error("no seccomp filter is known for processor architecture {0}")]
    Architecture(&'static str),
}

/// Rules by the number of the call.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// System calls denied whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Running something, or reaching into another process.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Signals; `tgkill` to itself is what aborting takes.
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    // Another view of the file system or the namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // Large and young parts of the kernel that a reader has no use for.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// What only this processor has.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

/// Linux 6.15, the same on every processor; libc does not name it yet.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// x32 has the numbers of x86-64 with this bit, which a filter for x86-64 sees as other numbers.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Calls that x32 has under numbers of its own, with what denies them here (`syscall_64.tbl`, 512 to 547).
#[cfg(target_arch = "x86_64")]
const X32_OWN: &[(i64, libc::c_long)] = &[
    (514, libc::SYS_ioctl),
    (520, libc::SYS_execve),
    (521, libc::SYS_ptrace),
    (524, libc::SYS_rt_sigqueueinfo),
    (528, libc::SYS_kexec_load),
    (533, libc::SYS_move_pages),
    (536, libc::SYS_rt_tgsigqueueinfo),
    (539, libc::SYS_process_vm_readv),
    (540, libc::SYS_process_vm_writev),
    (545, libc::SYS_execveat),
];

/// What sockets it may have: to the collector, to this node's own ports, to a runtime, and to the kernel for lists of sockets.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Namespace flags of `clone`.
const NEW_NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWCGROUP,
];

/// The old name of packet sockets, as a type of any family.
const SOCK_PACKET: libc::c_int = 10;

/// `TIOCSTI` and `TIOCLINUX`.
const TERMINAL_REQUESTS: [libc::c_int; 2] = [0x5412, 0x541c];

/// Closes them all, for every thread, and for what runs until it is told to stop.
pub(super) fn close() -> Result<(), DoorsError> {
    let failed = |what| move |source| DoorsError::Setting { what, source };
    nix::sys::prctl::set_no_new_privs().map_err(failed("no new privileges"))?;
    nix::sys::prctl::set_dumpable(false).map_err(failed("non-dumpable"))?;
    // Over the limit a write answers EFBIG; without this the signal would end the agent.
    let mut over = SigSet::empty();
    over.add(Signal::SIGXFSZ);
    over.thread_block().map_err(failed("the signal mask"))?;
    setrlimit(Resource::RLIMIT_FSIZE, MAX_FILE_BYTES, MAX_FILE_BYTES).map_err(failed("the file size limit"))?;
    filter()
}

/// Those that a program closes which prints once and ends: its output may be long, and what reads it in `/proc` is itself.
pub(super) fn close_once() -> Result<(), DoorsError> {
    nix::sys::prctl::set_no_new_privs().map_err(|source| DoorsError::Setting { what: "no new privileges", source })?;
    filter()
}

fn filter() -> Result<(), DoorsError> {
    let architecture = std::env::consts::ARCH;
    let target = TargetArch::try_from(architecture).map_err(|_| DoorsError::Architecture(architecture))?;
    for filter in [denials(target), threads(target)] {
        let install = filter.and_then(|program| seccompiler::apply_filter_all_threads(&program));
        install.map_err(|error| DoorsError::Seccomp(Box::new(error)))?;
    }
    Ok(())
}

fn denials(target: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    let mut rules: Rules = DENIED.iter().chain(DENIED_HERE).map(|call| (*call, Vec::new())).collect();
    let other_families = || rule(FAMILIES.map(|family| condition(0, SeccompCmpOp::Ne, family)));
    // Raw sockets of every family but netlink, whose sockets are raw by name only: sock_diag needs one.
    let raw = rule([condition(0, SeccompCmpOp::Ne, libc::AF_NETLINK), condition(1, SeccompCmpOp::MaskedEq(0xf), libc::SOCK_RAW)])?;
    let packet = rule([condition(1, SeccompCmpOp::MaskedEq(0xf), SOCK_PACKET)])?;
    rules.insert(libc::SYS_socket, vec![other_families()?, raw, packet]);
    rules.insert(libc::SYS_socketpair, vec![other_families()?]);
    // A process of its own, which threads are not, and namespaces.
    let process = rule([condition(0, SeccompCmpOp::MaskedEq(unsigned(libc::CLONE_THREAD)), 0)]);
    let namespaces = NEW_NAMESPACES.into_iter().map(|flag| rule([condition(0, SeccompCmpOp::MaskedEq(unsigned(flag)), flag)]));
    rules.insert(libc::SYS_clone, namespaces.chain([process]).collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_tgkill, vec![rule([condition(0, SeccompCmpOp::Ne, own)])?]);
    // Limits of another process.
    rules.insert(libc::SYS_prlimit64, vec![rule([condition(0, SeccompCmpOp::Ne, 0), condition(0, SeccompCmpOp::Ne, own)])?]);
    // Typing into somebody's terminal.
    let typing = TERMINAL_REQUESTS.map(|request| rule([condition(1, SeccompCmpOp::Eq, request)]));
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    compile(with_x32(rules), libc::EPERM, target)
}

#[cfg(target_arch = "x86_64")]
fn with_x32(mut rules: Rules) -> Rules {
    let again: Vec<(i64, Vec<SeccompRule>)> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
    rules.extend(again);
    for (number, call) in X32_OWN {
        let denied = rules.get(call).cloned().unwrap_or_default();
        rules.insert(number | X32, denied);
    }
    rules
}

#[cfg(not(target_arch = "x86_64"))]
fn with_x32(rules: Rules) -> Rules {
    rules
}

/// `clone3` hides its flags from a filter; ENOSYS makes libc fall back to `clone`.
fn threads(target: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    compile(with_x32([(libc::SYS_clone3, Vec::new())].into()), libc::ENOSYS, target)
}

fn compile(rules: Rules, errno: libc::c_int, target: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    let denied = SeccompAction::Errno(u32::try_from(errno).unwrap_or(1));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, target)?;
    Ok(filter.try_into()?)
}

fn rule<const N: usize>(conditions: [Result<SeccompCondition, seccompiler::Error>; N]) -> Result<SeccompRule, seccompiler::Error> {
    let conditions: Result<Vec<_>, _> = conditions.into_iter().collect();
    Ok(SeccompRule::new(conditions?)?)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, unsigned(value))?)
}

fn unsigned(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}

#[cfg(test)]
mod tests;
