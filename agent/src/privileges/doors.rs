//! The doors that close behind the agent: no new privileges, no core or ptrace of itself, no large file, and the system
//! calls a reader never needs.
//!
//! The filter denies by list and allows the rest: it is the third line behind the uid and read-only mounts, and a list of
//! allowed calls would break with every libc. Denied calls answer EPERM, so that a bug shows as an error and not as a kill.

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

/// System calls denied whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Running something, or reaching into another process.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_kcmp,
    // Another view of the file system or the namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
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
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

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

/// Closes them all, for every thread.
pub(super) fn close() -> Result<(), DoorsError> {
    let failed = |what| move |source| DoorsError::Setting { what, source };
    nix::sys::prctl::set_no_new_privs().map_err(failed("no new privileges"))?;
    nix::sys::prctl::set_dumpable(false).map_err(failed("non-dumpable"))?;
    // Over the limit a write answers EFBIG; without this the signal would end the agent.
    let mut over = SigSet::empty();
    over.add(Signal::SIGXFSZ);
    over.thread_block().map_err(failed("the signal mask"))?;
    setrlimit(Resource::RLIMIT_FSIZE, MAX_FILE_BYTES, MAX_FILE_BYTES).map_err(failed("the file size limit"))?;
    let architecture = std::env::consts::ARCH;
    let target = TargetArch::try_from(architecture).map_err(|_| DoorsError::Architecture(architecture))?;
    for filter in [denials(target), threads(target)] {
        let install = filter.and_then(|program| seccompiler::apply_filter_all_threads(&program));
        install.map_err(|error| DoorsError::Seccomp(Box::new(error)))?;
    }
    Ok(())
}

fn denials(target: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let mut sockets = vec![rule([equal(0, libc::AF_PACKET)])?, rule([equal(0, libc::AF_ALG)])?];
    // Raw sockets of every family but netlink, whose sockets are raw by name only: sock_diag needs one.
    sockets.push(rule(
        [condition(0, SeccompCmpOp::Ne, libc::AF_NETLINK)?, condition(1, SeccompCmpOp::MaskedEq(0xf), libc::SOCK_RAW)?].map(Ok),
    )?);
    rules.insert(libc::SYS_socket, sockets);
    let namespaces: Result<Vec<SeccompRule>, seccompiler::Error> =
        NEW_NAMESPACES.into_iter().map(|flag| rule([condition(0, SeccompCmpOp::MaskedEq(unsigned(flag)), flag)])).collect();
    rules.insert(libc::SYS_clone, namespaces?);
    compile(rules, libc::EPERM, target)
}

/// `clone3` hides its flags from a filter; ENOSYS makes libc fall back to `clone`.
fn threads(target: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    compile([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS, target)
}

fn compile(
    rules: std::collections::BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
    target: TargetArch,
) -> Result<BpfProgram, seccompiler::Error> {
    let denied = SeccompAction::Errno(u32::try_from(errno).unwrap_or(1));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, target)?;
    Ok(filter.try_into()?)
}

fn rule<const N: usize>(conditions: [Result<SeccompCondition, seccompiler::Error>; N]) -> Result<SeccompRule, seccompiler::Error> {
    let conditions: Result<Vec<_>, _> = conditions.into_iter().collect();
    Ok(SeccompRule::new(conditions?)?)
}

fn equal(argument: u8, value: libc::c_int) -> Result<SeccompCondition, seccompiler::Error> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, unsigned(value))?)
}

fn unsigned(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}
