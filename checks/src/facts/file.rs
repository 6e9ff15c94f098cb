//! Files and directories whose owner and mode decide something.

use serde::{Deserialize, Serialize};

use super::Observed;

/// One path, its metadata after following symlinks inside the host root, and why it matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileFact {
    /// `file:` and the path.
    pub subject: String,
    /// The path as configured.
    pub path: String,
    /// What the file is to Kubernetes: `kubelet_config`, `kubelet_kubeconfig`, `kubelet_unit`, `kubelet_environment` (flags
    /// that a unit reads), `kubelet_ca`,
    /// `kube_proxy_kubeconfig`, `kube_proxy_config`, `kubeconfig`, `manifest`, `pki_certificate`, `pki_key`, `pki_directory`, `etcd_data`,
    /// `cni_config`, `container_runtime_config`; `directory` for one above such a file that only root can enter.
    pub role: String,
    /// What it is after following symlinks.
    pub kind: FileKind,
    /// Permission bits, `0o7777` mask.
    pub mode: i64,
    /// Numeric owner.
    pub uid: i64,
    /// Numeric group.
    pub gid: i64,
    /// The symlink's target when the path itself is a symlink; else empty.
    pub target: String,
    /// Its POSIX access ACL: only what goes beyond the mode bits. Empty when there is none.
    pub acl: Vec<AclEntry>,
    /// Every directory that is entered on the way to it, from the top; for a symlink the target's way too. The one it lies in is last.
    pub way: Observed<Vec<Step>>,
    /// Derived: who but root can really read and write it.
    pub access: Observed<Access>,
}

/// A directory on the way to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its path.
    pub path: String,
    /// Permission bits, `0o7777` mask.
    pub mode: i64,
    /// Numeric owner.
    pub uid: i64,
    /// Numeric group.
    pub gid: i64,
    /// See [`FileFact::acl`].
    pub acl: Vec<AclEntry>,
}

/// One entry of a POSIX ACL for a named user or group, after its mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// `user`, `group`, or `owning_group`: what the mask leaves of the owning group's rights, which the mode's bits then do not tell.
    pub whom: String,
    /// Numeric id.
    pub id: i64,
    /// 4 read, 2 write, 1 execute, added up.
    pub permissions: i64,
}

/// Who can reach a file, by owners, modes, ACLs and the directories on the way. Root is never listed.
///
/// Each is `everyone`, which then stands alone, `uid <n>` or `gid <n>`; where it takes two of them together, the one that the file or
/// the innermost closed directory asks for. Who can write a directory on the way can put another file in its place: that is
/// writing, unless the directory is sticky and the file another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Who can read it.
    pub readers: Vec<String>,
    /// Who can write or replace it.
    pub writers: Vec<String>,
    /// The directory that closes it to everyone but root, whatever its own mode; empty when none does.
    pub closed_by: String,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket, FIFO or device.
    Special,
}
