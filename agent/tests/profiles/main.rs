//! One node per profile, laid out as its distribution publishes it: recognised, its kubelet read, its files found, its defaults
//! judged by the rows of CIS 4.
//!
//! Layouts and defaults are those of the `source` in `agent/profiles/<name>.yaml`; each node below says which part it is.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod network;
mod nodes;
mod tree;

use std::collections::BTreeMap;

use holdfast_agent::catalogue;
use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::derive::derive;
use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::NodeFacts;
use rstest::rstest;
use serde_json::Value;

use nodes::Expected;
use tree::Tree;

/// Facts of a tree, derived.
fn facts(tree: &Tree) -> NodeFacts {
    let options = SensorOptions {
        host_root: tree.path("host"),
        proc: tree.path("proc"),
        probe: false,
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
        node_name: Some("n1".to_owned()),
        cluster: String::new(),
    };
    let mut sensors = Sensors::open(options).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    assert!(sensors.troubled().is_empty(), "{:?}", sensors.troubled());
    derive(&mut facts);
    facts
}

fn findings(facts: &NodeFacts) -> Vec<Finding> {
    Evaluator::new(catalogue::load(None).unwrap()).evaluate(facts, &Selection::default()).unwrap()
}

#[rstest]
#[case::kubeadm(nodes::kubeadm())]
#[case::eks_al2023(nodes::eks_al2023())]
#[case::bottlerocket(nodes::bottlerocket())]
#[case::aks_with_flags(nodes::aks_with_flags())]
#[case::aks_with_a_file(nodes::aks_with_a_file())]
#[case::gke_cos(nodes::gke_cos())]
#[case::k3s(nodes::k3s())]
#[case::rke2(nodes::rke2())]
#[case::microk8s(nodes::microk8s())]
#[case::openshift(nodes::openshift())]
#[case::talos(nodes::talos())]
#[case::plain(nodes::plain())]
fn a_node_is_recognised_and_its_defaults_are_judged(#[case] node: (Tree, Expected)) {
    let (tree, expected) = node;
    let facts = facts(&tree);
    let name = expected.profile;
    assert_eq!((facts.node.profile.as_str(), facts.node.profile_because.as_str()), (name, expected.because));
    assert_eq!(facts.node.provider, expected.provider, "{name}");

    let kubelets = &facts.kubelets.value().unwrap().items;
    let [kubelet] = kubelets.as_slice() else { panic!("{name}: {} kubelets", kubelets.len()) };
    for (setting, wanted) in &expected.settings {
        let found = kubelet.settings.get(*setting).unwrap_or_else(|| panic!("{name}: no {setting}"));
        match found.value() {
            Some(found) => assert_eq!((setting, &found.value), (setting, wanted), "{name}: {}", found.source),
            // A kubelet inside another program may keep them to itself; a wrong value it must not have.
            None => assert!(expected.embedded, "{name}: {setting}: {:?}", found.unavailable()),
        }
    }

    let files = &facts.files.value().unwrap().items;
    let roles: BTreeMap<&str, &str> = files.iter().map(|file| (file.path.as_str(), file.role.as_str())).collect();
    for (path, role) in expected.files {
        assert_eq!(roles.get(path), Some(role), "{name}: {path} among {roles:?}");
    }

    let findings = findings(&facts);
    let verdict = |check: &str, subject: &str| {
        let found = findings.iter().find(|finding| finding.check == check && finding.subject == subject);
        found.unwrap_or_else(|| panic!("{name}: no finding {check} on {subject}"))
    };
    for (check, wanted) in &expected.verdicts {
        let finding = verdict(check, "kubelet");
        let undecided = expected.embedded && finding.verdict == Verdict::Unknown;
        assert!(finding.verdict == *wanted || undecided, "{name}: {check} is {:?}: {}", finding.verdict, finding.reason);
    }
    for (path, role) in expected.files {
        let check = match *role {
            "kubelet_config" => "kubelet-config-owner",
            "kubelet_kubeconfig" => "kubelet-kubeconfig-mode",
            _ => continue,
        };
        let finding = verdict(check, &format!("file:{path}"));
        assert_eq!(finding.verdict, Verdict::Pass, "{name}: {check} on {path}: {}", finding.reason);
    }
}

#[test]
fn what_another_distribution_left_behind_is_no_configuration_here() {
    let (tree, _) = nodes::eks_al2023();
    tree.file("/var/lib/kubelet/config.yaml", "readOnlyPort: 10255\n");
    tree.file("/etc/kubernetes/admin.conf", "");
    tree.describe();
    let facts = facts(&tree);
    let role = |path: &str| {
        let files = &facts.files.value().unwrap().items;
        files.iter().find(|file| file.path == path).map(|file| file.role.clone())
    };
    assert_eq!(role("/var/lib/kubelet/config.yaml"), None);
    assert_eq!(role("/etc/kubernetes/admin.conf").as_deref(), Some("kubeconfig"), "a credential opens the cluster wherever it lies");
    let port = facts.kubelets.value().unwrap().items[0].settings["readOnlyPort"].value().unwrap().value.clone();
    assert_eq!(port, Value::from(0), "the process's own flags say which file counts");
}

#[test]
fn the_kubelet_of_a_container_gives_the_host_no_profile() {
    let tree = Tree::new("ID=debian\n");
    tree.container(10, "/usr/bin/kubelet", "/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml");
    tree.plain("proc/1/exe", "/sbin/init");
    let node = facts(&tree).node;
    assert_eq!((node.role.as_str(), node.profile.as_str()), ("none", "none"));
    assert!(node.profile_because.contains("those of containers"), "{}", node.profile_because);
}
