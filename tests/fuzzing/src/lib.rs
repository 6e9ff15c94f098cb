//! What each fuzz target does with its bytes.
//!
//! `fuzz/` gives these functions to libFuzzer, which needs a nightly compiler; `tests/replay.rs` gives them every input that was
//! kept, on a stable one. A target panics where the product would, where it breaks one of its own rules, and where its answer
//! is larger than the input can justify. Hangs and memory are libFuzzer's to notice.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "part of the tests: a target may fail")]

mod agent;
mod collector;
mod files;
mod judging;
mod reviews;
mod wire;

/// What a target does with an input.
pub type Body = fn(&[u8]);

/// Every target: its name, as in `fuzz/fuzz_targets` and `fuzz/corpus`, and what it does.
pub const TARGETS: &[(&str, Body)] = &[
    ("agent_session", agent::session),
    ("answers", files::answers),
    ("archives", judging::archives),
    ("capture", files::capture),
    ("catalogue", judging::catalogue),
    ("certificates", files::certificates),
    ("cgroup", files::cgroup),
    ("collector_files", collector::files),
    ("collector_session", collector::session),
    ("containers", files::containers),
    ("credentials", collector::credentials),
    ("feeds", judging::feeds),
    ("kubelet", files::kubelet),
    ("messages", wire::messages),
    ("mountinfo", files::mountinfo),
    ("packages", files::packages),
    ("process", files::process),
    ("programs", files::programs),
    ("reviews", reviews::reviews),
    ("runtimes", files::runtimes),
    ("settings", files::settings),
    ("spool", agent::spool),
    ("versions", judging::versions),
];

/// Runs the target called `name`.
///
/// # Panics
/// When there is none of that name, and when the target finds something.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| unreachable!("no target {name}"));
    target(data);
}
