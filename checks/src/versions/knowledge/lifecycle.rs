//! Until when a product's release is supported: rows with a source and the day they were true on.
//!
//! One loader reads and validates the built-in snapshot; a bad row refuses the whole document. Must not know kernels.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Lifecycle rows by product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifecycle {
    products: BTreeMap<String, Product>,
}

/// The releases of one product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    extension: Option<Extension>,
    rows: Vec<Row>,
}

/// What it takes to be covered by a product's extended support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extension {
    /// Nothing: it is on by default.
    Free,
    /// A contract, which a node does not show.
    Paid,
}

/// The end of a support phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum End {
    /// The last day.
    Day(Date),
    /// `true`: over, the day is not known. `false`: none announced when the row was written.
    Reached(bool),
}

impl End {
    /// The day, where there is one.
    pub fn day(self) -> Option<Date> {
        match self {
            Self::Day(day) => Some(day),
            Self::Reached(_) => None,
        }
    }

    fn over(self, today: Date) -> bool {
        match self {
            Self::Day(day) => today > day,
            Self::Reached(reached) => reached,
        }
    }
}

/// One release of a product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The release: `12`, `24.04`, `6.12`, `cos-117`.
    pub cycle: String,
    /// End of the support everybody has.
    pub eol: End,
    /// End of extended support, where there is one.
    pub extended: Option<End>,
    /// Is it a long-term release.
    #[serde(default)]
    pub lts: bool,
    /// How exact `eol` is, when not to the day as announced.
    pub precision: Option<Precision>,
    /// The day the row was true on.
    pub as_of: Date,
    /// Where it was read.
    pub source: String,
}

/// How exact a date is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// On this day or some days before.
    OnOrBefore,
    /// Planned, not promised.
    Tentative,
}

/// Where a release stands on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the support everybody has.
    Supported,
    /// Only in extended support, which may have to be bought.
    Extended(Extension),
    /// In none.
    EndOfLife,
}

/// Why lifecycle data was refused.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// It is not YAML of the expected shape.
    #[error("{file} is not lifecycle data")]
    Malformed {
        /// The document.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A row cannot be right.
    #[error("{file}: {product} {cycle}: {problem}")]
    Row {
        /// The document.
        file: String,
        /// The product.
        product: String,
        /// The row.
        cycle: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Lifecycle {
    /// The snapshot this build ships.
    ///
    /// # Errors
    /// Only when a build shipped bad data, which a test of this crate prevents.
    pub fn built_in() -> Result<Self, LifecycleError> {
        Self::load("lifecycle.yaml", include_str!("../../../data/lifecycle.yaml"))
    }

    /// Reads and validates a document. `file` is for messages.
    ///
    /// # Errors
    /// The first problem found. Nothing of a bad document is used.
    pub fn load(file: &str, text: &str) -> Result<Self, LifecycleError> {
        let read: Self =
            serde_saphyr::from_str(text).map_err(|source| LifecycleError::Malformed { file: file.to_owned(), source: Box::new(source) })?;
        for (name, product) in &read.products {
            let mut cycles = BTreeSet::new();
            for row in &product.rows {
                if let Some(problem) = product.problem(row, &mut cycles) {
                    let (product, cycle) = (name.clone(), row.cycle.clone());
                    return Err(LifecycleError::Row { file: file.to_owned(), product, cycle, problem });
                }
            }
        }
        Ok(read)
    }

    /// The row of a product's release, and where the release stands on `today`; `None` when there is no row for it.
    pub fn find(&self, product: &str, cycle: &str, today: Date) -> Option<(&Row, Standing)> {
        let Product { extension, rows } = self.products.get(product)?;
        let row = rows.iter().find(|row| row.cycle == cycle)?;
        let extended = row.extended.is_some_and(|extended| !extended.over(today));
        let standing = match (row.eol.over(today), extension) {
            (false, _) => Standing::Supported,
            (true, Some(extension)) if extended => Standing::Extended(*extension),
            (true, _) => Standing::EndOfLife,
        };
        Some((row, standing))
    }

    /// The newest day any row was true on.
    pub fn as_of(&self) -> Option<Date> {
        self.products.values().flat_map(|product| &product.rows).map(|row| row.as_of).max()
    }
}

impl Product {
    fn problem<'a>(&self, row: &'a Row, cycles: &mut BTreeSet<&'a str>) -> Option<&'static str> {
        if row.cycle.is_empty() {
            return Some("`cycle` is empty");
        }
        if !cycles.insert(&row.cycle) {
            return Some("the release is listed twice");
        }
        if row.source.trim().is_empty() {
            return Some("`source` is empty: say where the row was read");
        }
        if row.extended.is_some() && self.extension.is_none() {
            return Some("`extended` without the product's `extension`: say `free` or `paid`");
        }
        match (row.eol.day(), row.extended.and_then(End::day)) {
            (Some(eol), Some(extended)) if extended < eol => Some("`extended` is before `eol`"),
            _ => None,
        }
    }
}
