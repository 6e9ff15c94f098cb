//! The patch chain over the fleet: what runs, how it stands, on how many nodes, and what to do about it.

mod charts;
pub(super) mod link;
mod release;

use askama::Template;
use holdfast_checks::entries::Verdict;
use holdfast_checks::versions::Headline;

use super::charts::{Bars, Timeline};
use super::findings::Chip;
use super::knowledge::Known;
use super::pages::{Ask, Rendered};
use super::{marks, nodes, words};
use crate::http::Failure;
use crate::store::views::{
    ChainFilter, ChainGroup, ChainGroupRow, ChainRow, ChainSummaryRow, ChainTotals, Filter, NodeState, Page, Problem, Unjudged,
};

pub(super) use release::page as release;

/// Where the page is.
const PATH: &str = "/kernels";
/// Components that have a place of their own even where none was seen.
const COMPONENTS: [&str; 7] = ["kernel", "os", "containerd", "runc", "cri-o", "docker", "kubelet"];
/// The most groups of what is not confirmed.
const MOST_POSSIBLE: usize = 20;

/// A number and the list of exactly that many rows.
struct Count {
    n: i64,
    href: String,
}

struct Group {
    row: ChainGroupRow,
    nodes: Count,
    possible: Count,
}

struct Summary {
    row: ChainSummaryRow,
    nodes: Count,
    headlines: Vec<(Headline, Count)>,
    here: bool,
}

#[derive(Template)]
#[template(path = "kernels.html")]
struct Kernels {
    now: i64,
    problems: Vec<Problem>,
    known: Known,
    filter: ChainFilter,
    chips: Vec<Chip>,
    /// Has any node ever reported.
    fleet: bool,
    totals: ChainTotals,
    components: Vec<(String, String, bool)>,
    summary: Vec<Summary>,
    overview: Bars,
    unjudged: Unjudged,
    silent: (i64, Filter),
    grouped: bool,
    regroup: Vec<(&'static str, String, bool)>,
    groups: Page<()>,
    rows: Vec<Group>,
    singles: Vec<ChainRow>,
    possible: Vec<Group>,
    possible_all: Count,
    releases: Bars,
    lags: Bars,
    ends: Timeline,
    next: Option<String>,
    first: String,
    exports: [(String, &'static str); 2],
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ChainFilter::read(&ask.pairs, &["refresh"]);
    let nodes = Filter {
        cluster: filter.nodes.cluster.clone(),
        node: filter.nodes.node.clone(),
        state: filter.nodes.state.clone(),
        ..Filter::default()
    };
    let (totals, summary, groups, lags, ends) = tokio::try_join!(
        views.chain_totals(&filter, ask.now),
        views.chain_summary(&nodes, ask.now),
        views.chain_groups(&filter, ask.now),
        views.chain_lags(&filter, ask.now),
        views.chain_ends(&nodes, ask.now),
    )?;
    let grouped = filter.group != ChainGroup::None;
    let (page, rows, singles) = if grouped {
        let (frame, rows) = emptied(views.chain_page(&groups, &filter, ask.now).await?);
        (frame, rows, Vec::new())
    } else {
        let (frame, rows) = emptied(views.chain_list(&filter, totals.links, ask.now).await?);
        (frame, Vec::new(), rows)
    };
    let (possible, only_possible) = (possible(ask, &groups, &rows, &filter).await?, filter.with(|filter| filter.possible = true));
    let silent = Filter { state: NodeState::LAST_KNOWN.to_vec(), cluster: nodes.cluster.clone(), ..Filter::default() };
    let summary: Vec<Summary> = summary.into_iter().map(|row| summarised(row, &nodes, &filter)).collect();
    let view = Kernels {
        now: ask.now,
        problems,
        known: Known::of(ask.site, ask.now),
        chips: chips(&filter, &|filter| filter.link(PATH)),
        fleet: views.node_totals(ask.site.started).await?.all() > 0,
        totals,
        components: components(&summary, &nodes, &filter),
        overview: charts::overview(&summary),
        summary,
        unjudged: views.chain_unjudged(&filter, ask.now).await?,
        silent: (views.count_nodes(&ask.select(&silent)).await?, silent),
        grouped,
        regroup: ChainGroup::ALL
            .map(|group| (group_word(group), filter.with(|filter| filter.group = group).link(PATH), group == filter.group))
            .into(),
        next: page.next.as_ref().map(|after| filter.with(|filter| filter.nodes.after = Some(after.clone())).link(PATH)),
        first: filter.with(|_| ()).link(PATH),
        groups: page,
        rows: rows.into_iter().map(|row| group(row, &filter)).collect(),
        singles,
        possible,
        possible_all: Count { n: totals.possible, href: only_possible.with(|filter| filter.group = ChainGroup::default()).link(PATH) },
        releases: charts::releases(&groups, &filter),
        lags: charts::lags(lags, &filter),
        ends: charts::ends(ends, &nodes, ask.now),
        exports: exports(&filter),
        filter,
    };
    let title = if view.fleet {
        format!("{} · Patch chain", marks::counted(view.totals.nodes, "node", "nodes"))
    } else {
        "Patch chain".to_owned()
    };
    Rendered::new(title, &view)
}

/// The groups where something is not confirmed; what `explained` already tells is not read again.
async fn possible(
    ask: &Ask<'_>,
    groups: &[ChainGroupRow],
    explained: &[ChainGroupRow],
    filter: &ChainFilter,
) -> Result<Vec<Group>, Failure> {
    let same = |a: &ChainGroupRow, b: &ChainGroupRow| {
        (a.headline, &a.component, &a.running, &a.image) == (b.headline, &b.component, &b.running, &b.image)
    };
    let doubtful = groups.iter().filter(|row| row.possible_nodes > 0).take(MOST_POSSIBLE);
    let (mut told, mut untold) = (Vec::new(), Vec::new());
    for row in doubtful {
        match explained.iter().find(|known| same(known, row)) {
            Some(known) => told.push(known.clone()),
            None => untold.push(row.clone()),
        }
    }
    ask.site.views.explain(&mut untold, filter, ask.now).await?;
    Ok(told.into_iter().chain(untold).map(|row| group(row, filter)).collect())
}

/// A page's frame without its rows, and the rows.
fn emptied<T>(page: Page<T>) -> (Page<()>, Vec<T>) {
    let rows = page.rows.iter().map(|_| ()).collect();
    (Page { rows, total: page.total, offset: page.offset, next: page.next }, page.rows)
}

/// The nodes of one group: the version's page with that image and headline.
fn inside(row: &ChainGroupRow, filter: &ChainFilter) -> ChainFilter {
    filter.with(|inside| {
        inside.image = vec![row.image.clone().unwrap_or_else(|| crate::store::views::NOT_KNOWN.to_owned())];
        inside.headline = vec![row.headline];
    })
}

fn group(row: ChainGroupRow, filter: &ChainFilter) -> Group {
    let inside = inside(&row, filter);
    let running = row.running.clone().unwrap_or_default();
    let nodes = Count { n: row.nodes, href: inside.link_to(&row.component, &running) };
    let possible = Count { n: row.possible_nodes, href: inside.with(|inside| inside.possible = true).link_to(&row.component, &running) };
    Group { row, nodes, possible }
}

fn summarised(row: ChainSummaryRow, nodes: &Filter, filter: &ChainFilter) -> Summary {
    let of = ChainFilter { nodes: nodes.clone(), component: Some(row.component.clone()), ..ChainFilter::default() };
    let headlines = row
        .headlines
        .iter()
        .map(|(headline, n)| (*headline, Count { n: *n, href: of.with(|of| of.headline = vec![*headline]).link(PATH) }));
    Summary {
        nodes: Count { n: row.nodes, href: of.link(PATH) },
        headlines: headlines.collect(),
        here: filter.component.as_ref() == Some(&row.component),
        row,
    }
}

/// Links to every component: address, word, is it the one shown.
fn components(summary: &[Summary], nodes: &Filter, filter: &ChainFilter) -> Vec<(String, String, bool)> {
    let seen = summary.iter().map(|row| row.row.component.clone()).filter(|name| !COMPONENTS.contains(&name.as_str()));
    let names = COMPONENTS.map(str::to_owned).into_iter().chain(seen).map(Some).chain([None]);
    let link = |component: Option<String>| {
        let word = component.as_deref().map_or("Everything", words::component).to_owned();
        let here = component == filter.component;
        (ChainFilter { nodes: nodes.clone(), component, ..ChainFilter::default() }.link(PATH), word, here)
    };
    names.map(link).collect()
}

fn group_word(group: ChainGroup) -> &'static str {
    match group {
        ChainGroup::Running => "version",
        ChainGroup::None => "none",
    }
}

/// The same rows as files.
fn exports(filter: &ChainFilter) -> [(String, &'static str); 2] {
    let whole = filter.with(|filter| (filter.nodes.limit, filter.group) = (None, ChainGroup::default()));
    [(whole.link("/kernels.csv"), "CSV"), (whole.link("/kernels.json"), "JSON")]
}

/// One chip a filter that restricts rows.
fn chips(filter: &ChainFilter, link: &dyn Fn(&ChainFilter) -> String) -> Vec<Chip> {
    type Change = fn(&mut ChainFilter);
    let mut chips = Vec::new();
    let clear = link(&ChainFilter { component: filter.component.clone(), group: filter.group, ..ChainFilter::default() });
    let mut chip = |text: String, change: Change| {
        chips.push(Chip { text, without: link(&filter.with(change)), clear: clear.clone() });
    };
    let shown = |values: &[String]| {
        values.iter().map(|value| if value == crate::store::views::NOT_KNOWN { "not known" } else { value }).collect::<Vec<_>>().join(", ")
    };
    let lists: [(&str, &Vec<String>, Change); 7] = [
        ("cluster", &filter.nodes.cluster, |filter| filter.nodes.cluster.clear()),
        ("node", &filter.nodes.node, |filter| filter.nodes.node.clear()),
        ("image", &filter.image, |filter| filter.image.clear()),
        ("kernel", &filter.kernel, |filter| filter.kernel.clear()),
        ("running", &filter.running, |filter| filter.running.clear()),
        ("judged by", &filter.judged_by, |filter| filter.judged_by.clear()),
        ("support ends", &filter.ends, |filter| filter.ends.clear()),
    ];
    for (name, values, change) in lists.into_iter().filter(|(_, values, _)| !values.is_empty()) {
        chip(format!("{name}: {}", shown(values)), change);
    }
    if !filter.nodes.state.is_empty() {
        let names = filter.nodes.state.iter().map(|state| state.name()).collect::<Vec<_>>().join(", ");
        chip(format!("node state: {names}"), |filter| filter.nodes.state.clear());
    }
    if !filter.headline.is_empty() {
        let names = filter.headline.iter().map(|headline| words::headline(*headline).2).collect::<Vec<_>>().join(", ");
        chip(format!("verdict: {names}"), |filter| filter.headline.clear());
    }
    if !filter.behind.is_empty() {
        let names = filter.behind.iter().map(|lag| charts::lag(*lag)).collect::<Vec<_>>().join(", ");
        chip(format!("days behind: {names}"), |filter| filter.behind.clear());
    }
    if filter.waiting {
        chip("something waits".to_owned(), |filter| filter.waiting = false);
    }
    if filter.possible {
        chip("not confirmed".to_owned(), |filter| filter.possible = false);
    }
    if let Some(q) = &filter.nodes.q {
        chip(format!("text: {q}"), |filter| filter.nodes.q = None);
    }
    chips
}

impl Kernels {
    fn any_component(&self) -> bool {
        self.filter.component.is_none()
    }

    fn has_headline(&self, headline: Headline) -> bool {
        self.filter.headline == [headline]
    }

    /// What several nodes are told, where they are told one thing.
    #[expect(clippy::unused_self, reason = "called from the template")]
    fn one(&self, told: &[String], nothing: &'static str) -> marks::Html {
        match told {
            [] => marks::Html::fixed(nothing),
            [only] => marks::prose(only),
            _ => marks::Html::fixed("several: see its page"),
        }
    }

    /// Filters the form has no field for, carried along.
    fn hidden(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let any = || "any".to_owned();
        let component = (*filter != ChainFilter { component: ChainFilter::default().component, ..filter.clone() })
            .then(|| ("component", filter.component.clone().unwrap_or_else(any)));
        let lists = [("running", &filter.running), ("judged_by", &filter.judged_by), ("ends", &filter.ends)];
        let listed = lists.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone())));
        let states = filter.nodes.state.iter().map(|state| ("state", state.name().to_owned()));
        let nodes = filter.nodes.node.iter().map(|node| ("node", node.clone()));
        let behind = filter.behind.iter().map(|lag| ("behind", lag.name().to_owned()));
        let flags = [("waiting", filter.waiting), ("possible", filter.possible)];
        let flags = flags.into_iter().filter(|(_, yes)| *yes).map(|(name, _)| (name, "yes".to_owned()));
        let group = (filter.group != ChainGroup::default()).then(|| ("group", filter.group.name().to_owned()));
        component.into_iter().chain(listed).chain(states).chain(nodes).chain(behind).chain(flags).chain(group).collect()
    }
}
