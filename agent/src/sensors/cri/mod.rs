//! What the container runtime itself says of its containers, over its socket. Off unless `--cri` allows it: who may speak to that
//! socket is as good as root.
//!
//! [`ask`] is one visit: four questions that change nothing, once each, within [`DEADLINE`] and [`MESSAGE_CAP`]. [`answer`] makes of
//! the messages what we keep, [`merge`] lays it over what files gave. Without an answer everything else is as without `--cri`.
//! Must not know bundles, processes or checks.

mod answer;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::str::FromStr;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Kubelet, NodeFacts, Reason, Unavailable};
use holdfast_proto::cri::image_service_client::ImageServiceClient;
use holdfast_proto::cri::runtime_service_client::RuntimeServiceClient;
use holdfast_proto::cri::{
    ContainerFilter, ContainerState, ContainerStateValue, ListContainersRequest, ListImagesRequest, ListPodSandboxRequest,
    PodSandboxFilter, PodSandboxState, PodSandboxStateValue, VersionRequest,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::components::OWN;
use super::config::flag;
use crate::host::{Host, NodeKind};
pub(super) use answer::Answer;
use answer::Messages;
pub(super) use merge::lay_over;

/// Within this everything was asked and answered.
const DEADLINE: Duration = Duration::from_secs(2);
/// The largest answer that is taken, in bytes: ten thousand containers with their names.
const MESSAGE_CAP: usize = 4 * 1024 * 1024;
const HEADER_CAP: u32 = 16 * 1024;
/// One that did not answer is let alone for this long: containers come and go by the second, and each would cost a deadline.
const LET_ALONE: Duration = Duration::from_mins(1);
/// An answer is not asked for again sooner, unless containers came or went.
const STILL_TRUE: Duration = Duration::from_secs(10);

/// Where most runtimes listen.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// Where runtimes listen that were not told otherwise.
const WELL_KNOWN: [&str; 5] = [
    CONTAINERD,
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];

/// What `--cri` allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CriEndpoint {
    /// Nothing.
    Off,
    /// The socket that the node's kubelet uses, else the first there is of the usual ones.
    Auto,
    /// This socket, as a path on the host.
    At(String),
}

impl FromStr for CriEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "0" | "false" | "no" | "off" => Ok(Self::Off),
            "1" | "true" | "yes" | "on" | "auto" => Ok(Self::Auto),
            _ => {
                match text.strip_prefix("unix://").unwrap_or(text) {
                    path if path.starts_with('/') => Ok(Self::At(path.to_owned())),
                    _ => Err("name the runtime's socket by its path, as in --cri=/run/containerd/containerd.sock, or write --cri alone"
                        .to_owned()),
                }
            }
        }
    }
}

impl std::fmt::Display for CriEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "",
            Self::Auto => "--cri",
            Self::At(path) => return write!(f, "--cri={path}"),
        })
    }
}

impl CriEndpoint {
    /// Groups that an agent must keep, when it stops being root, to speak to the sockets it may. Never root's own: that would give it
    /// more than the socket.
    pub fn groups(&self, host: &Host) -> Vec<u32> {
        let paths: &[&str] = match self {
            Self::Off => &[],
            Self::Auto => &WELL_KNOWN,
            Self::At(path) => &[path.as_str()],
        };
        let sockets = paths.iter().filter_map(|path| host.root.metadata(path).ok());
        let usable = sockets.filter(|socket| socket.kind == NodeKind::Special && socket.mode & 0o020 != 0 && socket.gid != 0);
        let mut groups: Vec<u32> = usable.map(|socket| socket.gid).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The path of the socket to ask; `None` where nothing may be asked.
    fn path(&self, facts: &NodeFacts, host: &Host) -> Option<String> {
        match self {
            Self::Off => None,
            Self::At(path) => Some(path.clone()),
            Self::Auto => {
                let kubelets = facts.kubelets.value();
                let own = kubelets.and_then(|listing| listing.items.iter().find(|kubelet| kubelet.subject == OWN));
                let there = || WELL_KNOWN.into_iter().find(|path| host.root.stamp(path).is_ok()).unwrap_or(CONTAINERD).to_owned();
                Some(own.and_then(kubelets_own).unwrap_or_else(there))
            }
        }
    }
}

/// The socket that a kubelet was told to use: by flag, else by the last of its documents that says so.
fn kubelets_own(kubelet: &Kubelet) -> Option<String> {
    let declared = || {
        let documents = &kubelet.documents.value()?.items;
        documents.iter().rev().find_map(|document| document.content.value()?.get("containerRuntimeEndpoint")?.as_str())
    };
    let endpoint = flag(&kubelet.argv, "container-runtime-endpoint").or_else(declared)?;
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    path.starts_with('/').then(|| path.to_owned())
}

/// One visit that is to be made.
#[derive(Debug)]
pub(super) struct Visit {
    /// The socket, as a path on the host.
    pub(super) path: String,
    deadline: Duration,
}

/// What is kept from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Memory {
    failed: Option<(Instant, String, Unavailable)>,
    heard: Option<Heard>,
}

/// An answer, when and from whom it came, and which containers files told of then.
#[derive(Debug)]
struct Heard {
    at: Instant,
    path: String,
    ids: BTreeSet<String>,
    answer: Answer,
}

/// The ids of the containers that are known without asking.
pub(super) fn known_ids(facts: &NodeFacts) -> BTreeSet<String> {
    facts.containers.value().into_iter().flat_map(|listing| &listing.items).map(|container| container.id.clone()).collect()
}

impl Memory {
    /// Whom to ask now; else why nobody.
    pub(super) fn plan(&self, endpoint: &CriEndpoint, facts: &NodeFacts, host: &Host) -> Result<Visit, Unavailable> {
        let refused = |detail: &str| Err(Unavailable::new(Reason::NotSupported, detail));
        let Some(path) = endpoint.path(facts, host) else { return refused("the agent is not to ask the runtime: --cri allows that") };
        if !host.live() {
            return refused("a recording has no runtime to ask");
        }
        match &self.failed {
            Some((when, whom, why)) if *whom == path && when.elapsed() < LET_ALONE => Err(why.clone()),
            _ => Ok(Visit { path, deadline: DEADLINE }),
        }
    }

    /// What it said a moment ago of the same containers: processes come and go more often than those.
    pub(super) fn still_true(&self, visit: &Visit, ids: &BTreeSet<String>) -> Option<Answer> {
        let heard = self.heard.as_ref().filter(|heard| heard.path == visit.path && heard.ids == *ids)?;
        (heard.at.elapsed() < STILL_TRUE).then(|| heard.answer.clone())
    }

    /// Remembers how a visit went that was made when these containers were known.
    pub(super) fn note(&mut self, path: String, ids: BTreeSet<String>, outcome: &Result<Answer, Unavailable>) {
        let heard = |answer: &Answer| Heard { at: Instant::now(), path: path.clone(), ids, answer: answer.clone() };
        self.heard = outcome.as_ref().ok().map(heard);
        self.failed = outcome.as_ref().err().map(|why| {
            tracing::warn!(socket = path, reason = why.reason.name(), "the runtime was not heard: {}", why.detail);
            (Instant::now(), path, why.clone())
        });
    }

    /// A full pass asks anew, also whoever was let alone.
    pub(super) fn forget(&mut self) {
        self.failed = None;
        self.heard = None;
    }
}

/// Asks the runtime that listens there. Blocks, not longer than the visit may take.
pub(super) fn ask(host: &Host, visit: &Visit) -> Result<Answer, Unavailable> {
    let socket = host.root.open_socket(&visit.path).map_err(|error| error.unavailable())?;
    let failed = |error: std::io::Error| Unavailable::new(Reason::NotSupported, format!("{}: cannot be asked: {error}", visit.path));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let answered = runtime.block_on(async { tokio::time::timeout(visit.deadline, questions(socket, &visit.path)).await });
    match answered {
        Ok(messages) => messages.map(Answer::of),
        Err(_) => Err(late(&visit.path)),
    }
}

async fn questions(socket: OwnedFd, path: &str) -> Result<Messages, Unavailable> {
    let channel = connect(socket, path).await?;
    let refused = |status: Status| why(path, &status);
    let mut runtime = RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_CAP);
    let mut images = ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_CAP);
    let ready = PodSandboxFilter { state: Some(PodSandboxStateValue { state: PodSandboxState::SandboxReady.into() }) };
    let running = ContainerFilter { state: Some(ContainerStateValue { state: ContainerState::ContainerRunning.into() }) };
    Ok(Messages {
        version: runtime.version(VersionRequest { version: "v1".to_owned() }).await.map_err(refused)?.into_inner(),
        sandboxes: runtime.list_pod_sandbox(ListPodSandboxRequest { filter: Some(ready) }).await.map_err(refused)?.into_inner(),
        containers: runtime.list_containers(ListContainersRequest { filter: Some(running) }).await.map_err(refused)?.into_inner(),
        images: images.list_images(ListImagesRequest {}).await.map_err(refused)?.into_inner(),
    })
}

async fn connect(socket: OwnedFd, path: &str) -> Result<Channel, Unavailable> {
    // The very socket that was looked at, whatever has taken its name meanwhile.
    let connected = UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await;
    let stream = connected.map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Unavailable::new(
            Reason::PermissionDenied,
            format!("{path}: permission denied: give the socket a group of its own (containerd: `gid` below [grpc]) and restart the agent, which keeps that group"),
        ),
        std::io::ErrorKind::ConnectionRefused => Unavailable::new(Reason::NotPresent, format!("{path}: nobody listens there")),
        // Its queue of those who wait is full.
        std::io::ErrorKind::WouldBlock => late(path),
        _ => Unavailable::new(Reason::Malformed, format!("{path}: cannot connect: {error}")),
    })?;
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_: Uri| {
        // A visit is one connection: what it loses stays lost.
        let stream = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    let endpoint = Endpoint::from_static("http://localhost").http2_max_header_list_size(HEADER_CAP);
    endpoint.connect_with_connector(once).await.map_err(|_| malformed(path, "it does not speak HTTP/2"))
}

/// What an error of a call says of the runtime. Its own words are not ours to repeat.
fn why(path: &str, status: &Status) -> Unavailable {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            Unavailable::new(Reason::PermissionDenied, format!("{path}: the runtime refuses to answer"))
        }
        Code::OutOfRange | Code::ResourceExhausted => {
            Unavailable::new(Reason::TooLarge, format!("{path}: an answer is larger than {MESSAGE_CAP} bytes"))
        }
        Code::Unimplemented => Unavailable::new(
            Reason::NotSupported,
            format!(
                "{path}: the runtime does not speak runtime.v1 of the container runtime interface (containerd does from 1.6, CRI-O from 1.23)"
            ),
        ),
        Code::DeadlineExceeded => late(path),
        code => malformed(path, &format!("no answer of a container runtime ({code:?})")),
    }
}

/// What is kept of answers that are all made of the same bytes.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &[u8]) {
    use prost::Message;
    let messages = Messages {
        version: Message::decode(content).unwrap_or_default(),
        sandboxes: Message::decode(content).unwrap_or_default(),
        containers: Message::decode(content).unwrap_or_default(),
        images: Message::decode(content).unwrap_or_default(),
    };
    drop(Answer::of(messages));
}

fn late(path: &str) -> Unavailable {
    Unavailable::new(Reason::TimedOut, format!("{path}: no answer within {} s", DEADLINE.as_secs()))
}

fn malformed(path: &str, what: &str) -> Unavailable {
    Unavailable::new(Reason::Malformed, format!("{path}: {what}: name the runtime's socket with --cri=PATH"))
}
