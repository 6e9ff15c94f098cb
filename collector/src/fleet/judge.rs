//! One node's stored inventory and a date to findings. Pure.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_checks::catalogue::JudgedBy;
use holdfast_checks::derive::dates;
use holdfast_checks::entries::{Entry, Hash};
use holdfast_checks::evaluator::{Evaluator, Selection, TreeError};
use holdfast_checks::facts::{self, Listing, Observed, Probe, Reason, Source, SourceKind};
use holdfast_checks::inventory::facts_for_collector;
use holdfast_checks::versions::knowledge::Knowledge;
use holdfast_checks::versions::{self, Memory};
use jiff::civil::Date;

use super::census::Census;
use super::membership::CHECKS;
use crate::nodes::{Admission, Clock};
use crate::store::JudgedNode;
use crate::store::chain::{self, ChainRow};
use crate::store::nodes::Offset;
use crate::store::peers::{Met, StoredAnswer};

/// The checks that the collector decides, compiled, and their ids.
#[derive(Debug)]
pub struct FleetJudge {
    evaluator: Arc<Evaluator>,
    selection: Selection,
    checks: BTreeSet<String>,
    memory: Mutex<(String, Arc<Memory>)>,
}

impl FleetJudge {
    /// Takes the collector's checks out of a compiled catalogue.
    pub fn new(evaluator: Arc<Evaluator>) -> Self {
        let selection = Selection { judged_by: Some(JudgedBy::Collector), ..Selection::default() };
        let checks = evaluator.selected(&selection).map(|check| check.id.to_string()).collect();
        Self { evaluator, selection, checks, memory: Mutex::default() }
    }

    /// What was looked up in this knowledge already. Other knowledge starts anew.
    fn memory(&self, knowledge: &Knowledge) -> Arc<Memory> {
        let basis = knowledge.basis();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.0 != basis {
            *memory = (basis, Arc::default());
        }
        Arc::clone(&memory.1)
    }

    /// Ids of the checks that are decided here.
    pub fn checks(&self) -> &BTreeSet<String> {
        &self.checks
    }
}

/// What is known of a node's ports from other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// Nobody is asked.
    SwitchedOff,
    /// Nobody is asked about this node.
    NotListed,
    /// Answers, those that are too old left out.
    Asked(Vec<StoredAnswer>),
}

impl Peers {
    /// As facts. What an agent refused to ask is no answer; nor is silence.
    fn facts(&self) -> Observed<Listing<Probe>> {
        let answers = match self {
            Self::SwitchedOff => return Observed::unavailable_because(Reason::NotSupported, "peer probes are switched off"),
            Self::NotListed => {
                return Observed::unavailable_because(Reason::NotSupported, "this node is not among those that peers are asked about");
            }
            Self::Asked(answers) => answers,
        };
        let items: Vec<Probe> = answers.iter().filter_map(probe).collect();
        let newest = answers.iter().map(|answer| answer.answer.at).max();
        match newest.filter(|_| !items.is_empty()) {
            Some(at) => Observed::known(Listing::complete(items), Source::new(SourceKind::Probe, "other nodes"), at),
            None => Observed::unavailable_because(Reason::NotPresent, self.nobody()),
        }
    }

    /// Why nobody's answer is there.
    fn nobody(&self) -> String {
        let Self::Asked(answers) = self else { return String::new() };
        let refusal = |answer: &StoredAnswer| match answer.answer.met {
            Met::Refused(refusal) => Some(refusal.name()),
            Met::Asked(..) => None,
        };
        let reasons: BTreeSet<&str> = answers.iter().filter_map(refusal).collect();
        if reasons.is_empty() {
            return "no other node's agent has been able to ask yet, or not recently".to_owned();
        }
        format!("the agents of other nodes refuse to ask: {}", reasons.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// What the verdict depends on.
    fn basis(&self) -> String {
        match self {
            Self::SwitchedOff => "off".to_owned(),
            Self::NotListed => "not listed".to_owned(),
            Self::Asked(answers) => {
                let said = |StoredAnswer { answer, vantage }: &StoredAnswer| {
                    format!("{vantage}\0{}\0{}\0{}\0{:?}\0", answer.address, answer.port, answer.path, answer.met)
                };
                answers.iter().map(said).collect()
            }
        }
    }
}

fn probe(StoredAnswer { answer, vantage }: &StoredAnswer) -> Option<Probe> {
    let Met::Asked(outcome, status) = answer.met else { return None };
    Some(Probe {
        // The name of the node itself stands for its own answers: a node that is called so must not pass for them.
        vantage: if vantage == "node" { "node/node".to_owned() } else { vantage.clone() },
        address: answer.address.clone(),
        port: answer.port,
        path: answer.path.clone(),
        tls: answer.tls,
        outcome,
        status,
        body: String::new(),
    })
}

/// What is known of a node that it does not say itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// What its peers met.
    pub peers: Peers,
    /// How far its clock is off.
    pub clock: Clock,
    /// Who spoke for it; `None`: nobody yet.
    pub admission: Option<Admission>,
    /// What its cluster's API server says of it; `None` where that is not followed.
    pub membership: Option<Observed<facts::Membership>>,
}

impl Outside {
    /// The clock as a fact. A recording has none: its heartbeats tell the time where it is played.
    fn clock(&self, node: &JudgedNode) -> Option<Observed<facts::Clock>> {
        let missing = |why: &str| Observed::unavailable_because(Reason::NotPresent, why);
        let clock = match self.clock {
            Clock::NotHeard => missing("the node is not heard from"),
            Clock::NotMeasured => missing("fewer than three heartbeats said what time it is there"),
            Clock::Measured(Offset { ahead_ms, at }) => {
                let clock = facts::Clock { ahead_seconds: ahead_ms / 1000 };
                Observed::known(clock, Source::new(SourceKind::Agent, "heartbeats"), at)
            }
        };
        (!node.recorded).then_some(clock)
    }

    /// Who spoke for the node, as a fact. For a recording anybody may.
    fn admission(&self, node: &JudgedNode, now: i64) -> Option<Observed<facts::Admission>> {
        let admission = match &self.admission {
            None => Observed::unavailable_because(Reason::NotPresent, "no agent has spoken for the node yet"),
            Some(Admission { credential, duplicates, alternations, foreign_writes, last, at }) => {
                let (credential, last) = (credential.clone(), last.clone());
                let (duplicates, alternations, foreign_writes) = (*duplicates, *alternations, *foreign_writes);
                let admission = facts::Admission { credential, duplicates, alternations, foreign_writes, last };
                Observed::known(admission, Source::new(SourceKind::Agent, "sessions"), if *at > 0 { *at } else { now })
            }
        };
        (!node.recorded).then_some(admission)
    }

    /// What the verdict depends on.
    fn basis(&self) -> String {
        // The last of many is for people: a flood is not judged for it.
        let admission =
            self.admission.as_ref().map(|known| (&known.credential, known.duplicates, known.alternations, known.foreign_writes));
        let membership = self.membership.as_ref().map(Observed::value);
        format!("{}\0{:?}\0{admission:?}\0{membership:?}", self.peers.basis(), self.clock)
    }
}

/// What the collector says of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// A finding for each of its checks and their subjects.
    pub findings: Vec<Entry>,
    /// The links of the node's patch chain, by subject.
    pub chain: Vec<ChainRow>,
}

/// What the collector says of `node`, which looks so from outside and which runs beside the nodes of `census`, on `today`. `at` (Unix milliseconds) dates the findings.
///
/// # Errors
/// [`TreeError`] when the facts cannot be represented: a bug, never an input.
pub fn judge(
    judge: &FleetJudge,
    node: &JudgedNode,
    outside: &Outside,
    census: &Census,
    knowledge: &Knowledge,
    today: Date,
    at: i64,
) -> Result<Judgement, TreeError> {
    let documents = node.documents.iter().map(|(kind, name, json)| (kind.as_str(), name.as_str(), json.as_str()));
    let mut facts = facts_for_collector(&node.name, &node.cluster, documents);
    versions::judge_by(&mut facts, knowledge, &judge.memory(knowledge), today);
    versions::fleet::lay_over(&mut facts, |cohort| census.newest(node.recorded, cohort));
    holdfast_checks::peers::lay_over(&mut facts, outside.peers.facts());
    facts.node.clock = outside.clock(node);
    facts.node.admission = outside.admission(node, at);
    facts.node.membership.clone_from(&outside.membership);
    dates(&mut facts, today);
    let mut findings = judge.evaluator.evaluate(&facts, &judge.selection)?;
    if node.documents.is_empty() {
        // Of a node that has sent nothing only this is known: the rest would be one `unknown` each.
        findings.retain(|finding| CHECKS.contains(&finding.check.as_str()));
    }
    let findings = findings.into_iter().map(|finding| Entry::finding(finding, at)).collect();
    Ok(Judgement { findings, chain: chain::rows(&facts) })
}

/// Stands for everything the verdict depends on besides the catalogue and the census: the same again gives the same findings. Who is
/// compared with others is known only afterwards: whoever counts has those judged again that it concerns.
pub(super) fn basis(node: &JudgedNode, outside: &Outside, known: &str, today: Date) -> Hash {
    let day = today.to_string();
    let met = outside.basis();
    let uid = node.standing.uid.as_bytes();
    let identity = [day.as_bytes(), known.as_bytes(), node.cluster.as_bytes(), node.name.as_bytes(), uid, met.as_bytes()];
    let documents = node.documents.iter().flat_map(|(kind, name, json)| [kind.as_bytes(), name.as_bytes(), json.as_bytes()]);
    Hash::of_fields(identity.into_iter().chain(documents))
}
