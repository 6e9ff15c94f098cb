//! How many: totals of a selection by verdict, severity and node state.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Severity, Verdict};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{NODE_STATE, NodeState};
use super::select::Selection;
use super::{ViewError, Views, failed};
use crate::store::{severity_of, verdict_from};

/// Results with one state of their node, verdict, severity, and whether they are expected.
#[derive(Debug, Clone, Copy)]
struct Cell {
    state: NodeState,
    verdict: Verdict,
    severity: Severity,
    expected: bool,
    n: i64,
}

/// Counts of results.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    cells: Vec<Cell>,
}

impl Tally {
    /// The tally of one node that reports.
    pub fn of_node(pass: i64, fail: i64, unknown: i64, manual: i64) -> Self {
        let cell = |verdict: Verdict, n: i64| Cell { state: NodeState::Reporting, verdict, severity: Severity::Info, expected: false, n };
        Self {
            cells: vec![
                cell(Verdict::Pass, pass),
                cell(Verdict::Fail, fail),
                cell(Verdict::Unknown, unknown),
                cell(Verdict::Manual, manual),
            ],
        }
    }

    /// Results of nodes whose state and verdict and severity fit.
    pub fn count(&self, fits: impl Fn(NodeState, Verdict, Severity) -> bool) -> i64 {
        self.cells.iter().filter(|cell| fits(cell.state, cell.verdict, cell.severity)).map(|cell| cell.n).sum()
    }

    /// The same, without what fails as expected.
    pub fn open(&self, fits: impl Fn(NodeState, Verdict, Severity) -> bool) -> i64 {
        self.cells.iter().filter(|cell| !cell.expected && fits(cell.state, cell.verdict, cell.severity)).map(|cell| cell.n).sum()
    }

    /// Results that fail as expected, on nodes whose results count.
    pub fn expected(&self) -> i64 {
        self.cells.iter().filter(|cell| cell.expected && cell.state.current()).map(|cell| cell.n).sum()
    }

    /// Results with `verdict` on nodes whose results count.
    pub fn current(&self, verdict: Verdict) -> i64 {
        self.count(|state, of, _| state.current() && of == verdict)
    }

    /// Applicable results that are last known only.
    pub fn last_known(&self) -> i64 {
        self.count(|state, verdict, _| NodeState::LAST_KNOWN.contains(&state) && verdict != Verdict::NotApplicable)
    }
}

/// Results of one check with one verdict and severity.
#[derive(Debug, Clone)]
pub struct ResultRow {
    /// The check.
    pub check: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The severity reported.
    pub severity: Severity,
    /// How many.
    pub findings: i64,
}

/// The size of a selection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Findings.
    pub findings: i64,
    /// Nodes they are on.
    pub nodes: i64,
    /// Checks they are of.
    pub checks: i64,
}

fn cell_of(row: &sqlx::sqlite::SqliteRow, state: NodeState) -> Option<Cell> {
    let (verdict, severity) = (verdict_from(row.get("verdict"))?, severity_of(row.get("severity")));
    Some(Cell { state, verdict, severity, expected: row.get::<i64, _>("expected") != 0, n: row.get("total") })
}

impl Views {
    /// Totals of `selection`, from the counts where they know every restriction.
    pub async fn tally(&self, selection: &Selection) -> Result<Tally, ViewError> {
        let (table, sum) = selection.counting();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {NODE_STATE} as class, f.verdict, f.severity, f.waiver <> '' as expected, {sum} as total from {table} f join nodes n on n.node_id = f.node_id where 1 = 1"
        ));
        selection.findings(&mut query);
        query.push(" group by f.verdict, f.severity, class, expected");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count results"))?;
        let cell = |row: &sqlx::sqlite::SqliteRow| {
            let state = NodeState::of(&row.get::<String, _>("class"))?;
            cell_of(row, state)
        };
        Ok(Tally { cells: rows.iter().filter_map(cell).collect() })
    }

    /// Totals of `selection` by check.
    pub async fn results(&self, selection: &Selection) -> Result<Vec<ResultRow>, ViewError> {
        let (table, sum) = selection.counting();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select f.check_id, f.verdict, f.severity, {sum} as total \
             from {table} f join nodes n on n.node_id = f.node_id where 1 = 1"
        ));
        selection.findings(&mut query);
        query.push(" group by f.verdict, f.severity, f.check_id");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count results by check"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Some(ResultRow {
                check: row.get("check_id"),
                verdict: verdict_from(row.get("verdict"))?,
                severity: severity_of(row.get("severity")),
                findings: row.get("total"),
            })
        };
        Ok(rows.iter().filter_map(read).filter(|row| row.findings > 0).collect())
    }

    /// Totals of `selection` for each check, in one pass.
    pub async fn tallies(&self, selection: &Selection) -> Result<BTreeMap<String, Tally>, ViewError> {
        let (table, sum) = selection.counting();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select f.check_id, {NODE_STATE} as class, f.verdict, f.severity, f.waiver <> '' as expected, {sum} as total \
             from {table} f join nodes n on n.node_id = f.node_id where 1 = 1"
        ));
        selection.findings(&mut query);
        query.push(" group by f.verdict, f.severity, f.check_id, class, expected");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count results by check and state"))?;
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for row in &rows {
            let state = NodeState::of(&row.get::<String, _>("class"));
            if let Some(cell) = state.and_then(|state| cell_of(row, state)) {
                tallies.entry(row.get("check_id")).or_default().cells.push(cell);
            }
        }
        Ok(tallies)
    }

    /// How many findings `selection` holds.
    pub async fn count_findings(&self, selection: &Selection) -> Result<i64, ViewError> {
        let (table, sum) = selection.counting();
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new(format!("select {sum} as findings from {table} f join nodes n on n.node_id = f.node_id where 1 = 1"));
        selection.findings(&mut query);
        let row = query.build().fetch_one(&self.reader).await.map_err(failed("count findings"))?;
        Ok(row.get("findings"))
    }

    /// How many findings, nodes and checks `selection` holds.
    pub async fn extent(&self, selection: &Selection) -> Result<Extent, ViewError> {
        if selection.counted() && selection.filter.verdict.is_empty() {
            // Telling nodes apart among all counts costs more than asking each node whether it has any.
            let results = self.results(selection).await?;
            let checks: BTreeSet<&str> = results.iter().map(|row| row.check.as_str()).collect();
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
                "select count(*) from nodes n where exists (select 1 from counts f where f.node_id = n.node_id and f.n > 0",
            );
            selection.findings(&mut query);
            query.push(")");
            let nodes = query.build_query_scalar().fetch_one(&self.reader).await.map_err(failed("count nodes with findings"))?;
            let findings = results.iter().map(|row| row.findings).sum();
            return Ok(Extent { findings, nodes, checks: i64::try_from(checks.len()).unwrap_or(i64::MAX) });
        }
        let (table, sum) = selection.counting();
        // A counts row of zero is no finding.
        let present = if table == "counts" { " and f.n > 0" } else { "" };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {sum} as findings, count(distinct f.node_id) as nodes, count(distinct f.check_id) as checks \
             from {table} f join nodes n on n.node_id = f.node_id where 1 = 1{present}"
        ));
        selection.findings(&mut query);
        let row = query.build().fetch_one(&self.reader).await.map_err(failed("count findings"))?;
        Ok(Extent { findings: row.get("findings"), nodes: row.get("nodes"), checks: row.get("checks") })
    }
}
