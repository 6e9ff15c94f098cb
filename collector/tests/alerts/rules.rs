//! Rules as data: what ships is right, and what is wrong is refused with file, line and reason.

use std::error::Error;

use holdfast_collector::alerts::Rules;
use rstest::rstest;

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
    assert_eq!(ids, ["kubelet-answers-anonymous", "kubelet-read-only-port", "kernel-end-of-life", "node-silent"]);
}

#[test]
fn a_short_rule_loads() {
    assert_eq!(Rules::parse("mine.yaml", RULE).unwrap().checks().into_iter().collect::<Vec<_>>(), ["some-check"]);
}

#[rstest]
#[case::unknown_field("  summary: s\n", "  summary: s\n  sevrity: low\n")]
#[case::unknown_severity("severity: low", "severity: loud")]
#[case::unknown_label("  summary: s\n", "  summary: s\n  group_by: [pod]\n")]
#[case::state_that_does_not_alert("{findings: {checks: [some-check]}}", "{node: {state: stopped}}")]
#[case::two_conditions("{findings: {checks: [some-check]}}", "{findings: {checks: [some-check]}, node: {state: silent}}")]
#[case::no_check("[some-check]", "[]")]
#[case::not_a_check("[some-check]", "[\"../etc\"]")]
#[case::id("id: first", "id: First Rule")]
#[case::hold("  summary: s\n", "  summary: s\n  for: -1\n")]
#[case::hold_too_long("  summary: s\n", "  summary: s\n  for: 9999999\n")]
#[case::unknown_placeholder("summary: s", "summary: \"{hostname} is open\"")]
#[case::open_brace("summary: s", "summary: \"{nodes is open\"")]
#[case::empty_summary("summary: s", "summary: \"\"")]
#[case::duplicate(
    "  runbook: r\n",
    "  runbook: r\n- id: first\n  title: t\n  severity: low\n  when: {node: {state: silent}}\n  summary: s\n  description: d\n  runbook: r\n"
)]
#[case::silent_by_check("  when: {findings: {checks: [some-check]}}\n", "  when: {node: {state: silent}}\n  group_by: [check]\n")]
#[case::not_a_list("- id: first", "id: first")]
fn a_bad_rule_is_refused_with_file_line_and_reason(#[case] good: &str, #[case] bad: &str) {
    let text = RULE.replacen(good, bad, 1);
    assert_ne!(text, RULE, "the case changes something");
    let error = Rules::parse("mine.yaml", &text).unwrap_err();
    let mut said = error.to_string();
    if let Some(source) = error.source() {
        said = format!("{said}: {source}");
    }
    let case = std::thread::current().name().unwrap().rsplit("::").next().unwrap().to_owned();
    insta::assert_snapshot!(case, said);
}
