//! The administrator's list of nodes, which stands for Node objects where there is no API server to ask.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files::{self, FileError};

/// The most nodes in a list.
pub(super) const MOST_NODES: usize = 20_000;
/// The most addresses of one node.
pub(super) const MOST_ADDRESSES: usize = 4;
/// The longest name, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 253;
/// Shortest and longest time between two rounds, in milliseconds.
const EVERY: std::ops::RangeInclusive<u64> = 60_000..=86_400_000;
/// The most agents that ask about one node.
const MOST_VANTAGES: usize = 5;

/// A node that may be asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedNode {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Literal addresses at which other nodes find it.
    pub addresses: Vec<IpAddr>,
    /// What it shares its fate or its network with, a zone: agents of other pools are asked first.
    #[serde(default)]
    pub pool: String,
    /// Is it asked about.
    #[serde(default = "yes")]
    pub probe: bool,
}

fn yes() -> bool {
    true
}

/// What is asked about, how often, and from how many sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Between two rounds, in milliseconds.
    pub every_ms: u64,
    /// Agents that ask about each node.
    pub vantages: usize,
    /// The nodes.
    pub nodes: Vec<ListedNode>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { every_ms: 15 * 60_000, vantages: 2, nodes: Vec::new() }
    }
}

/// Why the list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// It cannot be read.
    #[error("peer-probe list")]
    File(#[from] FileError),
    /// It is not such a list.
    #[error("{path} is not {{every, vantages, nodes: [{{cluster, name, addresses, pool, probe}}]}} with literal addresses")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A value is out of bounds.
    #[error("{path}: {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which value, and what to write.
        problem: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    every: Option<String>,
    #[serde(default)]
    vantages: Option<usize>,
    #[serde(default)]
    nodes: Vec<ListedNode>,
}

impl Plan {
    /// Reads the list.
    ///
    /// # Errors
    /// [`TargetsError`], with the file and what to write instead.
    pub fn load(path: &Path) -> Result<Self, TargetsError> {
        Self::parse(path, &files::read_text(path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, TargetsError> {
        let malformed = |source| TargetsError::Malformed { path: path.to_owned(), source: Box::new(source) };
        let wrong = |problem: String| Err(TargetsError::Value { path: path.to_owned(), problem });
        let file: File = serde_saphyr::from_str(text).map_err(malformed)?;
        let default = Self::default();
        let every_ms = match &file.every {
            None => default.every_ms,
            Some(text) => match milliseconds(text).filter(|every| EVERY.contains(every)) {
                Some(every) => every,
                None => return wrong(format!("every: `{text}` is not a time of 1m to 24h: write 90s, 15m or 1h")),
            },
        };
        let vantages = file.vantages.unwrap_or(default.vantages);
        if !(1..=MOST_VANTAGES).contains(&vantages) {
            return wrong(format!("vantages: {vantages} is not between 1 and {MOST_VANTAGES}"));
        }
        if file.nodes.len() > MOST_NODES {
            return wrong(format!("{} nodes are listed, {MOST_NODES} are allowed", file.nodes.len()));
        }
        let mut seen = BTreeSet::new();
        for node in &file.nodes {
            let name = format!("node `{}`", node.name.escape_debug());
            let fits = |text: &str| text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
            if node.name.is_empty() || !fits(&node.name) || !fits(&node.cluster) || !fits(&node.pool) {
                return wrong(format!("{name}: cluster, name and pool are text of at most {MAX_NAME_BYTES} bytes"));
            }
            if node.addresses.is_empty() && node.probe || node.addresses.len() > MOST_ADDRESSES {
                return wrong(format!("{name}: give 1 to {MOST_ADDRESSES} addresses, or probe: false"));
            }
            if !seen.insert((&node.cluster, &node.name)) {
                return wrong(format!("{name} of cluster `{}` is listed twice", node.cluster.escape_debug()));
            }
        }
        Ok(Self { every_ms, vantages, nodes: file.nodes })
    }
}

/// `90s`, `15m`, `1h` in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_at_checked(text.trim().len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Plan, String> {
        Plan::parse(Path::new("peers.yaml"), text).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}")
        })
    }

    #[test]
    fn a_list_is_read_and_what_is_left_out_has_a_default() {
        let plan = parse("nodes:\n- {cluster: c, name: n1, addresses: [10.0.0.1, \"fd00::1\"], pool: a}\n- {cluster: c, name: n2, addresses: [], probe: false}\n").unwrap();
        assert_eq!((plan.every_ms, plan.vantages, plan.nodes.len()), (900_000, 2, 2));
        assert_eq!((plan.nodes[0].addresses.len(), plan.nodes[0].probe, plan.nodes[1].probe), (2, true, false));
        assert_eq!(parse("every: 90s\nvantages: 3\n").unwrap(), Plan { every_ms: 90_000, vantages: 3, nodes: Vec::new() });
    }

    #[test]
    fn a_bad_list_is_refused_with_file_and_reason() {
        for (text, part) in [
            ("nodes: [{cluster: c, name: n1, addresses: [node-1.example]}]", "literal addresses"),
            ("nodes: [{cluster: c, name: n1, adresses: [10.0.0.1]}]", "adresses"),
            ("every: 5s", "1m to 24h"),
            ("every: 25h", "1m to 24h"),
            ("every: m", "1m to 24h"),
            ("every: 99999999999999999999h", "1m to 24h"),
            ("vantages: 0", "between 1 and 5"),
            ("vantages: 6", "between 1 and 5"),
            ("nodes: [{cluster: c, name: n1, addresses: []}]", "1 to 4 addresses"),
            ("nodes: [{cluster: c, name: \"\", addresses: [10.0.0.1]}]", "at most 253 bytes"),
            ("nodes: [{cluster: c, name: a, addresses: [10.0.0.1]}, {cluster: c, name: a, addresses: [10.0.0.2]}]", "listed twice"),
            ("- just a list", "peers.yaml"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("peers.yaml") && error.contains(part), "{text}: {error}");
        }
    }
}
