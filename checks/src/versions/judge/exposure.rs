//! Is what a vulnerability needs there: its conditions joined with the node's facts.
//!
//! One thing that is known to be missing is enough to be out of reach; to be exposed, all must be there. A condition that no fact
//! tells of leaves it unknown, which counts like exposed.

use crate::facts::{FeatureState, Kubelet, Listing, NodeFacts, Observed, ProbeOutcome};
use crate::versions::Exposure;
use crate::versions::compare;
use crate::versions::knowledge::Need;

/// What a fact says of one condition.
enum Met {
    Yes(String),
    No(String),
    Unknown(String),
}

/// Joins `needs` with the facts. `kubelet` is the one that is judged, where one is.
pub(super) fn exposure(needs: &[Need], facts: &NodeFacts, kubelet: Option<&Kubelet>) -> (Exposure, String) {
    if needs.is_empty() {
        return (Exposure::Unknown, String::new());
    }
    let mut there = Vec::new();
    let mut open = Vec::new();
    for need in needs {
        match met(need, facts, kubelet) {
            Met::No(fact) => return (Exposure::PreconditionMissing, fact),
            Met::Yes(fact) => there.push(fact),
            Met::Unknown(fact) => open.push(fact),
        }
    }
    let exposure = if open.is_empty() { Exposure::Exposed } else { Exposure::Unknown };
    there.extend(open);
    (exposure, there.join("; "))
}

/// Every fact that a condition can ask for, in one text: the same again meets the same.
pub(super) fn conditions(facts: &NodeFacts, kubelet: Option<&Kubelet>) -> String {
    let kernel = facts.kernel.value();
    let of_kernel = kernel.map(|kernel| {
        (
            kernel.unprivileged_user_namespaces.value(),
            kernel.sysctls.unprivileged_bpf_disabled.value(),
            kernel.sysctls.modules_disabled.value(),
            kernel.sysctls.ipv4_route_localnet.value(),
            kernel.cgroup.value(),
            kernel.features.value().map(|features| &features.items),
        )
    });
    let runtimes = facts.runtimes.value().map(|runtimes| {
        let each = runtimes.items.iter().map(|runtime| (&runtime.subject, &runtime.name, runtime.version.value()));
        (runtimes.skipped.len(), each.collect::<Vec<_>>())
    });
    format!("{of_kernel:?}\0{runtimes:?}\0{:?}\0{:?}", filtered(facts), kubelet.map(port))
}

/// What is known of a kubelet's read-only port.
#[derive(Debug)]
struct ReadOnlyPort {
    /// By its settings.
    set: Option<i64>,
    /// By its behaviour.
    seen: Option<i64>,
    /// Is there a socket, or an answer.
    open: bool,
}

fn port(kubelet: &Kubelet) -> ReadOnlyPort {
    let of = |settings: &crate::facts::Settings| settings.get("readOnlyPort").and_then(Observed::value).and_then(|set| set.value.as_i64());
    let listens = kubelet.listeners.value().is_some_and(|listeners| listeners.items.iter().any(|one| one.port == 10255));
    let answers = kubelet
        .probes
        .value()
        .is_some_and(|probes| probes.items.iter().any(|one| one.port == 10255 && one.outcome == ProbeOutcome::Answered));
    ReadOnlyPort { set: of(&kubelet.settings), seen: of(&kubelet.observed), open: listens || answers }
}

fn met(need: &Need, facts: &NodeFacts, kubelet: Option<&Kubelet>) -> Met {
    match need {
        Need::UserNamespaces => boolean(
            "kernel.unprivileged_user_namespaces",
            facts.kernel.value().and_then(|kernel| kernel.unprivileged_user_namespaces.value()).copied(),
        ),
        Need::UnprivilegedBpf => {
            let path = "kernel.sysctls.unprivileged_bpf_disabled";
            match facts.kernel.value().and_then(|kernel| kernel.sysctls.unprivileged_bpf_disabled.value()) {
                Some(0) => Met::Yes(format!("{path} = 0")),
                Some(value) => Met::No(format!("{path} = {value}")),
                None => Met::Unknown(format!("{path} is not known")),
            }
        }
        Need::AnyFeature(names) => features(names, facts),
        Need::KubeletReadOnlyPort => read_only_port(kubelet),
        Need::SeccompGap(fixed) => seccomp(fixed, facts),
        Need::CgroupV1 => number("kernel.cgroup", facts.kernel.value().and_then(|kernel| kernel.cgroup.value()), 1),
        Need::RouteLocalnet => {
            let set = facts.kernel.value().and_then(|kernel| kernel.sysctls.ipv4_route_localnet.value());
            number("kernel.sysctls.ipv4_route_localnet", set, 1)
        }
        Need::Other(text) => Met::Unknown(format!("no fact tells: {text}")),
    }
}

fn boolean(path: &str, value: Option<bool>) -> Met {
    match value {
        Some(true) => Met::Yes(format!("{path} = true")),
        Some(false) => Met::No(format!("{path} = false")),
        None => Met::Unknown(format!("{path} is not known")),
    }
}

fn number(path: &str, value: Option<&i64>, needed: i64) -> Met {
    match value {
        Some(value) if *value == needed => Met::Yes(format!("{path} = {value}")),
        Some(value) => Met::No(format!("{path} = {value}")),
        None => Met::Unknown(format!("{path} is not known")),
    }
}

/// Any of them does: all must be known to be missing.
fn features(names: &[String], facts: &NodeFacts) -> Met {
    let kernel = facts.kernel.value();
    let listed = kernel.and_then(|kernel| kernel.features.value());
    let frozen = kernel.and_then(|kernel| kernel.sysctls.modules_disabled.value()) == Some(&1);
    let mut missing = Vec::new();
    for name in names {
        let path = format!("kernel.features.{name}");
        let state = listed.and_then(|listed| listed.items.iter().find(|feature| feature.name == *name)).map(|feature| feature.state);
        match state {
            Some(FeatureState::Loadable) if frozen => {
                missing.push(format!("{path} = loadable, kernel.sysctls.modules_disabled = 1"));
            }
            Some(FeatureState::BuiltIn) => return Met::Yes(format!("{path} = built_in")),
            Some(FeatureState::Loaded) => return Met::Yes(format!("{path} = loaded")),
            Some(FeatureState::Loadable) => return Met::Yes(format!("{path} = loadable")),
            Some(FeatureState::Blocked) => missing.push(format!("{path} = blocked")),
            Some(FeatureState::Absent) => missing.push(format!("{path} = absent")),
            None => {}
        }
    }
    if missing.len() == names.len() && !names.is_empty() {
        Met::No(missing.join(", "))
    } else {
        Met::Unknown(format!("kernel.features does not tell of {}", names.join(", ")))
    }
}

/// Closed by its settings, and nothing that behaves otherwise.
fn read_only_port(kubelet: Option<&Kubelet>) -> Met {
    let path = "kubelet.settings.readOnlyPort";
    let Some(kubelet) = kubelet else { return Met::Unknown(format!("{path} is not known")) };
    let ReadOnlyPort { set, seen, open } = port(kubelet);
    match (set, seen) {
        (_, Some(seen)) if seen != 0 => Met::Yes(format!("kubelet.observed.readOnlyPort = {seen}")),
        _ if open => Met::Yes("the kubelet listens on port 10255".to_owned()),
        (Some(0), _) => Met::No(format!("{path} = 0")),
        (Some(port), _) => Met::Yes(format!("{path} = {port}")),
        (None, _) => Met::Unknown(format!("{path} is not known")),
    }
}

/// The runtime's default profile closes the gap only for containers that run under it: each of them must be known to have a filter.
fn seccomp(fixed: &[String], facts: &NodeFacts) -> Met {
    let Some(runtimes) = facts.runtimes.value().filter(|listing| listing.skipped.is_empty() && !listing.items.is_empty()) else {
        return Met::Unknown("the runtime's default seccomp profile is not known".to_owned());
    };
    for runtime in &runtimes.items {
        let version = runtime.version.value().and_then(|version| compare::upstream(version));
        let (Some(version), "containerd") = (version, runtime.name.as_str()) else {
            return Met::Unknown(format!("the default seccomp profile of {} is not known", runtime.subject));
        };
        let text = runtime.version.value().map_or("", String::as_str);
        let bounds = fixed.iter().filter_map(|bound| compare::upstream(bound));
        let (mut same, mut newest) = (None, None);
        for bound in bounds {
            if (bound.major, bound.minor) == (version.major, version.minor) {
                same = Some(bound.clone());
            }
            newest = newest.max(Some((bound.major, bound.minor)));
        }
        let blocks = match same {
            Some(bound) => version.cmp_precedence(&bound).is_ge(),
            None => newest.is_some_and(|newest| (version.major, version.minor) > newest),
        };
        if !blocks {
            return Met::Yes(format!("runtimes.{}.version = {text}, whose default seccomp profile allows it", runtime.subject));
        }
    }
    match filtered(facts) {
        Some(true) => Met::No("the runtime's default seccomp profile blocks it, and every running container has a filter".to_owned()),
        Some(false) => Met::Yes("containers run without a seccomp filter".to_owned()),
        None => {
            Met::Unknown("the runtime's default seccomp profile blocks it; whether every container runs under it is not known".to_owned())
        }
    }
}

/// Has every running container a filter.
fn filtered(facts: &NodeFacts) -> Option<bool> {
    let Listing { items, skipped } = facts.containers.value()?;
    // Where nothing runs, nothing tells under what the next one will.
    let mut all = skipped.is_empty() && !items.is_empty();
    for container in items {
        let unfiltered = container.running.value().and_then(|running| running.unfiltered.value());
        match unfiltered {
            Some(programs) if !programs.is_empty() => return Some(false),
            Some(_) => {}
            None => all = false,
        }
    }
    all.then_some(true)
}
