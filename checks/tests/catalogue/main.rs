//! Every check of the built-in catalogue on a node where it passes, fails, does not apply and cannot be told.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may fail"
)]

mod agent;
mod base;
mod case;
mod certificates;
mod containers;
mod control_plane;
mod exposure;
mod files;
mod kernel;
mod kubelet;
mod network;
mod patching;
mod processes;
mod runtimes;
mod system;
mod traps;

use std::collections::BTreeSet;

use case::{Case, evaluator, findings_after, verify};
use holdfast_checks::catalogue::{Check, Judge};
use holdfast_checks::entries::Verdict;
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::{Node, NodeFacts, Observed, Reason, Unavailable};

fn cases() -> Vec<Case> {
    [
        agent::cases(),
        certificates::cases(),
        containers::cases(),
        control_plane::cases(),
        exposure::cases(),
        files::cases(),
        kernel::cases(),
        kubelet::cases(),
        network::cases(),
        patching::cases(),
        processes::cases(),
        runtimes::cases(),
        system::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn agent() {
    agent::cases().iter().for_each(verify);
}

#[test]
fn certificates() {
    certificates::cases().iter().for_each(verify);
}

#[test]
fn containers() {
    containers::cases().iter().for_each(verify);
}

#[test]
fn control_plane() {
    control_plane::cases().iter().for_each(verify);
}

#[test]
fn exposure() {
    exposure::cases().iter().for_each(verify);
}

#[test]
fn files() {
    files::cases().iter().for_each(verify);
}

#[test]
fn kernel() {
    kernel::cases().iter().for_each(verify);
}

#[test]
fn kubelet() {
    kubelet::cases().iter().for_each(verify);
}

#[test]
fn network() {
    network::cases().iter().for_each(verify);
}

#[test]
fn patching() {
    patching::cases().iter().for_each(verify);
}

#[test]
fn processes() {
    processes::cases().iter().for_each(verify);
}

#[test]
fn runtimes() {
    runtimes::cases().iter().for_each(verify);
}

#[test]
fn system() {
    system::cases().iter().for_each(verify);
}

/// A check without `subjects` and `applies` is about every Linux host: it alone may have no not-applicable fixture.
#[test]
fn every_check_has_its_four_fixtures() {
    let cases = cases();
    let mut seen = BTreeSet::new();
    for case in &cases {
        assert!(seen.insert(case.check), "{} has two cases", case.check);
    }
    for check in evaluator().catalogue().checks() {
        if matches!(check.judge, Judge::Manual(_)) {
            continue;
        }
        let case = cases.iter().find(|case| case.check == check.id.as_str());
        let case = case.unwrap_or_else(|| panic!("{} has no fixtures", check.id));
        assert!(!case.passes.is_empty(), "{} has no passing fixture", check.id);
        assert!(!case.fails.is_empty(), "{} has no failing fixture", check.id);
        assert!(!case.unreadable.is_empty(), "{} has no unreadable fixture", check.id);
        let always_applies = check.subjects.is_none() && check.applies.is_none();
        assert!(always_applies || !case.not_applicable.is_empty(), "{} has no fixture where it does not apply", check.id);
    }
}

#[test]
fn nothing_fails_on_the_base_node() {
    let bad: Vec<String> = findings_after(&|_| {}, &Selection::default())
        .into_iter()
        .filter(|finding| !matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable))
        .map(|finding| format!("{} {} {} {}", finding.check, finding.subject, finding.verdict.name(), finding.reason))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Every group unavailable: nothing passes, nothing fails, and every reason is the group's own.
#[test]
fn a_node_of_which_nothing_was_read_is_unknown_throughout() {
    let unread = |facts: &mut NodeFacts| {
        let why = Unavailable::new(Reason::TimedOut, "everything");
        let (cri_allowed, clock) = (Observed::Unavailable(why.clone()), Some(Observed::Unavailable(why.clone())));
        let (membership, admission) = (Some(Observed::Unavailable(why.clone())), Some(Observed::Unavailable(why.clone())));
        let node = Node { cri_allowed, clock, membership, admission, ..facts.node.clone() };
        *facts = NodeFacts { agent: Observed::Unavailable(why.clone()), ..NodeFacts::unread(node, &why) };
    };
    for finding in findings_after(&unread, &Selection::default()) {
        assert_eq!((finding.verdict, finding.reason.as_str()), (Verdict::Unknown, "timed_out: everything"), "{}", finding.check);
    }
}

/// Process ids change with every restart; evidence that had them would change with them.
#[test]
fn no_evidence_has_a_process_id() {
    let restarted = |facts: &mut NodeFacts| {
        base::kubelet_of(facts).pid += 1000;
        for component in base::items(&mut facts.components) {
            component.pid += 1000;
        }
        for runtime in base::items(&mut facts.runtimes) {
            runtime.pid += 1000;
        }
        for process in base::items(&mut facts.processes) {
            process.pid += 1000;
        }
        for listener in base::items(&mut facts.listeners) {
            listener.owner.value_mut().expect("the base knows every owner").pid += 1000;
        }
    };
    assert_eq!(findings_after(&|_| {}, &Selection::default()), findings_after(&restarted, &Selection::default()));
}

#[test]
fn the_list_of_checks() {
    let checks = evaluator().catalogue().checks();
    let line = |check: &Check| format!("{:<40} {:<8} {:<13} {}\n", check.id.to_string(), check.severity.name(), check.area, check.title);
    insta::assert_snapshot!(checks.iter().map(line).collect::<String>());
}
