//! The rule for unknown, trap by trap: a fact that could not be read never becomes a pass, a fail or an absence.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use holdfast_checks::catalogue::{Catalogue, Document};
use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::*;

fn node() -> Node {
    let text = |text: &str| text.to_owned();
    Node {
        name: text("n1"),
        uid: String::new(),
        cluster: String::new(),
        role: text("worker"),
        provider: text("none"),
        profile: text("plain"),
        profile_because: String::new(),
        ..Node::unnamed()
    }
}

fn source() -> Source {
    Source::new(SourceKind::Socket, "test")
}

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, source(), 1)
}

fn denied<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::PermissionDenied, "open /proc/7/fd")
}

fn listener(port: i64, owner: Observed<Owner>) -> Listener {
    Listener { subject: format!("port:tcp/{port}"), protocol: "tcp".into(), address: "0.0.0.0".into(), port, scope: BindScope::All, owner }
}

fn owner(name: &str) -> Observed<Owner> {
    known(Owner { pid: 1, name: name.into(), exe: String::new(), component: String::new(), unit: String::new() })
}

fn facts(listeners: Observed<Listing<Listener>>) -> NodeFacts {
    let mut facts = NodeFacts::unread(node(), &Unavailable::new(Reason::NotSupported, "not read in this test"));
    facts.listeners = listeners;
    facts
}

fn judge_with(body: &str, facts: &NodeFacts) -> Vec<Finding> {
    let text = format!(
        "- id: trap\n  title: a trap\n  severity: high\n  area: network\n  judged_by: node\n  why: because\n  fix: this way\n{body}"
    );
    let catalogue = Catalogue::load(&[Document { name: "trap.yaml".into(), text }]).expect("the trap's catalogue loads");
    Evaluator::new(catalogue).evaluate(facts, &Selection::default()).expect("it is judged")
}

/// One finding of an expression on the node.
fn judge(pass: &str, facts: &NodeFacts) -> (Verdict, String) {
    let findings = judge_with(&format!("  pass: '{pass}'\n  evidence: [listeners]\n"), facts);
    assert_eq!(findings.len(), 1, "{findings:?}");
    (findings[0].verdict, findings[0].reason.clone())
}

#[test]
fn an_unreadable_fact_is_unknown_with_its_reason() {
    let facts = facts(known(Listing::complete(vec![listener(22, denied())])));
    let (verdict, reason) = judge(r#"listeners.all(l, l.owner.name == "sshd")"#, &facts);
    assert_eq!((verdict, reason.as_str()), (Verdict::Unknown, "permission_denied: open /proc/7/fd"));
}

#[test]
fn a_group_that_no_sensor_fills_is_unknown() {
    let (verdict, reason) = judge("listeners.size() == 0", &facts(denied()));
    assert_eq!((verdict, reason.as_str()), (Verdict::Unknown, "permission_denied: open /proc/7/fd"));
}

#[test]
fn and_or_decide_despite_an_unknown_side_whatever_its_position() {
    let facts = facts(known(Listing::complete(vec![listener(22, denied())])));
    let unknown = r#"listeners[0].owner.name == "x""#;
    for (expression, verdict) in [
        (format!("{unknown} || true"), Verdict::Pass),
        (format!("true || {unknown}"), Verdict::Pass),
        (format!("{unknown} && false"), Verdict::Fail),
        (format!("false && {unknown}"), Verdict::Fail),
        (format!("{unknown} || false"), Verdict::Unknown),
        (format!("false || {unknown}"), Verdict::Unknown),
        (format!("{unknown} && true"), Verdict::Unknown),
        (format!("!({unknown})"), Verdict::Unknown),
        (format!("{unknown} ? true : true"), Verdict::Unknown),
    ] {
        assert_eq!(judge(&expression, &facts).0, verdict, "{expression}");
    }
}

#[test]
fn exists_is_true_when_one_is_true_and_unknown_when_none_is_but_one_is_unknown() {
    let mixed = |known_name: &str| {
        let items = vec![listener(1, denied()), listener(2, owner(known_name)), listener(3, denied())];
        facts(known(Listing::complete(items)))
    };
    let expression = r#"listeners.exists(l, l.owner.name == "sshd")"#;
    assert_eq!(judge(expression, &mixed("sshd")).0, Verdict::Pass);
    assert_eq!(judge(expression, &mixed("other")).0, Verdict::Unknown);
    let none = r#"!listeners.exists(l, l.owner.name == "sshd")"#;
    assert_eq!(judge(none, &mixed("sshd")).0, Verdict::Fail);
    assert_eq!(judge(none, &mixed("other")).0, Verdict::Unknown, "not found is not absent");
    let all = r#"listeners.all(l, l.owner.name == "sshd")"#;
    assert_eq!(judge(all, &mixed("other")).0, Verdict::Fail, "one that is not decides");
    assert_eq!(judge(all, &mixed("sshd")).0, Verdict::Unknown);
}

#[test]
fn an_incomplete_listing_turns_pass_into_unknown_and_leaves_fail() {
    let skipped = vec![Skipped { what: "/proc/7/fd".into(), reason: Reason::PermissionDenied }];
    let facts = facts(known(Listing { items: vec![listener(22, owner("sshd"))], skipped }));
    let (verdict, reason) = judge("!listeners.exists(l, l.port == 10255)", &facts);
    assert_eq!(verdict, Verdict::Unknown);
    assert_eq!(reason, "incomplete: listeners: 1 not read, first: /proc/7/fd (permission_denied)");
    assert_eq!(judge("!listeners.exists(l, l.port == 22)", &facts).0, Verdict::Fail);
    assert_eq!(judge("listeners.size() == 1", &facts).0, Verdict::Unknown, "size() reads the listing too");
    assert_eq!(judge("listeners.filter(l, l.port == 1).size() == 0", &facts).0, Verdict::Unknown, "through filter()");
    assert_eq!(judge("true || listeners.size() == 9", &facts).0, Verdict::Pass, "what was not read does not count");
}

#[test]
fn not_applicable_from_an_incomplete_listing_is_unknown() {
    let skipped = vec![Skipped { what: "x".into(), reason: Reason::TimedOut }];
    let incomplete = facts(known(Listing { items: vec![], skipped }));
    let body = "  applies: listeners.exists(l, l.port == 1)\n  applies_reason: nothing listens\n  pass: 'true'\n  evidence: [listeners]\n";
    assert_eq!(judge_with(body, &incomplete)[0].verdict, Verdict::Unknown);
    let complete = facts(known(Listing::complete(vec![])));
    let finding = &judge_with(body, &complete)[0];
    assert_eq!((finding.verdict, finding.reason.as_str()), (Verdict::NotApplicable, "does_not_apply: nothing listens"));
}

#[test]
fn subjects_unavailable_empty_and_incomplete() {
    let body = "  subjects: listeners\n  pass: it.port != 10255\n  evidence: [it.port]\n";
    let on = |facts: &NodeFacts| -> Vec<(String, Verdict, String)> {
        judge_with(body, facts).into_iter().map(|finding| (finding.subject, finding.verdict, finding.reason)).collect()
    };
    assert_eq!(on(&facts(denied())), [("node".into(), Verdict::Unknown, "permission_denied: open /proc/7/fd".into())]);
    let empty = on(&facts(known(Listing::complete(vec![]))));
    assert_eq!(empty, [("node".into(), Verdict::NotApplicable, "no_subject: there is nothing of this kind on the node".into())]);
    let skipped = vec![Skipped { what: "x".into(), reason: Reason::TimedOut }];
    let partial = on(&facts(known(Listing { items: vec![listener(10255, owner("kubelet"))], skipped })));
    let verdicts: Vec<_> = partial.iter().map(|(subject, verdict, _)| (subject.as_str(), *verdict)).collect();
    assert_eq!(verdicts, [("node", Verdict::Unknown), ("port:tcp/10255", Verdict::Fail)]);
}

#[test]
fn subjects_of_one_name_are_one_finding_and_the_worst_verdict_stands() {
    let body = "  subjects: listeners\n  pass: it.owner.name == \"sshd\"\n  evidence: [it.owner.name]\n";
    let two = |a, b| facts(known(Listing::complete(vec![listener(22, a), listener(22, b)])));
    let cases = vec![
        (two(owner("sshd"), owner("nc")), Verdict::Fail),
        (two(owner("nc"), owner("sshd")), Verdict::Fail),
        (two(owner("sshd"), denied()), Verdict::Unknown),
        (two(denied(), owner("nc")), Verdict::Fail),
    ];
    for (facts, verdict) in cases {
        let findings = judge_with(body, &facts);
        assert_eq!((findings.len(), findings[0].verdict), (1, verdict));
    }
}

#[test]
fn a_mistake_in_the_check_is_unknown_check_error_and_never_a_verdict() {
    let facts = facts(known(Listing::complete(vec![listener(22, owner("sshd"))])));
    for expression in
        ["listeners[0].no_such_member == 1", "listeners[0].port + \"x\" == \"y\"", "listeners[9].port == 1", "listeners.size()"]
    {
        let (verdict, reason) = judge(expression, &facts);
        assert_eq!(verdict, Verdict::Unknown, "{expression}");
        assert!(reason.starts_with("check_error"), "{expression}: {reason}");
    }
}

#[test]
fn presence_tests_and_optionals_are_refused_with_file_line_and_reason() {
    for expression in [
        "has(listeners[0].owner)",
        "listeners[?0].orValue(1) == 1",
        "listeners.?size == 1",
        "nosuchgroup.x == 1",
        "it.port == 1",
        "frobnicate(1)",
    ] {
        let text = format!(
            "# a comment\n- id: trap\n  title: t\n  severity: high\n  area: network\n  judged_by: node\n  why: w\n  fix: f\n  pass: '{expression}'\n  evidence: [listeners]\n"
        );
        let error = Catalogue::load(&[Document { name: "trap.yaml".into(), text }]).expect_err(expression);
        assert!(error.to_string().starts_with("trap.yaml:2: check `trap`: pass: "), "{error}");
    }
}

#[test]
fn integers_of_every_kind_compare_as_cel_int() {
    // serde gives a positive JSON number as u64; CEL would make `uint` of it.
    let mut facts = facts(denied());
    let setting = Setting { value: serde_json::json!({"limit": 5, "list": ["a", "b"]}), source: source(), declared: vec![] };
    let kubelet = Kubelet {
        host_network: known(true),
        version: denied(),
        argv: vec![],
        documents: known(Listing::complete(vec![])),
        settings: [("podPidsLimit".to_owned(), known(setting))].into(),
        listeners: denied(),
        probes: denied(),
        ..Kubelet::unread("kubelet", 1, "kubelet")
    };
    facts.kubelets = known(Listing::complete(vec![kubelet]));
    let body = "  subjects: kubelets\n  pass: it.settings.podPidsLimit.value.limit == 5 && \"a\" in it.settings.podPidsLimit.value.list && it.settings.podPidsLimit.value.list == [\"a\", \"b\"]\n  evidence: [it.settings.podPidsLimit]\n";
    let finding = &judge_with(body, &facts)[0];
    assert_eq!((finding.verdict, finding.reason.as_str()), (Verdict::Pass, ""));
    assert_eq!(finding.evidence[0].path, "kubelets.settings.podPidsLimit");
    assert_eq!(finding.evidence[0].source, "socket test");
    assert_eq!(finding.evidence[0].at, 1);
}

#[test]
fn evidence_of_something_unavailable_says_why() {
    let facts = facts(known(Listing::complete(vec![listener(22, denied())])));
    let finding = &judge_with("  subjects: listeners\n  pass: it.owner.name == \"a\"\n  evidence: [it.owner.name, it.port]\n", &facts)[0];
    assert_eq!(finding.evidence[0].value, None);
    assert_eq!(finding.evidence[0].source, "permission_denied: open /proc/7/fd");
    assert_eq!(finding.evidence[1].value, Some(22.into()));
}

#[test]
fn an_expression_can_say_that_what_was_read_does_not_tell() {
    let facts = facts(known(Listing::complete(vec![listener(22, owner("sshd"))])));
    let (verdict, reason) = judge(r#"listeners.size() == 0 ? true : undecided("nothing tells")"#, &facts);
    assert_eq!((verdict, reason.as_str()), (Verdict::Unknown, "undecided: nothing tells"));
    assert_eq!(judge(r#"listeners.size() == 1 || undecided("nothing tells")"#, &facts).0, Verdict::Pass);
    assert_eq!(judge(r#"undecided("nothing tells") && listeners.size() == 0"#, &facts).0, Verdict::Fail);
}

#[test]
fn what_does_not_tell_from_an_incomplete_listing_is_incomplete() {
    let skipped = vec![Skipped { what: "/proc/7/fd".into(), reason: Reason::PermissionDenied }];
    let facts = facts(known(Listing { items: vec![], skipped }));
    let (verdict, reason) = judge(r#"listeners.size() == 1 ? true : undecided("nothing tells")"#, &facts);
    assert_eq!(verdict, Verdict::Unknown);
    assert_eq!(reason, "incomplete: listeners: 1 not read, first: /proc/7/fd (permission_denied)");
}
