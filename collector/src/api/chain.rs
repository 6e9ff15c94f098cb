//! The patch chain: over the fleet, of a node, and the data that verdicts rest on.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use crate::feeds::{FeedStatus, Refused};
use crate::http::{ErrorBody, Failure, Json, Shared, pairs};
use crate::store::views::{
    At, ChainFilter, ChainGroup, ChainGroupRow, ChainLink, ChainRow, ChainSummaryRow, ChainTotals, Filter, NodeState, Unjudged,
};

/// What runs and how it stands.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ChainList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The newest day that data on versions was true on.
    knowledge_as_of: String,
    /// How many nodes match.
    total: i64,
    /// Nodes, links, and how sure the numbers are.
    totals: ChainTotals,
    /// Every component on the same choice of nodes.
    summary: Vec<ChainSummaryRow>,
    /// What the numbers do not cover.
    unjudged: Unjudged,
    /// What `groups` are of; `none`: there are `links` instead.
    group: ChainGroup,
    /// The worst first, then those on most nodes.
    groups: Vec<ChainGroupRow>,
    /// The worst first.
    links: Vec<ChainRow>,
    /// `after` of the next page; absent on the last.
    next: Option<String>,
}

/// The parameters of the patch chain.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the OpenAPI derive only: requests go through the typed filter")]
pub(super) struct ChainParameters {
    /// `kernel` (default), os, containerd, runc, cri-o, docker, kubelet or another component; `any` for all.
    component: Option<String>,
    /// The system, `debian 12`; `-` for those not known; repeat for any of several.
    image: Option<String>,
    /// Release of the node's kernel, whatever the component; repeat for any of several.
    kernel: Option<String>,
    /// What runs; `-` for those not known; repeat for any of several.
    running: Option<String>,
    /// Verdicts, comma separated: `known_exploited`, `end_of_life`, `reboot_pending`, `patch_behind`, unknown, supported.
    headline: Option<String>,
    /// A row of lifecycle data, `debian 12`; repeat for any of several.
    judged_by: Option<String>,
    /// The last day of support, `2028-06-30`; repeat for any of several.
    ends: Option<String>,
    /// Days behind, comma separated: 0, 1-7, 8-30, 31-60, 61-90, 91-180, 181-, unknown.
    behind: Option<String>,
    /// `yes`: only where something installed waits.
    waiting: Option<String>,
    /// `yes`: only where something may affect it, which is not certain.
    possible: Option<String>,
    /// `running` (default): one row for what runs alike; `none`: one row a link of a node.
    group: Option<String>,
    /// Cluster name; repeat for any of several.
    cluster: Option<String>,
    /// Node name; repeat for any of several.
    node: Option<String>,
    /// Node states, comma separated: current, `last_known`, reporting, recorded, silent, stopped, unwatched, gone. Default: all but gone.
    state: Option<String>,
    /// Text in version, image, fix, subject or node.
    q: Option<String>,
    /// Position after which the page starts, from `next`.
    after: Option<String>,
    /// Rows of a page, 1 to 200.
    limit: Option<i64>,
}

/// What runs on nodes and how it stands, by version or node by node: the worst first.
#[utoipa::path(get, path = "/api/v1/chain", params(ChainParameters),
    responses((status = 200, body = ChainList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<ChainList>, Failure> {
    let (now, views) = (site.now(), &site.views);
    let (filter, problems) = ChainFilter::read(&pairs(&uri), &[]);
    Failure::refuse(&problems)?;
    let totals = views.chain_totals(&filter, now).await?;
    let nodes = Filter {
        cluster: filter.nodes.cluster.clone(),
        node: filter.nodes.node.clone(),
        state: filter.nodes.state.clone(),
        ..Filter::default()
    };
    let (groups, links, next) = if filter.group == ChainGroup::None {
        let page = views.chain_list(&filter, totals.links, now).await?;
        (Vec::new(), page.rows, page.next)
    } else {
        let groups = views.chain_groups(&filter, now).await?;
        let page = views.chain_page(&groups, &filter, now).await?;
        (page.rows, Vec::new(), page.next)
    };
    let knowledge_as_of = site.app.library.borrow().knowledge.as_of().to_string();
    Ok(Json(ChainList {
        as_of: At(now),
        knowledge_as_of,
        total: totals.nodes,
        totals,
        summary: views.chain_summary(&nodes, now).await?,
        unjudged: views.chain_unjudged(&filter, now).await?,
        group: filter.group,
        groups,
        links,
        next,
    }))
}

/// The patch chain of a node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct NodeChain {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The node's state. What silent and stopped nodes said is last known.
    node_state: NodeState,
    /// The newest day that data on versions was true on.
    knowledge_as_of: String,
    /// System, kernel, container runtimes, Kubernetes.
    chain: Vec<ChainLink>,
}

/// Every link of a node's patch chain with all it rests on: facts, the compared pair, records, days of the data.
#[utoipa::path(get, path = "/api/v1/nodes/{cluster}/{name}/chain",
    params(("cluster" = String, Path, description = "Cluster"), ("name" = String, Path, description = "Node name")),
    responses((status = 200, body = NodeChain), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(State(site): State<Shared>, Path((cluster, name)): Path<(String, String)>) -> Result<Json<NodeChain>, Failure> {
    let node = site.views.node(&cluster, &name).await?;
    let node = node.ok_or_else(|| Failure::NotFound(format!("no node `{name}` in cluster `{cluster}`")))?;
    let chain = site.views.node_chain(&node).await?;
    let knowledge_as_of = site.app.library.borrow().knowledge.as_of().to_string();
    Ok(Json(NodeChain { as_of: At(site.now()), node_state: node.state, knowledge_as_of, chain }))
}

/// What verdicts on versions rest on.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct FeedList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// The newest day that data on versions was true on.
    knowledge_as_of: String,
    /// The day of the snapshot this build ships.
    built_in_as_of: String,
    /// How many feeds were imported.
    total: i64,
    /// Imported feeds, by name.
    feeds: Vec<Feed>,
    /// Files that were refused and not accepted since, the newest first. What was known before stays.
    refused: Vec<RefusedFile>,
}

/// An imported feed.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Feed {
    /// `osv/Debian`, `kev`, …
    name: String,
    /// The file it came from.
    file: String,
    /// SHA-256 of that file, hexadecimal.
    sha256: String,
    /// The day it was true on.
    as_of: String,
    /// When it was imported.
    #[schema(value_type = String, format = DateTime)]
    imported_at: At,
    /// Records that are kept.
    records: u64,
    /// Records that were left out, by reason.
    ignored: BTreeMap<String, u64>,
}

/// A file that was refused.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RefusedFile {
    /// The file.
    file: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: At,
    /// What is wrong with it, and where.
    reason: String,
}

impl From<FeedStatus> for Feed {
    fn from(feed: FeedStatus) -> Self {
        let FeedStatus { name, file, sha256, as_of, imported_at, records, ignored, .. } = feed;
        Self { name, file, sha256, as_of, imported_at: At(imported_at), records, ignored }
    }
}

/// Feeds that were imported over the snapshot of this build, their ages, and the files that were refused.
#[utoipa::path(get, path = "/api/v1/feeds", responses((status = 200, body = FeedList), (status = 503, body = ErrorBody)))]
pub(super) async fn feeds(State(site): State<Shared>) -> Json<FeedList> {
    let library = site.app.library.borrow().clone();
    let refused = |file: &Refused| RefusedFile { file: file.file.clone(), at: At(file.at), reason: file.reason.clone() };
    Json(FeedList {
        as_of: At(site.now()),
        knowledge_as_of: library.knowledge.as_of().to_string(),
        built_in_as_of: library.knowledge.feeds().first().map_or_else(String::new, |feed| feed.as_of.to_string()),
        total: i64::try_from(library.feeds.len()).unwrap_or(i64::MAX),
        feeds: library.feeds.iter().cloned().map(Feed::from).collect(),
        refused: library.refused.iter().map(refused).collect(),
    })
}
