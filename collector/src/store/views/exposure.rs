//! What could be reached: declared, listening and answering ports, put together by port, owner and bind scope.
//!
//! The three are different truths. A port that nobody asked is not closed: it is unknown.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::inventory::kinds;
use serde::Serialize;
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{At, NODE_STATE, NodeState};
use super::inventory::text;
use super::select::Selection;
use super::{ViewError, Views, failed};

/// The most documents read for the page.
const MOST: i64 = 200_000;

/// How far a port reaches, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// A globally routable address.
    Public,
    /// Every address of the node.
    All,
    /// One private address of the node.
    Node,
    /// This version cannot tell.
    Unknown,
    /// The node itself only.
    Loopback,
    /// Declared, and nothing listens.
    Declared,
}

/// One port on one node.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ExposedOn {
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub node: String,
    /// The node's state.
    pub node_state: NodeState,
    /// Addresses it is bound to.
    pub addresses: Vec<String>,
    /// What the configuration says, when it names the port.
    pub declared: Vec<String>,
    /// Answers without credentials. Empty: not probed, so unknown.
    pub answers: Vec<String>,
    /// Since when it is in the inventory as it is.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: At,
}

/// One port, owner and reach over the fleet.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Exposed {
    /// Protocol.
    pub protocol: String,
    /// Port.
    pub port: i64,
    /// Component, process name, or why it is not known.
    pub owner: String,
    /// How far it reaches.
    pub reach: Reach,
    /// On which nodes.
    pub on: Vec<ExposedOn>,
}

impl Exposed {
    /// What a link selects this group by.
    pub fn label(&self) -> String {
        format!("{}/{} {} {}", self.protocol, self.port, self.owner, reach_name(self.reach))
    }
}

/// The name of a reach in queries and JSON.
fn reach_name(reach: Reach) -> &'static str {
    match reach {
        Reach::Public => "public",
        Reach::All => "all",
        Reach::Node => "node",
        Reach::Unknown => "unknown",
        Reach::Loopback => "loopback",
        Reach::Declared => "declared",
    }
}

/// Every group, worst reach first.
#[derive(Debug, Clone, Default)]
pub struct Exposure {
    /// The groups.
    pub groups: Vec<Exposed>,
    /// More documents are stored than are read for a page.
    pub truncated: bool,
}

/// Cluster and name.
type NodeName = (String, String);

struct Document {
    node: NodeName,
    state: NodeState,
    kind: String,
    name: String,
    json: Value,
    changed_at: i64,
}

impl Views {
    /// Ports of the nodes in `selection`. `q` looks at the group's label and the node.
    pub async fn exposure(&self, selection: &Selection) -> Result<Exposure, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select n.cluster, n.name as node, {NODE_STATE} as class, i.kind, i.name, i.json, i.changed_at \
             from nodes n cross join inventory i on i.node_id = n.node_id where i.kind in ("
        ));
        let mut wanted = query.separated(", ");
        for kind in [kinds::LISTENER, kinds::SETTING, kinds::PROBE] {
            wanted.push_bind(kind);
        }
        // Of the settings only those that can name a port.
        query.push(") and (i.kind <> ").push_bind(kinds::SETTING);
        query.push(" or lower(i.name) like '%port' or lower(i.name) like '%address%')");
        selection.nodes(&mut query);
        query.push(" order by n.node_id, i.kind, i.name limit ").push_bind(MOST + 1);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("read listeners"))?;
        let truncated = rows.len() > usize::try_from(MOST).unwrap_or(usize::MAX);
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Some(Document {
                node: (row.get("cluster"), row.get("node")),
                state: NodeState::of(&row.get::<String, _>("class"))?,
                kind: row.get("kind"),
                name: row.get("name"),
                json: serde_json::from_str(&row.get::<String, _>("json")).ok()?,
                changed_at: row.get("changed_at"),
            })
        };
        let documents: Vec<Document> = rows.iter().filter_map(read).collect();
        let mut groups = group(&documents);
        if let Some(q) = &selection.filter.q {
            let q = q.to_lowercase();
            groups.retain(|group| group.label().to_lowercase().contains(&q));
        }
        Ok(Exposure { groups, truncated })
    }
}

/// Reach, port, protocol, owner: what a group has in common.
type Key = (Reach, i64, String, String);
/// A port of a node.
type PortOf = (NodeName, i64);

/// Pure: documents of many nodes to groups.
fn group(documents: &[Document]) -> Vec<Exposed> {
    let mut groups: BTreeMap<Key, BTreeMap<NodeName, ExposedOn>> = BTreeMap::new();
    let mut declared: BTreeMap<PortOf, Vec<(String, String)>> = BTreeMap::new();
    let mut answers: BTreeMap<PortOf, Vec<String>> = BTreeMap::new();
    for document in documents {
        if document.kind == kinds::SETTING
            && let Some((owner, port, text)) = declaration(document)
        {
            declared.entry((document.node.clone(), port)).or_default().push((owner, text));
        }
        if document.kind == kinds::PROBE
            && let Some(port) = document.json.get("port").and_then(Value::as_i64)
        {
            answers.entry((document.node.clone(), port)).or_default().push(answer(&document.json));
        }
    }
    for answers in answers.values_mut() {
        answers.sort_by_key(|answer| telling(answer));
    }
    let on = |document: &Document, port: i64| ExposedOn {
        cluster: document.node.0.clone(),
        node: document.node.1.clone(),
        node_state: document.state,
        addresses: Vec::new(),
        declared: declared.get(&(document.node.clone(), port)).into_iter().flatten().map(|(_, text)| text.clone()).collect(),
        answers: answers.get(&(document.node.clone(), port)).cloned().unwrap_or_default(),
        changed_at: At(document.changed_at),
    };
    let mut listening: BTreeSet<PortOf> = BTreeSet::new();
    for document in documents.iter().filter(|document| document.kind == kinds::LISTENER) {
        let Some(port) = document.json.get("port").and_then(Value::as_i64) else { continue };
        listening.insert((document.node.clone(), port));
        let key = (reach(&document.json), port, text(&document.json, "protocol"), owner(&document.json));
        let entry = groups.entry(key).or_default().entry(document.node.clone()).or_insert_with(|| on(document, port));
        entry.addresses.push(text(&document.json, "address"));
        entry.changed_at = entry.changed_at.max(At(document.changed_at));
    }
    for document in documents.iter().filter(|document| document.kind == kinds::SETTING) {
        let Some((owner, port, _)) = declaration(document) else { continue };
        if !listening.contains(&(document.node.clone(), port)) {
            let key = (Reach::Declared, port, "tcp".to_owned(), owner);
            groups.entry(key).or_default().entry(document.node.clone()).or_insert_with(|| on(document, port));
        }
    }
    let exposed = |((reach, port, protocol, owner), on): (Key, BTreeMap<NodeName, ExposedOn>)| Exposed {
        protocol,
        port,
        owner,
        reach,
        on: on.into_values().collect(),
    };
    groups.into_iter().map(exposed).collect()
}

fn reach(listener: &Value) -> Reach {
    match listener.get("scope").and_then(Value::as_str) {
        Some("public") => Reach::Public,
        Some("all") => Reach::All,
        Some("node") => Reach::Node,
        Some("loopback") => Reach::Loopback,
        _ => Reach::Unknown,
    }
}

fn owner(listener: &Value) -> String {
    let Some(owner) = listener.get("owner").filter(|owner| owner.is_object()) else {
        return "owner unknown".to_owned();
    };
    let component = text(owner, "component");
    if component.is_empty() { text(owner, "name") } else { component }
}

/// A setting that opens a port: `(owner, port, "readOnlyPort = 10255, drop-in …")`. Port 0 opens nothing.
fn declaration(document: &Document) -> Option<(String, i64, String)> {
    let (owner, setting) = document.name.rsplit_once('/')?;
    let value = document.json.get("value")?;
    let port = match value {
        Value::Number(number) if setting.to_lowercase().ends_with("port") => number.as_i64(),
        Value::String(address) if setting.to_lowercase().contains("address") => {
            address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
        }
        _ => None,
    }?;
    let shown = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (port > 0).then(|| (owner.to_owned(), port, format!("{setting} = {shown}, {}", text(&document.json, "source"))))
}

/// How telling an answer is, the most first: served without credentials, something else, refused, nothing.
pub(crate) fn telling(answer: &str) -> u8 {
    match answer.as_bytes() {
        [b'2', ..] => 0,
        [b'4', b'0', b'1' | b'3' | b'4', ..] => 2,
        [b'0'..=b'9', ..] => 1,
        _ => 3,
    }
}

fn answer(probe: &Value) -> String {
    let path = text(probe, "path");
    let from = text(probe, "vantage");
    match probe.get("outcome").and_then(Value::as_str) {
        Some("answered") => format!("{} on {path} from {from}", text(probe, "status")),
        Some(other) => format!("{} on {path} from {from}", other.replace('_', " ")),
        None => format!("unknown outcome on {path} from {from}"),
    }
}
