//! What this collector is, and what the words mean.

use askama::Template;
use holdfast_checks::entries::{Severity, Verdict};

use super::marks;
use super::pages::{Ask, Rendered};
use crate::http::Failure;
use crate::store::views::{At, NodeState, NodeTotals};

#[derive(Template)]
#[template(path = "about.html")]
struct About {
    version: &'static str,
    catalogue_hash: String,
    checks: i64,
    started: At,
    now: i64,
    public_url: String,
    totals: NodeTotals,
    last_change: i64,
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let site = ask.site;
    let page = About {
        version: env!("CARGO_PKG_VERSION"),
        catalogue_hash: site.views.catalogue().hash().to_string(),
        checks: i64::try_from(site.views.catalogue().checks().len()).unwrap_or(i64::MAX),
        started: At(site.started),
        now: ask.now,
        public_url: site.app.public_url.clone().unwrap_or_default(),
        totals: site.views.node_totals(site.started).await?,
        last_change: site.views.last_change().await?,
    };
    Rendered::new("About", &page)
}

#[derive(Template)]
#[template(path = "words.html")]
struct Words;

pub(super) fn words(_: &Ask<'_>) -> Result<Rendered, Failure> {
    Rendered::new("Words", &Words)
}
