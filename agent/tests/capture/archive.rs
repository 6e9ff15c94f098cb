//! The archive as a file: private, whole or not there, never in the place of another.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{agent, code, recorded, text, tree};

/// `capture -o <path>` of a tree, with more arguments.
fn capture(path: &str, more: &[&str]) -> std::process::Output {
    let arguments = ["capture", "-o", path].into_iter().chain(more.iter().copied()).map(str::to_owned);
    agent(arguments.chain(tree(&recorded("hardened"))))
}

fn unpacked(packed: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    let name = |entry: std::io::Result<tar::Entry<'_, _>>| entry.unwrap().path().unwrap().to_str().unwrap().to_owned();
    archive.entries().unwrap().map(name).collect()
}

#[test]
fn it_holds_a_manifest_and_a_file_per_group() {
    let output = capture("-", &[]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    insta::assert_snapshot!(unpacked(&output.stdout).join("\n"));
    let mut archive = tar::Archive::new(zstd::Decoder::new(&*output.stdout).unwrap());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let mut manifest: serde_json::Value = serde_json::from_reader(&mut entry).unwrap();
    for varies in ["agent_version", "captured_at", "catalogue_hash"] {
        assert!(manifest[varies].as_str().is_some_and(|text| !text.is_empty()));
        manifest[varies] = format!("[{varies}]").into();
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}

#[test]
fn nothing_derived_is_in_it() {
    let output = capture("-", &[]);
    let capture = holdfast_agent::capture::read(&*output.stdout).unwrap();
    let kubelet = &capture.facts.kubelets.value().unwrap().items[0];
    assert!(kubelet.settings.is_empty() && kubelet.observed.is_empty() && kubelet.reported.is_empty());
    assert!(kubelet.listeners.value().is_none() && kubelet.probes.value().is_none());
    assert!(kubelet.documents.value().is_some());
}

#[test]
fn it_is_private_and_overwrites_only_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.tar.zst");
    let name = path.to_str().unwrap();
    assert_eq!(code(&capture(name, &[])), 0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let first = fs::read(&path).unwrap();
    let refused = capture(name, &[]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(code(&capture(name, &["--force"])), 0);
    assert!(!fs::read(&path).unwrap().is_empty());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    fs::write(&kept, "kept").unwrap();
    let link = dir.path().join("link");
    symlink(&kept, &link).unwrap();
    for (path, words) in [
        (dir.path().to_str().unwrap(), "not a regular file"),
        (link.to_str().unwrap(), "not a regular file"),
        ("/dev/null", "`-` for stdout"),
        ("none/..", "names no file"),
    ] {
        let output = capture(path, &["--force"]);
        assert_eq!(code(&output), 2, "{path}");
        assert!(text(&output.stderr).contains(words), "{path}: {}", text(&output.stderr));
    }
    assert_eq!(fs::read(&kept).unwrap(), b"kept");
    let nowhere = capture(dir.path().join("none/node.tar.zst").to_str().unwrap(), &[]);
    assert_eq!(code(&nowhere), 3, "{}", text(&nowhere.stderr));
    assert!(text(&nowhere.stderr).contains("No such file"), "{}", text(&nowhere.stderr));
}

#[test]
fn a_capture_goes_through_a_pipe() {
    let archive = capture("-", &[]).stdout;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("piped");
    fs::write(&path, archive).unwrap();
    let mut scan = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    let scan = scan.env_clear().args(["scan", "-o", "json", "--facts", "-"]).stdin(fs::File::open(&path).unwrap()).output().unwrap();
    assert_eq!(code(&scan), 0, "{}", text(&scan.stderr));
    assert!(!super::report(&scan)["findings"].as_array().unwrap().is_empty());
}

#[test]
fn a_capture_and_a_host_are_not_scanned_at_once() {
    for other in [&["--host-root", "/"][..], &["--proc", "/proc"], &["--no-probe"], &["--node-name", "n"], &["--cluster", "c"]] {
        let output = agent([&["scan", "--facts", "x"], other].concat());
        assert_eq!(code(&output), 2);
        assert!(text(&output.stderr).contains("cannot be used with"), "{}", text(&output.stderr));
    }
}

#[test]
fn help_is_stable() {
    insta::assert_snapshot!(text(&agent(["capture", "--help"]).stdout));
}
