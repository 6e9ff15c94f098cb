//! What simulated nodes say: a recorded node's findings and inventory, in which verdicts flip.
//!
//! The same seed gives the same content. Every node knows the digest it should have, by itself: what the collector holds is
//! compared with that, and not with what the code under test believes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use holdfast_agent::line::Judgement;
use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::catalogue::{JudgedBy, built_in};
use holdfast_checks::derive::derive;
use holdfast_checks::entries::{Digest, Entry, Finding, Hash, Verdict};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::NodeFacts;
use holdfast_checks::inventory;

use super::dice::Dice;
use crate::site::recorded;

/// One finding of how many differs from node to node at the start.
const DIFFERS: usize = 5;

/// What all nodes of a fleet have in common.
#[derive(Debug)]
pub struct Template {
    /// As recorded, and flipped.
    findings: Vec<[Entry; 2]>,
    inventory: Vec<Entry>,
    /// Of the catalogue that judged it.
    pub catalogue: Hash,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    template: Arc<Template>,
    flipped: Vec<bool>,
    digest: Digest,
}

/// What is read of a recorded node, with what follows from it.
///
/// # Errors
/// The recording cannot be opened.
pub fn facts(recording: &str) -> Result<NodeFacts> {
    let (host_root, proc) = recorded(recording);
    let options = SensorOptions {
        host_root: PathBuf::from(host_root),
        proc: PathBuf::from(proc),
        probe: true,
        node_name: Some(recording.to_owned()),
        cluster: String::new(),
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
    };
    let mut facts = Sensors::open(options)?.read_all(&mut |_| {});
    derive(&mut facts);
    Ok(facts)
}

impl Template {
    /// A recorded node with `entries` entries: findings are left out or repeated for other subjects.
    ///
    /// # Errors
    /// The recording cannot be read or judged.
    pub fn new(entries: usize, at: i64) -> Result<Self> {
        let facts = facts("hardened")?;
        let evaluator = Evaluator::new(built_in()?);
        let selection = Selection { judged_by: Some(JudgedBy::Node), ..Selection::default() };
        let judged = evaluator.evaluate(&facts, &selection)?;
        let mut inventory = inventory::entries(&facts, at).entries;
        inventory.truncate(entries / 2);
        let wanted = entries - inventory.len();
        let rounds = (0..).map(|round| judged.iter().map(move |finding| (round, finding)));
        let findings = rounds.take(wanted.div_ceil(judged.len().max(1))).flatten().take(wanted);
        let findings = findings.map(|(round, finding)| {
            let subject = if round == 0 { finding.subject.clone() } else { format!("{}#{round}", finding.subject) };
            let recorded = Finding { subject, ..finding.clone() };
            let verdict = if recorded.verdict == Verdict::Fail { Verdict::Pass } else { Verdict::Fail };
            let flipped = Finding { verdict, reason: String::new(), ..recorded.clone() };
            [Entry::finding(recorded, at), Entry::finding(flipped, at)]
        });
        Ok(Self { findings: findings.collect(), inventory, catalogue: evaluator.catalogue_hash() })
    }

    /// How many findings a node has.
    pub fn findings(&self) -> usize {
        self.findings.len()
    }

    /// How many entries a node has.
    pub fn len(&self) -> usize {
        self.findings.len() + self.inventory.len()
    }

    /// Is there nothing to say.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Node {
    /// A node that differs from the others as `dice` fall.
    pub fn new(template: Arc<Template>, dice: &mut Dice) -> Self {
        let flipped = template.findings.iter().map(|_| dice.below(DIFFERS) == 0).collect();
        let mut node = Self { template, flipped, digest: Digest::EMPTY };
        node.digest = node.entries().fold(Digest::EMPTY, |mut digest, entry| {
            digest.add(&entry.key, &entry.hash);
            digest
        });
        node
    }

    /// What the collector should hold of it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Everything, as a full pass would judge it.
    pub fn whole(&self, at: i64) -> Judgement {
        Judgement { entries: self.entries().cloned().collect(), at, ..Judgement::default() }
    }

    /// Flips one verdict, and gives what judging that check again would.
    pub fn flip(&mut self, dice: &mut Dice, at: i64) -> Judgement {
        let index = dice.below(self.flipped.len());
        let mut entries = self.template.inventory.clone();
        if let (Some(pair), Some(flipped)) = (self.template.findings.get(index), self.flipped.get_mut(index)) {
            let [recorded, other] = pair;
            let (before, after) = if *flipped { (other, recorded) } else { (recorded, other) };
            *flipped = !*flipped;
            self.digest.remove(&before.key, &before.hash);
            self.digest.add(&after.key, &after.hash);
            entries.push(Entry { changed_at: at, ..after.clone() });
        }
        // Other subjects of the check stand: nothing is said to be covered.
        Judgement { entries, covers: Some(BTreeSet::new()), at, ..Judgement::default() }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let findings = self.template.findings.iter().zip(&self.flipped);
        let findings = findings.map(|([recorded, other], flipped)| if *flipped { other } else { recorded });
        findings.chain(&self.template.inventory)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use holdfast_checks::entries::State;

    use super::*;

    #[test]
    fn a_node_has_as_many_entries_as_asked_and_knows_its_digest_after_every_flip() {
        for entries in [20, 1_000] {
            let template = Arc::new(Template::new(entries, 1).unwrap());
            assert_eq!(template.len(), entries);
            let mut dice = Dice::new(1, 1);
            let mut node = Node::new(Arc::clone(&template), &mut dice);
            let mut state = State::default();
            let mut take = |judgement: Judgement, node: &Node| {
                let changes = state.compare(judgement.entries.clone(), |key| judgement.covers(key), 1);
                state.apply(&changes);
                assert_eq!((state.len(), state.digest()), (entries, node.digest()));
                changes.transitions.len()
            };
            take(node.whole(1), &node);
            for _ in 0..50 {
                let flip = node.flip(&mut dice, 2);
                assert_eq!(take(flip, &node), 1, "a verdict moved");
            }
        }
    }
}
