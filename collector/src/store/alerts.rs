//! Alerts and their deliveries, and the state rules are judged from.
//!
//! Must not know rules or receivers.

use std::collections::BTreeMap;

use holdfast_checks::entries::{Severity, Verdict};
use sqlx::{Connection, Row, Sqlite, Transaction};

use super::{Store, StoreError, changes, severity_from, severity_number, verdict_number};
use crate::alerts::{Alert, AlertState, Failing, Node, Snapshot};
use crate::changes::{Change, ChangeKind};

/// Resolved alerts are kept for 30 days.
const KEEP_RESOLVED_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What the last attempt to tell one receiver about one alert came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The alert.
    pub fingerprint: String,
    /// The receiver, without secrets.
    pub receiver: String,
    /// When it was tried: Unix milliseconds.
    pub at: i64,
    /// Did the receiver take it.
    pub ok: bool,
    /// What was told and what came of it, for a person.
    pub detail: String,
}

impl Store {
    /// Reads nodes, failing findings of `checks` and alerts, all of one moment; what fails as
    /// expected is left out. What is not stored is left at its default.
    pub async fn alert_snapshot<'a>(&self, checks: impl IntoIterator<Item = &'a str>) -> Result<Snapshot, StoreError> {
        let failed = StoreError::query("read the state alerts are judged from");
        let mut reader = self.reader.acquire().await.map_err(&failed)?;
        let mut transaction = reader.begin().await.map_err(&failed)?;
        // Every link of a node has the same image and kernel.
        let select = "select node_id, cluster, name, origin, state, state_since, last_seen, \
            coalesce((select c.image from chain as c where c.node_id = n.node_id limit 1), '') as image, \
            coalesce((select c.kernel from chain as c where c.node_id = n.node_id limit 1), '') as kernel from nodes as n";
        let rows = sqlx::query(select).fetch_all(&mut *transaction).await;
        let mut nodes = BTreeMap::new();
        for row in rows.map_err(&failed)? {
            let node = Node {
                cluster: row.try_get("cluster").map_err(&failed)?,
                name: row.try_get("name").map_err(&failed)?,
                recorded: row.try_get::<String, _>("origin").map_err(&failed)? == "recorded",
                state: row.try_get("state").map_err(&failed)?,
                state_since: row.try_get("state_since").map_err(&failed)?,
                last_seen: row.try_get("last_seen").map_err(&failed)?,
                image: row.try_get("image").map_err(&failed)?,
                kernel: row.try_get("kernel").map_err(&failed)?,
            };
            nodes.insert(row.try_get("node_id").map_err(&failed)?, node);
        }
        let mut failing = Vec::new();
        for check in checks {
            let select = "select node_id, check_id, subject, severity, deciding, changed_at from findings \
                          where check_id = $1 and verdict = $2 and waiver = ''";
            let rows = sqlx::query_as::<_, (i64, String, String, i64, String, i64)>(select)
                .bind(check)
                .bind(verdict_number(Verdict::Fail))
                .fetch_all(&mut *transaction)
                .await;
            for (node_id, check, subject, severity, deciding, since) in rows.map_err(&failed)? {
                failing.push(Failing { node_id, check, subject, severity: severity_of(severity)?, deciding, since });
            }
        }
        let previous = read_alerts(&mut transaction).await?;
        transaction.commit().await.map_err(&failed)?;
        Ok(Snapshot { nodes, failing, previous, ..Snapshot::default() })
    }

    /// Every alert that fires or was resolved in the last 30 days.
    pub async fn stored_alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let failed = StoreError::query("read alerts");
        let mut reader = self.reader.acquire().await.map_err(&failed)?;
        let mut transaction = reader.begin().await.map_err(&failed)?;
        let alerts = read_alerts(&mut transaction).await?;
        transaction.commit().await.map_err(&failed)?;
        Ok(alerts)
    }

    /// Writes alerts that changed, in one transaction, and forgets those resolved long ago.
    ///
    /// Returns the changes to publish, one for each alert written.
    pub async fn save_alerts(&self, changed: &[Alert], now: i64) -> Result<Vec<Change>, StoreError> {
        let failed = StoreError::query("write alerts");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(&failed)?;
        let mut log = Vec::new();
        for alert in changed {
            upsert(&mut transaction, alert).await?;
            let summary = format!("{} {}", alert.rule, alert.state.name());
            log.push(changes::append(&mut transaction, now, 0, ChangeKind::Alert, &summary).await?);
        }
        let long_ago = now.saturating_sub(KEEP_RESOLVED_MS);
        sqlx::query(
            "delete from deliveries where fingerprint in (select fingerprint from alerts where state = 'resolved' and ends_at < $1)",
        )
        .bind(long_ago)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        let forget = sqlx::query("delete from alerts where state = 'resolved' and ends_at < $1").bind(long_ago);
        forget.execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(log)
    }

    /// The last delivery of each alert to `receiver`.
    pub async fn deliveries_to(&self, receiver: &str) -> Result<BTreeMap<String, Delivery>, StoreError> {
        let failed = StoreError::query("read deliveries");
        let select = "select fingerprint, receiver, at, ok, detail from deliveries where receiver = $1";
        let rows = sqlx::query_as::<_, (String, String, i64, i64, String)>(select).bind(receiver).fetch_all(&self.reader).await;
        let delivery = |(fingerprint, receiver, at, ok, detail): (String, String, i64, i64, String)| {
            (fingerprint.clone(), Delivery { fingerprint, receiver, at, ok: ok != 0, detail })
        };
        Ok(rows.map_err(&failed)?.into_iter().map(delivery).collect())
    }

    /// Records what deliveries came to, in one transaction.
    pub async fn save_deliveries(&self, deliveries: &[Delivery]) -> Result<(), StoreError> {
        let failed = StoreError::query("write deliveries");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(&failed)?;
        for delivery in deliveries {
            let upsert = "insert into deliveries (fingerprint, receiver, at, ok, detail) values ($1, $2, $3, $4, $5) \
                on conflict (fingerprint, receiver) do update set at = excluded.at, ok = excluded.ok, detail = excluded.detail";
            sqlx::query(upsert)
                .bind(&delivery.fingerprint)
                .bind(&delivery.receiver)
                .bind(delivery.at)
                .bind(i64::from(delivery.ok))
                .bind(&delivery.detail)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Forgets every delivery to receivers that `forget` names.
    pub async fn forget_receivers(&self, forget: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let failed = StoreError::query("forget deliveries");
        let receivers = sqlx::query_scalar::<_, String>("select distinct receiver from deliveries").fetch_all(&self.reader).await;
        for receiver in receivers.map_err(&failed)?.iter().filter(|receiver| forget(receiver)) {
            let delete = sqlx::query("delete from deliveries where receiver = $1").bind(receiver);
            delete.execute(&self.writer).await.map_err(&failed)?;
        }
        Ok(())
    }
}

async fn read_alerts(transaction: &mut Transaction<'_, Sqlite>) -> Result<Vec<Alert>, StoreError> {
    let failed = StoreError::query("read alerts");
    let rows = sqlx::query("select * from alerts order by fingerprint").fetch_all(&mut **transaction).await.map_err(&failed)?;
    let mut alerts = Vec::new();
    for row in rows {
        let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
        let number = |column: &str| row.try_get::<i64, _>(column).map_err(&failed);
        let state = match text("state")?.as_str() {
            "firing" => AlertState::Firing,
            "resolved" => AlertState::Resolved,
            other => return Err(malformed(format!("alert state `{}`", other.escape_debug()))),
        };
        alerts.push(Alert {
            fingerprint: text("fingerprint")?,
            rule: text("rule")?,
            labels: map_of(&text("labels")?)?,
            annotations: map_of(&text("annotations")?)?,
            severity: severity_of(number("severity")?)?,
            state,
            nodes: number("nodes")?,
            starts_at: number("starts_at")?,
            ends_at: number("ends_at")?,
            updated_at: number("updated_at")?,
            link: text("link")?,
        });
    }
    Ok(alerts)
}

async fn upsert(transaction: &mut Transaction<'_, Sqlite>, alert: &Alert) -> Result<(), StoreError> {
    let upsert = "insert into alerts (fingerprint, rule, labels, annotations, severity, state, nodes, starts_at, ends_at, updated_at, link) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (fingerprint) do update set rule = excluded.rule, \
        labels = excluded.labels, annotations = excluded.annotations, severity = excluded.severity, state = excluded.state, \
        nodes = excluded.nodes, starts_at = excluded.starts_at, ends_at = excluded.ends_at, updated_at = excluded.updated_at, link = excluded.link";
    let written = sqlx::query(upsert)
        .bind(&alert.fingerprint)
        .bind(&alert.rule)
        .bind(json_of(&alert.labels))
        .bind(json_of(&alert.annotations))
        .bind(severity_number(alert.severity))
        .bind(alert.state.name())
        .bind(alert.nodes)
        .bind(alert.starts_at)
        .bind(alert.ends_at)
        .bind(alert.updated_at)
        .bind(&alert.link)
        .execute(&mut **transaction)
        .await;
    written.map(|_| ()).map_err(StoreError::query("write an alert"))
}

fn json_of(map: &BTreeMap<String, String>) -> String {
    let object = map.iter().map(|(name, value)| (name.clone(), serde_json::Value::String(value.clone())));
    serde_json::Value::Object(object.collect()).to_string()
}

fn map_of(json: &str) -> Result<BTreeMap<String, String>, StoreError> {
    serde_json::from_str(json).map_err(|error| malformed(error.to_string()))
}

fn malformed(problem: String) -> StoreError {
    StoreError::Malformed { operation: "read alerts", problem }
}

fn severity_of(number: i64) -> Result<Severity, StoreError> {
    severity_from(number).ok_or_else(|| malformed(format!("severity {number}")))
}
