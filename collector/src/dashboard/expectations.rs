//! The built-in expectations: what is known to fail and accepted, why, and how much each covers now.

use askama::Template;

use super::marks;
use super::pages::{Ask, Rendered};
use crate::http::Failure;
use crate::store::views::{Expectation, Filter, Group, Problem};

struct Row {
    expectation: Expectation,
    findings: Filter,
    /// The checks it names, each with whether it is in the collector's catalogue.
    checks: Vec<(String, bool)>,
}

#[derive(Template)]
#[template(path = "expectations.html")]
struct Expectations {
    problems: Vec<Problem>,
    rows: Vec<Row>,
    covered: (i64, Filter),
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let (filter, problems) = ask.filter(&["refresh"]);
    let scope = Filter { cluster: filter.cluster.clone(), state: filter.state.clone(), ..Filter::default() };
    let list = ask.site.views.expectations(&ask.select(&scope)).await?;
    let all = list.iter().map(|expectation| expectation.findings).sum();
    let row = |expectation: Expectation| Row {
        findings: scope.with(|filter| {
            filter.waiver = vec![expectation.id.clone()];
            filter.any_verdict = true;
            filter.group = Some(Group::None);
        }),
        checks: expectation.checks.iter().map(|check| (check.clone(), ask.site.views.catalogue().get(check).is_some())).collect(),
        expectation,
    };
    let covered = scope.with(|filter| {
        filter.expected = Some(true);
        filter.any_verdict = true;
    });
    let page = Expectations { problems, rows: list.into_iter().map(row).collect(), covered: (all, covered) };
    Rendered::new(format!("{} expected · Expectations", marks::number(all)), &page)
}
