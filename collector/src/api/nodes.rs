//! Nodes.

use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use super::{FilterParameters, filter};
use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::policy::PolicyShown;
use crate::store::views::{At, NodeDelivery, NodeRow, TransitionRow};

/// One page of nodes.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct NodeList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// All nodes that match.
    total: i64,
    /// `after` of the next page; absent on the last.
    next: Option<String>,
    /// Silent first, then the worst.
    nodes: Vec<NodeRow>,
}

/// One node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct NodeDetail {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The node.
    node: NodeRow,
    /// The policy it is to hold, and how it stands to it.
    policy: PolicyShown,
    /// How delivery from it goes.
    delivery: NodeDelivery,
    /// Entries of a kind this collector does not know: kept, and not shown.
    opaque_entries: i64,
    /// The latest changes, newest first.
    history: Vec<TransitionRow>,
}

/// Nodes, silent first, then the worst. Restrictions on results select nodes that have at least one such result.
#[utoipa::path(get, path = "/api/v1/nodes", params(FilterParameters),
    responses((status = 200, body = NodeList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<NodeList>, Failure> {
    let now = site.now();
    let page = site.views.nodes(&site.views.select(&filter(&uri)?, now)).await?;
    Ok(Json(NodeList { as_of: At(now), total: page.total, next: page.next, nodes: page.rows }))
}

/// One node, how its delivery goes, and its latest changes.
#[utoipa::path(get, path = "/api/v1/nodes/{cluster}/{name}",
    params(("cluster" = String, Path, description = "Cluster"), ("name" = String, Path, description = "Node name")),
    responses((status = 200, body = NodeDetail), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(State(site): State<Shared>, Path((cluster, name)): Path<(String, String)>) -> Result<Json<NodeDetail>, Failure> {
    let node = site.views.node(&cluster, &name).await?;
    let node = node.ok_or_else(|| Failure::NotFound(format!("no node `{name}` in cluster `{cluster}`")))?;
    let (delivery, history) = (site.views.delivery(&node).await?, site.views.node_history(&node).await?);
    let policy = PolicyShown::of(&site.app.policies.policies(), &node.cluster, site.views.node_policy(&node).await?);
    let opaque_entries = site.views.opaque_entries(&node).await?;
    Ok(Json(NodeDetail { as_of: At(site.now()), node, policy, delivery, opaque_entries, history }))
}
