//! The JSON API under `/api/v1`: the dashboard's queries, for programs.
//!
//! Every answer says as of when it is true and how many rows match. Errors are `{error_code, message, request_id}`. Must not
//! know SQL or HTML.

mod alerts;
mod chain;
mod checks;
mod containers;
mod expectations;
mod exposure;
mod findings;
mod kubelets;
mod nodes;
mod policy;
mod root;
mod system;

use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use utoipa::OpenApi;

use crate::http::{Failure, Json, Shared, pairs};
use crate::store::views::Filter;

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Holdfast", description = "What Holdfast knows about the nodes of a fleet. Unknown is never pass.", version = "1"),
    paths(
        nodes::list,
        nodes::one,
        kubelets::list,
        containers::list,
        containers::runtimes,
        system::one,
        findings::list,
        findings::one,
        checks::list,
        checks::one,
        alerts::list,
        exposure::list,
        root::list,
        chain::list,
        chain::one,
        chain::feeds,
        expectations::list,
        policy::list
    ),
    components(schemas(crate::http::ErrorBody))
)]
struct Description;

/// Every operation, below `/api/v1`.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{cluster}/{name}", get(nodes::one))
        .route("/nodes/{cluster}/{name}/kubelets", get(kubelets::list))
        .route("/nodes/{cluster}/{name}/containers", get(containers::list))
        .route("/nodes/{cluster}/{name}/runtimes", get(containers::runtimes))
        .route("/nodes/{cluster}/{name}/system", get(system::one))
        .route("/nodes/{cluster}/{name}/chain", get(chain::one))
        .route("/chain", get(chain::list))
        .route("/feeds", get(chain::feeds))
        .route("/findings", get(findings::list))
        .route("/findings/{id}", get(findings::one))
        .route("/checks", get(checks::list))
        .route("/checks/{id}", get(checks::one))
        .route("/alerts", get(alerts::list))
        .route("/exposure", get(exposure::list))
        .route("/root-processes", get(root::list))
        .route("/expectations", get(expectations::list))
        .route("/policy", get(policy::list))
        .fallback(missing)
}

async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

async fn missing() -> Failure {
    Failure::NotFound("there is no such operation: see /api/v1/openapi.json".to_owned())
}

/// The filter of a request. What is not understood is refused.
fn filter(uri: &Uri) -> Result<Filter, Failure> {
    let (filter, problems) = Filter::read(&pairs(uri), &[]);
    Failure::refuse(&problems)?;
    Ok(filter)
}

/// The parameters every list takes.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the OpenAPI derive only: requests go through the typed filter")]
struct FilterParameters {
    /// Cluster name; repeat for any of several.
    cluster: Option<String>,
    /// Node name; repeat for any of several.
    node: Option<String>,
    /// Check ids, comma separated.
    check: Option<String>,
    /// Areas of checks, comma separated: `/api/v1/checks` has them.
    area: Option<String>,
    /// Frameworks, comma separated: cis-1.12, nsa-1.2.
    framework: Option<String>,
    /// A row of a framework; repeat for any of several.
    row: Option<String>,
    /// Severities, comma separated: critical, high, medium, low, info.
    severity: Option<String>,
    /// Verdicts, comma separated: pass, fail, unknown, manual, `not_applicable`; or any.
    verdict: Option<String>,
    /// Reason classes, comma separated.
    reason: Option<String>,
    /// A subject; repeat for any of several.
    subject: Option<String>,
    /// A deciding value as shown; repeat for any of several.
    deciding: Option<String>,
    /// `yes`: only what fails as expected; `no`: without it. Default: both.
    expected: Option<String>,
    /// An expectation's id; repeat for any of several.
    waiver: Option<String>,
    /// Only nodes whose kernel stands so, comma separated: `known_exploited`, `end_of_life`, `reboot_pending`, `patch_behind`, unknown,
    /// supported.
    kernel: Option<String>,
    /// Node states, comma separated: current, `last_known`, reporting, recorded, silent, stopped, unwatched, gone. Default: all but gone.
    state: Option<String>,
    /// Changed since: 1h, 24h, 7d, or an RFC 3339 time.
    since: Option<String>,
    /// Text in check, title, subject, node or deciding value.
    q: Option<String>,
    /// Grouping; `none` gives single rows where a page would group.
    group: Option<String>,
    /// Order: severity, changed, node, check.
    sort: Option<String>,
    /// Position after which the page starts, from `next`.
    after: Option<String>,
    /// Rows of a page, 1 to 200.
    limit: Option<i64>,
}
