//! Nodes: silent first, then those without an agent, then the worst.

use askama::Template;
use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::versions::Headline;

use super::pages::{Ask, Rendered};
use super::score::Score;
use super::{marks, words};
use crate::http::Failure;
use crate::policy::{PolicyShown, Standing, Standings};
use crate::store::views::{Filter, NodeRow, NodeState, Page, Problem, Remarks, Tally, encode};

/// Nodes named in the hint about policies.
const REFUSING: usize = 5;

struct Row {
    node: NodeRow,
    href: String,
    coverage: String,
    critical: Filter,
    high: Filter,
    medium: Filter,
    unknown: Filter,
    /// What is remarkable in its delivery; mostly empty.
    remarks: Vec<String>,
}

#[derive(Template)]
#[template(path = "nodes.html")]
struct Nodes {
    now: i64,
    problems: Vec<Problem>,
    filter: Filter,
    chips: Vec<super::findings::Chip>,
    page: Page<NodeRow>,
    rows: Vec<Row>,
    unfiltered: i64,
    /// Nodes that refused the policy they are to hold, by page and name: the first of them, and how many.
    refusing: (Vec<(String, String)>, i64),
    /// Why the policy file is not used as it is.
    unusable: Option<String>,
    next: Option<String>,
    exports: [(String, &'static str); 2],
}

/// Where a node's page is.
pub(super) fn href(cluster: &str, name: &str) -> String {
    format!("/nodes/{}/{}", encode(cluster), encode(name))
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh"]);
    let page = views.nodes(&ask.select(&filter)).await?;
    let remarks = views.remarks(&page.rows).await?;
    let row = |(node, remarks): (&NodeRow, &Remarks)| {
        let one = |verdict: Verdict, severity: Option<Severity>| Filter {
            cluster: vec![node.cluster.clone()],
            node: vec![node.name.clone()],
            verdict: vec![verdict],
            expected: (verdict == Verdict::Fail).then_some(false),
            severity: severity.into_iter().collect(),
            ..Filter::default()
        };
        Row {
            href: href(&node.cluster, &node.name),
            coverage: coverage(node),
            critical: one(Verdict::Fail, Some(Severity::Critical)),
            high: one(Verdict::Fail, Some(Severity::High)),
            medium: one(Verdict::Fail, Some(Severity::Medium)),
            unknown: one(Verdict::Unknown, None),
            remarks: remarked(node, remarks),
            node: node.clone(),
        }
    };
    let nodes = Nodes {
        now: ask.now,
        refusing: refusing(ask).await?,
        unusable: ask.site.app.policies.reload().problem,
        rows: page.rows.iter().zip(&remarks).map(row).collect(),
        chips: super::findings::chips("/nodes", &filter),
        unfiltered: views.count_nodes(&ask.select(&Filter::default())).await?,
        next: page.next.as_ref().map(|after| filter.with(|filter| filter.after = Some(after.clone())).link("/nodes")),
        exports: super::findings::exports("/nodes", &filter),
        problems,
        filter,
        page,
    };
    Rendered::new(format!("{} · Nodes", marks::number(nodes.page.total)), &nodes)
}

/// Nodes that refused the policy they are to hold now.
async fn refusing(ask: &Ask<'_>) -> Result<(Vec<(String, String)>, i64), Failure> {
    let policies = ask.site.app.policies.policies();
    let counts = ask.site.views.policy_counts().await?;
    let total = Standings::of(&policies, &counts).total().into_iter().find(|(standing, _)| *standing == Standing::Refused);
    let total = total.map_or(0, |(_, nodes)| nodes);
    if total == 0 {
        return Ok((Vec::new(), 0));
    }
    let said = ask.site.views.refused_policies().await?.into_iter();
    let now = said.filter(|(cluster, _, hash)| PolicyShown::unsaid(policies.of(cluster)).hash == *hash);
    Ok((now.take(REFUSING).map(|(cluster, name, _)| (href(&cluster, &name), name)).collect(), total))
}

/// Coverage of one node. A node that does not report has none.
fn coverage(node: &NodeRow) -> String {
    if node.state == NodeState::Unwatched {
        return "nothing".to_owned();
    }
    if !node.state.current() {
        return "last known".to_owned();
    }
    let counts = Tally::of_node(node.pass, node.fail, node.unknown, node.manual);
    let score = Score::new(&counts, 1, 1);
    format!("{} of {} ({})", marks::number(score.decided()), marks::number(score.applicable()), score.coverage())
}

/// What the list says of a node's delivery. A recording's agent keeps nothing, and nobody waits for its history.
fn remarked(node: &NodeRow, remarks: &Remarks) -> Vec<String> {
    if node.state == NodeState::Recorded {
        return Vec::new();
    }
    let counted = |n: i64, what: &str| (n > 0).then(|| format!("{} {what}", marks::number(n)));
    let in_memory = remarks.in_memory.then(|| "keeps no file".to_owned());
    let refused = counted(remarks.refused, "refused");
    [refused, in_memory, counted(remarks.truncated, "missing from history")].into_iter().flatten().collect()
}

impl Nodes {
    fn has_verdict(&self, name: &str) -> bool {
        self.filter.verdict.iter().any(|verdict| verdict.name() == name)
    }

    fn kernel_is(&self, headline: Headline) -> bool {
        self.filter.kernel == [headline]
    }

    fn state_is(&self, name: &str) -> bool {
        NodeState::of(name).is_some_and(|state| self.filter.state == [state])
    }
}
