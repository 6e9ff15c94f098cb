//! What is remembered of one node must be true of the next.

use super::*;
use holdfast_checks::facts::{Feature, FeatureState, Listing, Setting};
use holdfast_checks::versions::{Memory, judge_by};

/// Nodes that run the same, and differ in one thing each that a condition asks for.
fn alike() -> Vec<NodeFacts> {
    let plain = || {
        let mut facts = machine(os("flatcar", "4230.2.0", &[]), "6.6.50-flatcar", "#1 SMP");
        runtime(&mut facts, "containerd", "2.1.4", None, &[("/usr/sbin/runc", "1.2.5", None)]);
        kubelet(&mut facts, "v1.31.5");
        facts
    };
    let mut all: Vec<NodeFacts> = (0..9).map(|_| plain()).collect();
    kernel_of(&mut all[1]).unprivileged_user_namespaces = known(false);
    kernel_of(&mut all[2]).unprivileged_user_namespaces = known(true);
    kernel_of(&mut all[3]).sysctls.unprivileged_bpf_disabled = known(2);
    let absent = |name: &&str| Feature { name: (*name).to_owned(), state: FeatureState::Absent };
    kernel_of(&mut all[4]).features = known(Listing::complete(holdfast_checks::versions::FEATURES.iter().map(absent).collect()));
    for (node, port) in [(5, 0), (6, 10255)] {
        let set = Setting { value: port.into(), source: Source::new(SourceKind::Default, "test"), declared: Vec::new() };
        let kubelets = all[node].kubelets.value_mut().expect("known");
        kubelets.items[0].settings.insert("readOnlyPort".into(), known(set));
    }
    kernel_of(&mut all[7]).livepatches = known(vec!["fix".to_owned()]);
    install(&mut all[8], &[("6.6.50-flatcar", "#1 SMP"), ("6.6.152-flatcar", "#1 SMP")]);
    all
}

#[test]
fn nodes_judged_with_one_memory_are_judged_as_each_would_be_alone() {
    let (knowledge, memory) = (built_in(), Memory::default());
    let alone: Vec<VersionFacts> = alike().into_iter().map(|facts| verdict(facts, &knowledge, TODAY)).collect();
    for round in 0..2 {
        for (facts, alone) in alike().iter_mut().zip(&alone) {
            judge_by(facts, &knowledge, &memory, TODAY);
            assert_eq!(facts.versions.value(), Some(alone), "round {round}");
        }
    }
    // They are not all the same, or this would show nothing.
    let kernels = |of: usize| alone[of].kernel.value().expect("known").vulnerability.clone();
    for (one, other) in [(0, 1), (0, 4), (0, 7)] {
        assert_ne!(kernels(one), kernels(other), "{one} and {other}");
    }
    let kubelets = |of: usize| alone[of].components.value().expect("known").items.last().expect("a kubelet").vulnerability.clone();
    assert_ne!(kubelets(5), kubelets(6));
}
