//! Root processes over the fleet: by image, by namespace, one by one; in pods, outside pods, outside containers.

use askama::Template;
use holdfast_checks::entries::Verdict;

use super::findings::Chip;
use super::pages::{Ask, Rendered};
use super::{marks, words};
use crate::http::Failure;
use crate::store::views::{
    Filter, NOT_KNOWN, NodeState, Page, Place, Problem, Root, RootFilter, RootGroup, RootGroupRow, RootRow, RootTotals, Rooting, Unread,
};

/// Where the page is.
const PATH: &str = "/root-processes";

/// A number and the list of exactly that many rows.
struct Count {
    n: i64,
    href: String,
}

struct Group {
    row: RootGroupRow,
    /// By how much root, in the order of [`Root::ALL`].
    counts: Vec<(Root, Count)>,
    contradictions: Count,
}

struct Single {
    row: RootRow,
    node: String,
    findings: String,
}

struct Tab {
    word: &'static str,
    n: i64,
    href: String,
    here: bool,
}

#[derive(Template)]
#[template(path = "root.html")]
struct RootPage {
    now: i64,
    problems: Vec<Problem>,
    filter: RootFilter,
    chips: Vec<Chip>,
    tabs: Vec<Tab>,
    totals: RootTotals,
    counts: Vec<(Root, Count)>,
    contradictions: Count,
    unread: Unread,
    silent: (i64, Filter),
    regroup: Vec<(&'static str, String, bool)>,
    grouped: bool,
    groups: Page<()>,
    rows: Vec<Group>,
    singles: Vec<Single>,
    next: Option<String>,
    first: String,
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = RootFilter::read(&ask.pairs, &["refresh"]);
    let (totals, places) = views.root_totals(&filter, ask.now).await?;
    let grouped = filter.group != RootGroup::None;
    let all = totals.containers.all();
    let (page, rows, singles) = if grouped {
        let page = views.root_groups(&filter, ask.now).await?;
        let (emptied, rows) = emptied(page);
        (emptied, rows.into_iter().map(|row| group(row, &filter)).collect(), Vec::new())
    } else {
        let page = views.root_list(&filter, all, ask.now).await?;
        let (emptied, rows) = emptied(page);
        (emptied, Vec::new(), rows.into_iter().map(single).collect())
    };
    let silent = Filter { state: NodeState::LAST_KNOWN.to_vec(), cluster: filter.nodes.cluster.clone(), ..Filter::default() };
    let view = RootPage {
        now: ask.now,
        problems,
        chips: chips(&filter),
        tabs: places.into_iter().map(|(place, n)| tab(place, n, &filter)).collect(),
        counts: by_root(totals.containers, &filter),
        contradictions: count(totals.contradictions, &filter, |inside| inside.contradicts = true),
        unread: views.root_unread(&filter, ask.now).await?,
        silent: (views.count_nodes(&ask.select(&silent)).await?, silent),
        regroup: RootGroup::ALL.map(|group| (group_word(group, filter.place), regrouped(&filter, group), group == filter.group)).into(),
        grouped,
        next: page.next.as_ref().map(|after| filter.with(|filter| filter.nodes.after = Some(after.clone())).link(PATH)),
        first: filter.with(|_| ()).link(PATH),
        groups: page,
        rows,
        singles,
        totals,
        filter,
    };
    Rendered::new(format!("{} host root · Root processes", marks::number(totals.containers.host)), &view)
}

/// A page's frame without its rows, and the rows.
fn emptied<T>(page: Page<T>) -> (Page<()>, Vec<T>) {
    let rows = page.rows.iter().map(|_| ()).collect();
    (Page { rows, total: page.total, offset: page.offset, next: page.next }, page.rows)
}

/// A number and the ungrouped list behind it.
fn count(n: i64, filter: &RootFilter, change: impl FnOnce(&mut RootFilter)) -> Count {
    let inside = filter.with(|inside| {
        inside.group = RootGroup::None;
        change(inside);
    });
    Count { n, href: inside.link(PATH) }
}

/// Numbers by how much root, in the order of [`Root::ALL`]. One that the filter leaves out is no link: behind it are others.
fn by_root(of: Rooting, filter: &RootFilter) -> Vec<(Root, Count)> {
    let one = |root: Root| {
        if filter.root.is_empty() || filter.root.contains(&root) {
            count(of.of(root), filter, |inside| inside.root = vec![root])
        } else {
            Count { n: of.of(root), href: String::new() }
        }
    };
    Root::ALL.map(|root| (root, one(root))).into()
}

fn group(row: RootGroupRow, filter: &RootFilter) -> Group {
    let name = row.name.clone().unwrap_or_else(|| NOT_KNOWN.to_owned());
    let inside = filter.with(|inside| match filter.group {
        RootGroup::Namespace => inside.namespace = vec![name],
        RootGroup::Image | RootGroup::None => inside.image = vec![name],
    });
    Group {
        counts: by_root(row.containers, &inside),
        contradictions: count(row.contradictions, &inside, |inside| inside.contradicts = true),
        row,
    }
}

fn single(row: RootRow) -> Single {
    let node = super::nodes::href(&row.cluster, &row.node);
    let findings = Filter {
        cluster: vec![row.cluster.clone()],
        node: vec![row.node.clone()],
        subject: vec![row.subject.clone()],
        group: Some(crate::store::views::Group::None),
        any_verdict: true,
        ..Filter::default()
    };
    let tab = if row.place == Place::Process { "processes" } else { "containers" };
    Single { node: format!("{node}?tab={tab}"), findings: findings.link("/findings"), row }
}

fn tab(place: Place, n: i64, filter: &RootFilter) -> Tab {
    let word = match place {
        Place::Pod | Place::Sandbox => "Containers in pods",
        Place::Outside => "Containers outside pods",
        Place::Process => "Processes outside containers",
    };
    let nodes = Filter {
        cluster: filter.nodes.cluster.clone(),
        node: filter.nodes.node.clone(),
        state: filter.nodes.state.clone(),
        ..Filter::default()
    };
    let there = RootFilter {
        nodes,
        place,
        namespace: Vec::new(),
        image: Vec::new(),
        root: Vec::new(),
        contradicts: false,
        group: RootGroup::Image,
    };
    Tab { word, n, href: there.link(PATH), here: place == filter.place }
}

fn group_word(group: RootGroup, place: Place) -> &'static str {
    match group {
        RootGroup::Image if place == Place::Process => "program",
        RootGroup::Image => "image",
        RootGroup::Namespace => "namespace",
        RootGroup::None => "none",
    }
}

fn regrouped(filter: &RootFilter, group: RootGroup) -> String {
    filter.with(|filter| filter.group = group).link(PATH)
}

/// One chip a filter that restricts rows.
fn chips(filter: &RootFilter) -> Vec<Chip> {
    let mut chips = Vec::new();
    let clear = RootFilter {
        namespace: Vec::new(),
        image: Vec::new(),
        root: Vec::new(),
        contradicts: false,
        nodes: Filter::default(),
        ..filter.clone()
    };
    let mut chip = |text: String, change: fn(&mut RootFilter)| {
        chips.push(Chip { text, without: filter.with(change).link(PATH), clear: clear.link(PATH) });
    };
    let shown =
        |values: &[String]| values.iter().map(|value| if value == NOT_KNOWN { "not known" } else { value }).collect::<Vec<_>>().join(", ");
    if !filter.nodes.cluster.is_empty() {
        chip(format!("cluster: {}", filter.nodes.cluster.join(", ")), |filter| filter.nodes.cluster.clear());
    }
    if !filter.nodes.node.is_empty() {
        chip(format!("node: {}", filter.nodes.node.join(", ")), |filter| filter.nodes.node.clear());
    }
    if !filter.nodes.state.is_empty() {
        let names = filter.nodes.state.iter().map(|state| state.name()).collect::<Vec<_>>().join(", ");
        chip(format!("node state: {names}"), |filter| filter.nodes.state.clear());
    }
    if !filter.namespace.is_empty() {
        chip(format!("namespace: {}", shown(&filter.namespace)), |filter| filter.namespace.clear());
    }
    if !filter.image.is_empty() {
        chip(format!("{}: {}", group_word(RootGroup::Image, filter.place), shown(&filter.image)), |filter| filter.image.clear());
    }
    if !filter.root.is_empty() {
        let words = filter.root.iter().map(|root| words::root(*root).2).collect::<Vec<_>>().join(", ");
        chip(format!("root: {words}"), |filter| filter.root.clear());
    }
    if filter.contradicts {
        chip("configured for another user".to_owned(), |filter| filter.contradicts = false);
    }
    if let Some(q) = &filter.nodes.q {
        chip(format!("text: {q}"), |filter| filter.nodes.q = None);
    }
    chips
}

impl RootPage {
    /// What one row of the list is called.
    fn thing(&self, n: i64) -> &'static str {
        match (self.filter.place, n) {
            (Place::Process, 1) => "program",
            (Place::Process, _) => "programs",
            (_, 1) => "container",
            (_, _) => "containers",
        }
    }

    fn in_pods(&self) -> bool {
        self.filter.place == Place::Pod
    }

    fn processes(&self) -> bool {
        self.filter.place == Place::Process
    }

    fn group_word(&self) -> &'static str {
        match (self.filter.group, self.filter.place) {
            (RootGroup::Namespace, _) => "Namespace",
            (_, Place::Process) => "Program",
            (_, _) => "Image",
        }
    }

    fn has_root(&self, root: Root) -> bool {
        self.filter.root == [root]
    }

    /// Filters the form has no field for, carried along.
    fn hidden(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let place = (!self.in_pods()).then(|| ("place", filter.place.name().to_owned()));
        let group = (filter.group != RootGroup::Image).then(|| ("group", filter.group.name().to_owned()));
        let contradicts = filter.contradicts.then(|| ("contradicts", "true".to_owned()));
        let cluster = filter.nodes.cluster.iter().map(|value| ("cluster", value.clone()));
        let state = filter.nodes.state.iter().map(|state| ("state", state.name().to_owned()));
        place.into_iter().chain(group).chain(contradicts).chain(cluster).chain(state).collect()
    }
}
