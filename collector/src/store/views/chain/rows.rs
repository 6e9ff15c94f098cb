//! The rows that the patch chain is shown by, and how they come from the store's.
//!
//! Must not know queries.

use holdfast_checks::facts::Observed;
use holdfast_checks::versions::{Activation, Headline, Link};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::store::chain::{headline_from, headline_number};
use crate::store::views::codes::{At, NodeState};

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
    pub(super) fixed_in: String,
    pub(super) key: GroupKey,
    pub(super) place: (i64, String),
}

pub(super) type GroupKey = (i64, String, String, String);

/// What groups need of a stored link.
#[derive(Deserialize)]
pub(super) struct Told {
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
pub(super) struct Dated {
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
    pub(super) node_id: i64,
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
pub(super) struct Said {
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
pub(super) fn headline_of(number: i64) -> Headline {
    headline_from(number).unwrap_or(Headline::Unknown)
}

pub(super) fn by_name<S: serde::Serializer>(headlines: &[(Headline, i64); 6], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headlines.iter().map(|(headline, n)| (headline.name(), n)))
}

impl ChainGroupRow {
    pub(super) fn key(&self) -> GroupKey {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        (headline_number(self.headline), self.component.clone(), text(&self.running), text(&self.image))
    }

    /// What groups are sorted by, ascending.
    pub(super) fn sort_key(&self) -> (i64, i64, String, String, String) {
        let (headline, component, running, image) = self.key();
        (headline, -self.nodes, component, running, image)
    }

    /// Takes what its nodes are told.
    pub(super) fn take(&mut self, variants: Vec<(ChainVariant, Option<Told>)>) {
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
pub(super) fn rank(component: &str) -> usize {
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
pub(super) fn known(row: &SqliteRow, column: &str) -> Option<String> {
    Some(row.get::<String, _>(column)).filter(|text| !text.is_empty())
}

pub(super) fn group_row(row: &SqliteRow) -> ChainGroupRow {
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

pub(super) fn chain_row(row: &SqliteRow) -> Option<ChainRow> {
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
