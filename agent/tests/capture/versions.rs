//! Archives of other versions, and such as lost a part: what is missing is unknown, with the reason.

use holdfast_agent::capture::{Capture, read};
use holdfast_checks::facts::{Group, Reason, Unavailable};

use super::{Forged, NODE, code, report, scan_facts, text};

fn capture(forged: Forged) -> Capture {
    read(&*forged.pack()).unwrap()
}

fn why(capture: &Capture, group: Group) -> Unavailable {
    capture.facts.unavailable(group).unwrap().clone()
}

#[test]
fn a_group_that_is_missing_or_does_not_parse_is_unavailable_and_says_so() {
    let capture = capture(Forged::whole().file("facts/os.json", "{").file("facts/kernel.json", r#"{"known": {"value": 3}}"#));
    let missing = why(&capture, Group::Files);
    assert_eq!(missing.reason, Reason::NotSupported);
    assert_eq!(missing.detail, "the capture has no facts/files.json: holdfast-agent 0.0.9 did not read it");
    for (group, words) in [(Group::Os, "EOF while parsing"), (Group::Kernel, "invalid type")] {
        let why = why(&capture, group);
        assert_eq!(why.reason, Reason::Malformed);
        assert!(why.detail.contains(words) && why.detail.contains(&format!("facts/{}.json", group.name())), "{}", why.detail);
    }
    assert_eq!(capture.facts.node.name, "n1");
}

#[test]
fn what_an_older_version_did_not_read_of_a_group_is_unavailable_and_the_rest_is_there() {
    let known = |value: &str| format!(r#"{{"known": {{"value": {value}, "source": {{"kind": "file", "place": "/x"}}, "at": 1}}}}"#);
    let files = known(
        r#"{"items": [{"subject": "file:/a", "path": "/a", "role": "kubeconfig", "kind": "file", "mode": 384, "uid": 0, "gid": 0, "target": "", "acl": []}], "skipped": []}"#,
    );
    let capture = capture(Forged::whole().file("facts/files.json", files));
    let files = capture.facts.files.value().unwrap();
    assert_eq!(files.items[0].mode, 0o600);
    assert_eq!(files.items[0].way.unavailable().unwrap().reason, Reason::NotSupported);
}

#[test]
fn nothing_that_is_missing_passes() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("empty.tar.zst");
    std::fs::write(&archive, Forged::whole().pack()).unwrap();
    let output = scan_facts(&archive);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    for finding in report(&output)["findings"].as_array().unwrap() {
        let verdict = finding["verdict"].as_str().unwrap();
        // About the data that versions are judged by, which comes with the program and grows old whatever the node shows.
        let of_data = verdict == "fail" && finding["check"] == "version-knowledge-age";
        // Nobody delivers in a scan, whatever the capture holds, and no heartbeat tells of a clock.
        let delivery = |check: &str| check.starts_with("agent-") || ["node-clock-skew", "node-has-agent", "node-is-known"].contains(&check);
        let of_agent = verdict == "not_applicable" && finding["check"].as_str().is_some_and(delivery);
        assert!(matches!(verdict, "unknown" | "manual") || of_data || of_agent, "{finding}");
    }
}

#[test]
fn a_group_of_a_newer_version_is_left_aside_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("newer.tar.zst");
    std::fs::write(&archive, Forged::whole().file("facts/gadgets.json", "[]").file("NOTE\u{1b}[2J", "x").pack()).unwrap();
    let mut report = report(&scan_facts(&archive));
    let capture = report["capture"].take();
    insta::assert_snapshot!(serde_json::to_string_pretty(&capture).unwrap(), @r#"
    {
      "agent_version": "0.0.9",
      "captured_at": "2026-08-01T10:00:00Z",
      "catalogue_hash": "00",
      "ignored": [
        "NOTE\u001b[2J",
        "facts/gadgets.json"
      ]
    }
    "#);
    let table = text(&super::agent(["scan", "--facts", archive.to_str().unwrap()]).stdout);
    insta::assert_snapshot!(table.lines().take(3).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_sensor_that_had_trouble_then_has_it_now() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("troubled.tar.zst");
    let manifest = super::MANIFEST.replace(r#""node""#, r#""troubled": ["processes", "gadgets"], "node""#);
    std::fs::write(&archive, Forged::new().file("manifest.json", manifest).file("facts/node.json", NODE).pack()).unwrap();
    assert_eq!(code(&scan_facts(&archive)), 4);
}
