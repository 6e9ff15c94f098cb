//! Fixtures of `certificates.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;

use crate::base::*;
use crate::case::{Case, judged};

const API_SERVER: &str = "/etc/kubernetes/pki/apiserver.crt";
const SCHEDULER: &str = "/etc/kubernetes/scheduler.conf";

/// A check of every certificate that is not the kubelet's client CA.
fn about(check: &'static str) -> Case {
    Case::of(check)
        .not_applicable(|facts| facts.certificates = complete(vec![]))
        .unreadable("permission_denied", |facts| facts.certificates = denied())
        .unreadable("permission_denied", |facts| {
            let read = &mut items(&mut facts.certificates)[2];
            (read.certificate, read.days_left) = (denied(), denied());
        })
        .unreadable("incomplete", |facts| {
            let skipped = Skipped { what: "/etc/kubernetes/pki".into(), reason: Reason::PermissionDenied };
            facts.certificates.value_mut().expect("known").skipped.push(skipped);
        })
}

fn days_left(facts: &mut NodeFacts, days: i64) {
    items(&mut facts.certificates)[2].days_left = known(days);
}

fn lives(facts: &mut NodeFacts, days: i64) {
    let certificate = certificate_of(facts, API_SERVER);
    certificate.lifetime_days = days;
    certificate.not_after = certificate.not_before + days * 86_400;
}

fn ends(check: &'static str, late: i64) -> Case {
    about(check)
        .passes(move |facts| days_left(facts, late + 1))
        // One that is given for three days and renewed every other.
        .passes(|facts| {
            lives(facts, 3);
            days_left(facts, 0);
        })
        .passes(|facts| {
            lives(facts, 60);
            days_left(facts, 6);
        })
        .fails(move |facts| days_left(facts, late))
        .fails(|facts| days_left(facts, -1))
        .fails(|facts| {
            lives(facts, 3);
            days_left(facts, -1);
        })
        .fails(|facts| {
            lives(facts, 60);
            days_left(facts, 4);
        })
        .unreadable("not_supported", |facts| {
            items(&mut facts.certificates)[2].days_left = Observed::unavailable_because(Reason::NotSupported, "no date is judged here");
        })
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ends("certificate-expires-in-a-week", 7),
        ends("certificate-expires-in-a-month", 30),
        about("certificate-lifetime").fails(|facts| lives(facts, 730)).unreadable("undecided", |facts| {
            certificate_of(facts, API_SERVER).not_before = certificate_of(facts, "/etc/kubernetes/pki/ca.crt").not_before;
            lives(facts, 730);
        }),
        about("certificate-strength")
            .passes(|facts| {
                let authority = certificate_of(facts, "/pki/ca.crt");
                authority.signature = "sha1WithRSAEncryption".into();
            })
            .passes(|facts| {
                let leaf = certificate_of(facts, API_SERVER);
                (leaf.key, leaf.key_bits, leaf.signature) = ("ec".into(), 256, "ecdsa-with-SHA256".into());
            })
            .fails(|facts| certificate_of(facts, API_SERVER).key_bits = 1024)
            .fails(|facts| certificate_of(facts, API_SERVER).signature = "sha1WithRSAEncryption".into())
            .fails(|facts| certificate_of(facts, API_SERVER).signature = "ecdsa-with-SHA1".into()),
        about("system-masters-certificate")
            .fails(|facts| certificate_of(facts, SCHEDULER).organizations = vec!["dev".into(), "system:masters".into()]),
        Case::of("kubeconfig-personal-certificate")
            .fails(|facts| {
                let admin = certificate(
                    "kubeconfig",
                    "/etc/kubernetes/admin.conf",
                    "kubernetes-admin",
                    "kubernetes-admin",
                    &["kubeadm:cluster-admins"],
                );
                items(&mut facts.certificates).push(admin);
            })
            .fails(|facts| certificate_of(facts, SCHEDULER).organizations = vec!["system:masters".into()])
            .fails(|facts| certificate_of(facts, SCHEDULER).organizations = vec!["dev".into()])
            .not_applicable(|facts| remove(&mut facts.certificates, |one| !one.user.is_empty()))
            .unreadable("permission_denied", |facts| facts.certificates = denied())
            .unreadable("permission_denied", |facts| items(&mut facts.certificates)[3].certificate = denied()),
    ]
}

/// kubeadm writes the authority's own beginning into whatever it issues, also when it renews after years.
#[test]
fn a_certificate_that_kubeadm_renewed_is_not_said_to_live_for_years() {
    let renewed = |facts: &mut NodeFacts| {
        certificate_of(facts, API_SERVER).not_before = certificate_of(facts, "/etc/kubernetes/pki/ca.crt").not_before;
        lives(facts, 1000);
    };
    let findings = judged("certificate-lifetime", &renewed);
    let of_it = findings.iter().find(|finding| finding.subject.ends_with("apiserver.crt")).expect("judged");
    assert_eq!((of_it.verdict, of_it.reason_class()), (Verdict::Unknown, "undecided"));
}

#[test]
fn the_end_of_a_certificate_is_shown_as_a_date() {
    let findings = judged("certificate-expires-in-a-week", &|facts| days_left(facts, 2));
    let failed = findings.iter().find(|finding| finding.verdict == Verdict::Fail).expect("one ends");
    let shown = failed.evidence.iter().find(|item| item.path.ends_with("not_after")).and_then(|item| item.value.clone());
    assert_eq!(shown, Some("2027-07-25".into()));
}
