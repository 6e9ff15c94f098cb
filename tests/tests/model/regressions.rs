//! Histories that once went wrong, shrunk, each by what was wrong.

use super::random::run;
use super::sqlite::{Database, Sqlite};
use super::steps::{Setup, Step};
use super::storage::Memory;

fn scan(key: u8, content: u8) -> Step {
    Step::Scan { changes: vec![(key, content)], whole: false }
}

fn in_memory(steps: &[Step]) {
    run(&Setup::default(), steps, Memory::new(false));
}

fn in_sqlite(setup: &Setup, steps: &[Step]) {
    run(setup, steps, Sqlite::new(&Database::create(), 1));
}

/// The agent took it for a breach of the contract, and came back as after one.
#[test]
fn a_collector_that_stops_before_its_welcome_is_come_back_to() {
    in_memory(&[Step::Connect, Step::Drain]);
}

/// What a failed save had been handed counted as durable once there was a file again.
#[test]
fn a_file_that_comes_back_holds_nothing_until_it_is_saved() {
    in_memory(&[scan(0, 1), Step::Save, Step::DiskFails { landed: false }, Step::DiskBack]);
}

/// History follows the snapshot that brings its end: "new, failing" was stored as "from passing", of a finding that passes by now.
#[test]
fn what_flipped_before_the_first_snapshot_keeps_its_beginning() {
    in_sqlite(&Setup::default(), &[scan(3, 1), scan(3, 2)]);
}

/// History that follows its snapshot counted as known already, because its time was not believed and made later than the snapshot's.
#[test]
fn a_clock_that_is_ahead_loses_no_history() {
    in_sqlite(&Setup { skew_ms: 90_000, ..Setup::default() }, &[scan(3, 1)]);
    in_sqlite(&Setup { skew_ms: 90_000, ..Setup::default() }, &[Step::Connect, Step::Flow, scan(3, 1), Step::Flow, scan(3, 0), scan(3, 1)]);
}

/// A copy brought back does not know that a later epoch's findings are no news: they are not missed either.
#[test]
fn a_copy_older_than_an_epoch_brings_both_sides_together() {
    let lost = [Step::SpoolLost, Step::Connect, Step::Flow, Step::BringBack];
    let steps: Vec<Step> = [Step::BackUp, scan(0, 1), Step::Connect, Step::Flow].into_iter().chain(lost).collect();
    in_memory(&steps);
}

/// An agent that lost its spool was in sync by its digest, never heard so, and was then believed to know what the collector holds.
#[test]
fn a_welcome_lost_after_a_lost_spool_leads_to_a_snapshot() {
    let crash = Step::AgentCrash { landed: false, bye: false, heard: false };
    let steps = [scan(9, 1), Step::Connect, Step::Flow, crash, Step::Connect, Step::Up(1), scan(9, 0), Step::Time(20)];
    for old_agent in [false, true] {
        run(&Setup { old_agent, ..Setup::default() }, &steps, Memory::new(false));
    }
    let lost = [scan(9, 1), Step::Connect, Step::Flow, Step::SpoolLost, scan(9, 1), Step::Connect, Step::Up(1), scan(9, 0), Step::Time(20)];
    in_memory(&lost);
    in_sqlite(&Setup::default(), &lost);
}
