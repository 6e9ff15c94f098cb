//! Random histories: ten thousand in memory, in parts so that every core has one, and fewer with SQLite.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::sqlite::{Database, Sqlite};
use super::steps::{Setup, Step, setup, steps};
use super::storage::{Memory, Storage};
use super::world::World;

const CASES: u32 = 10_000;
const PARTS: u32 = 4;
const SQLITE_CASES: u32 = 300;
/// Steps of a history at most.
const STEPS: usize = 90;

/// One history, and what it comes to.
pub(super) fn run<S: Storage>(setup: &Setup, steps: &[Step], store: S) {
    let mut world = World::new(setup.clone(), store);
    steps.iter().for_each(|step| world.step(step));
    world.settle();
}

/// How many cases there are to be, `of` of 10,000 when nothing is said.
fn cases(of: u32) -> u32 {
    let wanted = std::env::var("HOLDFAST_MODEL_CASES").ok().and_then(|cases| cases.parse::<u64>().ok());
    let cases = u64::from(of) * wanted.unwrap_or(u64::from(CASES)) / u64::from(CASES);
    u32::try_from(cases.max(1)).unwrap()
}

/// The same histories every time, others in every part.
fn runner(part: u8, cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[part; 32]))
}

fn in_memory(part: u8) {
    let outcome = runner(part, cases(CASES / PARTS)).run(&(setup(), steps(STEPS)), |(setup, steps)| {
        run(&setup, &steps, Memory::new(setup.refusing));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn nothing_is_lost_or_doubled_1() {
    in_memory(1);
}

#[test]
fn nothing_is_lost_or_doubled_2() {
    in_memory(2);
}

#[test]
fn nothing_is_lost_or_doubled_3() {
    in_memory(3);
}

#[test]
fn nothing_is_lost_or_doubled_4() {
    in_memory(4);
}

#[test]
fn nothing_is_lost_or_doubled_in_sqlite() {
    let database = Database::create();
    let nodes = std::cell::Cell::new(0);
    let strategy = (setup().prop_map(|setup| Setup { refusing: false, ..setup }), steps(STEPS));
    let outcome = runner(9, cases(SQLITE_CASES)).run(&strategy, |(setup, steps)| {
        nodes.set(nodes.get() + 1);
        run(&setup, &steps, Sqlite::new(&database, nodes.get()));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
