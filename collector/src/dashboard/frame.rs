//! What is around every page: navigation, the status bar that says how far the numbers can be trusted, theme.

use askama::Template;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;

use super::pages::Rendered;
use super::{marks, words};
use crate::http::{Failure, Site, icon, script, style};
use crate::store::views::{At, Filter, NodeState, NodeTotals, encode};

/// How long after start a node that was here before is still awaited rather than missing.
const WARM_UP_MILLIS: i64 = 120_000;

/// The pages in the navigation: first path segment, name.
const SECTIONS: [(&str, &str); 10] = [
    ("", "Fleet"),
    ("nodes", "Nodes"),
    ("findings", "Findings"),
    ("checks", "Checks"),
    ("kernels", "Patch chain"),
    ("exposure", "Exposure"),
    ("root-processes", "Root processes"),
    ("alerts", "Alerts"),
    ("changes", "Changes"),
    ("coverage", "Coverage"),
];

/// The line of honesty: connection, as-of time, nodes reporting.
#[derive(Template)]
#[template(path = "status.html")]
pub(super) struct StatusBar {
    as_of: At,
    totals: NodeTotals,
    silent: Filter,
    current: Filter,
    stopped: Filter,
    unwatched: Filter,
    warming: bool,
    /// Why nothing can be stored at present.
    failing: Option<String>,
    reload: String,
}

impl StatusBar {
    pub(super) async fn new(site: &Site, view: &str) -> Result<Self, Failure> {
        let now = site.now();
        let totals = site.views.node_totals(site.started).await?;
        let in_state = |states: &[NodeState]| Filter { state: states.to_vec(), ..Filter::default() };
        Ok(Self {
            as_of: At(now),
            totals,
            silent: in_state(&[NodeState::Silent]),
            current: in_state(&NodeState::REPORTED),
            stopped: in_state(&[NodeState::Stopped]),
            unwatched: in_state(&[NodeState::Unwatched]),
            warming: totals.awaited > 0 && now - site.started < WARM_UP_MILLIS,
            failing: site.app.store.health().failing(),
            reload: view.to_owned(),
        })
    }
}

#[derive(Template)]
#[template(path = "frame.html")]
pub(super) struct Frame {
    title: String,
    main: String,
    status: StatusBar,
    sections: Vec<Section>,
    firing: i64,
    theme: &'static str,
    view_encoded: String,
    seq: i64,
    refresh: i64,
    /// The same page, reloading itself.
    refreshing: String,
    style: &'static str,
    script: &'static str,
    icon: &'static str,
}

struct Section {
    href: String,
    name: &'static str,
    here: bool,
}

impl Frame {
    pub(super) async fn new(site: &Site, path: &str, query: &str, headers: &HeaderMap, refresh: i64) -> Result<Self, Failure> {
        let view = format!("{path}{query}");
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let section = |(segment, name): (&'static str, &'static str)| Section { href: format!("/{segment}"), name, here: first == segment };
        Ok(Self {
            title: String::new(),
            main: String::new(),
            status: StatusBar::new(site, &view).await?,
            sections: SECTIONS.into_iter().map(section).collect(),
            firing: site.views.firing().await?,
            theme: theme(headers),
            view_encoded: encode(&view),
            refreshing: format!("{view}{}refresh=60", if query.is_empty() { "?" } else { "&" }),
            seq: site.views.last_change().await?,
            refresh,
            style: style(),
            script: script(),
            icon: icon(),
        })
    }

    /// The whole document.
    pub(super) fn around(mut self, page: Rendered) -> Result<String, Failure> {
        self.title = marks::visible(&page.title);
        self.main = page.main;
        Ok(self.render()?)
    }
}

/// The theme the reader chose; empty: the system's.
fn theme(headers: &HeaderMap) -> &'static str {
    let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let chosen = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("holdfast-theme="));
    match chosen {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "",
    }
}

#[derive(Template)]
#[template(path = "failed.html")]
struct Failed {
    heading: &'static str,
    message: String,
    request_id: String,
    retry: bool,
}

/// The page that says what went wrong.
pub(super) fn failed(failure: &Failure) -> Result<Rendered, Failure> {
    let body = failure.body();
    let heading = match failure {
        Failure::Bad(_) => "That cannot be asked",
        Failure::NotFound(_) => "Not found",
        Failure::Misdirected(_) => "Not here",
        Failure::Internal(_) | Failure::Busy(_) | Failure::Template(_) => "No answer",
    };
    let retry = failure.status().is_server_error();
    let mut page = Rendered::new(heading, &Failed { heading, message: body.message, request_id: body.request_id, retry })?;
    page.status = failure.status();
    Ok(page)
}
