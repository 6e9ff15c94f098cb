//! `/livez`, `/readyz` and `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::{Failure, Shared};

/// The process answers.
pub(super) async fn livez() -> &'static str {
    "live\n"
}

/// The store answers and commits, and we are not stopping.
pub(super) async fn readyz(State(site): State<Shared>) -> impl IntoResponse {
    if site.app.cancel.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    if let Some(reason) = site.app.store.health().failing() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the store cannot commit: {reason}\n"));
    }
    match site.views.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => {
            // Logs the cause under a request id.
            Failure::from(error).body();
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer: see the collector's log\n".to_owned())
        }
    }
}

/// Prometheus's page.
pub(super) async fn metrics(State(site): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], (site.app.metrics)())
}
