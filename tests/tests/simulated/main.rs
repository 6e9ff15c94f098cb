//! The real line, session, ingest and store over a simulated network, by seeds: whatever it does, both sides agree in the end.
//!
//! `HOLDFAST_SEEDS=5000 cargo test -p holdfast-tests --test simulated --release` plays more stories, from `HOLDFAST_FIRST_SEED` on;
//! `HOLDFAST_SEED=7` plays that one alone and prints what happened.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::redundant_closure_for_method_calls,
    clippy::single_match_else,
    reason = "a test may fail, and reads its own files"
)]

mod agent;
mod check;
mod collector;
mod disk;
mod network;
mod story;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use story::{Came, play};

/// In CI.
const SEEDS: u64 = 50;
/// A memory file system where there is one: what a commit costs on a disk is no part of this.
const SHARED_MEMORY: &str = "/dev/shm";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`: give a number")))
}

/// Plays one seed; what went wrong when something did.
fn outcome(seed: u64) -> Result<Came, String> {
    let builder = tempfile::Builder::new();
    let memory = Path::new(SHARED_MEMORY);
    let directory = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap();
    let played = catch_unwind(AssertUnwindSafe(|| play(seed, directory.path())));
    played.unwrap_or_else(|panic| Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked, see above".to_owned())))
}

#[test]
fn whatever_the_network_does_nothing_is_lost_and_nothing_doubled() {
    let one = number("HOLDFAST_SEED");
    let first = one.or_else(|| number("HOLDFAST_FIRST_SEED")).unwrap_or(1);
    let last = first + one.map_or_else(|| number("HOLDFAST_SEEDS").unwrap_or(SEEDS), |_| 1);
    let (next, started) = (Arc::new(AtomicU64::new(first)), Instant::now());
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let (next, outcomes) = (Arc::clone(&next), Arc::clone(&outcomes));
        std::thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= last {
                    return;
                }
                let came = outcome(seed);
                if let Err(problem) = &came {
                    println!("seed {seed}: {problem}\nalone: HOLDFAST_SEED={seed} cargo test -p holdfast-tests --test simulated\n");
                }
                outcomes.lock().unwrap().push((seed, came));
            }
        })
    };
    let workers: Vec<_> = (0..workers).map(|_| work()).collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());

    let outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
    let failed: Vec<u64> = outcomes.iter().filter(|(_, came)| came.is_err()).map(|(seed, _)| *seed).collect();
    let came: Vec<Came> = outcomes.into_iter().filter_map(|(_, came)| came.ok()).collect();
    let (simulated, transitions) =
        (came.iter().map(|came| came.simulated).sum::<Duration>(), came.iter().map(|came| came.transitions).sum::<u64>());
    let sessions = came.iter().map(|came| came.sessions).sum::<u64>();
    let took = started.elapsed();
    println!("{} seeds in {took:.1?}: {simulated:.0?} simulated, {sessions} sessions, {transitions} transitions", last - first);
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
}
