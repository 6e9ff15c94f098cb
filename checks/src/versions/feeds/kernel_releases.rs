//! kernel.org's `releases.json`: the newest release of every series that is listed, and whether it still gets fixes.
//!
//! It has no dates of ends, so none is made up: a listed series is over or not. What it does not list is not said either.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;

use super::document::{Document, Text, ignore};
use super::kernel_version::{KernelVersion, Series};
use super::list::List;
use super::{Content, FeedError};
use crate::versions::knowledge::lifecycle::End;
use crate::versions::knowledge::{Record, Release};

#[derive(Deserialize)]
struct Releases<'a> {
    #[serde(borrow)]
    releases: List<Row<'a>, 1_000>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    moniker: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    iseol: bool,
    #[serde(borrow)]
    released: Option<Released<'a>>,
}

#[derive(Deserialize)]
struct Released<'a> {
    #[serde(borrow)]
    isodate: Option<Text<'a>>,
}

pub(super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let read: Releases<'_> = document.read()?;
    let mut content = document.content(None);
    let mut rows: BTreeMap<Series, (KernelVersion, Release)> = BTreeMap::new();
    let mut newest: Option<Date> = None;
    for (index, row) in read.releases.0.iter().enumerate() {
        let place = |field: &str| format!("releases[{index}].{field}");
        let date = row.released.as_ref().and_then(|released| released.isodate.as_ref());
        let date = date.map(|date| document.date(place("released.isodate"), date.as_str())).transpose()?;
        newest = newest.max(date);
        if row.moniker.as_str() == "linux-next" {
            ignore(&mut content, "linux-next is no release");
            continue;
        }
        let text = document.version(place("version"), row.version.as_str())?;
        let Some(version) = KernelVersion::parse(&text) else {
            ignore(&mut content, "not a version of the kernel");
            continue;
        };
        // A series that has only candidates is alive, and has no newest release.
        let (latest, latest_date) = if version.is_candidate() { (None, None) } else { (Some(text), date) };
        let release = Release {
            product: "linux-kernel".to_owned(),
            cycle: version.series().to_string(),
            released: None,
            eol: End::Reached(row.iseol),
            extended: None,
            lts: row.moniker.as_str() == "longterm",
            precision: None,
            latest,
            latest_date,
        };
        // On the day of a release its series is listed as mainline and as stable.
        if rows.get(&version.series()).is_none_or(|(known, _)| *known < version) {
            rows.insert(version.series(), (version, release));
        } else {
            ignore(&mut content, "the series is listed twice");
        }
    }
    if rows.is_empty() {
        return Err(document.invalid("releases", "there is no release of the kernel"));
    }
    for (_, release) in rows.into_values() {
        document.keep(&mut content, "kernel-releases", Record::Release(release))?;
    }
    // It does not say when it was made: not before the newest release in it.
    content.as_of = newest;
    Ok(content)
}
