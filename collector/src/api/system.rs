//! A node's host as a server.

use axum::extract::{Path, State};
use serde::Serialize;

use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, NodeState, System};

/// The host of a node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SystemDetail {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The node's state. What silent and stopped nodes said is last known.
    node_state: NodeState,
    /// What is known of it.
    #[serde(flatten)]
    system: System,
}

/// A node's disks, log shippers, journal, clock, updates and protection.
#[utoipa::path(get, path = "/api/v1/nodes/{cluster}/{name}/system",
    params(("cluster" = String, Path, description = "Cluster"), ("name" = String, Path, description = "Node name")),
    responses((status = 200, body = SystemDetail), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(State(site): State<Shared>, Path((cluster, name)): Path<(String, String)>) -> Result<Json<SystemDetail>, Failure> {
    let node = site.views.node(&cluster, &name).await?;
    let node = node.ok_or_else(|| Failure::NotFound(format!("no node `{name}` in cluster `{cluster}`")))?;
    let system = site.views.system(&node).await?;
    Ok(Json(SystemDetail { as_of: At(site.now()), node_state: node.state, system }))
}
