//! What an expression may say. Refuses everything that would turn "not known" into a value.
//!
//! `has()`, optionals and `orValue` ask whether a fact is there; a fact that could not be read is then indistinguishable
//! from one that is absent, so they are refused everywhere. Unknown names and functions are refused too.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::check::Expression;
use crate::evaluator::functions;
use crate::facts::Group;

/// The longest expression, in bytes.
const MAX_SOURCE_BYTES: usize = 4 * 1024;

/// Brackets within brackets. The parser recurses by them and has no limit of its own: sixty take all the stack of a debug build.
const MAX_NESTING: usize = 16;
/// Operations within operations, loops' own among them: evaluation recurses by them.
const MAX_DEPTH: usize = 48;

/// Functions an expression may call, CEL operators apart: those that the environment has.
const FUNCTIONS: [&str; 10] =
    ["contains", "double", "endsWith", "int", "matches", "modeAtMost", "size", "startsWith", "string", "undecided"];

/// One for all expressions: it takes longer to build than most of them take to compile.
static ENVIRONMENT: LazyLock<cel::Env> = LazyLock::new(functions::environment);

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Only fact groups are in scope.
    Node,
    /// `it` is in scope: the subject being judged.
    Subject,
}

/// Compiles and checks an expression.
pub(super) fn expression(source: String, scope: Scope) -> Result<Expression, String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(format!("the expression is {} bytes long, {MAX_SOURCE_BYTES} are allowed", source.len()));
    }
    if nesting(&source) > MAX_NESTING {
        return Err(format!("brackets are nested more than {MAX_NESTING} deep: take it apart into several checks"));
    }
    let program = ENVIRONMENT.compile(&source).map_err(|error| format!("not a CEL expression: {error}"))?;
    let mut walk = Walk { scope, bound: Vec::new(), groups: BTreeSet::new(), depth: 0 };
    walk.visit(program.expression())?;
    Ok(Expression { source, reads: walk.groups, program: Arc::new(program) })
}

/// How deep brackets are nested, at most: those in strings count as well, because what a string is only the parser knows.
fn nesting(source: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Checks an evidence path: plain member access from `it` or a group.
pub(super) fn evidence(path: &str, scope: Scope) -> Result<(), String> {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let root = path.split('.').next().unwrap_or_default();
    let known = (root == "it" && scope == Scope::Subject) || Group::ALL.iter().any(|group| group.name() == root);
    if known && path.split('.').all(word) {
        return Ok(());
    }
    Err(format!("`{path}` is not a fact path: write names joined by dots, starting with `it` or a fact group"))
}

struct Walk {
    scope: Scope,
    bound: Vec<String>,
    groups: BTreeSet<Group>,
    depth: usize,
}

impl Walk {
    fn visit(&mut self, node: &IdedExpr) -> Result<(), String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("operations are nested more than {MAX_DEPTH} deep: take it apart into several checks"));
        }
        self.depth += 1;
        let visited = self.visit_inner(node);
        self.depth -= 1;
        visited
    }

    fn visit_inner(&mut self, node: &IdedExpr) -> Result<(), String> {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) if select.test => {
                Err("has() would take a fact that could not be read for an absent one: compare the value instead".to_owned())
            }
            Expr::Select(select) => self.visit(&select.operand),
            Expr::List(list) if !list.optional_indices.is_empty() => Err(refused_optional()),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.visit_entry(&entry.expr)),
            Expr::Struct(_) => Err("messages cannot be built here".to_owned()),
            Expr::Call(call) => {
                function(&call.func_name)?;
                if let Some(target) = &call.target {
                    self.visit(target)?;
                }
                call.args.iter().try_for_each(|argument| self.visit(argument))
            }
            Expr::Comprehension(loop_) => {
                self.visit(&loop_.iter_range)?;
                let outer = self.bound.len();
                self.bound.push(loop_.iter_var.clone());
                self.bound.extend(loop_.iter_var2.clone());
                self.bound.push(loop_.accu_var.clone());
                let parts = [&loop_.accu_init, &loop_.loop_cond, &loop_.loop_step, &loop_.result];
                parts.into_iter().try_for_each(|part| self.visit(part))?;
                self.bound.truncate(outer);
                Ok(())
            }
        }
    }

    fn visit_entry(&mut self, entry: &EntryExpr) -> Result<(), String> {
        match entry {
            EntryExpr::MapEntry(entry) if !entry.optional => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
            EntryExpr::MapEntry(_) | EntryExpr::StructField(_) => Err(refused_optional()),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        if self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        if name == "it" {
            return match self.scope {
                Scope::Subject => Ok(()),
                Scope::Node => Err("`it` is the subject, and there is no `subjects` here".to_owned()),
            };
        }
        match Group::ALL.into_iter().find(|group| group.name() == name) {
            Some(group) => {
                self.groups.insert(group);
                Ok(())
            }
            None => Err(format!("`{name}` is neither a fact group nor a loop variable")),
        }
    }
}

fn function(name: &str) -> Result<(), String> {
    let operator = name.starts_with('_') || name.starts_with('@') || name.starts_with('!') || name.starts_with('-');
    if name.contains('?') && name != "_?_:_" || name == "optional" || name == "orValue" || name == "or" || name == "hasValue" {
        return Err(refused_optional());
    }
    if operator || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(format!("there is no function `{name}`: use one of {}", FUNCTIONS.join(", ")))
}

fn refused_optional() -> String {
    "optional values would take a fact that could not be read for an absent one: compare the value instead".to_owned()
}

#[cfg(test)]
mod tests {
    use super::{ENVIRONMENT, FUNCTIONS, MAX_NESTING, MAX_SOURCE_BYTES, Scope, expression};
    use crate::catalogue::{Catalogue, CatalogueError, Document};
    use crate::evaluator::{Evaluator, Selection};
    use crate::facts::{Node, NodeFacts, Reason, Unavailable};

    fn loaded(pass: &str) -> Result<Catalogue, CatalogueError> {
        let text = format!(
            "- {{id: a, title: t, severity: low, area: kernel, judged_by: node, pass: \"{pass}\", evidence: [kernel.release], why: w, fix: f}}"
        );
        Catalogue::load(&[Document { name: "a.yaml".to_owned(), text }])
    }

    #[test]
    fn nesting_is_refused_before_the_parser_or_the_evaluator_runs_out_of_stack() {
        let nested = |open: &str, inner: &str, close: &str, n: usize| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
        let deep = [
            nested("(", "true", ")", 60),
            nested("[", "", "]", 2000),
            nested("{1: ", "1", "}", 500),
            nested("[1].all(a, ", "true", ")", 30),
            nested("(", "", "", MAX_SOURCE_BYTES - 10),
            format!("{}1 == 2", "1+".repeat(2000)),
            format!("kernel{} == 1", ".a".repeat(2000)),
            format!("kernel{} == 1", "[0]".repeat(1300)),
            format!("1 == 1{}", " == true".repeat(490)),
            format!("{}true", "true ? true : ".repeat(280)),
        ];
        for pass in deep {
            assert!(loaded(&pass).is_err(), "{pass:.60}");
        }
        let node = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "none"));
        for pass in [nested("(", "true", ")", MAX_NESTING), nested("[1].all(a, ", "true", ")", 8), "true || ".repeat(400) + "true"] {
            let catalogue = loaded(&pass).unwrap_or_else(|error| {
                panic!("{pass:.60}: {}", std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string))
            });
            assert_eq!(Evaluator::new(catalogue).evaluate(&node, &Selection::default()).map(|findings| findings.len()).ok(), Some(1));
        }
    }

    /// One that is allowed and that the environment does not have makes every verdict of its check unknown.
    #[test]
    fn the_functions_that_are_allowed_are_there_and_no_other_is() {
        let allowed = [
            ("contains", "'ab'.contains('b')"),
            ("double", "double(1) == 1.0"),
            ("endsWith", "'ab'.endsWith('b')"),
            ("int", "int('1') == 1"),
            ("matches", "'ab'.matches('^a')"),
            ("modeAtMost", "modeAtMost(384, '0600')"),
            ("size", "size([1]) == 1"),
            ("startsWith", "'ab'.startsWith('a')"),
            ("string", "string(1) == '1'"),
            ("undecided", "true || undecided('')"),
        ];
        assert_eq!(allowed.map(|(name, _)| name), FUNCTIONS);
        let context = cel::Context::with_env(std::sync::Arc::new(crate::evaluator::functions::environment()));
        for (name, source) in allowed {
            assert!(expression(source.to_owned(), Scope::Node).is_ok(), "{name} is refused");
            let program = ENVIRONMENT.compile(source).expect(source);
            assert_eq!(program.execute(&context), Ok(cel::Value::Bool(true)), "{name}");
        }
        for source in ["'A'.lowerAscii() == 'a'", "max(1, 2) == 2", "min([1, 2]) == 1"] {
            assert!(expression(source.to_owned(), Scope::Node).is_err(), "{source} is accepted");
        }
    }
}
