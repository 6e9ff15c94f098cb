//! A finding: verdict, times, why, what to do, evidence, history, in this order.

use askama::Template;
use axum::http::StatusCode;
use holdfast_checks::catalogue::{Check, Judge};
use holdfast_checks::entries::Verdict;

use super::pages::{Ask, Rendered};
use super::{marks, words};
use crate::http::Failure;
use crate::store::views::{Filter, FindingDetail, Group, NodeState, TransitionRow};

#[derive(Template)]
#[template(path = "finding.html")]
struct FindingPage {
    now: i64,
    finding: FindingDetail,
    node_href: String,
    check_href: String,
    others: (i64, Filter),
    why: String,
    fix: String,
    question: String,
    known: bool,
    frameworks: Vec<(String, Vec<(String, String)>)>,
    history: Vec<TransitionRow>,
    catalogue_hash: String,
}

pub(super) async fn page(ask: &Ask<'_>, id: &str) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let Some(finding) = views.finding(id).await? else {
        let text = "This finding is not present any more, or never was. A port that closed or a pod that went takes its findings along; \
                    the node's timeline keeps what happened.";
        return Err(Failure::NotFound(text.to_owned()));
    };
    let row = &finding.row;
    let same = Filter {
        check: vec![row.check.clone()],
        verdict: vec![row.verdict],
        state: NodeState::CURRENT.to_vec(),
        group: Some(Group::None),
        ..Filter::default()
    };
    let check = views.catalogue().get(&row.check);
    let page = FindingPage {
        now: ask.now,
        node_href: super::nodes::href(&row.cluster, &row.node),
        check_href: format!("/checks/{}", crate::store::views::encode(&row.check)),
        others: (views.count_findings(&ask.select(&same)).await?, same),
        why: check.map_or_else(String::new, |check| check.why.trim().to_owned()),
        fix: check.map_or_else(String::new, |check| check.fix.trim().to_owned()),
        question: match check.map(|check| &check.judge) {
            Some(Judge::Manual(question)) => question.clone(),
            _ => String::new(),
        },
        known: check.is_some(),
        frameworks: check.map(frameworks).unwrap_or_default(),
        history: views.finding_history(&finding).await?,
        catalogue_hash: views.catalogue().hash().to_string(),
        finding,
    };
    let title = format!("{} · {} on {}", words::verdict(page.finding.row.verdict).2, page.finding.row.title, page.finding.row.node);
    let mut rendered = Rendered::new(title, &page)?;
    if page.finding.row.node_state == NodeState::Gone {
        rendered.status = StatusCode::GONE;
    }
    Ok(rendered)
}

/// Framework name and its rows, each with a link to the checks that answer it.
pub(super) fn frameworks(check: &Check) -> Vec<(String, Vec<(String, String)>)> {
    let rows = |framework: &String, rows: &Vec<String>| {
        let link = |row: &String| {
            let filter = Filter { framework: vec![framework.clone()], row: vec![row.clone()], ..Filter::default() };
            (row.clone(), filter.link("/checks"))
        };
        (words::framework(framework).to_owned(), rows.iter().map(link).collect())
    };
    check.frameworks.iter().map(|(framework, found)| rows(framework, found)).collect()
}

impl FindingPage {
    fn is(&self, verdict: Verdict) -> bool {
        self.finding.row.verdict == verdict
    }
}
