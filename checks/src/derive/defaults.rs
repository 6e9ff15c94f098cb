//! What `data/kubelet-defaults.yaml` says of the kubelet by release: its defaults, and the fields of its files.
//!
//! Must not know where a setting can be set, nor what its value means.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::facts::{Observed, Reason, Unavailable};

/// The data; empty when it does not parse, which a test refuses.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| serde_saphyr::from_str(DATA).unwrap_or_default());
const DATA: &str = include_str!("../../data/kubelet-defaults.yaml");

/// Which of the two sets of defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// Those of a configuration file.
    V1beta1,
    /// Those of the flags alone.
    Flags,
}

impl Set {
    /// What evidence calls it.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::V1beta1 => "v1beta1",
            Self::Flags => "without a flag",
        }
    }
}

/// A minor release: `1.36`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Release {
    major: u32,
    minor: u32,
}

impl Release {
    /// The release of a version as binaries carry it: `v1.36.2+k3s1`.
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut parts = version.strip_prefix('v').unwrap_or(version).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?;
        let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(Self { major, minor: minor.get(..digits)?.parse().ok()? })
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::of(&text).ok_or_else(|| format!("`{text}` is not a release such as 1.36"))
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    oldest: Release,
    /// What is newer is taken for this.
    pub(super) newest: Release,
    settings: Vec<Row>,
    /// The fields of a configuration file in the oldest release, outer names first, joined by points.
    pub(super) fields: Vec<String>,
    /// Those that each release added.
    pub(super) added: BTreeMap<Release, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    setting: String,
    default: Value,
    #[serde(default)]
    changed: Vec<Change>,
    without_config: Option<History>,
    gate: Option<Gate>,
    #[allow(dead_code, reason = "for who maintains the data; a test holds every row to have one")]
    source: String,
}

/// A default and what became of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    default: Value,
    #[serde(default)]
    changed: Vec<Change>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    since: Release,
    #[serde(default)]
    to: Value,
    unread: Option<String>,
}

/// The default where a feature gate was set by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    name: String,
    enabled: Value,
    disabled: Value,
}

/// A default with the words that say where it comes from.
pub(super) type Found = (Value, String);

static ROWS: LazyLock<BTreeMap<&'static str, &'static Row>> =
    LazyLock::new(|| TABLE.settings.iter().map(|row| (row.setting.as_str(), row)).collect());

/// The default of `setting` in the kubelet's `version`. `gates` are the feature gates set by name.
///
/// # Errors
/// Why it cannot be told: the version is not known and the default changed, or something that is not read decides it.
pub(super) fn of(
    setting: &str,
    set: Set,
    version: &Observed<String>,
    gates: Result<&Map<String, Value>, &Unavailable>,
) -> Result<Found, Unavailable> {
    let Some(row) = ROWS.get(setting) else {
        return Err(Unavailable::new(Reason::NotSupported, format!("no default of {setting} is known")));
    };
    if let Some(gate) = &row.gate {
        match gates.map_err(Clone::clone)?.get(&gate.name) {
            Some(Value::Bool(true)) => return Ok((gate.enabled.clone(), format!("{} with {}", set.place(), gate.name))),
            Some(_) => return Ok((gate.disabled.clone(), format!("{} without {}", set.place(), gate.name))),
            None => {}
        }
    }
    let (default, changed) = match (set, &row.without_config) {
        (Set::Flags, Some(history)) => (&history.default, &history.changed),
        _ => (&row.default, &row.changed),
    };
    let place = set.place();
    let release = match version {
        _ if changed.is_empty() => version.value().and_then(|version| Release::of(version)),
        Observed::Known { value, .. } => {
            let unknown = || format!("the default depends on the kubelet's version, and `{value}` is none");
            Some(Release::of(value).ok_or_else(|| Unavailable::new(Reason::NotSupported, unknown()))?)
        }
        Observed::Unavailable(why) => {
            let detail = format!("the default depends on the kubelet's version, which is not known: {}", why.detail);
            return Err(Unavailable::new(Reason::NotSupported, detail));
        }
    };
    let place = match release {
        Some(release) if release > TABLE.newest => format!("{place}, as of {}", TABLE.newest),
        Some(release) if release < TABLE.oldest => format!("{place}, as of {}", TABLE.oldest),
        _ => place.to_owned(),
    };
    let latest = changed.iter().rev().find(|change| release.is_some_and(|release| change.since <= release));
    match latest {
        None => Ok((default.clone(), place)),
        Some(Change { unread: Some(why), .. }) => Err(Unavailable::new(Reason::NotSupported, why.as_str())),
        Some(change) => Ok((change.to.clone(), place)),
    }
}

#[cfg(test)]
mod tests;
