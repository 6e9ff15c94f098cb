//! The names of containers: from the annotations in their OCI bundles, outside Kubernetes from what Docker and Podman write
//! beside them. Nothing else of these files is kept: they have environments.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::host::Host;

/// Where runtimes keep bundles by container id: the directory, and what follows the id.
const CONTAINERD: [&str; 3] = [
    "/run/containerd/io.containerd.runtime.v2.task",
    "/run/k3s/containerd/io.containerd.runtime.v2.task",
    "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
];
const CRIO: &str = "/run/containers/storage/overlay-containers";

const DOCKER: &str = "/var/lib/docker/containers";
const PODMAN: &str = "/var/lib/containers/storage/overlay-containers/containers.json";
/// What people see of a container's id.
const SHORT_ID: usize = 12;

#[derive(Deserialize)]
struct DockerContainer {
    #[serde(rename = "Name", default)]
    name: String,
}

#[derive(Deserialize)]
struct PodmanContainer {
    #[serde(default)]
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `<namespace>/<pod>/<container>` of a container; the pod's own sandbox is called `POD`.
pub(super) fn name_of(host: &Host, container_id: &str) -> Option<String> {
    bundle_of(host, container_id).and_then(|bundle| name(&bundle.annotations))
}

/// What people call a container outside Kubernetes: its name, else the start of its id, which its own processes cannot choose.
pub(super) fn called(host: &Host, id: &str) -> String {
    let docker = || {
        let file = host.root.read(&format!("{DOCKER}/{id}/config.v2.json")).ok()?;
        let container: DockerContainer = serde_json::from_slice(&file).ok()?;
        Some(container.name.trim_start_matches('/').to_owned())
    };
    let podman = || {
        let all: Vec<PodmanContainer> = serde_json::from_slice(&host.root.read(PODMAN).ok()?).ok()?;
        all.into_iter().find(|container| container.id == id)?.names.into_iter().next()
    };
    let name = docker().or_else(podman).filter(|name| !name.is_empty());
    name.map_or_else(|| id.chars().take(SHORT_ID).collect(), |name| name.chars().take(128).collect())
}

fn bundle_of(host: &Host, id: &str) -> Option<Bundle> {
    let read = |path: &str| serde_json::from_slice(&host.root.read(path).ok()?).ok();
    let containerd = || {
        CONTAINERD.iter().find_map(|tasks| {
            let namespaces = host.root.list(tasks).ok()?;
            namespaces.iter().find_map(|namespace| read(&format!("{tasks}/{}/{id}/config.json", namespace.name)))
        })
    };
    containerd().or_else(|| read(&format!("{CRIO}/{id}/userdata/config.json")))
}

fn name(annotations: &BTreeMap<String, String>) -> Option<String> {
    let either = |keys: [&str; 2]| keys.iter().find_map(|key| annotations.get(*key)).map(String::as_str);
    let namespace = either(["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"])?;
    let pod = either(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"])?;
    let container = either(["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]).unwrap_or("POD");
    Some(format!("{namespace}/{pod}/{container}"))
}
