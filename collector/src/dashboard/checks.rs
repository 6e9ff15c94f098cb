//! Checks: the catalogue with what it found, and one check across the fleet by deciding value.

use askama::Template;
use holdfast_checks::catalogue::{Check, Judge, JudgedBy};
use holdfast_checks::entries::{Severity, Verdict};

use super::marks;
use super::pages::{Ask, Rendered};
use super::score::Score;
use crate::http::Failure;
use crate::store::views::{DecidingRow, Filter, Group, NodeState, Problem};

struct Row {
    id: String,
    title: String,
    severity: Severity,
    area: String,
    href: String,
    fail: (i64, Filter),
    unknown: (i64, Filter),
    pass: (i64, Filter),
}

#[derive(Template)]
#[template(path = "checks.html")]
struct Checks {
    problems: Vec<Problem>,
    chips: Vec<super::findings::Chip>,
    rows: Vec<Row>,
    total: i64,
}

fn href(check: &str) -> String {
    format!("/checks/{}", crate::store::views::encode(check))
}

fn of(check: &str, verdict: Verdict, base: &Filter) -> Filter {
    Filter {
        cluster: base.cluster.clone(),
        check: vec![check.to_owned()],
        verdict: vec![verdict],
        state: NodeState::CURRENT.to_vec(),
        group: Some(Group::None),
        ..Filter::default()
    }
}

pub(super) async fn list(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh"]);
    // Counts by check over the whole scope, then the rows the filter leaves.
    let scope = Filter { cluster: filter.cluster.clone(), state: NodeState::CURRENT.to_vec(), ..Filter::default() };
    let results = views.results(&ask.select(&scope)).await?;
    let count = |id: &str, verdict: Verdict| {
        results.iter().filter(|row| row.check == id && row.verdict == verdict).map(|row| row.findings).sum::<i64>()
    };
    let restricted = filter
        != Filter {
            cluster: filter.cluster.clone(),
            area: filter.area.clone(),
            framework: filter.framework.clone(),
            row: filter.row.clone(),
            ..Filter::default()
        };
    let found = views.results(&ask.select(&filter)).await?;
    let in_catalogue = |check: &&Check| {
        let area = filter.area.is_empty() || filter.area.contains(&check.area);
        let named = |framework: &String, rows: &Vec<String>| {
            (filter.framework.is_empty() || filter.framework.contains(framework))
                && (filter.row.is_empty() || rows.iter().any(|row| filter.row.contains(row)))
        };
        area && (filter.framework.is_empty() && filter.row.is_empty()
            || check.frameworks.iter().any(|(framework, rows)| named(framework, rows)))
    };
    let row = |id: &str, title: &str, severity: Severity, area: &str| Row {
        href: href(id),
        fail: (count(id, Verdict::Fail), of(id, Verdict::Fail, &scope)),
        unknown: (count(id, Verdict::Unknown), of(id, Verdict::Unknown, &scope)),
        pass: (count(id, Verdict::Pass), of(id, Verdict::Pass, &scope)),
        id: id.to_owned(),
        title: title.to_owned(),
        severity,
        area: area.to_owned(),
    };
    let listed = |id: &str| !restricted || found.iter().any(|row| row.check == id);
    let known = views.catalogue().checks().iter().filter(in_catalogue).filter(|check| listed(check.id.as_str()));
    let mut rows: Vec<Row> = known.map(|check| row(check.id.as_str(), &check.title, check.severity, &check.area)).collect();
    let mut custom: Vec<String> =
        found.iter().filter(|row| views.catalogue().get(&row.check).is_none()).map(|row| row.check.clone()).collect();
    custom.dedup();
    if !custom.is_empty() {
        // Only the findings themselves know what such a check is called.
        let titled = views.groups(&ask.select(&Filter { check: custom, ..Filter::default() }), Group::Check).await?;
        rows.extend(titled.iter().map(|group| row(&group.check, &group.title, group.severity, "custom")));
    }
    rows.sort_by(|a, b| (&a.area, &a.id).cmp(&(&b.area, &b.id)));
    let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let page = Checks { problems, chips: super::findings::chips("/checks", &filter), rows, total };
    Rendered::new(format!("{} · Checks", marks::number(total)), &page)
}

struct Deciding {
    row: DecidingRow,
    findings: Filter,
    nodes: Filter,
}

#[derive(Template)]
#[template(path = "check.html")]
struct CheckPage {
    id: String,
    title: String,
    severity: Severity,
    area: String,
    judged_by: &'static str,
    needs: String,
    why: String,
    fix: String,
    expression: String,
    subjects: String,
    applies: String,
    question: String,
    frameworks: Vec<(String, Vec<(String, String)>)>,
    known: bool,
    score: Score,
    counts: Vec<(Verdict, i64, Filter)>,
    last_known: (i64, Filter),
    expected: (i64, Filter),
    deciding: Vec<Deciding>,
}

pub(super) async fn page(ask: &Ask<'_>, id: &str) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let check = views.catalogue().get(id);
    let everywhere = Filter { check: vec![id.to_owned()], ..Filter::default() };
    // Only the findings themselves know what a check of another catalogue is called.
    let found = if check.is_some() { Vec::new() } else { views.groups(&ask.select(&everywhere), Group::Check).await? };
    if check.is_none() && found.is_empty() {
        return Err(Failure::NotFound(format!("No check called `{id}` is in the catalogue, and no node reported one.")));
    }
    let tally = views.tally(&ask.select(&everywhere)).await?;
    let totals = views.node_totals(ask.site.started).await?;
    let current = everywhere.with(|filter| filter.state = NodeState::CURRENT.to_vec());
    let deciding = views.by_deciding(&ask.select(&current)).await?.into_iter().map(|row| {
        let inside = current.with(|filter| {
            filter.verdict = vec![row.verdict];
            filter.deciding = if row.deciding.is_empty() { Vec::new() } else { vec![row.deciding.clone()] };
        });
        Deciding { row, findings: inside.with(|filter| filter.group = Some(Group::None)), nodes: inside }
    });
    let counts = Verdict::ALL.map(|verdict| (verdict, tally.current(verdict), of(id, verdict, &everywhere)));
    let last = everywhere.with(|filter| {
        filter.state = NodeState::LAST_KNOWN.to_vec();
        filter.verdict = vec![Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::Manual];
        filter.group = Some(Group::None);
    });
    let reported = found.first();
    let text = |of: fn(&Check) -> &str| check.map_or_else(String::new, |check| of(check).trim().to_owned());
    let page = CheckPage {
        id: id.to_owned(),
        title: check.map(|check| check.title.clone()).or_else(|| reported.map(|row| row.title.clone())).unwrap_or_default(),
        severity: check.map(|check| check.severity).or_else(|| reported.map(|row| row.severity)).unwrap_or(Severity::Info),
        area: check.map_or_else(|| "custom".to_owned(), |check| check.area.clone()),
        judged_by: match check.map(|check| check.judged_by) {
            Some(JudgedBy::Collector) => "the collector",
            Some(JudgedBy::Node) | None => "the agent",
        },
        needs: check.map_or_else(String::new, |check| {
            check.needs.iter().map(|tier| format!("{tier:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
        }),
        why: text(|check| &check.why),
        fix: text(|check| &check.fix),
        expression: match check.map(|check| &check.judge) {
            Some(Judge::Pass(expression)) => expression.source.clone(),
            _ => String::new(),
        },
        subjects: check.and_then(|check| check.subjects.as_ref()).map_or_else(String::new, |expression| expression.source.clone()),
        applies: check.and_then(|check| check.applies.as_ref()).map_or_else(String::new, |(expression, _)| expression.source.clone()),
        question: match check.map(|check| &check.judge) {
            Some(Judge::Manual(question)) => question.clone(),
            _ => String::new(),
        },
        frameworks: check.map(super::finding::frameworks).unwrap_or_default(),
        known: check.is_some(),
        score: Score::new(&tally, totals.current(), totals.all()),
        counts: counts.to_vec(),
        last_known: (tally.last_known(), last),
        expected: (tally.expected(), of(id, Verdict::Fail, &everywhere).with(|filter| filter.expected = Some(true))),
        deciding: deciding.collect(),
    };
    Rendered::new(format!("{} failing · {}", marks::number(tally.current(Verdict::Fail)), page.title), &page)
}
