//! The thread that reads and judges: groups that may have changed in, judgements out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use holdfast_checks::catalogue::{Check, JudgedBy};
use holdfast_checks::derive::{comes_of_age_ms, derive};
use holdfast_checks::entries::{Entry, Finding, Verdict};
use holdfast_checks::evaluator::{Evaluator, NODE_SUBJECT, Selection, TreeError};
use holdfast_checks::facts::{Group, NodeFacts};
use holdfast_checks::inventory;
use holdfast_checks::policy::{DISABLED, Policy};
use tokio::sync::mpsc;

use super::notices::Notices;
use crate::causes::causes;
use crate::health::Gauges;
use crate::line::{Judgement, Took};
use crate::policy::InForce;
use crate::sensors::Sensors;
use crate::watch::{Pending, Touched, Wanted, touched_by_processes};

/// The longest pause between two readings when changes wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So much later than a process comes of age it is looked for: where the kernel tells of processes change detection has asked by
/// then, unless the process is older than the agent.
const LATER: Duration = Duration::from_millis(150);
const LATER_WHEN_TOLD: Duration = Duration::from_secs(2);

/// What the thread needs.
pub(super) struct Judging {
    pub(super) sensors: Sensors,
    pub(super) evaluator: Evaluator,
    pub(super) policy: InForce,
    pub(super) pending: Arc<Pending>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) judged: mpsc::Sender<Judgement>,
}

impl Judging {
    /// Reads everything, then whatever is pending, until it is closed or nobody listens.
    pub(super) fn run(mut self) {
        let mut notices = Notices::default();
        let mut start = Instant::now();
        self.hear();
        let mut facts = self.sensors.read_all(&mut |group| tracing::debug!(group = group.name(), "reading"));
        let mut wanted = Wanted::All;
        let (mut grown, mut sign) = (None, None);
        loop {
            let read = start.elapsed();
            if wanted.includes(Group::Processes) {
                let later = if facts.node.process_events.value().is_some() { LATER_WHEN_TOLD } else { LATER };
                grown = comes_of_age_ms(&facts).map(|ms| Instant::now() + Duration::from_millis(ms.unsigned_abs()) + later);
            }
            derive(&mut facts);
            self.policy.set_own_addresses(addresses(&facts));
            if let Some(watched) = self.sensors.watched(&facts) {
                self.pending.set_watched(watched);
            }
            let troubled = self.sensors.troubled();
            if !troubled.is_empty() {
                let names: Vec<&str> = troubled.into_iter().map(Group::name).collect();
                tracing::warn!(groups = names.join(" "), "sensors timed out or crashed: their facts are unknown until the next pass");
            }
            if let Some(mut judgement) = self.judge(&facts, &wanted, &mut notices) {
                judgement.took = sign.map(|sign| Took {
                    watch: start.saturating_duration_since(sign),
                    read,
                    judge: start.elapsed().saturating_sub(read),
                });
                self.count(start);
                tracing::debug!(wanted = ?wanted, entries = judgement.entries.len(), elapsed = ?start.elapsed(), "judged");
                if self.judged.blocking_send(judgement).is_err() {
                    return;
                }
            }
            // A host on which something changes all the time is read a quarter of the time at most; the first change after
            // a quiet moment is read at once.
            self.pending.wait_closed(start.elapsed().saturating_mul(3).min(LONGEST_PAUSE));
            wanted = match self.pending.take_until(grown) {
                // Nothing happened, and a process came of age.
                Some(Wanted::Groups(groups)) if groups.is_empty() => Wanted::Groups(touched_by_processes()),
                Some(next) => next,
                None => return,
            };
            sign = self.pending.noticed();
            self.hear();
            start = Instant::now();
            match &mut wanted {
                Wanted::All => facts = self.sensors.read_all(&mut |_| {}),
                Wanted::Groups(groups) => {
                    let before = components(&facts);
                    *groups = self.sensors.refresh(&mut facts, groups);
                    if components(&facts) != before {
                        // Its role, its files and its ports are to be read too.
                        self.pending.add_all();
                    }
                    if !self.sensors.due().is_empty() {
                        self.pending.add(self.sensors.due());
                    }
                }
            }
        }
    }

    /// Takes in what change detection knows of processes beside that they are to be read.
    fn hear(&mut self) {
        if let Some(told) = self.pending.take_process_events() {
            self.sensors.set_process_events(told);
        }
        match self.pending.take_touched() {
            Touched::Processes(pids) => self.sensors.touched(Some(&pids)),
            Touched::All => {
                self.gauges.process_events_lost.fetch_add(1, Ordering::Relaxed);
                self.sensors.touched(None);
            }
        }
    }

    fn judge(&self, facts: &NodeFacts, wanted: &Wanted, notices: &mut Notices) -> Option<Judgement> {
        let groups = match wanted {
            Wanted::All => None,
            Wanted::Groups(groups) => Some(with_derived(groups)),
        };
        let selection = Selection { judged_by: Some(JudgedBy::Node), groups, ..Selection::default() };
        let findings = match evaluate(&self.evaluator, facts, &selection, &self.policy.get()) {
            Ok(findings) => findings,
            Err(error) => {
                tracing::error!(error = causes(&error), "these facts cannot be judged: the last findings stand; report this");
                return None;
            }
        };
        if *wanted == Wanted::All {
            notices.tell(&self.evaluator, facts, &findings);
        }
        let at = jiff::Timestamp::now().as_millisecond();
        let covers = selection.groups.is_some().then(|| self.evaluator.selected(&selection).map(|check| check.id.to_string()).collect());
        Some(Judgement { entries: entries(facts, findings, at), covers, at, took: None })
    }

    fn count(&self, start: Instant) {
        let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.gauges.scan_us.store(elapsed, Ordering::Relaxed);
        self.gauges.scans.fetch_add(1, Ordering::Relaxed);
        self.gauges.scanned.store(true, Ordering::Relaxed);
    }
}

/// The findings of a selection, where each check that the policy disables has one that says so.
fn evaluate(evaluator: &Evaluator, facts: &NodeFacts, selection: &Selection, policy: &Policy) -> Result<Vec<Finding>, TreeError> {
    let (disabled, enabled): (Vec<&Check>, Vec<&Check>) =
        evaluator.selected(selection).partition(|check| policy.disables(check.id.as_str()));
    if disabled.is_empty() {
        return evaluator.evaluate(facts, selection);
    }
    let enabled = enabled.into_iter().map(|check| check.id.to_string()).collect();
    let mut findings = evaluator.evaluate(facts, &Selection { checks: Some(enabled), ..selection.clone() })?;
    findings.extend(disabled.into_iter().map(|check| Finding {
        check: check.id.to_string(),
        subject: NODE_SUBJECT.to_owned(),
        verdict: Verdict::NotApplicable,
        reason: DISABLED.to_owned(),
        severity: check.severity,
        title: check.title.clone(),
        evidence: Vec::new(),
        evidence_truncated: false,
    }));
    Ok(findings)
}

/// This node's addresses, as far as they are known.
fn addresses(facts: &NodeFacts) -> Vec<IpAddr> {
    let listed = facts.network.value().and_then(|network| network.addresses.value()).into_iter().flat_map(|listing| &listing.items);
    listed.filter_map(|address| address.address.parse().ok()).collect()
}

fn entries(facts: &NodeFacts, findings: Vec<Finding>, at: i64) -> Vec<Entry> {
    let mut entries: Vec<Entry> = findings.into_iter().map(|finding| Entry::finding(finding, at)).collect();
    entries.extend(inventory::entries(facts, at).entries);
    entries
}

/// What runs of Kubernetes here, and with which flags.
fn components(facts: &NodeFacts) -> Vec<(String, Vec<String>)> {
    let kubelets = facts.kubelets.value().into_iter().flat_map(|listing| &listing.items);
    let others = facts.components.value().into_iter().flat_map(|listing| &listing.items);
    let kubelets = kubelets.map(|kubelet| (kubelet.subject.clone(), kubelet.argv.clone()));
    kubelets.chain(others.map(|component| (component.subject.clone(), component.argv.clone()))).collect()
}

/// The groups whose members can differ after `read` was read again: derivation gives kubelets and components their own
/// sockets and answers, and effective settings come from files.
fn with_derived(read: &BTreeSet<Group>) -> BTreeSet<Group> {
    let mut groups = read.clone();
    if [Group::Listeners, Group::Probes, Group::Handshakes, Group::Files, Group::Processes].iter().any(|group| read.contains(group)) {
        groups.extend([Group::Kubelets, Group::Components]);
    }
    if [Group::Listeners, Group::Kubelets, Group::Kernel].iter().any(|group| read.contains(group)) {
        // Runtimes have sockets, one of them a kubelet, and user namespaces the kernel.
        groups.insert(Group::Runtimes);
    }
    if read.contains(&Group::Processes) {
        // Whether network policies are enforced shows in what runs, and so does what a container is.
        groups.extend([Group::Network, Group::Containers]);
    }
    groups
}

#[cfg(test)]
mod tests {
    use holdfast_checks::entries::Key;
    use holdfast_checks::facts::{Node, Reason, Unavailable};

    use super::*;

    #[test]
    fn a_partial_judgement_lets_only_keys_of_its_own_checks_go() {
        let judgement = Judgement { entries: Vec::new(), covers: Some(["listener-owner".to_owned()].into()), at: 0, took: None };
        assert!(judgement.covers(&Key::finding("listener-owner", "port:tcp/10255")));
        assert!(!judgement.covers(&Key::finding("kernel-end-of-life", "node")));
        assert!(judgement.covers(&Key::inventory("listener", "tcp/127.0.0.1/80")));
        let full = Judgement { covers: None, ..judgement };
        assert!(full.covers(&Key::finding("kernel-end-of-life", "node")));
    }

    #[test]
    fn a_port_that_opens_is_judged_where_the_kubelet_owns_it() {
        let groups = with_derived(&[Group::Listeners, Group::Probes].into());
        assert!(groups.contains(&Group::Kubelets) && groups.contains(&Group::Components) && !groups.contains(&Group::Kernel));
    }

    #[test]
    fn a_disabled_check_says_so_once_and_never_passes() {
        let evaluator = Evaluator::new(holdfast_checks::catalogue::built_in().unwrap());
        let facts = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "a test"));
        let selection = Selection { judged_by: Some(JudgedBy::Node), ..Selection::default() };
        let all = evaluate(&evaluator, &facts, &selection, &Policy::default()).unwrap();
        let policy = Policy::new(0, ["kubelet-anonymous-auth"], std::iter::empty::<(&str, [&str; 0])>()).unwrap();
        let fewer = evaluate(&evaluator, &facts, &selection, &policy).unwrap();
        let of = |findings: &[Finding]| -> Vec<Finding> {
            findings.iter().filter(|finding| finding.check == "kubelet-anonymous-auth").cloned().collect()
        };
        let [said] = of(&fewer).try_into().unwrap();
        assert_eq!((said.verdict, said.reason.as_str(), said.reason_class()), (Verdict::NotApplicable, DISABLED, "disabled"));
        assert_eq!((said.severity, said.title.clone()), (of(&all)[0].severity, of(&all)[0].title.clone()));
        let others = |findings: &[Finding]| findings.iter().filter(|finding| finding.check != said.check).cloned().collect::<Vec<_>>();
        assert_eq!(others(&fewer), others(&all), "nothing else is judged otherwise");
    }
}
