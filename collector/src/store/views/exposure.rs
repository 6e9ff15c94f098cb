//! What could be reached: declared, listening and answering ports, put together by port, owner and bind scope.
//!
//! The three are different truths. A port that nobody asked is not closed: it is unknown.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::facts::ProbeOutcome;
use holdfast_checks::inventory::kinds;
use holdfast_checks::peers::{Refusal, outcome_of, reached};
use serde::Serialize;
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::{At, NODE_STATE, NodeState};
use super::inventory::text;
use super::select::Selection;
use super::{ViewError, Views, failed};

/// The most documents read for the page.
const MOST: i64 = 200_000;

/// The most declarations, and the most answers, kept of one port on one node: an agent may send thousands, and each of its
/// listeners at the port shows them all.
const MOST_SAID: usize = 32;

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

/// What came of a peer's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerOutcome {
    /// An HTTP answer with a status.
    Answered,
    /// A program is there; it wants a client certificate.
    CertificateRequired,
    /// A program is there; it does not speak TLS with strangers, or not at all.
    TlsRefused,
    /// A program is there that does not speak HTTP.
    NotHttp,
    /// Nothing came back within the deadline: filtered, or the node is down.
    TimedOut,
    /// The network says that there is no way.
    Unreachable,
    /// The port is closed.
    Refused,
    /// The peer's agent did not ask.
    RefusedByAgent,
}

/// What one other node's agent met at a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PeerAnswer {
    /// The name of the node whose agent asked.
    pub vantage: String,
    /// The address asked.
    pub address: String,
    /// The path asked.
    pub path: String,
    /// Was it asked over TLS.
    pub tls: bool,
    /// What came of it.
    pub outcome: PeerOutcome,
    /// The HTTP status; 0 unless `outcome` is `answered`.
    pub status: i64,
    /// Why the agent did not ask; empty when it did.
    pub refusal: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: At,
    /// It is too old to tell anything about now.
    pub stale: bool,
}

impl PeerAnswer {
    /// Was the port reached from there: `None` when nobody asked, or not recently.
    pub fn reached(&self) -> Option<bool> {
        let fact = match self.outcome {
            PeerOutcome::Answered => ProbeOutcome::Answered,
            PeerOutcome::CertificateRequired => ProbeOutcome::CertificateRequired,
            PeerOutcome::TlsRefused => ProbeOutcome::TlsRefused,
            PeerOutcome::NotHttp => ProbeOutcome::NotHttp,
            PeerOutcome::TimedOut => ProbeOutcome::TimedOut,
            PeerOutcome::Unreachable => ProbeOutcome::Unreachable,
            PeerOutcome::Refused => ProbeOutcome::Refused,
            PeerOutcome::RefusedByAgent => return None,
        };
        (!self.stale).then(|| reached(fact))
    }

    /// What was met, in words: `401 on /pods`, `filtered: no answer`, `not asked: outside its networks`.
    pub fn words(&self) -> String {
        let path = &self.path;
        match self.outcome {
            PeerOutcome::Answered => format!("{} on {path}", self.status),
            PeerOutcome::CertificateRequired => "wants a client certificate".to_owned(),
            PeerOutcome::TlsRefused => "open, refuses TLS".to_owned(),
            PeerOutcome::NotHttp => "open, not HTTP".to_owned(),
            PeerOutcome::TimedOut => "filtered: no answer".to_owned(),
            PeerOutcome::Unreachable => "no way there".to_owned(),
            PeerOutcome::Refused => "closed".to_owned(),
            PeerOutcome::RefusedByAgent => format!("not asked: {}", self.refusal.replace('_', " ")),
        }
    }
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
    /// Answers without credentials, the most telling first. Empty: not probed, so unknown.
    pub answers: Vec<String>,
    /// Answers that are not listed.
    pub answers_left_out: i64,
    /// What other nodes' agents met, what was reached first. Empty: no peer was asked, so unknown.
    pub peers: Vec<PeerAnswer>,
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
        let peers = self.peers(selection).await?;
        let mut groups = group(&documents, &peers);
        if let Some(q) = &selection.filter.q {
            let q = q.to_lowercase();
            groups.retain(|group| group.label().to_lowercase().contains(&q));
        }
        Ok(Exposure { groups, truncated })
    }

    /// What peers met at the ports of the nodes in `selection`.
    async fn peers(&self, selection: &Selection) -> Result<Vec<Met>, ViewError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select n.cluster, n.name as node, {NODE_STATE} as class, p.port, p.address, p.path, p.tls, p.outcome, p.refusal, p.status, \
             p.at, p.stale_at, v.name as vantage from peer_probes p join nodes n on n.node_id = p.node_id \
             join nodes v on v.node_id = p.vantage_id where 1 = 1"
        ));
        selection.nodes(&mut query);
        query.push(" order by n.node_id, p.port, v.name, p.address limit ").push_bind(MOST);
        let rows = query.build().fetch_all(&self.reader).await.map_err(failed("read peers' answers"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let at: i64 = row.get("at");
            Some(Met {
                node: (row.get("cluster"), row.get("node")),
                state: NodeState::of(&row.get::<String, _>("class"))?,
                port: row.get("port"),
                answer: PeerAnswer {
                    vantage: row.get("vantage"),
                    address: row.get("address"),
                    path: row.get("path"),
                    tls: row.get::<i64, _>("tls") != 0,
                    outcome: peer_outcome(&row.get::<String, _>("outcome")),
                    status: row.get("status"),
                    refusal: refusal(row.get("refusal")),
                    at: At(at),
                    stale: row.get::<i64, _>("stale_at") <= selection.now,
                },
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}

/// What a peer met, and where.
struct Met {
    node: NodeName,
    state: NodeState,
    port: i64,
    answer: PeerAnswer,
}

fn peer_outcome(stored: &str) -> PeerOutcome {
    match outcome_of(stored) {
        Some(ProbeOutcome::Answered) => PeerOutcome::Answered,
        Some(ProbeOutcome::Refused) => PeerOutcome::Refused,
        Some(ProbeOutcome::Unreachable) => PeerOutcome::Unreachable,
        Some(ProbeOutcome::TlsRefused) => PeerOutcome::TlsRefused,
        Some(ProbeOutcome::CertificateRequired) => PeerOutcome::CertificateRequired,
        Some(ProbeOutcome::TimedOut) => PeerOutcome::TimedOut,
        Some(ProbeOutcome::NotHttp) => PeerOutcome::NotHttp,
        None => PeerOutcome::RefusedByAgent,
    }
}

fn refusal(stored: String) -> String {
    if stored.is_empty() { stored } else { Refusal::of(&stored).name().to_owned() }
}

/// Reach, port, protocol, owner: what a group has in common.
type Key = (Reach, i64, String, String);
/// A port of a node.
type PortOf = (NodeName, i64);

/// Pure: documents of many nodes, and what peers met there, to groups.
fn group(documents: &[Document], peers: &[Met]) -> Vec<Exposed> {
    let mut met: BTreeMap<PortOf, Vec<PeerAnswer>> = BTreeMap::new();
    for peer in peers {
        met.entry((peer.node.clone(), peer.port)).or_default().push(peer.answer.clone());
    }
    for answers in met.values_mut() {
        answers.sort_by_key(|answer| (answer.stale, answer.outcome));
    }
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
    let mut left_out: BTreeMap<PortOf, i64> = BTreeMap::new();
    for (port, answers) in &mut answers {
        answers.sort_by_key(|answer| telling(answer));
        left_out.insert(port.clone(), i64::try_from(answers.len().saturating_sub(MOST_SAID)).unwrap_or(i64::MAX));
        answers.truncate(MOST_SAID);
    }
    for declared in declared.values_mut() {
        declared.truncate(MOST_SAID);
    }
    let on = |document: &Document, port: i64| ExposedOn {
        cluster: document.node.0.clone(),
        node: document.node.1.clone(),
        node_state: document.state,
        addresses: Vec::new(),
        declared: declared.get(&(document.node.clone(), port)).into_iter().flatten().map(|(_, text)| text.clone()).collect(),
        answers: answers.get(&(document.node.clone(), port)).cloned().unwrap_or_default(),
        answers_left_out: left_out.get(&(document.node.clone(), port)).copied().unwrap_or_default(),
        peers: met.get(&(document.node.clone(), port)).cloned().unwrap_or_default(),
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
    // A port that peers reach and that the node does not list: whoever hides it there does not hide it from them.
    for peer in peers.iter().filter(|peer| peer.answer.reached() == Some(true)) {
        let port = (peer.node.clone(), peer.port);
        if !listening.contains(&port) {
            let key = (Reach::Unknown, peer.port, "tcp".to_owned(), "not in the node's inventory".to_owned());
            groups.entry(key).or_default().entry(peer.node.clone()).or_insert_with(|| ExposedOn {
                cluster: peer.node.0.clone(),
                node: peer.node.1.clone(),
                node_state: peer.state,
                addresses: Vec::new(),
                declared: Vec::new(),
                answers: answers.get(&port).cloned().unwrap_or_default(),
                answers_left_out: left_out.get(&port).copied().unwrap_or_default(),
                peers: met.get(&port).cloned().unwrap_or_default(),
                changed_at: peer.answer.at,
            });
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
