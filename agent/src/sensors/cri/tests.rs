//! Sockets that answer as they should not, and what is made of an answer.

#![allow(clippy::disallowed_methods, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Container, ContainerKind, Listing, Observed, Reason, Source, SourceKind};
use holdfast_proto::cri;
use holdfast_proto::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use tonic::{Request, Response, Status};

use super::*;

/// Short, because the test waits for it; long enough for 64 MiB on a busy machine.
const WAIT: Duration = Duration::from_millis(700);
/// And for one that answers, however busy this machine is.
const PATIENCE: Duration = Duration::from_mins(1);
const SOCKET: &str = "/run/runtime.sock";

/// A host with nothing but a place for a socket.
fn host() -> (tempfile::TempDir, Host) {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("run")).unwrap();
    let host = Host::open(directory.path(), Path::new("/proc")).unwrap();
    (directory, host)
}

fn ask_within(host: &Host, deadline: Duration) -> (Result<Answer, Unavailable>, Duration) {
    let started = Instant::now();
    let answer = ask(host, &Visit { path: SOCKET.to_owned(), deadline });
    (answer, started.elapsed())
}

fn reason(answer: Result<Answer, Unavailable>) -> Reason {
    answer.unwrap_err().reason
}

/// Does `serve` with the first connection, on a thread of its own.
fn stand_in(directory: &Path, serve: impl FnOnce(std::os::unix::net::UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(directory.join("run/runtime.sock")).unwrap();
    std::thread::spawn(move || serve(listener.accept().unwrap().0));
}

/// A runtime that lists so many containers, each with this much text, and refuses when there are none.
struct Runtime {
    containers: usize,
    text: usize,
}

#[tonic::async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<cri::VersionResponse>, Status> {
        if self.containers == 0 {
            return Err(Status::permission_denied("not you"));
        }
        Ok(Response::new(cri::VersionResponse { runtime_name: "stand-in".to_owned(), runtime_version: "1".to_owned() }))
    }
    async fn list_pod_sandbox(&self, _: Request<ListPodSandboxRequest>) -> Result<Response<cri::ListPodSandboxResponse>, Status> {
        Ok(Response::new(cri::ListPodSandboxResponse::default()))
    }
    async fn list_containers(&self, _: Request<ListContainersRequest>) -> Result<Response<cri::ListContainersResponse>, Status> {
        let container = cri::Container { image_ref: "x".repeat(self.text), ..cri::Container::default() };
        Ok(Response::new(cri::ListContainersResponse { containers: vec![container; self.containers] }))
    }
}

/// Serves it until the test ends.
fn serve(directory: &Path, runtime: Runtime) -> tokio::runtime::Runtime {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = UnixListener::bind(directory.join("run/runtime.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    threads.spawn(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let (accepted, incoming) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move { while accepted.send(listener.accept().await.map(|(stream, _)| stream)).await.is_ok() {} });
        let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
        tonic::transport::Server::builder().add_service(RuntimeServiceServer::new(runtime)).serve_with_incoming(incoming).await
    });
    threads
}

#[test]
fn a_socket_that_is_not_there_and_one_nobody_listens_on() {
    let (directory, host) = host();
    assert_eq!(reason(ask_within(&host, PATIENCE).0), Reason::NotPresent);
    // A socket of its own that never listened: what another test is just starting may have one open that did.
    tokio::net::UnixSocket::new_stream().unwrap().bind(directory.path().join("run/runtime.sock")).unwrap();
    assert_eq!(reason(ask_within(&host, PATIENCE).0), Reason::NotPresent);
    std::fs::remove_file(directory.path().join("run/runtime.sock")).unwrap();
    std::fs::write(directory.path().join("run/runtime.sock"), "a file").unwrap();
    assert_eq!(reason(ask_within(&host, PATIENCE).0), Reason::Malformed);
}

#[test]
fn a_link_out_of_the_host_is_followed_below_its_root_only() {
    let (directory, host) = host();
    let outside = tempfile::TempDir::new().unwrap();
    let _listener = UnixListener::bind(outside.path().join("own.sock")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("own.sock"), directory.path().join("run/runtime.sock")).unwrap();
    assert_eq!(reason(ask_within(&host, PATIENCE).0), Reason::NotPresent);
}

#[test]
fn one_that_never_answers_costs_the_deadline() {
    let (directory, host) = host();
    stand_in(directory.path(), |mut stream| {
        let mut all = Vec::new();
        // Takes everything, says nothing, and keeps the line open.
        drop(stream.read_to_end(&mut all));
    });
    let (answer, took) = ask_within(&host, WAIT);
    assert_eq!(reason(answer), Reason::TimedOut);
    assert!(took >= WAIT && took < WAIT * 30, "{took:?}");
}

#[test]
fn one_that_accepts_nobody_costs_the_deadline() {
    let (directory, host) = host();
    let listener = UnixListener::bind(directory.path().join("run/runtime.sock")).unwrap();
    let (answer, took) = ask_within(&host, WAIT);
    assert_eq!(reason(answer), Reason::TimedOut);
    assert!(took < WAIT * 30, "{took:?}");
    drop(listener);
}

#[test]
fn one_that_closes_at_once_and_one_that_speaks_something_else() {
    let (directory, closes) = host();
    stand_in(directory.path(), drop);
    assert_eq!(reason(ask_within(&closes, PATIENCE).0), Reason::Malformed);

    let (directory, other) = host();
    stand_in(directory.path(), |mut stream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
        drop(stream.read(&mut [0; 1024]));
    });
    assert_eq!(reason(ask_within(&other, PATIENCE).0), Reason::Malformed);
}

#[test]
fn an_answer_of_64_mib_is_not_taken() {
    let (directory, host) = host();
    let _server = serve(directory.path(), Runtime { containers: 64, text: 1024 * 1024 });
    let (answer, took) = ask_within(&host, PATIENCE);
    assert_eq!(reason(answer), Reason::TooLarge);
    assert!(took < PATIENCE, "{took:?}");
}

#[test]
fn a_runtime_that_refuses_and_one_that_knows_half_of_the_interface() {
    let (directory, refuses) = host();
    let _server = serve(directory.path(), Runtime { containers: 0, text: 0 });
    assert_eq!(reason(ask_within(&refuses, PATIENCE).0), Reason::PermissionDenied);

    // It has no images to tell of.
    let (directory, half) = host();
    let _server = serve(directory.path(), Runtime { containers: 1, text: 1 });
    assert_eq!(reason(ask_within(&half, PATIENCE).0), Reason::NotSupported);
}

#[test]
fn a_socket_of_somebody_else_says_what_to_do() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let (directory, host) = host();
    let path = directory.path().join("run/runtime.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(1), Some(1)).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // As after stepping down: without the capability to write where one may not. A thread has its own.
    let refused = std::thread::spawn(move || {
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_DAC_OVERRIDE).unwrap();
        ask_within(&host, WAIT).0.unwrap_err()
    });
    let refused = refused.join().unwrap();
    assert_eq!(refused.reason, Reason::PermissionDenied);
    assert!(refused.detail.contains("gid"), "{}", refused.detail);
}

#[test]
fn one_that_did_not_answer_is_let_alone_for_a_while() {
    let (_directory, host) = host();
    let facts = NodeFacts::unread(holdfast_checks::facts::Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not read"));
    let (endpoint, mut memory) = (CriEndpoint::At(SOCKET.to_owned()), Memory::default());
    assert_eq!(memory.plan(&endpoint, &facts, &host).unwrap().path, SOCKET);
    memory.note(SOCKET.to_owned(), BTreeSet::new(), &Err(late(SOCKET)));
    assert_eq!(memory.plan(&endpoint, &facts, &host).unwrap_err().reason, Reason::TimedOut);
    memory.forget();
    assert!(memory.plan(&endpoint, &facts, &host).is_ok());
    assert_eq!(memory.plan(&CriEndpoint::Off, &facts, &host).unwrap_err().reason, Reason::NotSupported);
}

#[test]
fn a_runtime_is_not_asked_again_at_once_about_the_same_containers() {
    let visit = |path: &str| Visit { path: path.to_owned(), deadline: WAIT };
    let (ids, others) = (BTreeSet::from(["a".to_owned()]), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    let answer = Answer::of(Messages::default());
    let mut memory = Memory::default();
    assert_eq!(memory.still_true(&visit(SOCKET), &ids), None);
    memory.note(SOCKET.to_owned(), ids.clone(), &Ok(answer.clone()));
    assert_eq!(memory.still_true(&visit(SOCKET), &ids), Some(answer.clone()));
    assert_eq!(memory.still_true(&visit(SOCKET), &others), None);
    assert_eq!(memory.still_true(&visit("/run/other.sock"), &ids), None);
    memory.note(SOCKET.to_owned(), ids.clone(), &Err(late(SOCKET)));
    assert_eq!(memory.still_true(&visit(SOCKET), &ids), None, "a failure is not covered by what was said before");
    memory.note(SOCKET.to_owned(), ids.clone(), &Ok(answer));
    memory.forget();
    assert_eq!(memory.still_true(&visit(SOCKET), &ids), None);
}

#[test]
fn the_option_is_a_path_or_a_word() {
    let parsed = |text: &str| text.parse::<CriEndpoint>();
    assert_eq!(parsed(""), Ok(CriEndpoint::Off));
    assert_eq!(parsed("off"), Ok(CriEndpoint::Off));
    assert_eq!(parsed("auto"), Ok(CriEndpoint::Auto));
    assert_eq!(parsed("1"), Ok(CriEndpoint::Auto));
    assert_eq!(parsed("/run/crio/crio.sock"), Ok(CriEndpoint::At("/run/crio/crio.sock".to_owned())));
    assert_eq!(parsed("unix:///run/crio/crio.sock"), Ok(CriEndpoint::At("/run/crio/crio.sock".to_owned())));
    assert!(parsed("tcp://10.0.0.1:2375").is_err());
    assert!(parsed("crio.sock").is_err());
}

#[test]
fn only_a_group_that_is_not_roots_is_kept() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let (directory, host) = host();
    let path = directory.path().join("run/runtime.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let endpoint = CriEndpoint::At(SOCKET.to_owned());
    let with = |gid: u32, mode: u32| {
        std::os::unix::fs::chown(&path, Some(0), Some(gid)).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        endpoint.groups(&host)
    };
    assert_eq!(with(995, 0o660), [995]);
    assert_eq!(with(995, 0o640), [0; 0]);
    assert_eq!(with(0, 0o660), [0; 0]);
    assert_eq!(CriEndpoint::Off.groups(&host), [0; 0]);
}

#[test]
fn a_kubelet_says_by_flag_before_file_which_socket_it_uses() {
    let mut kubelet = Kubelet::unread(OWN, 1, "kubelet");
    assert_eq!(kubelets_own(&kubelet), None);
    kubelet.argv = vec!["kubelet".to_owned(), "--container-runtime-endpoint=unix:///run/other.sock".to_owned()];
    assert_eq!(kubelets_own(&kubelet).as_deref(), Some("/run/other.sock"));
    kubelet.argv[1] = "--container-runtime-endpoint=npipe:////./pipe/containerd".to_owned();
    assert_eq!(kubelets_own(&kubelet), None);
}

/// A pod `web` with one container, as containerd tells of them.
fn messages() -> Messages {
    let text = str::to_owned;
    let metadata = cri::PodSandboxMetadata { name: text("web"), uid: text("u1"), namespace: text("shop") };
    let pod = cri::PodSandbox { id: text("s1"), metadata: Some(metadata), state: 0, runtime_handler: text("runsc") };
    let container = cri::Container {
        id: text("c1"),
        pod_sandbox_id: text("s1"),
        metadata: Some(cri::ContainerMetadata { name: text("app") }),
        image: Some(cri::ImageSpec { image: text("sha256:11"), user_specified_image: String::new() }),
        image_ref: text("sha256:11"),
        state: 1,
        image_id: String::new(),
    };
    let image = cri::Image {
        id: text("sha256:11"),
        repo_tags: vec![text("registry.example:5000/app:v1")],
        repo_digests: vec![text("mirror.example/app@sha256:aa"), text("registry.example:5000/app@sha256:bb")],
    };
    Messages {
        version: cri::VersionResponse { runtime_name: text("containerd"), runtime_version: text("1.6.20") },
        sandboxes: cri::ListPodSandboxResponse { items: vec![pod] },
        containers: cri::ListContainersResponse { containers: vec![container] },
        images: cri::ListImagesResponse { images: vec![image] },
    }
}

#[test]
fn names_and_digests_come_from_the_image_list() {
    let answer = Answer::of(messages());
    let [sandbox, app] = answer.containers.as_slice() else { panic!("two") };
    assert_eq!((sandbox.kind, sandbox.pod.as_str(), sandbox.handler.as_str()), (ContainerKind::Sandbox, "web", "runsc"));
    assert_eq!((app.namespace.as_str(), app.pod.as_str(), app.name.as_str(), app.pod_uid.as_str()), ("shop", "web", "app", "u1"));
    assert_eq!((app.image.as_str(), app.image_digest.as_str()), ("registry.example:5000/app:v1", "sha256:bb"));
    assert!(answer.skipped.is_empty());
}

#[test]
fn what_names_nothing_and_what_is_too_much_is_said_to_be_missing() {
    let mut messages = messages();
    let sound = messages.containers.containers[0].clone();
    let container = |id: &str, pod: &str| cri::Container { id: id.to_owned(), pod_sandbox_id: pod.to_owned(), ..sound.clone() };
    messages.containers.containers = vec![container("../../etc", "s1"), container("", "s1"), container("c2", "gone")];
    let answer = Answer::of(messages.clone());
    assert_eq!((answer.containers.len(), answer.skipped.len()), (1, 3));

    messages.containers.containers = vec![sound; 10_000];
    let answer = Answer::of(messages);
    assert_eq!((answer.containers.len(), answer.skipped.len()), (4096, 1));
    assert_eq!(answer.skipped[0].reason, Reason::TooLarge);
}

#[test]
fn files_win_gaps_are_filled_and_a_contradiction_shows() {
    let known = |value: &str| Observed::known(value.to_owned(), Source::new(SourceKind::File, "/bundle"), 1);
    let file = Container {
        namespace: known("shop"),
        pod: known("other"),
        image: known("registry.example:5000/app@sha256:bb"),
        ..Container::unread("pod:shop/other/app", "c1")
    };
    let mut containers = Observed::known(Listing::complete(vec![file]), Source::new(SourceKind::File, ""), 1);
    lay_over(&mut containers, Answer::of(messages()), SOCKET, 2);
    let listing = containers.value().unwrap();
    let [app, sandbox] = listing.items.as_slice() else { panic!("two") };
    assert_eq!(app.pod.value().unwrap(), "other");
    assert_eq!(app.name.value().unwrap(), "app");
    assert_eq!(app.image.value().unwrap(), "registry.example:5000/app@sha256:bb");
    assert_eq!(app.image_digest.value().unwrap(), "sha256:bb");
    assert!(matches!(&app.name, Observed::Known { source, at: 2, .. } if source.place == "unix:///run/runtime.sock"));
    assert_eq!(
        (sandbox.subject.as_str(), sandbox.kind, sandbox.runtime.as_str()),
        ("pod:shop/web/POD", ContainerKind::Sandbox, "containerd")
    );
    let said: Vec<&str> = listing.skipped.iter().map(|skip| skip.what.as_str()).collect();
    assert_eq!(said, ["container c1: its files say pod other, the runtime says web"]);

    // Without a word from files the runtime's is all there is, and says so.
    let mut containers: Observed<Listing<Container>> = Observed::unavailable_because(Reason::TimedOut, "late");
    lay_over(&mut containers, Answer::of(messages()), SOCKET, 2);
    let listing = containers.value().unwrap();
    assert_eq!((listing.items.len(), listing.skipped.len(), listing.skipped[0].reason), (2, 1, Reason::TimedOut));
}
