//! Kubelets and components of every provider, judged by whose dates hold.

use super::*;
use holdfast_checks::versions::{Headline, SupportState};

fn judged(profile: &str, version: &str) -> Link {
    let mut facts = node();
    facts.node.profile = profile.into();
    kubelet(&mut facts, version);
    component_link(facts, &built_in(), "kubelet")
}

#[test]
fn every_provider_by_its_own_dates() {
    let table = [
        ("kubeadm", "v1.37.0"),
        ("kubeadm", "v1.36.4"),
        ("kubeadm", "v1.35.3"),
        ("kubeadm", "v1.34.11"),
        ("eks", "v1.34.2-eks-ecaa3a6"),
        ("eks", "v1.33.5-eks-abcdef0"),
        ("eks", "v1.31.13-eks-113cf36"),
        ("gke", "v1.35.2-gke.1269000"),
        ("gke", "v1.34.1-gke.2037001"),
        ("aks", "v1.34.2"),
        ("aks", "v1.33.4"),
        ("k3s", "v1.34.1+k3s1"),
        ("rke2", "v1.35.1+rke2r1"),
        ("openshift", "v1.32.9+6a6ba57"),
        ("openshift", "v1.31.14+a1b2c3d"),
        ("microk8s", "v1.36.0"),
        ("plain", "v1.38.0-rc.1"),
        ("plain", "v0.0.0-master+$Format:%H$"),
        ("plain", "nonsense"),
    ];
    let mut text = String::new();
    for (profile, version) in table {
        tell(&mut text, &judged(profile, version));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_paying_customer_is_not_told_of_an_end_that_is_not_his() {
    let eks = judged("eks", "v1.33.5-eks-abcdef0");
    let support = eks.support.value().expect("known");
    assert_eq!((support.state, support.extended_ends.as_deref()), (SupportState::ExtendedPaid, Some("2027-07-29")));
    assert_ne!(eks.headline, Headline::EndOfLife);
    assert_eq!(support.upstream_says, "kubernetes 1.33: ended 2026-06-28");
    assert_eq!(judged("kubeadm", "v1.34.11").headline, Headline::EndOfLife);
    assert_ne!(judged("kubeadm", "v1.37.0").headline, Headline::EndOfLife);
}

#[test]
fn runtimes_by_upstream_where_no_distribution_packaged_them() {
    let mut facts = machine(os("debian", "12", &[]), "6.1.0-40-amd64", "");
    for (version, package) in [
        ("2.3.4", None),
        ("2.2.7", None),
        ("1.7.29", Some(dpkg("containerd.io", "1.7.29-1~debian.12~bookworm", "containerd.io"))),
        ("1.6.20~ds1", Some(dpkg("containerd", "1.6.20~ds1-1+b1", "containerd"))),
        ("v2.1.4-k3s1", None),
        ("1.5.5+azure", None),
        ("1.7.13-acme7", None),
    ] {
        runtime(&mut facts, "containerd", version, package, &[]);
    }
    runtime(&mut facts, "docker", "29.5.2", Some(dpkg("docker-ce", "5:29.5.2-1~debian.12~bookworm", "docker-ce")), &[]);
    runtime(&mut facts, "cri-o", "1.35.2", None, &[("/usr/bin/crun", "1.25", None), ("/usr/bin/runc", "", None)]);
    component(&mut facts, "kube-proxy", "v1.35.8");
    component(&mut facts, "etcd", "3.6.5");
    insta::assert_snapshot!(told("runtimes", facts, &built_in()));
}
