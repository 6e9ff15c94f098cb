//! Findings put together: one row a check or a node, never nested.

use holdfast_checks::entries::{Severity, Verdict};
use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{At, severity_of, verdict_number};
use super::select::{Selection, any_of};
use super::{Group, NodeState, ViewError, Views, failed};

/// The most groups shown.
const MOST: i64 = 2000;

/// Findings of one check, or of one node.
#[derive(Debug, Clone, Serialize)]
pub struct GroupRow {
    /// The check's id; empty when grouped by node.
    pub check: String,
    /// The check's title.
    pub title: String,
    /// The node's cluster; empty when grouped by check.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The worst severity in the group.
    pub severity: Severity,
    /// Findings.
    pub findings: i64,
    /// Nodes they are on.
    pub nodes: i64,
    /// Nodes on which the same check is unknown, whatever verdict is asked for; grouped by node, its unknown results.
    pub unknown_nodes: i64,
    /// The earliest change.
    pub oldest: At,
    /// The latest change.
    pub newest: At,
}

impl Views {
    /// The findings of `selection` by check or node, worst first. [`Group::None`] has no groups.
    pub async fn groups(&self, selection: &Selection, by: Group) -> Result<Vec<GroupRow>, ViewError> {
        let by_node = by == Group::Node;
        let (check, node, unknown_key, unknown) = if by_node {
            ("''", "n.cluster as cluster, n.name as name", "u.node_id = f.node_id", "coalesce(sum(u.n), 0)")
        } else {
            ("f.check_id", "'' as cluster, '' as name", "u.check_id = f.check_id", "count(distinct u.node_id)")
        };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {check} as check_id, max(f.title) as title, {node}, max(f.severity) as severity, count(*) as findings, \
             count(distinct f.node_id) as nodes, min(f.changed_at) as oldest, max(f.changed_at) as newest, \
             (select {unknown} from counts u join nodes un on un.node_id = u.node_id where {unknown_key} and u.n > 0 \
              and u.verdict = {} and (un.origin = 'recorded' or un.state = 'connected') and un.state <> 'gone'",
            verdict_number(Verdict::Unknown)
        ));
        any_of(&mut query, "un.cluster", selection.filter.cluster.iter().cloned());
        any_of(&mut query, "un.name", selection.filter.node.iter().cloned());
        query.push(") as unknown_nodes from findings f join nodes n on n.node_id = f.node_id where 1 = 1");
        selection.findings(&mut query);
        let group = if by_node { "f.node_id" } else { "f.check_id" };
        query.push(format!(
            " group by {group} order by severity desc, nodes desc, findings desc, check_id, cluster, name, f.node_id limit "
        ));
        query.push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("group findings"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| GroupRow {
            check: row.get("check_id"),
            title: row.get("title"),
            cluster: row.get("cluster"),
            node: row.get("name"),
            severity: severity_of(row.get("severity")),
            findings: row.get("findings"),
            nodes: row.get("nodes"),
            unknown_nodes: row.get("unknown_nodes"),
            oldest: At(row.get("oldest")),
            newest: At(row.get("newest")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// The filter of "Unknown on": the same check on nodes whose results count.
    pub fn unknown_on(check: &str) -> super::Filter {
        super::Filter {
            check: vec![check.to_owned()],
            verdict: vec![Verdict::Unknown],
            state: NodeState::CURRENT.to_vec(),
            ..super::Filter::default()
        }
    }
}
