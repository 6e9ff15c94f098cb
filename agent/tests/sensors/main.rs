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

/// Everything of a tree, and that no sensor had trouble.
fn read(options: SensorOptions) -> NodeFacts {
    let mut sensors = Sensors::open(options).unwrap();
    let facts = sensors.read_all(&mut |_| {});
    assert!(sensors.troubled().is_empty(), "{:?}", sensors.troubled());
    facts
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
