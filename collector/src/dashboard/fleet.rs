//! The fleet: what fails, what is not known, who reports, what to fix first.

use askama::Template;
use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::versions::Headline;

use super::marks;
use super::pages::{Ask, Rendered};
use super::score::Score;
use crate::http::Failure;
use crate::store::views::{At, ChainFilter, Filter, Group, GroupRow, NodeState, NodeTotals, Problem};

/// Rows of "Fix first".
const FIRST: usize = 10;

struct Line {
    severity: Severity,
    n: i64,
    filter: Filter,
}

struct First {
    row: GroupRow,
    fix: String,
    findings: Filter,
    nodes: Filter,
    unknown: Filter,
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct Fleet {
    now: i64,
    /// Why the API server does not answer, and since when.
    away: Option<(String, At)>,
    problems: Vec<Problem>,
    clusters: Vec<String>,
    cluster: String,
    totals: NodeTotals,
    score: Score,
    fail: Vec<Line>,
    unknown: Vec<Line>,
    reporting: Filter,
    recorded: Filter,
    silent: Filter,
    stopped: Filter,
    unwatched: Filter,
    failing: (i64, Filter),
    expected: (i64, Filter),
    not_known: (i64, Filter),
    pass: (i64, Filter),
    manual: (i64, Filter),
    last_known: (i64, Filter),
    new_fail: (i64, Filter),
    new_unknown: (i64, Filter),
    contradictions: (i64, Filter),
    /// Nodes by what stands so in their patch chain; a node can be in several.
    chain: Vec<(Headline, i64, String)>,
    /// Nodes of which nothing is judged there.
    unjudged: i64,
    /// Is anything critical or high failing.
    severe: bool,
    first: Vec<First>,
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh"]);
    let base = Filter { cluster: filter.cluster.clone(), ..Filter::default() };
    let current = base.with(|filter| filter.state = NodeState::CURRENT.to_vec());
    let of = |verdict: Verdict| current.with(|filter| filter.verdict = vec![verdict]);
    // The slow ones side by side.
    let open = of(Verdict::Fail).with(|filter| filter.expected = Some(false));
    let (everything, failing) = (ask.select(&base), ask.select(&open));
    let (tally, mut groups) = tokio::try_join!(views.tally(&everything), views.groups(&failing, Group::Check))?;
    let totals = views.node_totals(ask.site.started).await?;
    let lines = |scope: &Filter, severities: &[Severity]| -> Vec<Line> {
        let line = |severity: &Severity| Line {
            severity: *severity,
            n: tally.open(|state, found, of| state.current() && scope.verdict == [found] && of == *severity),
            filter: scope.with(|filter| filter.severity = vec![*severity]),
        };
        severities.iter().map(line).collect()
    };
    let since = |scope: Filter| scope.with(|filter| filter.since = crate::store::views::Since::read("24h"));
    let counted = async |filter: Filter| -> Result<(i64, Filter), Failure> {
        let n = views.count_findings(&ask.select(&filter)).await?;
        Ok((n, filter))
    };
    let severe = groups.iter().any(|group| group.severity >= Severity::High);
    groups.truncate(FIRST);
    let first = groups.into_iter().map(|row| {
        let findings = open.with(|filter| filter.check = vec![row.check.clone()]);
        First {
            fix: first_sentence(views.catalogue().get(&row.check).map_or("", |check| check.fix.as_str())),
            nodes: findings.clone(),
            unknown: of(Verdict::Unknown).with(|filter| filter.check = vec![row.check.clone()]),
            findings: findings.with(|filter| filter.group = Some(Group::None)),
            row,
        }
    });
    let contradiction = views.catalogue().checks().iter().map(|check| check.id.to_string()).filter(|id| id.ends_with("-contradiction"));
    let contradiction: Vec<String> = contradiction.collect();
    let contradictions = if contradiction.is_empty() {
        (0, of(Verdict::Fail))
    } else {
        counted(of(Verdict::Fail).with(|filter| filter.check = contradiction)).await?
    };
    let chain = ChainFilter { nodes: current.clone(), component: None, ..ChainFilter::default() };
    let headlines = views.chain_headlines(&chain, ask.now).await?.into_iter().filter(|(headline, _)| *headline != Headline::Supported);
    let headlines = headlines.map(|(headline, n)| (headline, n, chain.with(|chain| chain.headline = vec![headline]).link("/kernels")));
    let last = base.with(|filter| {
        filter.state = NodeState::LAST_KNOWN.to_vec();
        filter.verdict = vec![Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::Manual];
    });
    let score = Score::new(&tally, totals.current(), totals.all());
    let in_state = |state: NodeState| base.with(|filter| filter.state = vec![state]);
    let fleet = Fleet {
        now: ask.now,
        away: ask.site.app.cluster.as_ref().and_then(|cluster| cluster.away()).map(|(reason, since)| (reason, At(since))),
        problems,
        clusters: views.clusters().await?,
        cluster: base.cluster.first().cloned().unwrap_or_default(),
        totals: views.node_totals_of(&base.cluster, ask.site.started).await?,
        fail: lines(&open, &Severity::ALL),
        unknown: lines(&of(Verdict::Unknown), &Severity::ALL),
        reporting: in_state(NodeState::Reporting),
        recorded: in_state(NodeState::Recorded),
        silent: in_state(NodeState::Silent),
        stopped: in_state(NodeState::Stopped),
        unwatched: in_state(NodeState::Unwatched),
        failing: (tally.open(|state, found, _| state.current() && found == Verdict::Fail), open.clone()),
        expected: (tally.expected(), of(Verdict::Fail).with(|filter| filter.expected = Some(true))),
        not_known: (score.unknown, of(Verdict::Unknown)),
        pass: (score.pass, of(Verdict::Pass)),
        manual: (score.manual, of(Verdict::Manual)),
        last_known: (score.last_known, last),
        new_fail: counted(since(open.clone())).await?,
        new_unknown: counted(since(of(Verdict::Unknown))).await?,
        contradictions,
        chain: headlines.collect(),
        unjudged: views.chain_unjudged(&chain, ask.now).await?.nodes,
        severe,
        first: first.collect(),
        score,
    };
    let title = format!("{} failing · Fleet", marks::number(fleet.failing.0));
    Rendered::new(if totals.all() == 0 { "Fleet".to_owned() } else { title }, &fleet)
}

/// The first sentence of a text, for a table.
pub(super) fn first_sentence(text: &str) -> String {
    text.split_once(". ").map_or_else(|| text.trim().to_owned(), |(first, _)| format!("{first}."))
}
