//! What must hold whatever the node: the date decides by itself, a record upgrades what it matches and nothing else, unknown is never
//! supported, and no text is too strange.

use super::*;
use holdfast_checks::versions::knowledge::Exploited;
use holdfast_checks::versions::{Confidence, Exposure, Headline, SupportState, VulnerabilityState};
use proptest::prelude::*;

#[test]
fn a_date_that_is_crossed_changes_the_headline_without_any_new_fact() {
    let facts = machine(os("debian", "12", &[]), "6.1.0-53-amd64", "#1 SMP Debian 6.1.183-1 (2026-08-20)");
    let on = |day| verdict(facts.clone(), &built_in(), day).kernel.value().expect("known").clone();
    assert_ne!(on(date(2028, 6, 30)).headline, Headline::EndOfLife);
    let over = on(date(2028, 7, 1));
    assert_eq!(over.headline, Headline::EndOfLife);
    assert!(over.because.contains("2028-06-30"), "{}", over.because);
    let mut node = node();
    kubelet(&mut node, "v1.35.8");
    let on = |day| {
        let judged = verdict(node.clone(), &built_in(), day);
        let link = judged.components.value().expect("known").items[0].clone();
        (link.headline, link.support.value().map(|support| support.state), link.action)
    };
    assert_eq!(on(date(2026, 12, 29)).1, Some(SupportState::Supported));
    let (_, soon, action) = on(date(2026, 12, 31));
    assert_eq!(soon, Some(SupportState::EolSoon));
    assert!(action.ends_with("move to Kubernetes 1.36 before 2027-02-28"), "{action}");
    assert_eq!(on(date(2027, 3, 1)).0, Headline::EndOfLife);
}

/// Nodes of several families, some of them affected by the same.
fn fleet() -> Vec<NodeFacts> {
    let mut all = vec![
        machine(os("debian", "12", &[]), "6.1.0-40-amd64", "#1 SMP Debian 6.1.153-1 (2025-09-20)"),
        machine(os("flatcar", "4230.2.0", &[]), "6.6.136-flatcar", "#1 SMP"),
        machine(os("nixos", "26.05", &[]), "6.12.104", "#1 SMP"),
        machine(os("ubuntu", "24.04", &[]), "6.8.0-60-generic", "#63-Ubuntu SMP Tue Apr 15 19:04:15 UTC 2025"),
        machine(os("almalinux", "9.7", &[]), "5.14.0-611.54.1.el9_7.x86_64", "#1 SMP"),
    ];
    for (facts, runc) in all.iter_mut().zip(["1.1.11", "1.2.9", "1.4.3", "1.1.11", "1.3.2"]) {
        runtime(facts, "containerd", "2.3.4", None, &[("/usr/sbin/runc", runc, None)]);
    }
    all
}

fn links(facts: &NodeFacts, knowledge: &Knowledge) -> Vec<Link> {
    let judged = verdict(facts.clone(), knowledge, TODAY);
    let mut links = vec![judged.os.value().expect("known").clone(), judged.kernel.value().expect("known").clone()];
    links.extend(judged.components.value().expect("known").items.clone());
    links
}

#[test]
fn a_record_of_exploitation_upgrades_what_it_matches_and_nothing_else() {
    let id = "CVE-2024-21626";
    let entry = Exploited { id: id.into(), name: "runc".into(), added: date(2026, 11, 19), due: None, ransomware: false };
    // The catalogue is always whole: a newer one stands for the older.
    let copy_fail = Exploited { id: "CVE-2026-31431".into(), added: date(2026, 5, 1), ..entry.clone() };
    let (old, new) = ([Record::Exploited(copy_fail.clone())], [Record::Exploited(copy_fail), Record::Exploited(entry)]);
    let (before, after) = (with(&[("kev", &old)]), with(&[("kev", &new)]));
    let mut upgraded = 0;
    for facts in fleet() {
        for (old, mut new) in links(&facts, &before).into_iter().zip(links(&facts, &after)) {
            let counts = |link: &Link| {
                let matches = link.vulnerability.value().map(|found| found.matches.items.clone()).unwrap_or_default();
                matches
                    .iter()
                    .any(|one| one.id == id && one.confidence != Confidence::Possible && one.exposure != Exposure::PreconditionMissing)
            };
            if counts(&old) {
                upgraded += 1;
                assert_ne!(old.headline, Headline::KnownExploited);
                assert_eq!(new.headline, Headline::KnownExploited, "{}", new.because);
                assert!(new.because.contains(id) && new.because.contains("2026-11-19"), "{}", new.because);
                continue;
            }
            // What data this is of is all that may differ.
            if let (Some(old), Some(new)) = (old.vulnerability.value(), new.vulnerability.value_mut()) {
                new.matches.items.iter_mut().filter(|one| one.id == id).for_each(|one| one.exploited = None);
                let sorted = |found: &[holdfast_checks::versions::Match]| {
                    let mut ids: Vec<String> = found.iter().map(|one| one.id.clone()).collect();
                    ids.sort();
                    ids
                };
                assert_eq!(sorted(&old.matches.items), sorted(&new.matches.items));
                new.matches = old.matches.clone();
            }
            assert_eq!(old.headline, new.headline, "{}", new.because);
            assert_eq!(old.vulnerability.value(), new.vulnerability.value());
        }
    }
    assert_eq!(upgraded, 2);
}

#[test]
fn a_livepatch_clears_nothing() {
    let mut facts = machine(os("flatcar", "1", &[]), "6.6.136-flatcar", "#1 SMP");
    assert_eq!(kernel_link(facts.clone(), &built_in()).headline, Headline::KnownExploited);
    kernel_of(&mut facts).livepatches = known(vec!["kpatch_1".to_owned()]);
    let link = kernel_link(facts, &built_in());
    assert_eq!(link.vulnerability.value().expect("known").state, VulnerabilityState::Livepatched);
    assert!(!matches!(link.headline, Headline::Supported | Headline::KnownExploited), "{}", link.because);
}

#[test]
fn what_was_compared_with_old_data_says_so() {
    let link = kernel_link(machine(os("arch", "", &[]), "7.2.4-arch1-1", "#1"), &built_in());
    assert!(link.because.contains("days ago"), "{}", link.because);
    assert!(link.settles.contains("newer data"), "{}", link.settles);
}

/// What must hold of any link.
fn holds(link: &Link) -> Result<(), TestCaseError> {
    if link.headline == Headline::Supported {
        prop_assert!(link.support.value().is_some() && link.patch.value().is_some());
        prop_assert_eq!(link.vulnerability.value().map(|found| found.state), Some(VulnerabilityState::NoneKnown));
    }
    if link.headline == Headline::KnownExploited {
        prop_assert!(link.vulnerability.value().is_some_and(|found| found.exploited > 0));
        prop_assert!(!link.action.is_empty());
    }
    prop_assert!(!link.because.is_empty(), "{} has no reason", link.subject);
    Ok(())
}

fn texts() -> impl Strategy<Value = String> {
    let versions = "[v]?[0-9]{1,4}\\.[0-9]{1,3}(\\.[0-9]{1,4})?([-+~][a-z0-9.+~:-]{0,20})?";
    prop_oneof![3 => versions, 1 => "\\PC{0,40}", 1 => Just(String::new())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_text_is_too_strange(
        release in texts(), build in texts(), other in texts(), version in texts(), package in texts(),
        id in prop_oneof![Just("debian".to_owned()), Just("ubuntu".to_owned()), Just("rhel".to_owned()), Just("cos".to_owned()), "\\PC{0,8}"],
        number in texts(), day in 0i64..6000,
    ) {
        let mut facts = machine(os(&id, &number, &[("BUILD_ID", &other)]), &release, &build);
        install(&mut facts, &[(&release, &build), (&other, &version)]);
        sentinel(&mut facts, &[&package]);
        runtime(&mut facts, "containerd", &version, Some(dpkg("containerd", &package, &other)), &[("/usr/sbin/runc", &other, None)]);
        kubelet(&mut facts, &version);
        let knowledge = built_in();
        let today = date(2020, 1, 1).saturating_add(jiff::Span::new().days(day));
        let judged = verdict(facts.clone(), &knowledge, today);
        prop_assert_eq!(&judged, &verdict(facts, &knowledge, today));
        for link in [judged.os.value(), judged.kernel.value()].into_iter().flatten().chain(&judged.components.value().expect("known").items) {
            holds(link)?;
        }
    }
}

#[test]
fn what_holds_of_any_link_holds_of_the_fleet() {
    for facts in fleet() {
        for link in links(&facts, &built_in()) {
            holds(&link).expect("it holds");
        }
    }
}

#[test]
fn one_record_of_a_distribution_is_not_all_it_has() {
    let facts = machine(os("debian", "12", &[]), "6.1.0-53-amd64", "#1 SMP Debian 6.1.183-1 (2026-08-20)");
    let judged = |complete| {
        let record = fix("Debian:12", "linux", "CVE-2026-1", "DEBIAN-CVE-2026-1", Some("6.1.180-1"));
        let info = FeedInfo { name: "osv/Debian".into(), as_of: TODAY, source: "OSV".into(), digest: "1".into(), complete };
        let mut builder = Builder::new().expect("it loads");
        builder.feed(info, [record]);
        kernel_link(facts.clone(), &builder.build())
    };
    assert!(judged(true).patch.value().is_some());
    let one = judged(false);
    assert!(one.patch.value().is_none(), "{:?}", one.patch);
    assert_ne!(one.headline, Headline::Supported);
}
