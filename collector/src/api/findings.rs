//! Findings.

use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use super::{FilterParameters, filter};
use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, FindingDetail, FindingRow, TransitionRow};

/// One page of findings.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct FindingList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// All findings that match.
    total: i64,
    /// Nodes they are on.
    nodes: i64,
    /// Checks they are of.
    checks: i64,
    /// `after` of the next page; absent on the last.
    next: Option<String>,
    /// In the order asked for; always total.
    findings: Vec<FindingRow>,
}

/// One finding with what explains it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct FindingAnswer {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The finding with its evidence.
    finding: FindingDetail,
    /// Why it matters; absent when the check is not in the collector's catalogue.
    why: Option<String>,
    /// What to do; absent when the check is not in the collector's catalogue.
    fix: Option<String>,
    /// The latest changes, newest first.
    history: Vec<TransitionRow>,
}

/// Findings of every verdict that match; nothing is restricted unless asked.
#[utoipa::path(get, path = "/api/v1/findings", params(FilterParameters),
    responses((status = 200, body = FindingList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<FindingList>, Failure> {
    let now = site.now();
    let selection = site.views.select(&filter(&uri)?, now);
    let extent = site.views.extent(&selection).await?;
    let page = site.views.findings(&selection).await?;
    let (nodes, checks) = (extent.nodes, extent.checks);
    Ok(Json(FindingList { as_of: At(now), total: page.total, nodes, checks, next: page.next, findings: page.rows }))
}

/// One finding: verdict, evidence, why, fix, history.
#[utoipa::path(get, path = "/api/v1/findings/{id}", params(("id" = String, Path, description = "Finding id")),
    responses((status = 200, body = FindingAnswer), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(State(site): State<Shared>, Path(id): Path<String>) -> Result<Json<FindingAnswer>, Failure> {
    let finding = site.views.finding(&id).await?;
    let finding = finding.ok_or_else(|| Failure::NotFound(format!("no finding `{id}`: it may have gone with its subject")))?;
    let history = site.views.finding_history(&finding).await?;
    let check = site.views.catalogue().get(&finding.row.check);
    let (why, fix) = (check.map(|check| check.why.trim().to_owned()), check.map(|check| check.fix.trim().to_owned()));
    Ok(Json(FindingAnswer { as_of: At(site.now()), finding, why, fix, history }))
}
