//! What is not known, by reason; and what moved.

use askama::Template;
use holdfast_checks::entries::Verdict;

use super::pages::{Ask, Rendered};
use super::score::Score;
use super::{marks, words};
use crate::http::Failure;
use crate::store::views::{Filter, Group, NodeState, NodeTotals, Problem, ReasonRow, Since, TransitionRow};

struct Row {
    reason: ReasonRow,
    findings: Filter,
    nodes: Filter,
    checks: Filter,
}

#[derive(Template)]
#[template(path = "coverage.html")]
struct Coverage {
    problems: Vec<Problem>,
    score: Score,
    unknown: (i64, Filter),
    last_known: (i64, Filter),
    manual: (i64, Filter),
    silent: (i64, Filter),
    totals: NodeTotals,
    unwatched: Filter,
    rows: Vec<Row>,
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh"]);
    let base = Filter { state: Vec::new(), verdict: Vec::new(), group: None, ..filter };
    let current = base.with(|filter| filter.state = NodeState::CURRENT.to_vec());
    let of = |verdict: Verdict| current.with(|filter| filter.verdict = vec![verdict]);
    let tally = views.tally(&ask.select(&base)).await?;
    let totals = views.node_totals_of(&base.cluster, ask.site.started).await?;
    let last = base.with(|filter| {
        filter.state = NodeState::LAST_KNOWN.to_vec();
        filter.verdict = vec![Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::Manual];
    });
    let silent = Filter { cluster: base.cluster.clone(), state: NodeState::LAST_KNOWN.to_vec(), ..Filter::default() };
    let rows = views.by_reason(&ask.select(&current)).await?.into_iter().map(|reason| {
        let inside = of(Verdict::Unknown).with(|filter| filter.reason = vec![reason.reason.clone()]);
        Row { findings: inside.with(|filter| filter.group = Some(Group::None)), nodes: inside.clone(), checks: inside, reason }
    });
    let score = Score::new(&tally, totals.current(), totals.all());
    let page = Coverage {
        problems,
        unknown: (score.unknown, of(Verdict::Unknown)),
        last_known: (score.last_known, last),
        manual: (score.manual, of(Verdict::Manual)),
        silent: (views.count_nodes(&ask.select(&silent)).await?, silent),
        unwatched: Filter { cluster: base.cluster.clone(), state: vec![NodeState::Unwatched], ..Filter::default() },
        rows: rows.collect(),
        score,
        totals,
    };
    Rendered::new(format!("{} unknown · Coverage", marks::number(score.unknown)), &page)
}

#[derive(Template)]
#[template(path = "changes.html")]
struct Changes {
    problems: Vec<Problem>,
    since: String,
    history: Vec<TransitionRow>,
}

/// The latest changes of the fleet.
pub(super) async fn changes(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let (filter, problems) = ask.filter(&["refresh"]);
    let since = filter.since.or_else(|| Since::read("24h"));
    let bound = since.as_ref().map_or(0, |since| since.millis(ask.now));
    let history = ask.site.views.changes(bound).await?;
    Rendered::new("Changes", &Changes { problems, since: since.map(|since| since.text).unwrap_or_default(), history })
}
