//! The workloads of recorded nodes, which are what their names say, as whole scans: what fails of each, and nothing else.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::Value;

/// What fails of a pod that asks for nothing: Kubernetes' own defaults.
const DEFAULTS: [&str; 7] = [
    "container-image-digest",
    "container-read-only-root",
    "container-root",
    "container-root-group",
    "container-service-token",
    "pod-no-new-privileges",
    "pod-seccomp",
];

/// The findings about containers in a recording.
fn scan(recording: &str) -> Vec<Value> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/recorded").join(recording);
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    command.env_clear().args(["scan", "-o", "json", "--no-probe", "--host-root"]).arg(tree.join("host"));
    let output = command.arg("--proc").arg(tree.join("proc")).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let about = |finding: &&Value| {
        let check = finding["check"].as_str().unwrap();
        check.starts_with("container-") && !check.starts_with("container-runtime-config") || check.starts_with("pod-")
    };
    report["findings"].as_array().unwrap().iter().filter(about).cloned().collect()
}

fn text<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().unwrap()
}

/// The checks that fail of the pods whose name starts so.
fn failing<'a>(findings: &'a [Value], pod: &str) -> BTreeSet<&'a str> {
    let own = |finding: &&Value| text(finding, "subject").starts_with(&format!("pod:testbed/{pod}"));
    assert!(findings.iter().any(|finding| own(&finding)), "no container of {pod} was found");
    findings.iter().filter(own).filter(|finding| finding["verdict"] == "fail").map(|finding| text(finding, "check")).collect()
}

#[rstest]
fn workloads_are_what_their_names_say(#[values("hardened", "misconfigured", "static-controlplane", "cgroupv2-systemd")] recording: &str) {
    let findings = scan(recording);
    let defaults = BTreeSet::from(DEFAULTS);
    let with = |more: &[&'static str]| defaults.iter().chain(more).copied().collect::<BTreeSet<&str>>();
    let fails = |pod: &str| failing(&findings, pod);
    for plain in ["root-default/", "guaranteed-two/", "web-"] {
        assert_eq!(fails(plain), defaults, "{plain}");
    }
    assert_eq!(fails("nonroot-restricted/"), BTreeSet::from(["container-image-digest"]));
    assert_eq!(fails("caps-added/"), with(&["container-added-capabilities", "pod-dangerous-capabilities"]));
    assert_eq!(fails("hostnetwork/"), with(&["pod-host-network"]));
    assert_eq!(fails("hostpath-sock/"), with(&["container-host-path", "container-host-system-read", "container-runtime-socket"]));
    // Root inside, and a high uid of the host.
    let userns: BTreeSet<&str> = defaults.iter().copied().filter(|check| !check.starts_with("container-root")).collect();
    assert_eq!(fails("userns/"), userns);
    let privileged = with(&["container-added-capabilities", "pod-dangerous-capabilities", "pod-privileged"]);
    assert!(fails("privileged/").is_superset(&privileged), "{:?}", fails("privileged/"));
    let node_agent = ["pod-host-network", "container-host-system", "container-host-system-read", "pod-dangerous-capabilities"];
    assert!(node_agent.iter().all(|check| fails("node-agent").contains(check)), "{:?}", fails("node-agent"));
    for (pod, check) in
        [("hostpid-hostipc/", "container-host-pid"), ("hostpid-hostipc/", "container-host-ipc"), ("node-agent", "container-host-pid")]
    {
        assert!(fails(pod).contains(check), "{pod} {check}: {:?}", fails(pod));
    }
}

#[rstest]
fn every_container_is_known_and_system_pods_fail_nothing_that_is_not_expected(
    #[values("hardened", "misconfigured", "static-controlplane", "cgroupv2-systemd")] recording: &str,
) {
    for finding in scan(recording) {
        let (check, subject) = (text(&finding, "check"), text(&finding, "subject"));
        assert_ne!((subject, &finding["verdict"]), ("node", &"unknown".into()), "{check}: {}", finding["reason"]);
        let expected = finding["expected"]["id"].as_str();
        if subject.starts_with("pod:kube-system/") && finding["verdict"] == "fail" && finding["severity"] != "info" {
            assert!(expected.is_some(), "{check} {subject}");
        } else if !subject.starts_with("pod:kube-system/") || finding["verdict"] != "fail" {
            assert_eq!(expected, None, "{check} {subject}");
        }
    }
}
