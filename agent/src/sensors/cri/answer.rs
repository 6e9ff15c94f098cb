//! What is kept of a runtime's answer: running containers by id, with names, bounded in number and length.

use std::collections::HashMap;

use holdfast_checks::facts::{ContainerKind, Reason, Skipped};
use holdfast_proto::cri::{
    Container, Image, ImageSpec, ListContainersResponse, ListImagesResponse, ListPodSandboxResponse, PodSandbox, VersionResponse,
};

/// The most containers that are kept, sandboxes included.
const MOST: usize = 4096;
/// The longest text that is kept, in characters; image names are the longest.
const LONGEST: usize = 512;

/// The answers to all questions, as they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    pub(super) version: VersionResponse,
    pub(super) sandboxes: ListPodSandboxResponse,
    pub(super) containers: ListContainersResponse,
    pub(super) images: ListImagesResponse,
}

/// What the runtime says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sensors) struct Answer {
    /// `containerd`, `cri-o`, `docker`.
    pub(in crate::sensors) runtime: String,
    /// As it says.
    pub(in crate::sensors) version: String,
    /// What runs.
    pub(super) containers: Vec<Told>,
    /// What it said and we do not keep.
    pub(super) skipped: Vec<Skipped>,
}

/// One running container, as the runtime tells of it. A text is empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) kind: ContainerKind,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) pod_uid: String,
    /// Empty for a sandbox.
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_digest: String,
    pub(super) handler: String,
}

impl Answer {
    pub(super) fn of(messages: Messages) -> Self {
        let Messages { version, sandboxes, containers, images } = messages;
        let images = by_name(&images.images);
        let pods: HashMap<&str, &PodSandbox> = sandboxes.items.iter().map(|pod| (pod.id.as_str(), pod)).collect();
        let sandboxes = sandboxes.items.iter().map(sandbox);
        let containers = containers.containers.iter().map(|container| told(container, &pods, &images));
        let all = sandboxes.len() + containers.len();
        let mut skipped = Vec::new();
        let mut kept = Vec::with_capacity(all.min(MOST));
        for told in sandboxes.chain(containers).take(MOST) {
            match told {
                Ok(told) => kept.push(told),
                Err(skip) => skipped.push(skip),
            }
        }
        if all > MOST {
            skipped.push(Skipped { what: format!("{} more containers that the runtime tells of", all - MOST), reason: Reason::TooLarge });
        }
        Self { runtime: cut(&version.runtime_name), version: cut(&version.runtime_version), containers: kept, skipped }
    }
}

fn sandbox(pod: &PodSandbox) -> Result<Told, Skipped> {
    let id = id(&pod.id)?;
    let names = pod.metadata.clone().unwrap_or_default();
    Ok(Told {
        id,
        kind: ContainerKind::Sandbox,
        namespace: cut(&names.namespace),
        pod: cut(&names.name),
        pod_uid: cut(&names.uid),
        name: String::new(),
        image: String::new(),
        image_digest: String::new(),
        handler: cut(&pod.runtime_handler),
    })
}

fn told(container: &Container, pods: &HashMap<&str, &PodSandbox>, images: &HashMap<&str, &Image>) -> Result<Told, Skipped> {
    let id = id(&container.id)?;
    let Some(pod) = pods.get(container.pod_sandbox_id.as_str()) else {
        // Its pod ended between the two questions, or the runtime contradicts itself.
        return Err(Skipped { what: format!("container {id}, whose pod the runtime does not tell"), reason: Reason::NotPresent });
    };
    let names = pod.metadata.clone().unwrap_or_default();
    let asked = container.image.clone().unwrap_or_default();
    let known = [&container.image_ref, &container.image_id, &asked.image].into_iter().find_map(|name| images.get(name.as_str()));
    let image = image_name(&asked, known.copied());
    Ok(Told {
        id,
        kind: ContainerKind::Container,
        namespace: cut(&names.namespace),
        pod: cut(&names.name),
        pod_uid: cut(&names.uid),
        name: cut(&container.metadata.clone().unwrap_or_default().name),
        image_digest: digest(&image, &container.image_ref, known.copied()),
        image: cut(&image),
        handler: cut(&pod.runtime_handler),
    })
}

/// Images by everything they are called.
fn by_name(images: &[Image]) -> HashMap<&str, &Image> {
    let mut by_name = HashMap::new();
    for image in images {
        for name in std::iter::once(&image.id).chain(&image.repo_tags).chain(&image.repo_digests) {
            by_name.insert(name.as_str(), image);
        }
    }
    by_name
}

/// As the pod names it, where that is told; else a name that the image has here.
fn image_name(asked: &ImageSpec, known: Option<&Image>) -> String {
    let names_nothing = |name: &str| name.is_empty() || name.starts_with("sha256:");
    if !names_nothing(&asked.user_specified_image) {
        return asked.user_specified_image.clone();
    }
    if !names_nothing(&asked.image) {
        return asked.image.clone();
    }
    known.and_then(|image| image.repo_tags.first().or(image.repo_digests.first())).cloned().unwrap_or_default()
}

/// The digest of the image's manifest, of the repository that its name is of, since an image can be in several.
fn digest(name: &str, reference: &str, known: Option<&Image>) -> String {
    let own = known.map_or(&[][..], |image| &image.repo_digests);
    let of_repository = own.iter().find(|digest| digest.split_once('@').is_some_and(|(repository, _)| repository == repository_of(name)));
    let whole = of_repository.or(own.first()).map_or(reference, String::as_str);
    whole.split_once('@').map(|(_, digest)| cut(digest)).unwrap_or_default()
}

/// `registry.example:5000/app` of `registry.example:5000/app:v1@sha256:…`.
fn repository_of(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// An id as runtimes make them: what is anything else names nothing here.
fn id(text: &str) -> Result<String, Skipped> {
    let sound = !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if sound { Ok(text.to_owned()) } else { Err(Skipped { what: "a container whose id is none".to_owned(), reason: Reason::Malformed }) }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
