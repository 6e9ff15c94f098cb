//! Whose build a program is, and what to ask the distribution's records about it.

use holdfast_checks::facts::{Node, Os, Package};
use holdfast_checks::versions::ecosystem::{about_software, ecosystems, feed};
use holdfast_checks::versions::{Base, Provider, Scheme, Software, SoftwareStrings, identify_software};
use proptest::prelude::*;

use super::identity::os;

fn says(component: &str, text: &str) -> Software {
    identify_software(&SoftwareStrings { component, text: Some(text), package: None, os: None, node: None })
}

fn package(manager: &str, name: &str, version: &str, origin: &str) -> Package {
    Package { manager: manager.into(), name: name.into(), version: version.into(), origin: origin.into() }
}

fn packaged(component: &str, text: Option<&str>, package: &Package, os: &Os) -> Software {
    identify_software(&SoftwareStrings { component, text, package: Some(package), os: Some(os), node: None })
}

fn node(profile: &str, provider: &str) -> Node {
    Node { profile: profile.into(), provider: provider.into(), ..Node::unnamed() }
}

#[test]
fn every_suffix_is_told_from_upstreams_own() {
    // Component, text, upstream, exact, vendor, prerelease.
    let rows = [
        ("kubelet", "v1.33.5", "1.33.5", true, "upstream", false),
        ("kubelet", "v1.24.16-eks-a483404", "1.24.16", true, "eks", false),
        ("kubelet", "v1.33.5-eks-abcdef0", "1.33.5", true, "eks", false),
        ("kubelet", "v1.30.5-gke.1014001", "1.30.5", true, "gke", false),
        ("kubelet", "v1.31.2+k3s1", "1.31.2", true, "k3s", false),
        ("kubelet", "v1.31.2-k3s1", "1.31.2", true, "k3s", false),
        ("kubelet", "v1.31.2+rke2r1", "1.31.2", true, "rke2", false),
        ("kubelet", "v1.31.2-rc2+rke2r1", "1.31.2-rc2", true, "rke2", true),
        ("kubelet", "v1.24.4-rancher1", "1.24.4", true, "rke", false),
        ("kubelet", "v1.31.2+k0s", "1.31.2", true, "k0s", false),
        ("kubelet", "v1.31.2+k0s.0", "1.31.2", true, "k0s", false),
        ("kubelet", "v1.33.5+abc123", "1.33.5", true, "openshift", false),
        ("kubelet", "v1.27.6+f67aeb3", "1.27.6", true, "openshift", false),
        ("kubelet", "v1.30.1-aliyun.1", "1.30.1", true, "ack", false),
        ("kubelet", "v1.30.0-tke.9", "1.30.0", true, "tke", false),
        ("kubelet", "v1.28.3-vke.14", "1.28.3", true, "vke", false),
        ("kubelet", "v1.28.7+vmware.1-fips.1", "1.28.7", true, "vmware", false),
        ("kubelet", "v1.30.5+IKS", "1.30.5", true, "ibm", false),
        ("kubelet", "v1.27.10-mirantis-1", "1.27.10", true, "mirantis", false),
        ("kubelet", "v1.31.0-beta.0", "1.31.0-beta.0", true, "upstream", true),
        ("kubelet", "v1.31.0-alpha.1", "1.31.0-alpha.1", true, "upstream", true),
        ("kubelet", "v1.31.0-beta.0-eks-1", "1.31.0-beta.0", true, "eks", true),
        ("kubelet", "v1.30.2-3+abcdef012345", "1.30.2", false, "unlisted", false),
        ("kubelet", "v1.30.2-dirty", "1.30.2", false, "unlisted", false),
        ("kubelet", "v1.30.2-mycorp.7", "1.30.2", false, "unlisted", false),
        ("kubelet", "v1.30.2-eksotic", "1.30.2", false, "unlisted", false),
        ("containerd", "containerd://1.5.5+azure", "1.5.5", true, "microsoft", false),
        ("containerd", "1.7.15-azure", "1.7.15", true, "microsoft", false),
        ("containerd", "1.6.23+bottlerocket", "1.6.23", true, "bottlerocket", false),
        ("containerd", "1.7.22-k3s1", "1.7.22", true, "k3s", false),
        ("containerd", "v2.0.5-k3s1.32", "2.0.5", true, "k3s", false),
        ("containerd", "1.7.2+unknown", "1.7.2", true, "upstream", false),
        ("containerd", "v2.1.0-rc.1", "2.1.0-rc.1", true, "upstream", true),
        ("containerd", "v1.7.2.m", "1.7.2", false, "unlisted", false),
        ("containerd", "1.7.2+abc1234", "1.7.2", false, "unlisted", false),
        ("containerd", "1.6.20~ds1", "1.6.20", true, "debian", false),
        ("containerd", "1.6.20~ds1-1+b1", "1.6.20", true, "debian", false),
        ("containerd", "1.7.12-0ubuntu2~22.04.1", "1.7.12", true, "ubuntu", false),
        ("containerd", "github.com/containerd/containerd v1.7.27 05044ec0a9a7", "1.7.27", true, "upstream", false),
        ("runc", "1.1.5+ds1", "1.1.5", true, "debian", false),
        ("runc", "1.1.7-0ubuntu1~22.04.2", "1.1.7", true, "ubuntu", false),
        ("runc", "1.0.0~rc93+ds1", "1.0.0-rc93", true, "debian", true),
        ("runc", "1.4.0-rc.3", "1.4.0-rc.3", true, "upstream", true),
        ("runc", "1.3.0+dev", "1.3.0", false, "unlisted", false),
        ("docker", "28.2.2-ce", "28.2.2", true, "docker", false),
        ("docker", "20.10.24+dfsg1", "20.10.24", true, "debian", false),
        ("docker", "19.03.6-azure", "19.03.6", true, "microsoft", false),
        ("docker", "29.0", "29.0.0", true, "upstream", false),
        ("cri-o", "1.33.5-2.rhaos4.20.gitabc1234.el9", "1.33.5", true, "openshift", false),
        ("cri-o", "cri-o://1.31.2", "1.31.2", true, "upstream", false),
        ("etcd", "3.5.21-0", "3.5.21", false, "unlisted", false),
    ];
    for (component, text, upstream, exact, vendor, prerelease) in rows {
        let found = says(component, text);
        assert_eq!(found.upstream.as_deref(), Some(upstream), "{text}: {found:?}");
        assert_eq!((found.exact, found.vendor.as_str(), found.prerelease), (exact, vendor, prerelease), "{text}: {found:?}");
        assert!(upstream.starts_with(&found.series), "{text}: {found:?}");
    }
    for text in ["", "latest", "v", "1", "1.2.3.4", "-1.2.3", "v1..2", "1.99999999999.1", &"1.".repeat(400)] {
        let found = says("kubelet", text);
        assert_eq!((found.upstream, found.exact), (None, false), "{text}");
        assert_eq!(found.vendor, "unlisted", "{text}");
    }
}

#[test]
fn a_node_names_the_provider_whose_versions_carry_no_mark() {
    let on = |profile: &str, provider: &str, text: &str| {
        let node = node(profile, provider);
        let said = SoftwareStrings { component: "kubelet", text: Some(text), package: None, os: None, node: Some(&node) };
        identify_software(&said)
    };
    let aks = on("aks", "azure", "v1.33.2");
    assert_eq!((aks.provider, aks.vendor.as_str()), (Some(Provider::Aks), "aks"));
    assert_eq!(aks.lifecycle(None)[0], ("azure-kubernetes-service", "1.33".to_owned()));
    // A cluster of one's own in the same cloud is upstream's.
    assert_eq!(on("kubeadm", "azure", "v1.33.2").provider, None);
    // What the version says is nearer than what the profile says.
    assert_eq!(on("aks", "azure", "v1.33.2+k3s1").provider, Some(Provider::K3s));
    assert_eq!(on("bottlerocket", "aws", "v1.33.2-eks-abc").provider, Some(Provider::Eks));
    // A commit after a plus sign is OpenShift's unless the node is known to be another's.
    assert_eq!(on("k3s", "none", "v1.33.2+abcdef0").vendor, "unlisted");
    assert_eq!(on("openshift", "none", "v1.33.2+abcdef0").provider, Some(Provider::Openshift));
}

#[test]
fn a_runtime_on_a_provider_is_not_the_providers_kubernetes() {
    let node = node("aks", "azure");
    let said = SoftwareStrings { component: "containerd", text: Some("1.7.27"), package: None, os: None, node: Some(&node) };
    let found = identify_software(&said);
    assert_eq!((found.provider, found.vendor.as_str()), (None, "upstream"));
    assert_eq!(found.lifecycle(None), [("containerd", "1.7".to_owned())]);
}

#[test]
fn a_package_tells_distribution_from_vendor() {
    let (debian, ubuntu, rhel, al2023) = (os("debian", "12"), os("ubuntu", "22.04"), os("rhel", "9.4"), os("amzn", "2023"));
    let cases = [
        ("containerd", Some("1.6.20~ds1"), package("dpkg", "containerd", "1.6.20~ds1-1+b1", "containerd"), &debian, "debian", "1.6.20"),
        ("runc", None, package("dpkg", "runc", "1.1.5+ds1-1+deb12u1", "runc"), &debian, "debian", "1.1.5"),
        ("runc", Some("1.1.7-0ubuntu1~22.04.2"), package("dpkg", "runc", "1.1.7-0ubuntu1~22.04.2", "runc"), &ubuntu, "ubuntu", "1.1.7"),
        (
            "containerd",
            Some("1.7.12"),
            package("dpkg", "containerd", "1.7.12-0ubuntu2~22.04.1", "containerd-app"),
            &ubuntu,
            "ubuntu",
            "1.7.12",
        ),
        ("containerd", Some("1.7.27"), package("dpkg", "containerd.io", "1.7.27-1", "containerd.io"), &ubuntu, "docker", "1.7.27"),
        ("runc", Some("1.2.5"), package("dpkg", "containerd.io", "1.7.27-1", "containerd.io"), &debian, "docker", "1.2.5"),
        ("docker", Some("28.2.2"), package("dpkg", "docker-ce", "5:28.2.2-1~ubuntu.22.04~jammy", "docker-ce"), &ubuntu, "docker", "28.2.2"),
        ("docker", None, package("dpkg", "docker.io", "20.10.24+dfsg1-1+deb12u1", "docker.io"), &debian, "debian", "20.10.24"),
        (
            "containerd",
            Some("1.7.15+azure-ubuntu22.04u1"),
            package("dpkg", "moby-containerd", "1.7.15+azure-ubuntu22.04u1", "moby-containerd"),
            &ubuntu,
            "microsoft",
            "1.7.15",
        ),
        ("kubelet", Some("v1.31.2"), package("dpkg", "kubelet", "1.31.2-1.1", "kubelet"), &ubuntu, "kubernetes", "1.31.2"),
        ("kubelet", Some("v1.31.2"), package("rpm", "kubelet", "1.31.2-150500.1.1", "kubelet"), &rhel, "kubernetes", "1.31.2"),
        ("kubelet", Some("v1.23.1"), package("dpkg", "kubelet", "1.23.1-00", "kubelet"), &ubuntu, "kubernetes", "1.23.1"),
        ("runc", None, package("rpm", "runc", "4:1.1.12-4.el9", "runc"), &rhel, "rhel", "1.1.12"),
        ("containerd", None, package("rpm", "containerd", "1.7.27-1.amzn2023.0.4", "containerd"), &al2023, "amzn", "1.7.27"),
        ("cri-o", None, package("rpm", "cri-o", "1.33.5-2.rhaos4.20.gitabc1234.el9", "cri-o"), &rhel, "openshift", "1.33.5"),
        ("runc", None, package("rpm", "runc", "1.2.6-150000.73.2", "runc"), &os("sles", "15.6"), "sles", "1.2.6"),
        (
            "containerd",
            None,
            package("rpm", "containerd2", "2.0.0-14.azl3", "containerd2"),
            &os("azurelinux", "3.0"),
            "azurelinux",
            "2.0.0",
        ),
        ("runc", None, package("dpkg", "myrunc", "1.2.3-4", "myrunc"), &debian, "unlisted", "1.2.3"),
    ];
    for (component, text, package, os, vendor, upstream) in cases {
        let found = packaged(component, text, &package, os);
        assert_eq!((found.vendor.as_str(), found.upstream.as_deref()), (vendor, Some(upstream)), "{}: {found:?}", package.version);
        let distribution = !matches!(vendor, "docker" | "microsoft" | "kubernetes" | "unlisted");
        assert_eq!(found.package.is_some(), distribution, "{}", package.version);
        assert_eq!(found.base == Base::OwnPicks, distribution, "{}", package.version);
    }
}

#[test]
fn what_judges_a_life_is_the_one_who_maintains_it() {
    let (debian, runc) = (os("debian", "12"), package("dpkg", "runc", "1.1.5+ds1-1+deb12u1", "runc"));
    let rows = packaged("runc", None, &runc, &debian).lifecycle(Some(&debian));
    assert_eq!(rows, [("debian", "12".to_owned()), ("runc", "1.1".to_owned())]);
    assert_eq!(says("kubelet", "v1.33.5-eks-abc").lifecycle(None), [("amazon-eks", "1.33".to_owned()), ("kubernetes", "1.33".to_owned())]);
    assert_eq!(says("kube-proxy", "v1.33.5-gke.1").lifecycle(None)[0].0, "google-kubernetes-engine");
    assert_eq!(says("kubelet", "v1.33.5+abc123").lifecycle(None)[0], ("red-hat-openshift", "4.20".to_owned()));
    // K3s and RKE2 end with upstream's series.
    for text in ["v1.33.5", "v1.33.5+k3s1", "v1.33.5+rke2r1", "v1.33.5-aliyun.1"] {
        assert_eq!(says("kubelet", text).lifecycle(None), [("kubernetes", "1.33".to_owned())], "{text}");
    }
    assert_eq!(says("docker", "28.2.2-ce").lifecycle(None), [("docker-engine", "28.2".to_owned()), ("docker-engine", "28".to_owned())]);
    assert_eq!(says("docker", "19.03.6").lifecycle(None)[0], ("docker-engine", "19.03".to_owned()));
    assert_eq!(says("containerd", "1.7.22-k3s1").lifecycle(None), [("containerd", "1.7".to_owned())]);
    assert_eq!(says("kubelet", "what").lifecycle(None), []);
}

#[test]
fn a_package_is_asked_for_by_its_source_in_its_own_ecosystem() {
    let ask = |component: &str, package: &Package, os: &Os| {
        let questions = about_software(&packaged(component, None, package, os), os);
        questions
            .into_iter()
            .map(|ask| format!("{} {} {} {}", ask.ecosystem, ask.package, ask.version, ask.scheme.name()))
            .collect::<Vec<_>>()
    };
    let runc = package("dpkg", "runc", "1.1.7-0ubuntu1~22.04.1", "runc");
    assert_eq!(
        ask("runc", &runc, &os("ubuntu", "22.04")),
        ["Ubuntu:22.04:LTS runc 1.1.7-0ubuntu1~22.04.1 dpkg", "Ubuntu:Pro:22.04:LTS runc 1.1.7-0ubuntu1~22.04.1 dpkg"]
    );
    let containerd = package("dpkg", "containerd", "1.6.20~ds1-1+b1", "containerd");
    assert_eq!(ask("containerd", &containerd, &os("debian", "12")), ["Debian:12 containerd 1.6.20~ds1-1 dpkg"]);
    let backport = package("dpkg", "containerd", "1.7.24~ds1-6~bpo12+1", "containerd");
    assert_eq!(ask("containerd", &backport, &os("debian", "12")), ["Debian:13 containerd 1.7.24~ds1-6 dpkg"]);
    let foreign = package("dpkg", "containerd.io", "1.7.27-1", "containerd.io");
    assert!(ask("containerd", &foreign, &os("debian", "12")).is_empty());
    let el = package("rpm", "runc", "4:1.1.12-4.el9", "runc");
    assert_eq!(ask("runc", &el, &os("almalinux", "9.4"))[0], "AlmaLinux:9 runc 4:1.1.12-4.el9 rpm");
    assert_eq!(packaged("runc", None, &el, &os("almalinux", "9.4")).package.map(|package| package.scheme), Some(Scheme::Rpm));
    // Amazon's packages have no records there.
    assert!(ask("runc", &package("rpm", "runc", "1.2.4-1.amzn2023.0.1", "runc"), &os("amzn", "2023")).is_empty());
}

#[test]
fn every_system_has_its_ecosystem() {
    let mut rhcos = os("rhcos", "4.20");
    rhcos.fields.insert("RHEL_VERSION".into(), "9.6".into());
    let mut euler = os("openEuler", "22.03");
    euler.fields.insert("VERSION".into(), "22.03 (LTS-SP3)".into());
    let systems = [
        os("debian", "12"),
        os("ubuntu", "22.04"),
        os("ubuntu", "25.10"),
        os("almalinux", "9.4"),
        os("rocky", "9.4"),
        os("rhel", "9.4"),
        os("rhel", "10.1"),
        rhcos,
        os("azurelinux", "3.0"),
        os("mariner", "2.0.20240101"),
        os("photon", "5.0"),
        os("alpine", "3.20.3"),
        os("sles", "15.6"),
        os("sles", "15"),
        os("sles", "16.0"),
        os("sle-micro", "5.5"),
        os("sl-micro", "6.1"),
        os("opensuse-leap", "15.6"),
        os("opensuse-tumbleweed", "20261101"),
        euler,
        os("amzn", "2023"),
        os("fedora", "43"),
        os("ol", "9.4"),
        os("cos", "125"),
        os("debian", ""),
    ];
    let rows = systems
        .iter()
        .map(|os| format!("{} {}: {} | {}\n", os.id, os.version_id, feed(os).as_deref().unwrap_or("no feed"), ecosystems(os).join(", ")));
    insta::assert_snapshot!(rows.collect::<String>());
}

proptest! {
    #[test]
    fn any_text_is_judged_without_harm(component in "[a-z-]{0,20}", text in "\\PC{0,40}", version in "\\PC{0,40}", manager in "dpkg|rpm|") {
        let package = package(&manager, &component, &version, &text);
        let os = os("debian", "12");
        let said = SoftwareStrings { component: &component, text: Some(&text), package: Some(&package), os: Some(&os), node: None };
        let found = identify_software(&said);
        found.lifecycle(Some(&os));
        about_software(&found, &os);
        prop_assert!(!found.exact || found.upstream.is_some());
    }
}
