//! Root processes over the fleet.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use crate::http::{ErrorBody, Failure, Json, Shared, pairs};
use crate::store::views::{At, Place, RootFilter, RootGroup, RootGroupRow, RootRow, RootTotals, Unread};

/// Who runs as root.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RootProcessList {
    /// True as of.
    #[schema(value_type = String, format = DateTime)]
    as_of: At,
    /// Where the rows run.
    place: Place,
    /// How many containers match; with `place=process`, programs outside containers.
    total: i64,
    /// By how much root.
    totals: RootTotals,
    /// What the numbers do not cover.
    unread: Unread,
    /// What `groups` are of; `none`: there are `containers` instead.
    group: RootGroup,
    /// Contradictions first, then most host root, then most unknown.
    groups: Vec<RootGroupRow>,
    /// Contradictions first, then host root, then unknown.
    containers: Vec<RootRow>,
    /// `after` of the next page; absent on the last.
    next: Option<String>,
}

/// The parameters of root processes.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the OpenAPI derive only: requests go through the typed filter")]
pub(super) struct RootParameters {
    /// `pod` (default): containers in pods; `outside`: containers of no pod; `process`: programs in no container.
    place: Option<String>,
    /// `image` (default; of processes their program), `namespace` or `none`: one row a container.
    group: Option<String>,
    /// Namespace; `-` for those not known; repeat for any of several.
    namespace: Option<String>,
    /// Image or program; `-` for those not known; repeat for any of several.
    image: Option<String>,
    /// How much root, comma separated: host, unknown, `user_namespace`, none.
    root: Option<String>,
    /// `true`: only those configured for another user that are root all the same.
    contradicts: Option<bool>,
    /// Cluster name; repeat for any of several.
    cluster: Option<String>,
    /// Node name; repeat for any of several.
    node: Option<String>,
    /// Node states, comma separated: current, `last_known`, reporting, recorded, silent, stopped, unwatched, gone. Default: all but gone.
    state: Option<String>,
    /// Text in image, subject, program or node.
    q: Option<String>,
    /// Position after which the page starts, from `next`.
    after: Option<String>,
    /// Rows of a page, 1 to 200.
    limit: Option<i64>,
}

/// Containers by what their processes are: the host's root, root only in a user namespace, no root, not known. Sandboxes are left out.
#[utoipa::path(get, path = "/api/v1/root-processes", params(RootParameters),
    responses((status = 200, body = RootProcessList), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(site): State<Shared>, uri: Uri) -> Result<Json<RootProcessList>, Failure> {
    let now = site.now();
    let (filter, problems) = RootFilter::read(&pairs(&uri), &[]);
    Failure::refuse(&problems)?;
    let (totals, _) = site.views.root_totals(&filter, now).await?;
    let (place, group, total) = (filter.place, filter.group, totals.containers.all());
    let unread = site.views.root_unread(&filter, now).await?;
    let (groups, containers, next) = if group == RootGroup::None {
        let page = site.views.root_list(&filter, total, now).await?;
        (Vec::new(), page.rows, page.next)
    } else {
        let page = site.views.root_groups(&filter, now).await?;
        (page.rows, Vec::new(), page.next)
    };
    Ok(Json(RootProcessList { as_of: At(now), place, total, totals, unread, group, groups, containers, next }))
}
