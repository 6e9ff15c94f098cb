//! What SECURITY.md says by name: capabilities, denied system calls, findings, refusals. A page that promises is held to it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads the repository's own files"
)]

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_checks::catalogue::built_in;
use holdfast_collector::refusals::Refusal;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no `{start}` in SECURITY.md any more"));
    rest.split_once(end).unwrap_or_else(|| panic!("no `{end}` after `{start}`")).0
}

#[test]
fn every_system_call_that_is_said_to_be_denied_is_in_the_filter() {
    let (page, filter) = (file("SECURITY.md"), file("agent/src/privileges/doors.rs"));
    let denied = between(&filter, "const DENIED:", "];");
    let said: Vec<&str> = quoted(between(&page, "denies, for every thread", "and their like")).collect();
    assert!(said.len() > 20, "{said:?}");
    for call in said {
        assert!(denied.contains(&format!("libc::SYS_{call},")), "SECURITY.md says that `{call}` is denied");
    }
}

#[test]
fn the_capabilities_are_those_of_the_manifest_and_of_the_code() {
    let (page, manifest) = (file("SECURITY.md"), file("deploy/kustomize/base/agent-daemonset.yaml"));
    let said: BTreeSet<&str> = quoted(between(&page, "It starts as uid 0 with", "because")).collect();
    let added = between(&manifest, "              add:\n", "            seccompProfile");
    let given: BTreeSet<&str> = added.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    assert_eq!(said, given);
    let kept = file("agent/src/privileges/mod.rs");
    let kept = between(&kept, "const KEPT: [Capability; 2] = [", "];");
    for capability in ["SYS_PTRACE", "DAC_READ_SEARCH"] {
        assert!(said.contains(capability) && kept.contains(&format!("Capability::CAP_{capability}")), "{kept}");
    }
}

#[test]
fn every_finding_and_refusal_that_is_named_exists() {
    let page = file("SECURITY.md");
    let page = between(&page, "## Who may do what after taking what", "## Cryptography");
    let catalogue = built_in().unwrap();
    let codes: BTreeSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    // Words in backticks that are neither: the admission policy, verdicts, settings, resources.
    let others = ["holdfast-agent", "port-forward"];
    let (mut findings, mut refusals) = (0, 0);
    for word in quoted(page).filter(|word| !others.contains(word)) {
        if (word.starts_with("agent-") || word.starts_with("node-")) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            assert!(catalogue.get(word).is_some(), "SECURITY.md names a finding `{word}`, which no check makes");
            findings += 1;
        }
        let metric = word.starts_with("holdfast_") || word == "catalogue_hash";
        if word.contains('_') && !metric && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            assert!(codes.contains(word), "SECURITY.md names a refusal `{word}`, which is no code");
            refusals += 1;
        }
    }
    assert!(findings >= 8 && refusals >= 8, "{findings} findings and {refusals} refusals are named");
}
