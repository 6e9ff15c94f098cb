//! `holdfast-agent scan`, the program: what it prints and how it ends.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A catalogue of our own, so that these snapshots change when `scan` does and not with every new check.
const CHECKS: &str = r#"
- id: test-anonymous
  title: Declared closed
  severity: critical
  area: kubelet
  judged_by: node
  subjects: kubelets
  pass: it.documents.exists(d, d.content.authentication.anonymous.enabled == false)
  evidence: [it.documents]
  why: w
  fix: f
- id: test-kptr
  title: Kernel pointers are hidden
  severity: medium
  area: kernel
  judged_by: node
  pass: kernel.sysctls.kptr_restrict > 0
  evidence: [kernel.sysctls.kptr_restrict]
  why: w
  fix: f
- id: test-names
  title: No process is called like markup
  severity: low
  area: processes
  judged_by: node
  subjects: processes.filter(p, p.pid == 66)
  pass: "!it.name.contains('<')"
  evidence: [it.name]
  why: w
  fix: f
- id: test-person
  title: Somebody looks at it
  severity: info
  area: kubelet
  judged_by: node
  manual: Does somebody look at it?
  why: w
  fix: f
  frameworks: {nsa-1.2: [NSA-X]}
"#;

/// A tree with one kubelet and a process with a hostile name, and [`CHECKS`].
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &[u8]| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("checks/test.yaml", CHECKS.as_bytes());
    write("host/holdfast-tree.json", br#"{"uname": {"release": "6.1.0"}}"#);
    write("host/etc/hostname", b"n1\n");
    write("host/etc/config.yaml", b"authentication: {anonymous: {enabled: true}}\n");
    write("proc/1/net/tcp", b"  sl\n");
    write("proc/1/net/udp", b"  sl\n");
    let processes: [(&str, &[u8], &[u8]); 2] =
        [("10", b"kubelet", b"kubelet\0--config=/etc/config.yaml\0"), ("66", "<script>\u{1b}[2J\u{202e}".as_bytes(), b"x\0")];
    for (pid, name, cmdline) in processes {
        let stat = [pid.as_bytes(), b" (", name, b") S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"].concat();
        write(&format!("proc/{pid}/stat"), &stat);
        write(&format!("proc/{pid}/status"), b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n");
        write(&format!("proc/{pid}/cmdline"), cmdline);
        write(&format!("proc/{pid}/cgroup"), b"0::/system.slice/x.service\n");
        write(&format!("proc/{pid}/uid_map"), b"0 0 4294967295\n");
        write(&format!("proc/{pid}/root"), b"/");
        write(&format!("proc/{pid}/exe"), &[b"/usr/bin/", name].concat());
    }
    tree
}

fn scan(tree: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    command.env_clear().arg("scan").arg("--no-probe");
    command.arg("--host-root").arg(tree.join("host")).arg("--proc").arg(tree.join("proc"));
    command.arg("--catalogue").arg(tree.join("checks")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The findings of [`CHECKS`] alone.
fn ours(report: &Value) -> Vec<Value> {
    let ours = |finding: &&Value| finding["check"].as_str().unwrap().starts_with("test-");
    report["findings"].as_array().unwrap().iter().filter(ours).cloned().collect()
}

/// A time is RFC 3339, or null where the fact was not read.
fn redact_time(at: &mut Value) {
    if let Some(time) = at.as_str() {
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        *at = "[time]".into();
    }
}

#[test]
fn json_is_the_contract() {
    let tree = tree();
    let output = scan(tree.path(), &["-o", "json", "--cluster", "c"]);
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
    let raw = text(&output.stdout);
    assert!(!raw.contains('\u{1b}') && !raw.contains('\u{202e}'));
    let mut report: Value = serde_json::from_str(&raw).unwrap();
    let keys: Vec<String> = report["findings"].as_array().unwrap().iter().map(|f| format!("{} {}", f["check"], f["subject"])).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    report["findings"] = ours(&report).into();
    report["agent_version"] = "[version]".into();
    for (pointer, stands_for) in [("/catalogue_hash", "[hash]"), ("/started_at", "[time]"), ("/duration_ms", "[ms]")] {
        *report.pointer_mut(pointer).unwrap() = stands_for.into();
    }
    for counted in ["/coverage/applicable", "/coverage/decided"] {
        let number = report.pointer_mut(counted).unwrap();
        assert!(number.is_u64());
        *number = "[number]".into();
    }
    for finding in report["findings"].as_array_mut().unwrap() {
        for evidence in finding["evidence"].as_array_mut().unwrap() {
            redact_time(&mut evidence["at"]);
        }
    }
    let shown = serde_json::to_string_pretty(&report).unwrap().replace('\u{202e}', "\\u202e");
    insta::assert_snapshot!(shown);
}

#[test]
fn the_table_shows_failures_first_and_obeys_no_name() {
    let tree = tree();
    let output = scan(tree.path(), &["--framework", "nsa-1.2"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("Declared closed"), "answers no row of the framework");
    let output = scan(tree.path(), &[]);
    let table = text(&output.stdout);
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'));
    assert!(table.contains("<script>\\u{1b}[2J\\u{202e}"), "{table}");
    let at = |what: &str| table.find(what).unwrap_or_else(|| panic!("{what} in {table}"));
    assert!(at("Failed, critical") < at("Failed, low") && at("Failed, low") < at("Not known"));
    assert!(at("Not known") < at("To be answered by a person"));
    assert_eq!(text(&output.stderr), "", "progress is for terminals");
}

#[test]
fn exit_codes_say_what_happened() {
    let tree = tree();
    let scan = |arguments: &[&str]| scan(tree.path(), arguments);
    assert_eq!(code(&scan(&["--fail-on", "critical"])), 1);
    assert_eq!(code(&scan(&["--framework", "nsa-1.2", "-o", "json"])), 0);
    for usage in [&["--fail-on", "bad"][..], &["--framework", "pci"], &["-o", "xml"], &["--what"]] {
        let output = scan(usage);
        assert_eq!(code(&output), 2, "{usage:?}");
        assert!(!output.stderr.is_empty());
    }
    assert!(text(&scan(&["--framework", "pci"]).stderr).contains("cis-1.12, nsa-1.2"));
    let missing = tree.path().join("host/none");
    let output = scan(&["--host-root", missing.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
}

#[test]
fn a_bad_catalogue_is_refused_with_file_line_and_reason() {
    let tree = tree();
    for (content, words) in [
        ("- id: mine\n  titel: wrong\n", &["mine.yaml", "titel", "line"][..]),
        (&CHECKS.replace("kernel.sysctls.kptr_restrict > 0", "kernel.sysctls.kptr_restrict >"), &["mine.yaml:12", "test-kptr", "pass"]),
    ] {
        fs::remove_file(tree.path().join("checks/test.yaml")).ok();
        fs::write(tree.path().join("checks/mine.yaml"), content).unwrap();
        let output = scan(tree.path(), &[]);
        let message = text(&output.stderr);
        assert_eq!(code(&output), 2, "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

#[test]
fn help_is_stable() {
    let help = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_holdfast-agent")).env_clear().args([command, "--help"]).output().unwrap();
        text(&output.stdout)
    };
    insta::assert_snapshot!("scan_help", help("scan"));
    insta::assert_snapshot!("expectations_help", help("expectations"));
}

#[test]
fn what_is_expected_can_be_seen() {
    let list = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
        let output = command.env_clear().arg("expectations").args(arguments).output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    insta::assert_snapshot!(list(&[]));
    let json: Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
    assert_eq!(json[0]["id"], "kube-apiserver");
    assert!(json.as_array().unwrap().iter().all(|waiver| waiver["by"] == "built_in" && waiver["reason"].is_string()));
}
