//! Rules as data: what ships is right, and what is wrong is refused with file, line and reason.

use std::error::Error;
use std::fmt::Write;

use holdfast_checks::catalogue::built_in;
use holdfast_collector::alerts::Rules;

const RULE: &str = "\
- id: first
  title: First
  severity: low
  when: {findings: {checks: [some-check]}}
  summary: s
  description: d
  runbook: r
";

#[test]
fn the_built_in_rules_load() {
    let rules = Rules::built_in().unwrap();
    let ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "kubelet-answers-anonymous",
            "kubelet-read-only-port",
            "kubelet-contradiction",
            "certificate-expires-in-a-week",
            "certificate-expires-in-a-month",
            "kernel-known-exploited",
            "component-known-exploited",
            "kernel-end-of-life",
            "os-end-of-life",
            "runtime-end-of-life",
            "kubernetes-end-of-life",
            "ends-soon",
            "kernel-fix-not-active",
            "component-fix-not-active",
            "kernel-patch-lag",
            "runtime-patch-lag",
            "kubernetes-patch-lag",
            "runtime-vulnerable",
            "kubernetes-vulnerable",
            "version-data-stale",
            "version-feed-refused",
            "version-feed-absent",
            "container-root",
            "node-clock-skew",
            "node-without-agent",
            "agent-without-node",
            "agent-spool-file",
            "agent-least-privilege",
            "agent-entries-refused",
            "agent-is-alone",
            "agent-speaks-for-itself",
            "node-silent",
        ]
    );
}

#[test]
fn every_check_a_built_in_rule_asks_about_is_in_the_catalogue() {
    let catalogue = built_in().unwrap();
    let rules = Rules::built_in().unwrap();
    let missing: Vec<&str> = rules.checks().into_iter().filter(|check| catalogue.get(check).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_short_rule_loads() {
    assert_eq!(Rules::parse("mine.yaml", RULE).unwrap().checks().into_iter().collect::<Vec<_>>(), ["some-check"]);
}

/// What is wrong, the good text and what stands in its place.
const BAD: [(&str, &str, &str); 20] = [
    ("unknown_field", "  summary: s\n", "  summary: s\n  sevrity: low\n"),
    ("unknown_severity", "severity: low", "severity: loud"),
    ("unknown_label", "  summary: s\n", "  summary: s\n  group_by: [pod]\n"),
    ("state_that_does_not_alert", "{findings: {checks: [some-check]}}", "{node: {state: stopped}}"),
    ("two_conditions", "{findings: {checks: [some-check]}}", "{findings: {checks: [some-check]}, node: {state: silent}}"),
    ("no_check", "[some-check]", "[]"),
    ("not_a_check", "[some-check]", "[\"../etc\"]"),
    ("id", "id: first", "id: First Rule"),
    ("hold", "  summary: s\n", "  summary: s\n  for: -1\n"),
    ("hold_too_long", "  summary: s\n", "  summary: s\n  for: 9999999\n"),
    ("unknown_placeholder", "summary: s", "summary: \"{hostname} is open\""),
    ("open_brace", "summary: s", "summary: \"{nodes is open\""),
    ("empty_summary", "summary: s", "summary: \"\""),
    (
        "duplicate",
        "  runbook: r\n",
        "  runbook: r\n- id: first\n  title: t\n  severity: low\n  when: {node: {state: silent}}\n  summary: s\n  description: d\n  runbook: r\n",
    ),
    ("silent_by_check", "  when: {findings: {checks: [some-check]}}\n", "  when: {node: {state: silent}}\n  group_by: [check]\n"),
    ("image_without_a_list", "  summary: s\n", "  summary: s\n  group_by: [image]\n"),
    ("shows_no_headline", "  summary: s\n", "  summary: s\n  shows: {component: kernel, headlines: [broken]}\n"),
    ("knowledge_of_a_node", "  when: {findings: {checks: [some-check]}}\n", "  when: {knowledge: {state: stale}}\n  group_by: [cluster]\n"),
    ("unknown_state_of_knowledge", "{findings: {checks: [some-check]}}", "{knowledge: {state: lost}}"),
    ("not_a_list", "- id: first", "id: first"),
];

#[test]
fn a_bad_rule_is_refused_with_file_line_and_reason() {
    let mut said = String::new();
    for (name, good, bad) in BAD {
        let text = RULE.replacen(good, bad, 1);
        assert_ne!(text, RULE, "the case changes something");
        let error = Rules::parse("mine.yaml", &text).unwrap_err();
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        writeln!(said, "{name}: {error}{source}").unwrap();
    }
    insta::assert_snapshot!(said);
}
