//! Real containers of a real containerd, and one of runc alone: what the agent finds out about each, from files, from processes, and
//! from the runtime itself where it may ask.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_checks::derive::derive;
use holdfast_checks::facts::{Configured, Container, ContainerKind, MountKind, NodeFacts, Observed, Placement, Process, Reason};
use holdfast_tests::containers::image::{PROGRAM, REPOSITORY, SETUID, TAG};
use holdfast_tests::containers::kubelet::Made;
use holdfast_tests::containers::mapped::MAPPED;
use holdfast_tests::containers::pod::{CONTAINER, NAMESPACE, Pod};
use holdfast_tests::containers::{RuntimeHost, SOCKET};
use holdfast_tests::process::{PATIENCE, in_time, pause};
use holdfast_tests::site::Site;

use crate::{BINARIES, KUBELET};

/// Uid of those that are not root.
const GUEST: i64 = 1000;

/// One pod of each kind that a check tells from the others.
fn pods() -> Vec<Pod> {
    let guest = |name: &str| Pod { user: Some(GUEST), ..Pod::named(name) };
    vec![
        Pod { token: true, ..Pod::named("root") },
        Pod { drop: vec!["ALL"], no_new_privileges: true, read_only: true, ..guest("restricted") },
        Pod { privileged: true, ..Pod::named("privileged") },
        Pod { host_network: true, ..guest("host-network") },
        Pod { host_pid: true, ..guest("host-pid") },
        Pod { add: vec!["SYS_ADMIN"], ..Pod::named("capable") },
        Pod { seccomp: false, ..guest("unfiltered") },
        Pod { read_only: true, ..Pod::named("read-only") },
        Pod { mounts: vec![("/etc", true), (SOCKET, false)], ..guest("host-mounts") },
        Pod { becomes_root: true, ..guest("becomes-root") },
    ]
}

/// The host, its pods by name, and what containerd made of them.
struct Node {
    host: RuntimeHost,
    pods: BTreeMap<String, (Pod, Option<Made>, String)>,
}

impl Node {
    async fn start() -> Self {
        let mut node = Self::with(pods()).await;
        let mapped = Pod::named("mapped");
        let id = node.host.run_mapped(&mapped).unwrap();
        node.pods.insert(mapped.name.clone(), (mapped, None, id));
        node.settle();
        node
    }

    async fn with(pods: Vec<Pod>) -> Self {
        let mut host = RuntimeHost::start().await.unwrap();
        let mut all = BTreeMap::new();
        for pod in pods {
            let made = host.run(&pod).await.unwrap();
            all.insert(pod.name.clone(), (pod, Some(made.clone()), made.container));
        }
        Self { host, pods: all }
    }

    /// The setuid program is started by the container's own, a moment after that.
    fn settle(&self) {
        let started = Instant::now();
        let name = SETUID.trim_start_matches('/');
        let look = format!("grep -qsx {name} /proc/[0-9]*/comm");
        let there = || self.host.space.output("sh", &["-c", &look]).is_ok_and(|(code, ..)| code == 0);
        while !there() {
            assert!(started.elapsed() < PATIENCE, "{SETUID} does not run");
            pause(Duration::from_millis(20));
        }
        self.host.settle().unwrap();
    }

    /// What the agent reads on this host.
    fn facts(&self, extra: &[&str]) -> NodeFacts {
        let archive = self.host.path("node.tar.zst");
        let mut arguments = vec!["capture", "--force", "--no-probe", "--node-name", "n1", "-o", &archive];
        arguments.extend(extra);
        let (code, _, errors) = in_time(|| self.host.space.output(BINARIES.agent, &arguments)).unwrap();
        assert_eq!(code, 0, "{errors}");
        let mut facts = holdfast_agent::capture::open(Path::new(&archive)).unwrap().facts;
        derive(&mut facts);
        facts
    }

    /// The same where a socket is asked. A runtime on a busy machine may need longer than it is given: then it is asked again.
    fn facts_with_answer(&self, extra: &[&str]) -> NodeFacts {
        let started = Instant::now();
        loop {
            let facts = self.facts(extra);
            let late = facts.node.cri.unavailable().is_some_and(|why| why.reason == Reason::TimedOut);
            if !late || started.elapsed() > PATIENCE {
                return facts;
            }
        }
    }

    /// Every verdict on this host.
    fn verdicts(&self, extra: &[&str]) -> BTreeMap<(String, String), String> {
        let mut arguments = vec!["scan", "-o", "json", "--no-probe", "--node-name", "n1"];
        arguments.extend(extra);
        let (code, report, errors) = in_time(|| self.host.space.output(BINARIES.agent, &arguments)).unwrap();
        assert_eq!(code, 0, "{errors}");
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let text = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap().to_owned();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|finding| ((text(finding, "check"), text(finding, "subject")), text(finding, "verdict"))).collect()
    }

    fn id(&self, pod: &str) -> &str {
        &self.pods[pod].2
    }
}

fn processes(facts: &NodeFacts) -> &[Process] {
    &facts.processes.value().expect("processes are read").items
}

fn containers(facts: &NodeFacts) -> BTreeMap<&str, &Container> {
    facts.containers.value().expect("containers are read").items.iter().map(|container| (container.id.as_str(), container)).collect()
}

/// The processes of a container, by the program they run.
fn of<'a>(facts: &'a NodeFacts, id: &str) -> BTreeMap<&'a str, &'a Process> {
    let own = processes(facts).iter().filter(|process| process.container_id == id);
    own.map(|process| (process.exe.value().map_or("", String::as_str), process)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_of_a_pod_is_attributed_to_it_and_read_right() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let facts = node.facts(&[]);
    for (name, (pod, _, id)) in &node.pods {
        let own = of(&facts, id);
        let first = own.get(PROGRAM).unwrap_or_else(|| panic!("{name}: none of its processes runs {PROGRAM}: {own:#?}"));
        assert_eq!((first.placement, first.pod_uid.as_str()), (Placement::Pod, pod.uid().as_str()), "{name}");
        assert!(first.subject.starts_with(&pod.subject()), "{name}: {}", first.subject);
        assert_eq!(first.uid, if name == "mapped" { MAPPED } else { pod.user.unwrap_or(0) }, "{name}: host uid");
        assert_eq!(first.host_network.value(), Some(&pod.host_network), "{name}: host network");
        assert_eq!(first.seccomp == 2, pod.seccomp && !pod.privileged && name != "mapped", "{name}: seccomp");
        assert_eq!(first.no_new_privileges, pod.no_new_privileges, "{name}: no_new_privs");
        assert_eq!(own.len(), if pod.becomes_root { 2 } else { 1 }, "{name}: {own:#?}");
    }
    let sys_admin = |name: &str| of(&facts, node.id(name))[PROGRAM].cap_bounding & (1 << 21) != 0;
    let with: Vec<&String> = node.pods.keys().filter(|name| sys_admin(name)).collect();
    assert_eq!(with, ["capable", "privileged"]);
    let became = of(&facts, node.id("becomes-root"))[SETUID];
    assert_eq!((became.uid, became.real_uid), (0, GUEST), "{became:#?}");
}

/// The container's own answer to a question about what it was told to be, and what its processes are.
fn told<T: Copy>(container: &Container, of: impl Fn(&Configured) -> &Observed<T>) -> T {
    let configured = container.configured.value().unwrap_or_else(|| panic!("{}: {:?}", container.subject, container.configured));
    *of(configured).value().unwrap_or_else(|| panic!("{}: {configured:#?}", container.subject))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_container_is_known_by_name_and_for_what_it_is_and_may() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let facts = node.facts(&[]);
    let all = containers(&facts);
    assert_eq!(
        all.len(),
        2 * node.pods.len() - 1,
        "a sandbox beside each but the one that runc made: {:?}",
        all.values().map(|c| &c.subject)
    );
    for (name, (pod, made, id)) in &node.pods {
        let container = all[id.as_str()];
        assert_eq!(container.subject, pod.subject());
        assert_eq!((container.kind, container.placement), (ContainerKind::Container, Placement::Pod), "{name}");
        assert_eq!(container.runtime, "containerd", "{name}");
        assert_eq!(container.pod_uid, pod.uid(), "{name}");
        let names = [&container.namespace, &container.pod, &container.name].map(|name| name.value().map_or("", String::as_str));
        assert_eq!(names, [NAMESPACE, name, CONTAINER]);
        if let Some(made) = made {
            let sandbox = all[made.sandbox.as_str()];
            assert_eq!((sandbox.kind, sandbox.pod_uid.as_str()), (ContainerKind::Sandbox, pod.uid().as_str()), "{name}");
            assert_eq!(container.handler.value().map(String::as_str), Some("runc"), "{name}");
        }

        let mapped = name == "mapped";
        assert_eq!(told(container, |told| &told.user), pod.user.unwrap_or(0), "{name}");
        assert_eq!(told(container, |told| &told.privileged), pod.privileged, "{name}");
        assert_eq!(told(container, |told| &told.no_new_privileges), pod.no_new_privileges, "{name}");
        assert_eq!(told(container, |told| &told.seccomp), pod.seccomp && !pod.privileged && !mapped, "{name}");
        assert_eq!(told(container, |told| &told.root_read_only), pod.read_only, "{name}");
        assert_eq!(told(container, |told| &told.user_namespace), mapped, "{name}");
        assert_eq!(told(container, |told| &told.host_network), pod.host_network, "{name}");
        assert_eq!(told(container, |told| &told.host_pid), pod.host_pid, "{name}");
        let capabilities = container.configured.value().unwrap().capabilities.value().unwrap();
        assert_eq!(capabilities.iter().any(|name| name == "SYS_ADMIN"), pod.privileged || pod.add.contains(&"SYS_ADMIN"), "{name}");
        assert_eq!(capabilities.is_empty(), pod.drop.contains(&"ALL"), "{name}: {capabilities:?}");
        assert_eq!(container.root_read_only.value(), Some(&pod.read_only), "{name}");
    }

    let mounts = |name: &str| {
        let listing = all[node.id(name)].mounts.value().unwrap();
        assert!(listing.skipped.is_empty(), "{name}: {listing:?}");
        listing.items.iter().map(|mount| (mount.kind, mount.target.clone(), mount.writable)).collect::<Vec<_>>()
    };
    assert_eq!(
        mounts("host-mounts"),
        [(MountKind::Etc, "/host/etc".to_owned(), false), (MountKind::RuntimeSocket, format!("/host{SOCKET}"), true)]
    );
    let token = (MountKind::Token, "/run/secrets/kubernetes.io/serviceaccount".to_owned(), false);
    let of_root: Vec<_> =
        mounts("root").into_iter().map(|(kind, target, writable)| (kind, target.replace("/var/run", "/run"), writable)).collect();
    assert_eq!(of_root, [token]);
    assert_eq!(mounts("restricted"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_processes_are_is_told_of_every_container() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let facts = node.facts(&[]);
    let all = containers(&facts);
    for (name, (pod, _, id)) in &node.pods {
        let container = all[id.as_str()];
        let mapped = name == "mapped";
        let running = container.running.value().unwrap_or_else(|| panic!("{}: {:?}", container.subject, container.running));
        let root = pod.user.is_none() && !mapped;
        assert_eq!(running.processes, if pod.becomes_root { 2 } else { 1 }, "{name}");
        assert_eq!(!running.host_root.value().unwrap().is_empty(), root || pod.becomes_root, "{name}: {running:#?}");
        assert_eq!(!running.inside_root.value().unwrap().is_empty(), mapped, "{name}: {running:#?}");
        assert_eq!(!running.became_root.value().unwrap().is_empty(), pod.becomes_root, "{name}: {running:#?}");
        assert_eq!(running.user_namespace.value(), Some(&mapped), "{name}");
        assert_eq!(running.host_network.value(), Some(&pod.host_network), "{name}");
        assert_eq!(running.host_pid.value(), Some(&pod.host_pid), "{name}");
        assert_eq!(running.host_mounts.value(), Some(&false), "{name}");
        assert_eq!(!running.unfiltered.value().unwrap().is_empty(), !pod.seccomp || pod.privileged || mapped, "{name}: {running:#?}");
        assert_eq!(!running.may_gain.value().unwrap().is_empty(), !pod.no_new_privileges, "{name}: {running:#?}");
    }
}

/// What fails of each; everything else about it passes or does not apply. All of them name their image by a tag.
const FAILS: [(&str, &[&str]); 11] = [
    ("root", &["container-read-only-root", "container-root", "container-root-group", "container-service-token", "pod-no-new-privileges"]),
    ("restricted", &[]),
    (
        "privileged",
        &[
            "container-added-capabilities",
            "container-read-only-root",
            "container-root",
            "container-root-group",
            "pod-dangerous-capabilities",
            "pod-no-new-privileges",
            "pod-privileged",
            "pod-seccomp",
        ],
    ),
    ("host-network", &["container-read-only-root", "pod-host-network", "pod-no-new-privileges"]),
    ("host-pid", &["container-host-pid", "container-read-only-root", "pod-no-new-privileges"]),
    (
        "capable",
        &[
            "container-added-capabilities",
            "container-read-only-root",
            "container-root",
            "container-root-group",
            "pod-dangerous-capabilities",
            "pod-no-new-privileges",
        ],
    ),
    ("unfiltered", &["container-read-only-root", "pod-no-new-privileges", "pod-seccomp"]),
    ("read-only", &["container-root", "container-root-group", "pod-no-new-privileges"]),
    (
        "host-mounts",
        &[
            "container-host-path",
            "container-host-system-read",
            "container-read-only-root",
            "container-runtime-socket",
            "pod-no-new-privileges",
        ],
    ),
    (
        "becomes-root",
        &["container-became-root", "container-read-only-root", "container-root", "container-root-contradiction", "pod-no-new-privileges"],
    ),
    // Root inside, and nobody here: neither root nor in root's group.
    ("mapped", &["container-read-only-root", "pod-no-new-privileges", "pod-seccomp"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_container_is_judged_for_what_it_is() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let verdicts = node.verdicts(&[]);
    let of = |subject: &str, verdict: &str| {
        let about = verdicts.iter().filter(|((_, about), said)| about == subject && *said == verdict);
        about.map(|((check, _), _)| check.as_str()).filter(|check| *check != "container-image-digest").collect::<Vec<_>>()
    };
    assert_eq!(FAILS.len(), node.pods.len());
    for (name, fails) in FAILS {
        let subject = node.pods[name].0.subject();
        assert_eq!(of(&subject, "fail"), fails, "{name}");
        assert_eq!(of(&subject, "unknown"), [""; 0], "{name}");
        assert!(of(&subject, "pass").len() > 10, "{name}");
    }
}

/// What both ways say of who runs here: pod uid, namespace, pod, container and image by id.
fn identities(facts: &NodeFacts) -> BTreeMap<String, [String; 6]> {
    let text = |field: &Observed<String>| field.value().cloned().unwrap_or_default();
    let identity = |container: &&Container| {
        let kind = format!("{:?}", container.kind);
        [kind, container.pod_uid.clone(), text(&container.namespace), text(&container.pod), text(&container.name), text(&container.image)]
    };
    containers(facts).values().map(|container| (container.id.clone(), identity(container))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_the_runtime_itself_agree_on_every_container() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let files = node.facts(&[]);
    assert_eq!(files.node.cri_allowed.value(), Some(&false));
    assert!(files.node.cri.value().is_none());
    let both = node.facts_with_answer(&["--cri"]);
    assert_eq!(both.node.cri_allowed.value(), Some(&true));
    let said = both.node.cri.value().unwrap_or_else(|| panic!("{:?}", both.node.cri));
    assert!(said.starts_with("containerd 1."), "{said}");
    // A difference in who a container is would be listed here.
    let listing = both.containers.value().unwrap();
    assert!(listing.skipped.is_empty(), "{:?}", listing.skipped);

    // Nobody is known to one only: the runtime adds no container, and what it alone tells fills what files leave open.
    let (by_files, by_both) = (identities(&files), identities(&both));
    assert_eq!(by_files.keys().collect::<Vec<_>>(), by_both.keys().collect::<Vec<_>>());
    for (id, identity) in &by_files {
        let other = &by_both[id];
        for (files, both) in identity.iter().zip(other) {
            assert!(files.is_empty() || files == both, "{id}: {identity:?} is not {other:?}");
        }
    }
    let (image, digest) = (format!("{REPOSITORY}:{TAG}"), node.host.image_digest.clone());
    for (name, (_, made, id)) in &node.pods {
        let container = containers(&both)[id.as_str()];
        assert_eq!(container.image.value(), Some(&image), "{name}");
        // What runc made alone no runtime knows.
        assert_eq!(container.image_digest.value(), made.as_ref().map(|_| &digest), "{name}");
    }

    // And without a word of files: a host whose bundles nobody can find.
    let elsewhere = node.host.path("elsewhere");
    std::fs::create_dir_all(format!("{elsewhere}/run")).unwrap();
    std::fs::create_dir_all(format!("{elsewhere}/sockets")).unwrap();
    let bound = ["-ec", &format!("mount --bind /run/containerd {elsewhere}/sockets")];
    let (code, _, errors) = node.host.space.output("sh", &bound).unwrap();
    assert_eq!(code, 0, "{errors}");
    let runtime = node.facts_with_answer(&["--host-root", &elsewhere, "--cri=/sockets/containerd.sock"]);
    let by_runtime = identities(&runtime);
    for (name, (_, made, id)) in &node.pods {
        if made.is_some() {
            assert_eq!(by_runtime[id], by_both[id], "{name}");
        }
    }
}

/// What a stand-in for a runtime does with who connects.
type Serve = fn(UnixStream);

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_a_runtimes_costs_a_deadline_and_changes_nothing_else() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let without = node.verdicts(&[]);
    let silent: Serve = |mut stream| drop(stream.read_to_end(&mut Vec::new()));
    let closes: Serve = drop;
    let other: Serve = |mut stream| {
        drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"));
        drop(stream.read(&mut [0; 4096]));
    };
    let stand_ins = [("silent", silent, Reason::TimedOut), ("closes", closes, Reason::Malformed), ("other", other, Reason::Malformed)];
    for (name, serve, _) in stand_ins {
        let listener = UnixListener::bind(node.host.path(&format!("{name}.sock"))).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream);
            }
        });
    }
    let mut cases: Vec<(&str, Reason)> = stand_ins.iter().map(|(name, _, reason)| (*name, *reason)).collect();
    cases.push(("nowhere", Reason::NotPresent));
    for (name, reason) in cases {
        let option = format!("--cri={}", node.host.path(&format!("{name}.sock")));
        let facts = if reason == Reason::TimedOut { node.facts(&[&option]) } else { node.facts_with_answer(&[&option]) };
        assert_eq!(facts.node.cri.unavailable().map(|why| why.reason), Some(reason), "{name}: {:?}", facts.node.cri);
        if name != "silent" {
            continue;
        }
        // The check of the option itself is the one that may differ. What the machine changes by itself is otherwise in one of several
        // readings without it, or the same in one of those with it.
        let mut readings_without = vec![without.clone()];
        let mut differ: Option<BTreeSet<(String, String)>> = None;
        for _ in 0..2 {
            let with = node.verdicts(&[&option]);
            readings_without.push(node.verdicts(&[]));
            let keys = readings_without.iter().flat_map(BTreeMap::keys).chain(with.keys());
            let others: BTreeSet<_> =
                keys.filter(|key| readings_without.iter().all(|reading| reading.get(*key) != with.get(*key))).cloned().collect();
            differ = Some(differ.map_or_else(|| others.clone(), |before| &before & &others));
        }
        let differ = differ.unwrap_or_default();
        assert!(differ.iter().all(|(check, _)| check == "agent-holds-runtime-socket"), "{name}: {differ:?}");
    }
}

/// Starts an agent that steps down, on a host whose socket has this group, and returns what the collector and the log then say.
async fn stepped_down(group: u32, heard: impl Fn(&Site) -> bool + Send + 'static) {
    let _kubelet = KUBELET.lock().await;
    let node = Node::with(vec![Pod::named("root")]).await;
    chown(node.host.outside(SOCKET), Some(0), Some(group)).unwrap();
    std::fs::set_permissions(node.host.outside(SOCKET), Permissions::from_mode(0o660)).unwrap();
    let here = tokio::runtime::Handle::current();
    // Entering a network is for a thread, and for good.
    let test = move || {
        let _runtime = here.enter();
        let site = Site::new(BINARIES).unwrap();
        node.host.space.enter_network().unwrap();
        let _collector = site.collector(&[]).unwrap();
        let _agent = site.agent_in(&node.host.space, "host", &["--no-probe", "--run-as", "65523", "--cri"]).unwrap();
        let waited = site.api().wait("the runtime was asked", PATIENCE, |_| heard(&site));
        waited.unwrap_or_else(|error| panic!("{error}\n{}", site.log("host.log")));
    };
    std::thread::spawn(test).join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_root_any_more_hears_the_runtime_by_the_sockets_group() {
    stepped_down(995, |site| {
        let containers = site.api().list("/api/v1/nodes/test/host/containers", "containers").unwrap_or_default();
        // Only the runtime tells digests of images that were asked for by a tag.
        containers.iter().any(|container| container.to_string().contains("sha256:"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_does_not_keep_roots_own_group_for_a_socket_and_says_what_to_do() {
    stepped_down(0, |site| {
        let log = site.log("host.log");
        log.contains("/run/containerd/containerd.sock: permission denied: give the socket a group of its own")
    })
    .await;
}
