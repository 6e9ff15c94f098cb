//! End-to-end tests: one binary, because each would be a link of its own. Every test has its own directory, database and ports.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::float_cmp,
    clippy::format_push_string,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::single_match_else,
    clippy::string_slice,
    reason = "a test may fail, and reads its own files"
)]

mod browser;
mod chain;
mod containerd;
mod containers;
mod deployed;
mod disk;
mod enrolment;
mod feeds;
mod fleet;
mod holders;
mod hostile;
mod hostile_pages;
mod hostile_strings;
mod identity;
mod incluster;
mod kill;
mod kill_agent;
mod kill_collector;
mod kubelet;
mod live;
mod membership;
mod nested;
mod peers;
mod policy;
mod privileges;
mod receivers;
mod recorded;
mod rig;
mod rotation;
mod siege;
mod silence;
mod watches;

use holdfast_tests::site::Binaries;
use tokio::sync::Mutex;

/// Port 10255 of this host: one test at a time may open it.
static READ_ONLY_PORT: Mutex<()> = Mutex::const_new(());

/// A process called kubelet is seen by every agent of this host, also from outside its namespaces: one test at a time has one,
/// or wants none.
static KUBELET: Mutex<()> = Mutex::const_new(());

/// How often something is killed: `HOLDFAST_KILL_ROUNDS`, or as often as CI has time for.
fn rounds() -> u64 {
    std::env::var("HOLDFAST_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().expect("HOLDFAST_KILL_ROUNDS is a number"))
}

/// The binaries cargo built for this package.
const BINARIES: Binaries =
    Binaries { agent: env!("CARGO_BIN_EXE_holdfast-test-agent"), collector: env!("CARGO_BIN_EXE_holdfast-test-collector") };
