//! CISA's catalogue of known exploited vulnerabilities: `known_exploited_vulnerabilities.json`.
//!
//! It names CVEs and dates, no versions; vendor and product vary too much to be matched, so every entry is kept and joined by its CVE
//! alone. `count` has to be the number of entries: a shortened list would take alerts away silently.

use serde::Deserialize;

use super::document::{Document, Text, ignore, title};
use super::list::List;
use super::{Content, FeedError};
use crate::versions::knowledge::{Exploited, Record};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Catalogue<'a> {
    #[serde(borrow)]
    catalog_version: Text<'a>,
    #[serde(borrow)]
    date_released: Text<'a>,
    count: u64,
    #[serde(borrow)]
    vulnerabilities: List<Entry<'a>, 100_000>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, rename = "cveID")]
    cve: Text<'a>,
    #[serde(borrow, default)]
    vulnerability_name: Text<'a>,
    #[serde(borrow)]
    date_added: Text<'a>,
    #[serde(borrow)]
    due_date: Option<Text<'a>>,
    #[serde(borrow)]
    known_ransomware_campaign_use: Option<Text<'a>>,
}

pub(super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let read: Catalogue<'_> = document.read()?;
    document.id("catalogVersion", read.catalog_version.as_str())?;
    let as_of = document.date("dateReleased", read.date_released.as_str())?;
    let entries = u64::try_from(read.vulnerabilities.0.len()).unwrap_or(u64::MAX);
    if read.count != entries {
        return Err(document.invalid("count", format_args!("it says {}, and there are {entries} vulnerabilities", read.count)));
    }
    if entries == 0 {
        return Err(document.invalid("vulnerabilities", "the catalogue is empty"));
    }
    let mut content = document.content(Some(as_of));
    let mut seen = std::collections::BTreeSet::new();
    for (index, entry) in read.vulnerabilities.0.iter().enumerate() {
        let place = |field: &str| format!("vulnerabilities[{index}].{field}");
        let id = document.cve(place("cveID"), entry.cve.as_str())?;
        let added = document.date(place("dateAdded"), entry.date_added.as_str())?;
        let due = entry.due_date.as_ref().map(Text::as_str).filter(|due| !due.is_empty());
        let due = due.map(|due| document.date(place("dueDate"), due)).transpose()?;
        let ransomware = entry.known_ransomware_campaign_use.as_ref().is_some_and(|known| known.as_str().eq_ignore_ascii_case("known"));
        if !seen.insert(entry.cve.as_str()) {
            ignore(&mut content, "the CVE is listed twice");
            continue;
        }
        let name = title(entry.vulnerability_name.as_str());
        document.keep(&mut content, "kev", Record::Exploited(Exploited { id, name, added, due, ransomware }))?;
    }
    Ok(content)
}
