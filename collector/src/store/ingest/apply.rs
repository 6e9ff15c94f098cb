//! One message of a session, inside the writer's transaction: fence, position, entries, counts, history, digest.
//!
//! Idempotent: a message that is already in changes nothing, an entry whose hash is stored changes nothing, a transition
//! is known by its number. What is decided here is pure over the rows read; the statements are in `rows`.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Body, Digest, Entry, Hash, Inventory, Key, Kind};
use holdfast_checks::inventory::kinds;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::rows::{self, Documents, Findings, Hashes, Judged, Said, TransitionRow, Upsert};
use super::{
    HISTORY_BURST, HISTORY_PER_HOUR, MAX_FINDINGS, MAX_INVENTORY, MAX_OPAQUE, NodeWrite, Progress, Refusal, RefusalCode, Written,
    parse_hash,
};
use crate::changes::{Change, ChangeKind};
use crate::store::nodes::{epoch_text, parse_digest};
use crate::store::{StoreError, changes, containers, severity_number, verdict_number};

/// A node's own time is believed when it is at most this much older than the message, in milliseconds: 30 days, so that
/// what happened in an outage keeps its time, and a clock that starts in 1970 does not make history.
const BELIEVED_AGE: i64 = 30 * 24 * 60 * 60 * 1000;

/// In milliseconds.
const HOUR: i64 = 60 * 60 * 1000;

struct Head {
    session: i64,
    epoch: String,
    seq: i64,
    digest: String,
    name: String,
    history_at: i64,
    history_spent: i64,
}

impl FromRow<'_, SqliteRow> for Head {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            session: row.try_get("session")?,
            epoch: row.try_get("epoch")?,
            seq: row.try_get("seq")?,
            digest: row.try_get("digest")?,
            name: row.try_get("name")?,
            history_at: row.try_get("history_at")?,
            history_spent: row.try_get("history_spent")?,
        })
    }
}

impl Head {
    /// What the node has used of its history, of which some has come back since.
    fn spent(&self, now: i64) -> i64 {
        let back = now.saturating_sub(self.history_at).max(0).saturating_mul(HISTORY_PER_HOUR) / HOUR;
        self.history_spent.saturating_sub(back).max(0)
    }
}

/// What is stored of the keys a message touches; of everything the node has, for the end of a snapshot.
struct Stored {
    findings: Findings,
    inventory: Documents,
    /// Of any kind: a later body under a kind that is known is opaque too.
    opaque: Hashes,
}

/// What a message comes down to.
#[derive(Default)]
struct Plan<'a> {
    fresh: BTreeMap<&'a Key, &'a Entry>,
    opaque: BTreeMap<&'a Key, &'a Hash>,
    gone: BTreeSet<Key>,
    refused: Vec<Refusal>,
    /// What is stored of a document in which the agent calls itself by another node's name.
    nameless: Option<(&'a Key, Inventory)>,
}

/// What a message did.
pub(super) struct Applied {
    /// What its session is told.
    pub(super) written: Written,
    pub(super) changes: Vec<Change>,
    pub(super) collapsed: Option<Collapsed>,
}

/// History that is not kept, because the node told more of it than it may.
pub(super) struct Collapsed {
    pub(super) node: String,
    pub(super) transitions: usize,
}

impl From<Written> for Applied {
    fn from(written: Written) -> Self {
        Self { written, changes: Vec::new(), collapsed: None }
    }
}

pub(super) async fn apply(conn: &mut SqliteConnection, write: &NodeWrite) -> Result<Applied, StoreError> {
    let sql = "select session, epoch, seq, digest, name, history_at, history_spent from nodes where node_id = $1";
    let head = sqlx::query_as::<_, Head>(sql);
    let head = head.bind(write.node_id).fetch_optional(&mut *conn).await.map_err(StoreError::query("read a node's position"))?;
    let Some(head) = head.filter(|head| head.session == write.session) else { return Ok(Written::Fenced.into()) };
    let epoch = epoch_text(write.epoch);
    let digest = parse_digest(&head.digest)?;
    let seq = i64::try_from(write.seq).unwrap_or(i64::MAX);
    if head.epoch == epoch && seq <= head.seq {
        let refused = repeated_refusals(conn, write).await?;
        // What was told of it was told when it came.
        return Ok(Written::Committed { refused, misnamed: false, digest }.into());
    }

    let mut plan = Plan::of(write);
    let sizes = rows::sizes(conn, write.node_id).await?;
    let stored = read(conn, write, &plan, sizes.opaque > 0).await?;
    plan.settle(write, &stored, sizes);
    plan.nameless = nameless(conn, write, &plan).await?;
    let spent = head.spent(write.at);
    let room = HISTORY_BURST.saturating_add(sizes.findings).saturating_sub(usize::try_from(spent).unwrap_or(usize::MAX));
    let moved = store(conn, write, &plan, &stored, &epoch, room).await?;

    let digest = match &write.progress {
        // Everything was read: the digest is made anew, so that a wrong one cannot outlive a snapshot.
        Progress::Snapshot { .. } => whole_digest(&plan, &stored)?,
        Progress::Partial | Progress::Delta => moved_digest(digest, &plan, &stored)?,
    };
    let sql = "update nodes set digest = $2, last_seen = max(last_seen, $3), \
               truncated_transitions = max(truncated_transitions, $4), epoch = $5, seq = $6, history_at = $7, history_spent = $8, \
               collapsed_transitions = collapsed_transitions + $9, whole_wanted = case when $10 then 0 else whole_wanted end \
               where node_id = $1";
    // What is stored of half a snapshot is no state an agent ever was in: whoever comes back to it has to send all of it. Keeping the
    // position would let an agent with an older file take it for the one it knows.
    let (epoch, seq) = if write.progress == Progress::Partial { (String::new(), 0) } else { (epoch, seq) };
    let query = sqlx::query(sql).bind(write.node_id).bind(digest.to_string()).bind(write.at);
    let query = query.bind(i64::try_from(write.truncated_transitions).unwrap_or(i64::MAX)).bind(epoch).bind(seq);
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let query = query.bind(write.at).bind(spent.saturating_add(number(moved.transitions))).bind(number(moved.collapsed));
    let query = query.bind(matches!(write.progress, Progress::Snapshot { .. }));
    query.execute(&mut *conn).await.map_err(StoreError::query("move a node's position"))?;

    let mut log = Vec::new();
    for (kind, n) in [(ChangeKind::Findings, moved.findings), (ChangeKind::Inventory, moved.inventory)] {
        if n > 0 {
            log.push(changes::append(conn, write.at, write.node_id, kind, &n.to_string()).await?);
        }
    }
    let collapsed = (moved.collapsed > 0).then_some(Collapsed { node: head.name, transitions: moved.collapsed });
    let misnamed = plan.nameless.is_some();
    Ok(Applied { written: Written::Committed { refused: plan.refused, misnamed, digest }, changes: log, collapsed })
}

impl<'a> Plan<'a> {
    fn of(write: &'a NodeWrite) -> Self {
        let fresh: BTreeMap<_, _> = write.upserts.iter().map(|entry| (&entry.key, entry)).collect();
        // A refused entry replaces what was stored under its key: on the node that content is no longer true.
        let refused = write.refused.iter().filter_map(refused_key);
        let opaque = write.opaque.iter().filter(|entry| !fresh.contains_key(&entry.key)).map(|entry| (&entry.key, &entry.hash));
        let mut plan = Self { opaque: opaque.collect(), fresh, gone: BTreeSet::new(), refused: write.refused.clone(), nameless: None };
        plan.gone = write.gone.iter().cloned().chain(refused).filter(|key| !plan.holds(key)).collect();
        plan
    }

    /// Will `key` be there afterwards, as far as this message says.
    fn holds(&self, key: &Key) -> bool {
        self.fresh.contains_key(key) || self.opaque.contains_key(key)
    }

    /// What the message brings, by key and content.
    fn held(&self) -> impl Iterator<Item = (&'a Key, &'a Hash)> {
        let known = self.fresh.iter().map(|(key, entry)| (*key, &entry.hash));
        known.chain(self.opaque.iter().map(|(key, hash)| (*key, *hash)))
    }

    /// Narrows the plan to what changes, given what is stored and how much there is.
    fn settle(&mut self, write: &NodeWrite, stored: &Stored, sizes: rows::Sizes) {
        let rows::Sizes { mut findings, mut inventory, mut opaque } = sizes;
        if let Progress::Snapshot { keep } = &write.progress {
            let left = stored.keys_of_node().filter(|key| !keep.contains(key) && !self.holds(key));
            let left: Vec<Key> = left.cloned().collect();
            self.gone.extend(left);
        }
        self.gone.retain(|key| stored.hash(key).is_some());
        findings = findings.saturating_sub(self.gone.iter().filter(|key| stored.findings.contains_key(key)).count());
        inventory =
            inventory.saturating_sub(self.gone.iter().filter_map(|key| stored.inventory.get(key)).map(|old| old.bytes).sum::<usize>());
        opaque = opaque.saturating_sub(self.gone.iter().filter(|key| stored.opaque.contains_key(key)).count());
        let (mut refused, mut outgrown) = (Vec::new(), Vec::new());
        self.fresh.retain(|key, entry| {
            let code = match &entry.body {
                Body::Finding(_) => match stored.findings.get(key) {
                    Some(row) if row.origin != Judged::Node.name() => Some(RefusalCode::Malformed),
                    Some(_) => None,
                    None => take(&mut findings, 1, MAX_FINDINGS),
                },
                Body::Inventory(document) => {
                    // What it replaces is given back first: one document that grows is as much as a new one.
                    inventory = inventory.saturating_sub(stored.inventory.get(*key).map_or(0, |old| old.bytes));
                    take(&mut inventory, rows::bytes(key, &document.json), MAX_INVENTORY)
                }
            };
            refused.extend(code.map(|code| refusal(key, &entry.hash, code)));
            outgrown.extend(code.filter(|_| stored.inventory.contains_key(*key)).map(|_| (*key).clone()));
            code.is_none()
        });
        // What it was before is not true any longer either.
        self.gone.extend(outgrown);
        self.opaque.retain(|key, hash| {
            let theirs = stored.findings.get(*key).is_some_and(|row| row.origin != Judged::Node.name());
            let code = match stored.opaque.contains_key(*key) {
                _ if theirs => Some(RefusalCode::Malformed),
                true => None,
                false => take(&mut opaque, 1, MAX_OPAQUE),
            };
            refused.extend(code.map(|code| refusal(key, hash, code)));
            code.is_none()
        });
        self.refused.extend(refused);
    }
}

/// The document in which the agent calls itself as another node of its cluster is called, as it is stored: without the name, by which it
/// would pass for that one. A node may well have a name of its own, a host's beside the one it was registered by.
///
/// What the agent hears, and has room for from then on, is the same as with any other name: otherwise it could ask which nodes there are.
async fn nameless<'a>(conn: &mut SqliteConnection, write: &NodeWrite, plan: &Plan<'a>) -> Result<Option<(&'a Key, Inventory)>, StoreError> {
    let named = plan.fresh.iter().find(|(key, _)| key.kind() == Kind::Inventory && key.parts() == (kinds::NODE, "self"));
    let Some((key, Body::Inventory(document))) = named.map(|(key, entry)| (*key, &entry.body)) else { return Ok(None) };
    let Ok(mut says) = serde_json::from_str::<serde_json::Value>(&document.json) else { return Ok(None) };
    let Some(name) = says.get_mut("name") else { return Ok(None) };
    let sql = "select count(*) from nodes me join nodes other on other.cluster = me.cluster and other.name = $2 \
               where me.node_id = $1 and me.name <> $2 and other.uid <> me.uid and other.state <> 'gone'";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(write.node_id).bind(name.as_str().unwrap_or_default());
    if query.fetch_one(&mut *conn).await.map_err(StoreError::query("look for a node of that name"))? == 0 {
        return Ok(None);
    }
    *name = "".into();
    Ok(Some((key, Inventory { json: padded(says.to_string(), document.json.len()) })))
}

/// JSON that takes up `bytes`, and ends in a space. What would be longer, written otherwise than it came, is left out altogether.
fn padded(mut json: String, bytes: usize) -> String {
    if json.len() >= bytes {
        "{}".clone_into(&mut json);
    }
    json.extend(std::iter::repeat_n(' ', bytes.saturating_sub(json.len())));
    json
}

/// Takes from a quota: refused when there is not enough left.
fn take(used: &mut usize, n: usize, limit: usize) -> Option<RefusalCode> {
    let after = used.saturating_add(n);
    if after > limit {
        return Some(RefusalCode::Quota);
    }
    *used = after;
    None
}

fn refusal(key: &Key, hash: &Hash, code: RefusalCode) -> Refusal {
    Refusal { kind: i32::from(key.kind().number()), key: key.as_str().to_owned(), hash: hash.0.to_vec(), code }
}

impl Stored {
    fn keys_of_node(&self) -> impl Iterator<Item = &Key> {
        let findings = self.findings.iter().filter(|(_, row)| row.origin == Judged::Node.name()).map(|(key, _)| key);
        findings.chain(self.inventory.keys()).chain(self.opaque.keys())
    }

    fn hash(&self, key: &Key) -> Option<&str> {
        let known = match key.kind() {
            Kind::Finding => self.findings.get(key).filter(|row| row.origin == Judged::Node.name()).map(|row| row.hash.as_str()),
            Kind::Inventory => self.inventory.get(key).map(|row| row.hash.as_str()),
            Kind::Other(_) => None,
        };
        known.or_else(|| self.opaque.get(key).map(String::as_str))
    }
}

async fn read(conn: &mut SqliteConnection, write: &NodeWrite, plan: &Plan<'_>, has_opaque: bool) -> Result<Stored, StoreError> {
    let touched: BTreeSet<&Key> = plan.held().map(|(key, _)| key).chain(&plan.gone).collect();
    let of = |kind| touched.iter().filter(move |key| key.kind() == kind).map(|key| key.parts()).collect::<Vec<_>>();
    let mut findings = rows::findings(conn, write.node_id, &of(Kind::Finding)).await?;
    let mut inventory = rows::inventory(conn, write.node_id, &of(Kind::Inventory)).await?;
    // Hardly any node has such, so hardly any message asks.
    let opaque = if has_opaque { rows::opaque(conn, write.node_id).await? } else { Hashes::new() };
    if matches!(write.progress, Progress::Snapshot { .. }) {
        findings.extend(rows::all_findings(conn, write.node_id, Judged::Node).await?);
        inventory.extend(rows::all_inventory(conn, write.node_id).await?);
    }
    Ok(Stored { findings, inventory, opaque })
}

/// How many rows a message moved.
struct Moved {
    findings: u64,
    inventory: u64,
    /// Of history: kept, and beyond what may be told.
    transitions: usize,
    collapsed: usize,
}

async fn store(
    conn: &mut SqliteConnection,
    write: &NodeWrite,
    plan: &Plan<'_>,
    stored: &Stored,
    epoch: &str,
    room: usize,
) -> Result<Moved, StoreError> {
    let (mut findings, mut inventory, mut counts) = (Vec::new(), Vec::<(&Entry, &Inventory)>::new(), BTreeMap::new());
    for (key, entry) in &plan.fresh {
        let nameless = plan.nameless.as_ref().filter(|(other, _)| other == key).map(|(_, document)| document);
        // A name that was another's may be free by now, or the other way round.
        let renamed = stored.inventory.get(*key).is_some_and(|old| old.nameless != nameless.is_some());
        let same = stored.hash(key) == Some(entry.hash.to_string().as_str()) && !renamed;
        match &entry.body {
            _ if same => {}
            Body::Inventory(document) => inventory.push((*entry, nameless.unwrap_or(document))),
            Body::Finding(finding) => {
                let verdict = verdict_number(finding.verdict);
                let old = stored.findings.get(*key);
                if let Some(old) = old {
                    *counts.entry(old.cell()).or_default() -= 1;
                }
                *counts.entry(rows::cell(finding)).or_default() += 1;
                let still = old.filter(|old| old.verdict == verdict).map(|old| old.changed_at);
                let changed_at = still.unwrap_or_else(|| believed(entry.changed_at, write.at));
                findings.push(Upsert { finding, hash: &entry.hash, changed_at });
            }
        }
    }
    // What was known and is opaque now, or the other way round, goes from where it was.
    let moved = plan.opaque.keys().copied().filter(|key| stored.hash(key).is_some() && !stored.opaque.contains_key(*key));
    let left: Vec<&Key> = plan.gone.iter().chain(moved).collect();
    for old in left.iter().filter_map(|key| stored.findings.get(*key)) {
        *counts.entry(old.cell()).or_default() -= 1;
    }
    rows::delete(conn, write.node_id, left.iter().copied()).await?;
    let known = plan.gone.iter().chain(plan.fresh.keys().copied()).filter(|key| stored.opaque.contains_key(*key));
    rows::delete_opaque(conn, write.node_id, known).await?;
    let opaque: Vec<_> = plan.opaque.iter().filter(|(key, hash)| stored.opaque.get(**key) != Some(&hash.to_string())).collect();
    rows::upsert_opaque(conn, write.node_id, write.at, &opaque).await?;
    rows::upsert_findings(conn, write.node_id, Judged::Node, write.at, &findings).await?;
    rows::upsert_inventory(conn, write.node_id, write.at, &inventory).await?;
    containers::delete(conn, write.node_id, left.iter().copied()).await?;
    containers::upsert(conn, write.node_id, write.at, &inventory.iter().map(|(entry, _)| *entry).collect::<Vec<_>>()).await?;
    rows::add_counts(conn, write.node_id, &counts).await?;
    let appeared: BTreeSet<_> = write.transitions.iter().filter(|transition| transition.from.is_none()).map(|t| t.key.parts()).collect();
    let mut history = history(write, rows::said(conn, write.node_id, epoch, &appeared).await?);
    // The oldest are kept: what is beyond is told by what the finding is now.
    let collapsed = history.len().saturating_sub(room);
    history.truncate(room);
    let added = rows::insert_transitions(conn, write.node_id, epoch, write.at, &history).await?;
    let accepted = plan.held().map(|(key, _)| key).chain(&plan.gone);
    rows::delete_refused(conn, write.node_id, accepted).await?;
    rows::insert_refused(conn, write.node_id, write.at, &plan.refused).await?;

    let judged = left.iter().filter(|key| key.kind() == Kind::Finding).count();
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let findings = number(findings.len() + judged).max(added);
    let inventory = number(inventory.len() + opaque.len() + left.len() - judged);
    Ok(Moved { findings, inventory, transitions: usize::try_from(added).unwrap_or(usize::MAX), collapsed })
}

/// Transitions as stored. An agent that lost its spool finds everything new again; what was last said of a finding in another epoch is
/// not new. What is stored of the finding itself does not count: a snapshot brings the end of a history before the history. Nor do later
/// transitions: one that is sent again must come to the same.
fn history(write: &NodeWrite, mut said: BTreeMap<Key, Said>) -> Vec<TransitionRow<'_>> {
    let mut rows = Vec::with_capacity(write.transitions.len());
    for transition in &write.transitions {
        let Ok(number) = i64::try_from(transition.number) else { continue };
        let to = transition.to.map_or(0, verdict_number);
        let mut from = transition.from.map_or(0, verdict_number);
        let known = said.entry(transition.key.clone()).or_default();
        if transition.from.is_none() && known.first_here.is_none_or(|first| first >= number) {
            from = known.last_elsewhere.unwrap_or(0);
            if known.last_elsewhere == Some(to) {
                continue;
            }
        }
        known.first_here = Some(known.first_here.map_or(number, |first| first.min(number)));
        let (check, subject) = transition.key.parts();
        rows.push(TransitionRow {
            number,
            check,
            subject,
            from,
            to,
            severity: severity_number(transition.severity),
            reason: &transition.reason,
            because: &transition.because,
            at: believed(transition.at, write.at),
        });
    }
    rows
}

/// The node's own time when it can be true, else ours.
fn believed(said: i64, at: i64) -> i64 {
    if said > at || said < at.saturating_sub(BELIEVED_AGE) { at } else { said }
}

fn moved_digest(mut digest: Digest, plan: &Plan<'_>, stored: &Stored) -> Result<Digest, StoreError> {
    for key in plan.held().map(|(key, _)| key).chain(&plan.gone) {
        if let Some(old) = stored.hash(key) {
            digest.remove(key, &parse_hash(old)?);
        }
    }
    plan.held().for_each(|(key, hash)| digest.add(key, hash));
    Ok(digest)
}

fn whole_digest(plan: &Plan<'_>, stored: &Stored) -> Result<Digest, StoreError> {
    let mut digest = Digest::EMPTY;
    for key in stored.keys_of_node().filter(|key| !plan.gone.contains(key) && !plan.holds(key)) {
        if let Some(hash) = stored.hash(key) {
            digest.add(key, &parse_hash(hash)?);
        }
    }
    plan.held().for_each(|(key, hash)| digest.add(key, hash));
    Ok(digest)
}

fn refused_key(refusal: &Refusal) -> Option<Key> {
    Key::parse(Kind::from_number(refusal.kind)?, &refusal.key)
}

/// What a repeated message is told again: the refusals it was told the first time.
async fn repeated_refusals(conn: &mut SqliteConnection, write: &NodeWrite) -> Result<Vec<Refusal>, StoreError> {
    let sql = "select kind, key, hash, code from refused where node_id = $1 and code = $2";
    let query = sqlx::query_as::<_, (i64, String, String, i64)>(sql).bind(write.node_id).bind(RefusalCode::Quota.number());
    let rows = query.fetch_all(conn).await.map_err(StoreError::query("read refused entries"))?;
    let rows: BTreeMap<_, _> = rows.into_iter().map(|(kind, key, hash, code)| ((kind, key, hash), code)).collect();
    let known = write.upserts.iter().map(|entry| (&entry.key, &entry.hash));
    let all = known.chain(write.opaque.iter().map(|entry| (&entry.key, &entry.hash)));
    let again = all.filter_map(|(key, hash)| {
        let code = rows.get(&(i64::from(key.kind().number()), key.as_str().to_owned(), hash.to_string()))?;
        Some(refusal(key, hash, RefusalCode::of(*code)?))
    });
    Ok(write.refused.iter().cloned().chain(again).collect())
}
