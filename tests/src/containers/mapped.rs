//! A container in a user namespace: containerd 1.6 makes none, so runc makes it of a bundle of ours, in the place, with the
//! annotations and in the cgroup that containerd would choose.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::RuntimeHost;
use super::image::{self, PROGRAM, REPOSITORY, TAG};
use super::pod::{CONTAINER, NAMESPACE, Pod};
use crate::process::{PATIENCE, pause};

/// The host's uid and gid that is root inside.
pub const MAPPED: i64 = 100_000;

impl RuntimeHost {
    /// Runs a pod's container in a user namespace whose root is [`MAPPED`], and returns its id.
    pub fn run_mapped(&mut self, pod: &Pod) -> Result<String> {
        // As long as containerd's are, and the same for the same name.
        let id = pod.uid().replace('-', "").repeat(2);
        let (bundle, root) = (format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}"), self.path(&id));
        std::fs::create_dir_all(self.outside(&bundle))?;
        image::unpack(root.as_ref())?;
        // Its root is nobody here, and has to come by.
        std::fs::set_permissions(self.directory.path(), Permissions::from_mode(0o711))?;
        std::fs::write(
            self.outside(&format!("{bundle}/config.json")),
            config(pod, &self.cgroups.place(&pod.cgroup()), &id, &root).to_string(),
        )?;

        let log = self.path("runc.log");
        let arguments = ["--root", "/run/containerd/runc/k8s.io", "run", "--detach", "--bundle", &bundle, &id];
        let mut runc = self.space.start("runc", &arguments, log.as_ref(), &[])?;
        let started = Instant::now();
        loop {
            if let Some(status) = runc.ended()? {
                let said = std::fs::read(&log).context("read what runc said")?;
                ensure!(status.success(), "runc: {status}: {}", String::from_utf8_lossy(&said));
                return Ok(id);
            }
            if started.elapsed() > PATIENCE {
                bail!("runc does not end within {PATIENCE:?}");
            }
            pause(Duration::from_millis(10));
        }
    }
}

fn config(pod: &Pod, cgroup: &str, id: &str, root: &str) -> serde_json::Value {
    let namespaces = ["pid", "ipc", "uts", "mount", "network", "user"].map(|kind| json!({"type": kind}));
    let mapping = json!([{"containerID": 0, "hostID": MAPPED, "size": 65536}]);
    let capabilities = json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": [PROGRAM], "cwd": "/", "env": ["PATH=/"], "noNewPrivileges": false,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": root},
        "hostname": pod.name,
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": CONTAINER,
            "io.kubernetes.cri.image-name": format!("{REPOSITORY}:{TAG}"),
            "io.kubernetes.cri.sandbox-id": id.chars().rev().collect::<String>(),
            "io.kubernetes.cri.sandbox-name": pod.name,
            "io.kubernetes.cri.sandbox-namespace": NAMESPACE,
            "io.kubernetes.cri.sandbox-uid": pod.uid(),
        },
        "linux": {
            "namespaces": namespaces, "uidMappings": mapping, "gidMappings": mapping,
            "cgroupsPath": format!("{cgroup}/{id}"),
        },
    })
}
