//! Built-in expectations.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use super::{FilterParameters, filter};
use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, Expectation};

/// What is known to fail and accepted.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ExpectationList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// How many there are.
    total: i64,
    /// In the order of the list that ships.
    expectations: Vec<Expectation>,
}

/// Every built-in expectation with how many findings it covers now; `cluster`, `node` and `state` restrict what is counted.
#[utoipa::path(get, path = "/api/v1/expectations", params(FilterParameters),
    responses((status = 200, body = ExpectationList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<ExpectationList>, Failure> {
    let now = site.now();
    let expectations = site.views.expectations(&site.views.select(&filter(&uri)?, now)).await?;
    let total = i64::try_from(expectations.len()).unwrap_or(i64::MAX);
    Ok(Json(ExpectationList { as_of: At(now), total, expectations }))
}
