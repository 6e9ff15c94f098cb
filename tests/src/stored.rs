//! What the collector has stored, asked of the database file itself: whether it fits together, and whether it is what a node is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use holdfast_checks::entries::{Digest, Hash, Key, Kind};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

/// An open database. Reads only.
#[derive(Debug)]
pub struct Stored(SqlitePool);

/// A stored transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The spool it came from.
    pub epoch: String,
    /// Its number there.
    pub number: i64,
    /// Whose.
    pub key: Key,
    /// The number of the verdict before; 0 for none.
    pub from: i64,
    /// And after.
    pub to: i64,
}

/// All that is stored of one node.
#[derive(Debug)]
pub struct StoredNode {
    /// Its name, for messages.
    pub name: String,
    /// The spool it is in step with.
    pub epoch: String,
    /// The digest it is said to have.
    pub digest: String,
    /// Hash and number of the verdict of every entry of its own; 0 for inventory.
    pub rows: BTreeMap<Key, (Hash, i64)>,
    /// History as the agent told it, in the order it was stored; what the collector judges has its own.
    pub steps: Vec<Step>,
    /// Entries that were refused, and transitions that are declared lost.
    pub lost: i64,
    counts_differ: bool,
}

impl Stored {
    /// Opens the file.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        Ok(Self(SqlitePool::connect_with(options).await.with_context(|| format!("open {}", file.display()))?))
    }

    /// Closes it.
    pub async fn close(self) {
        self.0.close().await;
    }

    /// Is the file itself in order.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub async fn is_sound(&self) -> Result<()> {
        let said: String = sqlx::query_scalar("pragma integrity_check").fetch_one(&self.0).await?;
        ensure!(said == "ok", "the database is damaged: {said}");
        Ok(())
    }

    /// The digest a node is said to have; `None` before its first session.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn digest(&self, name: &str) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("select digest from nodes where name = $1").bind(name).fetch_optional(&self.0).await?)
    }

    /// Everything of a node.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    pub async fn node(&self, name: &str) -> Result<StoredNode> {
        let sql = "select node_id, epoch, digest, truncated_transitions + (select count(*) from refused where refused.node_id = nodes.node_id) \
                   from nodes where name = $1";
        let node: Option<(i64, String, String, i64)> = sqlx::query_as(sql).bind(name).fetch_optional(&self.0).await?;
        let (id, epoch, digest, lost) = node.with_context(|| format!("{name} is not stored"))?;
        let name = name.to_owned();
        let (rows, steps, counts_differ) = (self.rows(id).await?, self.steps(id).await?, self.counts_differ(id).await?);
        Ok(StoredNode { name, epoch, digest, rows, steps, lost, counts_differ })
    }

    async fn rows(&self, id: i64) -> Result<BTreeMap<Key, (Hash, i64)>> {
        let sql = "select check_id, subject, hash, verdict from findings where node_id = $1 and origin = 'node'";
        let findings: Vec<(String, String, String, i64)> = sqlx::query_as(sql).bind(id).fetch_all(&self.0).await?;
        let sql = "select kind, name, hash from inventory where node_id = $1";
        let inventory: Vec<(String, String, String)> = sqlx::query_as(sql).bind(id).fetch_all(&self.0).await?;
        let mut rows = BTreeMap::new();
        for (check, subject, hash, verdict) in findings {
            rows.insert(Key::finding(&check, &subject), (parse(&hash)?, verdict));
        }
        for (kind, name, hash) in inventory {
            rows.insert(Key::inventory(&kind, &name), (parse(&hash)?, 0));
        }
        Ok(rows)
    }

    async fn steps(&self, id: i64) -> Result<Vec<Step>> {
        let sql = "select epoch, number, check_id, subject, from_verdict, to_verdict from transitions \
                   where node_id = $1 and epoch <> 'collector' order by rowid";
        let rows: Vec<(String, i64, String, String, i64, i64)> = sqlx::query_as(sql).bind(id).fetch_all(&self.0).await?;
        let step = |(epoch, number, check, subject, from, to): (String, i64, String, String, i64, i64)| {
            let key = Key::finding(&check, &subject);
            Step { epoch, number, key, from, to }
        };
        Ok(rows.into_iter().map(step).collect())
    }

    async fn counts_differ(&self, id: i64) -> Result<bool> {
        let counted = "select check_id, severity, verdict, count(*) from findings where node_id = $1 group by 1, 2, 3 order by 1, 2, 3";
        let kept = "select check_id, severity, verdict, sum(n) from counts where node_id = $1 group by 1, 2, 3 having sum(n) <> 0 \
                    order by 1, 2, 3";
        let counted: Vec<(String, i64, i64, i64)> = sqlx::query_as(counted).bind(id).fetch_all(&self.0).await?;
        let kept: Vec<(String, i64, i64, i64)> = sqlx::query_as(kept).bind(id).fetch_all(&self.0).await?;
        Ok(counted != kept)
    }
}

impl StoredNode {
    /// The digest is that of the rows, the counts are those of the findings, nothing was refused or is declared lost.
    ///
    /// # Errors
    /// What is not so.
    pub fn is_consistent(&self) -> Result<()> {
        let name = &self.name;
        let mut made = Digest::EMPTY;
        self.rows.iter().for_each(|(key, (hash, _))| made.add(key, hash));
        ensure!(made.to_string() == self.digest, "{name}: the stored rows are not what their digest says");
        ensure!(!self.counts_differ, "{name}: the counts are not those of the findings");
        ensure!(self.lost == 0, "{name}: {} refused or declared lost", self.lost);
        Ok(())
    }

    /// How many spools its history came from.
    pub fn epochs(&self) -> usize {
        self.steps.iter().map(|step| &step.epoch).collect::<BTreeSet<_>>().len()
    }

    /// Nothing is missing and nothing is twice in its history: of each finding every transition begins where the one before it ended,
    /// and the last ends where the finding is. A finding that went together with its spool goes without a word.
    ///
    /// # Errors
    /// What is not so.
    pub fn has_whole_history(&self) -> Result<()> {
        let name = &self.name;
        let mut stands: BTreeMap<&Key, &Step> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for step in &self.steps {
            ensure!(numbers.insert((&step.epoch, step.number)), "{name}: {step:?} is there twice");
            let before = stands.insert(&step.key, step);
            let follows = before.map_or(step.from == 0, |before| before.to == step.from);
            ensure!(follows, "{name}: the history of {:?} has a gap: {before:?}, then {step:?}", step.key);
        }
        for (key, (_, verdict)) in self.rows.iter().filter(|(key, _)| key.kind() == Kind::Finding) {
            let last = stands.get(key);
            ensure!(last.is_some_and(|last| last.to == *verdict), "{name}: {key:?} is {verdict}, its history ends with {last:?}");
        }
        let left = stands.iter().find(|(key, last)| last.to != 0 && last.epoch == self.epoch && !self.rows.contains_key(**key));
        ensure!(left.is_none(), "{name}: not there any more, and its history does not say so: {left:?}");
        Ok(())
    }
}

fn parse(hash: &str) -> Result<Hash> {
    Ok(Hash(u128::from_str_radix(hash, 16).with_context(|| format!("`{hash}` is no hash"))?.to_be_bytes()))
}
