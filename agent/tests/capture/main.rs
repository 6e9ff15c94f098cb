//! `holdfast-agent capture` and `scan --facts`: what an archive holds, what it never holds, and who is refused.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod archive;
mod hostile;
mod same;
mod secrets;
mod versions;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The directory of a recorded node.
fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/recorded").join(name)
}

fn agent<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast-agent")).env_clear().args(arguments).output().unwrap()
}

/// `--host-root` and `--proc` of a tree.
fn tree(path: &Path) -> [String; 4] {
    let inside = |name: &str| path.join(name).to_str().unwrap().to_owned();
    ["--host-root".to_owned(), inside("host"), "--proc".to_owned(), inside("proc")]
}

fn capture(tree_path: &Path, archive: &Path) {
    let arguments = ["capture", "-o", archive.to_str().unwrap()].map(str::to_owned).into_iter().chain(tree(tree_path));
    let output = agent(arguments);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
}

fn scan_facts(archive: &Path) -> Output {
    agent(["scan", "-o", "json", "--facts", archive.to_str().unwrap()])
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// An archive as somebody else would make it.
struct Forged {
    tar: tar::Builder<Vec<u8>>,
}

impl Forged {
    fn new() -> Self {
        Self { tar: tar::Builder::new(Vec::new()) }
    }

    /// With a manifest and a node.
    fn whole() -> Self {
        Self::new().file("manifest.json", MANIFEST).file("facts/node.json", NODE)
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(name, tar::EntryType::Regular, content.as_ref())
    }

    /// The name as it is given: `tar` itself would refuse some.
    fn entry(mut self, name: &str, kind: tar::EntryType, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_cksum();
        self.tar.append(&header, content).unwrap();
        self
    }

    fn pack(self) -> Vec<u8> {
        zstd::encode_all(&*self.tar.into_inner().unwrap(), 1).unwrap()
    }
}

const MANIFEST: &str =
    r#"{"schema": 1, "agent_version": "0.0.9", "captured_at": "2026-08-01T10:00:00Z", "catalogue_hash": "00", "node": "n1"}"#;
const NODE: &str =
    r#"{"name": "n1", "uid": "", "cluster": "c", "role": "worker", "provider": "none", "profile": "plain", "profile_because": "-"}"#;
