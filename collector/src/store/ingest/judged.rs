//! What the collector judges itself: findings, replaced check by check, counted like the node's own, outside its digest, with
//! a history of their own beside the node's; and the node's patch chain.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Body, Entry, Key};
use sqlx::SqliteConnection;

use super::rows::{self, Judged, TransitionRow, Upsert};
use crate::changes::{Change, ChangeKind};
use crate::store::chain::{self, ChainRow};
use crate::store::{Store, StoreError, changes, severity_number, verdict_number};

/// The epoch of transitions made here. No agent has it: theirs are hex.
const EPOCH: &str = "collector";

impl Store {
    /// Replaces what the collector says of `checks` on a node with `entries`, and the links of its patch chain with `chain`; what is
    /// not among them goes.
    ///
    /// Returns the change to publish, `None` when nothing moved. Verdicts that moved are history under the epoch `collector`.
    pub async fn replace_judged(
        &self,
        node_id: i64,
        checks: &BTreeSet<String>,
        entries: &[Entry],
        chain: &[ChainRow],
        at: i64,
    ) -> Result<Option<Change>, StoreError> {
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let change = replace(&mut transaction, node_id, checks, entries, chain, at).await?;
        transaction.commit().await.map_err(StoreError::query("commit judged findings"))?;
        Ok(change)
    }
}

async fn replace(
    conn: &mut SqliteConnection,
    node_id: i64,
    checks: &BTreeSet<String>,
    entries: &[Entry],
    chain: &[ChainRow],
    at: i64,
) -> Result<Option<Change>, StoreError> {
    let linked = chain::replace(conn, node_id, chain).await?;
    let stored = rows::all_findings(conn, node_id, Judged::Collector).await?;
    let theirs = rows::findings(conn, node_id, &entries.iter().map(|entry| entry.key.parts()).collect::<Vec<_>>()).await?;
    let mut counts = BTreeMap::new();
    let mut upserts = Vec::new();
    let mut fresh = BTreeSet::new();
    let mut history = Vec::new();
    for entry in entries {
        let Body::Finding(finding) = &entry.body else { continue };
        fresh.insert(&entry.key);
        let old = stored.get(&entry.key);
        if old.is_some_and(|old| old.hash == entry.hash.to_string()) || (old.is_none() && theirs.contains_key(&entry.key)) {
            continue;
        }
        let (verdict, severity) = (verdict_number(finding.verdict), severity_number(finding.severity));
        if let Some(old) = old {
            *counts.entry(old.cell()).or_default() -= 1;
        }
        *counts.entry(rows::cell(finding)).or_default() += 1;
        let still = old.filter(|old| old.verdict == verdict);
        if still.is_none() {
            let (from, because) = (old.map_or(0, |old| old.verdict), finding.deciding());
            history.push(Moved {
                check: &finding.check,
                subject: &finding.subject,
                from,
                to: verdict,
                severity,
                reason: &finding.reason,
                because,
            });
        }
        let changed_at = still.map_or(at, |old| old.changed_at);
        upserts.push(Upsert { finding, hash: &entry.hash, changed_at });
    }
    let gone: Vec<&Key> =
        stored.iter().filter(|(key, row)| checks.contains(&row.check_id) && !fresh.contains(key)).map(|(key, _)| key).collect();
    for old in gone.iter().filter_map(|key| stored.get(*key)) {
        *counts.entry(old.cell()).or_default() -= 1;
        let (check, subject) = (old.check_id.as_str(), old.subject.as_str());
        history.push(Moved { check, subject, from: old.verdict, to: 0, severity: old.severity, reason: "", because: String::new() });
    }
    if upserts.is_empty() && gone.is_empty() && !linked {
        return Ok(None);
    }
    rows::delete(conn, node_id, gone.iter().copied()).await?;
    rows::upsert_findings(conn, node_id, Judged::Collector, at, &upserts).await?;
    rows::add_counts(conn, node_id, &counts).await?;
    write_history(conn, node_id, &history, at).await?;
    let summary = (upserts.len() + gone.len()).to_string();
    changes::append(conn, at, node_id, ChangeKind::Findings, &summary).await.map(Some)
}

/// A verdict that moved, before it has a number. 0 stands for no finding.
struct Moved<'a> {
    check: &'a str,
    subject: &'a str,
    from: i64,
    to: i64,
    severity: i64,
    reason: &'a str,
    because: String,
}

async fn write_history(conn: &mut SqliteConnection, node_id: i64, history: &[Moved<'_>], at: i64) -> Result<(), StoreError> {
    let sql = "select coalesce(max(number), 0) from transitions where node_id = $1 and epoch = $2";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(node_id).bind(EPOCH);
    let last = query.fetch_one(&mut *conn).await.map_err(StoreError::query("number transitions"))?;
    let mut rows = Vec::new();
    for (number, moved) in (last.saturating_add(1)..).zip(history) {
        let Moved { check, subject, from, to, severity, reason, ref because } = *moved;
        rows.push(TransitionRow { number, check, subject, from, to, severity, reason, because, at });
    }
    rows::insert_transitions(conn, node_id, EPOCH, at, &rows).await.map(|_| ())
}
