//! From stored state to alerts: a pure function, run again and again.
//!
//! What fired before is part of the state, so a restart keeps `starts_at`, and a condition that ended becomes a resolved
//! alert exactly once. Must not know the store, receivers or the clock.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Hash, Severity};
use serde::Serialize;

use super::known::Known;
use super::rule::{Condition, GroupLabel, KnowledgeState, Rule, Rules, Shows};
use super::text::{page, safe, some_of};
use crate::store::containers::NOT_KNOWN;

/// Node names in a sentence.
const NAMES_IN_TEXT: usize = 10;
/// A start that lies further ahead than this was told by a clock that has been put right since.
const CLOCK_WAS_AHEAD_MS: i64 = 60_000;
/// Node names in the `nodes` annotation.
const NAMES_IN_ANNOTATION: usize = 100;
/// Distinct evidence lines in an alert.
const EVIDENCE_LINES: usize = 3;

/// What alerts are judged from, read in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every node.
    pub nodes: BTreeMap<i64, Node>,
    /// Failing findings of the checks that rules ask about.
    pub failing: Vec<Failing>,
    /// Version knowledge; `None` where nothing is told of it: then nothing follows.
    pub known: Option<Known>,
    /// Alerts as last stored.
    pub previous: Vec<Alert>,
    /// When the collector started (Unix milliseconds), while agents are still returning: no alert from before then
    /// resolves, and a node is not silent only because it has not come back yet.
    pub warming_since: Option<i64>,
    /// Do recorded nodes alert like live ones. Only a demonstration wants that.
    pub alert_on_recorded: bool,
}

/// A node as far as alerts care. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its cluster; may be empty.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Was it replayed from a recording: then it does not alert, unless that is asked for.
    pub recorded: bool,
    /// `connected`, `silent`, `stopped` or `gone`.
    pub state: String,
    /// Since when.
    pub state_since: i64,
    /// When it was last heard of.
    pub last_seen: i64,
    /// Its system, `debian 12`; empty when not known.
    pub image: String,
    /// The release of its running kernel; empty when not known.
    pub kernel: String,
}

/// A failing finding that is not expected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Its node.
    pub node_id: i64,
    /// Its check.
    pub check: String,
    /// What it is about.
    pub subject: String,
    /// How much it matters.
    pub severity: Severity,
    /// The deciding evidence in one line; may be empty.
    pub deciding: String,
    /// Failing since: Unix milliseconds.
    pub since: i64,
}

/// Does an alert's condition hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It holds.
    Firing,
    /// It ended at `ends_at`.
    Resolved,
}

impl Alert {
    /// Its own page on the dashboard, from the root.
    pub fn page(&self) -> String {
        format!("/alerts/{}", self.fingerprint)
    }
}

impl AlertState {
    /// The name in the store and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert. Its labels are its identity; times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Hash of the labels, hex.
    pub fingerprint: String,
    /// The rule's id.
    pub rule: String,
    /// Stable keys only: `alertname`, `rule`, `severity` and the rule's group.
    pub labels: BTreeMap<String, String>,
    /// What may change while it fires: texts, nodes, evidence.
    pub annotations: BTreeMap<String, String>,
    /// The rule's severity.
    pub severity: Severity,
    /// Firing or resolved.
    pub state: AlertState,
    /// How many nodes it is about; 0 when it is about none.
    pub nodes: i64,
    /// When the condition began.
    pub starts_at: i64,
    /// When it ended; 0 while firing.
    pub ends_at: i64,
    /// When anything of this was last changed.
    pub updated_at: i64,
    /// Where the dashboard shows what it is about, from the root: `/findings?…`, `/nodes?…`, `/kernels?…`, `/feeds`.
    pub link: String,
}

/// The members of one alert.
struct Group<'a> {
    rule: &'a Rule,
    labels: BTreeMap<String, String>,
    nodes: BTreeSet<i64>,
    evidence: BTreeSet<String>,
    since: i64,
}

/// Judges `rules` at `now`: every alert that fires, and every one of `previous` whose condition has ended.
///
/// A resolved alert of `previous` is returned as it was, so the result is the whole set; what equals its predecessor
/// needs no write.
pub fn evaluate(rules: &Rules, snapshot: &Snapshot, now: i64) -> Vec<Alert> {
    let mut previous: BTreeMap<&str, &Alert> = snapshot.previous.iter().map(|alert| (alert.fingerprint.as_str(), alert)).collect();
    let mut alerts = Vec::new();
    for group in rules.iter().flat_map(|rule| groups(rule, snapshot, now)) {
        let fresh = alert(&group, snapshot, now);
        let old = previous.remove(fresh.fingerprint.as_str());
        alerts.push(carried_on(fresh, old, now));
    }
    for old in previous.into_values() {
        let mut alert = old.clone();
        let held = snapshot.warming_since.is_some_and(|started| alert.starts_at < started);
        if alert.state == AlertState::Firing && !held {
            alert.state = AlertState::Resolved;
            alert.ends_at = now.max(alert.starts_at);
            alert.updated_at = now;
        }
        alerts.push(alert);
    }
    alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    alerts
}

/// The groups in which `rule` fires.
fn groups<'a>(rule: &'a Rule, snapshot: &Snapshot, now: i64) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<Vec<String>, Group<'a>> = BTreeMap::new();
    let mut join = |node_id: i64, node: &Node, failing: Option<&Failing>, since: i64| {
        if (node.recorded && !snapshot.alert_on_recorded) || !held(rule, since, now) {
            return;
        }
        let value = |label: &GroupLabel| match label {
            GroupLabel::Cluster => safe(&node.cluster),
            GroupLabel::Node => safe(&node.name),
            GroupLabel::Check => failing.map(|failing| failing.check.clone()).unwrap_or_default(),
            GroupLabel::Namespace => failing.map(|failing| safe(namespace_of(&failing.subject))).unwrap_or_default(),
            GroupLabel::Image => safe(&node.image),
            GroupLabel::Kernel => safe(&node.kernel),
        };
        let values: Vec<String> = rule.group_by.iter().map(value).collect();
        let group = groups.entry(values.clone()).or_insert_with(|| {
            let split = rule.group_by.iter().map(|label| label.name().to_owned()).zip(values);
            Group { rule, labels: labels(rule, split), nodes: BTreeSet::new(), evidence: BTreeSet::new(), since }
        });
        group.nodes.insert(node_id);
        group.since = group.since.min(since);
        if let Some(failing) = failing.filter(|failing| !failing.deciding.is_empty()) {
            group.evidence.insert(safe(&failing.deciding));
        }
    };
    match &rule.when {
        Condition::Knowledge(state) => return of_knowledge(rule, *state, snapshot, now).into_iter().collect(),
        Condition::Silent => {
            for (id, node) in snapshot.nodes.iter().filter(|(_, node)| is_silent(node, snapshot.warming_since)) {
                join(*id, node, None, node.state_since);
            }
        }
        Condition::Findings { checks, min_severity } => {
            let asked = |failing: &&Failing| checks.contains(&failing.check) && failing.severity >= *min_severity;
            for failing in snapshot.failing.iter().filter(asked) {
                if let Some(node) = snapshot.nodes.get(&failing.node_id).filter(|node| node.state != "gone") {
                    join(failing.node_id, node, Some(failing), failing.since);
                }
            }
        }
    }
    groups.into_values().collect()
}

/// Has it been so for as long as the rule asks. What began when a clock was ahead that was put right since is not waited for: that could
/// be hours.
fn held(rule: &Rule, since: i64, now: i64) -> bool {
    since.saturating_add(rule.hold_ms) <= now || since > now.saturating_add(CLOCK_WAS_AHEAD_MS)
}

/// The one alert about version knowledge, which is no node's.
fn of_knowledge<'a>(rule: &'a Rule, state: KnowledgeState, snapshot: &Snapshot, now: i64) -> Option<Group<'a>> {
    let (since, wrong) = snapshot.known.as_ref()?.wrong(state, now)?;
    let holds = since.saturating_add(rule.hold_ms) <= now;
    let evidence = wrong.into_iter().map(safe).collect();
    holds.then(|| Group { rule, labels: labels(rule, std::iter::empty()), nodes: BTreeSet::new(), evidence, since })
}

/// The namespace of a subject `pod:<namespace>/…`; empty for what is in no pod.
fn namespace_of(subject: &str) -> &str {
    subject.strip_prefix("pod:").and_then(|rest| rest.split_once('/')).map_or("", |(namespace, _)| namespace)
}

/// A restart finds every agent away. Until they had time to return, only those are silent that were before, or that
/// have been back and went.
fn is_silent(node: &Node, warming_since: Option<i64>) -> bool {
    let known = warming_since.is_none_or(|started| node.state_since < started || node.last_seen >= started);
    node.state == "silent" && known
}

/// Identity. Empty values are left out, as Alertmanager would strip them.
fn labels(rule: &Rule, split: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let own = [("alertname", rule.title.as_str()), ("rule", &rule.id), ("severity", rule.severity.name())];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    own.chain(split).filter(|(_, value)| !value.is_empty()).collect()
}

fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    Hash::of_fields(labels.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()])).to_string()
}

fn alert(group: &Group<'_>, snapshot: &Snapshot, now: i64) -> Alert {
    let rule = group.rule;
    let names: BTreeSet<String> = group.nodes.iter().filter_map(|id| snapshot.nodes.get(id)).map(|node| name_of(rule, node)).collect();
    let count = group.nodes.len().to_string();
    let nodes = if group.nodes.len() == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let evidence = match some_of(&group.evidence, EVIDENCE_LINES, "; ") {
        lines if lines.is_empty() => lines,
        lines => format!("Evidence: {lines}."),
    };
    let node_names = some_of(&names, NAMES_IN_TEXT, ", ");
    let values = [
        ("title", rule.title.as_str()),
        ("rule", &rule.id),
        ("severity", rule.severity.name()),
        ("cluster", group.labels.get("cluster").map_or("", String::as_str)),
        ("namespace", group.labels.get("namespace").map_or("no namespace", String::as_str)),
        ("image", group.labels.get("image").map_or("an unknown system", String::as_str)),
        ("kernel", group.labels.get("kernel").map_or("of an unknown release", String::as_str)),
        ("count", &count),
        ("nodes", &nodes),
        ("node_names", &node_names),
        ("evidence", &evidence),
    ];
    let annotations = [
        ("summary", rule.summary.fill(&values)),
        ("description", rule.description.fill(&values)),
        ("runbook", rule.runbook.fill(&values)),
        ("nodes", some_of(&names, NAMES_IN_ANNOTATION, ", ")),
        ("node_count", count.clone()),
    ];
    Alert {
        rule: rule.id.clone(),
        labels: group.labels.clone(),
        annotations: annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).filter(|(_, text)| !text.is_empty()).collect(),
        severity: rule.severity,
        state: AlertState::Firing,
        nodes: i64::try_from(group.nodes.len()).unwrap_or(i64::MAX),
        // A node's clock may be ahead: nothing starts in the future.
        starts_at: group.since.min(now),
        ends_at: 0,
        updated_at: now,
        link: link(rule, &group.labels),
        fingerprint: fingerprint(&group.labels),
    }
}

/// The dashboard's list of what the alert is about: of the patch chain where the rule says so, else exactly its findings or nodes.
fn link(rule: &Rule, labels: &BTreeMap<String, String>) -> String {
    if let Some(shows) = &rule.shows {
        return link_to_chain(rule, shows, labels);
    }
    // A namespace is no filter of findings: the start of the subject is.
    let named = rule.group_by.iter().filter(|label| **label != GroupLabel::Namespace);
    let split = named.filter_map(|label| Some((label.name(), labels.get(label.name())?.as_str())));
    let within = rule.group_by.contains(&GroupLabel::Namespace).then(|| match labels.get("namespace") {
        Some(namespace) => format!("pod:{namespace}/"),
        None => "container:".to_owned(),
    });
    match &rule.when {
        Condition::Silent => page("nodes", split.chain([("state", "silent")])),
        Condition::Knowledge(_) => "/feeds".to_owned(),
        Condition::Findings { checks, .. } => {
            let checks = checks.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            let within = within.as_deref().map(|within| ("q", within));
            let checks = (!labels.contains_key("check")).then_some(("check", checks.as_str()));
            page(
                "findings",
                split.chain(checks).chain(within).chain([("verdict", "fail"), ("expected", "no"), ("state", "current,last_known")]),
            )
        }
    }
}

/// The page of the patch chain. A check and a namespace are none of its filters; an image that is not known is one.
fn link_to_chain(rule: &Rule, shows: &Shows, labels: &BTreeMap<String, String>) -> String {
    let headlines = shows.headlines.iter().map(|headline| headline.name()).collect::<Vec<_>>().join(",");
    let label = |label: GroupLabel| {
        let asked = rule.group_by.contains(&label);
        let unknown = (label == GroupLabel::Image).then_some(NOT_KNOWN);
        asked.then(|| Some((label.name(), labels.get(label.name()).map(String::as_str).or(unknown)?))).flatten()
    };
    let split = [GroupLabel::Cluster, GroupLabel::Node, GroupLabel::Image, GroupLabel::Kernel].into_iter().filter_map(label);
    let headline = Some(("headline", headlines.as_str())).filter(|(_, names)| !names.is_empty());
    let waiting = shows.waiting.then_some(("waiting", "yes"));
    page("kernels", [("component", shows.component.as_str())].into_iter().chain(split).chain(headline).chain(waiting))
}

/// The node's name, with its cluster when the alert spans clusters.
fn name_of(rule: &Rule, node: &Node) -> String {
    let spans = !rule.group_by.contains(&GroupLabel::Cluster) && !node.cluster.is_empty();
    if spans { safe(&format!("{}/{}", node.cluster, node.name)) } else { safe(&node.name) }
}

/// The fresh alert as the successor of the old one: the start is kept while it fires on.
fn carried_on(mut fresh: Alert, old: Option<&Alert>, now: i64) -> Alert {
    let Some(old) = old else { return fresh };
    match old.state {
        AlertState::Firing => fresh.starts_at = old.starts_at,
        // It ended and is back: that is a new alert, even if one finding outlived the end.
        AlertState::Resolved => fresh.starts_at = fresh.starts_at.max(old.ends_at).min(now),
    }
    fresh.updated_at = old.updated_at;
    if fresh != *old {
        fresh.updated_at = now;
    }
    fresh
}
