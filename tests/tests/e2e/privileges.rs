//! The same node, read with fewer and fewer privileges: nothing is ever judged otherwise for it, and what becomes unknown names what it
//! takes.
//!
//! The agent is the real one in real namespaces, started with uid and capabilities as a pod would have them. The node is a host of the
//! test's own with a stand-in for a kubelet and containers of a real containerd, so that there is something to be wrong about.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::containers::RuntimeHost;
use holdfast_tests::containers::pod::Pod;
use holdfast_tests::process::{Process, in_time, pause};
use serde_json::Value;

use crate::{BINARIES, KUBELET};

/// The uid of the manifests.
const UID: &str = "65523";
const BOTH: &str = "+sys_ptrace,+dac_read_search";

/// Verdict and reason by check and subject.
type Verdicts = BTreeMap<(String, String), (String, String)>;

/// A way to run the agent: `before` is what makes its surroundings, `uid` and `capabilities` what it starts with.
struct Tier {
    name: &'static str,
    /// A word of each new reason: one of these.
    names: &'static [&'static str],
    before: String,
    uid: &'static str,
    capabilities: &'static str,
    arguments: &'static [&'static str],
}

/// The node's root as a pod has it, below a directory, in mounts of the agent's own.
const HOST: &str = "mkdir -p /run/tier/host && mount --rbind / /run/tier/host && mount --make-rslave /run/tier/host";
/// Its own root directory, with nothing of the node but programs and libraries.
const OWN_ROOT: &str = "mkdir -p /run/own && mount -t tmpfs own /run/own && cd /run/own && mkdir -p usr etc proc sys dev run tmp var/lib holdfast && \
     mount --rbind /usr usr && ln -s usr/bin bin && ln -s usr/lib lib && ln -s usr/lib64 lib64 && ln -s usr/sbin sbin && \
     mount --rbind AGENT holdfast && mount -t sysfs sysfs sys";

fn tiers() -> Vec<Tier> {
    let plain = || String::from("exec \"$@\"");
    vec![
        Tier {
            name: "without SYS_PTRACE",
            names: &["CAP_SYS_PTRACE"],
            before: plain(),
            uid: UID,
            capabilities: "+dac_read_search",
            arguments: &[],
        },
        Tier {
            name: "without DAC_READ_SEARCH",
            names: &["CAP_DAC_READ_SEARCH"],
            before: plain(),
            uid: UID,
            capabilities: "+sys_ptrace",
            arguments: &[],
        },
        Tier {
            name: "uid 0 without capabilities",
            names: &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"],
            before: plain(),
            uid: "0",
            capabilities: "",
            arguments: &[],
        },
        Tier {
            name: "without root and capabilities",
            names: &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "uid 0"],
            before: plain(),
            uid: UID,
            capabilities: "",
            arguments: &[],
        },
        Tier {
            name: "without hostPID",
            names: &["hostPID"],
            before: format!(
                "exec unshare --mount --pid --fork --kill-child sh -ec '{HOST} && mount -t proc proc /proc && exec \"$@\"' sh \"$@\""
            ),
            uid: UID,
            capabilities: BOTH,
            arguments: &["--host-root", "/run/tier/host", "--proc", "/proc"],
        },
        Tier {
            name: "without hostNetwork",
            names: &["hostNetwork"],
            before: "exec unshare --net \"$@\"".to_owned(),
            uid: UID,
            capabilities: BOTH,
            arguments: &[],
        },
        Tier {
            name: "without the host's files",
            names: &["host's files"],
            before: format!(
                "exec unshare --mount sh -ec '{OWN_ROOT} && mount --rbind /proc proc && exec chroot /run/own \"$@\"' sh \"$@\""
            ),
            uid: UID,
            capabilities: BOTH,
            arguments: &[],
        },
        Tier {
            name: "in a container without anything",
            names: &["hostPID", "host's files", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "uid 0"],
            before: format!(
                "exec unshare --mount --pid --net --fork --kill-child sh -ec '{OWN_ROOT} && mount -t proc proc proc && exec chroot /run/own \"$@\"' sh \"$@\""
            ),
            uid: UID,
            capabilities: "",
            arguments: &[],
        },
    ]
}

/// A node with something on it.
struct Node {
    host: RuntimeHost,
    _kubelet: Process,
}

impl Node {
    async fn start() -> Self {
        let mut host = RuntimeHost::start().await.unwrap();
        let guest = Pod { user: Some(1000), drop: vec!["ALL"], no_new_privileges: true, read_only: true, ..Pod::named("restricted") };
        for pod in [Pod { token: true, ..Pod::named("root") }, guest, Pod { mounts: vec![("/etc", true)], ..Pod::named("mounts") }] {
            host.run(&pod).await.unwrap();
        }
        let config = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: 10255\nauthentication:\n  \
                      anonymous:\n    enabled: false\n  x509:\n    clientCAFile: /run/kubernetes/ca.crt\n";
        let directory = host.outside("/run/kubernetes");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.yaml"), config).unwrap();
        std::fs::write(directory.join("ca.crt"), "not a certificate").unwrap();
        // Where only root, or DAC_READ_SEARCH, gets.
        std::fs::set_permissions(directory.join("config.yaml"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let orders = host.path("orders");
        std::fs::write(&orders, "listen 10250 tls 401\nlisten 10255 plain 200").unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_holdfast-test-kubelet"), host.outside("/run/kubernetes/kubelet")).unwrap();
        let arguments = ["--config=/run/kubernetes/config.yaml"];
        let log = host.path("kubelet.log");
        let kubelet = host.space.start("/run/kubernetes/kubelet", &arguments, Path::new(&log), &[("STAND_IN", &orders)]).unwrap();
        // What is younger than a second may be a runtime's, on its way to become what it was made for.
        pause(Duration::from_secs(2));
        Self { host, _kubelet: kubelet }
    }

    /// Every verdict of an agent that is started so.
    fn scan(&self, before: &str, uid: &str, capabilities: &str, arguments: &[&str]) -> Verdicts {
        let agent = Path::new(BINARIES.agent);
        let before = before.replace("AGENT", &agent.parent().unwrap().display().to_string());
        // Below a root of its own the program has another name.
        let program = if before.contains("chroot") {
            format!("/holdfast/{}", agent.file_name().unwrap().display())
        } else {
            BINARIES.agent.to_owned()
        };
        let inherited = format!("-all{}{capabilities}", if capabilities.is_empty() { "" } else { "," });
        let (bounding, ambient) = (inherited.clone(), inherited.clone());
        let mut all = vec!["-ec", &before, "sh", "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"];
        all.extend(["--bounding-set", &bounding, "--inh-caps", &inherited, "--ambient-caps", &ambient, "--"]);
        all.extend([program.as_str(), "scan", "-o", "json", "--node-name", "n1"]);
        all.extend(arguments);
        let (code, report, errors) = in_time(|| self.host.space.output("sh", &all)).unwrap();
        assert!(code == 0 || code == 4, "{code}: {errors}");
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}{errors}"));
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| ((text(finding, "check"), text(finding, "subject")), (text(finding, "verdict"), text(finding, "reason"))))
            .collect()
    }
}

fn decided(verdict: &str) -> bool {
    verdict != "unknown"
}

/// The two checks that are about privileges; and the one whose subjects are processes, which come and go and are called by their program
/// only where that can be read.
fn is_compared(check: &str) -> bool {
    !matches!(check, "agent-least-privilege" | "agent-sees-the-host" | PROCESSES)
}

const PROCESSES: &str = "root-process";

/// Is it said of some process that it runs as root, or that this cannot be told.
fn sees_root(verdicts: &Verdicts) -> bool {
    let mut about = verdicts.iter().filter(|((check, _), _)| check == PROCESSES);
    about.any(|(_, (verdict, _))| verdict == "fail" || !decided(verdict))
}

/// What is wrong with `lower`, judged by `full`; and how many of the decided are unknown there.
fn compare(full: &Verdicts, lower: &Verdicts, names: &[&str]) -> (Vec<String>, usize) {
    let node = |check: &str| (check.to_owned(), "node".to_owned());
    let mut wrong = Vec::new();
    let mut lost = 0;
    for ((check, subject), (verdict, _)) in full.iter().filter(|((check, _), (verdict, _))| decided(verdict) && is_compared(check)) {
        // A subject that is not seen is said once, on the node.
        let said = lower.get(&(check.clone(), subject.clone())).or_else(|| lower.get(&node(check)));
        match said {
            None => wrong.push(format!("{check} {subject}: {verdict} became nothing")),
            Some((other, reason)) if !decided(other) => {
                lost += 1;
                if !names.iter().any(|name| reason.contains(name)) {
                    wrong.push(format!("{check} {subject}: {verdict} became unknown without a privilege: {reason}"));
                }
            }
            Some((other, _)) if other == verdict => {}
            Some((other, reason)) => wrong.push(format!("{check} {subject}: {verdict} became {other} {reason}")),
        }
    }
    // And nothing is decided that was not.
    for ((check, subject), (verdict, reason)) in lower.iter().filter(|(key, (verdict, _))| decided(verdict) && !full.contains_key(*key)) {
        if is_compared(check) {
            wrong.push(format!("{check} {subject}: {verdict} {reason}, which with all privileges is no subject"));
        }
    }
    if sees_root(full) && !sees_root(lower) {
        wrong.push("no process runs as root any more".to_owned());
    }
    (wrong, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_is_missing_makes_unknown_and_never_another_verdict() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let full = node.scan("exec \"$@\"", UID, BOTH, &[]);
    let count = full.values().filter(|(verdict, _)| decided(verdict)).count();
    println!("{:<34} {count} of {} decided", "as deployed", full.len());
    for check in ["agent-least-privilege", "agent-sees-the-host"] {
        let said = &full[&(check.to_owned(), "node".to_owned())];
        assert_eq!(said.0, "pass", "{check}: {said:?}");
    }
    assert_eq!(full[&("kubelet-read-only-port".to_owned(), "kubelet".to_owned())].0, "fail", "there is something to be wrong about");
    let same =
        Tier { name: "as deployed, again", names: &[], before: "exec \"$@\"".to_owned(), uid: UID, capabilities: BOTH, arguments: &[] };
    let mut all = Vec::new();
    for tier in std::iter::once(same).chain(tiers()) {
        let read = || node.scan(&tier.before, tier.uid, tier.capabilities, tier.arguments);
        let lower = read();
        let (mut wrong, lost) = compare(&full, &lower, tier.names);
        if !wrong.is_empty() {
            // What the machine changed by itself between the two readings is not wrong twice.
            let (again, _) = compare(&node.scan("exec \"$@\"", UID, BOTH, &[]), &read(), tier.names);
            wrong.retain(|wrong| again.contains(wrong));
        }
        println!(
            "{:<34} {} decided, {lost} of the {count} became unknown",
            tier.name,
            lower.values().filter(|(verdict, _)| decided(verdict)).count()
        );
        all.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", tier.name)));
    }
    assert!(all.is_empty(), "{} wrong:\n{}", all.len(), all.join("\n"));
}
