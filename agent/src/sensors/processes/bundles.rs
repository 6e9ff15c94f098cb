//! The names of containers, from the annotations in their OCI bundles. Nothing else of a bundle is kept: it has environments.

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

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `<namespace>/<pod>/<container>` of a container; the pod's own sandbox is called `POD`.
pub(super) fn name_of(host: &Host, container_id: &str) -> Option<String> {
    bundle_of(host, container_id).and_then(|bundle| name(&bundle.annotations))
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
