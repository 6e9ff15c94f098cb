//! What must hold once everything is well again, asked of the database file itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdfast_checks::entries::{Digest, Hash, Key, Kind, Verdict};
use holdfast_collector::store::verdict_number;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::agent::Agent;

type Problem = Result<(), String>;

fn sure(holds: bool, what: impl FnOnce() -> String) -> Problem {
    if holds { Ok(()) } else { Err(what()) }
}

pub(crate) struct Stored(SqlitePool);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    epoch: String,
    number: i64,
    key: Key,
    from: i64,
    to: i64,
}

fn parse(hash: &str) -> Hash {
    Hash(u128::from_str_radix(hash, 16).unwrap().to_be_bytes())
}

fn end(verdict: Option<Verdict>) -> i64 {
    verdict.map_or(0, verdict_number)
}

impl Stored {
    pub(crate) async fn open(file: &Path) -> Self {
        Self(SqlitePool::connect_with(SqliteConnectOptions::new().filename(file).read_only(true)).await.unwrap())
    }

    pub(crate) async fn close(self) {
        self.0.close().await;
    }

    /// The digest a node's row has; `None` before its first session.
    pub(crate) async fn digest(&self, name: &str) -> Option<String> {
        let sql = "select digest from nodes where name = $1";
        sqlx::query_scalar(sql).bind(name).fetch_optional(&self.0).await.unwrap()
    }

    async fn rows(&self, node_id: i64) -> BTreeMap<Key, (Hash, i64)> {
        let sql = "select check_id, subject, hash, verdict from findings where node_id = $1 and origin = 'node'";
        let findings: Vec<(String, String, String, i64)> = sqlx::query_as(sql).bind(node_id).fetch_all(&self.0).await.unwrap();
        let sql = "select kind, name, hash from inventory where node_id = $1";
        let inventory: Vec<(String, String, String)> = sqlx::query_as(sql).bind(node_id).fetch_all(&self.0).await.unwrap();
        let findings =
            findings.into_iter().map(|(check, subject, hash, verdict)| (Key::finding(&check, &subject), (parse(&hash), verdict)));
        let inventory = inventory.into_iter().map(|(kind, name, hash)| (Key::inventory(&kind, &name), (parse(&hash), 0)));
        findings.chain(inventory).collect()
    }

    async fn steps(&self, node_id: i64) -> Vec<Step> {
        let sql = "select epoch, number, check_id, subject, from_verdict, to_verdict from transitions where node_id = $1 \
                   order by rowid";
        let rows: Vec<(String, i64, String, String, i64, i64)> = sqlx::query_as(sql).bind(node_id).fetch_all(&self.0).await.unwrap();
        let step = |(epoch, number, check, subject, from, to): (String, i64, String, String, i64, i64)| {
            let key = Key::finding(&check, &subject);
            Step { epoch, number, key, from, to }
        };
        rows.into_iter().map(step).collect()
    }

    /// Everything an agent's node is, the collector has, once; and its history fits together.
    pub(crate) async fn agrees_with(&self, agent: &Agent) -> Problem {
        let name = &agent.name;
        let sql = "select node_id, digest, truncated_transitions from nodes where name = $1";
        let node: Option<(i64, String, i64)> = sqlx::query_as(sql).bind(name).fetch_optional(&self.0).await.unwrap();
        let (node_id, digest, truncated) = node.ok_or_else(|| format!("{name} is not stored"))?;
        let state = agent.node.state();
        sure(digest == state.digest().to_string(), || format!("{name}: digest {digest}, the node's is {}", state.digest()))?;
        let rows = self.rows(node_id).await;
        let mut made = Digest::EMPTY;
        rows.iter().for_each(|(key, (hash, _))| made.add(key, hash));
        sure(made == state.digest(), || format!("{name}: the stored rows are not what their digest says"))?;
        sure(rows.len() == state.len(), || format!("{name}: {} rows for {} entries", rows.len(), state.len()))?;
        let refused: i64 =
            sqlx::query_scalar("select count(*) from refused where node_id = $1").bind(node_id).fetch_one(&self.0).await.unwrap();
        sure(refused == 0 && truncated == 0, || format!("{name}: {refused} refused, {truncated} truncated"))?;
        self.counts(node_id, name).await?;

        let steps = self.steps(node_id).await;
        let epochs = steps.iter().map(|step| &step.epoch).collect::<BTreeSet<_>>().len();
        let had = usize::try_from(agent.epochs).unwrap();
        sure(epochs <= had, || format!("{name}: {epochs} epochs are stored, it had {had} spools"))?;
        // Killed while its disk was broken, an agent finds again what it has told already: that is said in the log of such an agent.
        if !agent.forgot {
            chains(name, &steps, &rows)?;
        }
        if agent.died || agent.damped { Ok(()) } else { exactly(name, &steps, agent) }
    }

    async fn counts(&self, node_id: i64, name: &str) -> Problem {
        let counted = "select check_id, severity, verdict, sum(1) from findings where node_id = $1 group by 1, 2, 3 order by 1, 2, 3";
        let kept = "select check_id, severity, verdict, sum(n) from counts where node_id = $1 group by 1, 2, 3 having sum(n) <> 0 order by 1, 2, 3";
        let rows =
            async |sql: &'static str| sqlx::query_as::<_, (String, i64, i64, i64)>(sql).bind(node_id).fetch_all(&self.0).await.unwrap();
        sure(rows(kept).await == rows(counted).await, || format!("{name}: the counts are not those of the findings"))
    }
}

/// Of each finding: every transition begins where the one before it ended, and the last ends where the finding is. A finding that went
/// while nobody kept it in mind, because the spool was lost, goes without a word.
fn chains(name: &str, steps: &[Step], rows: &BTreeMap<Key, (Hash, i64)>) -> Problem {
    let mut stands: BTreeMap<&Key, &Step> = BTreeMap::new();
    for step in steps {
        let before = stands.insert(&step.key, step);
        let follows = before.map_or(step.from == 0, |before| before.to == step.from);
        sure(follows, || format!("{name}: the history of {:?} has a gap: {before:?}, then {step:?}", step.key))?;
    }
    for (key, (_, verdict)) in rows.iter().filter(|(key, _)| key.kind() == Kind::Finding) {
        let last = stands.get(key);
        sure(last.is_some_and(|last| last.to == *verdict), || format!("{name}: {key:?} is {verdict}, its history ends with {last:?}"))?;
    }
    let epoch = steps.last().map(|step| &step.epoch);
    let left = stands.iter().find(|(key, last)| last.to != 0 && Some(&last.epoch) == epoch && !rows.contains_key(**key));
    sure(left.is_none(), || format!("{name}: not there any more, and its history does not say so: {left:?}"))
}

/// Of an agent that never died every transition is known: each is stored, once, in order.
fn exactly(name: &str, steps: &[Step], agent: &Agent) -> Problem {
    let stored: Vec<_> = steps.iter().map(|step| (step.key.clone(), step.from, step.to)).collect();
    let made: Vec<_> = agent.history.iter().map(|made| (made.key.clone(), end(made.from), end(made.to))).collect();
    let differ = stored.iter().zip(&made).position(|(stored, made)| stored != made);
    let what = || match differ {
        Some(at) => format!("{name}: transition {at} is {:?}, it was {:?}", stored[at], made[at]),
        None => format!("{name}: {} transitions are stored of {}", stored.len(), made.len()),
    };
    sure(stored == made, what)
}
