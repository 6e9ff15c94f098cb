//! Readers of the collector's own files, opened for tests/fuzzing by the feature `fuzzing`: no product is built with it.

use std::path::Path;

use holdfast_checks::catalogue::Catalogue;

use crate::policy::{Policies, PolicyFileError};

/// The tokens file: how many tokens it has; `None` when it is refused.
pub fn tokens(text: &str) -> Option<usize> {
    crate::identity::fuzz_tokens(text)
}

/// The policy file.
///
/// # Errors
/// Why it is refused.
pub fn policies(text: &str, catalogue: &Catalogue) -> Result<Policies, PolicyFileError> {
    Policies::parse(Path::new("policy.yaml"), text, catalogue)
}

/// A signing request: the hash of its key, hex, where it is one; and an enrolments file: how many machines it lists.
pub fn enrolment(content: &[u8]) -> (Option<String>, Option<usize>) {
    crate::enrolment::fuzz(content)
}
