//! Judging alerts: tables over stored state and time.

use std::collections::BTreeMap;

use holdfast_checks::entries::Severity;
use holdfast_collector::alerts::{Alert, AlertState, Failing, Node, Rules, Snapshot, evaluate};
use rstest::rstest;

use crate::database::{MINUTE, START};

const PORT: &str = "kubelet-read-only-port-listening";

fn node(cluster: &str, name: &str, state: &str) -> Node {
    Node {
        cluster: cluster.to_owned(),
        name: name.to_owned(),
        recorded: false,
        state: state.to_owned(),
        state_since: START,
        last_seen: START,
    }
}

fn failing(node_id: i64, check: &str) -> Failing {
    Failing {
        node_id,
        check: check.to_owned(),
        subject: "kubelet".to_owned(),
        severity: Severity::High,
        deciding: "port = 10255 (socket)".to_owned(),
        since: START,
    }
}

fn fleet(nodes: impl IntoIterator<Item = Node>, failing: Vec<Failing>) -> Snapshot {
    Snapshot { nodes: (1..).zip(nodes).collect(), failing, ..Snapshot::default() }
}

fn judge(snapshot: &Snapshot, now: i64) -> Vec<Alert> {
    evaluate(&Rules::built_in().unwrap(), snapshot, now)
}

/// Judges, keeps the result as the stored alerts, and returns it.
fn judge_on(snapshot: &mut Snapshot, now: i64) -> Vec<Alert> {
    snapshot.previous = judge(snapshot, now);
    snapshot.previous.clone()
}

#[test]
fn every_built_in_rule_fires_as_one_alert_per_cluster() {
    let nodes = [node("prod", "a1", "connected"), node("prod", "a2", "silent"), node("lab", "b1", "connected")];
    let found = [
        failing(1, "kubelet-answers-anonymous"),
        failing(1, PORT),
        failing(1, "kubelet-read-only-port-answers"),
        failing(2, PORT),
        failing(3, PORT),
        failing(1, "kubelet-anonymous-contradiction"),
        Failing { subject: "pod:shop/db-0/db".to_owned(), ..failing(1, "container-root") },
        failing(1, "certificate-expires-in-a-week"),
        failing(3, "certificate-expires-in-a-month"),
        failing(3, "kernel-end-of-life"),
        failing(3, "swap-off"),
    ];
    insta::assert_json_snapshot!(judge(&fleet(nodes, found.to_vec()), START + MINUTE));
}

#[test]
fn an_old_kernel_on_214_nodes_is_one_alert() {
    let nodes = (1..=214).map(|number| node("prod", &format!("node-{number:03}"), "connected"));
    let alerts = judge(&fleet(nodes, (1..=214).map(|id| failing(id, "kernel-end-of-life")).collect()), START);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].annotations["summary"], "Kernel end of life on 214 nodes");
    assert_eq!(alerts[0].nodes, 214);
    assert!(alerts[0].annotations["nodes"].ends_with("node-100 and 114 more"), "{}", alerts[0].annotations["nodes"]);
}

#[rstest]
#[case::connected("connected", 0)]
#[case::silent("silent", 1)]
#[case::stopped("stopped", 0)]
#[case::gone("gone", 0)]
fn only_a_silent_node_alerts(#[case] state: &str, #[case] alerts: usize) {
    assert_eq!(judge(&fleet([node("prod", "a1", state)], Vec::new()), START).len(), alerts);
}

#[rstest]
#[case::connected("connected", 1)]
#[case::silent("silent", 1)]
#[case::stopped("stopped", 1)]
#[case::gone("gone", 0)]
fn an_open_port_alerts_until_the_node_is_gone(#[case] state: &str, #[case] alerts: usize) {
    let snapshot = fleet([node("prod", "a1", state)], vec![failing(1, PORT)]);
    assert_eq!(judge(&snapshot, START).iter().filter(|alert| alert.rule == "kubelet-read-only-port").count(), alerts);
}

#[test]
fn a_recorded_node_does_not_alert() {
    let recorded = Node { recorded: true, ..node("prod", "a1", "silent") };
    let mut fleet = fleet([recorded], vec![failing(1, PORT)]);
    assert_eq!(judge(&fleet, START), []);
    fleet.alert_on_recorded = true;
    assert!(!judge(&fleet, START).is_empty(), "unless that is asked for, as a demonstration does");
}

#[test]
fn a_finding_of_a_node_that_is_not_there_does_not_alert() {
    assert_eq!(judge(&fleet([], vec![failing(7, PORT)]), START), []);
}

#[test]
fn an_alert_resolves_once_and_returns_as_a_new_one() {
    let mut snapshot = fleet([node("prod", "a1", "connected")], vec![failing(1, PORT)]);
    let fired = judge_on(&mut snapshot, START + MINUTE);
    assert_eq!((fired[0].state, fired[0].starts_at, fired[0].ends_at), (AlertState::Firing, START, 0));
    assert_eq!(judge_on(&mut snapshot, START + 2 * MINUTE), fired, "nothing moved, so nothing is written");

    snapshot.failing.clear();
    let resolved = judge_on(&mut snapshot, START + 3 * MINUTE);
    assert_eq!((resolved[0].state, resolved[0].starts_at, resolved[0].ends_at), (AlertState::Resolved, START, START + 3 * MINUTE));
    assert_eq!(judge_on(&mut snapshot, START + 4 * MINUTE), resolved, "it ended once");

    snapshot.failing = vec![failing(1, PORT)];
    let back = judge_on(&mut snapshot, START + 5 * MINUTE);
    assert_eq!(back[0].fingerprint, fired[0].fingerprint);
    assert_eq!((back[0].state, back[0].starts_at, back[0].ends_at), (AlertState::Firing, START + 3 * MINUTE, 0));
}

#[test]
fn one_more_node_changes_the_annotations_and_not_the_identity() {
    let mut snapshot = fleet([node("prod", "a1", "connected"), node("prod", "a2", "connected")], vec![failing(1, PORT)]);
    let one = judge_on(&mut snapshot, START);
    snapshot.failing.push(Failing { since: START - MINUTE, ..failing(2, PORT) });
    let two = judge_on(&mut snapshot, START + MINUTE);
    assert_eq!((&two[0].fingerprint, &two[0].labels, two[0].starts_at), (&one[0].fingerprint, &one[0].labels, one[0].starts_at));
    assert_eq!(two[0].annotations["summary"], "Kubelet read-only port reachable on 2 nodes");
    assert_eq!((two[0].nodes, two[0].updated_at), (2, START + MINUTE));
}

#[test]
fn nothing_resolves_and_nobody_is_silent_while_agents_are_still_returning() {
    let mut snapshot = fleet([node("prod", "a1", "silent"), node("lab", "b1", "connected")], vec![failing(2, PORT)]);
    let before = judge_on(&mut snapshot, START);
    assert_eq!(before.len(), 2);

    let restart = START + MINUTE;
    snapshot.warming_since = Some(restart);
    snapshot.failing.clear();
    snapshot.nodes.insert(1, Node { last_seen: restart, ..node("prod", "a1", "connected") });
    snapshot.nodes.insert(2, Node { state_since: restart, ..node("lab", "b1", "silent") });
    assert_eq!(judge_on(&mut snapshot, restart), before);

    snapshot.warming_since = None;
    let after = judge_on(&mut snapshot, restart + MINUTE);
    let states: BTreeMap<(&str, &str), AlertState> =
        after.iter().map(|alert| ((alert.rule.as_str(), alert.labels["cluster"].as_str()), alert.state)).collect();
    assert_eq!(states[&("node-silent", "prod")], AlertState::Resolved);
    assert_eq!(states[&("node-silent", "lab")], AlertState::Firing);
    assert_eq!(states[&("kubelet-read-only-port", "lab")], AlertState::Resolved);
}

#[test]
fn what_happens_after_a_restart_is_news_at_once() {
    let was_silent = node("prod", "a1", "silent");
    let restart = START + MINUTE;
    let came_and_went = Node { state_since: restart + 2, last_seen: restart + 1, ..node("prod", "a2", "silent") };
    let mut snapshot = fleet([was_silent, came_and_went], Vec::new());
    snapshot.warming_since = Some(restart);
    assert_eq!(judge_on(&mut snapshot, restart + 2)[0].annotations["nodes"], "a1, a2");

    let mut snapshot = fleet([Node { state_since: restart + 2, last_seen: restart + 1, ..node("prod", "a2", "silent") }], Vec::new());
    snapshot.warming_since = Some(restart);
    assert_eq!(judge_on(&mut snapshot, restart + 2)[0].state, AlertState::Firing);
    snapshot.nodes.insert(1, node("prod", "a2", "connected"));
    assert_eq!(judge_on(&mut snapshot, restart + 3)[0].state, AlertState::Resolved);
}

#[test]
fn a_condition_fires_only_after_its_hold() {
    let text = "[{id: held, title: Held, severity: low, for: 120, when: {node: {state: silent}}, summary: s, description: d, runbook: r}]";
    let rules = Rules::parse("held.yaml", text).unwrap();
    let snapshot = fleet([node("prod", "a1", "silent")], Vec::new());
    assert_eq!(evaluate(&rules, &snapshot, START + 2 * MINUTE - 1), []);
    assert_eq!(evaluate(&rules, &snapshot, START + 2 * MINUTE).len(), 1);
}

#[test]
fn a_finding_below_the_least_severity_does_not_count() {
    let text = "[{id: r, title: R, severity: low, when: {findings: {checks: [c], min_severity: critical}}, summary: s, description: d, runbook: r}]";
    let rules = Rules::parse("severity.yaml", text).unwrap();
    let mut snapshot = fleet([node("prod", "a1", "connected")], vec![failing(1, "c")]);
    assert_eq!(evaluate(&rules, &snapshot, START), []);
    snapshot.failing[0].severity = Severity::Critical;
    assert_eq!(evaluate(&rules, &snapshot, START).len(), 1);
}

#[test]
fn an_alert_of_a_rule_that_was_removed_resolves() {
    let mut snapshot = fleet([node("prod", "a1", "silent")], Vec::new());
    judge_on(&mut snapshot, START);
    let alerts = evaluate(&Rules::parse("none.yaml", "[]").unwrap(), &snapshot, START + MINUTE);
    assert_eq!(alerts[0].state, AlertState::Resolved);
}

#[test]
fn a_clock_that_is_ahead_starts_nothing_in_the_future() {
    let mut snapshot = fleet([node("prod", "a1", "silent")], Vec::new());
    snapshot.nodes.get_mut(&1).unwrap().state_since = START;
    judge_on(&mut snapshot, START);
    // The collector's clock stepped back; the condition ends "before" it began.
    snapshot.nodes.clear();
    let alerts = judge_on(&mut snapshot, START - MINUTE);
    assert!(alerts[0].ends_at >= alerts[0].starts_at, "{alerts:?}");
}

#[test]
fn hostile_names_stay_one_harmless_line() {
    let text = "[{id: r, title: R, severity: low, group_by: [cluster, node], when: {node: {state: silent}}, summary: \"{node_names}\", description: d, runbook: r}]";
    let rules = Rules::parse("node.yaml", text).unwrap();
    let names = [
        "<script>alert(1)</script>".to_owned(),
        "{evidence}{nodes}\",\"severity\":\"none&state=x#".to_owned(),
        "a\u{1b}[31mred\r\nb\0".to_owned(),
        "\u{202e}gpj.exe".to_owned(),
        "n".repeat(5000),
    ];
    let alerts = evaluate(&rules, &fleet(names.iter().map(|name| node("", name, "silent")), Vec::new()), START);
    assert_eq!(alerts.len(), names.len());
    let mut shown: Vec<_> = alerts.iter().map(|alert| (&alert.labels, &alert.annotations, &alert.link)).collect();
    shown.sort();
    insta::assert_json_snapshot!(shown);
}

const ROOT: &str = "\
- id: root
  title: Containers run as root
  severity: high
  when: {findings: {checks: [container-root]}}
  group_by: [cluster, namespace]
  summary: 'Containers run as root in {namespace} on {nodes}'
  description: d
  runbook: r
";

/// One alert a namespace; what is in no pod has one of its own, and each links to exactly its findings.
#[test]
fn root_is_one_alert_a_namespace() {
    let of = |node_id: i64, subject: &str| Failing { subject: subject.to_owned(), ..failing(node_id, "container-root") };
    let found = vec![of(1, "pod:shop/db-0/db"), of(2, "pod:shop/db-1/db"), of(1, "pod:ci/x/y"), of(1, "container:registry")];
    let snapshot = fleet([node("prod", "a1", "connected"), node("prod", "a2", "connected")], found);
    let alerts = evaluate(&Rules::parse("mine.yaml", ROOT).unwrap(), &snapshot, START);
    let mut told: Vec<(String, &str)> = alerts.iter().map(|alert| (alert.annotations["summary"].clone(), alert.link.as_str())).collect();
    told.sort();
    let link = |q: &str| format!("/findings?cluster=prod&check=container-root&q={q}&verdict=fail&expected=no&state=current%2Clast_known");
    let (ci, outside, shop) = (link("pod%3Aci%2F"), link("container%3A"), link("pod%3Ashop%2F"));
    let wanted = [
        ("Containers run as root in ci on 1 node".to_owned(), ci.as_str()),
        ("Containers run as root in no namespace on 1 node".to_owned(), outside.as_str()),
        ("Containers run as root in shop on 2 nodes".to_owned(), shop.as_str()),
    ];
    assert_eq!(told, wanted);
}
