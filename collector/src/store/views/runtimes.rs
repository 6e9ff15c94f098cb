//! The container runtimes of a node: version, handlers, registries, sockets, user namespaces, and every setting with its source.

use holdfast_checks::facts::{Capability, Registry, RuntimeSocket};
use holdfast_checks::inventory::{HandlerDocument, kinds};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::containers::unknown_group;
use super::inventory::InventoryRow;
use super::kubelets::{SettingRow, SettingVerdict, readers, settings_of};
use super::nodes::NodeRow;
use super::{ViewError, Views};

/// Names of runtimes, as subjects begin.
const NAMES: [&str; 3] = ["containerd", "cri-o", "docker"];
/// Items of one list shown; the rest are counted.
const MOST: usize = 100;

/// Every container runtime of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Runtimes {
    /// Why it is not known which runtimes run there; absent when it is.
    pub unknown: Option<String>,
    /// Documents that did not fit into the node's inventory: settings may be missing.
    pub left_out: i64,
    /// The runtimes, the one that a kubelet uses first; empty, and nothing unknown: none runs there.
    pub runtimes: Vec<RuntimeRow>,
}

/// One runtime.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RuntimeRow {
    /// `containerd`, `cri-o` or `docker`; with `:<instance>` where several run.
    pub subject: String,
    /// The distribution that brought it; absent for the host's own.
    pub flavour: Option<String>,
    /// The running version; absent when not known.
    pub version: Option<String>,
    /// Does a kubelet of this node use it; absent when not known.
    pub used_by_kubelet: Option<bool>,
    /// Can pods have user namespaces; absent when not known.
    pub user_namespaces: Option<UserNamespaces>,
    /// What it can run containers with.
    pub handlers: Told<HandlerRow>,
    /// Registries that something is said of.
    pub registries: Told<RegistryRow>,
    /// Its socket files.
    pub sockets: Told<SocketRow>,
    /// Its settings: failing first, then unknown, then by name.
    pub settings: Vec<SettingRow>,
    /// Verdicts about it, its sockets and registries that fail or are unknown.
    pub verdicts: Vec<SettingVerdict>,
}

/// A list of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Told<T> {
    /// Is the list known; otherwise `items` is empty and says nothing.
    pub known: bool,
    /// Its items.
    pub items: Vec<T>,
    /// Items that are not listed, or that do not parse.
    pub left_out: i64,
}

/// Can pods have user namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UserNamespaces {
    /// Can they.
    pub capable: bool,
    /// What that rests on.
    pub because: String,
}

/// One way to run a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HandlerRow {
    /// The name a `RuntimeClass` uses.
    pub name: String,
    /// `runc`, `crun`, `gvisor`, `kata`, `wasm` or `other`.
    pub kind: String,
    /// Pods that name none get it.
    pub default: bool,
    /// Version of its program; absent when not known.
    pub version: Option<String>,
}

/// A registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RegistryRow {
    /// Host, with port; `*` for all.
    pub host: String,
    /// Where its images are really asked for.
    pub endpoint: String,
    /// Over TLS.
    pub tls: bool,
    /// The certificate is verified.
    pub verified: bool,
    /// What says so.
    pub source: String,
}

/// A socket file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SocketRow {
    /// Its path.
    pub path: String,
    /// Permission bits, octal.
    pub mode: String,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
}

impl Views {
    /// The container runtimes of a node, seen at `now`.
    pub async fn runtimes(&self, node: &NodeRow, now: i64) -> Result<Runtimes, ViewError> {
        let groups = self.inventory(node, kinds::GROUP).await?;
        let documents = self.inventory(node, kinds::RUNTIME).await?;
        let settings = self.inventory(node, kinds::SETTING).await?;
        let readers = readers(self.catalogue());
        let findings = self.setting_findings(node, &readers, now).await?;
        let mut owners = settings_of(&settings, &readers, &findings, is_runtime);
        let open = self.open_verdicts(node, now).await?;
        let mut rows: Vec<RuntimeRow> = documents.iter().map(|row| runtime(row, owners.remove(&row.name).unwrap_or_default())).collect();
        // Settings of a runtime whose own document did not come.
        let bare = |(subject, settings): (String, Vec<SettingRow>)| {
            runtime(&InventoryRow { name: subject, document: Value::Null, changed_at: super::At(0) }, settings)
        };
        rows.extend(owners.into_iter().map(bare));
        for row in &mut rows {
            let mut subjects = vec![row.subject.clone()];
            subjects.extend(row.sockets.items.iter().map(|socket| format!("socket:{}", socket.path)));
            subjects.extend(row.registries.items.iter().map(|registry| format!("registry:{}", registry.host)));
            row.verdicts = subjects.iter().filter_map(|subject| open.get(subject)).flatten().take(MOST).cloned().collect();
        }
        rows.sort_by(|one, other| {
            (one.used_by_kubelet != Some(true), &one.subject).cmp(&(other.used_by_kubelet != Some(true), &other.subject))
        });
        let group = groups.iter().find(|group| group.name == "runtimes");
        let left_out = group.and_then(|group| group.document.get("left_out")).and_then(Value::as_i64).unwrap_or(0).max(0);
        Ok(Runtimes { unknown: unknown_group(group, rows.is_empty(), "container runtimes"), left_out, runtimes: rows })
    }
}

/// Is a setting's owner a container runtime, by its subject.
pub(crate) fn is_runtime(subject: &str) -> bool {
    NAMES.contains(&subject.split_once(':').map_or(subject, |(name, _)| name))
}

fn runtime(row: &InventoryRow, settings: Vec<SettingRow>) -> RuntimeRow {
    let document = &row.document;
    let known = |field: &str| Some(row.text(field)).filter(|text| !text.is_empty());
    let namespaces: Option<Capability> = document.get("user_namespaces").and_then(|value| serde_json::from_value(value.clone()).ok());
    RuntimeRow {
        subject: row.name.clone(),
        flavour: known("flavour"),
        version: known("version"),
        used_by_kubelet: document.get("used_by_kubelet").and_then(Value::as_bool),
        user_namespaces: namespaces.map(|said| UserNamespaces { capable: said.capable, because: said.because }),
        handlers: told(document, "handlers", |said: HandlerDocument| HandlerRow {
            name: said.name,
            kind: said.kind,
            default: said.default,
            version: said.version,
        }),
        registries: told(document, "registries", |said: Registry| RegistryRow {
            host: said.host,
            endpoint: said.endpoint,
            tls: said.tls,
            verified: said.verified,
            source: said.source,
        }),
        sockets: told(document, "sockets", |said: RuntimeSocket| SocketRow {
            path: said.path,
            mode: format!("{:04o}", said.mode & 0o7777),
            uid: said.uid,
            gid: said.gid,
        }),
        settings,
        verdicts: Vec::new(),
    }
}

/// The items of a list that parse, and how many do not, or are too many.
pub(super) fn told<D: DeserializeOwned, T>(document: &Value, field: &str, row: impl Fn(D) -> T) -> Told<T> {
    let Some(items) = document.get(field).and_then(Value::as_array) else {
        return Told { known: false, items: Vec::new(), left_out: 0 };
    };
    let parsed = items.iter().take(MOST).filter_map(|item| serde_json::from_value::<D>(item.clone()).ok()).map(row);
    let shown: Vec<T> = parsed.collect();
    Told { known: true, left_out: i64::try_from(items.len().saturating_sub(shown.len())).unwrap_or(i64::MAX), items: shown }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::views::At;

    #[test]
    fn a_document_is_read_member_by_member() {
        let document = json!({"version": 7, "handlers": [{"name": "runc", "kind": "runc", "default": true}, {"name": 1}], "registries": "all",
            "sockets": [{"subject": "socket:/run/c.sock", "path": "/run/c.sock", "mode": 0o660, "uid": 0, "gid": 998}], "user_namespaces": true});
        let row = runtime(&InventoryRow { name: "containerd".to_owned(), document, changed_at: At(1) }, Vec::new());
        assert_eq!((row.handlers.items.len(), row.handlers.left_out, row.registries.known), (1, 1, false));
        assert_eq!((row.sockets.items[0].mode.as_str(), row.user_namespaces), ("0660", None));
        assert!(["containerd", "containerd:k3s", "cri-o", "docker"].into_iter().all(is_runtime));
        assert!(!["kubelet", "containerdx", ""].into_iter().any(is_runtime));
    }
}
