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
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rcgen::KeyPair;
use rstest::rstest;
use serde_json::Value;

/// No sensor's deadline is longer, and no two of them run into theirs here.
const IN_TIME: Duration = Duration::from_secs(12);
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
    let started = Instant::now();
    let output = command.output().unwrap();
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
        scope.spawn(|| {
            let file = fs::OpenOptions::new().write(true).open(&config).unwrap();
            for moment in 1.. {
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_micros(moment)).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let until = Instant::now() + Duration::from_mins(1);
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
