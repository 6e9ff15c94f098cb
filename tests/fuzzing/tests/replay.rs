//! Every input that fuzzing kept, given again to the same functions on a stable compiler: what was found once stays found.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its own files"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_fuzzing::{TARGETS, run};

/// An input that takes longer, on a machine that does other things beside it and without optimization, is a bug: each takes
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A name of an input says what it is for only until it is minimized: the target and the file are what one needs.
fn replay(targets: impl Iterator<Item = &'static str>) {
    for target in targets {
        let corpus = fuzz().join("corpus").join(target);
        for name in names(&corpus) {
            let input = std::fs::read(corpus.join(&name)).unwrap();
            let began = Instant::now();
            let outcome = std::panic::catch_unwind(|| run(target, &input));
            assert!(outcome.is_ok(), "fuzz/corpus/{target}/{name} makes it panic: see above");
            assert!(began.elapsed() < PATIENCE, "fuzz/corpus/{target}/{name} took {:?}", began.elapsed());
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs: BTreeSet<String> =
        names(&fuzz().join("fuzz_targets")).iter().map(|name| name.strip_suffix(".rs").unwrap_or(name).to_owned()).collect();
    assert_eq!(programs, known);
    assert_eq!(names(&fuzz().join("corpus")), known);
    for target in &known {
        assert!(names(&fuzz().join("corpus").join(target)).len() >= 4, "{target} has hardly anything to start from");
    }
}

#[test]
fn the_corpora_find_nothing_on_the_wire() {
    replay(TARGETS.iter().map(|(name, _)| *name).filter(|name| name.ends_with("_session") || *name == "messages"));
}

/// What the collector reads beside messages, and what both judge by.
const JUDGED_BY: [&str; 7] = ["archives", "catalogue", "collector_files", "credentials", "feeds", "reviews", "versions"];

#[test]
fn the_corpora_find_nothing_in_what_judges() {
    replay(JUDGED_BY.into_iter());
}

#[test]
fn the_corpora_find_nothing_on_a_node() {
    let of_a_node = |name: &&str| !name.ends_with("_session") && *name != "messages" && !JUDGED_BY.contains(name);
    replay(TARGETS.iter().map(|(name, _)| *name).filter(of_a_node));
}
