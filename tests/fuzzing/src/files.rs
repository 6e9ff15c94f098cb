//! What is read on a node, and what follows from it.

use holdfast_agent::sensors::fuzzing;
use holdfast_agent::{capture, watch, x509};
use holdfast_checks::derive::derive;
use holdfast_checks::facts::{
    ConfigDocument, DocumentKind, DocumentRole, Kubelet, Listing, Node, NodeFacts, Observed, Reason, Runtime, RuntimeDocument, Source,
    SourceKind, Unavailable,
};
use serde_json::Value;

fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::File, "f"), 1_790_000_000_000)
}

fn nothing() -> NodeFacts {
    NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not in this test"))
}

/// Derives; to do so again changes nothing.
fn twice(facts: &mut NodeFacts) {
    derive(facts);
    let once = facts.clone();
    derive(facts);
    assert!(*facts == once, "to derive twice is to derive once");
}

/// A control group file.
pub(crate) fn cgroup(data: &[u8]) {
    fuzzing::cgroup(&text(data));
}

/// A table of mounts.
pub(crate) fn mountinfo(data: &[u8]) {
    let (all, visible) = fuzzing::mountinfo(data);
    assert!(visible <= all && all <= data.len() / 10 + 1, "{visible} of {all} mounts in {} bytes", data.len());
}

/// A process's own files, the tables of sockets, what the kernel's connector tells.
pub(crate) fn process(data: &[u8]) {
    fuzzing::process(data);
    watch::fuzz_connector(data);
}

/// Bundles, Docker's files, a runtime's answers.
pub(crate) fn containers(data: &[u8]) {
    fuzzing::container(data);
}

/// dpkg's database and `os-release`.
pub(crate) fn packages(data: &[u8]) {
    fuzzing::packages(data);
}

/// An ELF file.
pub(crate) fn programs(data: &[u8]) {
    fuzzing::program(data);
}

/// Units, `sshd_config`, rsyslog, GRUB.
pub(crate) fn settings(data: &[u8]) {
    fuzzing::settings(&text(data));
}

/// HTTP answers and TLS flights; the first byte says in which pieces they come.
pub(crate) fn answers(data: &[u8]) {
    if let Some((step, data)) = data.split_first() {
        fuzzing::answer(data, usize::from(*step));
    }
}

/// A certificate, a PEM file, a kubeconfig.
pub(crate) fn certificates(data: &[u8]) {
    if let Ok(certificate) = x509::certificate(data) {
        assert!(certificate.fingerprint.len() == 64 && certificate.names.len() <= data.len());
        x509::signed_by(data, data);
    }
    fuzzing::certificates(data);
}

/// An archive, derived again like a node's own facts.
pub(crate) fn capture(data: &[u8]) {
    if let Ok(mut read) = capture::read(data) {
        twice(&mut read.facts);
    }
}

/// A kubelet's configuration with drop-ins: documents separated by a NUL, then what it was started with, an argument a line.
pub(crate) fn kubelet(data: &[u8]) {
    let text = text(data);
    let mut parts: Vec<&str> = text.split('\0').take(6).collect();
    let argv = if parts.len() > 1 { parts.pop().unwrap_or_default() } else { "" };
    let mut argv: Vec<String> = std::iter::once("kubelet").chain(argv.lines()).map(str::to_owned).collect();
    argv.extend(["--config=/c".to_owned(), "--config-dir=/d".to_owned()]);
    let documents = parts.iter().enumerate().map(|(at, text)| ConfigDocument {
        path: if at == 0 { "/c".to_owned() } else { format!("/d/{at}.conf") },
        kind: if at == 0 { DocumentKind::Main } else { DocumentKind::DropIn },
        content: fuzzing::yaml(text).map_or_else(|why| Observed::unavailable_because(Reason::Malformed, why), known),
    });
    let kubelet = Kubelet {
        version: known("v1.34.1".to_owned()),
        host_network: known(true),
        argv,
        documents: known(Listing::complete(documents.collect())),
        ..Kubelet::unread("kubelet", 7, "kubelet")
    };
    let mut facts = nothing();
    facts.kubelets = known(Listing::complete(vec![kubelet]));
    twice(&mut facts);
    let settings = facts.kubelets.value().and_then(|kubelets| kubelets.items.first()).map(|kubelet| kubelet.settings.len());
    assert!(settings.is_some_and(|settings| settings > 60), "every setting has an answer");
}

/// A runtime's configuration: documents separated by a NUL, as TOML where that parses, else as JSON, for each of the three.
pub(crate) fn runtimes(data: &[u8]) {
    let text = text(data);
    let mut documents = Vec::new();
    for (at, part) in text.split('\0').take(5).enumerate() {
        let [toml, json] = fuzzing::runtime(part);
        let role = [
            DocumentRole::Main,
            DocumentRole::DropIn,
            DocumentRole::RegistryHosts,
            DocumentRole::Registries,
            DocumentRole::SignaturePolicy,
        ];
        let content: Result<Value, String> = toml.or(json);
        documents.push(RuntimeDocument {
            path: format!("/etc/{at}"),
            role: role[at % role.len()],
            content: content.map_or_else(|why| Observed::unavailable_because(Reason::Malformed, why), known),
        });
    }
    let runtime = |name: &str, version: &str| Runtime {
        version: known(version.to_owned()),
        argv: vec![name.to_owned()],
        documents: known(Listing::complete(documents.clone())),
        ..Runtime::unread(name, name, 7)
    };
    let mut facts = nothing();
    facts.runtimes = known(Listing::complete(vec![
        runtime("containerd", "v1.7.27"),
        runtime("containerd", "v2.1.4"),
        runtime("cri-o", "1.33.0"),
        runtime("docker", "28.3.1"),
    ]));
    twice(&mut facts);
}
