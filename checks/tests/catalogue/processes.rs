//! Fixtures of `processes.yaml`.

use std::time::Instant;

use holdfast_checks::derive::derive;
use holdfast_checks::entries::Verdict;
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::*;

use crate::base::*;
use crate::case::{Case, evaluator, judged};

fn session(uid: i64) -> Process {
    process("process:user.slice/bash", Placement::User, uid)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::only("root-process")
            .passes(|facts| items(&mut facts.processes).push(session(1000)))
            .passes(|facts| items(&mut facts.processes).push(Process { exe: known("/usr/sbin/sshd".into()), ..session(0) }))
            // Root of a user namespace of its own, as a rootless runtime makes it.
            .passes(|facts| {
                items(&mut facts.processes).push(Process { inside_uid: known(0), user_namespace: known(true), ..session(1_000_000) });
            })
            .fails(|facts| items(&mut facts.processes).push(session(0)))
            .fails(|facts| items(&mut facts.processes).push(process("process:/docker/x/main", Placement::Machine, 0)))
            // In a pod and in no container that is known: it is not lost.
            .fails(|facts| items(&mut facts.processes).push(process("pod:p1/qemu", Placement::Pod, 0)))
            // A container with a writable cgroup tree that went among the host's services: its process ids are its own.
            .fails(|facts| {
                let moved = process("service:cron.service/sh", Placement::Host, 0);
                items(&mut facts.processes).push(Process { inside_pid: 7, ..moved });
            })
            .not_applicable(|facts| {
                let own = process("service:cron.service/cron", Placement::Host, 0);
                items(&mut facts.processes).push(Process { inside_pid: own.pid, ..own });
            })
            .not_applicable(|_| {})
            // A container's root is the container's finding.
            .not_applicable(|facts| {
                items(&mut facts.processes).push(Process { uid: 0, ..crate::containers::process_of("pod:default/web/c", "c1") });
            })
            .unreadable("permission_denied", |facts| items(&mut facts.processes).push(Process { exe: denied(), ..session(0) }))
            .unreadable("permission_denied", |facts| facts.processes = denied())
            .unreadable("incomplete", |facts| {
                let skipped = Skipped { what: "/proc/300/status".into(), reason: Reason::PermissionDenied };
                facts.processes.value_mut().expect("known").skipped.push(skipped);
            }),
    ]
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
            assert!(findings.len() > 500, "{}", findings.len());
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
        let root = Process { inside_uid: known(0), user_namespace: known(true), ..session(0) };
        items(&mut facts.processes).push(root);
    };
    assert_eq!(verdicts("root-process", unshared), [("process:user.slice/bash".to_owned(), Verdict::Fail)]);
}

#[test]
fn whoever_logs_in_over_ssh_is_not_a_root_process_by_sshd_beside_the_session() {
    let login = |exe: &'static str| {
        verdicts("root-process", move |facts| {
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
            let all = (1 << 41) - 1;
            let starting =
                Process { uid: 0, cap_effective: all, cap_bounding: all, ..crate::containers::process_of("pod:default/web/c", "c1") };
            *items(&mut facts.processes) = vec![Process { age_ms, ..session(0) }, Process { age_ms, ..starting }];
        }
    };
    for check in ["root-process", "container-root", "pod-privileged", "pod-dangerous-capabilities"] {
        let of = |age_ms| verdicts(check, aged(age_ms))[0].1;
        assert_eq!(of(Some(50)), Verdict::NotApplicable, "{check}");
        assert_eq!(of(Some(990)), Verdict::NotApplicable, "{check}");
        assert_eq!(of(Some(1_000)), Verdict::Fail, "{check}");
        // A clock that makes no sense must not hide a process, nor must none.
        assert_eq!(of(Some(-60_000)), Verdict::Fail, "{check}");
        assert_eq!(of(None), Verdict::Fail, "{check}");
    }
}
