//! Who runs as root over the fleet: containers in pods, containers outside, processes in none; by image, by namespace, one by one.
//!
//! Host root, root only in a user namespace and no root are three answers; what is not known is a fourth and counts as none of them.

use holdfast_checks::inventory::kinds;
use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{At, NODE_STATE, NodeState};
use super::cursor::{BadCursor, Cursor};
use super::filter::{Filter, Problem};
use super::inventory::text;
use super::select::{Selection, any_of, find};
use super::{Page, ViewError, Views, encode, failed};
use crate::store::containers::{NOT_KNOWN, Place, Root};

/// The most groups read; beyond that a page says so.
const MOST_GROUPS: usize = 20_000;
/// Nodes named of which containers are not known.
const MOST_NAMED: usize = 10;
/// The longest value taken from a query string, in bytes.
const MAX_VALUE_BYTES: usize = 4096;
/// The filters of nodes and pages that mean something here.
const SHARED: [&str; 6] = ["cluster", "node", "state", "q", "after", "limit"];

/// What rows are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RootGroup {
    /// One row an image; of processes a program.
    #[default]
    Image,
    /// One row a namespace.
    Namespace,
    /// One row a container.
    None,
}

impl RootGroup {
    /// Every one, in display order.
    pub const ALL: [Self; 3] = [Self::Image, Self::Namespace, Self::None];

    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Namespace => "namespace",
            Self::None => "none",
        }
    }

    fn column(self) -> &'static str {
        if self == Self::Namespace { "c.namespace" } else { "c.image" }
    }
}

/// What to show. Lists are "any of"; an empty list is no restriction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFilter {
    /// Clusters, nodes, their states, text, page.
    pub nodes: Filter,
    /// Where: pods unless told.
    pub place: Place,
    /// Namespaces; [`NOT_KNOWN`] for those not known.
    pub namespace: Vec<String>,
    /// Images, of processes programs; [`NOT_KNOWN`] for those not known.
    pub image: Vec<String>,
    /// How much root.
    pub root: Vec<Root>,
    /// Only those configured for another user.
    pub contradicts: bool,
    /// Grouping.
    pub group: RootGroup,
}

impl RootFilter {
    /// Reads decoded pairs of a query string. Keys in `also` belong to the page and are skipped. What is not understood is left out
    /// and returned.
    pub fn read(pairs: &[(String, String)], also: &[&str]) -> (Self, Vec<Problem>) {
        let mine = |key: &str| matches!(key, "place" | "namespace" | "image" | "root" | "contradicts" | "group");
        let (shared, own): (Vec<_>, Vec<_>) =
            pairs.iter().filter(|(key, _)| !also.contains(&key.as_str())).cloned().partition(|(key, _)| !mine(key));
        let (meant, foreign): (Vec<_>, Vec<_>) = shared.into_iter().partition(|(key, _)| SHARED.contains(&key.as_str()));
        let (nodes, mut problems) = Filter::read(&meant, &[]);
        problems.extend(foreign.into_iter().map(|(key, _)| Problem { key, problem: "there is no such filter here".to_owned() }));
        let (namespace, image, root) = (Vec::new(), Vec::new(), Vec::new());
        let mut filter = Self { nodes, place: Place::Pod, namespace, image, root, contradicts: false, group: RootGroup::default() };
        for (key, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            if value.len() > MAX_VALUE_BYTES {
                problems.push(Problem { key, problem: format!("longer than {MAX_VALUE_BYTES} bytes") });
            } else if let Err(problem) = filter.take(&key, &value) {
                problems.push(Problem { key, problem });
            }
        }
        (filter, problems)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "namespace" => self.namespace.push(value.to_owned()),
            "image" => self.image.push(value.to_owned()),
            "place" => {
                let place = Place::of(value).filter(|place| Place::LISTED.contains(place));
                self.place = place.ok_or_else(|| format!("`{value}` is not a place: use one of pod, outside, process"))?;
            }
            "root" => {
                for part in value.split(',').filter(|part| !part.is_empty()) {
                    let root = Root::of(part);
                    let wrong = || format!("`{part}` is not one of host, unknown, user_namespace, none");
                    self.root.push(root.ok_or_else(wrong)?);
                }
            }
            "contradicts" => {
                self.contradicts = value.parse().map_err(|_| format!("`{value}` is neither true nor false"))?;
            }
            _ => {
                let group = RootGroup::ALL.into_iter().find(|group| group.name() == value);
                self.group = group.ok_or_else(|| format!("`{value}` is not a grouping: use one of image, namespace, none"))?;
            }
        }
        Ok(())
    }

    /// The same filter, changed; the page position does not survive.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut filter = self.clone();
        filter.nodes.after = None;
        change(&mut filter);
        filter
    }

    /// `path` with this filter: a link. What is the default is not written.
    pub fn link(&self, path: &str) -> String {
        let mut pairs: Vec<String> = Vec::new();
        if self.place != Place::Pod {
            pairs.push(format!("place={}", self.place.name()));
        }
        pairs.extend(self.namespace.iter().map(|value| format!("namespace={}", encode(value))));
        pairs.extend(self.image.iter().map(|value| format!("image={}", encode(value))));
        if !self.root.is_empty() {
            pairs.push(format!("root={}", self.root.iter().map(|root| root.name()).collect::<Vec<_>>().join(",")));
        }
        if self.contradicts {
            pairs.push("contradicts=true".to_owned());
        }
        if self.group != RootGroup::default() {
            pairs.push(format!("group={}", self.group.name()));
        }
        pairs.push(self.nodes.to_query());
        let query = pairs.into_iter().filter(|pair| !pair.is_empty()).collect::<Vec<_>>().join("&");
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// ` and …` over `n` and `c`.
    fn restrict(&self, selection: &Selection, query: &mut QueryBuilder<Sqlite>) {
        query.push(" and c.place = ").push_bind(self.place.name());
        selection.nodes(query);
        let stored = |value: &String| if value == NOT_KNOWN { String::new() } else { value.clone() };
        any_of(query, "c.namespace", self.namespace.iter().map(stored));
        any_of(query, "c.image", self.image.iter().map(stored));
        any_of(query, "c.root", self.root.iter().map(|root| root.name()));
        if self.contradicts {
            query.push(" and c.contradicts = 1");
        }
        if let Some(text) = &selection.filter.q {
            find(query, "c.image || ' ' || c.subject || ' ' || c.programs || ' ' || n.name", text);
        }
    }
}

/// How many, by how much root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rooting {
    /// With a process that is the host's root.
    pub host: i64,
    /// Of which it is not known.
    pub unknown: i64,
    /// Root only inside a user namespace.
    pub user_namespace: i64,
    /// Without root.
    pub none: i64,
}

impl Rooting {
    /// All of them.
    pub fn all(&self) -> i64 {
        self.host + self.unknown + self.user_namespace + self.none
    }

    /// Those with `root`.
    pub fn of(&self, root: Root) -> i64 {
        match root {
            Root::Host => self.host,
            Root::Unknown => self.unknown,
            Root::UserNamespace => self.user_namespace,
            Root::None => self.none,
        }
    }
}

/// What is counted on one node: a pod is on one node, so that pods can be added up.
const ROOTING: &str = "sum(case c.root when 'host' then 1 else 0 end) as host, sum(case c.root when 'unknown' then 1 else 0 end) as unknown, \
     sum(case c.root when 'user_namespace' then 1 else 0 end) as user_namespace, sum(case c.root when 'none' then 1 else 0 end) as none, \
     count(distinct nullif(c.pod_key, 0)) as pods, sum(c.contradicts) as contradictions";
/// The same over the nodes of a group.
const SUMS: &str = "sum(g.host) as host, sum(g.unknown) as unknown, sum(g.user_namespace) as user_namespace, sum(g.none) as none, \
     sum(g.pods) as pods, sum(g.contradictions) as contradictions, count(*) as nodes";
/// Containers with their nodes.
const FROM: &str = "from containers c join nodes n on n.node_id = c.node_id where 1 = 1";

fn rooting(row: &SqliteRow) -> Rooting {
    let n = |column: &str| row.get::<Option<i64>, _>(column).unwrap_or_default();
    Rooting { host: n("host"), unknown: n("unknown"), user_namespace: n("user_namespace"), none: n("none") }
}

/// Totals of a selection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RootTotals {
    /// Containers, or processes outside them, by how much root.
    pub containers: Rooting,
    /// Pods they are in, where they are in pods.
    pub pods: i64,
    /// Nodes they are on.
    pub nodes: i64,
    /// Containers configured for another user that are root all the same.
    pub contradictions: i64,
}

/// Containers of one image, or in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RootGroupRow {
    /// The image, program or namespace; absent when not known.
    pub name: Option<String>,
    /// By how much root.
    pub containers: Rooting,
    /// Pods they are in, where they are in pods.
    pub pods: i64,
    /// Nodes they are on.
    pub nodes: i64,
    /// Containers configured for another user that are root all the same.
    pub contradictions: i64,
}

/// One container, or the processes of one subject outside containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RootRow {
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub node: String,
    /// The node's state. What silent and stopped nodes said is last known.
    pub node_state: NodeState,
    /// Where it runs.
    pub place: Place,
    /// What findings call it.
    pub subject: String,
    /// Namespace; absent outside pods and when not known.
    pub namespace: Option<String>,
    /// Pod; absent outside pods and when not known.
    pub pod: Option<String>,
    /// The container's own name; absent when not known.
    pub name: Option<String>,
    /// The image, of processes the program; absent when not known.
    pub image: Option<String>,
    /// How much root.
    pub root: Root,
    /// Why that is not known; empty when it is.
    pub unknown: String,
    /// Who is root.
    pub programs: String,
    /// It was configured for another user.
    pub contradicts: bool,
    /// Was it started as privileged; absent when not known.
    pub privileged: Option<bool>,
    /// Since when it is as it is.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: At,
}

/// What the numbers do not cover.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Unread {
    /// Nodes that do not say which containers run on them.
    pub nodes: i64,
    /// The first of them.
    pub first: Vec<UnreadNode>,
    /// Containers that could not be read on the others.
    pub skipped: i64,
    /// Containers that did not fit into what nodes send.
    pub left_out: i64,
}

/// A node of which containers are not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnreadNode {
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// The sort key of the list, every part ascending.
const KEY: [&str; 3] = ["c.rank", "c.node_id", "c.subject"];
/// Names of the orders that page positions belong to.
const ORDER: &str = "root";

impl Views {
    /// Totals of `filter`, and how many there are at each place under the same choice of nodes.
    pub async fn root_totals(&self, filter: &RootFilter, now: i64) -> Result<(RootTotals, Vec<(Place, i64)>), ViewError> {
        let selection = self.select(&filter.nodes, now);
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select {SUMS} from (select c.node_id, {ROOTING} {FROM}"));
        filter.restrict(&selection, &mut query);
        query.push(" group by c.node_id) g");
        let row = query.build().fetch_one(&self.reader).await.map_err(failed("count containers"))?;
        let totals = RootTotals {
            containers: rooting(&row),
            pods: row.get::<Option<i64>, _>("pods").unwrap_or_default(),
            nodes: row.get("nodes"),
            contradictions: row.get::<Option<i64>, _>("contradictions").unwrap_or_default(),
        };
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("select c.place, count(*) as n from containers c join nodes n on n.node_id = c.node_id where 1 = 1");
        selection.nodes(&mut query);
        query.push(" group by c.place");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("count containers by place"))?;
        let at = |place: Place| rows.iter().find(|row| row.get::<String, _>("place") == place.name()).map_or(0, |row| row.get("n"));
        Ok((totals, Place::LISTED.map(|place| (place, at(place))).to_vec()))
    }

    /// One page of the groups of `filter`, those with most host root first.
    pub async fn root_groups(&self, filter: &RootFilter, now: i64) -> Result<Page<RootGroupRow>, ViewError> {
        let selection = self.select(&filter.nodes, now);
        let column = filter.group.column();
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new(format!("select g.name, {SUMS} from (select {column} as name, c.node_id, {ROOTING} {FROM}"));
        filter.restrict(&selection, &mut query);
        query.push(format!(" group by {column}, c.node_id) g group by g.name"));
        query.push(" order by contradictions desc, host desc, unknown desc, user_namespace desc, none desc, g.name");
        query.push(" limit ").push_bind(i64::try_from(MOST_GROUPS).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("group containers"))?;
        let read = |row: &SqliteRow| RootGroupRow {
            name: known(row, "name"),
            containers: rooting(row),
            pods: row.get::<Option<i64>, _>("pods").unwrap_or_default(),
            nodes: row.get("nodes"),
            contradictions: row.get::<Option<i64>, _>("contradictions").unwrap_or_default(),
        };
        self.page_of(rows.iter().map(read).collect(), filter)
    }

    /// Cuts a page out of all groups: they are few, and an aggregate cannot be entered in the middle.
    fn page_of(&self, groups: Vec<RootGroupRow>, filter: &RootFilter) -> Result<Page<RootGroupRow>, ViewError> {
        let order = format!("{ORDER}/{}", filter.group.name());
        let total = i64::try_from(groups.len()).unwrap_or(i64::MAX);
        let limit = usize::try_from(filter.nodes.limit()).unwrap_or(usize::MAX);
        let (mut offset, mut rows) = (0, groups);
        if let Some(after) = &filter.nodes.after {
            let cursor = self.cursors.read(after, &order).map_err(ViewError::Cursor)?;
            let [numbers @ .., Value::String(name)] = cursor.key.as_slice() else { return Err(ViewError::Cursor(BadCursor)) };
            let last: (Vec<i64>, &str) = (numbers.iter().filter_map(Value::as_i64).collect(), name);
            let before = rows.len();
            rows.retain(|row| row.sort_key() > last);
            offset = i64::try_from(before - rows.len()).unwrap_or(0);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| {
            let (numbers, name) = row.sort_key();
            let key = numbers.into_iter().map(Value::from).chain([Value::from(name)]).collect();
            self.cursors.sign(&Cursor { order, offset: offset + i64::try_from(rows.len()).unwrap_or(0), key })
        });
        Ok(Page { rows, total, offset, next })
    }

    /// One page of the containers of `filter`: contradictions first, then host root, then unknown.
    pub async fn root_list(&self, filter: &RootFilter, total: i64, now: i64) -> Result<Page<RootRow>, ViewError> {
        let selection = self.select(&filter.nodes, now);
        let limit = filter.nodes.limit();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("select n.cluster, n.name as node, {NODE_STATE} as class, c.*"));
        for (index, part) in KEY.iter().enumerate() {
            query.push(format!(", {part} as k{index}"));
        }
        query.push(" from containers c join nodes n on n.node_id = c.node_id where 1 = 1");
        filter.restrict(&selection, &mut query);
        let offset = self.resume(&mut query, &selection, ORDER, &KEY)?;
        query.push(format!(" order by {} limit ", KEY.join(", "))).push_bind(limit + 1);
        let found = query.build().fetch_all(&self.reader).await.map_err(failed("list containers"))?;
        Ok(self.page(&found, root_row, total, offset, limit, ORDER.to_owned(), KEY.len()))
    }

    /// What is not known of the nodes in `filter`.
    pub async fn root_unread(&self, filter: &RootFilter, now: i64) -> Result<Unread, ViewError> {
        let selection = self.select(&Filter { q: None, ..filter.nodes.clone() }, now);
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("select n.cluster, n.name, i.json from nodes n left join inventory i on i.node_id = n.node_id and i.kind = ");
        query.push_bind(kinds::GROUP).push(" and i.name = 'containers' where 1 = 1");
        selection.nodes(&mut query);
        query.push(" order by n.cluster, n.name, n.node_id");
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("read what is known of containers"))?;
        let mut unread = Unread::default();
        for row in &rows {
            let document = row.get::<Option<String>, _>("json").and_then(|json| serde_json::from_str::<Value>(&json).ok());
            let reason = match &document {
                Some(group) if text(group, "state") == "known" => {
                    let n = |field: &str| group.get(field).and_then(Value::as_i64).unwrap_or(0).max(0);
                    unread.skipped = unread.skipped.saturating_add(n("skipped"));
                    unread.left_out = unread.left_out.saturating_add(n("left_out"));
                    continue;
                }
                Some(group) => match (text(group, "reason"), text(group, "detail")) {
                    (reason, detail) if detail.is_empty() => reason,
                    (reason, detail) => format!("{reason}: {detail}"),
                },
                None => "the agent has not said whether it looked for containers".to_owned(),
            };
            unread.nodes += 1;
            if unread.first.len() < MOST_NAMED {
                unread.first.push(UnreadNode { cluster: row.get("cluster"), node: row.get("name"), reason });
            }
        }
        Ok(unread)
    }
}

impl RootGroupRow {
    /// What groups are sorted by, ascending.
    fn sort_key(&self) -> (Vec<i64>, &str) {
        let of = &self.containers;
        let numbers = [self.contradictions, of.host, of.unknown, of.user_namespace, of.none].map(|n| -n).to_vec();
        (numbers, self.name.as_deref().unwrap_or_default())
    }
}

/// A column that is empty when nothing is known.
fn known(row: &SqliteRow, column: &str) -> Option<String> {
    Some(row.get::<String, _>(column)).filter(|text| !text.is_empty())
}

fn root_row(row: &SqliteRow) -> Option<RootRow> {
    Some(RootRow {
        cluster: row.get("cluster"),
        node: row.get("node"),
        node_state: NodeState::of(&row.get::<String, _>("class"))?,
        place: Place::of(&row.get::<String, _>("place"))?,
        subject: row.get("subject"),
        namespace: known(row, "namespace"),
        pod: known(row, "pod"),
        name: known(row, "name"),
        image: known(row, "image"),
        root: Root::of(&row.get::<String, _>("root")).unwrap_or(Root::Unknown),
        unknown: row.get("unknown"),
        programs: row.get("programs"),
        contradicts: row.get::<i64, _>("contradicts") != 0,
        privileged: match row.get::<i64, _>("privileged") {
            -1 => None,
            n => Some(n != 0),
        },
        changed_at: At(row.get("changed_at")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_its_own_link_and_foreign_keys_are_named() {
        let query = "place=outside&namespace=kube-system&image=-&root=host,unknown&contradicts=true&group=none&node=n&q=a%26b";
        let pairs = |text: &str| -> Vec<(String, String)> {
            let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.replace("%26", "&")));
            text.split('&').filter_map(pair).collect()
        };
        let (filter, problems) = RootFilter::read(&pairs(query), &[]);
        assert_eq!((problems.as_slice(), filter.link("/x")), ([].as_slice(), format!("/x?{query}")));
        let (filter, problems) = RootFilter::read(&pairs("severity=high&root=all&place=sandbox&group=check&tab=x"), &["tab"]);
        assert_eq!(filter.link("/x"), "/x");
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["severity", "root", "place", "group"]);
    }
}
