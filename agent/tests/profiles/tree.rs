//! A node's tree, written piece by piece.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// Files of a host and its processes below a temporary directory.
pub(crate) struct Tree {
    directory: tempfile::TempDir,
    files: RefCell<BTreeMap<String, Value>>,
}

impl Tree {
    /// A host whose os-release has these lines. Process 1 has no sockets.
    pub(crate) fn new(os_release: &str) -> Self {
        let tree = Self { directory: tempfile::tempdir().unwrap(), files: RefCell::default() };
        tree.plain("host/etc/os-release", os_release);
        for table in ["tcp", "udp"] {
            tree.plain(&format!("proc/1/net/{table}"), "  sl\n");
        }
        tree
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Writes a file of the tree that is no file of interest.
    pub(crate) fn plain(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A file of root's with mode 0600.
    pub(crate) fn file(&self, path: &str, content: &str) {
        self.plain(&format!("host{path}"), content);
        self.files.borrow_mut().insert(path.to_owned(), json!({"mode": "0600", "uid": 0, "gid": 0}));
    }

    /// Writes `holdfast-tree.json`.
    pub(crate) fn describe(&self) {
        let description = json!({"files": *self.files.borrow(), "uname": {"release": "6.12.1"}});
        self.plain("host/holdfast-tree.json", description.to_string());
    }

    /// A service's process; `command` is split at blanks.
    pub(crate) fn service(&self, pid: u32, exe: &str, command: &str) {
        self.process(pid, exe, command, "0::/system.slice/x.service\n");
    }

    /// A process of a pod, on the host's network.
    pub(crate) fn pod(&self, pid: u32, exe: &str) {
        let pod = "0123456789abcdef0123456789abcdef01234567";
        self.process(pid, exe, exe, &format!("0::/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{}.scope\n", "a".repeat(64)));
    }

    /// A process of a container that has a network of its own.
    pub(crate) fn container(&self, pid: u32, exe: &str, command: &str) {
        self.process(pid, exe, command, &format!("0::/docker/{}\n", "b".repeat(64)));
        self.plain(&format!("proc/{pid}/ns/net"), "net:[4026539999]");
    }

    fn process(&self, pid: u32, exe: &str, command: &str, cgroup: &str) {
        let name: String = exe.rsplit('/').next().unwrap().chars().take(15).collect();
        let write = |file: &str, content: &str| self.plain(&format!("proc/{pid}/{file}"), content);
        write("stat", &format!("{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"));
        write("status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n");
        let command = command.split_ascii_whitespace().collect::<Vec<_>>().join("\0") + "\0";
        write("cmdline", &command);
        write("cgroup", cgroup);
        write("uid_map", "0 0 4294967295\n");
        write("root", "/");
        write("cwd", "/");
        write("exe", exe);
        for namespace in ["net", "mnt", "user", "pid", "cgroup"] {
            write(&format!("ns/{namespace}"), &format!("{namespace}:[4026531840]"));
            self.plain(&format!("proc/1/ns/{namespace}"), format!("{namespace}:[4026531840]"));
        }
    }
}
