//! Kubelets of a node.

use axum::extract::{Path, State};
use serde::Serialize;

use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::store::views::{At, Kubelets, NodeState};

/// The kubelets of a node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct KubeletList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The node's state. What silent and stopped nodes said is last known.
    node_state: NodeState,
    /// What runs there.
    #[serde(flatten)]
    kubelets: Kubelets,
}

/// Every kubelet of a node with its settings: declared, in effect, observed, reported, and the verdicts that rest on each.
#[utoipa::path(get, path = "/api/v1/nodes/{cluster}/{name}/kubelets",
    params(("cluster" = String, Path, description = "Cluster"), ("name" = String, Path, description = "Node name")),
    responses((status = 200, body = KubeletList), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, Path((cluster, name)): Path<(String, String)>) -> Result<Json<KubeletList>, Failure> {
    let node = site.views.node(&cluster, &name).await?;
    let node = node.ok_or_else(|| Failure::NotFound(format!("no node `{name}` in cluster `{cluster}`")))?;
    let now = site.now();
    let kubelets = site.views.kubelets(&node, now).await?;
    Ok(Json(KubeletList { as_of: At(now), node_state: node.state, kubelets }))
}
