//! The host as a server: its disks and mounts, its logs, its clock, its programs.

use serde::{Deserialize, Serialize};

use super::{Listing, Observed, Settings, Unavailable};

/// What a host of any kind should have in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// Places that mount options matter for: `/tmp`, `/var/tmp`, `/dev/shm`, `/proc`. Those that are there, mounted or not.
    pub mounts: Observed<Listing<MountPoint>>,
    /// File systems that fill up: `/`, `/var`, `/var/log`, the kubelet's and the runtime's.
    pub disks: Observed<Listing<Disk>>,
    /// `/proc/sys/kernel/core_pattern`.
    pub core_pattern: Observed<String>,
    /// journald's effective settings under its own names (`Storage`, `SystemMaxUse`, `ForwardToSyslog`); defaults included.
    pub journald: Observed<Settings>,
    /// Is there a journal on disk, not only in memory.
    pub journal_persistent: Observed<bool>,
    /// Programs that carry logs elsewhere, and where.
    pub shippers: Observed<Listing<LogShipper>>,
    /// Programs that set the clock: `systemd-timesyncd`, `chronyd`, `ntpd`, `ptp4l`.
    pub time_services: Observed<Listing<ServiceSeen>>,
    /// Is the kernel's clock synchronised, by what the programs leave behind.
    pub clock_synchronised: Observed<bool>,
    /// Ways by which updates are installed by themselves: `unattended-upgrades`, `dnf-automatic`, `kured`, an image's own.
    pub updates: Observed<Listing<ServiceSeen>>,
    /// Programs that watch for intrusion: `falco`, `wazuh-agent`, `falcon-sensor`.
    pub protection: Observed<Listing<ServiceSeen>>,
    /// kubelet, containerd, CRI-O, Docker, runc and crun: their files' hashes against the operator's list. Unavailable without a
    /// list: reading hundreds of MiB that nobody compares would cost every node.
    pub binaries: Observed<Listing<Binary>>,
}

impl System {
    /// A host of which nothing is known, for `why`.
    pub fn unread(why: &Unavailable) -> Self {
        Self {
            mounts: Observed::Unavailable(why.clone()),
            disks: Observed::Unavailable(why.clone()),
            core_pattern: Observed::Unavailable(why.clone()),
            journald: Observed::Unavailable(why.clone()),
            journal_persistent: Observed::Unavailable(why.clone()),
            shippers: Observed::Unavailable(why.clone()),
            time_services: Observed::Unavailable(why.clone()),
            clock_synchronised: Observed::Unavailable(why.clone()),
            updates: Observed::Unavailable(why.clone()),
            protection: Observed::Unavailable(why.clone()),
            binaries: Observed::Unavailable(why.clone()),
        }
    }
}

/// A place of the host, with what holds there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `mount:` and the path.
    pub subject: String,
    /// Where.
    pub path: String,
    /// The mount it lies on: itself, or one above.
    pub mounted_at: String,
    /// File system type.
    pub kind: String,
    /// Options of mount and file system, sorted.
    pub options: Vec<String>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// `disk:` and the path it is mounted at.
    pub subject: String,
    /// Where it is mounted.
    pub path: String,
    /// What lies on it: `/`, `/var/log`, `/var/lib/kubelet`, …
    pub holds: Vec<String>,
    /// How full, in percent, rounded up to a multiple of five: a value that changes with every write would travel with every write.
    pub used_percent: i64,
    /// The same of its inodes; zero where it has no limit.
    pub inodes_percent: i64,
}

/// A program that carries logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogShipper {
    /// `shipper:` and the name.
    pub subject: String,
    /// `fluent-bit`, `vector`, `promtail`, `rsyslog`, …
    pub name: String,
    /// Where it sends to: `tls://logs.example:6514`; `unknown` where its configuration could not be read or is not understood.
    pub destination: String,
    /// Is what it sends encrypted: `yes`, `no`, `unknown`.
    pub encrypted: String,
    /// Does it keep on disk what it cannot send: `yes`, `no`, `unknown`.
    pub buffered: String,
    /// The file that says so; empty where none was read.
    pub source: String,
}

/// A program or unit that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSeen {
    /// Its name.
    pub name: String,
    /// By what: `process`, `unit`, `file`.
    pub by: String,
}

/// A program file and its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// `binary:` and the path.
    pub subject: String,
    /// Its path.
    pub path: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Is the hash in the operator's list.
    pub listed: Observed<bool>,
}
