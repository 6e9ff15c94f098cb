//! The running kernel, its security settings, and the kernels installed beside it.

use serde::{Deserialize, Serialize};

use super::{Listing, Observed, Package, Reason, Unavailable};

/// The kernel as it runs. `release` and `version` come from `uname(2)`, or from the tree's `holdfast-tree.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `/proc/version_signature`, which only Ubuntu's kernels have.
    pub signature: Observed<String>,
    /// The distribution package the running kernel came from.
    pub package: Observed<Package>,
    /// Boot time: Unix seconds, `btime` of `/proc/stat`.
    pub boot_time: Observed<i64>,
    /// `/proc/cmdline`, split at spaces.
    pub command_line: Observed<Vec<String>>,
    /// Security-relevant sysctls.
    pub sysctls: Sysctls,
    /// Active security modules in order, `/sys/kernel/security/lsm`.
    pub lsms: Observed<Vec<String>>,
    /// Is AppArmor enabled: `/sys/module/apparmor/parameters/enabled`. `false` when the kernel has no such module.
    pub apparmor: Observed<bool>,
    /// SELinux, from `/sys/fs/selinux/enforce`.
    pub selinux: Observed<Selinux>,
    /// Does the kernel filter system calls: `/proc/sys/kernel/seccomp/actions_avail`, or `Seccomp:` in a process status.
    pub seccomp: Observed<bool>,
    /// The selected mode of `/sys/kernel/security/lockdown`: `none`, `integrity` or `confidentiality`.
    pub lockdown: Observed<String>,
    /// Does the kernel load signed modules only: `/sys/module/module/parameters/sig_enforce`.
    pub module_signatures: Observed<bool>,
    /// Derived: may users without privileges make user namespaces, by the three switches there are for it.
    pub unprivileged_user_namespaces: Observed<bool>,
    /// The taint mask, `/proc/sys/kernel/tainted`.
    pub taint: Observed<i64>,
    /// `/sys/devices/system/cpu/vulnerabilities/*`.
    pub cpu_vulnerabilities: Observed<Listing<CpuVulnerability>>,
    /// Active swap areas, `/proc/swaps`.
    pub swaps: Observed<Listing<Swap>>,
    /// Installed kernels: `/lib/modules/*` with modules or an image, and `/boot/vmlinuz-*`.
    pub installed: Observed<Listing<InstalledKernel>>,
    /// Derived: releases of installed kernels of the running one's flavour that are newer than it.
    pub newer_installed: Observed<Listing<String>>,
    /// Files by which a distribution says that a reboot waits. Known and empty means: looked, none there.
    pub reboot_sentinels: Observed<Listing<RebootSentinel>>,
    /// What the boot loader starts next time, if nobody chooses otherwise.
    pub boot_default: Observed<BootEntry>,
    /// The system image, where the system is one image and has no list of installed kernels. Unavailable (`not_supported`) where
    /// the system is made of packages.
    pub deployment: Observed<Deployment>,
    /// Names of active livepatches, `/sys/kernel/livepatch/*`.
    pub livepatches: Observed<Vec<String>>,
    /// Parts of the kernel that known vulnerabilities are in, of [`crate::versions::FEATURES`], and whether this kernel has them.
    pub features: Observed<Listing<Feature>>,
    /// The version of the control groups that limit resources: 1 or 2. With both there (hybrid) the limits are in 1.
    pub cgroup: Observed<i64>,
}

impl Kernel {
    /// A kernel of which only `uname` is known.
    pub fn unread(release: impl Into<String>, version: impl Into<String>) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        Self {
            release: release.into(),
            version: version.into(),
            signature: Observed::Unavailable(why.clone()),
            package: Observed::Unavailable(why.clone()),
            boot_time: Observed::Unavailable(why.clone()),
            command_line: Observed::Unavailable(why.clone()),
            sysctls: Sysctls::unread(&why),
            lsms: Observed::Unavailable(why.clone()),
            apparmor: Observed::Unavailable(why.clone()),
            selinux: Observed::Unavailable(why.clone()),
            seccomp: Observed::Unavailable(why.clone()),
            lockdown: Observed::Unavailable(why.clone()),
            module_signatures: Observed::Unavailable(why.clone()),
            unprivileged_user_namespaces: Observed::Unavailable(why.clone()),
            taint: Observed::Unavailable(why.clone()),
            cpu_vulnerabilities: Observed::Unavailable(why.clone()),
            swaps: Observed::Unavailable(why.clone()),
            installed: Observed::Unavailable(why.clone()),
            newer_installed: Observed::Unavailable(why.clone()),
            reboot_sentinels: Observed::Unavailable(why.clone()),
            boot_default: Observed::Unavailable(why.clone()),
            deployment: Observed::Unavailable(why.clone()),
            livepatches: Observed::Unavailable(why.clone()),
            features: Observed::Unavailable(why.clone()),
            cgroup: Observed::Unavailable(why),
        }
    }
}

/// Sysctls that checks judge. Each is missing on its own: a kernel built without a feature has no file for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sysctls {
    /// `kernel.kptr_restrict`
    pub kptr_restrict: Observed<i64>,
    /// `kernel.dmesg_restrict`
    pub dmesg_restrict: Observed<i64>,
    /// `kernel.unprivileged_bpf_disabled`
    pub unprivileged_bpf_disabled: Observed<i64>,
    /// `kernel.yama.ptrace_scope`
    pub ptrace_scope: Observed<i64>,
    /// `kernel.perf_event_paranoid`
    pub perf_event_paranoid: Observed<i64>,
    /// `kernel.kexec_load_disabled`
    pub kexec_load_disabled: Observed<i64>,
    /// `kernel.randomize_va_space`
    pub randomize_va_space: Observed<i64>,
    /// `kernel.unprivileged_userns_clone` (Debian and Ubuntu patch only)
    pub unprivileged_userns_clone: Observed<i64>,
    /// `user.max_user_namespaces`
    pub max_user_namespaces: Observed<i64>,
    /// `fs.protected_hardlinks`
    pub protected_hardlinks: Observed<i64>,
    /// `fs.protected_symlinks`
    pub protected_symlinks: Observed<i64>,
    /// `fs.protected_fifos`
    pub protected_fifos: Observed<i64>,
    /// `fs.protected_regular`
    pub protected_regular: Observed<i64>,
    /// `fs.suid_dumpable`
    pub suid_dumpable: Observed<i64>,
    /// `net.ipv4.ip_forward`
    pub ipv4_forward: Observed<i64>,
    /// `net.ipv6.conf.all.forwarding`
    pub ipv6_forward: Observed<i64>,
    /// `net.ipv4.conf.all.accept_redirects`
    pub ipv4_accept_redirects: Observed<i64>,
    /// `net.ipv4.conf.all.accept_source_route`
    pub ipv4_accept_source_route: Observed<i64>,
    /// `net.ipv4.tcp_syncookies`
    pub tcp_syncookies: Observed<i64>,
    /// `vm.overcommit_memory`
    pub overcommit_memory: Observed<i64>,
    /// `vm.panic_on_oom`
    pub panic_on_oom: Observed<i64>,
    /// `kernel.panic`
    pub panic: Observed<i64>,
    /// `kernel.panic_on_oops`
    pub panic_on_oops: Observed<i64>,
    /// `kernel.keys.root_maxkeys`
    pub keys_root_maxkeys: Observed<i64>,
    /// `kernel.keys.root_maxbytes`
    pub keys_root_maxbytes: Observed<i64>,
    /// `kernel.modules_disabled`
    pub modules_disabled: Observed<i64>,
    /// `kernel.io_uring_disabled` (Linux 6.6 and newer)
    pub io_uring_disabled: Observed<i64>,
    /// `kernel.pid_max`
    pub pid_max: Observed<i64>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu's kernels only)
    pub apparmor_restrict_unprivileged_userns: Observed<i64>,
    /// `vm.mmap_min_addr`
    pub mmap_min_addr: Observed<i64>,
    /// `vm.unprivileged_userfaultfd`
    pub unprivileged_userfaultfd: Observed<i64>,
    /// `net.ipv4.conf.all.send_redirects`
    pub ipv4_send_redirects: Observed<i64>,
    /// `net.ipv4.conf.default.send_redirects`
    pub ipv4_send_redirects_default: Observed<i64>,
    /// `net.ipv4.conf.all.rp_filter`
    pub ipv4_rp_filter: Observed<i64>,
    /// `net.ipv4.conf.default.rp_filter`
    pub ipv4_rp_filter_default: Observed<i64>,
    /// `net.ipv6.conf.all.accept_redirects`
    pub ipv6_accept_redirects: Observed<i64>,
    /// `net.ipv6.conf.default.accept_redirects`
    pub ipv6_accept_redirects_default: Observed<i64>,
    /// `net.ipv6.conf.all.accept_source_route`
    pub ipv6_accept_source_route: Observed<i64>,
    /// `net.ipv4.conf.all.route_localnet`
    pub ipv4_route_localnet: Observed<i64>,
}

impl Sysctls {
    /// No sysctl is known, for the reason given.
    pub fn unread(why: &Unavailable) -> Self {
        let missing = || Observed::Unavailable(why.clone());
        Self {
            kptr_restrict: missing(),
            dmesg_restrict: missing(),
            unprivileged_bpf_disabled: missing(),
            ptrace_scope: missing(),
            perf_event_paranoid: missing(),
            kexec_load_disabled: missing(),
            randomize_va_space: missing(),
            unprivileged_userns_clone: missing(),
            max_user_namespaces: missing(),
            protected_hardlinks: missing(),
            protected_symlinks: missing(),
            protected_fifos: missing(),
            protected_regular: missing(),
            suid_dumpable: missing(),
            ipv4_forward: missing(),
            ipv6_forward: missing(),
            ipv4_accept_redirects: missing(),
            ipv4_accept_source_route: missing(),
            tcp_syncookies: missing(),
            overcommit_memory: missing(),
            panic_on_oom: missing(),
            panic: missing(),
            panic_on_oops: missing(),
            keys_root_maxkeys: missing(),
            keys_root_maxbytes: missing(),
            modules_disabled: missing(),
            io_uring_disabled: missing(),
            pid_max: missing(),
            apparmor_restrict_unprivileged_userns: missing(),
            mmap_min_addr: missing(),
            unprivileged_userfaultfd: missing(),
            ipv4_send_redirects: missing(),
            ipv4_send_redirects_default: missing(),
            ipv4_rp_filter: missing(),
            ipv4_rp_filter_default: missing(),
            ipv6_accept_redirects: missing(),
            ipv6_accept_redirects_default: missing(),
            ipv6_accept_source_route: missing(),
            ipv4_route_localnet: missing(),
        }
    }
}

/// SELinux as the kernel runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selinux {
    /// Is the module there and a policy loaded.
    pub enabled: bool,
    /// Does it enforce, or only log.
    pub enforcing: bool,
}

/// One row of the kernel's own list of CPU weaknesses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuVulnerability {
    /// `cpu:` and the file's name.
    pub subject: String,
    /// The file's name, `spectre_v2`.
    pub name: String,
    /// The kernel's words, `Mitigation: …`, `Vulnerable`, `Not affected`.
    pub status: String,
}

/// An active swap area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// Device or file.
    pub path: String,
    /// `partition` or `file`.
    pub kind: String,
    /// KiB.
    pub size_kib: i64,
}

/// A kernel that could be booted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstalledKernel {
    /// Its release, the directory's name under `/lib/modules` or after `vmlinuz-`.
    pub release: String,
    /// Where it was seen.
    pub path: String,
    /// The build string in its image, as `uname -v` would print it: `#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)`.
    pub build: Observed<String>,
    /// When its image was written, or, of one that does not run, its list of modules where that is later: Unix seconds. Packages keep
    /// the time at which an image was built; the list is made when it is installed, and again when a module is built for it.
    pub modified: Observed<i64>,
}

impl InstalledKernel {
    /// A kernel of which only its place is known.
    pub fn unread(release: impl Into<String>, path: impl Into<String>) -> Self {
        let why = Unavailable::new(Reason::NotSupported, "not read");
        Self { release: release.into(), path: path.into(), build: Observed::Unavailable(why.clone()), modified: Observed::Unavailable(why) }
    }
}

/// A boot loader's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// The release of its kernel, from the image's file name.
    pub release: String,
    /// The entry's own name or title.
    pub title: String,
    /// The file that chose it.
    pub path: String,
}

/// A system that is updated as one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// `ostree`, `bottlerocket`, `talos`, `cos`, `flatcar`, `flatcar-like`, ….
    pub kind: String,
    /// The image that runs, by the name its distribution gives: `VERSION_ID`, `BUILD_ID`, an ostree checksum.
    pub booted: String,
    /// Another image is on disk and waits for a reboot: its name, empty when it has none. `None` where nothing on the node tells.
    pub staged: Option<String>,
}

/// A part of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// The module's name: `nf_tables`.
    pub name: String,
    /// Is it there, and how.
    pub state: FeatureState,
}

/// How a kernel has a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureState {
    /// Linked into the image.
    BuiltIn,
    /// A module, loaded now.
    Loaded,
    /// A module that is there and can be loaded.
    Loadable,
    /// A module that modprobe's configuration refuses to load (`install … /bin/false`, which `blacklist` alone does not do).
    Blocked,
    /// Neither.
    Absent,
}

/// A file that says a reboot waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootSentinel {
    /// `/run/reboot-required` (Debian, Ubuntu, Flatcar), `/run/reboot-needed` (SUSE) or `/run/ostree/staged-deployment`.
    pub path: String,
    /// Modification time: Unix seconds.
    pub since: i64,
    /// Package names from `/run/reboot-required.pkgs`.
    pub packages: Vec<String>,
}
