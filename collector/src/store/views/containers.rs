//! The containers of a node with what each may do: what stands out, what is not known, and the verdicts about it.
//!
//! Documents are read member by member: one that does not parse is not known, and takes nothing else along.

use std::collections::BTreeMap;

use holdfast_checks::entries::Verdict;
use holdfast_checks::inventory::kinds;
use serde::Serialize;
use serde_json::Value;

use super::codes::At;
use super::cursor::{BadCursor, Cursor};
use super::filter::Filter;
use super::inventory::InventoryRow;
use super::kubelets::SettingVerdict;
use super::nodes::NodeRow;
use super::{Page, ViewError, Views, failed};
use crate::store::containers::{Root, Rooted, names};

/// The most findings read for one node's containers.
const MOST_FINDINGS: i64 = 5000;
/// Mounts of one container shown; the rest are counted.
const MOST_MOUNTS: usize = 40;
/// Verdicts about one container shown; the rest are counted.
const MOST_VERDICTS: usize = 20;
/// The name of the order that page positions belong to.
const ORDER: &str = "containers";
/// What containerd, CRI-O and Docker leave a container that asks for nothing: containerd's `oci.defaultUnixCaps`.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The containers of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Containers {
    /// Why it is not known which containers run there; absent when it is.
    pub unknown: Option<String>,
    /// Containers that could not be read.
    pub skipped: i64,
    /// Containers that did not fit into what the node sends.
    pub left_out: i64,
    /// Every container that somebody asked for, worst first.
    pub containers: Vec<ContainerRow>,
    /// Those that only hold a pod's namespaces.
    pub sandboxes: Vec<ContainerRow>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ContainerRow {
    /// What findings call it.
    pub subject: String,
    /// Who runs it; empty where nothing tells.
    pub runtime: String,
    /// Namespace of its pod; absent outside pods and when not known.
    pub namespace: Option<String>,
    /// Its pod; absent outside pods and when not known.
    pub pod: Option<String>,
    /// Its own name; absent when not known.
    pub name: Option<String>,
    /// Its image; absent when not known.
    pub image: Option<String>,
    /// The image's digest; absent when not known.
    pub digest: Option<String>,
    /// What runs it: `runc`, `runsc`, …; absent when not known.
    pub handler: Option<String>,
    /// How much root its processes are.
    pub root: Root,
    /// Why that is not known; empty when it is.
    pub root_unknown: String,
    /// The programs that are root, on the host or inside.
    pub root_programs: Vec<String>,
    /// All of it runs in a user namespace of its own: `privileged` and capabilities hold there, and nowhere else.
    pub user_namespace: bool,
    /// Host uids of its processes; absent when not known.
    pub uids: Option<Vec<i64>>,
    /// The uid it was configured to start with, as it sees it; absent when not known.
    pub configured_user: Option<i64>,
    /// What it was configured to be and is not, in words; absent when nothing contradicts.
    pub contradiction: Option<String>,
    /// What it may do beyond what a confined container may.
    pub privileges: Vec<Privilege>,
    /// Facts that are not known: neither granted nor refused.
    pub not_known: Vec<String>,
    /// What of the host is mounted in it; absent when not known.
    pub mounts: Option<Vec<MountRow>>,
    /// Mounts that are not listed.
    pub mounts_left_out: i64,
    /// Verdicts about it that fail or are unknown.
    pub verdicts: Vec<SettingVerdict>,
    /// Verdicts that are not listed.
    pub verdicts_left_out: i64,
    /// Since when it is as it is.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: At,
}

/// Something a container may do, or is not kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrivilegeKind {
    /// Started as privileged.
    Privileged,
    /// In the host's mount namespace.
    HostMounts,
    /// Sees the host's processes.
    HostPid,
    /// In the host's network.
    HostNetwork,
    /// Shares the host's IPC.
    HostIpc,
    /// Capabilities beyond what a runtime gives by default.
    Capabilities,
    /// No seccomp filter.
    SeccompOff,
    /// May gain privileges, by setuid programs.
    MayGainPrivileges,
    /// Its root is mounted writable.
    WritableRoot,
}

impl PrivilegeKind {
    /// Does it reach no further than the user namespace of who has it.
    pub fn ends_with_user_namespace(self) -> bool {
        matches!(self, Self::Privileged | Self::Capabilities)
    }

    /// Is it worth a word of a sandbox: what every one has is not.
    pub fn of_a_sandbox(self) -> bool {
        matches!(self, Self::Privileged | Self::HostMounts | Self::HostPid | Self::HostNetwork | Self::HostIpc)
    }
}

/// A privilege with what it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Privilege {
    /// Which.
    pub kind: PrivilegeKind,
    /// The capabilities; empty for others.
    pub detail: Vec<String>,
}

/// A piece of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MountRow {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// What it is good for: `runtime_socket`, `root`, `etc`, …; `token` is a service account token and no piece of the host.
    pub kind: String,
    /// Mounted writable; absent when the document does not say.
    pub writable: Option<bool>,
}

impl Views {
    /// The containers of a node, seen at `now`.
    pub async fn containers(&self, node: &NodeRow, now: i64) -> Result<Containers, ViewError> {
        let groups = self.inventory(node, kinds::GROUP).await?;
        let documents = self.inventory(node, kinds::CONTAINER).await?;
        let mut verdicts = self.open_verdicts(node, now).await?;
        let rows = documents.iter().map(|row| (is_sandbox(row), container(row, verdicts.remove(&row.name).unwrap_or_default())));
        let (sandboxes, containers): (Vec<_>, Vec<_>) = rows.partition(|(sandbox, _)| *sandbox);
        let sorted = |rows: Vec<(bool, ContainerRow)>| {
            let mut rows: Vec<ContainerRow> = rows.into_iter().map(|(_, row)| row).collect();
            rows.sort_by(|one, other| one.key().cmp(&other.key()));
            rows
        };
        let group = groups.iter().find(|group| group.name == "containers");
        let number = |field: &str| group.and_then(|group| group.document.get(field)).and_then(Value::as_i64).unwrap_or(0).max(0);
        Ok(Containers {
            unknown: unknown_group(group, documents.is_empty(), "containers"),
            skipped: number("skipped"),
            left_out: number("left_out"),
            containers: sorted(containers),
            sandboxes: sorted(sandboxes),
        })
    }

    /// How many containers a node has that somebody asked for.
    pub async fn count_containers(&self, node: &NodeRow) -> Result<i64, ViewError> {
        let sql = "select count(*) from containers where node_id = $1 and kind = $2 and place <> 'sandbox'";
        let query = sqlx::query_scalar(sql).bind(node.node_id).bind(kinds::CONTAINER);
        query.fetch_one(&self.reader).await.map_err(failed("count a node's containers"))
    }

    /// Cuts the page at `after` out of a node's containers: they are few.
    pub fn containers_page(&self, rows: &[ContainerRow], filter: &Filter) -> Result<Page<ContainerRow>, ViewError> {
        let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let mut rest: Vec<&ContainerRow> = rows.iter().collect();
        if let Some(after) = &filter.after {
            let cursor = self.cursors.read(after, ORDER).map_err(ViewError::Cursor)?;
            let [Value::Number(rank), Value::String(subject)] = cursor.key.as_slice() else { return Err(ViewError::Cursor(BadCursor)) };
            let last = (rank.as_i64().unwrap_or_default(), subject.as_str());
            rest.retain(|row| row.key() > last);
        }
        let offset = total - i64::try_from(rest.len()).unwrap_or(0);
        let limit = usize::try_from(filter.limit()).unwrap_or(usize::MAX);
        let more = rest.len() > limit;
        rest.truncate(limit);
        let next = rest.last().filter(|_| more).map(|row| {
            let (rank, subject) = row.key();
            let offset = offset + i64::try_from(rest.len()).unwrap_or(0);
            self.cursors.sign(&Cursor { order: ORDER.to_owned(), offset, key: vec![Value::from(rank), Value::from(subject)] })
        });
        Ok(Page { rows: rest.into_iter().cloned().collect(), total, offset, next })
    }

    /// Verdicts of a node that fail or are unknown, by subject, the worst first.
    pub(super) async fn open_verdicts(&self, node: &NodeRow, now: i64) -> Result<BTreeMap<String, Vec<SettingVerdict>>, ViewError> {
        let asked = Filter {
            cluster: vec![node.cluster.clone()],
            node: vec![node.name.clone()],
            state: vec![node.state],
            verdict: vec![Verdict::Fail, Verdict::Unknown],
            ..Filter::default()
        };
        let mut by_subject: BTreeMap<String, Vec<SettingVerdict>> = BTreeMap::new();
        for finding in self.all_findings(&self.select(&asked, now), MOST_FINDINGS).await? {
            let verdict = SettingVerdict::of(&finding);
            by_subject.entry(finding.subject).or_default().push(verdict);
        }
        for verdicts in by_subject.values_mut() {
            verdicts.sort_by(|one, other| {
                let rank = |verdict: &SettingVerdict| (verdict.verdict != Verdict::Fail, std::cmp::Reverse(verdict.severity));
                rank(one).cmp(&rank(other)).then_with(|| one.check.cmp(&other.check))
            });
        }
        Ok(by_subject)
    }
}

/// Why a group is not known; `None` when it is, or when there are documents all the same.
pub(super) fn unknown_group(group: Option<&InventoryRow>, empty: bool, what: &str) -> Option<String> {
    let group = match group {
        _ if !empty => return None,
        None => return Some(format!("the agent has not said whether it looked for {what}")),
        Some(group) => group,
    };
    (group.text("state") != "known").then(|| format!("{}: {}", group.text("reason"), group.text("detail")))
}

fn is_sandbox(row: &InventoryRow) -> bool {
    row.text("kind") == "sandbox"
}

impl ContainerRow {
    /// Contradictions first, then host root, unknown, root inside, none; among them those with most privileges; then by name.
    fn key(&self) -> (i64, &str) {
        let root = match self.root {
            Root::Host => 0,
            Root::Unknown => 1,
            Root::UserNamespace => 2,
            Root::None => 3,
        };
        let calm = 100_i64.saturating_sub(i64::try_from(self.privileges.len()).unwrap_or(100));
        (i64::from(self.contradiction.is_none()) * 1000 + root * 200 + calm, &self.subject)
    }
}

fn container(row: &InventoryRow, mut verdicts: Vec<SettingVerdict>) -> ContainerRow {
    let document = &row.document;
    let known = |field: &str| Some(row.text(field)).filter(|text| !text.is_empty());
    let rooted = Rooted::of(document);
    let configured_user = document.get("configured_user").and_then(Value::as_i64);
    let (privileges, not_known) = privileges(document);
    let mounts = mounts(document);
    let all = mounts.as_ref().map_or(0, Vec::len);
    let most = verdicts.len();
    verdicts.truncate(MOST_VERDICTS);
    ContainerRow {
        subject: row.name.clone(),
        runtime: row.text("runtime"),
        namespace: known("namespace"),
        pod: known("pod"),
        name: known("name"),
        image: known("image"),
        digest: known("digest"),
        handler: known("handler"),
        contradiction: contradiction(&rooted, configured_user),
        root: rooted.root,
        root_unknown: rooted.unknown,
        root_programs: rooted.programs,
        user_namespace: rooted_inside(document),
        uids: document.get("uids").and_then(Value::as_array).map(|uids| uids.iter().filter_map(Value::as_i64).take(32).collect()),
        configured_user,
        privileges,
        not_known,
        mounts: mounts.map(|mut mounts| {
            mounts.truncate(MOST_MOUNTS);
            mounts
        }),
        mounts_left_out: i64::try_from(all.saturating_sub(MOST_MOUNTS)).unwrap_or(i64::MAX),
        verdicts_left_out: i64::try_from(most.saturating_sub(MOST_VERDICTS)).unwrap_or(i64::MAX),
        verdicts,
        changed_at: row.changed_at,
    }
}

/// Does the node say that nothing of it is outside a user namespace of its own. A host root contradicts that, and stands.
fn rooted_inside(document: &Value) -> bool {
    let said = document.get("user_namespace").and_then(Value::as_bool) == Some(true);
    said && matches!(names(document, "host_root"), Ok(Some(host)) if host.is_empty())
}

/// What was configured and is not so.
fn contradiction(rooted: &Rooted, configured: Option<i64>) -> Option<String> {
    let uid = configured.filter(|_| rooted.contradicts)?;
    let who = rooted.programs.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let what = if rooted.root == Root::Host { "the host's root" } else { "root in its user namespace" };
    Some(format!("configured to run as uid {uid}, but {who} runs as {what}"))
}

/// What stands out, and what is not known of it.
fn privileges(document: &Value) -> (Vec<Privilege>, Vec<String>) {
    let (mut found, mut not_known) = (Vec::new(), Vec::new());
    let mut flag = |field: &str, stands_out: bool, kind: PrivilegeKind, words: &str| match document.get(field).and_then(Value::as_bool) {
        Some(value) if value == stands_out => found.push(Privilege { kind, detail: Vec::new() }),
        Some(_) => {}
        None => not_known.push(words.to_owned()),
    };
    flag("privileged", true, PrivilegeKind::Privileged, "privileged");
    flag("seccomp", false, PrivilegeKind::SeccompOff, "seccomp");
    flag("no_new_privileges", false, PrivilegeKind::MayGainPrivileges, "gaining privileges");
    flag("read_only", false, PrivilegeKind::WritableRoot, "read-only root");
    match names(document, "capabilities") {
        Ok(Some(names)) => {
            let detail: Vec<String> = names.into_iter().filter(|name| !DEFAULT_CAPABILITIES.contains(&name.as_str())).take(64).collect();
            if !detail.is_empty() {
                found.push(Privilege { kind: PrivilegeKind::Capabilities, detail });
            }
        }
        Ok(None) | Err(_) => not_known.push("capabilities".to_owned()),
    }
    let with_host = names(document, "shares").ok().flatten().unwrap_or_default();
    let shared = [
        ("mounts", PrivilegeKind::HostMounts),
        ("pid", PrivilegeKind::HostPid),
        ("network", PrivilegeKind::HostNetwork),
        ("ipc", PrivilegeKind::HostIpc),
    ];
    found.extend(
        shared
            .iter()
            .filter(|(name, _)| with_host.iter().any(|share| share == name))
            .map(|(_, kind)| Privilege { kind: *kind, detail: Vec::new() }),
    );
    let unread = document.get("host_root").is_none_or(Value::is_null);
    let all_told = names(document, "shares_unknown").is_ok_and(|names| names.is_none_or(|names| names.is_empty()));
    if unread || !all_told {
        not_known.push("namespaces of the host".to_owned());
    }
    found.sort_by_key(|privilege| privilege.kind);
    (found, not_known)
}

/// Pieces of the host, the writable and telling ones first; `None` when not known.
fn mounts(document: &Value) -> Option<Vec<MountRow>> {
    let items = document.get("mounts").and_then(Value::as_array)?;
    let said = |item: &Value, field: &str| item.get(field).and_then(Value::as_str).unwrap_or("?").to_owned();
    let read = |item: &Value| MountRow {
        source: said(item, "source"),
        target: said(item, "target"),
        kind: said(item, "kind"),
        writable: item.get("writable").and_then(Value::as_bool),
    };
    let mut mounts: Vec<MountRow> = items.iter().map(read).collect();
    let rank = |mount: &MountRow| (mount.kind == "token", mount.kind == "other", mount.writable == Some(false));
    mounts.sort_by(|one, other| (rank(one), &one.source).cmp(&(rank(other), &other.source)));
    Some(mounts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(document: Value) -> ContainerRow {
        container(&InventoryRow { name: "pod:a/b/c".to_owned(), document, changed_at: At(1) }, Vec::new())
    }

    #[test]
    fn what_is_not_known_is_said_and_is_no_privilege_refused() {
        let row = of(json!({}));
        assert_eq!(row.privileges, []);
        assert_eq!(
            row.not_known,
            ["privileged", "seccomp", "gaining privileges", "read-only root", "capabilities", "namespaces of the host"]
        );
        assert_eq!((row.mounts, row.uids, row.root), (None, None, Root::Unknown));
        let confined = of(json!({"host_root": [], "inside_root": [], "privileged": false, "seccomp": true, "no_new_privileges": true,
            "read_only": true, "capabilities": ["CHOWN"], "shares": [], "shares_unknown": [], "mounts": []}));
        assert_eq!((confined.privileges, confined.not_known.len(), confined.root), (Vec::new(), 0, Root::None));
    }

    #[test]
    fn what_stands_out_is_named_worst_first_without_what_every_container_has() {
        let row = of(
            json!({"privileged": true, "capabilities": ["CHOWN", "NET_ADMIN", "SYS_ADMIN"], "shares": ["network", "pid", "x"], "seccomp": false}),
        );
        let kinds: Vec<PrivilegeKind> = row.privileges.iter().map(|privilege| privilege.kind).collect();
        assert_eq!(
            kinds,
            [
                PrivilegeKind::Privileged,
                PrivilegeKind::HostPid,
                PrivilegeKind::HostNetwork,
                PrivilegeKind::Capabilities,
                PrivilegeKind::SeccompOff
            ]
        );
        assert_eq!(row.privileges[3].detail, ["NET_ADMIN", "SYS_ADMIN"]);
    }

    /// A privileged container in a user namespace has every capability, and none over the host.
    #[test]
    fn capabilities_of_a_user_namespace_are_not_those_of_the_host() {
        let with = |more: Value| {
            let mut document = json!({"privileged": true, "capabilities": ["ALL"], "host_root": [], "inside_root": ["sh"]});
            document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            of(document).user_namespace
        };
        assert!(with(json!({"user_namespace": true})));
        assert!(!with(json!({})), "not known is the host's");
        assert!(!with(json!({"user_namespace": "true"})));
        assert!(!with(json!({"user_namespace": true, "host_root": ["sh"]})), "host root stands");
        assert!(!with(json!({"user_namespace": true, "host_root": null})));
    }

    #[test]
    fn ten_thousand_mounts_are_cut_and_counted_and_a_kind_of_tomorrow_is_shown() {
        let mount =
            |n: usize| json!({"source": format!("/s/{n}"), "target": "/t", "kind": "kernel_modules", "writable": n.is_multiple_of(2)});
        let row = of(json!({"mounts": (0..10_000).map(mount).collect::<Vec<_>>()}));
        let mounts = row.mounts.expect("mounts");
        assert_eq!((mounts.len(), row.mounts_left_out, mounts[0].kind.as_str()), (MOST_MOUNTS, 9960, "kernel_modules"));
        assert_eq!(
            of(json!({"mounts": [1, {"writable": "yes"}]})).mounts.map(|mounts| mounts.len()),
            Some(2),
            "a malformed one is not lost"
        );
        assert_eq!(of(json!({"mounts": "none"})).mounts, None);
    }
}
