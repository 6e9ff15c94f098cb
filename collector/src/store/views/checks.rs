//! Checks across the fleet: nodes by deciding value, unknown results by reason.

use holdfast_checks::entries::Verdict;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::select::Selection;
use super::{ViewError, Views, failed};
use crate::store::{verdict_from, verdict_number};

/// The most deciding values shown for a check.
const MOST: i64 = 200;

/// Findings of one check that one value decided.
#[derive(Debug, Clone)]
pub struct DecidingRow {
    /// The verdict.
    pub verdict: Verdict,
    /// The deciding value in one line; empty without evidence.
    pub deciding: String,
    /// Findings.
    pub findings: i64,
    /// Nodes.
    pub nodes: i64,
}

/// Unknown results of one reason.
#[derive(Debug, Clone)]
pub struct ReasonRow {
    /// The class of the reason.
    pub reason: String,
    /// An example of the whole reason.
    pub example: String,
    /// Results.
    pub findings: i64,
    /// Nodes.
    pub nodes: i64,
    /// Checks.
    pub checks: i64,
}

impl Views {
    /// The findings of `selection` by verdict and deciding value, most nodes first.
    pub async fn by_deciding(&self, selection: &Selection) -> Result<Vec<DecidingRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "select f.verdict, f.deciding, count(*) as findings, count(distinct f.node_id) as nodes \
             from findings f join nodes n on n.node_id = f.node_id where 1 = 1",
        );
        selection.findings(&mut query);
        query.push(" group by f.verdict, f.deciding order by nodes desc, findings desc, f.verdict, f.deciding limit ").push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("group by deciding value"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Some(DecidingRow {
                verdict: verdict_from(row.get("verdict"))?,
                deciding: row.get("deciding"),
                findings: row.get("findings"),
                nodes: row.get("nodes"),
            })
        };
        let mut found: Vec<DecidingRow> = rows.iter().filter_map(read).collect();
        let rank = |verdict: Verdict| Verdict::ALL.iter().position(|other| *other == verdict);
        found.sort_by_key(|row| rank(row.verdict));
        Ok(found)
    }

    /// The unknown findings of `selection` by reason, most results first.
    pub async fn by_reason(&self, selection: &Selection) -> Result<Vec<ReasonRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select f.reason_class, min(f.reason) as example, count(*) as findings, count(distinct f.node_id) as nodes, \
             count(distinct f.check_id) as checks from findings f join nodes n on n.node_id = f.node_id where f.verdict = {}",
            verdict_number(Verdict::Unknown)
        ));
        selection.findings(&mut query);
        query.push(" group by f.reason_class order by findings desc, f.reason_class limit ").push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("group unknown by reason"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| ReasonRow {
            reason: row.get("reason_class"),
            example: row.get("example"),
            findings: row.get("findings"),
            nodes: row.get("nodes"),
            checks: row.get("checks"),
        };
        Ok(rows.iter().map(read).collect())
    }
}
