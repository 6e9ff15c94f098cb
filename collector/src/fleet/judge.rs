//! One node's stored inventory and a date to findings. Pure.

use std::collections::BTreeSet;

use holdfast_checks::catalogue::JudgedBy;
use holdfast_checks::entries::{Entry, Hash};
use holdfast_checks::evaluator::{Evaluator, Selection, TreeError};
use holdfast_checks::inventory::facts_for_collector;
use holdfast_checks::versions;
use jiff::civil::Date;

use crate::store::JudgedNode;

/// The checks that the collector decides, compiled, and their ids.
#[derive(Debug)]
pub struct FleetJudge {
    evaluator: std::sync::Arc<Evaluator>,
    selection: Selection,
    checks: BTreeSet<String>,
}

impl FleetJudge {
    /// Takes the collector's checks out of a compiled catalogue.
    pub fn new(evaluator: std::sync::Arc<Evaluator>) -> Self {
        let selection = Selection { judged_by: Some(JudgedBy::Collector), ..Selection::default() };
        let checks = evaluator.selected(&selection).map(|check| check.id.to_string()).collect();
        Self { evaluator, selection, checks }
    }

    /// Ids of the checks that are decided here.
    pub fn checks(&self) -> &BTreeSet<String> {
        &self.checks
    }
}

/// What the collector says of `node` on `today`. `at` (Unix milliseconds) dates the findings.
///
/// # Errors
/// [`TreeError`] when the facts cannot be represented: a bug, never an input.
pub fn judge(judge: &FleetJudge, node: &JudgedNode, today: Date, at: i64) -> Result<Vec<Entry>, TreeError> {
    let documents = node.documents.iter().map(|(kind, name, json)| (kind.as_str(), name.as_str(), json.as_str()));
    let mut facts = facts_for_collector(&node.name, &node.cluster, documents);
    versions::judge(&mut facts, today);
    let findings = judge.evaluator.evaluate(&facts, &judge.selection)?;
    Ok(findings.into_iter().map(|finding| Entry::finding(finding, at)).collect())
}

/// Stands for everything the verdict depends on besides the catalogue: the same again gives the same findings.
pub(super) fn basis(node: &JudgedNode, today: Date) -> Hash {
    let day = today.to_string();
    let identity = [day.as_bytes(), node.cluster.as_bytes(), node.name.as_bytes()];
    let documents = node.documents.iter().flat_map(|(kind, name, json)| [kind.as_bytes(), name.as_bytes(), json.as_bytes()]);
    Hash::of_fields(identity.into_iter().chain(documents))
}
