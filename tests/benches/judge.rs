//! Prints what judging costs on recorded nodes: deriving effective settings, and the whole of CIS section 4 and of the catalogue.
//! `make bench` runs it. In-process, one thread, after a first pass that is not counted.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may fail")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::catalogue::built_in;
use holdfast_checks::derive::derive;
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::NodeFacts;
use holdfast_tests::figures::Figures;
use holdfast_tests::site::recorded;

const TRIALS: usize = 100;

fn main() {
    let evaluator = Evaluator::new(built_in().expect("the built-in catalogue loads"));
    let answers = |row: &str| row.starts_with("4.");
    let section: BTreeSet<String> = evaluator
        .catalogue()
        .checks()
        .iter()
        .filter(|check| check.frameworks.get("cis-1.12").is_some_and(|rows| rows.iter().any(|row| answers(row))))
        .map(|check| check.id.to_string())
        .collect();
    let cis = Selection { checks: Some(section.clone()), ..Selection::default() };
    println!("{TRIALS} trials each; CIS section 4 is {} checks, all are {}", section.len(), evaluator.catalogue().checks().len());
    for name in ["hardened", "misconfigured", "static-controlplane", "cgroupv2-systemd"] {
        let read = read(name);
        let mut derived = read.clone();
        let settings = figures(|| {
            derived = read.clone();
            let start = Instant::now();
            derive(&mut derived);
            start.elapsed()
        });
        let judged = |selection: &Selection| {
            figures(|| {
                let start = Instant::now();
                let findings = evaluator.evaluate(&derived, selection).expect("facts can be judged");
                assert!(!findings.is_empty());
                start.elapsed()
            })
        };
        println!("{name:<20} derive    {}", micros(&settings));
        println!("{:<20} CIS 4     {}", "", micros(&judged(&cis)));
        println!("{:<20} all       {}", "", micros(&judged(&Selection::default())));
    }
}

fn read(name: &str) -> NodeFacts {
    let (host_root, proc) = recorded(name);
    let options = SensorOptions {
        host_root: PathBuf::from(host_root),
        proc: PathBuf::from(proc),
        probe: true,
        node_name: Some(name.to_owned()),
        cluster: String::new(),
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
    };
    Sensors::open(options).expect("the recording opens").read_all(&mut |_| {})
}

fn figures(mut once: impl FnMut() -> Duration) -> Figures {
    once();
    let mut figures = Figures::default();
    for _ in 0..TRIALS {
        figures.add(once());
    }
    figures
}

fn micros(figures: &Figures) -> String {
    let micros = |percent| figures.percentile(percent).as_secs_f64() * 1_000_000.0;
    format!("p50 {:>8.0} µs  p99 {:>8.0} µs", micros(50), micros(99))
}
