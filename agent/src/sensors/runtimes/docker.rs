//! The document of Docker: `daemon.json`.

use holdfast_checks::derive::last_argument;
use holdfast_checks::facts::DocumentRole;

use super::documents::{Documents, Format};

/// Read where no flag names another.
const MAIN: &str = "/etc/docker/daemon.json";

pub(super) fn read(documents: &mut Documents<'_>, argv: &[String]) {
    let path = last_argument(argv, &["--config-file"]).filter(|path| !path.is_empty()).unwrap_or(MAIN);
    documents.read(path, DocumentRole::Main, Format::Json, &[]);
}
