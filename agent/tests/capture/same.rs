//! A capture is judged like what it was made of.

use std::path::Path;

use holdfast_agent::capture::{Manifest, read, write};
use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::derive::derive;
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::{Group, NodeFacts};
use holdfast_checks::versions::judge;
use holdfast_checks::versions::knowledge::Knowledge;
use jiff::civil::date;
use rstest::rstest;
use serde_json::Value;

use super::{agent, capture, code, recorded, report, scan_facts, tree};

/// Findings without the times, which are those of the reading.
fn findings(report: &Value) -> Vec<Value> {
    let mut findings = report["findings"].as_array().unwrap().clone();
    for finding in &mut findings {
        for evidence in finding["evidence"].as_array_mut().unwrap() {
            evidence["at"] = Value::Null;
        }
    }
    findings
}

#[rstest]
#[case("hardened")]
#[case("misconfigured")]
#[case("static-controlplane")]
#[case("cgroupv2-systemd")]
fn a_tree_and_its_capture_give_the_same_findings(#[case] name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("node.tar.zst");
    let tree_path = recorded(name);
    capture(&tree_path, &archive);
    let direct = agent(["scan", "-o", "json"].map(str::to_owned).into_iter().chain(tree(&tree_path)));
    let again = scan_facts(&archive);
    assert_eq!((code(&direct), code(&again)), (0, 0));
    let (direct, again) = (report(&direct), report(&again));
    let (read, captured) = (findings(&direct), findings(&again));
    assert!(read.iter().any(|finding| finding["verdict"] == "pass") && read.iter().any(|finding| finding["verdict"] == "fail"));
    for (one, other) in read.iter().zip(&captured) {
        assert_eq!(one, other);
    }
    assert_eq!(read.len(), captured.len());
    for same in ["node", "coverage", "catalogue_hash"] {
        assert_eq!(direct[same], again[same]);
    }
    assert!(direct.get("capture").is_none());
}

/// Also the times: what was read once is the same facts afterwards.
#[test]
fn this_host_and_its_capture_give_the_same_findings() {
    let options = SensorOptions {
        host_root: Path::new("/").to_owned(),
        proc: Path::new("/proc").to_owned(),
        probe: false,
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
        node_name: None,
        cluster: "c".to_owned(),
    };
    let mut sensors = Sensors::open(options).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let manifest = Manifest::new("n1".to_owned(), "00".to_owned(), &[Group::Os].into(), jiff::Timestamp::now());
    let mut archive = Vec::new();
    write(&facts, &manifest, &mut archive).unwrap();
    let captured = read(&*archive).unwrap();
    assert_eq!((captured.manifest, captured.ignored), (manifest, Vec::new()));
    let evaluator = Evaluator::new(holdfast_agent::catalogue::load(None).unwrap());
    let finished = |facts: &mut NodeFacts| {
        derive(facts);
        judge(facts, &Knowledge::built_in().unwrap(), date(2026, 8, 1));
        evaluator.evaluate(facts, &Selection::default()).unwrap()
    };
    let mut again = captured.facts;
    assert_eq!(finished(&mut facts), finished(&mut again));
    assert_eq!(facts, again);
    println!("{} bytes, {} processes", archive.len(), facts.processes.value().map_or(0, |listing| listing.items.len()));
}
