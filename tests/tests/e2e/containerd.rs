//! Real containers of a real containerd, and one of runc alone: what the agent finds out about each, from files, from processes, and
//! from the runtime itself where it may ask.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_checks::derive::derive;
use holdfast_checks::facts::{Container, ContainerKind, NodeFacts, Observed, Placement, Process, Reason};
use holdfast_tests::containers::image::{PROGRAM, REPOSITORY, SETUID, TAG};
use holdfast_tests::containers::kubelet::Made;
use holdfast_tests::containers::mapped::MAPPED;
use holdfast_tests::containers::pod::{CONTAINER, NAMESPACE, Pod};
use holdfast_tests::containers::{RuntimeHost, SOCKET};

use crate::{BINARIES, KUBELET};

/// Uid of those that are not root.
const GUEST: i64 = 1000;
/// The agent's deadline for everything it asks a runtime, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(10);

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
        let mut host = RuntimeHost::start().await.unwrap();
        let mut all = BTreeMap::new();
        for pod in pods() {
            let made = host.run(&pod).await.unwrap();
            all.insert(pod.name.clone(), (pod, Some(made.clone()), made.container));
        }
        let mapped = Pod::named("mapped");
        let id = host.run_mapped(&mapped).unwrap();
        all.insert(mapped.name.clone(), (mapped, None, id));
        let node = Self { host, pods: all };
        node.settle();
        node
    }

    /// The setuid program is started by the container's own, a moment after that.
    fn settle(&self) {
        let started = Instant::now();
        let there = || self.host.space.output("pgrep", &["-f", SETUID]).is_ok_and(|(code, ..)| code == 0);
        while !there() {
            assert!(started.elapsed() < BUSY, "{SETUID} does not run");
            holdfast_tests::process::pause(Duration::from_millis(20));
        }
    }

    /// What the agent reads on this host, and how long that takes.
    fn facts(&self, extra: &[&str]) -> (NodeFacts, Duration) {
        let archive = self.host.path("node.tar.zst");
        let mut arguments = vec!["capture", "--force", "--no-probe", "--node-name", "n1", "-o", &archive];
        arguments.extend(extra);
        let started = Instant::now();
        let (code, _, errors) = self.host.space.output(BINARIES.agent, &arguments).unwrap();
        assert_eq!(code, 0, "{errors}");
        let took = started.elapsed();
        let mut facts = holdfast_agent::capture::open(Path::new(&archive)).unwrap().facts;
        derive(&mut facts);
        (facts, took)
    }

    /// Every verdict on this host.
    fn verdicts(&self, extra: &[&str]) -> BTreeMap<(String, String), String> {
        let mut arguments = vec!["scan", "-o", "json", "--no-probe", "--node-name", "n1"];
        arguments.extend(extra);
        let (code, report, errors) = self.host.space.output(BINARIES.agent, &arguments).unwrap();
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
    let (facts, _) = node.facts(&[]);
    for (name, (pod, _, id)) in &node.pods {
        let own = of(&facts, id);
        let first = own.get(PROGRAM).unwrap_or_else(|| panic!("{name}: no process of container {id}: {:#?}", processes(&facts)));
        assert_eq!((first.placement, first.pod_uid.as_str()), (Placement::Pod, pod.uid().as_str()), "{name}");
        assert_eq!(first.subject, format!("pod:{NAMESPACE}/{name}/{CONTAINER}/inmate"));
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
