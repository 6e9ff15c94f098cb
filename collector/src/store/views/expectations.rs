//! The built-in expectations and how much each covers now.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::select::Selection;
use super::{ViewError, Views, failed};
use crate::store::expectations;

/// One expectation: what is known to fail and accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Expectation {
    /// Its name.
    pub id: String,
    /// Why that is accepted.
    pub reason: String,
    /// The checks it is about; `*` stands for any run of characters.
    pub checks: Vec<String>,
    /// The subjects it is about; `*` stands for any run of characters but `/`.
    pub subjects: Vec<String>,
    /// Failing findings it covers now.
    pub findings: i64,
    /// Nodes they are on.
    pub nodes: i64,
}

impl Views {
    /// Every built-in expectation with what it covers on the nodes in `selection`.
    pub async fn expectations(&self, selection: &Selection) -> Result<Vec<Expectation>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "select f.waiver, sum(f.n) as findings, count(distinct f.node_id) as nodes \
             from counts f join nodes n on n.node_id = f.node_id where f.waiver <> '' and f.n > 0",
        );
        selection.nodes(&mut query);
        query.push(" group by f.waiver");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count expected findings"))?;
        let mut covered: BTreeMap<String, (i64, i64)> =
            rows.iter().map(|row| (row.get("waiver"), (row.get("findings"), row.get("nodes")))).collect();
        let list = expectations::built_in().iter().map(|waiver| {
            let (findings, nodes) = covered.remove(&waiver.id).unwrap_or_default();
            Expectation {
                id: waiver.id.clone(),
                reason: waiver.reason.clone(),
                checks: waiver.checks.clone(),
                subjects: waiver.subjects.clone(),
                findings,
                nodes,
            }
        });
        Ok(list.collect())
    }
}
