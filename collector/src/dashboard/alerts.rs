//! Alerts: what fires, since when, who was told.

use askama::Template;

use super::pages::{Ask, Rendered};
use super::{marks, nodes};
use crate::http::Failure;
use crate::store::views::{AlertRow, Delivery, Problem, encode};

struct Row {
    alert: AlertRow,
    href: String,
    /// The nodes it is about; empty when no list has exactly them.
    nodes: String,
    deliveries: Vec<Delivery>,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Alerts {
    now: i64,
    problems: Vec<Problem>,
    firing: i64,
    resolved: i64,
    rows: Vec<Row>,
    failing: Vec<String>,
}

pub(super) async fn list(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (_, problems) = ask.filter(&["refresh"]);
    let mut rows = Vec::new();
    for alert in views.alerts().await? {
        let deliveries = views.deliveries(&alert.fingerprint).await?;
        rows.push(Row { nodes: nodes_of(&alert), href: format!("/alerts/{}", encode(&alert.fingerprint)), alert, deliveries });
    }
    let firing = i64::try_from(rows.iter().filter(|row| row.alert.firing()).count()).unwrap_or(i64::MAX);
    let resolved = i64::try_from(rows.len()).unwrap_or(i64::MAX) - firing;
    let mut failing: Vec<String> =
        rows.iter().flat_map(|row| &row.deliveries).filter(|delivery| !delivery.ok).map(|delivery| delivery.receiver.clone()).collect();
    failing.sort();
    failing.dedup();
    let page = Alerts { now: ask.now, problems, firing, resolved, rows, failing };
    Rendered::new(format!("{} firing · Alerts", marks::number(firing)), &page)
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage {
    now: i64,
    alert: AlertRow,
    link: String,
    nodes: String,
    node_link: String,
    deliveries: Vec<Delivery>,
}

pub(super) async fn page(ask: &Ask<'_>, fingerprint: &str) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let Some(alert) = views.alert(fingerprint).await? else {
        return Err(Failure::NotFound("There is no such alert, or it resolved too long ago to be kept.".to_owned()));
    };
    let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
    let node_link = match (label("cluster"), label("node")) {
        (_, node) if node.is_empty() => String::new(),
        (cluster, node) => nodes::href(&cluster, &node),
    };
    let page = AlertPage {
        now: ask.now,
        link: local(&alert.link),
        nodes: nodes_of(&alert),
        node_link,
        deliveries: views.deliveries(fingerprint).await?,
        alert,
    };
    let word = if page.alert.firing() { "Firing" } else { "Resolved" };
    Rendered::new(format!("{word} · {}", page.alert.summary()), &page)
}

/// The list of the nodes an alert is about: those of the findings it links to.
fn nodes_of(alert: &AlertRow) -> String {
    let list = local(&alert.link);
    match list.strip_prefix("/findings?") {
        // What has ended is not in the lists any more.
        _ if !alert.firing() => String::new(),
        Some(query) => format!("/nodes?{query}"),
        None if list.starts_with("/nodes?") => list,
        None => String::new(),
    }
}

/// The path of a link into this dashboard; empty when it is none.
fn local(link: &str) -> String {
    let path = link.split_once("://").map_or(link, |(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
    if path.starts_with('/') && !path.starts_with("//") { path.to_owned() } else { String::new() }
}
