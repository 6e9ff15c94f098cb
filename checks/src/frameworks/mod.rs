//! Frameworks: every row of the guidance and of the benchmark, and what answers it.
//!
//! A framework is data in `checks/frameworks/*.yaml`: its rows, in our own words, with what holds for a row that no check
//! answers. Which checks answer a row is said by the checks. Must not know findings or how a check is judged.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, CheckId};

/// File name and text of every built-in framework.
const DOCUMENTS: [(&str, &str); 2] =
    [("cis-1.12.yaml", include_str!("../../frameworks/cis-1.12.yaml")), ("nsa-1.2.yaml", include_str!("../../frameworks/nsa-1.2.yaml"))];

/// A framework and its rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// The id that checks and filters use: `cis-1.12`.
    pub id: String,
    /// Its name.
    pub title: String,
    rows: Vec<Written>,
}

/// A row as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    area: String,
    title: String,
    status: Status,
}

/// What holds for a row that no check answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Manual(String),
    Cluster,
    NotCovered,
}

/// One row of a framework with what answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The framework's own number.
    pub id: String,
    /// The chapter it belongs to.
    pub area: String,
    /// What it asks for, in our words.
    pub title: String,
    /// What answers it.
    pub coverage: Coverage,
}

/// What answers a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// These checks, sorted by id.
    Checks(Vec<CheckId>),
    /// A person: the question to ask.
    Manual(String),
    /// The API server could tell, a node cannot: not covered yet.
    Cluster,
    /// A node could tell: not covered yet.
    NotCovered,
}

/// Why a framework was refused.
#[derive(Debug, thiserror::Error)]
pub enum FrameworkError {
    /// It is not YAML of the expected shape.
    #[error("{file} is not a framework")]
    Malformed {
        /// The file.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A row cannot be right.
    #[error("{file}: row `{row}`: {problem}")]
    Row {
        /// The file.
        file: String,
        /// The row's id.
        row: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The frameworks this build ships, sorted by id.
///
/// # Errors
/// Only when a build shipped a bad framework, which a test of this crate prevents.
pub fn built_in() -> Result<Vec<Framework>, FrameworkError> {
    DOCUMENTS.iter().map(|(file, text)| Framework::load(file, text)).collect()
}

impl Framework {
    /// Reads and validates a framework. `file` is for messages.
    ///
    /// # Errors
    /// The first problem found.
    pub fn load(file: &str, text: &str) -> Result<Self, FrameworkError> {
        let read: Self =
            serde_saphyr::from_str(text).map_err(|source| FrameworkError::Malformed { file: file.to_owned(), source: Box::new(source) })?;
        let mut seen = BTreeSet::new();
        for row in &read.rows {
            let problem = if !seen.insert(&row.id) {
                "it is listed twice"
            } else if [&row.id, &row.area, &row.title].into_iter().any(|text| text.trim().is_empty()) {
                "`id`, `area` or `title` is empty"
            } else if matches!(&row.status, Status::Manual(question) if question.trim().is_empty()) {
                "`manual` is empty: write the question to ask"
            } else {
                continue;
            };
            return Err(FrameworkError::Row { file: file.to_owned(), row: row.id.clone(), problem });
        }
        Ok(read)
    }

    /// Is there a row with this id.
    pub fn has_row(&self, id: &str) -> bool {
        self.rows.iter().any(|row| row.id == id)
    }

    /// Every row in the framework's order, with what answers it under `catalogue`.
    pub fn rows(&self, catalogue: &Catalogue) -> Vec<Row> {
        self.rows.iter().map(|row| self.row(row, catalogue)).collect()
    }

    fn row(&self, row: &Written, catalogue: &Catalogue) -> Row {
        let answers = |check: &&crate::catalogue::Check| check.frameworks.get(&self.id).is_some_and(|rows| rows.contains(&row.id));
        let checks: Vec<CheckId> = catalogue.checks().iter().filter(answers).map(|check| check.id.clone()).collect();
        let coverage = match &row.status {
            _ if !checks.is_empty() => Coverage::Checks(checks),
            Status::Manual(question) => Coverage::Manual(question.clone()),
            Status::Cluster => Coverage::Cluster,
            Status::NotCovered => Coverage::NotCovered,
        };
        Row { id: row.id.clone(), area: row.area.clone(), title: row.title.clone(), coverage }
    }
}
