//! Nodes: the list with what fails on each, one of them, and how many there are by state.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{At, NODE_STATE, NodeState};
use super::select::{Selection, any_of};
use super::{Page, ViewError, Views, failed};

/// One node.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct NodeRow {
    /// Cluster.
    pub cluster: String,
    /// Name.
    pub name: String,
    /// Unique id.
    pub uid: String,
    /// State.
    pub state: NodeState,
    /// Why it is in that state, as far as is known.
    pub state_reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub state_since: At,
    /// First heard of.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: At,
    /// Last message; `null` before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: At,
    /// Last message whose digest matched what is stored; `null` before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirmed_at: At,
    /// Version of its agent.
    pub agent_version: String,
    /// Hash of its agent's catalogue.
    pub catalogue_hash: String,
    /// The agent's memory, in bytes.
    pub agent_rss: i64,
    /// Transitions that are not in the history: the node was away for too long, or told more than is kept.
    pub truncated_transitions: i64,
    /// How far its clock is off, in milliseconds.
    pub clock_skew_ms: i64,
    /// Failing, critical; without what is expected.
    pub critical: i64,
    /// Failing, high; without what is expected.
    pub high: i64,
    /// Failing, medium; without what is expected.
    pub medium: i64,
    /// All failing, expected or not.
    pub fail: i64,
    /// Failing as expected.
    pub expected: i64,
    /// Passing.
    pub pass: i64,
    /// Unknown.
    pub unknown: i64,
    /// For a person to answer.
    pub manual: i64,
    /// Operating system and kernel, as far as known.
    pub system: String,
    #[serde(skip)]
    pub(super) node_id: i64,
}

/// How many nodes there are, by state; gone ones apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeTotals {
    /// With an open session.
    pub reporting: i64,
    /// Recordings.
    pub recorded: i64,
    /// Silent.
    pub silent: i64,
    /// Stopped on purpose.
    pub stopped: i64,
    /// Without an agent, where one is expected.
    pub unwatched: i64,
    /// Without an agent, where none can run.
    pub unwatchable: i64,
    /// Gone.
    pub gone: i64,
    /// Live nodes not heard since the collector started.
    pub awaited: i64,
}

impl NodeTotals {
    /// Nodes whose results count.
    pub fn current(&self) -> i64 {
        self.reporting + self.recorded
    }

    /// Nodes whose results count, and those awaited since the start.
    pub fn expected(&self) -> i64 {
        self.current() + self.awaited
    }

    /// All but the gone.
    pub fn all(&self) -> i64 {
        self.current() + self.silent + self.stopped + self.without_agent()
    }

    /// Nodes for which no agent ever spoke.
    pub fn without_agent(&self) -> i64 {
        self.unwatched + self.unwatchable
    }
}

/// The row type of nodes: `n` with its state and counts, `r` in the outer query.
const ROWS: &str = "coalesce(sum(case when c.verdict = 2 and c.severity = 5 and c.waiver = '' then c.n end), 0) as critical, \
     coalesce(sum(case when c.verdict = 2 and c.severity = 4 and c.waiver = '' then c.n end), 0) as high, \
     coalesce(sum(case when c.verdict = 2 and c.severity = 3 and c.waiver = '' then c.n end), 0) as medium, \
     coalesce(sum(case when c.verdict = 2 then c.n end), 0) as fail, \
     coalesce(sum(case when c.verdict = 2 and c.waiver <> '' then c.n end), 0) as expected, coalesce(sum(case when c.verdict = 1 then c.n end), 0) as pass, \
     coalesce(sum(case when c.verdict = 4 then c.n end), 0) as unknown, coalesce(sum(case when c.verdict = 5 then c.n end), 0) as manual";
const KEY: [&str; 7] = ["r.silent_first", "-r.critical", "-r.high", "-r.unknown", "r.cluster", "r.name", "r.uid"];

impl Views {
    /// How many entries of a node are of a kind this version does not know.
    pub async fn opaque_entries(&self, node: &NodeRow) -> Result<i64, ViewError> {
        let query = sqlx::query_scalar("select count(*) from opaque where node_id = $1").bind(node.node_id);
        query.fetch_one(&self.reader).await.map_err(failed("count opaque entries"))
    }

    /// One page of the nodes in `selection`: silent first, then those without an agent, then the worst.
    pub async fn nodes(&self, selection: &Selection) -> Result<Page<NodeRow>, ViewError> {
        let total = self.count_nodes(selection).await?;
        self.nodes_page(selection, total, selection.filter.limit()).await
    }

    /// Up to `most` nodes in `selection`, for an export.
    pub async fn all_nodes(&self, selection: &Selection, most: i64) -> Result<Vec<NodeRow>, ViewError> {
        Ok(self.nodes_page(&selection.with(|_| {}), 0, most).await?.rows)
    }

    /// How many nodes are in `selection`.
    pub async fn count_nodes(&self, selection: &Selection) -> Result<i64, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("select count(*) as total from nodes n where 1 = 1");
        selection.nodes_with_findings(&mut query);
        let row = query.build().fetch_one(&self.reader).await.map_err(failed("count nodes"))?;
        Ok(row.get("total"))
    }

    async fn nodes_page(&self, selection: &Selection, total: i64, limit: i64) -> Result<Page<NodeRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("select r.*");
        for (index, part) in KEY.iter().enumerate() {
            query.push(format!(", {part} as k{index}"));
        }
        query.push(format!(
            " from (select n.*, {NODE_STATE} as class, case {NODE_STATE} when 'silent' then 0 when 'unwatched' then 1 else 2 end as silent_first, {ROWS} \
             from nodes n left join counts c on c.node_id = n.node_id where 1 = 1"
        ));
        selection.nodes_with_findings(&mut query);
        query.push(" group by n.node_id) r where 1 = 1");
        let offset = self.resume(&mut query, selection, "nodes", &KEY)?;
        query.push(format!(" order by {} limit ", KEY.join(", "))).push_bind(limit + 1);
        let found = query.build().fetch_all(&self.reader).await.map_err(failed("list nodes"))?;
        let mut page = self.page(&found, node_row, total, offset, limit, "nodes".to_owned(), KEY.len());
        self.name_systems(&mut page.rows).await?;
        Ok(page)
    }

    /// The node called `name`; the latest of that name, gone ones last.
    pub async fn node(&self, cluster: &str, name: &str) -> Result<Option<NodeRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select n.*, {NODE_STATE} as class, {ROWS} from nodes n left join counts c on c.node_id = n.node_id where n.cluster = "
        ));
        query.push_bind(cluster.to_owned()).push(" and n.name = ").push_bind(name.to_owned());
        query.push(" group by n.node_id order by case n.state when 'gone' then 1 else 0 end, n.first_seen desc, n.node_id limit 1");
        let found = query.build().fetch_optional(&self.reader).await.map_err(failed("read a node"))?;
        let mut rows: Vec<NodeRow> = found.iter().filter_map(node_row).collect();
        self.name_systems(&mut rows).await?;
        Ok(rows.pop())
    }

    /// Nodes by state. `started` tells which live nodes are still awaited.
    pub async fn node_totals(&self, started: i64) -> Result<NodeTotals, ViewError> {
        self.node_totals_of(&[], started).await
    }

    /// The same, of any of `clusters`; of all when there is none.
    pub async fn node_totals_of(&self, clusters: &[String], started: i64) -> Result<NodeTotals, ViewError> {
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new(format!("select {NODE_STATE} as class, count(*) as total, coalesce(sum(case when n.last_seen < "));
        query.push_bind(started).push(
            " then 1 end), 0) as before_start, \
             coalesce(sum(case when n.membership = 'unwatchable' then 1 end), 0) as unwatchable from nodes n where 1 = 1",
        );
        any_of(&mut query, "n.cluster", clusters.iter().cloned());
        query.push(" group by class");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count nodes by state"))?;
        let mut totals = NodeTotals::default();
        for row in &rows {
            let total: i64 = row.get("total");
            match NodeState::of(&row.get::<String, _>("class")) {
                Some(NodeState::Reporting) => totals.reporting = total,
                Some(NodeState::Recorded) => totals.recorded = total,
                Some(NodeState::Silent) => (totals.silent, totals.awaited) = (total, row.get("before_start")),
                Some(NodeState::Stopped) => totals.stopped = total,
                Some(NodeState::Unwatched) => {
                    totals.unwatchable = row.get("unwatchable");
                    totals.unwatched = total - totals.unwatchable;
                }
                Some(NodeState::Gone) => totals.gone = total,
                None => {}
            }
        }
        Ok(totals)
    }

    /// The clusters there are.
    pub async fn clusters(&self) -> Result<Vec<String>, ViewError> {
        let rows = sqlx::query("select distinct cluster from nodes where state <> 'gone' order by cluster limit 100")
            .fetch_all(&self.reader)
            .await
            .map_err(failed("list clusters"))?;
        Ok(rows.iter().map(|row| row.get("cluster")).collect())
    }
}

fn node_row(row: &SqliteRow) -> Option<NodeRow> {
    Some(NodeRow {
        node_id: row.get("node_id"),
        cluster: row.get("cluster"),
        name: row.get("name"),
        uid: row.get("uid"),
        state: NodeState::of(&row.get::<String, _>("class"))?,
        state_reason: row.get("state_reason"),
        state_since: At(row.get("state_since")),
        first_seen: At(row.get("first_seen")),
        last_seen: At(row.get("last_seen")),
        confirmed_at: At(row.get("confirmed_at")),
        agent_version: row.get("agent_version"),
        catalogue_hash: row.get("catalogue_hash"),
        agent_rss: row.get("agent_rss"),
        truncated_transitions: row.get::<i64, _>("truncated_transitions").saturating_add(row.get("collapsed_transitions")),
        clock_skew_ms: row.get("clock_skew_ms"),
        critical: row.get("critical"),
        high: row.get("high"),
        medium: row.get("medium"),
        fail: row.get("fail"),
        expected: row.get("expected"),
        pass: row.get("pass"),
        unknown: row.get("unknown"),
        manual: row.get("manual"),
        system: String::new(),
    })
}
