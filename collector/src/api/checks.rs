//! Checks of the catalogue with what they found.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Uri;
use holdfast_checks::catalogue::{Check, Judge, JudgedBy};
use holdfast_checks::entries::{Severity, Verdict};
use serde::Serialize;

use super::{FilterParameters, filter};
use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, Filter, NodeState, Tally};

/// Results of a check on nodes whose results count.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Counts {
    pass: i64,
    fail: i64,
    unknown: i64,
    manual: i64,
    not_applicable: i64,
    /// Applicable results of nodes that do not report.
    last_known: i64,
}

/// One check.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CheckRow {
    id: String,
    title: String,
    #[schema(value_type = String)]
    severity: Severity,
    area: String,
    /// `node` or `collector`.
    judged_by: &'static str,
    why: String,
    fix: String,
    /// The expression that is true on a pass; absent when a person answers.
    pass: Option<String>,
    /// The question a person answers.
    manual: Option<String>,
    frameworks: BTreeMap<String, Vec<String>>,
    counts: Counts,
}

/// Checks.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CheckList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// How many.
    total: i64,
    /// Hash of the catalogue.
    catalogue_hash: String,
    /// By id.
    checks: Vec<CheckRow>,
}

/// The checks of the catalogue in `area`, `framework` and `row`, with counts of results in the rest of the filter.
#[utoipa::path(get, path = "/api/v1/checks", params(FilterParameters),
    responses((status = 200, body = CheckList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<CheckList>, Failure> {
    let filter = filter(&uri)?;
    let any = |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == value);
    let named = |name: &String, rows: &Vec<String>| any(&filter.framework, name) && rows.iter().any(|row| any(&filter.row, row));
    let wanted = |check: &&Check| {
        any(&filter.check, check.id.as_str())
            && any(&filter.area, &check.area)
            && (filter.severity.is_empty() || filter.severity.contains(&check.severity))
            && (filter.framework.is_empty() && filter.row.is_empty() || check.frameworks.iter().any(|(name, rows)| named(name, rows)))
    };
    let mut tallies = site.views.tallies(&site.views.select(&scope(&filter), site.now())).await?;
    let mut row_of = |check: &Check| row(check, &tallies.remove(check.id.as_str()).unwrap_or_default());
    let checks: Vec<CheckRow> = site.views.catalogue().checks().iter().filter(wanted).map(&mut row_of).collect();
    let total = i64::try_from(checks.len()).unwrap_or(i64::MAX);
    Ok(Json(CheckList { as_of: At(site.now()), total, catalogue_hash: site.views.catalogue().hash().to_string(), checks }))
}

/// One check of the catalogue.
#[utoipa::path(get, path = "/api/v1/checks/{id}", params(("id" = String, Path, description = "Check id")),
    responses((status = 200, body = CheckRow), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(State(site): State<Shared>, Path(id): Path<String>) -> Result<Json<CheckRow>, Failure> {
    let check = site.views.catalogue().get(&id).ok_or_else(|| Failure::NotFound(format!("no check `{id}` in the catalogue")))?;
    let only = Filter { check: vec![id.clone()], ..Filter::default() };
    Ok(Json(row(check, &site.views.tally(&site.views.select(&only, site.now())).await?)))
}

/// The nodes whose results are counted.
fn scope(filter: &Filter) -> Filter {
    Filter { cluster: filter.cluster.clone(), node: filter.node.clone(), state: filter.state.clone(), ..Filter::default() }
}

fn row(check: &Check, tally: &Tally) -> CheckRow {
    let (pass, manual) = match &check.judge {
        Judge::Pass(expression) => (Some(expression.source.clone()), None),
        Judge::Manual(question) => (None, Some(question.clone())),
    };
    CheckRow {
        id: check.id.to_string(),
        title: check.title.clone(),
        severity: check.severity,
        area: check.area.clone(),
        judged_by: match check.judged_by {
            JudgedBy::Node => "node",
            JudgedBy::Collector => "collector",
        },
        why: check.why.trim().to_owned(),
        fix: check.fix.trim().to_owned(),
        pass,
        manual,
        frameworks: check.frameworks.clone(),
        counts: counts(tally),
    }
}

fn counts(tally: &Tally) -> Counts {
    Counts {
        pass: tally.current(Verdict::Pass),
        fail: tally.current(Verdict::Fail),
        unknown: tally.current(Verdict::Unknown),
        manual: tally.current(Verdict::Manual),
        not_applicable: tally.count(|state: NodeState, verdict, _| state.current() && verdict == Verdict::NotApplicable),
        last_known: tally.last_known(),
    }
}
