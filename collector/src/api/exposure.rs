//! Ports.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use super::{FilterParameters, filter};
use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, Exposed};

/// Ports by reach, number and owner.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ExposureList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// How many groups.
    total: i64,
    /// More is stored than one answer holds: narrow the filter.
    truncated: bool,
    /// Widest reach first.
    ports: Vec<Exposed>,
}

/// Ports that are declared or listen, by reach, number and owner; `cluster`, `node`, `state` and `q` restrict them.
#[utoipa::path(get, path = "/api/v1/exposure", params(FilterParameters),
    responses((status = 200, body = ExposureList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<ExposureList>, Failure> {
    let now = site.now();
    let exposure = site.views.exposure(&site.views.select(&filter(&uri)?, now)).await?;
    let total = i64::try_from(exposure.groups.len()).unwrap_or(i64::MAX);
    Ok(Json(ExposureList { as_of: At(now), total, truncated: exposure.truncated, ports: exposure.groups }))
}
