//! What vulnerabilities need, joined with what the node has.

use super::*;
use holdfast_checks::facts::FeatureState::{Absent, Blocked, BuiltIn, Loadable, Loaded};
use holdfast_checks::facts::{Container, Feature, FeatureState, Running, Setting};
use holdfast_checks::versions::knowledge::{Advisory, Need};
use holdfast_checks::versions::{Exposure, VulnerabilityState};

/// A vulnerability of every kernel, which needs this.
fn needing(component: &str, needs: Vec<Need>) -> Knowledge {
    let fixed = if component == "kernel" { "6.12.200" } else { "99.0.0" };
    let advisory = Advisory {
        id: "CVE-2026-77777".into(),
        aliases: Vec::new(),
        component: component.into(),
        title: "a test".into(),
        ranges: vec![Range { introduced: "0".into(), fixed: Some(fixed.into()) }],
        builds: Vec::new(),
        needs,
        only_family: None,
        score: Some(7.8),
        record: "CVE-2026-77777".into(),
        source: "a test".into(),
    };
    with(&[("kernel-cve", &[Record::Advisory(advisory)])])
}

fn of(facts: NodeFacts, needs: Vec<Need>) -> (Exposure, String) {
    let link = kernel_link(facts, &needing("kernel", needs));
    let found = link.vulnerability.value().expect("known");
    let one = found.matches.items.iter().find(|one| one.id == "CVE-2026-77777").expect("listed");
    let missing = one.exposure == Exposure::PreconditionMissing;
    assert!(!missing || found.unreachable > 0);
    (one.exposure, one.exposure_because.clone())
}

fn flatcar() -> NodeFacts {
    machine(os("flatcar", "1", &[]), "6.12.104-flatcar", "#1 SMP")
}

fn said(exposure: Exposure, because: &str) -> (Exposure, String) {
    (exposure, because.to_owned())
}

#[test]
fn user_namespaces() {
    let mut facts = flatcar();
    let path = "kernel.unprivileged_user_namespaces";
    assert_eq!(of(facts.clone(), vec![Need::UserNamespaces]), said(Exposure::Unknown, &format!("{path} is not known")));
    kernel_of(&mut facts).unprivileged_user_namespaces = known(true);
    assert_eq!(of(facts.clone(), vec![Need::UserNamespaces]), said(Exposure::Exposed, &format!("{path} = true")));
    kernel_of(&mut facts).unprivileged_user_namespaces = known(false);
    assert_eq!(of(facts, vec![Need::UserNamespaces]), said(Exposure::PreconditionMissing, &format!("{path} = false")));
    assert_eq!(of(flatcar(), Vec::new()), said(Exposure::Unknown, ""));
}

#[test]
fn parts_of_the_kernel() {
    let with = |states: &[(&str, FeatureState)]| {
        let mut facts = flatcar();
        let items = states.iter().map(|(name, state)| Feature { name: (*name).to_owned(), state: *state }).collect();
        kernel_of(&mut facts).features = known(Listing::complete(items));
        facts
    };
    let needs = || vec![Need::AnyFeature(vec!["esp4".into(), "esp6".into()])];
    for there in [BuiltIn, Loaded, Loadable] {
        assert_eq!(of(with(&[("esp4", Absent), ("esp6", there)]), needs()).0, Exposure::Exposed);
    }
    let missing = of(with(&[("esp4", Absent), ("esp6", Blocked)]), needs());
    assert_eq!(missing, said(Exposure::PreconditionMissing, "kernel.features.esp4 = absent, kernel.features.esp6 = blocked"));
    assert_eq!(of(with(&[("esp4", Absent)]), needs()).0, Exposure::Unknown, "the other one is not known");
    assert_eq!(of(flatcar(), needs()).0, Exposure::Unknown);
    let mut frozen = with(&[("esp4", Absent), ("esp6", Loadable)]);
    kernel_of(&mut frozen).sysctls.modules_disabled = known(1);
    assert_eq!(of(frozen, needs()).0, Exposure::PreconditionMissing, "nothing can be loaded any more");
    // Everything is needed: one that is known to be missing is enough.
    let mut both = with(&[("esp4", BuiltIn), ("esp6", BuiltIn)]);
    kernel_of(&mut both).unprivileged_user_namespaces = known(false);
    let all = || needs().into_iter().chain([Need::UserNamespaces, Need::Other("a device".into())]).collect::<Vec<_>>();
    assert_eq!(of(both.clone(), all()).0, Exposure::PreconditionMissing);
    kernel_of(&mut both).unprivileged_user_namespaces = known(true);
    assert_eq!(of(both, all()).0, Exposure::Unknown, "no fact tells of a device");
}

#[test]
fn switches() {
    let mut facts = flatcar();
    for (need, value, exposure) in [
        (Need::UnprivilegedBpf, 0, Exposure::Exposed),
        (Need::UnprivilegedBpf, 2, Exposure::PreconditionMissing),
        (Need::RouteLocalnet, 1, Exposure::Exposed),
        (Need::RouteLocalnet, 0, Exposure::PreconditionMissing),
        (Need::CgroupV1, 1, Exposure::Exposed),
        (Need::CgroupV1, 2, Exposure::PreconditionMissing),
    ] {
        let kernel = kernel_of(&mut facts);
        kernel.sysctls.unprivileged_bpf_disabled = known(value);
        kernel.sysctls.ipv4_route_localnet = known(value);
        kernel.cgroup = known(value);
        assert_eq!(of(facts.clone(), vec![need.clone()]).0, exposure, "{need:?} {value}");
    }
}

/// A container that runs, and those of its programs that have no filter.
fn container(unfiltered: Option<&[&str]>) -> Container {
    fn none<T>() -> Observed<T> {
        Observed::unavailable_because(Reason::NotSupported, "not read in this test")
    }
    let mut container = Container::unread("pod:a/b/c", "0");
    container.running = known(Running {
        processes: 1,
        uids: none(),
        gids: none(),
        host_root: none(),
        inside_root: none(),
        became_root: none(),
        user_namespace: none(),
        capabilities: none(),
        capabilities_bounding: none(),
        may_gain: none(),
        labels: none(),
        host_network: none(),
        host_pid: none(),
        host_ipc: none(),
        host_mounts: none(),
        deleted: none(),
        memory: none(),
        world_writable: none(),
        exec_sessions: none(),
        unfiltered: unfiltered.map_or_else(none, |programs| known(programs.iter().map(|name| (*name).to_owned()).collect())),
    });
    container
}

#[test]
fn a_default_profile_closes_nothing_for_containers_without_one() {
    let gap = || vec![Need::SeccompGap(vec!["1.7.32".into(), "2.0.9".into(), "2.2.4".into(), "2.3.1".into()])];
    let with = |version: &str| {
        let mut facts = flatcar();
        runtime(&mut facts, "containerd", version, None, &[]);
        facts
    };
    for open in ["1.7.31", "2.0.8", "2.1.9", "2.3.0", "1.6.39"] {
        assert_eq!(of(with(open), gap()).0, Exposure::Exposed, "{open}");
    }
    for closed in ["1.7.32", "2.3.4", "2.4.0"] {
        assert_eq!(of(with(closed), gap()).0, Exposure::Unknown, "{closed}: containers may run without a profile");
    }
    let among = |containers: Vec<Container>| {
        let mut facts = with("2.3.4");
        facts.containers = known(Listing::complete(containers));
        of(facts, gap()).0
    };
    assert_eq!(among(vec![container(Some(&[]))]), Exposure::PreconditionMissing);
    assert_eq!(among(vec![container(Some(&[])), container(Some(&["sh"]))]), Exposure::Exposed);
    assert_eq!(among(vec![container(Some(&[])), container(None)]), Exposure::Unknown);
    assert_eq!(among(Vec::new()), Exposure::Unknown, "nothing tells under what the next one runs");
    assert_eq!(of(flatcar(), gap()).0, Exposure::Unknown);
}

#[test]
fn a_kubelets_read_only_port() {
    let judged = |port: Option<i64>, observed: Option<i64>| {
        let mut facts = node();
        kubelet(&mut facts, "v1.31.5");
        let kubelet = &mut facts.kubelets.value_mut().expect("known").items[0];
        let set = |port: i64| {
            let source = Source::new(SourceKind::File, "/var/lib/kubelet/config.yaml");
            known(Setting { value: port.into(), source, declared: Vec::new() })
        };
        if let Some(port) = port {
            kubelet.settings.insert("readOnlyPort".into(), set(port));
        }
        if let Some(port) = observed {
            kubelet.observed.insert("readOnlyPort".into(), set(port));
        }
        let link = component_link(facts, &needing("kubelet", vec![Need::KubeletReadOnlyPort]), "kubelet");
        let found = link.vulnerability.value().expect("known").clone();
        let one = found.matches.items.iter().find(|one| one.id == "CVE-2026-77777").expect("listed").exposure;
        (one, found.state)
    };
    assert_eq!(judged(Some(10255), None).0, Exposure::Exposed);
    assert_eq!(judged(Some(0), None).0, Exposure::PreconditionMissing);
    assert_eq!(judged(Some(0), Some(10255)).0, Exposure::Exposed, "its socket says otherwise");
    assert_eq!(judged(None, None).0, Exposure::Unknown);
    assert_ne!(judged(Some(0), None).1, VulnerabilityState::KnownExploited);
}
