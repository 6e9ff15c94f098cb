//! One line per fact group that is not known or has nothing in it: what that means for the checks.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::catalogue::JudgedBy;
use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::{Group, NodeFacts};

/// Says each thing once, and again when it changes.
#[derive(Debug, Default)]
pub(super) struct Notices {
    said: BTreeMap<Group, String>,
}

impl Notices {
    pub(super) fn tell(&mut self, evaluator: &Evaluator, facts: &NodeFacts, findings: &[Finding]) {
        for group in Group::ALL {
            let line = notice(evaluator, facts, findings, group);
            let before = match &line {
                Some(line) => self.said.insert(group, line.clone()),
                None => self.said.remove(&group),
            };
            match line {
                Some(line) if before.as_ref() != Some(&line) => tracing::info!("{line}"),
                None if before.is_some() => tracing::info!("{}: known again", group.name()),
                _ => {}
            }
        }
    }
}

/// `None`: known and not empty, or nothing reads it.
fn notice(evaluator: &Evaluator, facts: &NodeFacts, findings: &[Finding], group: Group) -> Option<String> {
    let here = evaluator.catalogue().checks().iter().filter(|check| check.judged_by == JudgedBy::Node && check.reads().contains(&group));
    let reading: BTreeSet<&str> = here.map(|check| check.id.as_str()).collect();
    let count = |verdict: Verdict| {
        let such = findings.iter().filter(|finding| finding.verdict == verdict && reading.contains(finding.check.as_str()));
        such.map(|finding| finding.check.as_str()).collect::<BTreeSet<_>>().len()
    };
    let checks = |count: usize| if count == 1 { "1 check".to_owned() } else { format!("{count} checks") };
    if let Some(why) = facts.unavailable(group) {
        return (!reading.is_empty())
            .then(|| format!("{}: {} ({}): {} unknown", group.name(), why.reason.name(), why.detail, checks(count(Verdict::Unknown))));
    }
    let idle = if is_empty(facts, group) { count(Verdict::NotApplicable) } else { 0 };
    (idle > 0).then(|| format!("{}: none on this host: {} not applicable", group.name(), checks(idle)))
}

fn is_empty(facts: &NodeFacts, group: Group) -> bool {
    match group {
        Group::Kubelets => facts.kubelets.value().is_some_and(|listing| listing.items.is_empty()),
        Group::Components => facts.components.value().is_some_and(|listing| listing.items.is_empty()),
        Group::Files => facts.files.value().is_some_and(|listing| listing.items.is_empty()),
        Group::Listeners => facts.listeners.value().is_some_and(|listing| listing.items.is_empty()),
        Group::Processes => facts.processes.value().is_some_and(|listing| listing.items.is_empty()),
        Group::Probes => facts.probes.value().is_some_and(|listing| listing.items.is_empty()),
        _ => false,
    }
}
