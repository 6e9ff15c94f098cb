//! What went wrong with a request, split into what the reader did and what we did.

use std::any::Any;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::views::{Problem, ViewError};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The reader asked for something that cannot be asked.
    #[error("{0}")]
    Bad(String),
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// Not under this name.
    #[error("{0}")]
    Misdirected(&'static str),
    /// Our fault. The cause goes to the log, not to the reader.
    #[error("the store did not answer: try again, and look for the request id in the collector's log")]
    Internal(#[source] ViewError),
    /// Too many readers at once.
    #[error("{0}")]
    Busy(&'static str),
    /// Our fault: a page could not be written.
    #[error("the page could not be written: look for the request id in the collector's log")]
    Template(#[source] askama::Error),
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Cursor(bad) => Self::Bad(bad.to_string()),
            error @ ViewError::Store(_) => Self::Internal(error),
        }
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::Template(error)
    }
}

/// An error as the API gives it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorBody {
    /// For programs: `bad_request`, `not_found`, `misdirected`, `unavailable`, `internal`.
    pub(crate) error_code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// Stands in the collector's log beside the cause.
    pub(crate) request_id: String,
}

impl Failure {
    /// Refuses the first of `problems`, if there is one.
    pub(crate) fn refuse(problems: &[Problem]) -> Result<(), Self> {
        match problems {
            [] => Ok(()),
            [first, ..] => Err(Self::Bad(format!("`{}`: {}", first.key, first.problem))),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Internal(_) | Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the reader gets; what is our fault goes to the log with the same id.
    pub(crate) fn body(&self) -> ErrorBody {
        let mut bytes = [0; 8];
        // Without random bytes the id is all zeros: still an answer.
        getrandom::fill(&mut bytes).unwrap_or_default();
        let request_id = format!("{:016x}", u64::from_be_bytes(bytes));
        let error_code = match self {
            Self::Bad(_) => "bad_request",
            Self::NotFound(_) => "not_found",
            Self::Misdirected(_) => "misdirected",
            Self::Internal(_) | Self::Busy(_) => "unavailable",
            Self::Template(_) => "internal",
        };
        if self.status().is_server_error() {
            let cause = std::error::Error::source(self).map(chain).unwrap_or_default();
            tracing::error!(request_id, cause, "request failed");
        }
        ErrorBody { error_code, message: self.to_string(), request_id }
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status(), super::Json(self.body())).into_response()
    }
}

/// The answer of a handler that panicked. The process lives on.
#[expect(clippy::needless_pass_by_value, reason = "the signature CatchPanicLayer asks for")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request handler panicked");
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error: see the collector's log\n").into_response()
}
