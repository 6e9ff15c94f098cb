//! What the collector judges itself: findings, replaced check by check, counted like the node's own, outside its digest, with
//! a history of their own beside the node's; and the node's patch chain.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Body, Entry, Key};
use sqlx::SqliteConnection;

use super::rows::{self, Cell, Judged, StoredFinding, TransitionRow, Upsert};
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
        // Most nodes that are judged again are judged the same, and need no turn of the one writer.
        let mut reader = self.reader.acquire().await.map_err(StoreError::query("read judged findings"))?;
        let same = Plan::make(&mut reader, node_id, checks, entries, chain, at).await?.is_empty();
        drop(reader);
        if same {
            return Ok(None);
        }
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(StoreError::query("begin a transaction"))?;
        let plan = Plan::make(&mut transaction, node_id, checks, entries, chain, at).await?;
        let change = plan.write(&mut transaction, node_id, at).await?;
        transaction.commit().await.map_err(StoreError::query("commit judged findings"))?;
        Ok(change)
    }
}

/// What has to be written so that a node's rows say what was judged.
struct Plan<'a> {
    upserts: Vec<Upsert<'a>>,
    gone: Vec<(Key, StoredFinding)>,
    counts: BTreeMap<Cell, i64>,
    history: Vec<Moved>,
    chain: chain::Plan<'a>,
}

impl<'a> Plan<'a> {
    async fn make(
        conn: &mut SqliteConnection,
        node_id: i64,
        checks: &BTreeSet<String>,
        entries: &'a [Entry],
        chain: &'a [ChainRow],
        at: i64,
    ) -> Result<Self, StoreError> {
        let chain = chain::Plan::make(conn, node_id, chain).await?;
        let mut stored = rows::all_findings(conn, node_id, Judged::Collector).await?;
        let theirs = rows::findings(conn, node_id, &entries.iter().map(|entry| entry.key.parts()).collect::<Vec<_>>()).await?;
        let mut plan = Self { upserts: Vec::new(), gone: Vec::new(), counts: BTreeMap::new(), history: Vec::new(), chain };
        let mut fresh = BTreeSet::new();
        for entry in entries {
            let Body::Finding(finding) = &entry.body else { continue };
            if !fresh.insert(&entry.key) {
                continue;
            }
            let old = stored.remove(&entry.key);
            if old.as_ref().is_some_and(|old| old.hash == entry.hash.to_string()) || (old.is_none() && theirs.contains_key(&entry.key)) {
                continue;
            }
            if let Some(old) = &old {
                *plan.counts.entry(old.cell()).or_default() -= 1;
            }
            *plan.counts.entry(rows::cell(finding)).or_default() += 1;
            let verdict = verdict_number(finding.verdict);
            let still = old.as_ref().filter(|old| old.verdict == verdict);
            if still.is_none() {
                plan.history.push(Moved {
                    check: finding.check.clone(),
                    subject: finding.subject.clone(),
                    from: old.as_ref().map_or(0, |old| old.verdict),
                    to: verdict,
                    severity: severity_number(finding.severity),
                    reason: finding.reason.clone(),
                    because: finding.deciding(),
                });
            }
            let changed_at = still.map_or(at, |old| old.changed_at);
            plan.upserts.push(Upsert { finding, hash: &entry.hash, changed_at });
        }
        // What is left was not judged any more.
        plan.gone = stored.into_iter().filter(|(_, row)| checks.contains(&row.check_id)).collect();
        for (_, old) in &plan.gone {
            *plan.counts.entry(old.cell()).or_default() -= 1;
            let (check, subject) = (old.check_id.clone(), old.subject.clone());
            let (reason, because) = (String::new(), String::new());
            plan.history.push(Moved { check, subject, from: old.verdict, to: 0, severity: old.severity, reason, because });
        }
        Ok(plan)
    }

    fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.gone.is_empty() && self.chain.is_empty()
    }

    async fn write(&self, conn: &mut SqliteConnection, node_id: i64, at: i64) -> Result<Option<Change>, StoreError> {
        if self.is_empty() {
            return Ok(None);
        }
        self.chain.write(conn, node_id).await?;
        rows::delete(conn, node_id, self.gone.iter().map(|(key, _)| key)).await?;
        rows::upsert_findings(conn, node_id, Judged::Collector, at, &self.upserts).await?;
        rows::add_counts(conn, node_id, &self.counts).await?;
        write_history(conn, node_id, &self.history, at).await?;
        let summary = (self.upserts.len() + self.gone.len()).to_string();
        changes::append(conn, at, node_id, ChangeKind::Findings, &summary).await.map(Some)
    }
}

/// A verdict that moved, before it has a number. 0 stands for no finding.
struct Moved {
    check: String,
    subject: String,
    from: i64,
    to: i64,
    severity: i64,
    reason: String,
    because: String,
}

async fn write_history(conn: &mut SqliteConnection, node_id: i64, history: &[Moved], at: i64) -> Result<(), StoreError> {
    let sql = "select coalesce(max(number), 0) from transitions where node_id = $1 and epoch = $2";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(node_id).bind(EPOCH);
    let last = query.fetch_one(&mut *conn).await.map_err(StoreError::query("number transitions"))?;
    let mut rows = Vec::new();
    for (number, moved) in (last.saturating_add(1)..).zip(history) {
        let Moved { check, subject, from, to, severity, reason, because } = moved;
        let (from, to, severity) = (*from, *to, *severity);
        rows.push(TransitionRow { number, check, subject, from, to, severity, reason, because, at });
    }
    rows::insert_transitions(conn, node_id, EPOCH, at, &rows).await.map(|_| ())
}
