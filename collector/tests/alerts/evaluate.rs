//! Judging alerts: tables over stored state and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_checks::entries::Severity;
use holdfast_checks::versions::knowledge::{Builder, FeedInfo};
use holdfast_collector::alerts::{Alert, AlertState, Dated, Failing, Known, Node, Rules, Snapshot, evaluate};
use holdfast_collector::feeds::Library;
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
        image: "debian 12".to_owned(),
        kernel: "6.1.0-40-amd64".to_owned(),
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

/// What began by a clock that was an hour ahead raised no alert for that hour.
#[test]
fn a_clock_that_was_put_back_by_an_hour_holds_no_alert_back() {
    let hour = 60 * MINUTE;
    let mut snapshot = fleet([node("prod", "a1", "connected")], vec![failing(1, PORT)]);
    let at = |snapshot: &Snapshot, now: i64| judge(snapshot, now).into_iter().map(|alert| alert.starts_at).collect::<Vec<_>>();
    assert_eq!(at(&snapshot, START - hour), [START - hour], "it began at the latest now");
    // A step of seconds is waited for.
    assert_eq!(at(&snapshot, START - 2_000), [0; 0]);
    // One that fires goes on firing.
    snapshot.previous = judge(&snapshot, START);
    assert_eq!(at(&snapshot, START - hour), [START]);
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

/// Two images, one of them in two clusters; every rule about the patch chain and what is known of versions.
#[test]
fn every_built_in_rule_about_the_patch_chain_fires_by_image_and_kernel() {
    let ubuntu = Node { image: "ubuntu 22.04".to_owned(), kernel: "5.15.0-91-generic".to_owned(), ..node("lab", "b1", "connected") };
    let nodes = [node("prod", "a1", "connected"), node("lab", "b2", "silent"), ubuntu];
    let rules = Rules::built_in().unwrap();
    let chain = rules.checks().into_iter().filter(|check| {
        let parts = ["known-exploited", "end-of-life", "ends-soon", "fix-not-active", "patch-lag", "vulnerable", "version-knowledge"];
        parts.iter().any(|part| check.contains(part))
    });
    let subject = |check: &str| check.split('-').next().unwrap_or_default().to_owned();
    let fails = chain.flat_map(|check| (1..=3).map(move |id| (id, check)));
    let found = fails.map(|(id, check)| Failing { subject: subject(check), deciding: format!("{check} on {id}"), ..failing(id, check) });
    let mut snapshot = fleet(nodes, found.collect());
    let refused = Dated { what: "kev.json: line 1: not a catalogue".to_owned(), at: START - MINUTE };
    let old = Dated { what: "built-in is of 2026-09-08".to_owned(), at: START - 74 * 24 * 60 * MINUTE };
    snapshot.known = Some(Known { data: vec![old], refused: vec![refused] });
    let alerts = judge(&snapshot, START);
    let asked: BTreeSet<&str> = alerts.iter().map(|alert| alert.rule.as_str()).collect();
    assert_eq!(asked.len(), 18, "{asked:?}");
    let mut told: Vec<_> = alerts.iter().filter(|alert| alert.rule != "node-silent").collect();
    told.sort_by(|a, b| (&a.rule, &a.labels).cmp(&(&b.rule, &b.labels)));
    insta::assert_json_snapshot!(told);
}

#[test]
fn an_old_kernel_on_214_nodes_is_one_alert() {
    let nodes = (1..=214).map(|number| node("prod", &format!("node-{number:03}"), "connected"));
    let alerts = judge(&fleet(nodes, (1..=214).map(|id| failing(id, "kernel-end-of-life")).collect()), START);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].annotations["summary"], "Kernel end of life on 214 nodes (debian 12)");
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

const CHAIN: &str = "\
- id: exploited
  title: Kernel known to be exploited
  severity: critical
  when: {findings: {checks: [kernel-known-exploited]}}
  group_by: [image, kernel]
  shows: {component: kernel, headlines: [known_exploited]}
  summary: 'Kernel {kernel} on {image} is exploited: {nodes}'
  description: d
  runbook: r
";

/// One alert a kernel of an image over all clusters, each leading to the rows that it is about.
#[test]
fn a_kernel_is_one_alert_for_each_image_it_runs_on() {
    let on = |cluster: &str, name: &str, image: &str, kernel: &str| Node {
        image: image.to_owned(),
        kernel: kernel.to_owned(),
        ..node(cluster, name, "connected")
    };
    let nodes = [
        on("prod", "a1", "ubuntu 22.04", "5.15.0-91-generic"),
        on("lab", "b1", "ubuntu 22.04", "5.15.0-91-generic"),
        on("prod", "a2", "ubuntu 22.04", "5.15.0-101-generic"),
        on("prod", "a3", "", ""),
        on("prod", "a4", "x\u{202e}&kernel=y#", "\u{1b}[31m"),
    ];
    let snapshot = fleet(nodes, (1..=5).map(|id| failing(id, "kernel-known-exploited")).collect());
    let alerts = evaluate(&Rules::parse("mine.yaml", CHAIN).unwrap(), &snapshot, START);
    let mut told: Vec<(&str, &str, &str)> = alerts
        .iter()
        .map(|alert| (alert.annotations["summary"].as_str(), alert.annotations["nodes"].as_str(), alert.link.as_str()))
        .collect();
    told.sort_unstable();
    insta::assert_json_snapshot!(told);
}

const KNOWLEDGE: &str = "\
- id: stale
  title: Version data is old
  severity: low
  when: {knowledge: {state: stale}}
  summary: Version data is old
  description: 'Verdicts say what was. {evidence}'
  runbook: r
- id: refused
  title: A feed was refused
  severity: low
  when: {knowledge: {state: refused}}
  for: 60
  summary: A feed was refused
  description: '{evidence}'
  runbook: r
";

#[test]
fn old_data_and_a_refused_file_are_one_alert_each_without_a_node() {
    const DAY: i64 = 24 * 60 * MINUTE;
    let rules = Rules::parse("mine.yaml", KNOWLEDGE).unwrap();
    let mut snapshot = fleet([node("prod", "a1", "connected")], Vec::new());
    assert_eq!(evaluate(&rules, &snapshot, START), [], "nothing is told of it");
    let day = |what: &str, days: i64| Dated { what: what.to_owned(), at: START - days * DAY };
    let refused = Dated { what: "bad\n.json: line 1: no schema".to_owned(), at: START };
    snapshot.known =
        Some(Known { data: vec![day("kev is of 2026-11-19", 1), day("osv/Debian is of 2026-10-06", 45)], refused: vec![refused] });
    assert_eq!(evaluate(&rules, &snapshot, START), [], "45 days are not old, and the refusal is held back");

    let old = START + DAY;
    let alerts = evaluate(&rules, &snapshot, old);
    insta::assert_json_snapshot!(
        alerts.iter().map(|alert| (&alert.labels, &alert.annotations, alert.nodes, &alert.link)).collect::<Vec<_>>()
    );
    let stale = alerts.iter().find(|alert| alert.rule == "stale").unwrap();
    assert_eq!(stale.starts_at, old, "since the day it became so, whenever that is noticed");

    snapshot.previous = alerts;
    snapshot.known = Some(Known { data: vec![day("osv/Debian is of 2026-11-20", 0)], refused: Vec::new() });
    assert!(evaluate(&rules, &snapshot, old + MINUTE).iter().all(|alert| alert.state == AlertState::Resolved));
}

/// Holding CISA's catalogue alone made alerts of old built-in data go.
#[test]
fn built_in_data_counts_while_nothing_with_versions_was_imported() {
    let library = Library::built_in().unwrap();
    let known = Known::of(&library);
    assert_eq!(known.data.len(), 1);
    assert!(known.data[0].what.starts_with("built-in is of 2026-"), "{known:?}");
    let importing = |names: &[&str]| {
        let mut builder = Builder::new().unwrap();
        for name in names {
            let info = FeedInfo {
                name: (*name).to_owned(),
                as_of: jiff::civil::date(2026, 11, 19),
                source: (*name).to_owned(),
                digest: String::new(),
                complete: true,
            };
            builder.feed(info, []);
        }
        let known = Known::of(&Library { knowledge: Arc::new(builder.build()), ..library.clone() });
        known.data.into_iter().map(|dated| dated.what).collect::<Vec<_>>()
    };
    let with_kev = importing(&["kev"]);
    assert!(with_kev[0].starts_with("built-in is of 2026-"), "{with_kev:?}");
    assert_eq!(with_kev[1..], ["kev is of 2026-11-19"]);
    assert_eq!(importing(&["kev", "osv/Debian"]), ["kev is of 2026-11-19", "osv/Debian is of 2026-11-19"]);
}
