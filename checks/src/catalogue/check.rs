//! One check, valid by construction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::Program;
use serde::{Deserialize, Serialize};

use crate::entries::Severity;
use crate::facts::Group;

/// A check's id: kebab-case, ours, for ever. Frameworks renumber, ids do not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CheckId(String);

impl CheckId {
    /// Accepts lower-case letters, digits and single inner hyphens, at most 80 bytes.
    pub fn try_new(id: &str) -> Option<Self> {
        let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        (id.len() <= 80 && id.split('-').all(word)).then(|| Self(id.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CheckId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// CEL source that passed the linter, compiled, with the fact groups it reads.
#[derive(Debug, Clone)]
pub struct Expression {
    /// The source.
    pub source: String,
    /// The groups whose change can change its value. An expression over `it` also reads the groups of `subjects`.
    pub reads: BTreeSet<Group>,
    /// What the evaluator runs.
    pub(crate) program: Arc<Program>,
}

/// Who can decide a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgedBy {
    /// The agent, from the node's own facts.
    Node,
    /// The collector: what needs the fleet, feeds or the date.
    Collector,
}

/// A privilege tier beyond the agent's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The container runtime's socket.
    Cri,
}

impl Tier {
    /// What a check that needs it says where it is missing, and how it is given.
    pub fn what(self) -> &'static str {
        match self {
            Self::Cri => "the container runtime's socket (--cri)",
        }
    }
}

/// How a check comes to its verdict.
#[derive(Debug, Clone)]
pub enum Judge {
    /// By an expression that is true on a pass.
    Pass(Expression),
    /// By a person: the question to ask.
    Manual(String),
}

/// One check.
#[derive(Debug, Clone)]
pub struct Check {
    /// The id.
    pub id: CheckId,
    /// What is true when it passes, as a sentence without a full stop.
    pub title: String,
    /// How much a failure matters.
    pub severity: Severity,
    /// The part of the node: `agent`, `containers`, `kubelet`, `control-plane`, `kernel`, `network`, `processes`, `files`, `system`.
    pub area: String,
    /// Who decides it.
    pub judged_by: JudgedBy,
    /// What is judged, one finding each; `None`: the node.
    pub subjects: Option<Expression>,
    /// When it does not apply, with the reason shown then.
    pub applies: Option<(Expression, String)>,
    /// How it is decided.
    pub judge: Judge,
    /// Fact paths shown with the verdict, the deciding one first: `it.settings.readOnlyPort`, `kernel.sysctls.kptr_restrict`.
    pub evidence: Vec<String>,
    /// Privilege tiers it needs.
    pub needs: BTreeSet<Tier>,
    /// What an attacker gains.
    pub why: String,
    /// The change to make and how to undo it.
    pub fix: String,
    /// Rows of frameworks it answers: `cis-1.12` to `4.2.4`.
    pub frameworks: BTreeMap<String, Vec<String>>,
}

impl Check {
    /// The fact groups whose change can change this check's findings.
    pub fn reads(&self) -> BTreeSet<Group> {
        let judged = match &self.judge {
            Judge::Pass(expression) => Some(expression),
            Judge::Manual(_) => None,
        };
        let expressions = self.subjects.iter().chain(self.applies.iter().map(|(expression, _)| expression)).chain(judged);
        let mut groups: BTreeSet<Group> = expressions.flat_map(|expression| expression.reads.iter().copied()).collect();
        let root = |path: &String| Group::ALL.into_iter().find(|group| path.split('.').next() == Some(group.name()));
        groups.extend(self.evidence.iter().filter_map(root));
        groups
    }
}
