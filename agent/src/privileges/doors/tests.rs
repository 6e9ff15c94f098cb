//! The filters as the kernel would run them: calls that no safe code can make are tried on the program itself.

use super::*;

// SECCOMP_RET_ERRNO with the number: 1 and 38.
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;

#[cfg(target_arch = "x86_64")]
const HERE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const HERE: u32 = 0xc000_00b7;
/// 32-bit x86.
const I386: u32 = 0x4000_0003;

/// What the kernel does with a call: classic BPF over `struct seccomp_data`, of which seccompiler uses these instructions.
fn run(program: &BpfProgram, architecture: u32, call: i64, arguments: &[u64]) -> u32 {
    let mut data = Vec::new();
    data.extend(u32::try_from(call).unwrap().to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend(0u64.to_ne_bytes());
    for index in 0..6 {
        data.extend(arguments.get(index).copied().unwrap_or_default().to_ne_bytes());
    }
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        match step.code {
            0x20 => {
                let from = usize::try_from(step.k).unwrap();
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => accumulator &= step.k,
            0x05 => at += usize::try_from(step.k).unwrap(),
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x06 => return step.k,
            other => panic!("instruction {other:#x} is not known here"),
        }
    }
}

fn here(call: libc::c_long, arguments: &[u64]) -> u32 {
    run(&denials(target()).unwrap(), HERE, call, arguments)
}

fn target() -> TargetArch {
    TargetArch::try_from(std::env::consts::ARCH).unwrap()
}

#[test]
fn every_listed_call_is_denied_whatever_its_arguments() {
    let program = denials(target()).unwrap();
    for call in DENIED.iter().chain(DENIED_HERE) {
        for argument in [0, 1, u64::MAX] {
            assert_eq!(run(&program, HERE, *call, &[argument; 6]), EPERM, "{call}");
        }
    }
    for call in [libc::SYS_read, libc::SYS_openat2, libc::SYS_futex, libc::SYS_exit_group, libc::SYS_inotify_add_watch] {
        assert_eq!(run(&program, HERE, call, &[]), ALLOW, "{call}");
    }
}

#[test]
fn calls_of_32_bit_programs_end_the_process() {
    for program in [denials(target()).unwrap(), threads(target()).unwrap()] {
        // execve there, and write.
        for call in [11, 4] {
            assert_eq!(run(&program, I386, call, &[]), KILL);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_is_denied_is_denied_by_its_number_of_x32_too() {
    let program = denials(target()).unwrap();
    for call in DENIED.iter().chain(DENIED_HERE) {
        assert_eq!(run(&program, HERE, call | X32, &[]), EPERM, "{call}");
    }
    assert_eq!(run(&program, HERE, libc::SYS_socket | X32, &[signed(libc::AF_PACKET), 3]), EPERM);
    assert_eq!(run(&threads(target()).unwrap(), HERE, libc::SYS_clone3 | X32, &[]), ENOSYS);
}

/// Every call that x32 numbers anew, as `arch/x86/entry/syscalls/syscall_64.tbl` has it, beside what it is called here: what is denied by
/// one number is denied by the other, with the same arguments.
#[cfg(target_arch = "x86_64")]
#[test]
fn move_pages_and_ioctl_are_not_open_by_their_numbers_of_x32() {
    let renumbered = [
        (512, libc::SYS_rt_sigaction),
        (513, libc::SYS_rt_sigreturn),
        (514, libc::SYS_ioctl),
        (515, libc::SYS_readv),
        (516, libc::SYS_writev),
        (517, libc::SYS_recvfrom),
        (518, libc::SYS_sendmsg),
        (519, libc::SYS_recvmsg),
        (520, libc::SYS_execve),
        (521, libc::SYS_ptrace),
        (522, libc::SYS_rt_sigpending),
        (523, libc::SYS_rt_sigtimedwait),
        (524, libc::SYS_rt_sigqueueinfo),
        (525, libc::SYS_sigaltstack),
        (526, libc::SYS_timer_create),
        (527, libc::SYS_mq_notify),
        (528, libc::SYS_kexec_load),
        (529, libc::SYS_waitid),
        (530, libc::SYS_set_robust_list),
        (531, libc::SYS_get_robust_list),
        (532, libc::SYS_vmsplice),
        (533, libc::SYS_move_pages),
        (534, libc::SYS_preadv),
        (535, libc::SYS_pwritev),
        (536, libc::SYS_rt_tgsigqueueinfo),
        (537, libc::SYS_recvmmsg),
        (538, libc::SYS_sendmmsg),
        (539, libc::SYS_process_vm_readv),
        (540, libc::SYS_process_vm_writev),
        (541, libc::SYS_setsockopt),
        (542, libc::SYS_getsockopt),
        (543, libc::SYS_io_setup),
        (544, libc::SYS_io_submit),
        (545, libc::SYS_execveat),
        (546, libc::SYS_preadv2),
        (547, libc::SYS_pwritev2),
    ];
    let program = denials(target()).unwrap();
    for (number, call) in renumbered {
        for arguments in [[0; 6], [0, 0x5412, 0, 0, 0, 0], [0, 0x541c, 0, 0, 0, 0], [u64::MAX; 6]] {
            let (here, there) = (run(&program, HERE, call, &arguments), run(&program, HERE, number | X32, &arguments));
            assert_eq!(here, there, "{number} is {call}, called with {arguments:?}");
        }
    }
}

fn signed(value: libc::c_int) -> u64 {
    unsigned(value)
}

#[test]
fn sockets_are_those_that_a_reader_needs() {
    let socket = |family, kind: libc::c_int| here(libc::SYS_socket, &[signed(family), signed(kind | libc::SOCK_CLOEXEC)]);
    for family in FAMILIES {
        assert_eq!(socket(family, libc::SOCK_STREAM), ALLOW, "{family}");
        assert_eq!(socket(family, SOCK_PACKET), EPERM, "{family}");
        let raw = if family == libc::AF_NETLINK { ALLOW } else { EPERM };
        assert_eq!(socket(family, libc::SOCK_RAW), raw, "{family}");
    }
    for family in (0..64).filter(|family| !FAMILIES.contains(family)) {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            assert_eq!(socket(family, kind), EPERM, "{family} {kind}");
        }
        assert_eq!(here(libc::SYS_socketpair, &[signed(family), 1]), EPERM);
    }
    // The kernel looks at 32 bits of a family.
    assert_eq!(here(libc::SYS_socket, &[signed(libc::AF_PACKET) | 1 << 32, 3]), EPERM);
}

#[test]
fn threads_start_and_processes_do_not() {
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SYSVSEM;
    assert_eq!(here(libc::SYS_clone, &[signed(thread)]), ALLOW);
    assert_eq!(here(libc::SYS_clone, &[signed(libc::SIGCHLD)]), EPERM, "fork");
    assert_eq!(here(libc::SYS_clone, &[signed(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD)]), EPERM, "vfork");
    for namespace in NEW_NAMESPACES {
        assert_eq!(here(libc::SYS_clone, &[signed(thread | namespace)]), EPERM);
    }
    assert_eq!(run(&threads(target()).unwrap(), HERE, libc::SYS_clone3, &[]), ENOSYS);
}

#[test]
fn it_may_abort_and_signal_nobody_else() {
    let own = u64::from(std::process::id());
    assert_eq!(here(libc::SYS_tgkill, &[own, 1, 6]), ALLOW);
    assert_eq!(here(libc::SYS_tgkill, &[1, 1, 6]), EPERM);
    assert_eq!(here(libc::SYS_prlimit64, &[0]), ALLOW);
    assert_eq!(here(libc::SYS_prlimit64, &[1]), EPERM);
    assert_eq!(here(libc::SYS_ioctl, &[0, 0x5412]), EPERM, "TIOCSTI");
    assert_eq!(here(libc::SYS_ioctl, &[0, 0x5413]), ALLOW, "TIOCGWINSZ");
}
