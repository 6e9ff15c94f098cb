//! A machine in a container, as kind and k3d have it: a privileged container of a real containerd that has a process table of its own, no
//! thread of the kernel in it, and an init or a kubelet. An agent in there, with `hostPID` of that machine, is on a node.
//!
//! What cannot be tried here: kind itself, whose containerd within the container would make the agent's pod, and its cgroup namespace,
//! which a kernel with the first version of cgroups does not show as kind's does. The agent is started in the container's namespaces.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::containers::RuntimeHost;
use holdfast_tests::containers::manifest::{Surroundings, Workload};
use holdfast_tests::process::{PATIENCE, in_time, pause};
use serde_json::{Value, json};

use crate::{BINARIES, KUBELET};

/// Where programs are in the image of such a machine.
const AGENT: &str = "/usr/bin/holdfast-agent";
const STAND_IN: &str = "/usr/bin/kubelet";

/// A machine whose first process is the image's.
fn machine(name: &str) -> Workload {
    let container = json!({"name": "node", "args": ["86400"], "securityContext": {"privileged": true}, "volumeMounts": []});
    let spec = json!({"containers": [container], "volumes": [], "automountServiceAccountToken": false});
    let (namespace, pod, node) = ("machines".to_owned(), name.to_owned(), String::new());
    Workload { namespace, pod, spec, content: BTreeMap::new(), node, around: Surroundings::default() }
}

/// What the agent says of itself in the namespaces of a process: verdict, and how it knows.
fn seen(host: &RuntimeHost, pid: &str) -> (String, String) {
    let enter = ["--target", pid, "--mount", "--pid", "--net", "--uts", "--ipc", "--", AGENT];
    let scan = ["scan", "-o", "json", "--no-probe", "--host-root", "/", "--proc", "/proc", "--node-name", "n1"];
    let (code, report, errors) = in_time(|| host.space.output("nsenter", &[&enter[..], &scan[..]].concat())).unwrap();
    assert!(code == 0 || code == 4, "{code}: {errors}");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}{errors}"));
    let mut findings = report["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["check"] == "agent-sees-the-host").unwrap();
    (finding["verdict"].as_str().unwrap().to_owned(), finding["evidence"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_a_container_is_a_node_by_its_init_or_its_kubelet() {
    let _kubelet = KUBELET.lock().await;
    let mut host = RuntimeHost::start().await.unwrap();
    let sleep = Path::new("/bin/sleep");
    let (agent, stand_in) = (Path::new(BINARIES.agent), Path::new(env!("CARGO_BIN_EXE_holdfast-test-kubelet")));
    let with_init = [(sleep, "/sbin/init"), (agent, AGENT)];
    let with_init = host.import_all("registry.example/with-init", &with_init).await.unwrap();
    let without = [(sleep, "/usr/bin/sleep"), (agent, AGENT), (stand_in, STAND_IN)];
    let without = host.import_all("registry.example/without-init", &without).await.unwrap();

    let made = host.run_workload(&machine("kind"), Some(&with_init)).await.unwrap();
    let (verdict, evidence) = seen(&host, &host.first_of(&made.container).unwrap());
    assert!(verdict == "pass" && evidence.contains("the first process"), "{verdict} {evidence}");

    let made = host.run_workload(&machine("k3d"), Some(&without)).await.unwrap();
    let pid = host.first_of(&made.container).unwrap();
    let (verdict, evidence) = seen(&host, &pid);
    assert!(verdict == "fail" && evidence.contains("no init, no kubelet"), "nothing but a container: {verdict} {evidence}");

    // What the stand-in is to do, where it finds it.
    let orders = format!("/proc/{pid}/root/orders");
    std::fs::write(host.outside(&orders), "").unwrap();
    let enter = ["--target", &pid, "--mount", "--pid", "--net", "--", STAND_IN];
    let log = host.path("kubelet.log");
    let _running = host.space.start("nsenter", &enter, Path::new(&log), &[("STAND_IN", "/orders")]).unwrap();
    let (started, mut last) = (Instant::now(), seen(&host, &pid));
    while last.0 != "pass" && started.elapsed() < PATIENCE {
        pause(Duration::from_secs(1));
        last = seen(&host, &pid);
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(last.0 == "pass" && last.1.contains("a kubelet"), "{last:?} {said}");
}
