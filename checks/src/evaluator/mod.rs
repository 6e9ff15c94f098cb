//! The evaluator: facts and a catalogue in, findings out.
//!
//! The rule for unknown is here and nowhere else: an expression that read something
//! unavailable gives `unknown(reason)`, a `pass` or `not_applicable` that read an incomplete listing becomes
//! `unknown(incomplete)`, one that calls `undecided("why")` gives `unknown(undecided)`, and every other evaluation error is
//! `unknown(check_error)`. Must not know where facts come from.

mod evidence;
pub(crate) mod functions;
mod judge;
mod subjects;
mod tree;
mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::{Context, Env};

use crate::catalogue::{Catalogue, Check, JudgedBy, Tier};
use crate::entries::{Finding, Hash};
use crate::facts::{Group, NodeFacts};
use tree::Tree;
pub use tree::TreeError;
use value::Trace;

/// The subject of a check that judges the node itself.
pub const NODE_SUBJECT: &str = "node";

/// A catalogue and what judging by it needs.
pub struct Evaluator {
    catalogue: Catalogue,
    /// What each check of the catalogue reads, in its order.
    reads: Vec<BTreeSet<Group>>,
    env: Arc<Env>,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").field("catalogue", &self.catalogue).finish_non_exhaustive()
    }
}

/// Which checks to run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only checks decided here; `None`: by anyone (what `scan` does).
    pub judged_by: Option<JudgedBy>,
    /// Only checks that read one of these groups; `None`: all.
    pub groups: Option<BTreeSet<Group>>,
    /// Only checks with these ids; `None`: all.
    pub checks: Option<BTreeSet<String>>,
    /// Privilege tiers at hand. A check that needs another one is `unknown(not_supported)`.
    pub tiers: BTreeSet<Tier>,
}

impl Evaluator {
    /// Judges by `catalogue`, whose expressions are compiled already.
    pub fn new(catalogue: Catalogue) -> Self {
        let reads = catalogue.checks().iter().map(Check::reads).collect();
        Self { catalogue, reads, env: Arc::new(functions::environment()) }
    }

    /// The catalogue it was built from.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The hash of the catalogue, which agent and collector compare.
    pub fn catalogue_hash(&self) -> Hash {
        self.catalogue.hash()
    }

    /// The checks a selection runs. The keys they cover are what a fresh result replaces.
    pub fn selected<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = &'a Check> {
        self.pairs(selection).map(|(check, _)| check)
    }

    /// Judges `facts`: one finding per check and subject, sorted by (check, subject).
    ///
    /// # Errors
    /// [`TreeError`] when the facts themselves cannot be represented: a bug in a sensor, never an input.
    pub fn evaluate(&self, facts: &NodeFacts, selection: &Selection) -> Result<Vec<Finding>, TreeError> {
        let read: BTreeSet<Group> = self.pairs(selection).flat_map(|(_, reads)| reads.iter().copied()).collect();
        let groups = read.into_iter().map(|group| Ok((group.name().into(), group_tree(facts, group)?)));
        let tree = Tree::Map(groups.collect::<Result<_, TreeError>>()?);
        let trace = Trace::default();
        let mut context = Context::with_env(Arc::clone(&self.env));
        let mut unavailable_groups = Vec::new();
        if let Tree::Map(groups) = &tree {
            for (name, group) in groups {
                match value::value_of(group, name, &trace) {
                    Some(value) => context.add_variable_as_val(name.clone().into_owned(), value),
                    None => unavailable_groups.push(name.clone().into_owned()),
                }
            }
        }
        let bench = judge::Bench { tree: &tree, context: &context, trace: &trace, unavailable_groups: &unavailable_groups };
        let mut findings = Vec::new();
        for (check, _) in self.pairs(selection) {
            findings.extend(bench.judge(check, &selection.tiers));
        }
        findings.sort_by(|a: &Finding, b: &Finding| (&a.check, &a.subject).cmp(&(&b.check, &b.subject)));
        Ok(findings)
    }

    fn pairs<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = (&'a Check, &'a BTreeSet<Group>)> {
        let wanted = |(check, reads): &(&Check, &BTreeSet<Group>)| {
            let by = selection.judged_by.is_none_or(|by| by == check.judged_by);
            let named = selection.checks.as_ref().is_none_or(|ids| ids.contains(check.id.as_str()));
            by && named && selection.groups.as_ref().is_none_or(|groups| !groups.is_disjoint(reads))
        };
        self.catalogue.checks().iter().zip(&self.reads).filter(wanted)
    }
}

/// One group as a tree. Only groups that a selected check reads are built: a port that opens must not cost a pass over
/// every process.
fn group_tree(facts: &NodeFacts, group: Group) -> Result<Tree, TreeError> {
    match group {
        Group::Node => Tree::of(&facts.node),
        Group::Os => Tree::of(&facts.os),
        Group::Kernel => Tree::of(&facts.kernel),
        Group::Kubelets => Tree::of(&facts.kubelets),
        Group::Components => Tree::of(&facts.components),
        Group::Files => Tree::of(&facts.files),
        Group::Certificates => Tree::of(&facts.certificates),
        Group::Handshakes => Tree::of(&facts.handshakes),
        Group::Listeners => Tree::of(&facts.listeners),
        Group::Processes => Tree::of(&facts.processes),
        Group::Probes => Tree::of(&facts.probes),
        Group::Runtimes => Tree::of(&facts.runtimes),
        Group::Containers => Tree::of(&facts.containers),
        Group::System => Tree::of(&facts.system),
        Group::Network => Tree::of(&facts.network),
        Group::Agent => Tree::of(&facts.agent),
        Group::Versions => Tree::of(&facts.versions),
    }
}
