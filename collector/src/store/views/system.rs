//! A node's host as a server: disks, logs, clock, updates, protection.

use holdfast_checks::facts::{Disk, LogShipper};
use holdfast_checks::inventory::kinds;
use serde::Serialize;
use serde_json::Value;

use super::containers::unknown_group;
use super::nodes::NodeRow;
use super::runtimes::{Told, told};
use super::{ViewError, Views};

/// The host as a server. What is not known of it has no reason here: verdicts that need it have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct System {
    /// Why nothing is known; absent when something is.
    pub unknown: Option<String>,
    /// File systems that fill up.
    pub disks: Told<DiskRow>,
    /// Programs that carry logs elsewhere.
    pub shippers: Told<ShipperRow>,
    /// Is there a journal on disk, not only in memory; absent when not known.
    pub journal_persistent: Option<bool>,
    /// Programs that set the clock.
    pub time_services: Told<String>,
    /// Ways by which updates are installed by themselves.
    pub updates: Told<String>,
    /// Programs that watch for intrusion.
    pub protection: Told<String>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DiskRow {
    /// Where it is mounted.
    pub path: String,
    /// What lies on it.
    pub holds: Vec<String>,
    /// How full, in percent, rounded up to a multiple of five.
    pub used_percent: i64,
    /// The same of its inodes; zero where it has no limit.
    pub inodes_percent: i64,
}

/// A program that carries logs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ShipperRow {
    /// Its name.
    pub name: String,
    /// Where it sends to, or `unknown`.
    pub destination: String,
    /// Is that encrypted: `yes`, `no`, `unknown`.
    pub encrypted: String,
    /// Does it keep on disk what it cannot send: `yes`, `no`, `unknown`.
    pub buffered: String,
    /// The file that says so; empty where none was read.
    pub source: String,
}

impl Views {
    /// The host of a node as a server.
    pub async fn system(&self, node: &NodeRow) -> Result<System, ViewError> {
        let groups = self.inventory(node, kinds::GROUP).await?;
        let documents = self.inventory(node, kinds::SYSTEM).await?;
        let group = groups.iter().find(|group| group.name == "system");
        let unknown = match documents.first() {
            None => unknown_group(group, true, "disks, logs, clock and updates")
                .or_else(|| Some("the node has not sent what it read".to_owned())),
            Some(_) => None,
        };
        Ok(system(unknown, documents.first().map_or(&Value::Null, |row| &row.document)))
    }
}

fn system(unknown: Option<String>, document: &Value) -> System {
    let names = |field: &str| told(document, field, |name: String| name);
    System {
        unknown,
        disks: told(document, "disks", |said: Disk| DiskRow {
            path: said.path,
            holds: said.holds,
            used_percent: said.used_percent,
            inodes_percent: said.inodes_percent,
        }),
        shippers: told(document, "shippers", |said: LogShipper| ShipperRow {
            name: said.name,
            destination: said.destination,
            encrypted: said.encrypted,
            buffered: said.buffered,
            source: said.source,
        }),
        journal_persistent: document.get("journal_persistent").and_then(Value::as_bool),
        time_services: names("time_services"),
        updates: names("updates"),
        protection: names("protection"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_parse_is_not_known_and_never_none() {
        let said = system(None, &json!({"disks": 7, "updates": [], "journal_persistent": "yes", "protection": ["falco", 1]}));
        assert!(!said.disks.known && !said.shippers.known && said.journal_persistent.is_none());
        assert!(said.updates.known && said.updates.items.is_empty());
        assert_eq!((said.protection.items.as_slice(), said.protection.left_out), (["falco".to_owned()].as_slice(), 1));
    }
}
