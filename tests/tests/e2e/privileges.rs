//! The same node, read with fewer and fewer privileges: nothing is ever judged otherwise for it, and what becomes unknown names what it
//! takes.
//!
//! The agent is the real one in real namespaces, started with uid and capabilities as a pod would have them. The node is a host of the
//! test's own with a stand-in for a kubelet and containers of a real containerd, so that there is something to be wrong about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::containers::RuntimeHost;
use holdfast_tests::containers::pod::Pod;
use holdfast_tests::process::{PATIENCE, Process, copy_program, in_time, pause};
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
    /// The row of the table in `deploy/README.md` that says what it makes unknown.
    row: Option<&'static str>,
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
            row: Some("SYS_PTRACE"),
            names: &["CAP_SYS_PTRACE"],
            before: plain(),
            uid: UID,
            capabilities: "+dac_read_search",
            arguments: &[],
        },
        Tier {
            name: "without DAC_READ_SEARCH",
            row: Some("DAC_READ_SEARCH"),
            names: &["CAP_DAC_READ_SEARCH"],
            before: plain(),
            uid: UID,
            capabilities: "+sys_ptrace",
            arguments: &[],
        },
        Tier {
            name: "uid 0 without capabilities",
            row: None,
            names: &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"],
            before: plain(),
            uid: "0",
            capabilities: "",
            arguments: &[],
        },
        Tier {
            name: "without root and capabilities",
            row: Some("both, or `--run-as` and root"),
            names: &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "uid 0"],
            before: plain(),
            uid: UID,
            capabilities: "",
            arguments: &[],
        },
        Tier {
            name: "without hostPID",
            row: Some("hostPID"),
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
            row: Some("hostNetwork"),
            names: &["hostNetwork"],
            before: "exec unshare --net \"$@\"".to_owned(),
            uid: UID,
            capabilities: BOTH,
            arguments: &[],
        },
        Tier {
            name: "without the host's files",
            row: Some("`/` mounted and named with `--host-root`"),
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
            row: None,
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
        copy_program(env!("CARGO_BIN_EXE_holdfast-test-kubelet"), &host.outside("/run/kubernetes/kubelet")).unwrap();
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

/// What is wrong with `lower`, judged by `full`; and which of the decided checks are unknown there, with the reason.
fn compare(full: &Verdicts, lower: &Verdicts, names: &[&str]) -> (Vec<String>, Vec<(String, String)>) {
    let node = |check: &str| (check.to_owned(), "node".to_owned());
    let mut wrong = Vec::new();
    let mut lost = Vec::new();
    for ((check, subject), (verdict, _)) in full.iter().filter(|((check, _), (verdict, _))| decided(verdict) && is_compared(check)) {
        // A subject that is not seen is said once, on the node.
        let said = lower.get(&(check.clone(), subject.clone())).or_else(|| lower.get(&node(check)));
        match said {
            None => wrong.push(format!("{check} {subject}: {verdict} became nothing")),
            Some((other, reason)) if !decided(other) => {
                lost.push((check.clone(), reason.clone()));
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

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What the guide says of a privilege, held to what became unknown without it: the words of the reasons, and the areas of the catalogue.
fn documented(row: &str, lost: &[(String, String)]) -> Vec<String> {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/README.md")).unwrap();
    let (_, table) = guide.split_once("| without | the finding's reason says |").expect("the table");
    let line = table.lines().find(|line| line.starts_with(&format!("| {row} | "))).unwrap_or_else(|| panic!("no row {row}"));
    let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
    // What every node has, and what only some have; the node of this test has no control plane.
    let (always, some) = cells[2].split_once(';').unwrap_or((cells[2], ""));
    let (reasons, always, some) = (quoted(cells[1]), quoted(always), quoted(some));
    let catalogue = holdfast_checks::catalogue::built_in().unwrap();
    let found: BTreeSet<&str> = lost.iter().map(|(check, _)| catalogue.get(check).unwrap().area.as_str()).collect();
    let mut wrong = Vec::new();
    if !always.is_subset(&found) || !found.iter().all(|area| always.contains(area) || some.contains(area)) {
        wrong.push(format!("deploy/README.md, {row}: says that {always:?} and maybe {some:?} become unknown, and {found:?} do"));
    }
    for reason in reasons {
        if !lost.iter().any(|(_, said)| said.contains(reason)) {
            wrong.push(format!("deploy/README.md, {row}: no verdict says `{reason}`"));
        }
    }
    wrong
}

/// What is given up at start is needed to start: the guide says how it ends without, in the agent's own words.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_gives_up_at_start_it_needs_to_start() {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/README.md")).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("token").display().to_string();
    std::fs::write(&file, "token").unwrap();
    for (without, words) in [("setuid,-setgid", "SETUID and SETGID"), ("chown", "the spool directory")] {
        // Root's, and empty, as the kubelet makes it.
        let spool = directory.path().join(without);
        std::fs::create_dir(&spool).unwrap();
        let (spool, bounding) = (spool.display().to_string(), format!("-{without}"));
        let agent = ["run", "--collector", "https://127.0.0.1:1", "--ca", &file, "--token-file", &file, "--spool", &spool];
        let mut all = vec!["--bounding-set", &bounding, "--", BINARIES.agent];
        all.extend(agent);
        all.extend(["--run-as", UID, "--health", "127.0.0.1:0"]);
        let log = directory.path().join(format!("{without}.log"));
        let mut agent = Process::start(Path::new("setpriv"), &all, &log).unwrap();
        let errors = || std::fs::read_to_string(&log).unwrap();
        let until = |what: &str, done: &mut dyn FnMut() -> bool| {
            let started = Instant::now();
            while !done() {
                assert!(started.elapsed() < PATIENCE, "{without}: {what}: {}", errors());
                pause(Duration::from_millis(20));
            }
        };
        until("it says why", &mut || errors().contains(words));
        if without == "chown" {
            // Without a spool it runs, and tries to connect.
            until("it goes on", &mut || errors().contains("not connected"));
            assert_eq!(agent.ended().unwrap(), None, "{}", errors());
        } else {
            until("it ends", &mut || agent.ended().unwrap().is_some());
            assert_eq!(agent.ended().unwrap().unwrap().code(), Some(3), "{}", errors());
        }
        assert!(guide.contains(words), "deploy/README.md does not say {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_is_missing_makes_unknown_and_never_another_verdict() {
    let _kubelet = KUBELET.lock().await;
    let node = Node::start().await;
    let mut full = node.scan("exec \"$@\"", UID, BOTH, &[]);
    // The stand-in listens a moment after it was started.
    let started = Instant::now();
    let answers = |full: &Verdicts| {
        let said = |check: &str| full.get(&(check.to_owned(), "kubelet".to_owned())).map_or("", |(verdict, _)| verdict.as_str()).to_owned();
        (said("kubelet-answers-anonymous"), said("kubelet-read-only-port-answers")) == ("pass".to_owned(), "fail".to_owned())
    };
    while !answers(&full) {
        assert!(started.elapsed() < PATIENCE, "the stand-in does not answer: {full:#?}");
        full = node.scan("exec \"$@\"", UID, BOTH, &[]);
    }
    let count = full.values().filter(|(verdict, _)| decided(verdict)).count();
    println!("{:<34} {count} of {} decided", "as deployed", full.len());
    for check in ["agent-least-privilege", "agent-sees-the-host"] {
        let said = &full[&(check.to_owned(), "node".to_owned())];
        assert_eq!(said.0, "pass", "{check}: {said:?}");
    }
    assert_eq!(full[&("kubelet-read-only-port".to_owned(), "kubelet".to_owned())].0, "fail", "there is something to be wrong about");
    let same = Tier {
        name: "as deployed, again",
        row: None,
        names: &[],
        before: "exec \"$@\"".to_owned(),
        uid: UID,
        capabilities: BOTH,
        arguments: &[],
    };
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
            "{:<34} {} decided, {} of the {count} became unknown",
            tier.name,
            lower.values().filter(|(verdict, _)| decided(verdict)).count(),
            lost.len(),
        );
        if let Some(row) = tier.row {
            all.extend(documented(row, &lost));
        }
        all.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", tier.name)));
    }
    assert!(all.is_empty(), "{} wrong:\n{}", all.len(), all.join("\n"));
}
