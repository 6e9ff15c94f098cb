//! Findings: one row a check unless asked for more; the deciding value stands in the row.

use std::collections::BTreeSet;

use askama::Template;
use holdfast_checks::entries::{Severity, Verdict};

use super::pages::{Ask, Rendered};
use super::{marks, words};
use crate::http::Failure;
use crate::store::views::{Extent, Filter, FindingRow, Group, GroupRow, NodeState, Page, Problem, Sort, Views};

/// A filter that is set, and the list without it.
pub(super) struct Chip {
    pub(super) text: String,
    pub(super) without: String,
    pub(super) clear: String,
}

struct Grouped {
    row: GroupRow,
    area: String,
    href: String,
    findings: Filter,
    nodes: Option<Filter>,
    unknown: Filter,
}

struct Heading {
    name: &'static str,
    href: String,
    /// The value of `aria-sort` when this column orders the table.
    order: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "findings.html")]
struct Findings {
    now: i64,
    problems: Vec<Problem>,
    filter: Filter,
    chips: Vec<Chip>,
    extent: Extent,
    nodes: Option<Filter>,
    checks: Filter,
    unfiltered: i64,
    groups: Vec<Grouped>,
    grouped: bool,
    by_node: bool,
    page: Page<FindingRow>,
    rows: Vec<(FindingRow, String)>,
    next: Option<String>,
    regroup: Vec<(&'static str, String, bool)>,
    headings: Vec<Heading>,
    exports: [(String, &'static str); 2],
    areas: BTreeSet<String>,
    failing: bool,
    silent: (i64, Filter),
    unknown: (i64, Filter),
    /// What the same filter would show of expected findings.
    expected: (i64, Filter),
}

/// Without a verdict in the query the list is about what fails and is not expected to; `verdict=any` asks for all.
pub(super) fn with_default_verdict(filter: Filter) -> Filter {
    if !filter.verdict.is_empty() || filter.any_verdict {
        return filter;
    }
    // What is expected is asked for by name.
    let open = filter.waiver.is_empty().then_some(false);
    Filter { verdict: vec![Verdict::Fail], expected: filter.expected.or(open), ..filter }
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh"]);
    let filter = with_default_verdict(filter);
    let selection = ask.select(&filter);
    let extent = views.extent(&selection).await?;
    let by = filter.group.unwrap_or(Group::Check);
    let grouped = by != Group::None;
    let (groups, page) = if grouped {
        (views.groups(&selection, by).await?, Page { rows: Vec::new(), total: extent.findings, offset: 0, next: None })
    } else {
        (Vec::new(), views.findings(&selection).await?)
    };
    let countable = filter.q.is_none();
    let group = |row: GroupRow| {
        let inside = filter.with(|filter| {
            if by == Group::Node {
                filter.cluster = vec![row.cluster.clone()];
                filter.node = vec![row.node.clone()];
            } else {
                filter.check = vec![row.check.clone()];
            }
        });
        let mut unknown = Views::unknown_on(&row.check);
        unknown.cluster.clone_from(&inside.cluster);
        unknown.node.clone_from(&inside.node);
        Grouped {
            area: views.catalogue().get(&row.check).map_or_else(|| "custom".to_owned(), |check| check.area.clone()),
            href: if by == Group::Node {
                super::nodes::href(&row.cluster, &row.node)
            } else {
                format!("/checks/{}", crate::store::views::encode(&row.check))
            },
            nodes: countable.then(|| inside.with(|filter| filter.group = None)),
            findings: inside.with(|filter| filter.group = Some(Group::None)),
            unknown,
            row,
        }
    };
    let regroup = [Group::Check, Group::Node, Group::None];
    let unknown = filter.with(|filter| {
        filter.verdict = vec![Verdict::Unknown];
        filter.state = NodeState::CURRENT.to_vec();
    });
    let expected = filter.with(|filter| filter.expected = Some(true));
    let silent = Filter { cluster: filter.cluster.clone(), state: vec![NodeState::Silent], ..Filter::default() };
    let findings = Findings {
        now: ask.now,
        problems,
        chips: chips("/findings", &filter),
        nodes: countable.then(|| filter.with(|filter| filter.group = None)),
        checks: filter.with(|filter| filter.group = None),
        unfiltered: views.count_findings(&ask.select(&Filter::default())).await?,
        groups: groups.into_iter().map(group).collect(),
        grouped,
        by_node: by == Group::Node,
        rows: page.rows.iter().map(|row| (row.clone(), super::nodes::href(&row.cluster, &row.node))).collect(),
        next: page.next.as_ref().map(|after| filter.with(|filter| filter.after = Some(after.clone())).link("/findings")),
        regroup: regroup
            .map(|group| (group.name(), filter.with(|filter| filter.group = Some(group)).link("/findings"), group == by))
            .to_vec(),
        headings: headings(&filter),
        exports: exports("/findings", &filter),
        areas: views.catalogue().checks().iter().map(|check| check.area.clone()).collect(),
        failing: filter.verdict == [Verdict::Fail],
        silent: (views.count_nodes(&ask.select(&silent)).await?, silent),
        unknown: (views.count_findings(&ask.select(&unknown)).await?, unknown),
        expected: if filter.expected == Some(false) {
            (views.count_findings(&ask.select(&expected)).await?, expected)
        } else {
            (0, expected)
        },
        extent,
        filter,
        page,
    };
    let word = if findings.failing { "failing" } else { "results" };
    Rendered::new(format!("{} {word} · Findings", marks::number(extent.findings)), &findings)
}

/// The sortable columns of the ungrouped list.
fn headings(filter: &Filter) -> Vec<Heading> {
    let by = filter.sort.unwrap_or(Sort::Severity);
    let columns = [("Severity", Some(Sort::Severity)), ("Check", Some(Sort::Check)), ("Node", Some(Sort::Node)), ("Subject", None)];
    let more = [("Deciding value", None), ("Changed", Some(Sort::Changed)), ("Confirmed", None)];
    let heading = |(name, sort): (&'static str, Option<Sort>)| Heading {
        name,
        href: sort.map(|sort| filter.with(|filter| filter.sort = Some(sort)).link("/findings")).unwrap_or_default(),
        order: (sort == Some(by)).then_some(if matches!(by, Sort::Severity | Sort::Changed) { "descending" } else { "ascending" }),
    };
    columns.into_iter().chain(more).map(heading).collect()
}

/// The same rows as files.
pub(super) fn exports(path: &str, filter: &Filter) -> [(String, &'static str); 2] {
    let whole = filter.with(|filter| filter.limit = None);
    [(whole.link(&format!("{path}.csv")), "CSV"), (whole.link(&format!("{path}.json")), "JSON")]
}

/// What removing a chip does.
type Change = fn(&mut Filter);

/// One chip a filter that restricts rows.
pub(super) fn chips(path: &str, filter: &Filter) -> Vec<Chip> {
    let clear = if path == "/findings" { "/findings?verdict=any".to_owned() } else { path.to_owned() };
    let mut chips = Vec::new();
    let mut chip = |text: String, change: fn(&mut Filter)| {
        chips.push(Chip { text, without: filter.with(change).link(path), clear: clear.clone() });
    };
    let lists: [(&str, &Vec<String>, Change); 9] = [
        ("cluster", &filter.cluster, |filter| filter.cluster.clear()),
        ("node", &filter.node, |filter| filter.node.clear()),
        ("check", &filter.check, |filter| filter.check.clear()),
        ("area", &filter.area, |filter| filter.area.clear()),
        ("framework", &filter.framework, |filter| filter.framework.clear()),
        ("row", &filter.row, |filter| filter.row.clear()),
        ("reason", &filter.reason, |filter| filter.reason.clear()),
        ("subject", &filter.subject, |filter| filter.subject.clear()),
        ("deciding value", &filter.deciding, |filter| filter.deciding.clear()),
    ];
    for (name, values, change) in lists {
        if !values.is_empty() {
            chip(format!("{name}: {}", values.join(", ")), change);
        }
    }
    if !filter.verdict.is_empty() {
        chip(format!("verdict: {}", filter.verdict.iter().map(|verdict| verdict.name()).collect::<Vec<_>>().join(", ")), |filter| {
            filter.verdict.clear();
            filter.any_verdict = true;
        });
    }
    if !filter.severity.is_empty() {
        let names = filter.severity.iter().map(|severity| severity.name()).collect::<Vec<_>>().join(", ");
        chip(format!("severity: {names}"), |filter| filter.severity.clear());
    }
    if !filter.kernel.is_empty() {
        let names = filter.kernel.iter().map(|headline| words::headline(*headline).2).collect::<Vec<_>>().join(", ");
        chip(format!("kernel: {names}"), |filter| filter.kernel.clear());
    }
    if !filter.state.is_empty() {
        let names = filter.state.iter().map(|state| state.name()).collect::<Vec<_>>().join(", ");
        chip(format!("node state: {names}"), |filter| filter.state.clear());
    }
    if !filter.waiver.is_empty() {
        chip(format!("expectation: {}", filter.waiver.join(", ")), |filter| filter.waiver.clear());
    }
    if let Some(expected) = filter.expected {
        // Without a verdict the list would leave out what is expected again.
        chip(format!("expected: {}", if expected { "yes" } else { "no" }), |filter| {
            filter.expected = None;
            filter.any_verdict = filter.verdict.is_empty();
        });
    }
    if let Some(since) = &filter.since {
        chip(format!("changed since: {}", since.text), |filter| filter.since = None);
    }
    if let Some(q) = &filter.q {
        chip(format!("text: {q}"), |filter| filter.q = None);
    }
    chips
}

impl Findings {
    fn has_severity(&self, severity: Severity) -> bool {
        self.filter.severity == [severity]
    }

    fn has_verdict(&self, verdict: Verdict) -> bool {
        self.filter.verdict == [verdict]
    }

    /// Filters the form has no field for, carried along.
    fn hidden(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let lists = [
            ("cluster", &filter.cluster),
            ("node", &filter.node),
            ("check", &filter.check),
            ("framework", &filter.framework),
            ("row", &filter.row),
            ("subject", &filter.subject),
            ("reason", &filter.reason),
            ("deciding", &filter.deciding),
            ("waiver", &filter.waiver),
        ];
        let expected = filter.expected.map(|expected| ("expected", if expected { "yes" } else { "no" }.to_owned()));
        let listed = lists.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone())));
        let states = filter.state.iter().map(|state| ("state", state.name().to_owned()));
        let since = filter.since.iter().map(|since| ("since", since.text.clone()));
        let kernel = filter.kernel.iter().map(|headline| ("kernel", headline.name().to_owned()));
        let group = filter.group.iter().map(|group| ("group", group.name().to_owned()));
        let sort = filter.sort.iter().map(|sort| ("sort", sort.name().to_owned()));
        listed.chain(expected).chain(states).chain(kernel).chain(since).chain(group).chain(sort).collect()
    }

    fn has_area(&self, area: &str) -> bool {
        self.filter.area == [area]
    }
}
