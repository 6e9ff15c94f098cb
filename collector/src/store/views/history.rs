//! What moved: transitions of a finding or a node, and how far the change log reaches.

use holdfast_checks::entries::{Severity, Verdict};
use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::At;
use super::findings::FindingDetail;
use super::nodes::NodeRow;
use super::{ViewError, Views, failed};
use crate::store::{severity_of, verdict_from};

/// The most transitions shown.
const MOST: i64 = 200;

/// One verdict that moved. `None`: the finding was not there.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TransitionRow {
    /// The node's cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
    /// The check.
    pub check: String,
    /// The subject.
    pub subject: String,
    /// Before.
    #[schema(value_type = Option<String>)]
    pub from: Option<Verdict>,
    /// After.
    #[schema(value_type = Option<String>)]
    pub to: Option<Verdict>,
    /// The check's severity.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// The reason of the verdict after.
    pub reason: String,
    /// The deciding evidence in one line.
    pub because: String,
    /// When it was seen on the node.
    #[schema(value_type = String, format = DateTime)]
    pub at: At,
    /// The finding's id, when it is still there.
    pub finding: Option<String>,
}

impl Views {
    /// The latest transitions of a finding, newest first.
    pub async fn finding_history(&self, finding: &FindingDetail) -> Result<Vec<TransitionRow>, ViewError> {
        let row = &finding.row;
        self.history(|query| {
            query.push(" and t.node_id = ").push_bind(finding.node_id);
            query.push(" and t.check_id = ").push_bind(row.check.clone()).push(" and t.subject = ").push_bind(row.subject.clone());
        })
        .await
    }

    /// The latest transitions on a node, newest first.
    pub async fn node_history(&self, node: &NodeRow) -> Result<Vec<TransitionRow>, ViewError> {
        self.history(|query| {
            query.push(" and t.node_id = ").push_bind(node.node_id);
        })
        .await
    }

    /// The latest transitions of the fleet since `since`, newest first.
    pub async fn changes(&self, since: i64) -> Result<Vec<TransitionRow>, ViewError> {
        self.history(|query| {
            query.push(" and t.at >= ").push_bind(since);
        })
        .await
    }

    /// Between "not there" and "not applicable" nothing was judged: such a move is bookkeeping, not history.
    async fn history(&self, restrict: impl FnOnce(&mut QueryBuilder<Sqlite>)) -> Result<Vec<TransitionRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "select n.cluster, n.name, t.check_id, t.subject, t.from_verdict, t.to_verdict, t.severity, t.reason, t.because, t.at, \
             (select f.finding_id from findings f where f.node_id = t.node_id and f.check_id = t.check_id and f.subject = t.subject) as finding \
             from transitions t join nodes n on n.node_id = t.node_id \
             where not (t.from_verdict in (0, 3) and t.to_verdict in (0, 3))",
        );
        restrict(&mut query);
        query.push(" order by t.at desc, t.epoch desc, t.number desc, t.node_id limit ").push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("read history"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| TransitionRow {
            cluster: row.get("cluster"),
            node: row.get("name"),
            check: row.get("check_id"),
            subject: row.get("subject"),
            from: verdict_from(row.get("from_verdict")),
            to: verdict_from(row.get("to_verdict")),
            severity: severity_of(row.get("severity")),
            reason: row.get("reason"),
            because: row.get("because"),
            at: At(row.get("at")),
            finding: row.get("finding"),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// The last position of the change log; 0 before the first commit.
    pub async fn last_change(&self) -> Result<i64, ViewError> {
        let row = sqlx::query("select coalesce(max(seq), 0) as seq from change_log")
            .fetch_one(&self.reader)
            .await
            .map_err(failed("read the change log"))?;
        Ok(row.get("seq"))
    }
}
