//! A host with a real containerd, for tests: its own processes, network, `/run` and `/var/log`, so that everything is where it is on
//! a node and nothing of it remains.
//!
//! [`kubelet`] says to containerd, over its socket, which [`pod`]s to make; [`mapped`] runs what containerd 1.6 cannot make with runc
//! alone; both from our own [`image`]. Needs root, containerd and runc.

pub mod image;
pub mod kubelet;
pub mod manifest;
pub mod mapped;
pub mod pod;
pub mod volumes;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::{PATIENCE, Process, output, pause};
use kubelet::proto::{ContainerConfig, PodSandboxConfig};
use kubelet::{Kubelet, Made};
use manifest::{Placed, Workload};
use pod::Pod;

/// Where containerd listens, as on a node.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// How long cgroups may take to become empty after their processes were killed.
const EMPTIED: Duration = Duration::from_mins(1);

/// What is the host's own: nobody else sees it, and it goes with the namespace. `/var/lib` keeps what the machine has there, such as
/// the package database; the runtime's snapshots cannot lie on an overlay, so they get a file system too.
/// As systemd leaves it, mounts of the host are passed on to containers that want them.
const MOUNTS: &str = "
mount --make-rshared /
mount -t tmpfs -o mode=755 holdfast /run
mount -t tmpfs -o mode=755 holdfast /var/log
mkdir -p /run/var-lib/upper /run/var-lib/work
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/var-lib/upper,workdir=/run/var-lib/work holdfast /var/lib
mkdir -p /var/lib/containerd /var/lib/kubelet
mount -t tmpfs -o mode=711 holdfast /var/lib/containerd
";

/// A network plugin that gives every pod the same address and makes nothing: pods of the tests speak with nobody. Under two names,
/// because containerd always asks `loopback` too.
const PLUGIN: &str = r#"#!/bin/sh
case $CNI_COMMAND in
  ADD) printf '{"cniVersion":"0.3.1","interfaces":[{"name":"%s","sandbox":"%s"}],"ips":[{"version":"4","interface":0,"address":"10.88.0.2/16"}]}\n' "$CNI_IFNAME" "$CNI_NETNS" ;;
  VERSION) printf '{"cniVersion":"0.3.1","supportedVersions":["0.3.1","0.4.0","1.0.0"]}\n' ;;
esac
"#;

/// A network plugin that gives every pod an address of its own and the host for a router, as many a real one does.
const CONNECTS: &str = r#"#!/bin/sh
set -e
inside() { nsenter --net="$CNI_NETNS" ip "$@"; }
case $CNI_COMMAND in
  ADD)
    n=$(($(cat "$CNI_PATH/last" 2>/dev/null || echo 1) + 1))
    echo $n >"$CNI_PATH/last"
    ip link add "pod$n" type veth peer name "peer$n"
    ip link set "peer$n" netns "$CNI_NETNS"
    ip addr add 10.88.0.1/32 dev "pod$n"
    ip link set "pod$n" up
    ip route add "10.88.0.$n/32" dev "pod$n"
    inside link set "peer$n" name "$CNI_IFNAME"
    inside addr add "10.88.0.$n/32" dev "$CNI_IFNAME"
    inside link set "$CNI_IFNAME" up
    inside route add 10.88.0.1 dev "$CNI_IFNAME" scope link
    inside route add default via 10.88.0.1
    printf '{"cniVersion":"0.3.1","interfaces":[{"name":"%s","sandbox":"%s"}],"ips":[{"version":"4","interface":0,"address":"10.88.0.%s/32"}]}\n' "$CNI_IFNAME" "$CNI_NETNS" $n ;;
  VERSION) printf '{"cniVersion":"0.3.1","supportedVersions":["0.3.1","0.4.0","1.0.0"]}\n' ;;
esac
"#;
/// The address of the first pod on a host of [`RuntimeHost::connected`].
pub const FIRST_POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 2));

/// A host whose containers are made by a real containerd. Dropping it ends them all.
#[derive(Debug)]
pub struct RuntimeHost {
    /// Where it all runs. Goes first: the cgroups are empty then.
    pub space: Namespace,
    /// Ends with the host, whichever goes first.
    _containerd: Process,
    cgroups: Cgroups,
    directory: TempDir,
    image: String,
    kubelet: Kubelet,
    /// Digest of the manifest of the image that every container has.
    pub image_digest: String,
}

impl RuntimeHost {
    /// Starts one and imports the image. Its pods speak with nobody.
    pub async fn start() -> Result<Self> {
        Self::with_plugin(PLUGIN).await
    }

    /// The same with pods that reach the host and each other.
    pub async fn connected() -> Result<Self> {
        Self::with_plugin(CONNECTS).await
    }

    async fn with_plugin(plugin: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        let at = |name: &str| directory.path().join(name);
        let space = Namespace::new(&at("namespace.log"))?;
        inside(&space, "sh", &["-ec", MOUNTS])?;
        network(&at("cni"), plugin)?;
        std::fs::write(at("config.toml"), configuration(&at("cni")))?;
        let config = at("config.toml").display().to_string();
        let containerd = space.start("containerd", &["--config", &config], &at("containerd.log"), &[])?;
        let said = || String::from_utf8_lossy(&std::fs::read(at("containerd.log")).unwrap_or_default()).into_owned();
        let kubelet = Kubelet::connect(&root_of(&space).join(SOCKET.trim_start_matches('/'))).await.with_context(said)?;

        let archive = at("image.tar");
        let image_digest = image::write(&archive)?;
        let archive = archive.display().to_string();
        inside(&space, "ctr", &["--namespace", "k8s.io", "images", "import", "--base-name", image::REPOSITORY, "--digests", &archive])?;
        let image = kubelet.image(&format!("{}:{}", image::REPOSITORY, image::TAG)).await.with_context(said)?;
        Ok(Self { space, _containerd: containerd, cgroups: Cgroups::new(), directory, image, kubelet, image_digest })
    }

    /// Makes a pod and waits until its program runs.
    pub async fn run(&mut self, pod: &Pod) -> Result<Made> {
        for (path, content) in pod.files() {
            let path = self.outside(&path);
            std::fs::create_dir_all(path.parent().context("a file in a directory")?)?;
            std::fs::write(path, content)?;
        }
        self.make(&pod.name, pod.sandbox(), pod.container(&self.image)).await
    }

    /// Has it made, in a cgroup of this host's own, and waits until the program runs: a runtime has started a container a moment before
    /// its own first process has become that program.
    async fn make(&self, name: &str, mut sandbox: PodSandboxConfig, container: ContainerConfig) -> Result<Made> {
        if let Some(linux) = &mut sandbox.linux {
            linux.cgroup_parent = self.cgroups.place(&linux.cgroup_parent);
        }
        let made = self.kubelet.make(name, sandbox, container).await.with_context(|| self.log())?;
        let comm = self.outside(&format!("/proc/{}/comm", self.first_of(&made.container)?));
        let started = Instant::now();
        while std::fs::read(&comm).is_ok_and(|name| name.starts_with(b"runc:")) {
            ensure!(started.elapsed() < PATIENCE, "{name} is runc still: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(made)
    }

    /// Imports an image of `program`, a dynamic one, and returns its id.
    pub async fn import(&self, repository: &str, program: &Path, entry: &str) -> Result<String> {
        self.import_all(repository, &[(program, entry)]).await
    }

    /// The same of several programs, each with its path in the image. The first one is started.
    pub async fn import_all(&self, repository: &str, programs: &[(&Path, &str)]) -> Result<String> {
        let archive = self.path("program.tar");
        let (_, entry) = programs.first().context("a program")?;
        let mut files = BTreeMap::new();
        for (program, path) in programs {
            files.extend(libraries(program)?);
            files.insert((*path).to_owned(), stripped(program, Path::new(&self.path("stripped")))?);
        }
        image::write_program(Path::new(&archive), entry, &files)?;
        inside(&self.space, "ctr", &["--namespace", "k8s.io", "images", "import", "--base-name", repository, "--digests", &archive])?;
        std::fs::remove_file(archive)?;
        self.kubelet.image(&format!("{repository}:{}", image::TAG)).await.with_context(|| self.log())
    }

    /// The pid of a container's first process, seen from this host.
    pub fn first_of(&self, container: &str) -> Result<String> {
        let listed = inside(&self.space, "ctr", &["--namespace", "k8s.io", "tasks", "list"])?;
        let line = listed.lines().find(|line| line.starts_with(container)).with_context(|| format!("no {container}: {listed}"))?;
        Ok(line.split_whitespace().nth(1).context("a pid")?.to_owned())
    }

    /// Makes a pod of a manifest and starts its container, with an image of [`Self::import`] or, without one, the tests' own.
    pub async fn run_workload(&mut self, workload: &Workload, image: Option<&str>) -> Result<Made> {
        for placed in workload.files()? {
            match placed {
                Placed::File(path, content) => {
                    let path = self.outside(&path);
                    std::fs::create_dir_all(path.parent().context("a file in a directory")?)?;
                    std::fs::write(&path, content)?;
                }
                Placed::Directory(path, group) => {
                    let path = self.outside(&path);
                    std::fs::create_dir_all(&path)?;
                    if group.is_some() {
                        std::os::unix::fs::chown(&path, None, group)?;
                        std::fs::set_permissions(&path, Permissions::from_mode(0o2775))?;
                    }
                }
                Placed::Volume(path, files) => volumes::publish(&self.outside(&path), &files)?,
            }
        }
        let container = workload.container(image.unwrap_or(&self.image), image.is_none())?;
        self.make(&workload.pod, workload.sandbox(), container).await
    }

    /// Replaces what is in a volume of a running pod, as a kubelet does when a token is renewed or an object has changed.
    pub fn replace_volume(&self, workload: &Workload, name: &str) -> Result<()> {
        let (place, files) = workload.volume(name)?;
        volumes::publish(&self.outside(&place), &files)
    }

    /// Where a volume of a pod is on this host.
    pub fn volume_of(&self, workload: &Workload, name: &str) -> Result<String> {
        Ok(workload.volume(name)?.0)
    }

    /// A path of this host as this test reaches it.
    pub fn outside(&self, path: &str) -> PathBuf {
        root_of(&self.space).join(path.trim_start_matches('/'))
    }

    /// A path in the test's own directory, which host and test both see under this name.
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Waits until every container runs what it was made for: by the time a runtime says that one was started, its own process may not have
    /// become that program yet; and what is younger than a second is not judged.
    pub fn settle(&self) -> Result<()> {
        let started = Instant::now();
        // As runtimes call themselves meanwhile, also after they copied themselves into memory.
        let look = "grep -qsE '^(runc.*|exe|[0-9]+)$' /proc/[0-9]*/comm";
        while self.space.output("sh", &["-c", look])?.0 == 0 {
            ensure!(started.elapsed() < PATIENCE, "a runtime is still preparing a container after {PATIENCE:?}: {}", self.log());
            pause(Duration::from_millis(20));
        }
        pause(Duration::from_millis(1200));
        Ok(())
    }

    /// What containerd said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("containerd.log")).unwrap_or_default()).into_owned()
    }
}

/// The program without what only a debugger reads: it goes through memory several times.
fn stripped(program: &Path, to: &Path) -> Result<Vec<u8>> {
    let (from, into) = (program.display().to_string(), to.display().to_string());
    let (code, _, errors) = output(Path::new("strip"), &["-o", &into, &from])?;
    ensure!(code == 0, "strip {from}: {errors}");
    Ok(std::fs::read(to)?)
}

/// What the dynamic loader would load, and the loader itself, under the names by which they are looked for.
fn libraries(program: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let (code, listed, errors) = output(Path::new("ldd"), &[&program.display().to_string()])?;
    ensure!(code == 0, "ldd {}: {errors}", program.display());
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(|path| Ok((path.to_owned(), std::fs::read(path)?))).collect()
}

/// The root directory of what runs in `space`, from outside.
fn root_of(space: &Namespace) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", space.first()))
}

fn inside(space: &Namespace, program: &str, arguments: &[&str]) -> Result<String> {
    let (code, output, errors) = space.output(program, arguments)?;
    ensure!(code == 0, "{program} {} failed: {output}{errors}", arguments.join(" "));
    Ok(output)
}

/// As on a node but for what a test may lack: the sandbox image is our own, AppArmor needs its parser, and to protect a sandbox from
/// running out of memory takes `CAP_SYS_RESOURCE`, without which runc ends saying nothing.
fn configuration(cni: &Path) -> String {
    let (cni, image) = (cni.display(), format!("{}:{}", image::REPOSITORY, image::TAG));
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_tcp_service = true
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{cni}"
"#
    )
}

fn network(directory: &Path, plugin: &str) -> Result<()> {
    std::fs::create_dir(directory)?;
    for (name, plugin) in [("loopback", PLUGIN), ("nothing", plugin)] {
        let path = directory.join(name);
        std::fs::write(&path, plugin)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    let list = r#"{"cniVersion": "0.3.1", "name": "nothing", "plugins": [{"type": "nothing"}]}"#;
    Ok(std::fs::write(directory.join("nothing.conflist"), list)?)
}

/// Tells the hosts of one test process apart.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The cgroup that a host's pods are in, which is the whole machine's and would remain: one of its own, as of a kubelet with
/// `--cgroup-root`, so that nobody removes what another host has a pod of the same name in.
#[derive(Debug)]
struct Cgroups(String);

impl Cgroups {
    fn new() -> Self {
        Self(format!("holdfast_test_{}_{}.slice", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Where a cgroup is that a kubelet with the machine for its root would name so.
    fn place(&self, cgroup: &str) -> String {
        format!("/{}{cgroup}", self.0)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let top = Path::new("/sys/fs/cgroup");
        // Version 2 has one tree, version 1 one for each controller.
        let mut trees = vec![top.to_owned()];
        trees.extend(std::fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path()));
        let started = Instant::now();
        for tree in trees {
            let cgroup = tree.join(&self.0);
            while !removed(&cgroup) && started.elapsed() < EMPTIED {
                pause(Duration::from_millis(10));
            }
        }
    }
}

fn removed(cgroup: &Path) -> bool {
    for below in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            removed(&below.path());
        }
    }
    std::fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
