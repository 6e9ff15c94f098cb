//! The recorded nodes, judged by the real binary: who is open, who is not, and on what evidence.

use std::path::Path;

use holdfast_tests::process::{in_time, output};
use holdfast_tests::site::recorded;
use serde_json::Value;

use crate::BINARIES;

/// Checks whose failure means that somebody can reach the kubelet without credentials.
const EXPOSURE: [&str; 7] = [
    "kubelet-anonymous-auth",
    "kubelet-answers-anonymous",
    "kubelet-authorization-mode",
    "kubelet-read-only-port",
    "kubelet-read-only-port-answers",
    "kubelet-read-only-port-listening",
    "kubelet-anonymous-contradiction",
];

fn scan(name: &str) -> Vec<Value> {
    let (host, proc) = recorded(name);
    let arguments = ["scan", "-o", "json", "--host-root", &host, "--proc", &proc];
    let (code, out, errors) = in_time(|| output(Path::new(BINARIES.agent), &arguments)).unwrap();
    assert_eq!(code, 0, "{errors}");
    let report: Value = serde_json::from_str(&out).unwrap();
    report["findings"].as_array().unwrap().clone()
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    let found: Vec<_> = findings.iter().filter(|finding| finding["check"] == check).collect();
    assert!(!found.is_empty(), "no finding of {check}");
    found
}

fn failing<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    of(findings, check).into_iter().filter(|finding| finding["verdict"] == "fail").collect()
}

#[test]
fn the_hardened_nodes_have_no_kubelet_exposure_finding() {
    for name in ["hardened", "cgroupv2-systemd"] {
        let findings = scan(name);
        for check in EXPOSURE {
            assert_eq!(failing(&findings, check), Vec::<&Value>::new(), "{check} on {name}");
        }
        for check in ["kubelet-anonymous-auth", "kubelet-read-only-port", "kubelet-authorization-mode", "kubelet-answers-anonymous"] {
            assert!(
                of(&findings, check).iter().all(|finding| finding["verdict"] == "pass"),
                "{check} on {name} is decided: {:?}",
                of(&findings, check)
            );
        }
    }
}

#[test]
fn the_misconfigured_node_has_all_of_them_each_with_evidence() {
    let findings = scan("misconfigured");
    for check in &EXPOSURE[..6] {
        let failing = failing(&findings, check);
        assert!(!failing.is_empty(), "{check}: {:?}", of(&findings, check));
        for finding in failing {
            let evidence = finding["evidence"].as_array().unwrap();
            assert!(!evidence.is_empty(), "{finding}");
            assert!(evidence[0]["value"] != Value::Null && evidence[0]["source"] != "", "{finding}");
        }
    }
    // Declared and observed agree that it is open: no contradiction.
    assert_eq!(failing(&findings, "kubelet-anonymous-contradiction"), Vec::<&Value>::new());
}

#[test]
fn no_check_errs_on_a_recorded_node() {
    for name in ["hardened", "misconfigured", "static-controlplane", "cgroupv2-systemd"] {
        for finding in scan(name) {
            assert!(!finding["reason"].as_str().unwrap_or_default().starts_with("check_error"), "{name}: {finding}");
        }
    }
}
