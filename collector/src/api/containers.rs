//! Containers and container runtimes of a node.

use axum::extract::{Path, State};
use serde::Serialize;

use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, Containers, NodeRow, NodeState, Runtimes};

/// The containers of a node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ContainerList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The node's state. What silent and stopped nodes said is last known.
    node_state: NodeState,
    /// What runs there.
    #[serde(flatten)]
    containers: Containers,
}

/// The container runtimes of a node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RuntimeList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The node's state. What silent and stopped nodes said is last known.
    node_state: NodeState,
    /// What runs there.
    #[serde(flatten)]
    runtimes: Runtimes,
}

async fn node(site: &Shared, cluster: &str, name: &str) -> Result<NodeRow, Failure> {
    let node = site.views.node(cluster, name).await?;
    node.ok_or_else(|| Failure::NotFound(format!("no node `{name}` in cluster `{cluster}`")))
}

/// Every container of a node with its privileges, what is not known of it, and the verdicts about it that fail or are unknown.
#[utoipa::path(get, path = "/api/v1/nodes/{cluster}/{name}/containers",
    params(("cluster" = String, Path, description = "Cluster"), ("name" = String, Path, description = "Node name")),
    responses((status = 200, body = ContainerList), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(
    State(site): State<Shared>,
    Path((cluster, name)): Path<(String, String)>,
) -> Result<Json<ContainerList>, Failure> {
    let node = node(&site, &cluster, &name).await?;
    let now = site.now();
    let containers = site.views.containers(&node, now).await?;
    Ok(Json(ContainerList { as_of: At(now), node_state: node.state, containers }))
}

/// Every container runtime of a node: version, handlers, registries, sockets, user namespaces, settings with their sources.
#[utoipa::path(get, path = "/api/v1/nodes/{cluster}/{name}/runtimes",
    params(("cluster" = String, Path, description = "Cluster"), ("name" = String, Path, description = "Node name")),
    responses((status = 200, body = RuntimeList), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn runtimes(
    State(site): State<Shared>,
    Path((cluster, name)): Path<(String, String)>,
) -> Result<Json<RuntimeList>, Failure> {
    let node = node(&site, &cluster, &name).await?;
    let now = site.now();
    let runtimes = site.views.runtimes(&node, now).await?;
    Ok(Json(RuntimeList { as_of: At(now), node_state: node.state, runtimes }))
}
