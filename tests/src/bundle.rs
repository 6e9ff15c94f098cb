//! A container of a test's own: runc, a cgroup such as the kubelet makes, this machine's `/usr` to run from.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{copy_program, pause};

/// Tells the containers of one test process apart.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A bundle and the container made from it. Dropping it ends the container and removes its pod's cgroups.
#[derive(Debug)]
pub struct Bundle {
    directory: TempDir,
    /// The container's id, 64 hexadecimal digits.
    pub id: String,
    /// The uid of the pod that its cgroup says it belongs to.
    pub pod: String,
}

impl Bundle {
    /// A container whose process, `sleep`, runs as `uid` for good. Needs root and runc.
    pub fn new(uid: u32) -> Result<Self> {
        Self::of(uid, &["/bin/sleep", "86400"], true)
    }

    /// A container whose process runs as `uid`, and may become somebody else only without `no_new_privileges`.
    pub fn of(uid: u32, arguments: &[&str], no_new_privileges: bool) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = u64::from(std::process::id());
        let (id, pod) = (format!("{process:032x}{number:032x}"), format!("{process:08x}-0000-4000-8000-{number:012x}"));
        let directory = TempDir::new()?;
        let root = directory.path().join("rootfs");
        for name in ["usr", "proc", "dev", "tmp"] {
            std::fs::create_dir_all(root.join(name))?;
        }
        for name in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
        }
        let none = json!([]);
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false, "user": {"uid": uid, "gid": uid}, "args": arguments, "env": ["PATH=/bin"], "cwd": "/",
                "capabilities": {"bounding": none, "effective": none, "permitted": none}, "noNewPrivileges": no_new_privileges
            },
            "root": {"path": "rootfs"},
            "hostname": "test",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
            ],
            "linux": {
                "cgroupsPath": format!("/kubepods/pod{pod}/{id}"),
                "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}]
            }
        });
        std::fs::write(directory.path().join("config.json"), config.to_string())?;
        Ok(Self { directory, id, pod })
    }

    /// Puts a copy of a program into its `/tmp` that runs as root whoever starts it.
    pub fn add_setuid(&self, program: &str, name: &str) -> Result<()> {
        let copy = self.directory.path().join("rootfs/tmp").join(name);
        copy_program(program, &copy)?;
        std::fs::set_permissions(&copy, Permissions::from_mode(0o4755))?;
        // Others than root pass through here.
        Ok(std::fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755))?)
    }

    /// Prepares the container; it waits for [`Self::start`].
    pub fn create(&self) -> Result<()> {
        self.runc(&["create", "--bundle", &self.path("")])
    }

    /// Starts what was prepared.
    pub fn start(&self) -> Result<()> {
        self.runc(&["start"])
    }

    /// Both.
    pub fn run(&self) -> Result<()> {
        self.runc(&["run", "--detach", "--bundle", &self.path("")])
    }

    /// Runs a program in the container to its end, as `kubectl exec` and probes do.
    pub fn exec(&self, user: &str, program: &str) -> Result<()> {
        let log = self.path("runc.log");
        let arguments = ["--root", &self.path("state"), "--log", &log, "exec", "--user", user, &self.id, program];
        self.call(&arguments)
    }

    /// Ends the container.
    pub fn delete(&self) -> Result<()> {
        self.runc(&["delete", "--force"])
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn runc(&self, command: &[&str]) -> Result<()> {
        let (state, log) = (self.path("state"), self.path("runc.log"));
        let mut arguments = vec!["--root", &state, "--log", &log];
        arguments.extend(command);
        arguments.push(&self.id);
        self.call(&arguments)
    }

    /// The container inherits what runc is given to read and write, so that waiting for its end would be waiting for the container's.
    fn call(&self, arguments: &[&str]) -> Result<()> {
        let mut runc = Command::new("runc");
        runc.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = runc.status().context("run runc: is it installed")?;
        ensure!(status.success(), "runc {}: {status}: {}", arguments.join(" "), self.log());
        Ok(())
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("runc.log")).unwrap_or_default()).into_owned()
    }

    /// runc removes the container's own cgroup, the kubelet that of the pod; here is none.
    fn remove_pod(&self) -> Result<()> {
        let mounts = std::fs::read_dir("/sys/fs/cgroup")?.filter_map(Result::ok).map(|entry| entry.path());
        let mut pods: Vec<_> = mounts.map(|mount| mount.join("kubepods")).collect();
        pods.push(Path::new("/sys/fs/cgroup/kubepods").to_owned());
        let pods: Vec<_> = pods.into_iter().map(|parent| parent.join(format!("pod{}", self.pod))).collect();
        for _ in 0..3_000 {
            let left = pods.iter().filter(|pod| pod.is_dir()).filter(|pod| std::fs::remove_dir(pod).is_err()).count();
            if left == 0 {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("a cgroup of pod {} is still in use", self.pod)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        drop(self.delete());
        drop(self.remove_pod());
    }
}
