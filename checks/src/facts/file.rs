//! Files and directories whose owner and mode decide something.

use serde::{Deserialize, Serialize};

/// One path, its metadata after following symlinks inside the host root, and why it matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// `file:` and the path.
    pub subject: String,
    /// The path as configured.
    pub path: String,
    /// What the file is to Kubernetes: `kubelet_config`, `kubelet_kubeconfig`, `kubelet_unit`, `kubelet_ca`,
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
    /// Has a POSIX access ACL beyond the mode bits.
    pub acl: bool,
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
