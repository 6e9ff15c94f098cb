//! The kubelets of a node, setting by setting: what each place declares, what is in effect, what behaviour shows, what the kubelet
//! says itself, and which verdicts rest on it.
//!
//! The four are different truths. One that nobody asked for is neither agreement nor disagreement.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::catalogue::Catalogue;
use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::facts::SourceKind;
use holdfast_checks::inventory::{SaidDocument, SettingDocument, kinds};
use serde::Serialize;
use serde_json::Value;

use super::codes::At;
use super::filter::Filter;
use super::findings::{Expected, FindingRow};
use super::inventory::InventoryRow;
use super::nodes::NodeRow;
use super::{ViewError, Views};

/// The most findings read for one node's settings.
const MOST: i64 = 5000;
/// Where evidence of checks names a setting of its subject.
const PATHS: [&str; 3] = ["it.settings.", "it.observed.", "it.reported."];

/// Every kubelet of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Kubelets {
    /// Why it is not known which kubelets run there; absent when it is.
    pub unknown: Option<String>,
    /// Documents that did not fit into the node's inventory: settings may be missing.
    pub left_out: i64,
    /// The kubelets; empty, and nothing unknown: none runs there.
    pub kubelets: Vec<KubeletRow>,
}

/// One kubelet.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct KubeletRow {
    /// `kubelet`, or `kubelet:<instance>` where several run on one host.
    pub subject: String,
    /// What contains it: `kubelet`, `k3s`, …; absent when not known.
    pub flavour: Option<String>,
    /// The running version; absent when not known.
    pub version: Option<String>,
    /// Does it share the host's network; absent when not known.
    pub host_network: Option<bool>,
    /// Its settings: failing first, then disagreeing, then unknown, then by name.
    pub settings: Vec<SettingRow>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SettingRow {
    /// Upstream's name.
    pub name: String,
    /// What each place says, weakest first. Empty, and the source in effect is a default: nothing says anything. Empty otherwise:
    /// not known.
    pub declared: Vec<DeclaredRow>,
    /// What is in effect by all of that.
    pub effective: Side,
    /// What behaviour shows.
    pub observed: Side,
    /// What the kubelet says of itself.
    pub reported: Side,
    /// Who says something else than what is in effect, in words.
    pub disagreements: Vec<String>,
    /// The verdicts of checks that read it.
    pub verdicts: Vec<SettingVerdict>,
    /// Since when it is as it is.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: At,
}

/// What one place says of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DeclaredRow {
    /// The value there; `null` where it removes what weaker places say.
    pub value: Value,
    /// The place.
    pub source: String,
    /// It is the strongest place.
    pub decides: bool,
}

/// One truth about a setting.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Side {
    /// It is known.
    Known {
        /// The value.
        value: Value,
        /// Where it comes from.
        source: String,
    },
    /// It was looked for, and is not known.
    Unknown {
        /// Why.
        reason: String,
    },
    /// Nothing was asked that would tell.
    NotAsked,
}

impl Side {
    fn known(said: SaidDocument) -> Self {
        Self::Known { value: said.value, source: said.source }
    }

    fn value(&self) -> Option<&Value> {
        if let Self::Known { value, .. } = self { Some(value) } else { None }
    }
}

/// A verdict that rests on a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SettingVerdict {
    /// The finding.
    pub finding: String,
    /// The check.
    pub check: String,
    /// The check's title.
    pub title: String,
    /// `pass`, `fail`, `unknown`, `manual` or `not_applicable`.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// `critical`, `high`, `medium`, `low` or `info`.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// The expectation that covers it.
    pub expected: Option<Expected>,
}

impl Views {
    /// The kubelets of a node, seen at `now`.
    pub async fn kubelets(&self, node: &NodeRow, now: i64) -> Result<Kubelets, ViewError> {
        let groups = self.inventory(node, kinds::GROUP).await?;
        let components = self.inventory(node, kinds::COMPONENT).await?;
        let settings = self.inventory(node, kinds::SETTING).await?;
        let readers = readers(self.catalogue());
        let findings = self.setting_findings(node, &readers, now).await?;
        let group = groups.iter().find(|group| group.name == "kubelets");
        Ok(put_together(group, &components, &settings, &readers, &findings))
    }

    /// The findings of a node by checks that read settings.
    pub(super) async fn setting_findings(&self, node: &NodeRow, readers: &Readers<'_>, now: i64) -> Result<Vec<FindingRow>, ViewError> {
        let asked = Filter {
            cluster: vec![node.cluster.clone()],
            node: vec![node.name.clone()],
            state: vec![node.state],
            check: readers.values().flatten().map(|check| (*check).to_owned()).collect::<BTreeSet<_>>().into_iter().collect(),
            ..Filter::default()
        };
        // No check that reads a setting is no restriction: then nothing is asked.
        if asked.check.is_empty() { Ok(Vec::new()) } else { self.all_findings(&self.select(&asked, now), MOST).await }
    }
}

/// Checks by the settings they read.
pub(super) type Readers<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The checks by the settings their evidence names.
pub(super) fn readers(catalogue: &Catalogue) -> Readers<'_> {
    let mut readers = Readers::new();
    for check in catalogue.checks() {
        for path in &check.evidence {
            let setting = PATHS.iter().find_map(|prefix| path.strip_prefix(prefix)).and_then(|rest| rest.split(['.', '[']).next());
            if let Some(setting) = setting {
                readers.entry(setting).or_default().insert(check.id.as_str());
            }
        }
    }
    readers
}

/// Is a component or a setting's owner a kubelet, by its subject.
pub(crate) fn is_kubelet(subject: &str) -> bool {
    subject == "kubelet" || subject.starts_with("kubelet:")
}

/// Pure: documents and findings of one node to its kubelets.
fn put_together(
    group: Option<&InventoryRow>,
    components: &[InventoryRow],
    settings: &[InventoryRow],
    readers: &Readers<'_>,
    findings: &[FindingRow],
) -> Kubelets {
    let mut rows: BTreeMap<&str, KubeletRow> = BTreeMap::new();
    let named =
        |subject: &str| KubeletRow { subject: subject.to_owned(), flavour: None, version: None, host_network: None, settings: Vec::new() };
    for component in components.iter().filter(|component| is_kubelet(&component.name)) {
        let field = |field: &str| Some(component.text(field)).filter(|text| !text.is_empty());
        let row = rows.entry(&component.name).or_insert_with(|| named(&component.name));
        row.flavour = field("flavour");
        row.version = field("version");
        row.host_network = component.document.get("host_network").and_then(Value::as_bool);
    }
    let owners = settings_of(settings, readers, findings, is_kubelet);
    for (subject, settings) in &owners {
        rows.entry(subject).or_insert_with(|| named(subject)).settings.clone_from(settings);
    }
    let said = |field: &str| group.map(|group| group.text(field)).unwrap_or_default();
    let unknown = match group {
        None if rows.is_empty() => Some("the agent has not said whether it looked for kubelets".to_owned()),
        Some(_) if said("state") != "known" && rows.is_empty() => Some(format!("{}: {}", said("reason"), said("detail"))),
        _ => None,
    };
    Kubelets { unknown, left_out: said("left_out").parse().unwrap_or(0), kubelets: rows.into_values().collect() }
}

impl SettingVerdict {
    pub(super) fn of(finding: &FindingRow) -> Self {
        Self {
            finding: finding.id.clone(),
            check: finding.check.clone(),
            title: finding.title.clone(),
            verdict: finding.verdict,
            severity: finding.severity,
            expected: finding.expected.clone(),
        }
    }
}

/// Settings by the subject they belong to, of subjects that `owns`, each with the verdicts that rest on it: failing first, then
/// disagreeing, then unknown.
pub(super) fn settings_of(
    settings: &[InventoryRow],
    readers: &Readers<'_>,
    findings: &[FindingRow],
    owns: fn(&str) -> bool,
) -> BTreeMap<String, Vec<SettingRow>> {
    let mut owners: BTreeMap<String, Vec<SettingRow>> = BTreeMap::new();
    for document in settings {
        let Some((subject, name)) = document.name.rsplit_once('/').filter(|(subject, _)| owns(subject)) else { continue };
        let checks = readers.get(name);
        let rests =
            |finding: &&FindingRow| finding.subject == subject && checks.is_some_and(|checks| checks.contains(finding.check.as_str()));
        let verdicts = findings.iter().filter(rests).map(SettingVerdict::of).collect();
        owners.entry(subject.to_owned()).or_default().push(setting(name, document, verdicts));
    }
    for rows in owners.values_mut() {
        rows.sort_by(|one, other| (one.rank(), &one.name).cmp(&(other.rank(), &other.name)));
    }
    owners
}

/// A setting of another component than a kubelet, under its whole name, without verdicts.
pub(crate) fn other_setting(row: &InventoryRow) -> SettingRow {
    setting(&row.name, row, Vec::new())
}

fn setting(name: &str, row: &InventoryRow, verdicts: Vec<SettingVerdict>) -> SettingRow {
    let malformed = || SettingDocument {
        value: None,
        source: None,
        unknown: Some("malformed: the node's document does not parse".to_owned()),
        declared: Vec::new(),
        observed: None,
        unobserved: None,
        reported: None,
    };
    // Without any of these it says nothing, and nothing is not a value.
    let says = |document: &SettingDocument| document.unknown.is_some() || document.value.is_some() || document.source.is_some();
    let document = Some(&row.document).filter(|document| document.is_object()).cloned();
    let document = document.and_then(|document| serde_json::from_value(document).ok()).filter(says).unwrap_or_else(malformed);
    let strongest = document.declared.len();
    let declared = (1..).zip(document.declared).map(|(place, said)| DeclaredRow {
        value: said.value,
        source: said.source,
        decides: place == strongest,
    });
    let effective = match document.unknown {
        Some(reason) => Side::Unknown { reason },
        None => Side::Known { value: document.value.unwrap_or(Value::Null), source: document.source.unwrap_or_default() },
    };
    let observed = match (document.observed, document.unobserved) {
        (Some(said), _) => Side::known(said),
        (None, Some(reason)) => Side::Unknown { reason },
        (None, None) => Side::NotAsked,
    };
    let reported = document.reported.map_or(Side::NotAsked, Side::known);
    SettingRow {
        name: name.to_owned(),
        declared: declared.collect(),
        disagreements: disagreements(&effective, &observed, &reported),
        effective,
        observed,
        reported,
        verdicts,
        changed_at: row.changed_at,
    }
}

/// Who says something else than what is in effect. What is not known disagrees with nothing.
fn disagreements(effective: &Side, observed: &Side, reported: &Side) -> Vec<String> {
    let Some(effective) = effective.value() else { return Vec::new() };
    let other = |(who, side): (&str, &Side)| {
        let value = side.value().filter(|value| *value != effective)?;
        Some(format!("{who} {}, but in effect by configuration is {}", shown(value), shown(effective)))
    };
    [("behaviour shows", observed), ("the kubelet reports", reported)].into_iter().filter_map(other).collect()
}

/// A value for a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl SettingRow {
    /// Is it known that no place says anything. An older agent does not tell, and what could not be read may say something.
    pub fn undeclared(&self) -> bool {
        let default = matches!(&self.effective, Side::Known { source, .. } if source.starts_with(SourceKind::Default.name()));
        default && self.declared.is_empty()
    }

    /// What a reader should see first has the smaller number.
    fn rank(&self) -> u8 {
        let any = |verdict: Verdict| self.verdicts.iter().any(|found| found.verdict == verdict);
        if any(Verdict::Fail) {
            0
        } else if !self.disagreements.is_empty() {
            1
        } else if any(Verdict::Unknown) || self.effective.value().is_none() {
            2
        } else {
            u8::from(self.verdicts.is_empty()) + 3
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, document: Value) -> InventoryRow {
        InventoryRow { name: name.to_owned(), document, changed_at: At(1) }
    }

    fn of(document: Value) -> SettingRow {
        setting("port", &row("kubelet/port", document), Vec::new())
    }

    #[test]
    fn each_truth_is_known_unknown_or_not_asked() {
        let bare = of(json!({"value": 10250, "source": "default v1.36"}));
        assert!(
            bare.undeclared() && !of(json!({"value": 1, "source": "file /c"})).undeclared() && !of(json!({"unknown": "x"})).undeclared()
        );
        assert_eq!((bare.observed, bare.reported, bare.disagreements), (Side::NotAsked, Side::NotAsked, Vec::new()));
        let full = of(json!({
            "value": 10250, "source": "file /c", "declared": [{"value": 1, "source": "file /c"}, {"value": null, "source": "drop-in /d"}],
            "unobserved": "permission_denied: /proc", "reported": {"value": 10250, "source": "configz"},
        }));
        assert_eq!(full.declared.iter().map(|said| said.decides).collect::<Vec<_>>(), [false, true]);
        assert_eq!(full.observed, Side::Unknown { reason: "permission_denied: /proc".to_owned() });
        assert_eq!(full.reported, Side::Known { value: json!(10250), source: "configz".to_owned() });
        assert!(full.disagreements.is_empty());
        assert_eq!(of(json!({"unknown": "malformed: x"})).effective, Side::Unknown { reason: "malformed: x".to_owned() });
        for nothing in [json!([1]), json!({}), json!(null), json!({"value": null}), json!({"declared": 1})] {
            assert!(matches!(of(nothing).effective, Side::Unknown { .. }));
        }
        assert_eq!(of(json!({"value": null, "source": "default"})).effective.value(), Some(&Value::Null));
    }

    #[test]
    fn only_what_is_known_on_both_sides_disagrees() {
        let said = |value: Value| json!({"value": value, "source": "s"});
        let row = of(json!({"value": false, "source": "f", "observed": said(json!(true)), "reported": said(json!(""))}));
        assert_eq!(
            row.disagreements,
            [
                "behaviour shows true, but in effect by configuration is false",
                "the kubelet reports an empty text, but in effect by configuration is false"
            ]
        );
        assert!(of(json!({"unknown": "x", "observed": said(json!(true))})).disagreements.is_empty());
    }

    #[test]
    fn several_kubelets_are_kept_apart_and_components_are_none() {
        let components = [row("kubelet", json!({"flavour": "kubelet", "version": "v1.36.2"})), row("kubelet:kind-1", json!({}))];
        let settings = [
            row("kube-proxy/port", json!({"value": 1})),
            row("kubelet/port", json!({"value": 2, "source": "s"})),
            row("kubelet:a/b/port", json!({"value": 3, "source": "s"})),
        ];
        let found = put_together(None, &components, &settings, &BTreeMap::new(), &[]);
        let subjects: Vec<(&str, usize)> = found.kubelets.iter().map(|row| (row.subject.as_str(), row.settings.len())).collect();
        assert_eq!(subjects, [("kubelet", 1), ("kubelet:a/b", 1), ("kubelet:kind-1", 0)]);
        assert_eq!(found.unknown, None);
    }

    #[test]
    fn no_kubelet_is_told_from_one_nobody_could_look_for() {
        let group = |document: Value| put_together(Some(&row("kubelets", document)), &[], &[], &BTreeMap::new(), &[]).unknown;
        assert_eq!(group(json!({"state": "known", "items": 0})), None);
        assert_eq!(
            group(json!({"state": "unavailable", "reason": "permission_denied", "detail": "open /proc"})).as_deref(),
            Some("permission_denied: open /proc")
        );
        assert!(put_together(None, &[], &[], &BTreeMap::new(), &[]).unknown.is_some());
    }
}
