//! Peer probes: what one node's agent may ask of another node's ports, and the words both sides have for what came of it.
//!
//! The agent refuses whatever is not listed here, and the collector asks for nothing else. Must not know the wire, sockets or
//! time.

mod network;

use serde::{Deserialize, Serialize};

use crate::facts::{Listing, NodeFacts, Observed, Probe, ProbeOutcome, Reason};
pub use network::Network;

/// The most targets an agent asks in a minute, whoever wants more.
pub const MOST_PER_MINUTE: u32 = 10;

/// One request an agent may make of another node: GET, without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The port.
    pub port: u16,
    /// Is it asked over TLS.
    pub tls: bool,
    /// The path.
    pub path: &'static str,
}

/// Every request there is: one per port, each a path that changes nothing and runs nothing.
pub const QUESTIONS: [Question; 11] = [
    Question { port: 2379, tls: true, path: "/version" },
    Question { port: 2380, tls: true, path: "/version" },
    Question { port: 2381, tls: false, path: "/metrics" },
    Question { port: 6443, tls: true, path: "/version" },
    Question { port: 10248, tls: false, path: "/healthz" },
    Question { port: 10249, tls: false, path: "/metrics" },
    Question { port: 10250, tls: true, path: "/pods" },
    Question { port: 10255, tls: false, path: "/pods" },
    Question { port: 10256, tls: false, path: "/healthz" },
    Question { port: 10257, tls: true, path: "/healthz" },
    Question { port: 10259, tls: true, path: "/healthz" },
];

/// The question for a port, if it may be asked.
pub fn question(port: i64) -> Option<Question> {
    QUESTIONS.into_iter().find(|question| i64::from(question.port) == port)
}

/// Is a port tried from worker nodes only: members of etcd speak with each other, and API servers with every kubelet, so that a
/// control-plane node that gets there says nothing.
pub fn from_workers_only(port: i64) -> bool {
    matches!(port, 2379..=2381 | 10250)
}

/// Gives each kubelet and component what peers met at its ports, in place of what the node itself met there.
///
/// For the collector, whose facts come from the inventory. `answers` become [`NodeFacts::probes`].
pub fn lay_over(facts: &mut NodeFacts, answers: Observed<Listing<Probe>>) {
    let own = |ports: &[i64], host_network: &Observed<bool>| {
        if host_network.value() == Some(&false) {
            return Observed::unavailable_because(
                Reason::NotSupported,
                "it has a network namespace of its own, which peers are not sent to",
            );
        }
        answers.clone().map(|answers| Listing {
            items: answers.items.into_iter().filter(|probe| ports.contains(&probe.port)).collect(),
            skipped: answers.skipped,
        })
    };
    for kubelet in facts.kubelets.value_mut().into_iter().flat_map(|listing| &mut listing.items) {
        kubelet.probes = own(ports_of("kubelet"), &kubelet.host_network);
    }
    for component in facts.components.value_mut().into_iter().flat_map(|listing| &mut listing.items) {
        component.probes = own(ports_of(&component.name), &component.host_network);
    }
    facts.probes = answers;
}

/// The ports of a component, of those that are asked.
fn ports_of(component: &str) -> &'static [i64] {
    match component {
        "kubelet" => &[10248, 10250, 10255],
        "kube-proxy" => &[10249, 10256],
        "kube-apiserver" => &[6443],
        "kube-controller-manager" => &[10257],
        "kube-scheduler" => &[10259],
        "etcd" => &[2379, 2380, 2381],
        _ => &[],
    }
}

/// Why an agent did not ask. Each agent decides that by itself, by its own configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// This agent probes no peers.
    SwitchedOff,
    /// The target is not a literal address.
    NotAnAddress,
    /// The target is loopback, link-local, a metadata service, multicast, unspecified or an address in disguise.
    ForbiddenAddress,
    /// The target is in none of the networks this agent may probe.
    OutsideNetworks,
    /// The collector's policy puts the target in no pool with this node.
    OutsidePools,
    /// Port and path are not a request that is ever made.
    ForbiddenRequest,
    /// The minute's requests are used up.
    TooMany,
    /// Too many requests wait already.
    Busy,
    /// Some reason this version has no word for.
    Other,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::SwitchedOff,
        Self::NotAnAddress,
        Self::ForbiddenAddress,
        Self::OutsideNetworks,
        Self::OutsidePools,
        Self::ForbiddenRequest,
        Self::TooMany,
        Self::Busy,
        Self::Other,
    ];

    /// The word on the wire, in the store and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::SwitchedOff => "switched_off",
            Self::NotAnAddress => "not_an_address",
            Self::ForbiddenAddress => "forbidden_address",
            Self::OutsideNetworks => "outside_networks",
            Self::OutsidePools => "outside_pools",
            Self::ForbiddenRequest => "forbidden_request",
            Self::TooMany => "too_many",
            Self::Busy => "busy",
            Self::Other => "other",
        }
    }

    /// The reason of a word; a word this version does not know is [`Refusal::Other`].
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|refusal| refusal.name() == name).unwrap_or(Self::Other)
    }
}

/// Every outcome of a request that was made.
const OUTCOMES: [ProbeOutcome; 7] = [
    ProbeOutcome::Answered,
    ProbeOutcome::Refused,
    ProbeOutcome::Unreachable,
    ProbeOutcome::TlsRefused,
    ProbeOutcome::CertificateRequired,
    ProbeOutcome::TimedOut,
    ProbeOutcome::NotHttp,
];

/// The word for an outcome on the wire and in the store: its serde name.
pub fn outcome_name(outcome: ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Answered => "answered",
        ProbeOutcome::Refused => "refused",
        ProbeOutcome::Unreachable => "unreachable",
        ProbeOutcome::TlsRefused => "tls_refused",
        ProbeOutcome::CertificateRequired => "certificate_required",
        ProbeOutcome::TimedOut => "timed_out",
        ProbeOutcome::NotHttp => "not_http",
    }
}

/// The outcome of a word.
pub fn outcome_of(name: &str) -> Option<ProbeOutcome> {
    OUTCOMES.into_iter().find(|outcome| outcome_name(*outcome) == name)
}

/// Did a packet get there and a program answer, whatever it said. A port that is filtered, closed or without a way was not
/// reached.
pub fn reached(outcome: ProbeOutcome) -> bool {
    match outcome {
        ProbeOutcome::Answered | ProbeOutcome::TlsRefused | ProbeOutcome::CertificateRequired | ProbeOutcome::NotHttp => true,
        ProbeOutcome::Refused | ProbeOutcome::Unreachable | ProbeOutcome::TimedOut => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_are_those_of_the_facts() {
        for outcome in OUTCOMES {
            assert_eq!(outcome_of(outcome_name(outcome)), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome_name(outcome));
        }
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of(refusal.name()), refusal);
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.name());
        }
        assert_eq!((outcome_of("ANSWERED"), Refusal::of("<script>")), (None, Refusal::Other));
    }

    #[test]
    fn no_question_can_run_or_change_anything() {
        for question in QUESTIONS {
            assert!(["/pods", "/healthz", "/metrics", "/version"].contains(&question.path), "{question:?}");
            assert!(!(30_000..=32_767).contains(&question.port), "{question:?}");
            assert_eq!(QUESTIONS.iter().filter(|other| other.port == question.port).count(), 1, "{question:?}");
        }
    }
}
