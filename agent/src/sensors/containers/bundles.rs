//! What runtimes write of a container into files, by its id: OCI bundles of containerd, CRI-O and Podman, Docker's own files, and
//! the names under which the kubelet keeps logs.
//!
//! A file counts when it belongs to root and nobody else may write it. Who can write files as the host's root below `/run` can
//! forge one all the same, but no more than names: which container a process is in, and in which pod, is by cgroup, and a file that
//! was written for another pod is not believed. Each is read once and again when it changes; environments are never kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Reason, Unavailable};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::docker;
use super::names::{self, Names, PodNames};
use super::spec::Spec;
use crate::host::{Host, Settled, Stamp};

/// Where containerd keeps bundles, by namespace and container id.
const CONTAINERD: [&str; 5] = [
    "/run/containerd/io.containerd.runtime.v2.task",
    "/run/k3s/containerd/io.containerd.runtime.v2.task",
    "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task",
    "/run/k0s/containerd/io.containerd.runtime.v2.task",
];
/// Where CRI-O and Podman do, by container id; the name before `-containers` is that of the storage driver.
const CONTAINERS_STORAGE: [&str; 4] = [
    "/run/containers/storage/overlay-containers",
    "/var/lib/containers/storage/overlay-containers",
    "/run/containers/storage/vfs-containers",
    "/var/lib/containers/storage/vfs-containers",
];
const PODMAN: &str = "/var/lib/containers/storage/overlay-containers/containers.json";
const DOCKER: &str = "/var/lib/docker/containers";
/// containerd's namespace for Docker's containers.
const MOBY: &str = "moby";
const LOGS_BY_ID: &str = "/var/log/containers";
const LOGS_BY_POD: &str = "/var/log/pods";
/// What people see of a container's id.
const SHORT_ID: usize = 12;
/// A file is not looked at again sooner.
const SURE: Duration = Duration::from_secs(5);
/// What was not there is not looked for again sooner.
const RETRY: Duration = Duration::from_secs(2);
/// More containers than any node has.
const MOST_KEPT: usize = 4096;

/// What is told of one container.
#[derive(Debug)]
pub(super) struct Told {
    /// `containerd`, `cri-o`, `docker`, `podman`; empty where no file was found.
    pub(super) runtime: &'static str,
    /// The file that told.
    pub(super) path: String,
    pub(super) names: Names,
    /// The name and uid of its pod, where only logs tell.
    logged: Option<Logged>,
    /// The bundle's `config.json`, or why not.
    pub(super) spec: Result<Spec, Unavailable>,
    pub(super) docker: Option<OfDocker>,
    /// The file it rests on, in the state it was read in.
    stamp: Option<Stamp>,
}

/// What Docker's own files tell.
#[derive(Debug)]
pub(super) struct OfDocker {
    pub(super) paths: docker::Paths,
    pub(super) config: docker::Config,
    pub(super) host: Result<docker::HostConfig, Unavailable>,
}

#[derive(Debug)]
struct Logged {
    names: PodNames,
    pod_uid: String,
    path: String,
}

/// What earlier passes read, by container id.
#[derive(Debug, Default)]
pub(in crate::sensors) struct Bundles(Mutex<HashMap<String, Kept>>);

#[derive(Debug, Clone)]
struct Kept {
    told: Arc<Told>,
    looked: Instant,
}

impl Bundles {
    /// `<namespace>/<pod>/<container>` of a container; the pod's own sandbox is called `POD`. `pod_uid` is its pod's by cgroup.
    pub(in crate::sensors) fn name_of(&self, host: &Host, id: &str, pod_uid: &str) -> Option<String> {
        let PodNames { namespace, pod, container } = self.of(host, id).pod(pod_uid).ok()?;
        Some(format!("{namespace}/{pod}/{container}"))
    }

    /// What people call a container outside Kubernetes: its name, else the start of its id, which its own processes cannot choose.
    pub(in crate::sensors) fn called(&self, host: &Host, id: &str) -> String {
        let name = self.of(host, id).names.name.clone();
        name.unwrap_or_else(|| id.chars().take(SHORT_ID).collect())
    }

    /// What is told of `id`.
    pub(super) fn of(&self, host: &Host, id: &str) -> Arc<Told> {
        let kept = self.lock().get(id).cloned();
        if let Some(Kept { told, looked }) = kept {
            let fresh = match told.stamp {
                None => looked.elapsed() < RETRY,
                Some(stamp) => looked.elapsed() < SURE || host.root.stamp(&told.path).is_ok_and(|now| now == stamp),
            };
            if fresh {
                if told.stamp.is_some() && looked.elapsed() >= SURE {
                    self.keep(id, Arc::clone(&told));
                }
                return told;
            }
        }
        let told = Arc::new(Told::read(host, id));
        // A pass that ran out of time says nothing about the container.
        if told.spec.as_ref().err().is_none_or(|why| why.reason != Reason::TimedOut) {
            self.keep(id, Arc::clone(&told));
        }
        told
    }

    /// Forgets all but `ids`.
    pub(super) fn retain(&self, ids: &HashSet<&str>) {
        self.lock().retain(|id, _| ids.contains(id.as_str()));
    }

    fn keep(&self, id: &str, told: Arc<Told>) {
        let mut kept = self.lock();
        if kept.len() < MOST_KEPT || kept.contains_key(id) {
            kept.insert(id.to_owned(), Kept { told, looked: Instant::now() });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Its names, when they were written for the pod that its cgroup is in.
    pub(super) fn pod(&self, pod_uid: &str) -> Result<PodNames, Unavailable> {
        self.of_pod(pod_uid)?;
        if let Some(names) = &self.names.pod {
            // A label of Docker's is the word of whoever started the container.
            if !pod_uid.is_empty() || self.runtime != "docker" {
                return Ok(names.clone());
            }
        }
        match &self.logged {
            Some(logged) if logged.pod_uid == pod_uid => Ok(logged.names.clone()),
            Some(Logged { pod_uid: other, path, .. }) => {
                Err(Unavailable::new(Reason::Malformed, format!("{path}: of pod {other}; its cgroup is in pod {pod_uid}")))
            }
            None => Err(match &self.spec {
                Err(why) => why.clone(),
                Ok(_) => Unavailable::new(Reason::NotPresent, format!("{}: it names no pod", self.path)),
            }),
        }
    }

    /// Was it written for the pod that its cgroup is in.
    pub(super) fn of_pod(&self, pod_uid: &str) -> Result<(), Unavailable> {
        if pod_uid.is_empty() {
            return Ok(());
        }
        let contradicts = |claimed: &str| {
            let detail = format!("{}: written for {claimed}; the container's cgroup is in pod {pod_uid}", self.path);
            Err(Unavailable::new(Reason::Malformed, detail))
        };
        if !self.names.pod_uid.is_empty() {
            return if self.names.pod_uid == pod_uid { Ok(()) } else { contradicts(&format!("pod {:.64}", self.names.pod_uid)) };
        }
        // containerd before 1.6.19 does not write the uid, but where the cgroup is.
        let path = self.spec.as_ref().map(Spec::cgroups_path).unwrap_or_default();
        if path.contains("pod") && !path.contains(pod_uid) && !path.contains(&pod_uid.replace('-', "_")) {
            return contradicts(&format!("cgroup {path:.128}"));
        }
        Ok(())
    }

    /// Namespace and name of the pod with this uid, where the kubelet keeps logs of it.
    pub(super) fn pod_in_logs(host: &Host, pod_uid: &str) -> Option<(String, String, String)> {
        let pods = host.root.list(LOGS_BY_POD).ok()?;
        let (namespace, pod) = pods.iter().find_map(|entry| {
            let (namespace, pod, uid) = pod_directory(&entry.name)?;
            (uid == pod_uid && !uid.is_empty()).then_some((namespace, pod))
        })?;
        Some((namespace, pod, LOGS_BY_POD.to_owned()))
    }

    fn read(host: &Host, id: &str) -> Self {
        let mut told = bundle_of_containerd(host, id).or_else(|| bundle_of_storage(host, id)).unwrap_or_else(|| Self {
            runtime: "",
            path: String::new(),
            names: Names::default(),
            logged: None,
            spec: Err(Unavailable::new(Reason::NotPresent, format!("no runtime's files tell of container {id}"))),
            docker: None,
            stamp: None,
        });
        if matches!(told.runtime, "" | "docker") {
            told.add_docker(host, id);
        }
        if told.names.pod.is_none() {
            told.logged = logged(host, id);
        }
        told
    }

    fn add_docker(&mut self, host: &Host, id: &str) {
        let file = |name: &str| format!("{DOCKER}/{id}/{name}");
        let paths = docker::Paths { config: file("config.v2.json"), host_config: file("hostconfig.json") };
        match read::<docker::Config>(host, &paths.config) {
            Ok(config) => {
                self.names = names::docker(&config.labels(), &config.name, config.image());
                let host_config = read::<docker::HostConfig>(host, &paths.host_config);
                self.names.handler = self.names.handler.take().or_else(|| names::name(&host_config.as_ref().ok()?.runtime));
                if self.runtime.is_empty() {
                    self.path.clone_from(&paths.config);
                    self.stamp = host.root.stamp(&paths.config).ok();
                    self.spec = Err(Unavailable::new(Reason::NotPresent, format!("{}: no bundle was found beside it", paths.config)));
                }
                self.runtime = "docker";
                self.docker = Some(OfDocker { paths, config, host: host_config });
            }
            Err(why) if self.runtime.is_empty() && why.reason != Reason::NotPresent => {
                (self.runtime, self.path, self.spec) = ("docker", paths.config, Err(why));
            }
            Err(_) => {}
        }
    }
}

fn bundle_of_containerd(host: &Host, id: &str) -> Option<Told> {
    CONTAINERD.iter().find_map(|tasks| {
        let in_namespace = |namespace: &str| {
            let bundle = format!("{tasks}/{namespace}/{id}");
            let path = format!("{bundle}/config.json");
            // Before its content: what is written in between shows when the stamp is compared.
            let stamp = host.root.stamp(&path).ok();
            let spec = found(read::<Spec>(host, &path))?;
            let annotations = spec.as_ref().ok().and_then(|spec| spec.annotations.as_ref());
            let mut names = match annotations {
                Some(annotations) if namespace != MOBY => names::containerd(annotations),
                _ => Names::default(),
            };
            names.handler = program(host, &bundle).or(names.handler);
            let runtime = if namespace == MOBY { "docker" } else { "containerd" };
            Some(Told { runtime, path, names, logged: None, spec, docker: None, stamp })
        };
        in_namespace("k8s.io").or_else(|| {
            let namespaces = host.root.list(tasks).ok()?;
            namespaces.iter().filter(|namespace| namespace.name != "k8s.io").find_map(|namespace| in_namespace(&namespace.name))
        })
    })
}

/// The program that containerd's shim runs it with: `runtime` names one where it is not the usual one, `shim-binary-path` the shim.
fn program(host: &Host, bundle: &str) -> Option<String> {
    let text =
        |name: &str| read_believed(host, &format!("{bundle}/{name}")).ok().map(|file| String::from_utf8_lossy(&file.content).into_owned());
    let base = |path: String| names::name(path.trim().rsplit('/').next().unwrap_or_default());
    text("runtime").and_then(base).or_else(|| text("shim-binary-path").and_then(base).and_then(|shim| shim_runs(&shim)))
}

/// `runc` of `containerd-shim-runc-v2`, `kata` of `containerd-shim-kata-v2`.
pub(super) fn shim_runs(program: &str) -> Option<String> {
    let name = program.strip_prefix("containerd-shim-")?;
    let (class, version) = name.rsplit_once('-')?;
    (version.starts_with('v') && !class.is_empty()).then(|| names::name(class)).flatten()
}

fn bundle_of_storage(host: &Host, id: &str) -> Option<Told> {
    CONTAINERS_STORAGE.iter().find_map(|storage| {
        let path = format!("{storage}/{id}/userdata/config.json");
        let stamp = host.root.stamp(&path).ok();
        let spec = found(read::<Spec>(host, &path))?;
        let annotations = spec.as_ref().ok().and_then(|spec| spec.annotations.as_ref());
        let is_crio = |annotations: &BTreeMap<String, String>| {
            annotations.get("io.container.manager").is_some_and(|manager| manager == "cri-o")
                || annotations.contains_key("io.kubernetes.cri-o.ContainerType") && !annotations.contains_key("io.container.manager")
        };
        let (runtime, names) = match annotations {
            Some(annotations) if is_crio(annotations) => ("cri-o", names::crio(annotations)),
            Some(_) => ("podman", podman(host, id)),
            None if spec.is_ok() => ("podman", podman(host, id)),
            // Both keep them here.
            None => ("", Names::default()),
        };
        Some(Told { runtime, path, names, logged: None, spec, docker: None, stamp })
    })
}

#[derive(Deserialize)]
struct PodmanContainer {
    #[serde(default)]
    id: String,
    names: Option<Vec<String>>,
    #[serde(default)]
    metadata: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PodmanMetadata {
    #[serde(default)]
    image_name: String,
}

/// From the list in which containers/storage keeps all.
fn podman(host: &Host, id: &str) -> Names {
    let all: Vec<PodmanContainer> = read(host, PODMAN).unwrap_or_default();
    let Some(container) = all.into_iter().find(|container| container.id == id) else { return Names::default() };
    let image = serde_json::from_str(&container.metadata).map(|PodmanMetadata { image_name }| image_name).unwrap_or_default();
    let called = container.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
    names::docker(&BTreeMap::new(), &called, &image)
}

/// `/var/log/containers/<pod>_<namespace>_<container>-<id>.log` leads to `/var/log/pods/<namespace>_<pod>_<uid>/<container>/0.log`.
fn logged(host: &Host, id: &str) -> Option<Logged> {
    let ending = format!("-{id}.log");
    let entries = host.root.list(LOGS_BY_ID).ok()?;
    let entry = entries.iter().find(|entry| entry.name.ends_with(&ending))?;
    let path = format!("{LOGS_BY_ID}/{}", entry.name);
    let target = host.root.link_at(&path).ok()??;
    let mut parts = target.strip_prefix(LOGS_BY_POD)?.split('/').filter(|part| !part.is_empty());
    let (namespace, pod, pod_uid) = pod_directory(parts.next()?)?;
    let container = names::name(parts.next()?)?;
    parts.next()?;
    Some(Logged { names: PodNames { namespace, pod, container }, pod_uid, path })
}

fn pod_directory(name: &str) -> Option<(String, String, String)> {
    let mut parts = name.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(())?;
    Some((names::name(namespace)?, names::name(pod)?, uid.to_owned()))
}

/// `None` when nothing is there.
fn found<T>(read: Result<T, Unavailable>) -> Option<Result<T, Unavailable>> {
    if read.as_ref().err().is_some_and(|why| why.reason == Reason::NotPresent) { None } else { Some(read) }
}

fn read<T: DeserializeOwned>(host: &Host, path: &str) -> Result<T, Unavailable> {
    let file = read_believed(host, path)?;
    // What it says there is not repeated: it may be somebody's environment.
    let malformed = |error: serde_json::Error| {
        let place = format!("{path}: not what a runtime writes, at line {} column {}", error.line(), error.column());
        Unavailable::new(Reason::Malformed, place)
    };
    serde_json::from_slice(&file.content).map_err(malformed)
}

/// A file that is root's, and that nobody else may write.
fn read_believed(host: &Host, path: &str) -> Result<Settled, Unavailable> {
    let file = host.root.read_settled(path).map_err(|error| error.unavailable())?;
    let owner = match &host.recording {
        // In a recording the files are whose copy it is.
        _ if host.live() => Some((file.uid, file.gid, file.mode)),
        Some(recording) => recording.files.get(path).map(|file| (file.uid, file.gid, file.mode)),
        None => None,
    };
    match owner {
        Some((uid, gid, mode)) if !roots_alone(uid, gid, mode) => {
            let detail = format!("{path}: not believed, as others than root may write it (owner {uid}:{gid}, mode {mode:04o})");
            Err(Unavailable::new(Reason::Malformed, detail))
        }
        _ => Ok(file),
    }
}

fn roots_alone(uid: u32, gid: u32, mode: u32) -> bool {
    uid == 0 && mode & 0o002 == 0 && (mode & 0o020 == 0 || gid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 0, 0o600, true)]
    #[case(0, 0, 0o644, true)]
    #[case(0, 0, 0o664, true)]
    #[case(0, 5, 0o660, false)]
    #[case(0, 0, 0o666, false)]
    #[case(1000, 0, 0o600, false)]
    fn only_what_root_alone_writes_is_believed(#[case] uid: u32, #[case] gid: u32, #[case] mode: u32, #[case] believed: bool) {
        assert_eq!(roots_alone(uid, gid, mode), believed);
    }

    #[rstest]
    #[case("containerd-shim-runc-v2", Some("runc"))]
    #[case("containerd-shim-kata-qemu-v2", Some("kata-qemu"))]
    #[case("containerd-shim-runsc-v1", Some("runsc"))]
    #[case("containerd-shim", None)]
    #[case("sh", None)]
    fn shims_name_what_they_run(#[case] program: &str, #[case] expected: Option<&str>) {
        assert_eq!(shim_runs(program).as_deref(), expected);
    }
}
