//! From the typed filter to SQL predicates: the only place where a restriction is written.
//!
//! Tables are aliased `n` (nodes) and `f` (findings, or counts: they share the columns both are restricted by).

use holdfast_checks::catalogue::Catalogue;
use sqlx::{QueryBuilder, Sqlite};

use super::codes::NODE_STATE;
use super::filter::Filter;
use crate::store::chain::headline_number;
use crate::store::{severity_number, verdict_number};

/// A filter ready to be asked.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The filter.
    pub filter: Filter,
    /// Checks that area, framework and row leave, when any of them is set.
    checks: Option<Vec<String>>,
    /// As of when.
    pub now: i64,
}

impl Selection {
    pub(super) fn new(filter: Filter, catalogue: &Catalogue, now: i64) -> Self {
        let by_catalogue = !filter.area.is_empty() || !filter.framework.is_empty() || !filter.row.is_empty();
        let matches = |check: &&holdfast_checks::catalogue::Check| {
            let area = filter.area.is_empty() || filter.area.contains(&check.area);
            let framework = |name: &String| filter.framework.is_empty() || filter.framework.contains(name);
            let row = |rows: &Vec<String>| filter.row.is_empty() || rows.iter().any(|row| filter.row.contains(row));
            let rows = filter.framework.is_empty() && filter.row.is_empty()
                || check.frameworks.iter().any(|(name, rows)| framework(name) && row(rows));
            area && rows
        };
        let checks = by_catalogue.then(|| catalogue.checks().iter().filter(matches).map(|check| check.id.to_string()).collect());
        Self { filter, checks, now }
    }

    /// The same selection, changed.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Filter)) -> Self {
        Self { filter: self.filter.with(change), checks: self.checks.clone(), now: self.now }
    }

    /// Is every restriction one that the counts know, so that nothing needs counting.
    pub(super) fn counted(&self) -> bool {
        let filter = &self.filter;
        filter.reason.is_empty() && filter.subject.is_empty() && filter.deciding.is_empty() && filter.since.is_none() && filter.q.is_none()
    }

    /// The table that answers counts for this selection, and how its rows are counted.
    pub(super) fn counting(&self) -> (&'static str, &'static str) {
        if self.counted() { ("counts", "cast(coalesce(sum(f.n), 0) as bigint)") } else { ("findings", "count(*)") }
    }

    /// ` and …` over `n`.
    pub(super) fn nodes(&self, query: &mut QueryBuilder<Sqlite>) {
        let filter = &self.filter;
        any_of(query, "n.cluster", filter.cluster.iter().cloned());
        any_of(query, "n.name", filter.node.iter().cloned());
        if filter.state.is_empty() {
            query.push(" and n.state <> 'gone'");
        } else {
            any_of(query, NODE_STATE, filter.state.iter().map(|state| state.name().to_owned()));
        }
        if !filter.kernel.is_empty() {
            query.push(" and n.node_id in (select k.node_id from chain k where k.component = 'kernel'");
            any_of(query, "k.headline", filter.kernel.iter().map(|headline| headline_number(*headline)));
            query.push(")");
        }
    }

    /// ` and …` over `n` and `f`.
    pub(super) fn findings(&self, query: &mut QueryBuilder<Sqlite>) {
        self.nodes(query);
        self.results(query);
        if let Some(text) = &self.filter.q {
            find(query, "f.check_id || ' ' || f.title || ' ' || f.subject || ' ' || n.name || ' ' || f.deciding", text);
        }
    }

    /// ` and …` over `n`, with an `exists` when findings are restricted; `q` looks at the node's name.
    pub(super) fn nodes_with_findings(&self, query: &mut QueryBuilder<Sqlite>) {
        self.nodes(query);
        if let Some(text) = &self.filter.q {
            find(query, "n.name || ' ' || n.cluster", text);
        }
        if self.restricts_results() {
            query.push(" and exists (select 1 from findings f where f.node_id = n.node_id");
            self.results(query);
            query.push(")");
        }
    }

    fn restricts_results(&self) -> bool {
        let filter = &self.filter;
        let lists = [filter.check.is_empty(), filter.reason.is_empty(), filter.subject.is_empty(), filter.deciding.is_empty()];
        !lists.iter().all(|empty| *empty)
            || !filter.severity.is_empty()
            || !filter.verdict.is_empty()
            || filter.since.is_some()
            || self.checks.is_some()
            || filter.expected.is_some()
            || !filter.waiver.is_empty()
    }

    fn results(&self, query: &mut QueryBuilder<Sqlite>) {
        let filter = &self.filter;
        any_of(query, "f.check_id", filter.check.iter().cloned());
        if let Some(checks) = &self.checks {
            if checks.is_empty() {
                query.push(" and 1 = 0");
            }
            any_of(query, "f.check_id", checks.iter().cloned());
        }
        any_of(query, "f.severity", filter.severity.iter().map(|severity| severity_number(*severity)));
        any_of(query, "f.verdict", filter.verdict.iter().map(|verdict| verdict_number(*verdict)));
        match filter.expected {
            Some(true) => drop(query.push(" and f.waiver <> ''")),
            Some(false) => drop(query.push(" and f.waiver = ''")),
            None => {}
        }
        any_of(query, "f.waiver", filter.waiver.iter().cloned());
        any_of(query, "f.reason_class", filter.reason.iter().cloned());
        any_of(query, "f.subject", filter.subject.iter().cloned());
        any_of(query, "f.deciding", filter.deciding.iter().cloned());
        if let Some(since) = &filter.since {
            query.push(" and f.changed_at >= ").push_bind(since.millis(self.now));
        }
    }
}

/// ` and column in (…)`, or nothing when there is no value.
pub(super) fn any_of<T>(query: &mut QueryBuilder<Sqlite>, column: &str, values: impl Iterator<Item = T>)
where
    T: for<'t> sqlx::Encode<'t, Sqlite> + sqlx::Type<Sqlite>,
{
    let mut values = values.peekable();
    if values.peek().is_none() {
        return;
    }
    query.push(" and ").push(column).push(" in (");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(")");
}

/// ` and` the text contains `needle`, upper and lower case alike.
pub(super) fn find(query: &mut QueryBuilder<Sqlite>, text: &str, needle: &str) {
    let escaped = needle.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    query.push(" and lower(").push(text).push(") like ").push_bind(format!("%{escaped}%")).push(" escape '\\'");
}
