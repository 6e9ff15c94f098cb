//! The thread that reads and judges: groups that may have changed in, judgements out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use holdfast_checks::catalogue::JudgedBy;
use holdfast_checks::derive::{comes_of_age_ms, derive};
use holdfast_checks::entries::{Entry, Finding};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::{Group, NodeFacts};
use holdfast_checks::inventory;
use tokio::sync::mpsc;

use super::notices::Notices;
use crate::causes::causes;
use crate::health::Gauges;
use crate::line::{Judgement, Took};
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
        let findings = match self.evaluator.evaluate(facts, &selection) {
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
}
