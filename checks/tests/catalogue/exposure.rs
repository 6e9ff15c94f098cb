//! Fixtures of `exposure.yaml`: answers that other nodes' agents got.

use holdfast_checks::entries::Verdict;
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::*;
use holdfast_checks::peers::lay_over;

use crate::base::*;
use crate::case::{Case, evaluator, judged};

/// What the agent of node n2 met.
fn peer(port: i64, outcome: ProbeOutcome, status: i64) -> Probe {
    let question = holdfast_checks::peers::question(port).expect("one that is asked");
    Probe {
        vantage: "n2".into(),
        address: "192.0.2.2".into(),
        port,
        path: question.path.into(),
        tls: question.tls,
        outcome,
        status,
        body: String::new(),
    }
}

/// The facts as the collector has them: answers of peers only.
fn peers(facts: &mut NodeFacts, answers: &[Probe]) {
    facts.probes = complete(answers.to_vec());
}

/// The agents asked, and only the node itself answered.
fn nobody(facts: &mut NodeFacts) {
    facts.probes = complete(vec![probe(10250, true, ProbeOutcome::Answered, 401)]);
}

fn off(facts: &mut NodeFacts) {
    facts.probes = Observed::unavailable_because(Reason::NotSupported, "peer probes are switched off");
}

fn without(name: &'static str) -> impl Fn(&mut NodeFacts) {
    move |facts| remove(&mut facts.components, |component| component.name == name)
}

pub(crate) fn cases() -> Vec<Case> {
    use ProbeOutcome::{Answered, CertificateRequired, NotHttp, Refused, TlsRefused, Unreachable};
    let met = |port, outcome, status| move |facts: &mut NodeFacts| peers(facts, &[peer(port, outcome, status)]);
    vec![
        Case::only("kubelet-serves-peers")
            .passes(met(10250, Answered, 401))
            .passes(met(10250, Answered, 403))
            .passes(met(10250, Refused, 0))
            .passes(met(10250, Unreachable, 0))
            .fails(met(10250, Answered, 200))
            .not_applicable(no_kubelet)
            .unreadable("not_supported", off)
            .unreadable("undecided", nobody),
        Case::only("kubelet-read-only-port-reachable")
            .passes(met(10255, Refused, 0))
            .fails(met(10255, Answered, 200))
            .fails(met(10255, Answered, 404))
            .fails(met(10255, NotHttp, 0))
            .not_applicable(no_kubelet)
            .unreadable("not_supported", off)
            .unreadable("undecided", nobody),
        Case::only("kubelet-api-reachable")
            .passes(met(10250, Refused, 0))
            .fails(met(10250, Answered, 401))
            .fails(met(10250, CertificateRequired, 0))
            .not_applicable(no_kubelet)
            .unreadable("not_supported", off)
            .unreadable("undecided", nobody),
        Case::only("etcd-reachable-from-workers")
            .passes(met(2379, Refused, 0))
            .passes(met(2380, Unreachable, 0))
            .fails(met(2379, CertificateRequired, 0))
            .fails(met(2379, TlsRefused, 0))
            .fails(|facts| peers(facts, &[peer(2379, Refused, 0), peer(2380, Answered, 404)]))
            .not_applicable(without("etcd"))
            .unreadable("not_supported", off)
            .unreadable("undecided", nobody),
        Case::only("control-plane-ports-reachable")
            .passes(|facts| peers(facts, &[peer(10257, Refused, 0), peer(10259, Refused, 0)]))
            .fails(met(10257, Answered, 200))
            .fails(met(10259, TlsRefused, 0))
            .not_applicable(|facts| {
                without("kube-scheduler")(facts);
                without("kube-controller-manager")(facts);
            })
            .unreadable("not_supported", off)
            .unreadable("undecided", nobody),
    ]
}

/// On the collector nothing is derived from flags or sockets: answers are laid over by port.
fn on_the_collector(answers: Observed<Listing<Probe>>, check: &str) -> (Verdict, String, String) {
    let mut facts = node();
    lay_over(&mut facts, answers);
    let findings = evaluator().evaluate(&facts, &Selection::default()).expect("facts can be judged");
    let finding = findings.into_iter().find(|finding| finding.check == check).expect("it is judged");
    let shown = finding.evidence.iter().map(|item| item.value.clone().unwrap_or_default().to_string()).collect();
    (finding.verdict, finding.reason, shown)
}

#[test]
fn filtered_closed_and_reached_are_told_apart_in_the_evidence() {
    let seen = [
        (peer(10250, ProbeOutcome::TimedOut, 0), Verdict::Pass, r#"["https 192.0.2.2 port 10250 /pods: timed out (from n2)"]"#),
        (peer(10250, ProbeOutcome::Refused, 0), Verdict::Pass, r#"["https 192.0.2.2 port 10250 /pods: refused (from n2)"]"#),
        (peer(10250, ProbeOutcome::Answered, 401), Verdict::Fail, r#"["https 192.0.2.2 port 10250 /pods: 401 (from n2)"]"#),
    ];
    for (answer, verdict, shown) in seen {
        assert_eq!(on_the_collector(complete(vec![answer]), "kubelet-api-reachable"), (verdict, String::new(), shown.to_owned()));
    }
}

#[test]
fn answers_about_another_port_and_those_of_the_node_itself_decide_nothing() {
    let own = Probe { vantage: "node".into(), ..peer(2379, ProbeOutcome::Answered, 200) };
    for answers in [vec![own], vec![peer(10250, ProbeOutcome::Answered, 200)], vec![]] {
        let (verdict, reason, _) = on_the_collector(complete(answers), "etcd-reachable-from-workers");
        assert_eq!((verdict, reason.as_str()), (Verdict::Unknown, "undecided: no worker's agent could try the ports of etcd"));
    }
}

#[test]
fn a_kubelet_in_a_network_namespace_of_its_own_is_not_the_one_peers_reach() {
    let findings = judged("kubelet-serves-peers", &|facts| {
        peers(facts, &[peer(10250, ProbeOutcome::Answered, 200)]);
        kubelet_of(facts).host_network = known(false);
    });
    assert_eq!(findings[0].verdict, Verdict::Unknown, "{findings:#?}");
}
