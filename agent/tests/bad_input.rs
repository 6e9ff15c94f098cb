//! Bad input through the whole scan: what cannot be known is `unknown` with the reason, in time, and everything else is judged.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use holdfast_agent::cli::TROUBLED;
use holdfast_proto::cri;
use holdfast_proto::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use rcgen::KeyPair;
use rstest::rstest;
use serde_json::Value;
use tonic::{Request, Response, Status};

/// Far longer than any sensor's deadline: a machine may be busy. What waits for ever, or grows with its square, takes longer.
const IN_TIME: Duration = Duration::from_mins(2);
const CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

/// A node with one kubelet, `--config=/etc/kubelet/config.yaml --config-dir=/etc/kubelet/conf.d`.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write("host/holdfast-tree.json", br#"{"uname": {"release": "6.1.0"}}"#);
        tree.write("host/etc/kubelet/config.yaml", CONFIG.as_bytes());
        fs::create_dir(tree.path("host/etc/kubelet/conf.d")).unwrap();
        tree.write("proc/sys/kernel/kptr_restrict", b"2\n");
        tree.write("proc/1/net/tcp", b"  sl\n");
        tree.write("proc/1/net/udp", b"  sl\n");
        tree.write("proc/10/stat", b"10 (kubelet) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
        tree.write("proc/10/status", b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n");
        tree.write("proc/10/cmdline", b"kubelet\0--config=/etc/kubelet/config.yaml\0--config-dir=/etc/kubelet/conf.d\0");
        tree.write("proc/10/cgroup", b"0::/system.slice/kubelet.service\n");
        tree.write("proc/10/uid_map", b"0 0 4294967295\n");
        tree.write("proc/10/root", b"/");
        tree.write("proc/10/cwd", b"/");
        tree.write("proc/10/exe", b"/usr/bin/kubelet");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn scan(&self) -> Report {
        scan(&self.path("host"), &self.path("proc"), &["--no-probe"])
    }
}

struct Report(Vec<Value>);

fn scan(root: &Path, proc: &Path, arguments: &[&str]) -> Report {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    command.env_clear().args(["scan", "-o", "json"]).arg("--host-root").arg(root).arg("--proc").arg(proc).args(arguments);
    let mut started = Instant::now();
    let mut output = command.output().unwrap();
    for _ in 0..4 {
        // On a busy machine a sensor's deadline may pass, and then it is read again.
        if output.status.code() == Some(i32::from(TROUBLED)) {
            (started, output) = (Instant::now(), command.output().unwrap());
        }
    }
    let elapsed = started.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(elapsed < IN_TIME, "{elapsed:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    Report(report["findings"].as_array().unwrap().clone())
}

impl Report {
    /// Verdict and reason of a check on a subject that begins so.
    fn said(&self, check: &str, subject: &str) -> (String, String) {
        let is_it = |finding: &&Value| finding["check"] == check && finding["subject"].as_str().unwrap().starts_with(subject);
        let found = self.0.iter().find(is_it).unwrap_or_else(|| panic!("no finding of {check} on {subject}"));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (text(&found["verdict"]), text(&found["reason"]))
    }

    /// What a check shows for it.
    fn evidence(&self, check: &str, subject: &str) -> String {
        let is_it = |finding: &&Value| finding["check"] == check && finding["subject"].as_str().unwrap().starts_with(subject);
        self.0.iter().find(is_it).unwrap()["evidence"].to_string()
    }

    /// What has nothing to do with the kubelet's configuration is judged.
    fn judges_the_rest(&self) {
        let decided = |finding: &&Value| ["pass", "fail"].contains(&finding["verdict"].as_str().unwrap());
        let others = self.0.iter().filter(|finding| !finding["subject"].as_str().unwrap().starts_with("kubelet"));
        assert!(others.filter(decided).count() > 0, "nothing else was decided");
    }
}

fn bomb() -> Vec<u8> {
    let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let line = |level: usize| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
    std::iter::once(first).chain((1..12).map(line)).collect::<String>().into_bytes()
}

#[rstest]
#[case::invalid_utf8(&|tree: &Tree| tree.write("host/etc/kubelet/config.yaml", b"readOnlyPort: \xff\n"), "not UTF-8")]
#[case::anchor_bomb(&|tree: &Tree| tree.write("host/etc/kubelet/config.yaml", &bomb()), "not YAML")]
#[case::drop_in_that_is_a_fifo(
    &|tree: &Tree| {
        nix::unistd::mkfifo(&tree.path("host/etc/kubelet/conf.d/10.conf"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    },
    "a FIFO"
)]
#[case::drop_in_that_is_a_list(&|tree: &Tree| tree.write("host/etc/kubelet/conf.d/10.conf", b"- readOnlyPort\n"), "not a map")]
#[case::drop_in_of_another_kind(
    &|tree: &Tree| tree.write("host/etc/kubelet/conf.d/10.conf", b"apiVersion: v1\nkind: ConfigMap\nreadOnlyPort: 0\n"),
    "is not KubeletConfiguration"
)]
fn bad_configuration_is_unknown_with_the_reason(#[case] make: &dyn Fn(&Tree), #[case] words: &str) {
    let tree = Tree::new();
    assert_eq!(tree.scan().said("kubelet-anonymous-auth", "kubelet").0, "pass", "as it is without");
    make(&tree);
    let report = tree.scan();
    let (verdict, reason) = report.said("kubelet-anonymous-auth", "kubelet");
    assert_eq!(verdict, "unknown", "{reason}");
    assert!(reason.contains(words), "{reason}");
    report.judges_the_rest();
}

#[test]
fn a_mebibyte_of_arguments_is_read_to_the_last_flag() {
    let tree = Tree::new();
    let mut cmdline = b"kubelet\0--anonymous-auth=false\0".to_vec();
    while cmdline.len() < 1024 * 1024 {
        cmdline.extend(b"--node-labels=a=\xff\xfe\0");
    }
    cmdline.extend(b"--anonymous-auth=true\0");
    tree.write("proc/10/cmdline", &cmdline);
    let report = tree.scan();
    assert_eq!(report.said("kubelet-anonymous-auth", "kubelet").0, "fail");
    report.judges_the_rest();
}

#[test]
fn a_configuration_that_changes_while_it_is_read_is_unknown() {
    let tree = Tree::new();
    let config = tree.path("host/etc/kubelet/config.yaml");
    fs::write(&config, format!("{CONFIG}{}", "# padding\n".repeat(100_000))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when an assertion fails: the scope waits for the other thread.
        let _stops = Stops(&stop);
        for first in 1..3 {
            let (config, stop) = (&config, &stop);
            scope.spawn(move || {
                let file = fs::OpenOptions::new().write(true).open(config).unwrap();
                for moment in (first..).step_by(2) {
                    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_micros(moment)).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        // On a busy machine nobody else may have had a turn while it was read, many times over.
        let until = Instant::now() + Duration::from_mins(10);
        loop {
            let report = tree.scan();
            report.judges_the_rest();
            let (verdict, reason) = report.said("kubelet-anonymous-auth", "kubelet");
            if verdict == "unknown" {
                assert!(reason.contains("changed while it was read"), "{reason}");
                break;
            }
            assert!(Instant::now() < until, "it was never seen to change");
        }
    });
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process that is called like a component.
struct StandIn {
    child: Child,
    _files: tempfile::TempDir,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The kernel takes connections for it; it never looks at them.
fn silent(name: &str) -> StandIn {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new("sleep");
    command.arg0(name).arg("300").stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null());
    StandIn { child: command.spawn().unwrap(), _files: tempfile::tempdir().unwrap() }
}

/// Speaks TLS, and sends a status and then something for as long as anybody listens.
fn endless(name: &str) -> StandIn {
    let files = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["n1".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(files.path().join("tls.crt"), certificate.pem()).unwrap();
    fs::write(files.path().join("tls.key"), key.serialize_pem()).unwrap();
    let mut command = Command::new("openssl");
    command.arg0(name).current_dir(files.path()).args(["s_server", "-accept", "127.0.0.1:0", "-cert", "tls.crt", "-key", "tls.key"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let accepts = |line: String| line.strip_prefix("ACCEPT ")?.trim().parse::<SocketAddr>().ok();
    lines.find_map(accepts).unwrap();
    std::thread::spawn(move || lines.count());
    std::thread::spawn(move || {
        let more = [b'x'; 4096];
        let mut all = input.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while all.is_ok() {
            all = input.write_all(&more);
        }
    });
    StandIn { child, _files: files }
}

#[test]
fn who_never_answers_and_who_answers_without_end_cost_only_themselves() {
    let _stand_ins = [silent("kube-scheduler"), endless("kube-controller-manager")];
    let report = scan(Path::new("/"), Path::new("/proc"), &[]);
    let (verdict, reason) = report.said("control-plane-answers-anonymous", "kube-scheduler");
    assert_eq!(verdict, "unknown", "{reason}");
    let evidence = report.evidence("control-plane-answers-anonymous", "kube-scheduler");
    // Where some sockets of this host belong to nobody who can be seen, no list of answers is whole.
    assert!(evidence.contains("timed_out") || reason.starts_with("incomplete"), "{reason}: {evidence}");
    // It answered something, with or without a status: what it said is judged, and it is not waited for.
    let (verdict, reason) = report.said("control-plane-answers-anonymous", "kube-controller-manager");
    assert!(["fail", "unknown"].contains(&verdict.as_str()), "{verdict} {reason}");
    report.judges_the_rest();
}

/// `pod:testbed/nonroot-restricted/c`, in which nothing is root and nothing is the host's.
const RESTRICTED: Recorded = Recorded {
    pid: 2732,
    subject: "pod:testbed/nonroot-restricted/c",
    pod: "8c0a2ef1-7b98-45d7-ba20-30e060ff9b58",
    container: "12ed7baf76c8eae6d5653be2e0e8e1abca6df54de92e5eecda0b73caff45e1b6",
};
/// `pod:testbed/root-default/c`.
const ROOT: Recorded = Recorded {
    pid: 2857,
    subject: "pod:testbed/root-default/c",
    pod: "3e71b2ba-09a2-43bc-975b-93a9d37a2be9",
    container: "308d13c5461f4e82a8ac4536cdbce8a977b569dcd46bfb986bea51b5b1078c53",
};

/// A container of the recording, and its one process.
struct Recorded {
    pid: i64,
    subject: &'static str,
    pod: &'static str,
    container: &'static str,
}

impl Recorded {
    fn bundle(&self) -> String {
        format!("host/run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json", self.container)
    }
}

impl Tree {
    /// A node with pods, to be changed.
    fn recorded() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/recorded/cgroupv2-systemd");
        for part in ["host", "proc"] {
            assert!(Command::new("cp").arg("-r").arg(recording.join(part)).arg(tree.path(part)).status().unwrap().success());
        }
        tree
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Another process like `pid`.
    fn copy(&self, pid: i64, copy: i64) {
        let (from, to) = (self.path(&format!("proc/{pid}")), self.path(&format!("proc/{copy}")));
        assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
        let stat = self.text(&format!("proc/{pid}/stat"));
        self.write(&format!("proc/{copy}/stat"), stat.replacen(&pid.to_string(), &copy.to_string(), 1).as_bytes());
    }
}

impl Report {
    /// Check, subject and verdict of what is said of workloads, without what `but` is about.
    fn of_others(&self, but: &[&str]) -> Vec<(String, String, String)> {
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let all = self.0.iter().map(|finding| (text(finding, "check"), text(finding, "subject"), text(finding, "verdict")));
        all.filter(|(_, subject, _)| subject.starts_with("pod:") && !but.iter().any(|but| subject.starts_with(but))).collect()
    }

    /// Is nothing that `checks` ask known of the container, whatever it is called now.
    fn unknown_of(&self, container: &Recorded, checks: &[&str]) {
        for check in checks {
            let short = format!("pod:{}", container.pod);
            let is_its = |finding: &&Value| {
                let subject = finding["subject"].as_str().unwrap();
                finding["check"] == *check && (subject == container.subject || subject.starts_with(&short))
            };
            let found: Vec<&Value> = self.0.iter().filter(is_its).collect();
            assert!(!found.is_empty(), "{check}: the container is gone");
            for finding in found {
                assert_eq!(finding["verdict"], "unknown", "{finding}");
                assert_ne!(finding["reason"], "", "{finding}");
            }
        }
    }
}

#[test]
fn a_name_of_fifteen_hostile_bytes_changes_nothing_but_itself() {
    let tree = Tree::recorded();
    let before = tree.scan();
    let (stat, status) = (tree.text("proc/2857/stat"), tree.text("proc/2857/status"));
    let after = stat.split_once(") ").unwrap().1.as_bytes().to_vec();
    for name in [
        &b") Z 1 0 0 0 -1 "[..],
        b"\x1b]0;\xff\xfe\x07\n(\t)\"'",
        b"\nUid:\t7\t7\t7\t7\n",
        b"kubelet\0\0\0\0\0\0\0\0",
        b"(((((((((((((((",
        b"))))))) S 0 2 0 ",
    ] {
        assert!(name.len() <= 16);
        let name = &name[..name.len().min(15)];
        tree.write("proc/2857/stat", &[b"2857 (", name, b") ", after.as_slice()].concat());
        // The kernel escapes newlines and backslashes here.
        let escaped = String::from_utf8_lossy(name).replace('\\', "\\\\").replace('\n', "\\n");
        tree.write("proc/2857/status", status.replacen("sleep", &escaped, 1).as_bytes());
        assert_eq!(tree.scan().of_others(&[]), before.of_others(&[]), "{}", name.escape_ascii());
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    let table = command.env_clear().args(["scan", "--no-probe", "--host-root"]).arg(tree.path("host")).arg("--proc").arg(tree.path("proc"));
    let table = table.output().unwrap().stdout;
    assert!(!table.contains(&0x1b) && !table.contains(&7), "nothing of it reaches a terminal");
}

#[test]
fn two_mebibytes_of_arguments_are_read_to_the_last_or_unknown() {
    let tree = Tree::recorded();
    let before = tree.scan();
    let arguments = |first: &str| [first.as_bytes(), &b"\0--x=\xff".repeat(2 * 1024 * 1024 / 7)].concat();
    tree.write("proc/2857/cmdline", &arguments("sleep"));
    assert_eq!(tree.scan().of_others(&[]), before.of_others(&[]), "arguments of others are not read");
    let mut of_kubelet = arguments("/usr/local/bin/kubelet\0--anonymous-auth=false");
    of_kubelet.extend(b"\0--anonymous-auth=true\0");
    tree.write("proc/778/cmdline", &of_kubelet);
    let report = tree.scan();
    let (verdict, reason) = report.said("kubelet-anonymous-auth", "kubelet");
    assert!(["fail", "unknown"].contains(&verdict.as_str()), "{verdict} {reason}");
    report.judges_the_rest();
    assert_eq!(report.said("container-root", ROOT.subject).0, "fail");
}

fn mounts(number: u32, line: impl Fn(u32) -> String) -> String {
    (0..number).map(|n| format!("{} - tmpfs tmpfs rw", line(n))).collect::<Vec<_>>().join("\n")
}

#[rstest]
#[case::many(&mounts(100_001, |n| format!("{n} 1 0:9999 / /m{n} rw")))]
#[case::long(&mounts(5_000, |n| format!("{} 681 0:9999 /{n} {} rw", 900_000 + n, "/a".repeat(2_040))))]
#[case::in_circles(&mounts(100_001, |n| format!("{} {} 0:9999 / /c rw", 1_000_000 + n, 1_000_000 + (n + 1) % 100_001)))]
fn a_hundred_thousand_mounts_hide_nothing(#[case] more: &str) {
    let tree = Tree::recorded();
    let before = tree.scan();
    let checks = ["container-host-path", "container-runtime-socket", "container-host-system"];
    assert!(checks.iter().all(|check| before.said(check, RESTRICTED.subject).0 == "pass"));
    let table = format!("proc/{}/mountinfo", RESTRICTED.pid);
    tree.write(&table, format!("{}{more}", tree.text(&table)).as_bytes());
    let report = tree.scan();
    report.unknown_of(&RESTRICTED, &checks);
    assert_eq!(report.of_others(&[RESTRICTED.subject]), before.of_others(&[RESTRICTED.subject]));
}

#[rstest]
#[case::below_its_own(|own: &str, others: &str| format!("{own}{others}"))]
#[case::beside_it(|own: &str, others: &str| format!("{own}/..{others}"))]
#[case::in_the_name(|own: &str, others: &str| format!("{own}:{}", others.trim_start_matches('/')))]
#[case::by_a_newline(|own: &str, others: &str| format!("{own}\\n0::{others}"))]
fn a_cgroup_made_to_look_like_another_pods_is_not_that_pods(#[case] forge: fn(&str, &str) -> String) {
    let tree = Tree::recorded();
    let before = tree.scan();
    assert_eq!(before.said("container-root", RESTRICTED.subject).0, "pass");
    let path = |container: &Recorded| tree.text(&format!("proc/{}/cgroup", container.pid)).trim().strip_prefix("0::").unwrap().to_owned();
    tree.copy(ROOT.pid, 9999);
    tree.write("proc/9999/cgroup", format!("0::{}\n", forge(&path(&ROOT), &path(&RESTRICTED))).as_bytes());
    let report = tree.scan();
    assert_eq!(report.of_others(&[ROOT.subject, &format!("pod:{}", ROOT.pod)]), before.of_others(&[ROOT.subject]));
    assert_eq!(report.said("container-root", ROOT.subject).0, "fail");
}

#[rstest]
#[case::not_json(&|path: &Path| fs::write(path, "{\"ociVersion\": ").unwrap())]
#[case::of_another_shape(&|path: &Path| fs::write(path, "[{\"process\": 7}]").unwrap())]
#[case::empty(&|path: &Path| fs::write(path, "").unwrap())]
#[case::nested(&|path: &Path| fs::write(path, "[".repeat(900_000)).unwrap())]
#[case::of_64_mebibytes(&|path: &Path| fs::write(path, vec![b' '; 64 * 1024 * 1024]).unwrap())]
#[case::fifo(&|path: &Path| {
    fs::remove_file(path).unwrap();
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
})]
#[case::link(&|path: &Path| {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("config.json", path).unwrap();
})]
#[case::device(&|path: &Path| {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path).unwrap();
})]
fn a_bad_bundle_is_its_own_containers_unknown(#[case] make: &dyn Fn(&Path)) {
    let tree = Tree::recorded();
    let before = tree.scan();
    make(&tree.path(&RESTRICTED.bundle()));
    let report = tree.scan();
    report.unknown_of(&RESTRICTED, &["container-image-registry", "container-image-digest"]);
    let but = [RESTRICTED.subject, &format!("pod:{}", RESTRICTED.pod)];
    assert_eq!(report.of_others(&but), before.of_others(&but));
}

#[test]
fn a_bundle_written_for_another_pod_gives_a_container_no_name() {
    let tree = Tree::recorded();
    let before = tree.scan();
    fs::copy(tree.path(&RESTRICTED.bundle()), tree.path(&ROOT.bundle())).unwrap();
    let report = tree.scan();
    report.unknown_of(&ROOT, &["container-image-registry", "container-image-digest"]);
    let but = [ROOT.subject, &format!("pod:{}", ROOT.pod)];
    assert_eq!(report.of_others(&but), before.of_others(&but), "and the other pod keeps its own");
}

#[test]
fn imports_in_a_circle_end() {
    let tree = Tree::recorded();
    let before = tree.scan().said("runtime-seccomp", "containerd").0;
    assert_eq!(before, "pass");
    let main = tree.text("host/etc/containerd/config.toml");
    tree.write(
        "host/etc/containerd/config.toml",
        format!("imports = [\"/etc/containerd/a.toml\", \"*.toml\", \"/etc/containerd/../containerd/./config.toml\"]\n{main}").as_bytes(),
    );
    tree.write("host/etc/containerd/a.toml", b"version = 3\nimports = [\"b.toml\"]\n");
    tree.write("host/etc/containerd/b.toml", b"version = 3\nimports = [\"a.toml\", \"config.toml\"]\n");
    let report = tree.scan();
    let (verdict, reason) = report.said("runtime-seccomp", "containerd");
    assert!(["pass", "unknown"].contains(&verdict.as_str()), "{verdict} {reason}");
    report.judges_the_rest();
}

#[test]
fn what_is_left_of_processes_that_ended_is_nobodys() {
    let tree = Tree::recorded();
    let before = tree.scan();
    tree.copy(ROOT.pid, 9998);
    tree.copy(ROOT.pid, 9999);
    fs::remove_file(tree.path("proc/9998/stat")).unwrap();
    for file in ["status", "cgroup", "uid_map", "exe"] {
        fs::remove_file(tree.path(&format!("proc/9999/{file}"))).unwrap();
    }
    assert_eq!(tree.scan().of_others(&[]), before.of_others(&[]));
}

#[test]
fn processes_that_vanish_while_they_are_read_leave_the_rest_judged() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let children: Vec<Child> = (0..16).map(|_| Command::new("true").spawn().unwrap()).collect();
                for mut child in children {
                    drop(child.wait());
                }
            }
        });
        for _ in 0..3 {
            scan(Path::new("/"), Path::new("/proc"), &["--no-probe"]).judges_the_rest();
        }
    });
}

/// A runtime with more to say than anybody reads.
struct Talkative;

#[tonic::async_trait]
impl RuntimeService for Talkative {
    async fn version(&self, _: Request<cri::VersionRequest>) -> Result<Response<cri::VersionResponse>, Status> {
        Ok(Response::new(cri::VersionResponse { runtime_name: "talkative".to_owned(), runtime_version: "1".to_owned() }))
    }

    async fn list_pod_sandbox(&self, _: Request<cri::ListPodSandboxRequest>) -> Result<Response<cri::ListPodSandboxResponse>, Status> {
        Ok(Response::new(cri::ListPodSandboxResponse::default()))
    }

    async fn list_containers(&self, _: Request<cri::ListContainersRequest>) -> Result<Response<cri::ListContainersResponse>, Status> {
        let container = cri::Container { image_ref: "x".repeat(64 * 1024 * 1024), ..cri::Container::default() };
        Ok(Response::new(cri::ListContainersResponse { containers: vec![container] }))
    }
}

/// Findings with and without asking the runtime at that socket are the same, and the reason is logged.
fn hears_nothing_of_it(root: &Path, reason: &str) {
    let arguments = ["--no-probe", "--cri=/run/runtime.sock"];
    scan(root, Path::new("/proc"), &arguments).judges_the_rest();
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    let command = command.env_clear().args(["scan", "-o", "json", "--host-root"]).arg(root).args(["--proc", "/proc"]).args(arguments);
    let mut said = String::new();
    // On a busy machine the answer may not even begin in time, which is another reason.
    for _ in 0..10 {
        said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
        if said.contains("the runtime was not heard") && said.contains(reason) {
            return;
        }
    }
    panic!("{said}");
}

#[test]
fn a_runtime_that_answers_with_64_mebibytes_is_not_heard() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("run")).unwrap();
    let listener = UnixListener::bind(root.path().join("run/runtime.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    threads.spawn(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let (accepted, incoming) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move { while accepted.send(listener.accept().await.map(|(stream, _)| stream)).await.is_ok() {} });
        let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
        tonic::transport::Server::builder().add_service(RuntimeServiceServer::new(Talkative)).serve_with_incoming(incoming).await
    });
    hears_nothing_of_it(root.path(), "larger than");
}

#[test]
fn a_runtime_that_never_answers_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("run")).unwrap();
    let _listener = UnixListener::bind(root.path().join("run/runtime.sock")).unwrap();
    hears_nothing_of_it(root.path(), "no answer within");
}
