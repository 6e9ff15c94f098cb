//! Containers and root processes as columns: made of inventory documents in the transaction that changes them, and made anew when
//! this code would make them differently.
//!
//! A document comes from a node and is hostile: what does not parse is unknown, never "not root". Must not know the wire or pages.

use std::time::Instant;

use holdfast_checks::entries::{Body, Entry, Key, Kind};
use holdfast_checks::inventory::kinds;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::SqliteConnection;

use super::ingest::json;
use super::{Store, StoreError};

/// Raised when [`Row::of`] or the table changes: then every row is made anew at start.
const VERSION: &str = "2";
/// The table's name in `derived`.
const TABLE: &str = "containers";
/// The longest name kept in a column, in characters; longer ones are cut and marked. Kubernetes allows 253, registries 383.
const MAX_NAME: usize = 512;
/// The longest list of programs kept, in characters.
const MAX_PROGRAMS: usize = 256;
/// What an operator's link says for "not known": no name of an image or a namespace.
pub const NOT_KNOWN: &str = "-";

/// How much root a container's processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// A process of it is the host's root.
    Host,
    /// It is not known. Never the same as `none`.
    Unknown,
    /// Root only inside a user namespace: nobody outside.
    UserNamespace,
    /// No process is root.
    None,
}

impl Root {
    /// Every one, worst first.
    pub const ALL: [Self; 4] = [Self::Host, Self::Unknown, Self::UserNamespace, Self::None];

    /// The name in queries, JSON and the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Unknown => "unknown",
            Self::UserNamespace => "user_namespace",
            Self::None => "none",
        }
    }

    /// The one called `name`.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.name() == name)
    }
}

/// Where something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a container of a pod.
    Pod,
    /// In a container of no pod.
    Outside,
    /// In no container, or it is not known in which.
    Process,
    /// In the container that only holds a pod's namespaces.
    Sandbox,
}

impl Place {
    /// Those that pages list; sandboxes are the runtime's own.
    pub const LISTED: [Self; 3] = [Self::Pod, Self::Outside, Self::Process];

    /// The name in queries, JSON and the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Outside => "outside",
            Self::Process => "process",
            Self::Sandbox => "sandbox",
        }
    }

    /// The one called `name`.
    pub fn of(name: &str) -> Option<Self> {
        Self::LISTED.into_iter().chain([Self::Sandbox]).find(|place| place.name() == name)
    }
}

/// What a container's document says of root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooted {
    /// How much.
    pub root: Root,
    /// Why that is not known; empty when it is.
    pub unknown: String,
    /// The programs that are root, on the host or inside.
    pub programs: Vec<String>,
    /// Configured for a user that is not root, and root all the same.
    pub contradicts: bool,
}

impl Rooted {
    /// Reads the document of a container.
    pub fn of(document: &Value) -> Self {
        let (host, inside) = (names(document, "host_root"), names(document, "inside_root"));
        let said = || text(document, "unknown").unwrap_or_else(|| "the node does not say why".to_owned());
        let (root, unknown, programs) = match (host, inside) {
            (Ok(Some(host)), _) if !host.is_empty() => (Root::Host, String::new(), host),
            (Err(Malformed), _) | (_, Err(Malformed)) => (Root::Unknown, malformed(), Vec::new()),
            (Ok(None), _) => (Root::Unknown, said(), Vec::new()),
            (Ok(Some(_)), Ok(None)) => {
                (Root::Unknown, "not host root; whether it is root in a user namespace is not known".to_owned(), Vec::new())
            }
            (Ok(Some(_)), Ok(Some(inside))) if inside.is_empty() => (Root::None, String::new(), inside),
            (Ok(Some(_)), Ok(Some(inside))) => (Root::UserNamespace, String::new(), inside),
        };
        let other = document.get("configured_user").and_then(Value::as_i64).is_some_and(|uid| uid != 0);
        Self { root, unknown, programs, contradicts: other && matches!(root, Root::Host | Root::UserNamespace) }
    }
}

/// A member is there and of another type than it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Why a malformed document says nothing.
fn malformed() -> String {
    "malformed: the node's document does not parse".to_owned()
}

/// A list of texts; `None` when absent.
pub fn names(document: &Value, field: &str) -> Result<Option<Vec<String>>, Malformed> {
    match document.get(field) {
        None | Some(Value::Null) if document.is_object() => Ok(None),
        Some(Value::Array(items)) => {
            let names = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            names.map(Some).ok_or(Malformed)
        }
        _ => Err(Malformed),
    }
}

/// A text that is there and not empty.
fn text(document: &Value, field: &str) -> Option<String> {
    document.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A name as a column has it: bounded, without what a database refuses; empty when not known.
fn name(document: &Value, field: &str) -> String {
    let name = text(document, field).map(|name| cut(&name, MAX_NAME)).unwrap_or_default();
    if name == NOT_KNOWN { String::new() } else { name }
}

fn cut(text: &str, most: usize) -> String {
    let mut kept: String = text.chars().filter(|character| *character != '\0').take(most).collect();
    if text.chars().nth(most).is_some() {
        kept.push('…');
    }
    kept
}

/// A row of `containers`, without its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    kind: String,
    subject: String,
    place: &'static str,
    namespace: String,
    pod: String,
    pod_key: i64,
    name: String,
    image: String,
    root: &'static str,
    unknown: String,
    programs: String,
    contradicts: bool,
    privileged: i64,
    /// The order of lists: contradictions, then by [`Root::ALL`].
    rank: i64,
    changed_at: i64,
}

impl Row {
    /// The row of an inventory document; `None` for other kinds.
    fn of(node_id: i64, kind: &str, subject: &str, json: &str, changed_at: i64) -> Option<Self> {
        let document: Value = serde_json::from_str(json).unwrap_or(Value::Null);
        let row = Self {
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            place: Place::Process.name(),
            namespace: String::new(),
            pod: String::new(),
            pod_key: 0,
            name: String::new(),
            image: String::new(),
            root: Root::Host.name(),
            unknown: String::new(),
            programs: String::new(),
            contradicts: false,
            privileged: -1,
            rank: rank(Root::Host, false),
            changed_at,
        };
        match kind {
            // Every one of these has the host's uid 0: that is what the kind says.
            kinds::ROOT_PROCESS => Some(Self { image: name(&document, "exe"), ..row }),
            kinds::CONTAINER => {
                let rooted = Rooted::of(&document);
                let (namespace, pod) = (name(&document, "namespace"), name(&document, "pod"));
                let said = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
                // A document that does not parse still has its key.
                let in_pod = said("placement") == "pod" || subject.starts_with("pod:");
                let place = match said("kind") {
                    "sandbox" => Place::Sandbox,
                    _ if in_pod => Place::Pod,
                    _ => Place::Outside,
                };
                let pod_key = match place {
                    Place::Pod if pod.is_empty() => key(node_id, "", subject),
                    Place::Pod => key(node_id, &namespace, &pod),
                    Place::Outside | Place::Process | Place::Sandbox => 0,
                };
                Some(Self {
                    place: place.name(),
                    name: name(&document, "name"),
                    image: name(&document, "image"),
                    root: rooted.root.name(),
                    unknown: cut(&rooted.unknown, MAX_NAME),
                    programs: cut(&rooted.programs.join(", "), MAX_PROGRAMS),
                    contradicts: rooted.contradicts,
                    rank: rank(rooted.root, rooted.contradicts),
                    privileged: document.get("privileged").and_then(Value::as_bool).map_or(-1, i64::from),
                    namespace,
                    pod,
                    pod_key,
                    ..row
                })
            }
            _ => None,
        }
    }
}

fn rank(root: Root, contradicts: bool) -> i64 {
    match root {
        _ if contradicts => 0,
        Root::Host => 1,
        Root::Unknown => 2,
        Root::UserNamespace => 3,
        Root::None => 4,
    }
}

/// A number that stands for a pod. Two pods with the same number would be counted as one: one chance in 10¹⁵ for a million pods.
fn key(node_id: i64, namespace: &str, pod: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&node_id.to_le_bytes()).update(namespace.as_bytes()).update(b"\0").update(pod.as_bytes());
    let bytes = hasher.finalize();
    let first = bytes.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
    // Never the 0 of "in no pod".
    (i64::from_le_bytes(first) & i64::MAX).max(1)
}

/// Keeps the rows of entries that were written.
pub(super) async fn upsert(conn: &mut SqliteConnection, node_id: i64, at: i64, entries: &[&Entry]) -> Result<(), StoreError> {
    let rows = entries.iter().filter_map(|entry| {
        let Body::Inventory(document) = &entry.body else { return None };
        let (kind, subject) = entry.key.parts();
        is_kept(kind).then(|| Row::of(node_id, kind, subject, &document.json, at)).flatten()
    });
    write(conn, node_id, &rows.collect::<Vec<_>>()).await
}

/// Deletes the rows of entries that are gone.
pub(super) async fn delete<'a>(conn: &mut SqliteConnection, node_id: i64, keys: impl Iterator<Item = &'a Key>) -> Result<(), StoreError> {
    let keys: Vec<_> = keys.filter(|key| key.kind() == Kind::Inventory).map(Key::parts).filter(|(kind, _)| is_kept(kind)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let sql = "delete from containers where node_id = $1 and (kind, subject) in (select value ->> 0, value ->> 1 from json_each($2))";
    let query = sqlx::query(sql).bind(node_id).bind(json(&keys)?);
    query.execute(conn).await.map_err(StoreError::query("delete gone containers"))?;
    Ok(())
}

fn is_kept(kind: &str) -> bool {
    kind == kinds::CONTAINER || kind == kinds::ROOT_PROCESS
}

async fn write(conn: &mut SqliteConnection, node_id: i64, rows: &[Row]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "insert into containers (node_id, kind, subject, place, namespace, pod, pod_key, name, image, root, unknown, programs, \
               contradicts, privileged, rank, changed_at) select $1, value ->> 'kind', value ->> 'subject', value ->> 'place', \
               value ->> 'namespace', value ->> 'pod', value ->> 'pod_key', value ->> 'name', value ->> 'image', value ->> 'root', \
               value ->> 'unknown', value ->> 'programs', value ->> 'contradicts', value ->> 'privileged', value ->> 'rank', value ->> 'changed_at' \
               from json_each($2) where true on conflict (node_id, kind, subject) do update set place = excluded.place, \
               namespace = excluded.namespace, pod = excluded.pod, pod_key = excluded.pod_key, name = excluded.name, \
               image = excluded.image, root = excluded.root, unknown = excluded.unknown, programs = excluded.programs, \
               contradicts = excluded.contradicts, privileged = excluded.privileged, rank = excluded.rank, changed_at = excluded.changed_at";
    let query = sqlx::query(sql).bind(node_id).bind(json(rows)?);
    query.execute(conn).await.map_err(StoreError::query("upsert containers"))?;
    Ok(())
}

impl Store {
    /// Makes the rows anew from the inventory when another version of this code made them, or none: agents do not send again what
    /// they know to be stored.
    pub(super) async fn derive_containers(&self) -> Result<(), StoreError> {
        let failed = || StoreError::query("make the table of containers");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(failed())?;
        if derived_with(&mut transaction, TABLE).await?.as_deref() == Some(VERSION) {
            return Ok(());
        }
        let begun = Instant::now();
        sqlx::query("delete from containers").execute(&mut *transaction).await.map_err(failed())?;
        let select = "select distinct node_id from inventory where kind in ($1, $2)";
        let nodes = sqlx::query_scalar(select).bind(kinds::CONTAINER).bind(kinds::ROOT_PROCESS);
        let nodes: Vec<i64> = nodes.fetch_all(&mut *transaction).await.map_err(failed())?;
        tracing::info!(nodes = nodes.len(), "making the table of containers from the stored inventory: the first start of this version");
        let (count, mut made) = (nodes.len(), 0);
        // One node's documents in memory at a time, and one transaction: what is cut short is made from the beginning.
        for node_id in nodes {
            let select = "select kind, name, json, changed_at from inventory where node_id = $1 and kind in ($2, $3)";
            let query = sqlx::query_as(select).bind(node_id).bind(kinds::CONTAINER).bind(kinds::ROOT_PROCESS);
            let documents: Vec<(String, String, String, i64)> = query.fetch_all(&mut *transaction).await.map_err(failed())?;
            let rows = documents.iter().filter_map(|(kind, name, json, at)| Row::of(node_id, kind, name, json, *at));
            let rows: Vec<Row> = rows.collect();
            made += rows.len();
            write(&mut transaction, node_id, &rows).await?;
        }
        set_derived(&mut transaction, TABLE, VERSION).await?;
        transaction.commit().await.map_err(failed())?;
        tracing::info!(nodes = count, rows = made, took = ?begun.elapsed(), "the table of containers is made");
        Ok(())
    }
}

/// The version that made the table `name`; `None`: it was never made.
pub(super) async fn derived_with(conn: &mut SqliteConnection, name: &str) -> Result<Option<String>, StoreError> {
    let query = sqlx::query_scalar("select version from derived where name = $1").bind(name);
    query.fetch_optional(conn).await.map_err(StoreError::query("read how tables were made"))
}

/// Notes the version that made the table `name`.
pub(super) async fn set_derived(conn: &mut SqliteConnection, name: &str, version: &str) -> Result<(), StoreError> {
    let sql = "insert into derived (name, version) values ($1, $2) on conflict (name) do update set version = excluded.version";
    let query = sqlx::query(sql).bind(name).bind(version);
    query.execute(conn).await.map_err(StoreError::query("note how tables were made"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn root(document: &Value) -> Root {
        Rooted::of(document).root
    }

    #[test]
    fn what_is_not_known_is_never_not_root() {
        assert_eq!(root(&json!({"host_root": [], "inside_root": []})), Root::None);
        assert_eq!(root(&json!({"host_root": ["nginx"]})), Root::Host);
        assert_eq!(root(&json!({"host_root": [], "inside_root": ["sh"]})), Root::UserNamespace);
        for document in [
            json!({}),
            json!(null),
            json!([]),
            json!({"host_root": []}),
            json!({"host_root": "none", "inside_root": []}),
            json!({"host_root": [1], "inside_root": []}),
            json!({"host_root": [], "inside_root": {"a": 1}}),
            json!({"inside_root": []}),
        ] {
            let rooted = Rooted::of(&document);
            assert!(rooted.root == Root::Unknown && !rooted.unknown.is_empty(), "{document}");
        }
        assert_eq!(Rooted::of(&json!({"unknown": "permission_denied: /proc/7/status"})).unknown, "permission_denied: /proc/7/status");
    }

    #[test]
    fn root_where_another_user_was_configured_contradicts() {
        let contradicts = |document: &Value| Rooted::of(document).contradicts;
        assert!(contradicts(&json!({"host_root": ["su"], "configured_user": 1000})));
        assert!(contradicts(&json!({"host_root": [], "inside_root": ["su"], "configured_user": 1000})));
        assert!(!contradicts(&json!({"host_root": ["nginx"], "configured_user": 0})));
        assert!(!contradicts(&json!({"host_root": ["nginx"]})));
        assert!(!contradicts(&json!({"configured_user": 1000})), "what is not known contradicts nothing");
    }

    #[test]
    fn a_row_is_bounded_and_its_place_is_known_without_the_document() {
        let row = Row::of(1, "container", "pod:a/b/c", "{", 5).expect("a row");
        assert_eq!((row.place, row.root), ("pod", "unknown"));
        assert!(row.pod_key > 0);
        let long = json!({"kind": "container", "placement": "other", "image": "é".repeat(4000), "host_root": vec!["x"; 5000]}).to_string();
        let row = Row::of(1, "container", "container:x", &long, 5).expect("a row");
        assert_eq!((row.place, row.root, row.image.chars().count()), ("outside", "host", MAX_NAME + 1));
        assert!(row.programs.chars().count() <= MAX_PROGRAMS + 1);
        assert_eq!(Row::of(1, "container", "pod:a/b", "{\"kind\":\"sandbox\"}", 5).expect("a row").place, "sandbox");
        assert_eq!(Row::of(1, "os", "self", "{}", 5), None);
    }
}
