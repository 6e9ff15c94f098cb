//! Alerts.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use super::filter;
use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{AlertRow, At, Filter};

/// Alerts.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AlertList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// How many.
    total: i64,
    /// How many of them fire.
    firing: i64,
    /// Firing first, then the worst, then the latest.
    alerts: Vec<AlertRow>,
}

/// Alerts that fire or have resolved in the time that is kept.
#[utoipa::path(get, path = "/api/v1/alerts",
    responses((status = 200, body = AlertList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<AlertList>, Failure> {
    if filter(&uri)? != Filter::default() {
        return Err(Failure::Bad("alerts take no filter".to_owned()));
    }
    let alerts = site.views.alerts().await?;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let firing = count(alerts.iter().filter(|alert| alert.firing()).count());
    Ok(Json(AlertList { as_of: At(site.now()), total: count(alerts.len()), firing, alerts }))
}
