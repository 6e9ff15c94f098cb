//! One version of one component: its nodes with what runs, what is installed and what starts next, and what the verdict rests on.

use askama::Template;
use holdfast_checks::entries::Verdict;

use super::super::findings::Chip;
use super::super::knowledge::Known;
use super::super::pages::{Ask, Rendered};
use super::super::{marks, nodes, words};
use super::emptied;
use super::link::Shown;
use crate::http::Failure;
use crate::store::views::{ChainFilter, ChainGroup, ChainRow, ChainTotals, ChainVariant, NOT_KNOWN, NodeState, Page, Problem};

/// Nodes that are alike, and the evidence as on one of them.
struct Variant {
    nodes: i64,
    on: (String, String),
    shown: Option<Shown>,
}

#[derive(Template)]
#[template(path = "release.html")]
struct Release {
    problems: Vec<Problem>,
    known: Known,
    component: String,
    running: String,
    chips: Vec<Chip>,
    totals: ChainTotals,
    variants: Vec<Variant>,
    /// Ways in which its nodes differ.
    ways: i64,
    page: Page<()>,
    singles: Vec<ChainRow>,
    back: String,
    next: Option<String>,
    first: String,
    exports: [(String, &'static str); 2],
}

pub(in super::super) async fn page(ask: &Ask<'_>, component: &str, running: &str) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (asked, problems) = ChainFilter::read(&ask.pairs, &["refresh"]);
    let filter =
        ChainFilter { component: Some(component.to_owned()), running: vec![running.to_owned()], group: ChainGroup::default(), ..asked };
    let totals = views.chain_totals(&filter, ask.now).await?;
    let (page, singles) = emptied(views.chain_list(&filter, totals.links, ask.now).await?);
    let (variants, ways) = views.chain_variants(&filter, ask.now).await?;
    let variant = |of: ChainVariant| Variant { nodes: of.nodes, on: of.on, shown: of.link.map(|link| Shown::new(link, ask.now)) };
    let shown = if running == NOT_KNOWN { "version not known" } else { running };
    let here = |filter: &ChainFilter| filter.link_to(component, running);
    let view = Release {
        problems,
        known: Known::of(ask.site, ask.now),
        component: words::component(component).to_owned(),
        running: shown.to_owned(),
        chips: super::chips(&filter.with(|filter| filter.running.clear()), &here),
        variants: variants.into_iter().map(variant).collect(),
        ways,
        back: ChainFilter { component: filter.component.clone(), ..ChainFilter::default() }.link(super::PATH),
        next: page.next.as_ref().map(|after| {
            let first = here(&filter);
            format!("{first}{}after={after}", if first.contains('?') { '&' } else { '?' })
        }),
        first: here(&filter),
        exports: super::exports(&filter),
        page,
        singles,
        totals,
    };
    Rendered::new(format!("{} · {} {}", marks::counted(view.totals.nodes, "node", "nodes"), view.component, view.running), &view)
}
