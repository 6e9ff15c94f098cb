//! Findings: the list, page by page, and one of them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use holdfast_checks::entries::{Evidence, Severity, Verdict};
use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{At, NODE_STATE, NodeState};
use super::cursor::Cursor;
use super::filter::Sort;
use super::select::Selection;
use super::{Page, ViewError, Views, failed};
use crate::store::{expectations, severity_number, severity_of, verdict_from};

/// One finding in a list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FindingRow {
    /// Stable over restarts, safe in links.
    pub id: String,
    /// The node's cluster.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The node's state. Verdicts of silent and stopped nodes are last known.
    pub node_state: NodeState,
    /// The check's id.
    pub check: String,
    /// What the verdict is about.
    pub subject: String,
    /// The check's title.
    pub title: String,
    /// `pass`, `fail`, `unknown`, `manual` or `not_applicable`.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// `critical`, `high`, `medium`, `low` or `info`.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// Why it is unknown or not applicable.
    pub reason: String,
    /// The class of the reason.
    pub reason_class: String,
    /// The deciding evidence in one line.
    pub deciding: String,
    /// The expectation that covers it. The verdict stays what it is; such a finding is counted apart and alerts nobody.
    pub expected: Option<Expected>,
    /// First reported.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: At,
    /// The verdict last moved.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: At,
    /// Last message whose digest matched what is stored; `null` before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirmed_at: At,
}

/// Why a finding is expected to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Expected {
    /// The expectation's id: `/expectations` lists them.
    pub id: String,
    /// Why that is accepted.
    pub reason: String,
}

impl Expected {
    /// The expectation called `id`; `None` for the empty one.
    fn of(id: String) -> Option<Self> {
        let reason = expectations::built_in().iter().find(|waiver| waiver.id == id).map(|waiver| waiver.reason.clone());
        (!id.is_empty()).then(|| Self { reason: reason.unwrap_or_default(), id })
    }
}

/// One piece of evidence.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct EvidenceRow {
    /// The fact's path.
    pub path: String,
    /// The value; absent when it was not available.
    pub value: Option<Value>,
    /// Where it came from, or why it is not available.
    pub source: String,
    /// When it was read.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: At,
}

/// One finding with its evidence.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FindingDetail {
    /// The finding.
    #[serde(flatten)]
    pub row: FindingRow,
    /// What the verdict rests on, deciding fact first.
    pub evidence: Vec<EvidenceRow>,
    /// Was evidence cut to fit.
    pub evidence_truncated: bool,
    /// `node` or `collector`: who judged.
    pub judged_by: String,
    #[serde(skip)]
    pub(super) node_id: i64,
}

const COLUMNS: &str = "f.finding_id, n.cluster, n.name, f.check_id, f.subject, f.title, f.verdict, f.severity, f.reason, f.reason_class, \
     f.deciding, f.waiver, f.first_seen, f.changed_at, n.confirmed_at";

/// The sort key of an order, every part ascending; the finding id makes it total.
fn key_of(sort: Sort) -> &'static [&'static str] {
    match sort {
        Sort::Severity => &["-f.severity", "f.check_id", "n.cluster", "n.name", "f.subject", "f.finding_id"],
        Sort::Changed => &["-f.changed_at", "f.finding_id"],
        Sort::Node => &["n.cluster", "n.name", "-f.severity", "f.check_id", "f.subject", "f.finding_id"],
        Sort::Check => &["f.check_id", "n.cluster", "n.name", "f.subject", "f.finding_id"],
    }
}

impl Views {
    /// One page of the findings in `selection`.
    pub async fn findings(&self, selection: &Selection) -> Result<Page<FindingRow>, ViewError> {
        let total = self.count_findings(selection).await?;
        self.findings_page(selection, total, selection.filter.limit()).await
    }

    /// Up to `most` findings in `selection`, for an export.
    pub async fn all_findings(&self, selection: &Selection, most: i64) -> Result<Vec<FindingRow>, ViewError> {
        Ok(self.findings_page(&selection.with(|_| {}), 0, most).await?.rows)
    }

    async fn findings_page(&self, selection: &Selection, total: i64, limit: i64) -> Result<Page<FindingRow>, ViewError> {
        let sort = selection.filter.sort.unwrap_or(Sort::Severity);
        let key = key_of(sort);
        let order = format!("findings/{}", sort.name());
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select {COLUMNS}, {NODE_STATE} as class"));
        for (index, part) in key.iter().enumerate() {
            query.push(format!(", {part} as k{index}"));
        }
        query.push(" from findings f join nodes n on n.node_id = f.node_id where 1 = 1");
        selection.findings(&mut query);
        let offset = self.resume(&mut query, selection, &order, key)?;
        if sort == Sort::Severity
            && selection.filter.after.is_none()
            && let Some((severity, checks)) = self.first_checks(selection, limit.saturating_add(1)).await?
        {
            query.push(format!(" and f.severity >= {severity} and f.check_id in ("));
            let mut list = query.separated(", ");
            for check in checks {
                list.push_bind(check);
            }
            query.push(")");
        }
        query.push(format!(" order by {} limit ", key.join(", "))).push_bind(limit + 1);
        let found = query.build().fetch_all(&self.reader).await.map_err(failed("list findings"))?;
        Ok(self.page(&found, finding_row, total, offset, limit, order, key.len()))
    }

    /// The checks, and the least severity, among which the first `most` findings by severity are; `None` when the counts cannot
    /// tell or nothing is left out. Saves sorting every finding for one page.
    async fn first_checks(&self, selection: &Selection, most: i64) -> Result<Option<(i64, BTreeSet<String>)>, ViewError> {
        if !selection.counted() {
            return Ok(None);
        }
        let mut rows = self.results(selection).await?;
        rows.sort_by(|a, b| (Reverse(a.severity), &a.check).cmp(&(Reverse(b.severity), &b.check)));
        let (mut checks, mut seen) = (BTreeSet::new(), 0);
        let mut last: Option<(Severity, String)> = None;
        for row in rows {
            let next = (row.severity, row.check);
            // A check may have several verdicts: all of them stand together in the order.
            if seen >= most && last.as_ref() != Some(&next) {
                return Ok(last.map(|(severity, _)| (severity_number(severity), checks)));
            }
            seen += row.findings;
            checks.insert(next.1.clone());
            last = Some(next);
        }
        Ok(None)
    }

    /// Adds the predicate of `after` and returns how many rows came before.
    pub(super) fn resume(
        &self,
        query: &mut QueryBuilder<Sqlite>,
        selection: &Selection,
        order: &str,
        key: &[&str],
    ) -> Result<i64, ViewError> {
        let Some(after) = &selection.filter.after else { return Ok(0) };
        let cursor = self.cursors.read(after, order).map_err(ViewError::Cursor)?;
        query.push(format!(" and ({}) > (", key.join(", ")));
        let mut values = query.separated(", ");
        for value in &cursor.key {
            match value.as_i64() {
                Some(number) => values.push_bind(number),
                None => values.push_bind(value.as_str().unwrap_or_default().to_owned()),
            };
        }
        query.push(")");
        Ok(cursor.offset)
    }

    /// Turns one row more than a page into a page. Columns `k0 … kn` hold the sort key.
    #[expect(clippy::too_many_arguments, reason = "one call site a list, each argument a different thing")]
    pub(super) fn page<T>(
        &self,
        found: &[SqliteRow],
        read: impl Fn(&SqliteRow) -> Option<T>,
        total: i64,
        offset: i64,
        limit: i64,
        order: String,
        key: usize,
    ) -> Page<T> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let last = if found.len() > most { most.checked_sub(1).and_then(|index| found.get(index)) } else { None };
        let next = last.map(|row| {
            let value = |index: usize| {
                let name = format!("k{index}");
                row.try_get::<i64, _>(name.as_str()).map(Value::from).or_else(|_| row.try_get::<String, _>(name.as_str()).map(Value::from))
            };
            let key = (0..key).map(|index| value(index).unwrap_or(Value::Null)).collect();
            self.cursors.sign(&Cursor { order, offset: offset + limit, key })
        });
        let rows = found.iter().take(most).filter_map(read).collect();
        Page { rows, total, offset, next }
    }

    /// The finding called `id`.
    pub async fn finding(&self, id: &str) -> Result<Option<FindingDetail>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {COLUMNS}, {NODE_STATE} as class, f.node_id, f.evidence, f.evidence_truncated, f.origin \
             from findings f join nodes n on n.node_id = f.node_id where f.finding_id = "
        ));
        query.push_bind(id.to_owned());
        let found = query.build().fetch_optional(&self.reader).await.map_err(failed("read a finding"))?;
        let detail = |row: &SqliteRow| {
            Some(FindingDetail {
                row: finding_row(row)?,
                evidence: evidence(&row.get::<String, _>("evidence")),
                evidence_truncated: row.get::<i64, _>("evidence_truncated") != 0,
                judged_by: row.get("origin"),
                node_id: row.get("node_id"),
            })
        };
        Ok(found.as_ref().and_then(detail))
    }
}

/// Stored evidence. What does not parse is shown as such rather than dropped.
fn evidence(json: &str) -> Vec<EvidenceRow> {
    match serde_json::from_str::<Vec<Evidence>>(json) {
        Ok(items) => {
            items.into_iter().map(|item| EvidenceRow { path: item.path, value: item.value, source: item.source, at: At(item.at) }).collect()
        }
        Err(_) if json.is_empty() => Vec::new(),
        Err(_) => vec![EvidenceRow {
            path: "evidence".to_owned(),
            value: Some(Value::from(json)),
            source: "stored evidence is malformed; shown as it is".to_owned(),
            at: At(0),
        }],
    }
}

fn finding_row(row: &SqliteRow) -> Option<FindingRow> {
    Some(FindingRow {
        id: row.get("finding_id"),
        cluster: row.get("cluster"),
        node: row.get("name"),
        node_state: NodeState::of(&row.get::<String, _>("class"))?,
        check: row.get("check_id"),
        subject: row.get("subject"),
        title: row.get("title"),
        verdict: verdict_from(row.get("verdict"))?,
        severity: severity_of(row.get("severity")),
        reason: row.get("reason"),
        reason_class: row.get("reason_class"),
        deciding: row.get("deciding"),
        expected: Expected::of(row.get("waiver")),
        first_seen: At(row.get("first_seen")),
        changed_at: At(row.get("changed_at")),
        confirmed_at: At(row.get("confirmed_at")),
    })
}
