//! Alerts and their deliveries. They are written by the rules; here they are only read.

use std::collections::BTreeMap;

use holdfast_checks::entries::Severity;
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::At;
use super::{ViewError, Views, failed};
use crate::store::severity_of;

/// The most alerts shown.
const MOST: i64 = 1000;

/// One alert.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AlertRow {
    /// Its identity: a hash of its labels.
    pub fingerprint: String,
    /// The rule that raised it.
    pub rule: String,
    /// Identity.
    pub labels: BTreeMap<String, String>,
    /// Text for people.
    pub annotations: BTreeMap<String, String>,
    /// Severity.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// `firing` or `resolved`.
    pub state: String,
    /// Nodes it is about.
    pub nodes: i64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: At,
    /// When it ended; absent while firing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<At>,
    /// Where its findings are.
    pub link: String,
}

impl AlertRow {
    /// Is it firing.
    pub fn firing(&self) -> bool {
        self.state == "firing"
    }

    /// The sentence a person reads.
    pub fn summary(&self) -> &str {
        let text = self.annotations.get("summary").or_else(|| self.labels.get("alertname"));
        text.map_or(self.rule.as_str(), String::as_str)
    }
}

/// One delivery of an alert to a receiver: the latest.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Delivery {
    /// Who.
    pub receiver: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: At,
    /// Did it arrive.
    pub ok: bool,
    /// What the receiver said.
    pub detail: String,
}

const COLUMNS: &str = "fingerprint, rule, labels, annotations, severity, state, nodes, starts_at, ends_at, link";

impl Views {
    /// All alerts: firing first, then the worst, then the latest.
    pub async fn alerts(&self) -> Result<Vec<AlertRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select {COLUMNS} from alerts order by case state when 'firing' then 0 else 1 end, severity desc, starts_at desc, fingerprint limit "
        ));
        query.push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("list alerts"))?;
        Ok(rows.iter().map(alert_row).collect())
    }

    /// How many alerts fire.
    pub async fn firing(&self) -> Result<i64, ViewError> {
        let row = sqlx::query("select count(*) as total from alerts where state = 'firing'")
            .fetch_one(&self.reader)
            .await
            .map_err(failed("count alerts"))?;
        Ok(row.get("total"))
    }

    /// The alert with `fingerprint`.
    pub async fn alert(&self, fingerprint: &str) -> Result<Option<AlertRow>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select {COLUMNS} from alerts where fingerprint = "));
        query.push_bind(fingerprint.to_owned());
        let row = query.build().fetch_optional(&self.reader).await.map_err(failed("read an alert"))?;
        Ok(row.as_ref().map(alert_row))
    }

    /// The latest delivery of an alert to each receiver.
    pub async fn deliveries(&self, fingerprint: &str) -> Result<Vec<Delivery>, ViewError> {
        let rows = sqlx::query("select receiver, at, ok, detail from deliveries where fingerprint = $1 order by receiver limit 100")
            .bind(fingerprint)
            .fetch_all(&self.reader)
            .await
            .map_err(failed("read deliveries"))?;
        let read = |row: &SqliteRow| Delivery {
            receiver: row.get("receiver"),
            at: At(row.get("at")),
            ok: row.get::<i64, _>("ok") != 0,
            detail: row.get("detail"),
        };
        Ok(rows.iter().map(read).collect())
    }
}

fn alert_row(row: &SqliteRow) -> AlertRow {
    let map = |column: &str| serde_json::from_str(&row.get::<String, _>(column)).unwrap_or_default();
    let ends_at: i64 = row.get("ends_at");
    AlertRow {
        fingerprint: row.get("fingerprint"),
        rule: row.get("rule"),
        labels: map("labels"),
        annotations: map("annotations"),
        severity: severity_of(row.get("severity")),
        state: row.get("state"),
        nodes: row.get("nodes"),
        starts_at: At(row.get("starts_at")),
        ends_at: (ends_at > 0).then_some(At(ends_at)),
        link: row.get("link"),
    }
}
