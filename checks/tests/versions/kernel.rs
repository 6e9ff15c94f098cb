//! The verdict on a running kernel, distribution by distribution.

use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::{Kernel, Node, NodeFacts, Observed, Os, Reason, Source, SourceKind, Unavailable};
use holdfast_checks::inventory::facts_for_collector;
use holdfast_checks::versions::knowledge::Knowledge;
use holdfast_checks::versions::{Link, SupportState, judge};
use jiff::civil::{Date, date};

use crate::identity::os;

const TODAY: Date = date(2026, 11, 20);

fn missing<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotPresent, "not in this test")
}

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Kernel, "uname"), 7)
}

fn kernel(release: &str, version: &str) -> Kernel {
    let document = serde_json::json!({"release": release, "version": version}).to_string();
    let facts = facts_for_collector("n1", "", [("kernel", "self", document.as_str())].into_iter());
    facts.kernel.value().expect("a document").clone()
}

fn judged(kernel: Observed<Kernel>, os: Observed<Os>, today: Date) -> Observed<Link> {
    let mut facts = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not read in this test"));
    (facts.kernel, facts.os) = (kernel, os);
    judge(&mut facts, &Knowledge::built_in().expect("the shipped data is valid"), today);
    facts.versions.value().expect("judged").kernel.clone()
}

fn says(release: &str, version: &str, os: Option<Os>) -> String {
    let os = os.map_or_else(|| Observed::unavailable_because(Reason::PermissionDenied, "open /etc/os-release"), known);
    let judged = judged(known(kernel(release, version)), os.clone(), TODAY);
    let verdict = judged.value().expect("the kernel is known");
    let lifecycle = match &verdict.support {
        Observed::Known { value, source, .. } => format!("{:?} until {:?}/{:?} by {source}", value.state, value.ends, value.extended_ends),
        Observed::Unavailable(why) => format!("unknown: {}: {}", why.reason.name(), why.detail),
    };
    format!("{release} on {}\n  {} {}: {lifecycle}\n", os.value().map_or("?", |os| &os.id), verdict.vendor, verdict.series)
}

#[test]
fn a_distributions_kernel_is_judged_by_its_distribution_and_others_by_upstream_or_not_at_all() {
    let ubuntu = |abi: &str| format!("#{abi}-Ubuntu SMP PREEMPT_DYNAMIC Mon Dec  9 15:00:52 UTC 2024");
    let mut centos_stream = os("centos", "9");
    centos_stream.fields.insert("NAME".into(), "CentOS Stream".into());
    let table = [
        says("6.12.38+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.38-1 (2025-07-16)", Some(os("debian", "13"))),
        says("6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", Some(os("debian", "12"))),
        says("5.10.0-33-amd64", "#1 SMP Debian 5.10.226-1 (2024-10-03)", Some(os("debian", "11"))),
        says("6.12.90+deb12-amd64", "#1 SMP Debian 6.12.90-2~bpo12+1 (2026-05-01)", Some(os("debian", "12"))),
        says("6.8.0-51-generic", &ubuntu("52~22.04.1"), Some(os("ubuntu", "22.04"))),
        says("5.4.0-204-generic", &ubuntu("224"), Some(os("ubuntu", "20.04"))),
        says("6.17.0-5-generic", &ubuntu("5"), Some(os("ubuntu", "25.10"))),
        says("8.0.0-5-generic", &ubuntu("5"), Some(os("ubuntu", "27.04"))),
        says("6.8.0-51-generic", &ubuntu("52~22.04.1"), Some(os("debian", "12"))),
        says("5.14.0-427.13.1.el9_4.x86_64", "#1 SMP", Some(os("rocky", "9.4"))),
        says("5.14.0-503.el9.x86_64", "#1 SMP", Some(centos_stream)),
        says("3.10.0-1160.el7.x86_64", "#1 SMP", Some(os("centos", "7"))),
        says("3.10.0-1160.el7.x86_64", "#1 SMP", Some(os("rhel", "7.9"))),
        says("6.1.119-129.201.amzn2023.x86_64", "#1 SMP", Some(os("amzn", "2023"))),
        says("5.10.230-223.885.amzn2.x86_64", "#1 SMP", Some(os("amzn", "2"))),
        says("5.15.146+", "#1 SMP", Some(os("cos", "117"))),
        says("6.1.176-2.ph5", "#1-photon SMP", Some(os("photon", "5.0"))),
        says("6.12.25-flatcar", "#1 SMP", Some(os("flatcar", "4230.2.0"))),
        says("5.4.302", "#1 SMP", Some(os("bottlerocket", "1.15.0"))),
        says("6.12.38", "#1 SMP", Some(os("debian", "12"))),
        says("7.2.4", "#1 SMP", Some(os("nixos", "26.05"))),
        says("6.18.44-fc-v669", "#1 SMP PREEMPT_DYNAMIC", Some(os("debian", "12"))),
        says("7.3-rc2", "#1 SMP", Some(os("debian", "12"))),
        says("6.8.12-4-pve", "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z)", Some(os("debian", "12"))),
        says("5.4.119-19.0009.28", "#1 SMP", Some(os("tencentos", "3.1"))),
        says("6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", None),
        says("6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", Some(os("debian", ""))),
    ];
    insta::assert_snapshot!(table.concat());
}

#[test]
fn the_date_decides_and_an_unread_kernel_is_unknown() {
    let debian = known(os("debian", "12"));
    let running = known(kernel("6.1.0-40-amd64", "#1 SMP Debian 6.1.153-1 (2025-09-20)"));
    let on = |day| judged(running.clone(), debian.clone(), day).value().expect("known").support.value().map(|support| support.state);
    assert_eq!(on(date(2026, 1, 11)), Some(SupportState::Supported));
    assert_eq!(on(date(2026, 7, 11)), Some(SupportState::EolSoon));
    assert_eq!(on(date(2028, 6, 30)), Some(SupportState::ExtendedFree));
    assert_eq!(on(date(2028, 7, 1)), Some(SupportState::Eol));
    let unread = judged(missing(), debian, TODAY);
    assert_eq!(unread.unavailable().map(|why| why.reason), Some(Reason::NotPresent));
}

#[test]
fn what_is_judged_shows_in_the_facts_of_a_node_and_an_expression_reads_it() {
    let text = |text: &str| text.to_owned();
    let node = Node {
        name: text("n1"),
        uid: text(""),
        cluster: text(""),
        role: text("worker"),
        provider: text("none"),
        profile: text("plain"),
        profile_because: text(""),
        ..Node::unnamed()
    };
    let mut facts = NodeFacts::unread(node, &Unavailable::new(Reason::NotSupported, "not read in this test"));
    facts.os = known(os("debian", "11"));
    facts.kernel = known(kernel("5.10.0-33-amd64", "#1 SMP Debian 5.10.226-1 (2024-10-03)"));
    judge(&mut facts, &Knowledge::built_in().expect("it loads"), TODAY);
    insta::assert_json_snapshot!(facts.versions);
    let yaml = "- {id: k, title: t, severity: high, area: kernel, judged_by: collector, why: w, fix: f, \
                pass: versions.kernel.support.state != \"eol\", evidence: [versions.kernel.support.state]}";
    let document = holdfast_checks::catalogue::Document { name: text("k.yaml"), text: text(yaml) };
    let catalogue = holdfast_checks::catalogue::Catalogue::load(&[document]).expect("it loads");
    let evaluator = Evaluator::new(catalogue);
    let verdict = |facts: &NodeFacts| evaluator.evaluate(facts, &Selection::default()).expect("judged")[0].clone();
    assert_eq!(verdict(&facts).verdict.name(), "fail");
    facts.kernel = known(kernel("6.18.44-fc-v669", "#1 SMP"));
    judge(&mut facts, &Knowledge::built_in().expect("it loads"), TODAY);
    let unknown = verdict(&facts);
    assert_eq!(unknown.verdict.name(), "unknown");
    assert!(unknown.reason.starts_with("not_supported: kernel 6.18.44-fc-v669 is not one of debian 11"), "{}", unknown.reason);
}
