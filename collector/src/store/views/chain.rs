//! The patch chain over the fleet: what runs, how it stands, on how many nodes; by version, node by node, one node whole.
//!
//! Numbers of pages are numbers of nodes: a node with two kubelets of one version is one node. Judging is not done here: rows are
//! what `fleet` wrote, and what it could not know stays unknown.

mod filter;
mod rows;

use std::collections::BTreeMap;

use holdfast_checks::inventory::kinds;
use holdfast_checks::versions::{Headline, Link};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

pub use filter::{ChainFilter, ChainGroup, Lag};
pub use rows::{ChainEnd, ChainGroupRow, ChainLink, ChainRow, ChainSummaryRow, ChainTotals, ChainVariant, Unjudged, Waiting};
use rows::{GroupKey, Told, chain_row, group_row, headline_of, rank};

pub(super) use self::filter::headline;
use super::codes::NODE_STATE;
use super::cursor::{BadCursor, Cursor};
use super::filter::Filter;
use super::inventory::text;
use super::nodes::NodeRow;
use super::select::{Selection, any_of, find};
use super::{Page, ViewError, Views, failed};
use crate::store::chain::headline_number;
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

    /// In which ways the links of `filter` differ, the most common first: the first `MOST_VARIANTS` with their evidence, and how many
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
