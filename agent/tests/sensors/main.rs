//! Sensors on recorded nodes, on hostile trees, and on this host.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may fail"
)]

mod asked;
mod certificates;
mod containers;
mod files;
mod hostile;
mod kernel;
mod kubelets;
mod live;
mod packages;
mod processes;
mod programs;
mod recorded;
mod runtimes;
mod system;

use std::path::{Path, PathBuf};

use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::facts::{Listing, NodeFacts, Observed};

/// Options for a tree or host; nothing is asked of any port.
fn options(host_root: &Path, proc: &Path) -> SensorOptions {
    SensorOptions {
        host_root: host_root.to_owned(),
        proc: proc.to_owned(),
        probe: false,
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
        node_name: None,
        cluster: "test".to_owned(),
    }
}

/// Everything of a tree, and that no sensor had trouble: on a busy machine a deadline may pass, and then it is read again.
fn read(options: SensorOptions) -> NodeFacts {
    let mut sensors = Sensors::open(options).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    for _ in 0..4 {
        if sensors.troubled().is_empty() {
            return facts;
        }
        facts = sensors.read_all(&mut |_| {});
    }
    panic!("{:?}", sensors.troubled());
}

/// Copies a program so that it can be started at once. Another process does it: what this one has open for writing, a child that another
/// test is just starting has open too, and as long as it has, the system starts no such program (`ETXTBSY`).
fn copy_program(from: &str, to: &Path) {
    assert!(std::process::Command::new("cp").arg("--").arg(from).arg(to).status().unwrap().success(), "{}", to.display());
}

/// The directory of a recorded node.
fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/recorded").join(name)
}

fn known<T>(fact: &Observed<T>) -> &T {
    fact.value().unwrap_or_else(|| panic!("not known: {:?}", fact.unavailable()))
}

/// The items of a listing of which nothing is missing.
fn complete<T>(fact: &Observed<Listing<T>>) -> &[T] {
    let listing = known(fact);
    assert!(listing.skipped.is_empty(), "{:?}", listing.skipped);
    &listing.items
}
