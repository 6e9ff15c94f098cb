//! What this collector is, and what the words mean.

use askama::Template;
use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::versions::Headline;
use jiff::tz::TimeZone;

use super::marks;
use super::pages::{Ask, Rendered};
use crate::http::Failure;
use crate::store::retention::Retention;
use crate::store::views::{At, NodeState, NodeTotals, Root};

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
    /// The day of the newest lifecycle data; empty when it cannot be read.
    knowledge: String,
    knowledge_age: i64,
    /// Feeds over the snapshot of this build.
    imported: i64,
    kept: Retention,
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let site = ask.site;
    let knowledge = Some(site.app.library.borrow().knowledge.as_of());
    let today = jiff::Timestamp::from_millisecond(ask.now).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date();
    let page = About {
        version: env!("CARGO_PKG_VERSION"),
        catalogue_hash: site.views.catalogue().hash().to_string(),
        checks: i64::try_from(site.views.catalogue().checks().len()).unwrap_or(i64::MAX),
        started: At(site.started),
        now: ask.now,
        public_url: site.app.public_url.clone().unwrap_or_default(),
        totals: site.views.node_totals(site.started).await?,
        last_change: site.views.last_change().await?,
        knowledge_age: knowledge.and_then(|day| today.since(day).ok()).map_or(0, |span| i64::from(span.get_days())),
        knowledge: knowledge.map(|day| day.strftime("%-d %b %Y").to_string()).unwrap_or_default(),
        imported: i64::try_from(site.app.library.borrow().feeds.len()).unwrap_or(i64::MAX),
        kept: Retention::default(),
    };
    Rendered::new("About", &page)
}

/// Milliseconds as days.
fn days(millis: impl marks::Plain<i64>) -> String {
    marks::counted(millis.plain() / 86_400_000, "day", "days")
}

#[derive(Template)]
#[template(path = "words.html")]
struct Words;

pub(super) fn words(_: &Ask<'_>) -> Result<Rendered, Failure> {
    Rendered::new("Words", &Words)
}
