//! Who a container is, by what its runtime wrote: annotations of containerd and CRI-O, labels of Docker.
//!
//! Keys are upstream's: containerd `internal/cri/annotations`, CRI-O `internal/annotations`, the kubelet's labels
//! (`k8s.io/kubelet/pkg/types`), cri-dockerd's `io.kubernetes.docker.type` and `io.kubernetes.sandbox.id`. A runtime's own keys are
//! looked for in its own files only: what a pod may annotate itself with must not name it. Must not know where files lie.

use std::collections::BTreeMap;

use holdfast_checks::facts::ContainerKind;

/// The longest name of anything in Kubernetes.
const LONGEST_NAME: usize = 253;
/// The longest reference of an image that is kept.
const LONGEST_IMAGE: usize = 512;

/// Namespace, pod and container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sensors) struct PodNames {
    pub(in crate::sensors) namespace: String,
    pub(in crate::sensors) pod: String,
    /// `POD` for the sandbox.
    pub(in crate::sensors) container: String,
}

/// What was written of a container's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) kind: Option<ContainerKind>,
    pub(super) pod: Option<PodNames>,
    /// The uid of the pod they were written for; empty where they do not say.
    pub(super) pod_uid: String,
    /// Outside pods.
    pub(super) name: Option<String>,
    /// The sandbox's id; empty where there is none.
    pub(super) sandbox: String,
    pub(super) image: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) handler: Option<String>,
}

type Texts = BTreeMap<String, String>;

/// containerd's CRI plugin.
pub(super) fn containerd(annotations: &Texts) -> Names {
    let get = |key: &str| annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let kind = kind(get("io.kubernetes.cri.container-type"), "sandbox");
    let image = match kind {
        Some(ContainerKind::Sandbox) => get("io.kubernetes.cri.podsandbox.image-name"),
        _ => get("io.kubernetes.cri.image-name"),
    };
    let container = match (kind, get("io.kubernetes.cri.container-name")) {
        (Some(ContainerKind::Sandbox), _) => Some(SANDBOX_NAME),
        (_, name) => name,
    };
    let (image, digest) = reference(image);
    Names {
        kind,
        pod: pod(get("io.kubernetes.cri.sandbox-namespace"), get("io.kubernetes.cri.sandbox-name"), container),
        pod_uid: get("io.kubernetes.cri.sandbox-uid").unwrap_or_default().to_owned(),
        name: get("nerdctl/name").and_then(name),
        sandbox: get("io.kubernetes.cri.sandbox-id").unwrap_or_default().to_owned(),
        image,
        digest,
        handler: get("io.containerd.cri.runtime-handler").and_then(name),
    }
}

/// CRI-O, which adds the kubelet's labels last of all.
pub(super) fn crio(annotations: &Texts) -> Names {
    let get = |key: &str| annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let kind = kind(get("io.kubernetes.cri-o.ContainerType"), "sandbox");
    let container = match kind {
        Some(ContainerKind::Sandbox) => Some(SANDBOX_NAME),
        _ => get("io.kubernetes.container.name"),
    };
    // Where it was asked for by id, the image has some name all the same.
    let named = |image: &&str| !is_id(image);
    let asked = get("io.kubernetes.cri-o.Image").filter(named).or_else(|| get("io.kubernetes.cri-o.ImageName"));
    let (image, digest) = reference(asked.filter(named));
    let digest = digest.or_else(|| {
        // `registry/image@sha256:…`, several where it was pulled by several names: they agree, or nothing is told.
        let digests: Vec<Option<String>> =
            get("io.kubernetes.cri-o.ImageRepoDigests")?.split(',').take(16).map(|image| reference(Some(image)).1).collect();
        let first = digests.first()?.clone()?;
        digests.iter().all(|digest| digest.as_ref() == Some(&first)).then_some(first)
    });
    Names {
        kind,
        pod: pod(get("io.kubernetes.pod.namespace"), get("io.kubernetes.pod.name"), container),
        pod_uid: get("io.kubernetes.pod.uid").unwrap_or_default().to_owned(),
        name: None,
        sandbox: get("io.kubernetes.cri-o.SandboxID").unwrap_or_default().to_owned(),
        image,
        digest,
        handler: get("io.kubernetes.cri-o.RuntimeHandler").and_then(name),
    }
}

/// Docker, through cri-dockerd or by hand. Whoever starts a container chooses its labels: they count in a pod only, and only with
/// the uid of that pod.
pub(super) fn docker(labels: &Texts, called: &str, image: &str) -> Names {
    let get = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let kind = kind(get("io.kubernetes.docker.type"), "podsandbox");
    let container = match kind {
        Some(ContainerKind::Sandbox) => Some(SANDBOX_NAME),
        _ => get("io.kubernetes.container.name"),
    };
    let pod_uid = get("io.kubernetes.pod.uid").unwrap_or_default().to_owned();
    let names = pod(get("io.kubernetes.pod.namespace"), get("io.kubernetes.pod.name"), container);
    let (image, digest) = reference(Some(image).filter(|image| !image.is_empty()));
    Names {
        kind,
        pod: names.filter(|_| !pod_uid.is_empty()),
        pod_uid,
        name: name(called.trim_start_matches('/')),
        sandbox: get("io.kubernetes.sandbox.id").unwrap_or_default().to_owned(),
        image,
        digest,
        handler: None,
    }
}

/// What a pod's sandbox is called.
pub(super) const SANDBOX_NAME: &str = "POD";

fn kind(text: Option<&str>, sandbox: &str) -> Option<ContainerKind> {
    match text? {
        text if text == sandbox => Some(ContainerKind::Sandbox),
        "container" => Some(ContainerKind::Container),
        _ => None,
    }
}

fn pod(namespace: Option<&str>, pod: Option<&str>, container: Option<&str>) -> Option<PodNames> {
    let of_kubernetes = |text: Option<&str>| text.and_then(name);
    Some(PodNames { namespace: of_kubernetes(namespace)?, pod: of_kubernetes(pod)?, container: of_kubernetes(container)? })
}

/// A name that can stand in a subject: nothing in it that could pass for the end of it.
pub(super) fn name(text: &str) -> Option<String> {
    let fine = |letter: char| !letter.is_control() && !letter.is_whitespace() && letter != '/';
    (!text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(fine)).then(|| text.to_owned())
}

/// A reference of an image, and the digest in it. An id tells of no registry, and is no reference.
fn reference(text: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(text) = text.filter(|text| text.len() <= LONGEST_IMAGE && !is_id(text)) else { return (None, None) };
    let digest = text.split_once('@').map(|(_, digest)| digest.to_owned()).filter(|digest| is_digest(digest));
    (Some(text.to_owned()), digest)
}

fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(_, hex)| hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
