//! What agents are to hold, and how they stand to it.

use std::collections::BTreeSet;

use axum::extract::State;
use serde::Serialize;

use crate::http::{ErrorBody, Failure, Json, Shared};
use crate::policy::{PolicyShown, PoolShown, Standing, Standings};
use crate::store::views::At;

/// What agents are to hold.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PolicyList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The policy file; `null` without one: agents follow their own configuration.
    file: Option<String>,
    /// Why its present content is not used; the policies read before stay in force then.
    problem: Option<String>,
    /// When what holds was read; `null` without a file.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: At,
    /// How many clusters there are.
    total: usize,
    /// By cluster: those that have nodes, and those the file names.
    clusters: Vec<ClusterPolicy>,
}

/// What agents of a cluster are to hold.
#[derive(Serialize, utoipa::ToSchema)]
struct ClusterPolicy {
    /// The cluster.
    cluster: String,
    /// The hash of the policy; empty for none.
    hash: String,
    /// Seconds between full passes; `null`: as the agents' own configurations say.
    full_pass_seconds: Option<u32>,
    /// Checks that are not evaluated.
    disabled_checks: Vec<String>,
    /// Pools of nodes that try each other's ports; none: as the agents' own configurations say.
    peer_probe_pools: Vec<PoolShown>,
    /// How the cluster's nodes stand to it, without those that are gone.
    nodes: NodesByStanding,
}

/// Nodes by how they stand to the policy they are to hold.
#[derive(Serialize, utoipa::ToSchema)]
struct NodesByStanding {
    /// Hold it.
    applied: i64,
    /// Refused it and hold the one before.
    refused: i64,
    /// Were not told yet, or have not answered.
    pending: i64,
    /// Run an agent of a version without policies.
    unsupported: i64,
    /// Are to hold none and hold none.
    none: i64,
}

/// The policies agents are to hold, by cluster, with how many nodes hold them, refused them, or have still to answer.
#[utoipa::path(get, path = "/api/v1/policy", responses((status = 200, body = PolicyList), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>) -> Result<Json<PolicyList>, Failure> {
    let (policies, reload) = (site.app.policies.policies(), site.app.policies.reload());
    let standings = Standings::of(&policies, &site.views.policy_counts().await?);
    let clusters: BTreeSet<&str> = standings.clusters().chain(policies.clusters()).collect();
    let shown = |cluster: &str| {
        let PolicyShown { hash, full_pass_seconds, disabled_checks, peer_probe_pools, .. } = PolicyShown::unsaid(policies.of(cluster));
        let count = |standing| standings.count(cluster, standing);
        let nodes = NodesByStanding {
            applied: count(Standing::Applied),
            refused: count(Standing::Refused),
            pending: count(Standing::Pending),
            unsupported: count(Standing::Unsupported),
            none: count(Standing::None),
        };
        ClusterPolicy { cluster: cluster.to_owned(), hash, full_pass_seconds, disabled_checks, peer_probe_pools, nodes }
    };
    let clusters: Vec<ClusterPolicy> = clusters.into_iter().map(shown).collect();
    let (as_of, since) = (At(site.now()), At(reload.since));
    Ok(Json(PolicyList { as_of, file: reload.path, problem: reload.problem, since, total: clusters.len(), clusters }))
}
