//! Readers of the collector's own files, opened for tests/fuzzing by the feature `fuzzing`: no product is built with it.

use std::path::Path;

use holdfast_checks::catalogue::Catalogue;

use crate::feeds::Refusal;
use crate::identity::Rejection;
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

/// A file as an archive of feeds: how many documents it has.
///
/// # Errors
/// Why it is refused.
pub fn archive(path: &Path) -> Result<u64, Refusal> {
    crate::feeds::fuzz_archive(path)
}

/// What an API server answers about a token: its review, its pod, its node and our DaemonSet in `namespace`. Gives names and uids of
/// node and pod of whoever is let in.
///
/// # Errors
/// Why nobody is.
pub fn review(answers: [&[u8]; 4], namespace: &str) -> Result<[String; 4], Rejection> {
    crate::identity::fuzz_review(answers, namespace)
}

/// When a token ends by its own word, Unix milliseconds.
pub fn end(token: &str) -> Option<i64> {
    crate::identity::fuzz_end(token)
}

/// A page of a list of the API server's, or a line of a watch.
pub fn followed(content: &[u8]) {
    crate::cluster::fuzzing::followed(content);
}

/// A kubeconfig, as the collector is given one.
pub fn kubeconfig(text: &str) -> bool {
    kube::config::Kubeconfig::from_yaml(text).is_ok()
}
