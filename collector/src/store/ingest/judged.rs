//! Findings the collector judges itself: replaced check by check, counted like the node's own, outside its digest.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Body, Entry, Key};
use sqlx::SqliteConnection;

use super::rows::{self, Judged, Upsert};
use crate::changes::{Change, ChangeKind};
use crate::store::{Store, StoreError, changes, severity_number, verdict_number};

impl Store {
    /// Replaces what the collector says of `checks` on a node with `entries`; what is not among them goes.
    ///
    /// Returns the change to publish, `None` when nothing moved. History is the node's own and not written here.
    pub async fn replace_judged(
        &self,
        node_id: i64,
        checks: &BTreeSet<String>,
        entries: &[Entry],
        at: i64,
    ) -> Result<Option<Change>, StoreError> {
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let change = replace(&mut transaction, node_id, checks, entries, at).await?;
        transaction.commit().await.map_err(StoreError::query("commit judged findings"))?;
        Ok(change)
    }
}

async fn replace(
    conn: &mut SqliteConnection,
    node_id: i64,
    checks: &BTreeSet<String>,
    entries: &[Entry],
    at: i64,
) -> Result<Option<Change>, StoreError> {
    let stored = rows::all_findings(conn, node_id, Judged::Collector).await?;
    let theirs = rows::findings(conn, node_id, &entries.iter().map(|entry| entry.key.parts()).collect::<Vec<_>>()).await?;
    let mut counts = BTreeMap::new();
    let mut upserts = Vec::new();
    let mut fresh = BTreeSet::new();
    for entry in entries {
        let Body::Finding(finding) = &entry.body else { continue };
        fresh.insert(&entry.key);
        let old = stored.get(&entry.key);
        if old.is_some_and(|old| old.hash == entry.hash.to_string()) || (old.is_none() && theirs.contains_key(&entry.key)) {
            continue;
        }
        let (verdict, severity) = (verdict_number(finding.verdict), severity_number(finding.severity));
        if let Some(old) = old {
            *counts.entry((old.check_id.clone(), old.severity, old.verdict)).or_default() -= 1;
        }
        *counts.entry((finding.check.clone(), severity, verdict)).or_default() += 1;
        let changed_at = old.filter(|old| old.verdict == verdict).map_or(at, |old| old.changed_at);
        upserts.push(Upsert { finding, hash: &entry.hash, changed_at });
    }
    let gone: Vec<&Key> =
        stored.iter().filter(|(key, row)| checks.contains(&row.check_id) && !fresh.contains(key)).map(|(key, _)| key).collect();
    for old in gone.iter().filter_map(|key| stored.get(*key)) {
        *counts.entry((old.check_id.clone(), old.severity, old.verdict)).or_default() -= 1;
    }
    if upserts.is_empty() && gone.is_empty() {
        return Ok(None);
    }
    rows::delete(conn, node_id, gone.iter().copied()).await?;
    rows::upsert_findings(conn, node_id, Judged::Collector, at, &upserts).await?;
    rows::add_counts(conn, node_id, &counts).await?;
    let summary = (upserts.len() + gone.len()).to_string();
    changes::append(conn, at, node_id, ChangeKind::Findings, &summary).await.map(Some)
}
