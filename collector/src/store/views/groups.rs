//! Findings put together: one row a check or a node, never nested.

use std::collections::BTreeMap;

use holdfast_checks::entries::{Severity, Verdict};
use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::At;
use super::select::Selection;
use super::{Group, NodeState, ViewError, Views, failed};
use crate::store::{severity_of, verdict_number};

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

/// Check, cluster and node: what a group is of.
type GroupKey = (String, String, String);

fn key(row: &sqlx::sqlite::SqliteRow) -> GroupKey {
    (row.get("check_id"), row.get("cluster"), row.get("name"))
}

impl Views {
    /// The findings of `selection` by check or node, worst first. [`Group::None`] has no groups.
    pub async fn groups(&self, selection: &Selection, by: Group) -> Result<Vec<GroupRow>, ViewError> {
        let by_node = by == Group::Node;
        let (check, node) =
            if by_node { ("''", "n.cluster as cluster, n.name as name") } else { ("f.check_id", "'' as cluster, '' as name") };
        // One title a group: reading every row's would leave the index.
        let title = if by_node { "''" } else { "(select t.title from findings t where t.check_id = f.check_id limit 1)" };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {check} as check_id, {title} as title, {node}, max(f.severity) as severity, count(*) as findings, \
             count(distinct f.node_id) as nodes, min(f.changed_at) as oldest, max(f.changed_at) as newest \
             from findings f join nodes n on n.node_id = f.node_id where 1 = 1"
        ));
        selection.findings(&mut query);
        let group = if by_node { "f.node_id" } else { "f.check_id" };
        query.push(format!(
            " group by {group} order by severity desc, nodes desc, findings desc, check_id, cluster, name, f.node_id limit "
        ));
        query.push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("group findings"))?;
        let unknown = self.unknown_by(selection, by_node).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| GroupRow {
            unknown_nodes: unknown.get(&key(row)).copied().unwrap_or_default(),
            check: row.get("check_id"),
            title: row.get("title"),
            cluster: row.get("cluster"),
            node: row.get("name"),
            severity: severity_of(row.get("severity")),
            findings: row.get("findings"),
            nodes: row.get("nodes"),
            oldest: At(row.get("oldest")),
            newest: At(row.get("newest")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Unknown on nodes whose results count: nodes by check, or results by node.
    async fn unknown_by(&self, selection: &Selection, by_node: bool) -> Result<BTreeMap<GroupKey, i64>, ViewError> {
        let (columns, group) = if by_node {
            ("'' as check_id, n.cluster as cluster, n.name as name, sum(f.n)", "f.node_id")
        } else {
            ("f.check_id as check_id, '' as cluster, '' as name, count(distinct f.node_id)", "f.check_id")
        };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {columns} as total from counts f join nodes n on n.node_id = f.node_id where f.n > 0 and f.verdict = {}",
            verdict_number(Verdict::Unknown)
        ));
        let filter = &selection.filter;
        let scope = super::Filter { cluster: filter.cluster.clone(), node: filter.node.clone(), ..super::Filter::default() };
        Selection::new(super::Filter { state: NodeState::CURRENT.to_vec(), ..scope }, &self.catalogue, selection.now).nodes(&mut query);
        query.push(format!(" group by {group}"));
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count unknown by group"))?;
        Ok(rows.iter().map(|row| (key(row), row.get("total"))).collect())
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
