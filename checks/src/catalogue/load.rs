//! From YAML documents to a catalogue. All of it or none: one bad check refuses the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::check::{Check, CheckId, Expression, Judge, JudgedBy, Tier};
use super::lint::{self, Scope};
use crate::entries::{Hash, Severity};

/// Stack for compiling: CEL's parser recurses, and a debug build needs about 350 KiB for simple input already.
const COMPILE_STACK_BYTES: usize = 8 * 1024 * 1024;
/// Frameworks a check may name.
const FRAMEWORKS: [&str; 2] = ["cis-1.12", "nsa-1.2"];
/// Areas a check may belong to.
const AREAS: [&str; 10] =
    ["agent", "containers", "control-plane", "files", "kernel", "kubelet", "network", "processes", "runtimes", "system"];

/// One YAML file of a catalogue.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file's name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A complete, linted set of checks.
#[derive(Debug, Clone)]
pub struct Catalogue {
    checks: Vec<Check>,
    hash: Hash,
}

/// Why a catalogue was refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file is not YAML of the expected shape; the message gives line and column.
    #[error("{file} is not a list of checks")]
    Malformed {
        /// The file.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// One check is wrong.
    #[error("{file}:{line}: check `{check}`: {field}: {problem}")]
    Check {
        /// The file.
        file: String,
        /// The line its `id` stands on.
        line: usize,
        /// Its id as written.
        check: String,
        /// The field at fault.
        field: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// Two checks have one id.
    #[error("{file}: check `{check}` is already defined in {first}: give one of them another id")]
    Duplicate {
        /// The later file.
        file: String,
        /// The id.
        check: String,
        /// The earlier file.
        first: String,
    },
    /// The thread that compiles could not be started or died.
    #[error("the thread that compiles the checks failed: is the machine out of memory?")]
    Thread,
}

/// A check as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    title: String,
    severity: Severity,
    area: String,
    judged_by: JudgedBy,
    subjects: Option<String>,
    applies: Option<String>,
    applies_reason: Option<String>,
    pass: Option<String>,
    manual: Option<String>,
    #[serde(default)]
    evidence: Vec<String>,
    #[serde(default)]
    needs: BTreeSet<Tier>,
    why: String,
    fix: String,
    #[serde(default)]
    frameworks: BTreeMap<String, Vec<String>>,
}

impl Catalogue {
    /// Reads documents in the order given.
    ///
    /// # Errors
    /// The first problem found, with file, line and what to write instead. Nothing of a bad catalogue is used.
    pub fn load(documents: &[Document]) -> Result<Self, CatalogueError> {
        let compile = || Self::compile(documents);
        // A thread of its own, for its stack; it lives as long as this call.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("load-checks".to_owned()).stack_size(COMPILE_STACK_BYTES);
            thread.spawn_scoped(scope, compile).map_err(|_| CatalogueError::Thread)?.join().map_err(|_| CatalogueError::Thread)?
        })
    }

    fn compile(documents: &[Document]) -> Result<Self, CatalogueError> {
        let mut checks: Vec<Check> = Vec::new();
        let mut defined: BTreeMap<CheckId, String> = BTreeMap::new();
        for document in documents {
            for written in parse(document)? {
                let check = accept(document, written)?;
                if let Some(first) = defined.insert(check.id.clone(), document.name.clone()) {
                    return Err(CatalogueError::Duplicate { file: document.name.clone(), check: check.id.to_string(), first });
                }
                checks.push(check);
            }
        }
        checks.sort_by(|a, b| a.id.cmp(&b.id));
        let mut texts: Vec<&Document> = documents.iter().collect();
        texts.sort_by(|a, b| a.name.cmp(&b.name));
        let hash = Hash::of_fields(texts.iter().flat_map(|document| [document.name.as_bytes(), document.text.as_bytes()]));
        Ok(Self { checks, hash })
    }

    /// The checks, sorted by id.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The check called `id`.
    pub fn get(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id.as_str() == id)
    }

    /// A hash of every document: agent and collector compare it.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

fn parse(document: &Document) -> Result<Vec<Written>, CatalogueError> {
    serde_saphyr::from_str(&document.text)
        .map_err(|source| CatalogueError::Malformed { file: document.name.clone(), source: Box::new(source) })
}

/// The line a check's id stands on, for messages.
fn line_of(document: &Document, id: &str) -> usize {
    let names_it = |line: &str| line.trim_start_matches(['-', ' ']).strip_prefix("id:").is_some_and(|rest| rest.trim().starts_with(id));
    document.text.lines().position(names_it).map_or(1, |index| index + 1)
}

fn accept(document: &Document, written: Written) -> Result<Check, CatalogueError> {
    let id = written.id.clone();
    let refuse = |field: &'static str, problem: String| CatalogueError::Check {
        file: document.name.clone(),
        line: line_of(document, &id),
        check: id.clone(),
        field,
        problem,
    };
    let compile = |field: &'static str, source: String, scope: Scope| -> Result<Expression, CatalogueError> {
        lint::expression(source, scope).map_err(|problem| refuse(field, problem))
    };
    let check_id = CheckId::try_new(&written.id).ok_or_else(|| refuse("id", "use lower-case words joined by single hyphens".to_owned()))?;
    for (field, text) in [("title", &written.title), ("why", &written.why), ("fix", &written.fix)] {
        if text.trim().is_empty() {
            return Err(refuse(field, "it is empty".to_owned()));
        }
    }
    if !AREAS.contains(&written.area.as_str()) {
        return Err(refuse("area", format!("`{}` is not one of {}", written.area, AREAS.join(", "))));
    }
    if let Some(unknown) = written.frameworks.keys().find(|name| !FRAMEWORKS.contains(&name.as_str())) {
        return Err(refuse("frameworks", format!("`{unknown}` is not one of {}", FRAMEWORKS.join(", "))));
    }
    let scope = if written.subjects.is_some() { Scope::Subject } else { Scope::Node };
    let subjects = written.subjects.map(|source| compile("subjects", source, Scope::Node)).transpose()?;
    let applies = match (written.applies, written.applies_reason) {
        (None, None) => None,
        (Some(source), Some(reason)) => Some((compile("applies", source, scope)?, reason)),
        (Some(_), None) => return Err(refuse("applies_reason", "say why the check does not apply when `applies` is false".to_owned())),
        (None, Some(_)) => return Err(refuse("applies", "`applies_reason` without `applies`".to_owned())),
    };
    let judge = match (written.pass, written.manual) {
        (Some(source), None) => Judge::Pass(compile("pass", source, scope)?),
        (None, Some(question)) => Judge::Manual(question),
        _ => return Err(refuse("pass", "write either `pass` or `manual`".to_owned())),
    };
    if written.evidence.is_empty() && matches!(judge, Judge::Pass(_)) {
        return Err(refuse("evidence", "name at least the deciding fact".to_owned()));
    }
    for path in &written.evidence {
        lint::evidence(path, scope).map_err(|problem| refuse("evidence", problem))?;
    }
    Ok(Check {
        id: check_id,
        title: written.title,
        severity: written.severity,
        area: written.area,
        judged_by: written.judged_by,
        subjects,
        applies,
        judge,
        evidence: written.evidence,
        needs: written.needs,
        why: written.why,
        fix: written.fix,
        frameworks: written.frameworks,
    })
}
