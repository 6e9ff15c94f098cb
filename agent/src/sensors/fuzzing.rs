//! What the sensors make of bytes, opened for tests/fuzzing by the feature `fuzzing`: no product is built with it.
//!
//! Each function reads its input as one sensor would, from files, sockets and processes that an attacker may have made. They
//! panic where a reader does, and where what it read breaks a rule of its own.

use serde_json::Value;

use super::{
    certificates, config, containers, cri, kernel, network, origins, os, packages, probes, processes, programs, runtimes, sockets, system,
};

/// YAML as Kubernetes' components read it, secrets taken out: a kubelet's configuration, a drop-in.
///
/// # Errors
/// Why it is none.
pub fn yaml(text: &str) -> Result<Value, String> {
    config::parse(text).map(super::redact::document)
}

/// A runtime's configuration, read as TOML and as JSON, secrets taken out.
pub fn runtime(text: &str) -> [Result<Value, String>; 2] {
    runtimes::fuzz(text)
}

/// `/proc/<pid>/cgroup`.
pub fn cgroup(text: &str) {
    processes::fuzzing::cgroup(text);
}

/// `/proc/<pid>/mountinfo`: how many mounts there are, and how many of them are visible.
pub fn mountinfo(content: &[u8]) -> (usize, usize) {
    containers::fuzzing::mountinfo(content)
}

/// `/proc/<pid>/{stat,status,cmdline,uid_map}`, `/proc/1/net/*`, and a link of `fd`.
pub fn process(content: &[u8]) {
    processes::fuzzing::files(content);
    sockets::fuzz(content);
}

/// A container's configuration: an OCI bundle's, Docker's, the answers of a runtime asked over CRI.
pub fn container(content: &[u8]) {
    containers::fuzzing::configuration(content);
    cri::fuzz(content);
}

/// dpkg's database and `os-release`.
pub fn packages(content: &[u8]) {
    packages::dpkg::fuzz(content);
    os::fuzz(&String::from_utf8_lossy(content));
}

/// A program file.
pub fn program(content: &[u8]) {
    programs::elf::fuzz(content);
}

/// What a listener answers, in pieces of `step` bytes.
pub fn answer(content: &[u8], step: usize) {
    probes::fuzz(content, step);
}

/// PEM files and kubeconfigs.
pub fn certificates(content: &[u8]) {
    certificates::fuzz(content);
}

/// What administrators write: units, `sshd_config`, systemd's and rsyslog's settings, GRUB's menu.
pub fn settings(text: &str) {
    origins::unit::fuzz(text);
    network::sshd::fuzz(text);
    system::fuzz(text);
    kernel::fuzz(text);
}
