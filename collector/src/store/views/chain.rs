//! The patch chain over the fleet: what runs, how it stands, on how many nodes; by version, node by node, one node whole.
//!
//! Numbers of pages are numbers of nodes: a node with two kubelets of one version is one node. Judging is not done here: rows are
//! what `fleet` wrote, and what it could not know stays unknown.

mod filter;

use std::collections::BTreeMap;

use holdfast_checks::facts::Observed;
use holdfast_checks::inventory::kinds;
use holdfast_checks::versions::{Activation, Headline, Link};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

pub use filter::{ChainFilter, ChainGroup, Lag};

pub(super) use self::filter::headline;
use super::codes::{At, NODE_STATE, NodeState};
use super::cursor::{BadCursor, Cursor};
use super::filter::Filter;
use super::inventory::text;
use super::nodes::NodeRow;
use super::select::{Selection, any_of, find};
use super::{Page, ViewError, Views, failed};
use crate::store::chain::{headline_from, headline_number};
use crate::store::containers::NOT_KNOWN;

/// The most groups read; beyond that a page says so.
const MOST_GROUPS: i64 = 20_000;
/// The most ways in which the nodes of one group differ that are told apart.
const MOST_VARIANTS: usize = 4;
/// Nodes named of which nothing is judged.
const MOST_NAMED: usize = 10;
/// Links read at a time.
const CHUNK: usize = 200;
/// The last day a timeline shows, from today.
const AHEAD_DAYS: i64 = 366;

const FROM: &str = "from chain c join nodes n on n.node_id = c.node_id where 1 = 1";
/// The sort key of the list, every part ascending.
const KEY: [&str; 5] = ["c.headline", "n.cluster", "n.name", "c.node_id", "c.subject"];
/// Names of the orders that page positions belong to.
const LIST: &str = "chain/none";
const GROUPS: &str = "chain/running";

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChainTotals {
    /// Nodes.
    pub nodes: i64,
    /// Links: a node can have several kubelets.
    pub links: i64,
    /// Nodes of those that do not report: what they ran is last known.
    pub last_known: i64,
    /// Nodes where something may affect it, which is not certain.
    pub possible: i64,
}

/// How a component stands over the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChainSummaryRow {
    /// The component.
    pub component: String,
    /// Nodes it was seen on.
    pub nodes: i64,
    /// Nodes by headline, the worst first; a node with two of it can be in two.
    #[schema(value_type = Object)]
    #[serde(serialize_with = "by_name")]
    pub headlines: [(Headline, i64); 6],
}

/// Something installed that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Waiting {
    /// `reboot_pending`, `restart_pending` or `newer_not_selected`.
    pub activation: String,
    /// Nodes.
    pub nodes: i64,
}

/// What runs alike and stands alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChainGroupRow {
    /// Where it stands: `known_exploited`, `end_of_life`, `reboot_pending`, `patch_behind`, unknown, supported.
    #[schema(value_type = String)]
    pub headline: Headline,
    /// The component.
    pub component: String,
    /// What runs; absent when not known.
    pub running: Option<String>,
    /// The system, `debian 12`; absent when not known.
    pub image: Option<String>,
    /// Nodes.
    pub nodes: i64,
    /// Links: a node can have several.
    pub links: i64,
    /// Nodes of those that do not report.
    pub last_known: i64,
    /// Days behind the newest of its series; absent when not known.
    pub behind_days: Option<i64>,
    /// The versions that fix what affects it; the most common first, at most four.
    pub fixed_in: Vec<String>,
    /// What is installed and does not run, by what it waits for.
    pub waiting: Vec<Waiting>,
    /// The last day of support; the first where there are several.
    pub ends: Option<String>,
    /// Vulnerabilities that affect it, on the node with most.
    pub affecting: i64,
    /// How many of those are known to be exploited.
    pub exploited: i64,
    /// Vulnerabilities that may affect it, on the node with most. They never alert.
    pub possible: i64,
    /// Nodes with such.
    pub possible_nodes: i64,
    /// What to do, one a way in which nodes differ, at most four; empty when there is nothing to do.
    pub actions: Vec<String>,
    /// What the headline rests on, likewise.
    pub because: Vec<String>,
    /// What would settle what is not known, likewise.
    pub settles: Vec<String>,
    /// The oldest day that data of its support and its newest release was true on; absent when neither is known.
    pub data_date: Option<String>,
}

/// Nodes of a group that are alike in everything but their names.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainVariant {
    /// How many.
    pub nodes: i64,
    /// The link as on the first of them; `None` when it cannot be read.
    pub link: Option<Link>,
    /// That node's cluster and name.
    pub on: (String, String),
    fixed_in: String,
    key: GroupKey,
    place: (i64, String),
}

type GroupKey = (i64, String, String, String);

/// What groups need of a stored link.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    because: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    settles: String,
    support: Observed<Dated>,
    patch: Observed<Dated>,
}

/// The day that data was true on.
#[derive(Deserialize)]
struct Dated {
    data_date: String,
}

/// One link of one node, as in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChainRow {
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub node: String,
    /// The node's state. What silent and stopped nodes said is last known.
    pub node_state: NodeState,
    /// `os`, `kernel`, `containerd`, `containerd/runc`, `kubelet`, …
    pub subject: String,
    /// The component.
    pub component: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub headline: Headline,
    /// What runs; absent when not known.
    pub running: Option<String>,
    /// The system, `debian 12`; absent when not known.
    pub image: Option<String>,
    /// The node's kernel; absent when not known.
    pub kernel: Option<String>,
    /// The newest that is installed; absent when not known.
    pub installed: Option<String>,
    /// Installed and not running; absent when nothing waits or that is not known.
    pub waiting: Option<String>,
    /// What the boot loader starts next, of a kernel; absent when not known.
    pub boot_default: Option<String>,
    /// `active`, `reboot_pending`, `restart_pending`, `newer_not_selected`; absent when not known.
    pub activation: Option<String>,
    /// Since when it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: At,
    /// The version that fixes what affects it; absent when nothing does or none is known.
    pub fixed_in: Option<String>,
    /// `supported`, `eol_soon`, `extended_free`, `extended_paid`, `eol`; absent when not known.
    pub support: Option<String>,
    /// The last day of support; absent when not known.
    pub ends: Option<String>,
    /// The row of lifecycle data; absent when none was used.
    pub judged_by: Option<String>,
    /// Days behind the newest of its series; absent when not known.
    pub behind_days: Option<i64>,
    /// Vulnerabilities that affect it.
    pub affecting: i64,
    /// How many of those are known to be exploited.
    pub exploited: i64,
    /// Vulnerabilities that may affect it. They never alert.
    pub possible: i64,
    /// What the headline rests on.
    pub because: String,
    /// What to do; empty when there is nothing to do.
    pub action: String,
    /// What would settle what is not known.
    pub settles: String,
    #[serde(skip)]
    node_id: i64,
}

/// A last day of support and the nodes it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChainEnd {
    /// The row of lifecycle data, `debian 12`.
    pub judged_by: String,
    /// The day, `2028-06-30`.
    pub ends: String,
    /// Nodes.
    pub nodes: i64,
}

/// Nodes without any verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Unjudged {
    /// How many.
    pub nodes: i64,
    /// The first of them: cluster and name.
    pub first: Vec<(String, String)>,
}

/// One link of a node with everything it rests on.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ChainLink {
    /// The row as in lists.
    pub row: ChainRow,
    /// All of it: six axes, each known with value and source or unavailable with the reason, and the matches with their evidence.
    /// `null` when what is stored cannot be read.
    #[schema(value_type = Object)]
    pub link: Option<Link>,
}

/// What lists need of a stored link.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    because: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    settles: String,
    installed: Observed<String>,
    activation: Observed<Activation>,
}

/// The headline of that number; one of a later version is not known here.
fn headline_of(number: i64) -> Headline {
    headline_from(number).unwrap_or(Headline::Unknown)
}

fn by_name<S: serde::Serializer>(headlines: &[(Headline, i64); 6], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headlines.iter().map(|(headline, n)| (headline.name(), n)))
}

impl ChainFilter {
    /// ` and …` over `n` and `c`.
    fn restrict(&self, selection: &Selection, query: &mut QueryBuilder<Sqlite>) {
        let stored = |value: &String| if value == NOT_KNOWN { String::new() } else { value.clone() };
        any_of(query, "c.component", self.component.iter().cloned());
        selection.nodes(query);
        any_of(query, "c.image", self.image.iter().map(stored));
        any_of(query, "c.kernel", self.kernel.iter().map(stored));
        any_of(query, "c.running", self.running.iter().map(stored));
        any_of(query, "c.judged_by", self.judged_by.iter().cloned());
        any_of(query, "c.ends", self.ends.iter().cloned());
        any_of(query, "c.headline", self.headline.iter().map(|headline| headline_number(*headline)));
        for (index, lag) in self.behind.iter().enumerate() {
            let (first, last) = lag.days();
            query.push(if index == 0 { " and (" } else { " or " }).push("c.behind_days between ").push_bind(first);
            query.push(" and ").push_bind(last);
        }
        if !self.behind.is_empty() {
            query.push(")");
        }
        if self.waiting {
            query.push(" and c.activation in ('reboot_pending', 'restart_pending', 'newer_not_selected')");
        }
        if self.possible {
            query.push(" and c.possible > 0");
        }
        if let Some(text) = &selection.filter.q {
            find(query, "c.running || ' ' || c.image || ' ' || c.waiting || ' ' || c.fixed_in || ' ' || c.subject || ' ' || n.name", text);
        }
    }
}

impl Views {
    /// How many nodes and links `filter` selects.
    pub async fn chain_totals(&self, filter: &ChainFilter, now: i64) -> Result<ChainTotals, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select count(distinct c.node_id) as nodes, count(*) as links, count(distinct case when c.possible > 0 then c.node_id end) as possible, \
             count(distinct case when {NODE_STATE} in ('silent', 'stopped') then c.node_id end) as last_known {FROM}"
        ));
        filter.restrict(&self.select(&filter.nodes, now), &mut query);
        let row = query.build().fetch_one(&self.reader).await.map_err(failed("count the patch chain"))?;
        Ok(ChainTotals {
            nodes: row.get("nodes"),
            links: row.get("links"),
            last_known: row.get("last_known"),
            possible: row.get("possible"),
        })
    }

    /// How every component stands on the nodes of `nodes`, in the order of the chain.
    pub async fn chain_summary(&self, nodes: &Filter, now: i64) -> Result<Vec<ChainSummaryRow>, ViewError> {
        let everything = ChainFilter { nodes: Filter { q: None, ..nodes.clone() }, component: None, ..ChainFilter::default() };
        let selection = self.select(&everything.nodes, now);
        let mut found: BTreeMap<String, ChainSummaryRow> = BTreeMap::new();
        for by in ["c.component", "c.component, c.headline"] {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select {by}, count(distinct c.node_id) as nodes {FROM}"));
            everything.restrict(&selection, &mut query);
            query.push(format!(" group by {by}"));
            let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count the patch chain by component"))?;
            for row in &rows {
                let (component, nodes): (String, i64) = (row.get("component"), row.get("nodes"));
                let none =
                    || ChainSummaryRow { component: component.clone(), nodes, headlines: Headline::ALL.map(|headline| (headline, 0)) };
                let summary = found.entry(component.clone()).or_insert_with(none);
                let headline = row.try_get::<i64, _>("headline").map(headline_of);
                let of = summary.headlines.iter_mut().find(|(other, _)| headline.as_ref().is_ok_and(|headline| headline == other));
                if let Some((_, n)) = of {
                    *n += nodes;
                }
            }
        }
        let mut rows: Vec<ChainSummaryRow> = found.into_values().collect();
        rows.sort_by_key(|row| (rank(&row.component), row.component.clone()));
        Ok(rows)
    }

    /// Nodes of `filter` by headline, the worst first; a node with links of several kinds is in several.
    pub async fn chain_headlines(&self, filter: &ChainFilter, now: i64) -> Result<[(Headline, i64); 6], ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select c.headline, count(distinct c.node_id) as nodes {FROM}"));
        filter.restrict(&self.select(&filter.nodes, now), &mut query);
        query.push(" group by c.headline");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count the patch chain by headline"))?;
        let counted: Vec<(Headline, i64)> = rows.iter().map(|row| (headline_of(row.get("headline")), row.get("nodes"))).collect();
        let of = |headline: Headline| counted.iter().filter(|(other, _)| *other == headline).map(|(_, nodes)| nodes).sum();
        Ok(Headline::ALL.map(|headline| (headline, of(headline))))
    }

    /// Every group of `filter`, the worst first, then those with most nodes: counts only.
    pub async fn chain_groups(&self, filter: &ChainFilter, now: i64) -> Result<Vec<ChainGroupRow>, ViewError> {
        let counted = |what: &str| format!("count(distinct case when {what} then c.node_id end)");
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select c.headline, c.component, c.running, c.image, count(distinct c.node_id) as nodes, count(*) as links, \
             max(c.behind_days) as behind_days, coalesce(min(nullif(c.ends, '')), '') as ends, max(c.affecting) as affecting, \
             max(c.exploited) as exploited, max(c.possible) as possible, {} as possible_nodes, {} as last_known, \
             {} as reboot_pending, {} as restart_pending, {} as newer_not_selected {FROM}",
            counted("c.possible > 0"),
            counted(&format!("{NODE_STATE} in ('silent', 'stopped')")),
            counted("c.activation = 'reboot_pending'"),
            counted("c.activation = 'restart_pending'"),
            counted("c.activation = 'newer_not_selected'"),
        ));
        filter.restrict(&self.select(&filter.nodes, now), &mut query);
        query.push(
            " group by c.headline, c.component, c.running, c.image order by c.headline, nodes desc, c.component, c.running, c.image limit ",
        );
        query.push_bind(MOST_GROUPS);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("group the patch chain"))?;
        Ok(rows.iter().map(group_row).collect())
    }

    /// The page of `groups` that `filter` asks for, with what its nodes are told.
    pub async fn chain_page(&self, groups: &[ChainGroupRow], filter: &ChainFilter, now: i64) -> Result<Page<ChainGroupRow>, ViewError> {
        let total = i64::try_from(groups.len()).unwrap_or(i64::MAX);
        let limit = usize::try_from(filter.nodes.limit()).unwrap_or(usize::MAX);
        let mut from = 0;
        if let Some(after) = &filter.nodes.after {
            let cursor = self.cursors.read(after, GROUPS).map_err(ViewError::Cursor)?;
            let [headline, nodes, component, running, image] = cursor.key.as_slice() else { return Err(ViewError::Cursor(BadCursor)) };
            let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let last = (headline.as_i64().unwrap_or(0), nodes.as_i64().unwrap_or(0), name(component), name(running), name(image));
            from = groups.partition_point(|row| row.sort_key() <= last);
        }
        let mut rows: Vec<ChainGroupRow> = groups.iter().skip(from).take(limit).cloned().collect();
        self.explain(&mut rows, filter, now).await?;
        let offset = i64::try_from(from).unwrap_or(0);
        let next = rows.last().filter(|_| groups.len() > from.saturating_add(limit)).map(|row| {
            let (headline, nodes, component, running, image) = row.sort_key();
            let key = vec![headline.into(), nodes.into(), component.into(), running.into(), image.into()];
            self.cursors.sign(&Cursor { order: GROUPS.to_owned(), offset: offset + i64::try_from(rows.len()).unwrap_or(0), key })
        });
        Ok(Page { rows, total, offset, next })
    }

    /// Up to `most` groups with what their nodes are told, for an export.
    pub async fn explain(&self, rows: &mut [ChainGroupRow], filter: &ChainFilter, now: i64) -> Result<(), ViewError> {
        for rows in rows.chunks_mut(CHUNK) {
            let keys: Vec<GroupKey> = rows.iter().map(ChainGroupRow::key).collect();
            let mut variants: BTreeMap<GroupKey, Vec<(ChainVariant, Option<Told>)>> = BTreeMap::new();
            for (variant, told) in self.variants_of(&keys, filter, now).await? {
                variants.entry(variant.key.clone()).or_default().push((variant, told));
            }
            for row in rows {
                row.take(variants.remove(&row.key()).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// In which ways the links of `filter` differ, the most common first: the first [`MOST_VARIANTS`] with their evidence, and how many
    /// there are.
    pub async fn chain_variants(&self, filter: &ChainFilter, now: i64) -> Result<(Vec<ChainVariant>, i64), ViewError> {
        let mut variants = self.variants(&[], filter, now).await?;
        let all = i64::try_from(variants.len()).unwrap_or(i64::MAX);
        variants.truncate(MOST_VARIANTS);
        let read = self.read_links(variants).await?;
        Ok((read.into_iter().map(|(variant, link)| ChainVariant { link, ..variant }).collect(), all))
    }

    /// The first variants of each of `keys`, with their links.
    async fn variants_of(&self, keys: &[GroupKey], filter: &ChainFilter, now: i64) -> Result<Vec<(ChainVariant, Option<Told>)>, ViewError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut seen: BTreeMap<GroupKey, usize> = BTreeMap::new();
        let mut variants = self.variants(keys, filter, now).await?;
        variants.retain(|variant| {
            let n = seen.entry(variant.key.clone()).or_default();
            *n += 1;
            *n <= MOST_VARIANTS
        });
        self.read_links(variants).await
    }

    /// Links that differ in what verdicts follow from, without their evidence; the most common first.
    async fn variants(&self, keys: &[GroupKey], filter: &ChainFilter, now: i64) -> Result<Vec<ChainVariant>, ViewError> {
        const BY: &str = "c.headline, c.component, c.running, c.image, c.subject, c.fixed_in, c.waiting, c.activation, c.ends, c.affecting, \
             c.exploited, c.possible";
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new(format!("select {BY}, count(distinct c.node_id) as nodes, min(c.node_id) as first {FROM}"));
        filter.restrict(&self.select(&filter.nodes, now), &mut query);
        if !keys.is_empty() {
            query.push(" and (c.headline, c.component, c.running, c.image) in (values ");
            for (index, (headline, component, running, image)) in keys.iter().enumerate() {
                query.push(if index == 0 { "(" } else { ", (" }).push_bind(*headline);
                for part in [component, running, image] {
                    query.push(", ").push_bind(part.clone());
                }
                query.push(")");
            }
            query.push(")");
        }
        query.push(format!(" group by {BY} order by nodes desc, {BY} limit ")).push_bind(MOST_GROUPS);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("tell the patch chain apart"))?;
        let read = |row: &SqliteRow| ChainVariant {
            nodes: row.get("nodes"),
            link: None,
            on: (String::new(), String::new()),
            fixed_in: row.get("fixed_in"),
            key: (row.get("headline"), row.get("component"), row.get("running"), row.get("image")),
            place: (row.get("first"), row.get("subject")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Reads the links that stand for `variants`, or a part of each.
    async fn read_links<T: DeserializeOwned>(&self, variants: Vec<ChainVariant>) -> Result<Vec<(ChainVariant, Option<T>)>, ViewError> {
        let mut all = Vec::with_capacity(variants.len());
        for chunk in variants.chunks(CHUNK) {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
                "select c.node_id, c.subject, c.json, n.cluster, n.name from chain c join nodes n on n.node_id = c.node_id \
                 where (c.node_id, c.subject) in (values ",
            );
            for (index, variant) in chunk.iter().enumerate() {
                query.push(if index == 0 { "(" } else { ", (" }).push_bind(variant.place.0);
                query.push(", ").push_bind(variant.place.1.clone()).push(")");
            }
            query.push(")");
            let rows = query.build().fetch_all(&self.reader).await.map_err(failed("read links of the patch chain"))?;
            let mut read: BTreeMap<(i64, String), &SqliteRow> = BTreeMap::new();
            read.extend(rows.iter().map(|row| ((row.get("node_id"), row.get("subject")), row)));
            for variant in chunk {
                let row = read.get(&variant.place);
                let on = row.map(|row| (row.get("cluster"), row.get("name"))).unwrap_or_default();
                let link = row.and_then(|row| serde_json::from_str(&row.get::<String, _>("json")).ok());
                all.push((ChainVariant { on, ..variant.clone() }, link));
            }
        }
        Ok(all)
    }

    /// One page of the links of `filter`, the worst first.
    pub async fn chain_list(&self, filter: &ChainFilter, total: i64, now: i64) -> Result<Page<ChainRow>, ViewError> {
        self.chain_rows(filter, total, filter.nodes.limit(), now).await
    }

    /// Up to `most` links of `filter`, for an export.
    pub async fn all_chain(&self, filter: &ChainFilter, most: i64, now: i64) -> Result<Vec<ChainRow>, ViewError> {
        Ok(self.chain_rows(&filter.with(|_| {}), 0, most, now).await?.rows)
    }

    async fn chain_rows(&self, filter: &ChainFilter, total: i64, limit: i64, now: i64) -> Result<Page<ChainRow>, ViewError> {
        let selection = self.select(&filter.nodes, now);
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select n.cluster, n.name as node, {NODE_STATE} as class, c.*"));
        for (index, part) in KEY.iter().enumerate() {
            query.push(format!(", {part} as k{index}"));
        }
        query.push(" ").push(FROM);
        filter.restrict(&selection, &mut query);
        let offset = self.resume(&mut query, &selection, LIST, &KEY)?;
        query.push(format!(" order by {} limit ", KEY.join(", "))).push_bind(limit + 1);
        let found = query.build().fetch_all(&self.reader).await.map_err(failed("list the patch chain"))?;
        let mut page = self.page(&found, chain_row, total, offset, limit, LIST.to_owned(), KEY.len());
        self.boot_defaults(&mut page.rows).await?;
        Ok(page)
    }

    /// What the boot loaders of these nodes start next, of their kernels.
    async fn boot_defaults(&self, rows: &mut [ChainRow]) -> Result<(), ViewError> {
        for rows in rows.chunks_mut(CHUNK) {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("select node_id, json from inventory where kind = ");
            query.push_bind(kinds::KERNEL).push(" and name = 'self' and node_id in (-1");
            for row in rows.iter().filter(|row| row.component == "kernel") {
                query.push(", ").push_bind(row.node_id);
            }
            query.push(")");
            let found = query.build().fetch_all(&self.reader).await.map_err(failed("read boot entries"))?;
            let release = |row: &SqliteRow| -> Option<(i64, String)> {
                let kernel: Value = serde_json::from_str(&row.get::<String, _>("json")).ok()?;
                let entry = kernel.get("boot_default")?;
                let release = entry.as_str().map_or_else(|| text(entry, "release"), str::to_owned);
                Some((row.get("node_id"), release)).filter(|(_, release)| !release.is_empty())
            };
            let entries: BTreeMap<i64, String> = found.iter().filter_map(release).collect();
            for row in rows.iter_mut().filter(|row| row.component == "kernel") {
                row.boot_default = entries.get(&row.node_id).cloned();
            }
        }
        Ok(())
    }

    /// The chain of one node, in its order: system, kernel, runtimes, Kubernetes.
    pub async fn node_chain(&self, node: &NodeRow) -> Result<Vec<ChainLink>, ViewError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "select n.cluster, n.name as node, {NODE_STATE} as class, c.* {FROM} and c.node_id = $1 order by c.subject limit 1000"
        )))
        .bind(node.node_id)
        .fetch_all(&self.reader)
        .await
        .map_err(failed("read a node's patch chain"))?;
        let read = |row: &SqliteRow| Some((chain_row(row)?, serde_json::from_str(&row.get::<String, _>("json")).ok()));
        let (mut list, links): (Vec<ChainRow>, Vec<Option<Link>>) = rows.iter().filter_map(read).unzip();
        self.boot_defaults(&mut list).await?;
        let mut chain: Vec<ChainLink> = list.into_iter().zip(links).map(|(row, link)| ChainLink { row, link }).collect();
        chain.sort_by_key(|link| (rank(&link.row.component), link.row.subject.clone()));
        Ok(chain)
    }

    /// Nodes of `filter` by days behind, in the order of [`Lag::ALL`].
    pub async fn chain_lags(&self, filter: &ChainFilter, now: i64) -> Result<[(Lag, i64); 8], ViewError> {
        let class = Lag::ALL.map(|lag| format!("when c.behind_days <= {} then '{}'", lag.days().1, lag.name()));
        let [current, week, month, two, quarter, half, longer, unknown] = class;
        let case = [unknown, current, week, month, two, quarter, half, longer].join(" ");
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new(format!("select case {case} end as class, count(distinct c.node_id) as nodes {FROM}"));
        filter.restrict(&self.select(&filter.nodes, now), &mut query);
        query.push(" group by class");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count days behind"))?;
        let of = |lag: Lag| rows.iter().find(|row| row.get::<String, _>("class") == lag.name()).map_or(0, |row| row.get("nodes"));
        Ok(Lag::ALL.map(|lag| (lag, of(lag))))
    }

    /// The last days of support of every component on the nodes of `nodes` that are over or come within a year, the first first.
    pub async fn chain_ends(&self, nodes: &Filter, now: i64) -> Result<Vec<ChainEnd>, ViewError> {
        let everything = ChainFilter { nodes: Filter { q: None, ..nodes.clone() }, component: None, ..ChainFilter::default() };
        let last = jiff::Timestamp::from_millisecond(now.saturating_add(AHEAD_DAYS * 86_400_000)).unwrap_or(jiff::Timestamp::MAX);
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select c.judged_by, c.ends, count(distinct c.node_id) as nodes {FROM} and c.ends <> '' and c.ends <= "
        ));
        query.push_bind(last.strftime("%Y-%m-%d").to_string());
        everything.restrict(&self.select(&everything.nodes, now), &mut query);
        query.push(" group by c.ends, c.judged_by order by c.ends, c.judged_by limit 1000");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("list ends of support"))?;
        Ok(rows.iter().map(|row| ChainEnd { judged_by: row.get("judged_by"), ends: row.get("ends"), nodes: row.get("nodes") }).collect())
    }

    /// Nodes of `filter` without a verdict on their kernel or system where that is asked for, else without any.
    pub async fn chain_unjudged(&self, filter: &ChainFilter, now: i64) -> Result<Unjudged, ViewError> {
        let selection = self.select(&Filter { q: None, ..filter.nodes.clone() }, now);
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("select n.cluster, n.name from nodes n where n.node_id not in (select c.node_id from chain c where 1 = 1");
        let everywhere = |component: &&String| matches!(component.as_str(), "os" | "kernel");
        any_of(&mut query, "c.component", filter.component.iter().filter(everywhere).cloned());
        query.push(")");
        selection.nodes(&mut query);
        query.push(" order by n.cluster, n.name, n.node_id");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("list nodes without verdicts on versions"))?;
        let first = rows.iter().take(MOST_NAMED).map(|row| (row.get("cluster"), row.get("name"))).collect();
        Ok(Unjudged { nodes: i64::try_from(rows.len()).unwrap_or(i64::MAX), first })
    }
}

impl ChainGroupRow {
    fn key(&self) -> GroupKey {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        (headline_number(self.headline), self.component.clone(), text(&self.running), text(&self.image))
    }

    /// What groups are sorted by, ascending.
    fn sort_key(&self) -> (i64, i64, String, String, String) {
        let (headline, component, running, image) = self.key();
        (headline, -self.nodes, component, running, image)
    }

    /// Takes what its nodes are told.
    fn take(&mut self, variants: Vec<(ChainVariant, Option<Told>)>) {
        let mut dates: Vec<String> = Vec::new();
        let tell = |into: &mut Vec<String>, text: &str| {
            if !text.is_empty() && !into.iter().any(|told| told == text) {
                into.push(text.to_owned());
            }
        };
        for (variant, told) in variants {
            tell(&mut self.fixed_in, &variant.fixed_in);
            let Some(link) = told else { continue };
            tell(&mut self.actions, &link.action);
            tell(&mut self.because, &link.because);
            tell(&mut self.settles, &link.settles);
            dates.extend(link.support.value().map(|support| support.data_date.clone()));
            dates.extend(link.patch.value().map(|patch| patch.data_date.clone()));
        }
        self.data_date = dates.into_iter().filter(|date| !date.is_empty()).min();
    }
}

/// The order of the chain.
fn rank(component: &str) -> usize {
    const ORDER: [&str; 12] = [
        "os",
        "kernel",
        "containerd",
        "cri-o",
        "docker",
        "runc",
        "crun",
        "kubelet",
        "kube-proxy",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ];
    ORDER.iter().position(|known| *known == component).unwrap_or(ORDER.len())
}

/// A column that is empty when nothing is known.
fn known(row: &SqliteRow, column: &str) -> Option<String> {
    Some(row.get::<String, _>(column)).filter(|text| !text.is_empty())
}

fn group_row(row: &SqliteRow) -> ChainGroupRow {
    let waiting = ["reboot_pending", "restart_pending", "newer_not_selected"]
        .map(|activation| Waiting { activation: activation.to_owned(), nodes: row.get(activation) });
    ChainGroupRow {
        headline: headline_of(row.get("headline")),
        component: row.get("component"),
        running: known(row, "running"),
        image: known(row, "image"),
        nodes: row.get("nodes"),
        links: row.get("links"),
        last_known: row.get("last_known"),
        behind_days: Some(row.get::<i64, _>("behind_days")).filter(|days| *days >= 0),
        fixed_in: Vec::new(),
        waiting: waiting.into_iter().filter(|waiting| waiting.nodes > 0).collect(),
        ends: known(row, "ends"),
        affecting: row.get("affecting"),
        exploited: row.get("exploited"),
        possible: row.get("possible"),
        possible_nodes: row.get("possible_nodes"),
        actions: Vec::new(),
        because: Vec::new(),
        settles: Vec::new(),
        data_date: None,
    }
}

fn chain_row(row: &SqliteRow) -> Option<ChainRow> {
    let said: Option<Said> = serde_json::from_str(&row.get::<String, _>("json")).ok();
    let tell = |of: fn(&Said) -> &String| said.as_ref().map(of).cloned().unwrap_or_default();
    let activation = said.as_ref().and_then(|said| said.activation.value());
    let since = activation.and_then(|activation| activation.since).unwrap_or(0);
    Some(ChainRow {
        cluster: row.get("cluster"),
        node: row.get("node"),
        node_state: NodeState::of(&row.get::<String, _>("class"))?,
        subject: row.get("subject"),
        component: row.get("component"),
        headline: headline_of(row.get("headline")),
        running: known(row, "running"),
        image: known(row, "image"),
        kernel: known(row, "kernel"),
        installed: said.as_ref().and_then(|said| said.installed.value()).cloned().filter(|text| !text.is_empty()),
        waiting: known(row, "waiting"),
        boot_default: None,
        activation: known(row, "activation"),
        since: At(since.saturating_mul(1000)),
        fixed_in: known(row, "fixed_in"),
        support: known(row, "support"),
        ends: known(row, "ends"),
        judged_by: known(row, "judged_by"),
        behind_days: Some(row.get::<i64, _>("behind_days")).filter(|days| *days >= 0),
        affecting: row.get("affecting"),
        exploited: row.get("exploited"),
        possible: row.get("possible"),
        because: tell(|said| &said.because),
        action: tell(|said| &said.action),
        settles: tell(|said| &said.settles),
        node_id: row.get("node_id"),
    })
}
