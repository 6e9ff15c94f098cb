//! The list a check judges, one finding each.

use cel::Value;
use cel::common::value::Val;

use crate::catalogue::Expression;

use super::judge::{Bench, Outcome};
use super::value::FactMap;

/// One thing to judge.
pub(super) struct Subject {
    /// Its stable name.
    pub(super) name: String,
    /// What `it` is bound to.
    pub(super) value: Box<dyn Val>,
    /// Where it stands in the facts.
    pub(super) path: String,
}

/// The things to judge, and the incomplete listings they were found in.
pub(super) struct Subjects {
    pub(super) subjects: Vec<Subject>,
    pub(super) incomplete: Vec<String>,
}

/// Evaluates a check's `subjects`.
pub(super) fn subjects_of(bench: &Bench<'_>, expression: &Expression) -> Outcome<Subjects> {
    let list = match Value::resolve_val(expression.program.expression(), bench.context) {
        Ok(list) => list,
        Err(error) => return Outcome::Unknown(bench.reason(&error)),
    };
    let Some(iterable) = list.as_iterable() else {
        return Outcome::Unknown("check_error: `subjects` is not a list".to_owned());
    };
    let mut subjects = Vec::new();
    let mut items = iterable.iter();
    while let Some(item) = items.next() {
        let Some(map) = item.downcast_ref::<FactMap>() else {
            return Outcome::Unknown("check_error: a subject is not a fact with members".to_owned());
        };
        let Some(name) = map.text("subject") else {
            return Outcome::Unknown("check_error: a subject has no name".to_owned());
        };
        subjects.push(Subject { name: name.to_owned(), value: Box::new(map.clone()), path: map.path().to_owned() });
    }
    Outcome::Value(Subjects { subjects, incomplete: bench.trace.take() })
}
