//! Sysctls, each on its own: a kernel built without a feature has no file for it.

use holdfast_checks::facts::{Observed, Reason, Sysctls};

use super::number;
use crate::host::Host;

pub(super) fn read(host: &Host) -> Sysctls {
    let elsewhere = other_network(host);
    let of = |name: &str| match &elsewhere {
        Some(why) if name.starts_with("net/") => Observed::unavailable_because(Reason::NotSupported, *why),
        _ => number(host, &format!("sys/{name}")),
    };
    Sysctls {
        kptr_restrict: of("kernel/kptr_restrict"),
        dmesg_restrict: of("kernel/dmesg_restrict"),
        unprivileged_bpf_disabled: of("kernel/unprivileged_bpf_disabled"),
        ptrace_scope: of("kernel/yama/ptrace_scope"),
        perf_event_paranoid: of("kernel/perf_event_paranoid"),
        kexec_load_disabled: of("kernel/kexec_load_disabled"),
        randomize_va_space: of("kernel/randomize_va_space"),
        unprivileged_userns_clone: of("kernel/unprivileged_userns_clone"),
        max_user_namespaces: of("user/max_user_namespaces"),
        protected_hardlinks: of("fs/protected_hardlinks"),
        protected_symlinks: of("fs/protected_symlinks"),
        protected_fifos: of("fs/protected_fifos"),
        protected_regular: of("fs/protected_regular"),
        suid_dumpable: of("fs/suid_dumpable"),
        ipv4_forward: of("net/ipv4/ip_forward"),
        ipv6_forward: of("net/ipv6/conf/all/forwarding"),
        ipv4_accept_redirects: of("net/ipv4/conf/all/accept_redirects"),
        ipv4_accept_source_route: of("net/ipv4/conf/all/accept_source_route"),
        tcp_syncookies: of("net/ipv4/tcp_syncookies"),
        overcommit_memory: of("vm/overcommit_memory"),
        panic_on_oom: of("vm/panic_on_oom"),
        panic: of("kernel/panic"),
        panic_on_oops: of("kernel/panic_on_oops"),
        keys_root_maxkeys: of("kernel/keys/root_maxkeys"),
        keys_root_maxbytes: of("kernel/keys/root_maxbytes"),
        modules_disabled: of("kernel/modules_disabled"),
        io_uring_disabled: of("kernel/io_uring_disabled"),
        pid_max: of("kernel/pid_max"),
        apparmor_restrict_unprivileged_userns: of("kernel/apparmor_restrict_unprivileged_userns"),
        mmap_min_addr: of("vm/mmap_min_addr"),
        unprivileged_userfaultfd: of("vm/unprivileged_userfaultfd"),
        ipv4_send_redirects: of("net/ipv4/conf/all/send_redirects"),
        ipv4_send_redirects_default: of("net/ipv4/conf/default/send_redirects"),
        ipv4_rp_filter: of("net/ipv4/conf/all/rp_filter"),
        ipv4_rp_filter_default: of("net/ipv4/conf/default/rp_filter"),
        ipv6_accept_redirects: of("net/ipv6/conf/all/accept_redirects"),
        ipv6_accept_redirects_default: of("net/ipv6/conf/default/accept_redirects"),
        ipv6_accept_source_route: of("net/ipv6/conf/all/accept_source_route"),
        ipv4_route_localnet: of("net/ipv4/conf/all/route_localnet"),
    }
}

/// `sys/net` shows the settings of whoever opens it, whatever `/proc` it is opened below: in a container with a network of its
/// own these are not the host's.
fn other_network(host: &Host) -> Option<&'static str> {
    let differs = host.live() && host.proc.network("self")? != host.proc.network("1")?;
    differs.then_some("the agent has a network namespace of its own and reads that one's settings: give it the host's (hostNetwork)")
}
