//! One check on one set of facts: the verdict of every subject.

use std::collections::{BTreeMap, BTreeSet};

use cel::common::types::CelBool;
use cel::{Context, ExecutionError, Value};

use super::NODE_SUBJECT;
use super::evidence::evidence_of;
use super::functions::UNDECIDED;
use super::subjects::{Subject, Subjects, subjects_of};
use super::tree::{Step, Tree, steps};
use super::value::Trace;
use crate::catalogue::{Check, Expression, Judge, Tier};
use crate::entries::{Finding, Verdict};
use crate::facts::Unavailable;

/// What every check of one evaluation shares.
pub(super) struct Bench<'a> {
    pub(super) tree: &'a Tree,
    pub(super) context: &'a Context<'a, 'static>,
    pub(super) trace: &'a Trace,
    pub(super) unavailable_groups: &'a [String],
}

/// An expression's outcome before a verdict is made of it.
pub(super) enum Outcome<T> {
    /// It has a value.
    Value(T),
    /// It read something unavailable, or failed: the reason of the `unknown`.
    Unknown(String),
}

/// A verdict and its reason.
struct Said(Verdict, String);

impl Bench<'_> {
    /// Every finding of one check, one per subject name.
    pub(super) fn judge(&self, check: &Check, tiers: &BTreeSet<Tier>) -> Vec<Finding> {
        let on_node = |said: Said| vec![self.finding(check, None, NODE_SUBJECT, said)];
        if let Some(missing) = check.needs.difference(tiers).next() {
            return on_node(Said(Verdict::Unknown, format!("not_supported: needs {}", missing.what())));
        }
        let Some(expression) = &check.subjects else {
            return on_node(self.judge_subject(check, self.context));
        };
        self.trace.take();
        let (subjects, incomplete) = match subjects_of(self, expression) {
            Outcome::Unknown(reason) => return on_node(Said(Verdict::Unknown, reason)),
            Outcome::Value(Subjects { subjects, incomplete }) => (subjects, incomplete),
        };
        let mut worst: BTreeMap<String, Finding> = BTreeMap::new();
        for Subject { name, value, path } in subjects {
            let mut context = self.context.new_inner_scope();
            context.add_variable_as_val("it", value);
            let said = self.judge_subject(check, &context);
            let finding = self.finding(check, Some(&path), &name, said);
            let keep = worst.get(&name).is_none_or(|seen| finding.verdict.weight() > seen.verdict.weight());
            if keep {
                worst.insert(name, finding);
            }
        }
        let mut findings: Vec<Finding> = worst.into_values().collect();
        if !incomplete.is_empty() {
            // Subjects may be missing: that is said once, beside what could be judged.
            findings.retain(|finding| finding.subject != NODE_SUBJECT);
            findings.push(self.finding(check, None, NODE_SUBJECT, Said(Verdict::Unknown, self.incomplete(&incomplete))));
        } else if findings.is_empty() {
            return on_node(Said(Verdict::NotApplicable, "no_subject: there is nothing of this kind on the node".to_owned()));
        }
        findings
    }

    fn judge_subject(&self, check: &Check, context: &Context<'_, 'static>) -> Said {
        if let Some((expression, reason)) = &check.applies {
            match self.boolean(expression, context) {
                (Outcome::Unknown(reason), _) => return Said(Verdict::Unknown, reason),
                (Outcome::Value(true), _) => {}
                (Outcome::Value(false), read) if read.is_empty() => {
                    return Said(Verdict::NotApplicable, format!("does_not_apply: {reason}"));
                }
                (Outcome::Value(false), read) => return Said(Verdict::Unknown, self.incomplete(&read)),
            }
        }
        let Judge::Pass(expression) = &check.judge else {
            return Said(Verdict::Manual, String::new());
        };
        match self.boolean(expression, context) {
            (Outcome::Unknown(reason), _) => Said(Verdict::Unknown, reason),
            (Outcome::Value(false), _) => Said(Verdict::Fail, String::new()),
            (Outcome::Value(true), read) if read.is_empty() => Said(Verdict::Pass, String::new()),
            (Outcome::Value(true), read) => Said(Verdict::Unknown, self.incomplete(&read)),
        }
    }

    /// Evaluates to a boolean, and says which incomplete listings were read on the way.
    fn boolean(&self, expression: &Expression, context: &Context<'_, 'static>) -> (Outcome<bool>, Vec<String>) {
        self.trace.take();
        let outcome = match Value::resolve_val(expression.program.expression(), context) {
            Err(error) => Outcome::Unknown(self.reason(&error)),
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(value) => Outcome::Value(*value.inner()),
                None => Outcome::Unknown("check_error: the expression is neither true nor false".to_owned()),
            },
        };
        let read = self.trace.take();
        match outcome {
            // What is missing may be what would have decided it.
            Outcome::Unknown(reason) if reason.starts_with(UNDECIDED) && !read.is_empty() => {
                (Outcome::Unknown(self.incomplete(&read)), read)
            }
            outcome => (outcome, read),
        }
    }

    /// The reason of the `unknown` that an evaluation error stands for.
    pub(super) fn reason(&self, error: &ExecutionError) -> String {
        let unavailable = match error {
            ExecutionError::NoSuchKey(path) => self.unavailable_at(path),
            ExecutionError::FunctionError { function, message } if function == UNDECIDED => return format!("{UNDECIDED}: {message}"),
            ExecutionError::UndeclaredReference(name) if self.unavailable_groups.contains(name) => self.unavailable_at(name),
            _ => None,
        };
        match unavailable {
            Some(Unavailable { reason, detail }) if detail.is_empty() => reason.name().to_owned(),
            Some(Unavailable { reason, detail }) => format!("{}: {detail}", reason.name()),
            None => format!("check_error: {error}"),
        }
    }

    /// Why the fact at `path` (`kubelets[0].settings.port`) is unavailable, if it is.
    fn unavailable_at(&self, path: &str) -> Option<Unavailable> {
        match self.at(path)? {
            Tree::Unavailable(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// The tree node at `path`.
    pub(super) fn at(&self, path: &str) -> Option<&Tree> {
        let mut node = self.tree;
        for step in steps(path) {
            node = match step {
                Step::Member(name) => node.member(name)?,
                Step::Element(index) => node.element(index)?,
            };
        }
        Some(node)
    }

    /// `incomplete: listeners: 2 not read, first: /proc/7/fd (permission_denied)`.
    fn incomplete(&self, paths: &[String]) -> String {
        let describe = |path: &String| match self.at(path).map(Tree::value) {
            Some(Tree::List(_, skipped)) => {
                let first = skipped.first().map(|skipped| format!(", first: {} ({})", skipped.what, skipped.reason.name()));
                format!("{path}: {} not read{}", skipped.len(), first.unwrap_or_default())
            }
            _ => path.clone(),
        };
        format!("incomplete: {}", paths.iter().map(describe).collect::<Vec<_>>().join("; "))
    }

    fn finding(&self, check: &Check, at: Option<&str>, subject: &str, Said(verdict, reason): Said) -> Finding {
        Finding {
            check: check.id.to_string(),
            subject: subject.to_owned(),
            verdict,
            reason,
            severity: check.severity,
            title: check.title.clone(),
            evidence: check.evidence.iter().filter_map(|path| evidence_of(self, path, at)).collect(),
            evidence_truncated: false,
        }
    }
}
