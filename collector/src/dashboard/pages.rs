//! From a path to a page: one table, used by requests and by the event stream.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};

use super::frame::{self, Frame};
use super::{about, alerts, checks, coverage, expectations, exposure, finding, findings, fleet, kernels, knowledge, node, nodes, root};
use crate::http::{Failure, Shared, Site, decode, pairs};
use crate::store::views::{Filter, Problem, Selection};

/// What a page is asked.
pub(super) struct Ask<'a> {
    pub(super) site: &'a Site,
    /// Unix milliseconds, the same for the whole page.
    pub(super) now: i64,
    pub(super) pairs: Vec<(String, String)>,
}

impl Ask<'_> {
    /// The filter in the query; keys in `also` are the page's own.
    pub(super) fn filter(&self, also: &[&str]) -> (Filter, Vec<Problem>) {
        Filter::read(&self.pairs, also)
    }

    /// The value of one of the page's own keys; empty when absent.
    pub(super) fn own(&self, key: &str) -> &str {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn select(&self, filter: &Filter) -> Selection {
        self.site.views.select(filter, self.now)
    }
}

/// A page's own part.
pub(super) struct Rendered {
    /// For `<title>`: the count first.
    pub(super) title: String,
    /// The content of `<main>`.
    pub(super) main: String,
    /// Gone and missing things have their own status.
    pub(super) status: StatusCode,
}

impl Rendered {
    pub(super) fn new(title: impl Into<String>, template: &impl askama::Template) -> Result<Self, Failure> {
        Ok(Self { title: title.into(), main: template.render()?, status: StatusCode::OK })
    }
}

/// Renders the page at `path`.
pub(super) async fn render(site: &Site, path: &str, pairs: Vec<(String, String)>) -> Result<Rendered, Failure> {
    let ask = Ask { site, now: site.now(), pairs };
    let segments: Vec<String> = path.trim_start_matches('/').split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [""] => fleet::page(&ask).await,
        ["nodes"] => nodes::page(&ask).await,
        ["nodes", cluster, name] => node::page(&ask, cluster, name).await,
        ["findings"] => findings::page(&ask).await,
        ["findings", id] => finding::page(&ask, id).await,
        ["checks"] => checks::list(&ask).await,
        ["checks", id] => checks::page(&ask, id).await,
        ["alerts"] => alerts::list(&ask).await,
        ["alerts", fingerprint] => alerts::page(&ask, fingerprint).await,
        ["exposure"] => exposure::page(&ask).await,
        ["kernels"] => kernels::page(&ask).await,
        ["kernels", component, running] => kernels::release(&ask, component, running).await,
        ["feeds"] => knowledge::feeds(&ask),
        ["expectations"] => expectations::page(&ask).await,
        ["root-processes"] => root::page(&ask).await,
        ["coverage"] => coverage::page(&ask).await,
        ["changes"] => coverage::changes(&ask).await,
        ["help", "words"] => about::words(&ask),
        ["about"] => about::page(&ask).await,
        _ => Err(Failure::NotFound("There is no such page.".to_owned())),
    }
}

/// Answers a request for a page.
pub(super) async fn serve(State(site): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let page = render(&site, path, pairs(&uri)).await;
    let (page, refresh) = match page {
        Ok(page) => (page, refresh(&pairs(&uri))),
        Err(failure) => match frame::failed(&failure) {
            Ok(page) => (page, 0),
            Err(failure) => return failure.into_response(),
        },
    };
    let status = page.status;
    match Frame::new(&site, path, &query, &headers, refresh).await.and_then(|frame| frame.around(page)) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// Seconds after which a reader without script asked to reload; 0: never.
fn refresh(pairs: &[(String, String)]) -> i64 {
    let wanted = pairs.iter().find(|(key, _)| key == "refresh").and_then(|(_, value)| value.parse::<i64>().ok());
    wanted.filter(|seconds| (10..=3600).contains(seconds)).unwrap_or(0)
}
