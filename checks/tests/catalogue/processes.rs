//! Fixtures of `processes.yaml`.

use std::time::Instant;

use holdfast_checks::derive::derive;
use holdfast_checks::entries::Verdict;
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::*;

use crate::base::*;
use crate::case::{Case, evaluator, judged};

/// Every capability of a kernel from 5.9 on.
const ALL: i64 = 0x1ff_ffff_ffff;

/// The base node's process in a pod, to change.
fn in_pod(facts: &mut NodeFacts) -> &mut Process {
    items(&mut facts.processes).iter_mut().find(|process| process.placement == Placement::Pod).expect("the base has one")
}

fn only_services(facts: &mut NodeFacts) {
    remove(&mut facts.processes, |process| process.placement != Placement::Host);
}

fn pod_check(check: &'static str) -> Case {
    Case::of(check).not_applicable(only_services).unreadable("permission_denied", |facts| facts.processes = denied()).unreadable(
        "incomplete",
        |facts| {
            let skipped = Skipped { what: "/proc/300/status".into(), reason: Reason::PermissionDenied };
            facts.processes.value_mut().expect("known").skipped.push(skipped);
        },
    )
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        pod_check("root-process")
            // Root of a user namespace of its own, as hostUsers: false makes it.
            .passes(|facts| {
                let process = in_pod(facts);
                (process.uid, process.inside_uid, process.user_namespace) = (1_000_000, known(0), known(true));
            })
            .fails(|facts| in_pod(facts).uid = 0)
            .fails(|facts| items(&mut facts.processes).push(process("process:/user.slice/bash", Placement::User, 0)))
            .fails(|facts| items(&mut facts.processes).push(process("process:/docker/x/main", Placement::Machine, 0)))
            .unreadable("permission_denied", |facts| {
                items(&mut facts.processes).push(Process { exe: denied(), ..process("process:user.slice/x", Placement::User, 0) });
            }),
        pod_check("pod-seccomp").passes(|facts| in_pod(facts).seccomp = 1).fails(|facts| in_pod(facts).seccomp = 0),
        pod_check("pod-privileged")
            .passes(|facts| in_pod(facts).cap_effective = 1 << 40)
            .passes(|facts| {
                let process = in_pod(facts);
                (process.cap_effective, process.user_namespace) = (ALL, known(true));
            })
            .fails(|facts| in_pod(facts).cap_effective = ALL)
            .fails(|facts| in_pod(facts).cap_effective = (1 << 38) - 1)
            // A privileged container of a recorded node that is itself a container without SYS_RESOURCE.
            .fails(|facts| in_pod(facts).cap_effective = 0x1ff_feff_ffff)
            .passes(|facts| in_pod(facts).cap_effective = 1 << 21)
            .unreadable("permission_denied", |facts| {
                let process = in_pod(facts);
                (process.cap_effective, process.user_namespace) = (ALL, denied());
            }),
        pod_check("pod-dangerous-capabilities")
            // What containerd and Docker give by default.
            .passes(|facts| in_pod(facts).cap_effective = 0xa804_25fb)
            .fails(|facts| in_pod(facts).cap_effective = 0xa804_25fb | 1 << 21)
            .fails(|facts| in_pod(facts).cap_effective = 1 << 39)
            .unreadable("permission_denied", |facts| {
                let process = in_pod(facts);
                (process.cap_effective, process.user_namespace) = (1 << 21, denied());
            }),
        pod_check("pod-no-new-privileges").fails(|facts| in_pod(facts).no_new_privileges = false),
        pod_check("pod-host-network")
            .fails(|facts| in_pod(facts).host_network = known(true))
            .unreadable("permission_denied", |facts| in_pod(facts).host_network = denied()),
    ]
}

#[test]
fn capabilities_are_shown_in_hexadecimal() {
    let findings = judged("pod-privileged", &|facts| in_pod(facts).cap_effective = ALL);
    assert_eq!(findings[0].deciding(), "cap_effective = 0x1ffffffffff (kernel test)");
}

/// Prints what judging a busy node costs: `cargo test -p holdfast-checks --test catalogue cost -- --ignored --nocapture`.
#[test]
#[ignore = "prints a measurement"]
fn cost_of_five_hundred_processes() {
    let mut facts = node();
    items(&mut facts.processes).extend((0..500).map(|pod| process(&format!("pod:default/web-{pod}/c"), Placement::Pod, pod % 3)));
    items(&mut facts.listeners).extend((0..100).map(|port| listener(20_000 + port, BindScope::Node, 4242, "app", "")));
    derive(&mut facts);
    let mut took: Vec<_> = (0..100)
        .map(|_| {
            let started = Instant::now();
            let findings = evaluator().evaluate(&facts, &Selection::default()).expect("facts can be judged");
            assert!(findings.len() > 3_000, "{}", findings.len());
            started.elapsed()
        })
        .collect();
    took.sort();
    println!("{} checks, 500 processes: p50 {:?}, p99 {:?}", evaluator().catalogue().checks().len(), took[50], took[98]);
}

fn verdicts(check: &str, change: impl Fn(&mut NodeFacts)) -> Vec<(String, Verdict)> {
    judged(check, &change).into_iter().map(|finding| (finding.subject, finding.verdict)).collect()
}

#[test]
fn a_root_process_does_not_hide_behind_a_user_namespace_it_made_itself() {
    let unshared = |facts: &mut NodeFacts| {
        let process = in_pod(facts);
        (process.uid, process.inside_uid, process.user_namespace) = (0, known(0), known(true));
    };
    assert_eq!(verdicts("root-process", unshared), [("pod:default/web/c".to_owned(), Verdict::Fail)]);
}

#[test]
fn whoever_logs_in_over_ssh_is_not_a_root_process_by_sshd_beside_the_session() {
    let login = |exe: &'static str| {
        verdicts("root-process", move |facts| {
            only_services(facts);
            let root = process("process:user.slice/user-1000.slice/x", Placement::User, 0);
            items(&mut facts.processes).push(Process { exe: known(exe.into()), ..root });
        })[0]
            .1
    };
    assert_eq!(login("/usr/sbin/sshd"), Verdict::Pass);
    assert_eq!(login("/usr/lib/openssh/sshd-session (deleted)"), Verdict::Pass);
    assert_eq!(login("/usr/bin/bash"), Verdict::Fail);
    assert_eq!(login("/tmp/sshd"), Verdict::Fail);
}

/// A container's start is root with every capability for some milliseconds; so is `sudo ls`.
#[test]
fn what_lives_for_a_moment_is_no_finding() {
    let aged = |age_ms: Option<i64>| {
        move |facts: &mut NodeFacts| {
            let young = Process { age_ms, cap_effective: ALL, ..process("pod:a/b/c", Placement::Pod, 0) };
            *items(&mut facts.processes) = vec![young];
        }
    };
    for check in ["root-process", "pod-privileged", "pod-dangerous-capabilities"] {
        let of = |age_ms| verdicts(check, aged(age_ms))[0].1;
        assert_eq!(of(Some(50)), Verdict::NotApplicable, "{check}");
        assert_eq!(of(Some(990)), Verdict::NotApplicable, "{check}");
        assert_eq!(of(Some(1_000)), Verdict::Fail, "{check}");
        // A clock that makes no sense must not hide a process, nor must none.
        assert_eq!(of(Some(-60_000)), Verdict::Fail, "{check}");
        assert_eq!(of(None), Verdict::Fail, "{check}");
    }
}
