//! The sockets a runtime serves its API on, where they are files: whose they are and who may open them.

use std::collections::BTreeSet;

use holdfast_checks::facts::{Listing, Observed, RuntimeDocument, RuntimeSocket, Source, SourceKind};
use serde_json::Value;

use super::engine::{Engine, Kind};
use crate::host::{NodeKind, Root};
use crate::sensors::now;

/// Every socket that the command line, a document or upstream names, and that is there. Which of them is decided by which place is
/// not looked at: any that is there lets in whoever may open it.
pub(super) fn read(root: &Root, engine: Engine, argv: &[String], documents: &[RuntimeDocument]) -> Observed<Listing<RuntimeSocket>> {
    let mut named: Vec<String> = given(argv);
    for document in documents.iter().filter_map(|document| document.content.value()) {
        named.extend(written(engine.kind, document));
    }
    // A containerd that is told an address leaves the usual one to another.
    let addressed = |document: &RuntimeDocument| document.content.value().is_some_and(|value| value.pointer("/grpc/address").is_some());
    if engine.kind != Kind::Containerd || (named.is_empty() && !documents.iter().any(addressed)) {
        named.push(usual(engine.kind).to_owned());
    }
    let mut listing = Listing::complete(Vec::new());
    let mut seen = BTreeSet::new();
    for path in named {
        let path = path.strip_prefix("/var/run/").map_or_else(|| path.clone(), |rest| format!("/run/{rest}"));
        for path in [path.clone(), format!("{path}.ttrpc")] {
            if !path.starts_with('/') || !seen.insert(path.clone()) || seen.len() > 64 {
                continue;
            }
            match root.metadata(&path) {
                Ok(there) if there.kind == NodeKind::Special => listing.items.push(RuntimeSocket {
                    subject: format!("socket:{path}"),
                    mode: i64::from(there.mode),
                    uid: i64::from(there.uid),
                    gid: i64::from(there.gid),
                    path,
                }),
                // Not that one, then.
                Ok(_) => {}
                Err(error) if error.is_absent() => {}
                Err(error) => listing.skipped.push(error.skipped(path)),
            }
        }
    }
    Observed::known(listing, Source::new(SourceKind::Process, "its configuration"), now())
}

fn usual(kind: Kind) -> &'static str {
    match kind {
        Kind::Containerd => "/run/containerd/containerd.sock",
        Kind::Crio => "/run/crio/crio.sock",
        Kind::Docker => "/run/docker.sock",
    }
}

/// `--address`, `-a`, `--listen`, `-H`, `--host`.
fn given(argv: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, argument) in argv.iter().enumerate() {
        let next = || argv.get(index + 1).map(String::as_str);
        let value = match argument.split_once('=') {
            Some(("--address" | "-a" | "--listen" | "--host" | "-H", value)) => Some(value),
            None if matches!(argument.as_str(), "--address" | "-a" | "--listen" | "--host" | "-H") => next(),
            _ => None,
        };
        found.extend(value.map(path_of));
    }
    found
}

fn written(kind: Kind, document: &Value) -> Vec<String> {
    let text = |path: &[&str]| -> Option<String> {
        let value = path.iter().try_fold(document, |here, name| here.get(name))?;
        value.as_str().filter(|text| !text.is_empty()).map(path_of)
    };
    match kind {
        Kind::Containerd => [
            text(&["grpc", "address"]),
            text(&["ttrpc", "address"]),
            text(&["plugins", "io.containerd.server.v1.grpc", "address"]),
            text(&["plugins", "io.containerd.server.v1.ttrpc", "address"]),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Kind::Crio => text(&["crio", "api", "listen"]).into_iter().collect(),
        Kind::Docker => {
            let hosts = document.get("hosts").and_then(Value::as_array).into_iter().flatten();
            hosts.filter_map(Value::as_str).map(path_of).collect()
        }
    }
}

/// `unix:///run/docker.sock` and `/run/docker.sock`.
fn path_of(address: &str) -> String {
    address.strip_prefix("unix://").unwrap_or(address).to_owned()
}
