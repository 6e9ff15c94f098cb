//! Fixtures of `agent.yaml`.

use holdfast_checks::facts::*;

use crate::base::*;
use crate::case::{Case, judged};

/// An agent that delivers and has nothing to complain of.
pub(crate) fn agent() -> Agent {
    let spool = SpoolState {
        kind: SpoolKind::File,
        path: "/var/lib/holdfast/spool.redb".into(),
        reason: String::new(),
        detail: String::new(),
        recreated: None,
    };
    Agent { running: true, spool, tested: true, privileges: known(privileges()), ..Agent::not_running() }
}

/// Of an agent as the manifests start it.
fn privileges() -> Privileges {
    Privileges {
        uid: 65_523,
        capabilities: vec!["CAP_DAC_READ_SEARCH".into(), "CAP_SYS_PTRACE".into()],
        lacks: Vec::new(),
        host_processes: known(true),
        host_network: known(true),
        host_files: known(true),
        no_new_privileges: true,
        dumpable: false,
        attempts: vec![Attempt { what: "run a program".into(), refused: true, answer: "EPERM: Operation not permitted".into() }],
    }
}

fn privileges_of(facts: &mut NodeFacts) -> &mut Privileges {
    agent_of(facts).privileges.value_mut().expect("the base knows them")
}

/// A scan of the host it is on, as root.
fn scan_as_root(facts: &mut NodeFacts) {
    let privileges = Privileges { uid: 0, dumpable: true, ..privileges() };
    facts.agent = known(Agent { tested: true, privileges: known(privileges), ..Agent::not_running() });
}

/// One agent of its own, of which nothing was refused.
pub(crate) fn admission() -> Admission {
    Admission { credential: "pod".into(), duplicates: 0, alternations: 0, foreign_writes: 0, last: String::new() }
}

fn admitted(facts: &mut NodeFacts, change: impl FnOnce(&mut Admission)) {
    let mut admission = admission();
    change(&mut admission);
    facts.node.admission = Some(known(admission));
}

/// Neither applies where nobody counts, and both are unknown where nobody has spoken yet.
fn counted(check: &'static str) -> Case {
    Case::of(check)
        .not_applicable(|facts| facts.node.admission = None)
        .unreadable("permission_denied", |facts| facts.node.admission = Some(denied()))
}

fn agent_of(facts: &mut NodeFacts) -> &mut Agent {
    facts.agent.value_mut().expect("the base knows it")
}

fn scan(facts: &mut NodeFacts) {
    facts.agent = known(Agent::not_running());
}

fn in_memory(facts: &mut NodeFacts, reason: &str, detail: &str) {
    let spool = &mut agent_of(facts).spool;
    (spool.kind, spool.reason, spool.detail) = (SpoolKind::Memory, reason.into(), detail.into());
}

fn without_a_directory(facts: &mut NodeFacts) {
    in_memory(facts, "not_configured", "no directory was given: --spool");
    agent_of(facts).spool.path = String::new();
}

fn refused(key: &str, code: &str) -> RefusedEntry {
    RefusedEntry { key: key.into(), code: code.into() }
}

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        Case::of("agent-spool-configured").passes(|facts| in_memory(facts, "disk_full", "")).fails(without_a_directory),
        Case::of("agent-spool-file")
            .fails(|facts| in_memory(facts, "disk_full", "no room on /var/lib/holdfast"))
            .fails(|facts| in_memory(facts, "read_only", "/var/lib/holdfast is mounted read-only"))
            .fails(|facts| in_memory(facts, "a_reason_of_a_later_version", ""))
            .not_applicable(without_a_directory),
        Case::of("agent-spool-kept").passes(without_a_directory).fails(|facts| {
            agent_of(facts).spool.recreated = Some(Recreated {
                set_aside: "/var/lib/holdfast/spool.redb.bad-1790000000".into(),
                because: "a page does not verify".into(),
                at: 1_790_000_000_000,
            });
        }),
        Case::of("agent-entries-refused")
            .fails(|facts| agent_of(facts).refused.items.push(refused("listener/tcp/::/9", "quota")))
            .unreadable("incomplete", |facts| {
                let skipped = Skipped { what: "3 more".into(), reason: Reason::TooLarge };
                agent_of(facts).refused.skipped.push(skipped);
            }),
        Case::of("agent-history-truncated").fails(|facts| agent_of(facts).truncated_transitions = 12),
        Case::of("agent-findings-flapping").fails(|facts| {
            let flapping =
                Flapping { check: "unexpected-listener".into(), finding: "port:tcp/4000".into(), changes: 40, since: 1_790_000_000_000 };
            agent_of(facts).flapping.items.push(flapping);
        }),
        Case::of("agent-least-privilege")
            .passes(|facts| privileges_of(facts).capabilities.clear())
            .passes(|facts| {
                scan_as_root(facts);
                privileges_of(facts).uid = 1000;
            })
            .fails(|facts| privileges_of(facts).uid = 0)
            .fails(scan_as_root)
            .fails(|facts| privileges_of(facts).no_new_privileges = false)
            .fails(|facts| privileges_of(facts).dumpable = true)
            .fails(|facts| privileges_of(facts).capabilities.push("CAP_SYS_ADMIN".into()))
            .fails(|facts| privileges_of(facts).attempts[0].refused = false)
            .unreadable("not_supported", |facts| agent_of(facts).privileges = Agent::not_running().privileges),
        Case::of("agent-sees-the-host")
            .passes(scan_as_root)
            .fails(|facts| privileges_of(facts).host_processes = known(false))
            .fails(|facts| privileges_of(facts).host_network = known(false))
            .fails(|facts| {
                privileges_of(facts).host_processes = denied();
                privileges_of(facts).host_files = known(false);
            })
            .unreadable("permission_denied", |facts| privileges_of(facts).host_network = denied()),
    ];
    let everywhere = |case: Case| case.not_applicable(scan).unreadable("permission_denied", |facts| facts.agent = denied());
    let admitted = [
        counted("agent-is-alone")
            .passes(|facts| admitted(facts, |admission| admission.foreign_writes = 7))
            .fails(|facts| admitted(facts, |admission| admission.duplicates = 1))
            .fails(|facts| admitted(facts, |admission| admission.alternations = 500)),
        counted("agent-speaks-for-itself")
            .passes(|facts| admitted(facts, |admission| admission.duplicates = 7))
            .fails(|facts| admitted(facts, |admission| admission.foreign_writes = 1)),
    ];
    cases.into_iter().map(everywhere).chain(admitted).chain(membership()).collect()
}

/// What the collector's watch of Node objects says.
fn member(change: impl Fn(&mut Membership) + 'static) -> impl Fn(&mut NodeFacts) + 'static {
    move |facts| change(facts.node.membership.as_mut().and_then(Observed::value_mut).expect("the base knows it"))
}

fn membership() -> [Case; 2] {
    let has_agent = Case::of("node-has-agent")
        .fails(member(|node| (node.agent, node.waited_seconds) = (false, 300)))
        .not_applicable(|facts| facts.node.membership = None)
        .not_applicable(member(|node| node.listed = false))
        .not_applicable(member(|node| (node.agent, node.unwatchable) = (false, "Windows".into())))
        .unreadable("permission_denied", |facts| facts.node.membership = Some(denied()));
    let is_known = Case::of("node-is-known")
        .fails(member(|node| node.listed = false))
        .not_applicable(|facts| facts.node.membership = None)
        .not_applicable(member(|node| node.agent = false))
        .unreadable("permission_denied", |facts| facts.node.membership = Some(denied()));
    [has_agent, is_known]
}

/// Without a directory there is one finding of low severity, not a second one that says the same louder.
#[test]
fn an_agent_without_a_directory_fails_once() {
    let verdict = |check: &str| judged(check, &without_a_directory)[0].verdict.name();
    assert_eq!((verdict("agent-spool-configured"), verdict("agent-spool-file")), ("fail", "not_applicable"));
}

#[test]
fn a_scan_says_that_no_agent_delivers() {
    let findings = judged("agent-spool-file", &scan);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].reason, "does_not_apply: no agent delivers here that was given a directory");
}
