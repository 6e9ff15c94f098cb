//! Logs: where they go, and how an error is written with everything that led to it.

use std::error::Error;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise. Of an API server that does not answer, `cluster` tells once; kube would at every try.
const DEFAULT: &str = "info,kube_client=off,kube_runtime=off";

/// Text for a person, JSON for a machine, always to stderr; `RUST_LOG` filters.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = if std::io::stderr().is_terminal() { log.try_init() } else { log.json().flatten_event(true).try_init() };
    if set.is_err() {
        tracing::debug!("logging was set up before");
    }
}

/// An error as a log field: the formatter follows its sources.
pub(crate) fn cause<E: Error + 'static>(error: &E) -> &(dyn Error + 'static) {
    error
}
