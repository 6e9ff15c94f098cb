//! The waivers this build ships: what system workloads are known to need.

use std::collections::BTreeSet;

use super::{WaivedBy, Waiver};

/// Why waivers were refused.
#[derive(Debug, thiserror::Error)]
pub enum WaiverError {
    /// It is not YAML of the expected shape.
    #[error("{file} is not a list of waivers")]
    Malformed {
        /// The document.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// One of them cannot be right.
    #[error("{file}: waiver `{id}`: {problem}")]
    Waiver {
        /// The document.
        file: String,
        /// Its id as written.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The expectations this build ships, in the order of their document.
///
/// # Errors
/// Only when a build shipped bad data, which a test of this crate prevents.
pub fn built_in() -> Result<Vec<Waiver>, WaiverError> {
    let waivers = Waiver::load("expectations.yaml", include_str!("../../data/expectations.yaml"))?;
    match waivers.iter().find(|waiver| waiver.by != WaivedBy::BuiltIn) {
        Some(waiver) => Err(refused("expectations.yaml", waiver, "a waiver that ships is `by: built_in`")),
        None => Ok(waivers),
    }
}

impl Waiver {
    /// Reads and validates a list of waivers. `file` is for messages.
    ///
    /// # Errors
    /// The first problem found. Nothing of a bad list is used.
    pub fn load(file: &str, text: &str) -> Result<Vec<Self>, WaiverError> {
        let waivers: Vec<Self> =
            serde_saphyr::from_str(text).map_err(|source| WaiverError::Malformed { file: file.to_owned(), source: Box::new(source) })?;
        let mut seen = BTreeSet::new();
        for waiver in &waivers {
            let problem = if seen.insert(&waiver.id) { waiver.problem() } else { Some("its id is used twice") };
            if let Some(problem) = problem {
                return Err(refused(file, waiver, problem));
            }
        }
        Ok(waivers)
    }

    /// What is wrong with it, whoever wrote it.
    pub fn problem(&self) -> Option<&'static str> {
        let blank = |text: &String| text.trim().is_empty();
        if blank(&self.id) {
            Some("`id` is empty")
        } else if self.checks.is_empty() || self.checks.iter().any(blank) {
            Some("`checks` is empty: name at least one check")
        } else if self.subjects.is_empty() || self.subjects.iter().any(blank) {
            Some("`subjects` is empty: name at least one subject")
        } else if blank(&self.reason) {
            Some("`reason` is empty: say why this is accepted")
        } else if matches!(&self.by, WaivedBy::Person(name) if blank(name)) {
            Some("`by` is empty: name who accepts it")
        } else {
            None
        }
    }
}

fn refused(file: &str, waiver: &Waiver, problem: &'static str) -> WaiverError {
    WaiverError::Waiver { file: file.to_owned(), id: waiver.id.clone(), problem }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn bad_waivers_are_refused_with_what_is_wrong() {
        let good = "- {id: a, checks: [c], subjects: [s], reason: r, by: built_in}\n";
        assert_eq!(Waiver::load("w.yaml", good).map(|waivers| waivers.len()).ok(), Some(1));
        for (from, to, words) in [
            ("[c]", "[]", "w.yaml: waiver `a`: `checks` is empty: name at least one check"),
            ("[s]", "['']", "w.yaml: waiver `a`: `subjects` is empty: name at least one subject"),
            ("reason: r", "reason: ' '", "w.yaml: waiver `a`: `reason` is empty: say why this is accepted"),
            ("by: built_in", "by: {person: ''}", "w.yaml: waiver `a`: `by` is empty: name who accepts it"),
            ("by: built_in", "by: built_in, til: x", "w.yaml is not a list of waivers"),
            ("by: built_in", "by: built_in, until: soon", "w.yaml is not a list of waivers"),
        ] {
            let error = Waiver::load("w.yaml", &good.replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), words);
            assert_eq!(error.source().is_some(), words.ends_with("list of waivers"));
        }
        assert!(Waiver::load("w.yaml", &good.repeat(2)).unwrap_err().to_string().ends_with("its id is used twice"));
    }

    #[test]
    fn those_that_ship_load() {
        assert!(built_in().unwrap().len() > 20);
    }
}
