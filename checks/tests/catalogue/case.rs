//! One check's fixtures: changes to the base node under which it passes, fails, does not apply and cannot be told.

use std::sync::OnceLock;

use holdfast_checks::catalogue::built_in;
use holdfast_checks::derive::derive;
use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::NodeFacts;

use crate::base;

/// A change to the base node.
pub(crate) type Change = Box<dyn Fn(&mut NodeFacts)>;

/// The fixtures of one check.
pub(crate) struct Case {
    pub(crate) check: &'static str,
    pub(crate) passes: Vec<Change>,
    pub(crate) fails: Vec<Change>,
    pub(crate) not_applicable: Vec<Change>,
    pub(crate) unreadable: Vec<(&'static str, Change)>,
}

impl Case {
    /// A check that passes on the base node.
    pub(crate) fn of(check: &'static str) -> Self {
        Self::only(check).passes(|_| {})
    }

    /// A check that needs a change to pass.
    pub(crate) fn only(check: &'static str) -> Self {
        Self { check, passes: Vec::new(), fails: Vec::new(), not_applicable: Vec::new(), unreadable: Vec::new() }
    }

    pub(crate) fn passes(mut self, change: impl Fn(&mut NodeFacts) + 'static) -> Self {
        self.passes.push(Box::new(change));
        self
    }

    pub(crate) fn fails(mut self, change: impl Fn(&mut NodeFacts) + 'static) -> Self {
        self.fails.push(Box::new(change));
        self
    }

    pub(crate) fn not_applicable(mut self, change: impl Fn(&mut NodeFacts) + 'static) -> Self {
        self.not_applicable.push(Box::new(change));
        self
    }

    /// `class` is the class of the `unknown`.
    pub(crate) fn unreadable(mut self, class: &'static str, change: impl Fn(&mut NodeFacts) + 'static) -> Self {
        self.unreadable.push((class, Box::new(change)));
        self
    }
}

pub(crate) fn evaluator() -> &'static Evaluator {
    static EVALUATOR: OnceLock<Evaluator> = OnceLock::new();
    EVALUATOR.get_or_init(|| {
        let catalogue = built_in().unwrap_or_else(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            panic!("the built-in catalogue loads: {error}: {source}")
        });
        Evaluator::new(catalogue)
    })
}

/// Every finding on the base node after `change`, of the checks that `selection` runs.
pub(crate) fn findings_after(change: &dyn Fn(&mut NodeFacts), selection: &Selection) -> Vec<Finding> {
    let mut facts = base::node();
    change(&mut facts);
    derive(&mut facts);
    evaluator().evaluate(&facts, selection).expect("facts can be judged")
}

/// The findings of `check` on the base node after `change`. None of them may be a mistake of the check.
pub(crate) fn judged(check: &str, change: &dyn Fn(&mut NodeFacts)) -> Vec<Finding> {
    let reads = evaluator().catalogue().get(check).unwrap_or_else(|| panic!("there is no check {check}")).reads();
    let selection = Selection { groups: Some(reads), ..Selection::default() };
    let mut findings = findings_after(change, &selection);
    findings.retain(|finding| finding.check == check);
    for finding in &findings {
        assert_ne!(finding.reason_class(), "check_error", "{finding:#?}");
    }
    findings
}

/// Judges every fixture of `case`, and says what is wrong.
pub(crate) fn verify(case: &Case) {
    let check = evaluator().catalogue().get(case.check).unwrap_or_else(|| panic!("there is no check {}", case.check));
    let of = |change: &Change| judged(case.check, change.as_ref());
    for change in &case.passes {
        let findings = of(change);
        assert!(!findings.is_empty() && findings.iter().all(|finding| finding.verdict == Verdict::Pass), "passes: {findings:#?}");
    }
    for change in &case.fails {
        let findings = of(change);
        let failed = findings.iter().find(|finding| finding.verdict == Verdict::Fail);
        let failed = failed.unwrap_or_else(|| panic!("fails: {findings:#?}"));
        let shown: Vec<&str> = failed.evidence.iter().map(|evidence| evidence.path.as_str()).collect();
        assert_eq!(shown.len(), check.evidence.len(), "an evidence path of {} leads nowhere: {shown:?}", case.check);
    }
    for change in &case.not_applicable {
        let findings = of(change);
        assert!(!findings.is_empty() && findings.iter().all(|finding| finding.verdict == Verdict::NotApplicable), "n/a: {findings:#?}");
    }
    for (class, change) in &case.unreadable {
        let findings = of(change);
        let unknown = findings.iter().any(|finding| finding.verdict == Verdict::Unknown && finding.reason_class() == *class);
        assert!(unknown, "{} is not unknown({class}): {findings:#?}", case.check);
        assert!(findings.iter().all(|finding| finding.verdict != Verdict::NotApplicable), "{findings:#?}");
    }
}
