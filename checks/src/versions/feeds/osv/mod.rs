//! OSV: one record, of a distribution (`packages`), of a Go module (`modules`) or of the upstream kernel.
//!
//! Only packages of the patch chain are kept. `ranges` reads the events; what they do not say clearly is left out, with the reason.

mod kernel;
mod kubernetes;
mod modules;
mod packages;
mod ranges;

use std::collections::BTreeSet;

use serde::Deserialize;

use super::document::{Document, Text, day, ignore, ignore_many, is_cve};
use super::list::List;
use super::{Content, FeedError};

#[derive(Deserialize)]
struct Osv<'a> {
    #[serde(borrow)]
    schema_version: Option<Text<'a>>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    modified: Option<Text<'a>>,
    #[serde(borrow)]
    withdrawn: Option<Text<'a>>,
    #[serde(borrow, default)]
    aliases: List<Text<'a>, 10_000>,
    #[serde(borrow, default)]
    upstream: List<Text<'a>, 10_000>,
    #[serde(borrow, default)]
    related: List<Text<'a>, 10_000>,
    #[serde(borrow)]
    summary: Option<Text<'a>>,
    #[serde(borrow, default)]
    affected: List<Affected<'a>, 50_000>,
    #[serde(borrow)]
    database_specific: Option<DatabaseSpecific<'a>>,
}

#[derive(Deserialize)]
struct Affected<'a> {
    #[serde(borrow)]
    package: Option<Package<'a>>,
    #[serde(borrow, default)]
    ranges: List<Span<'a>, 10_000>,
    #[serde(borrow, default)]
    versions: List<Text<'a>, 100_000>,
    #[serde(borrow)]
    ecosystem_specific: Option<EcosystemSpecific<'a>>,
}

#[derive(Deserialize)]
struct Package<'a> {
    #[serde(borrow)]
    ecosystem: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

/// A range of a record.
#[derive(Deserialize)]
struct Span<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    events: List<Event<'a>, 10_000>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    introduced: Option<Text<'a>>,
    #[serde(borrow)]
    fixed: Option<Text<'a>>,
    #[serde(borrow)]
    last_affected: Option<Text<'a>>,
    #[serde(borrow)]
    limit: Option<Text<'a>>,
}

/// What a publisher adds to a package.
#[derive(Deserialize)]
struct EcosystemSpecific<'a> {
    /// Debian's rating.
    #[serde(borrow)]
    urgency: Option<Text<'a>>,
    /// What of a Go module is affected.
    #[serde(borrow, default)]
    imports: List<Import<'a>, 10_000>,
    /// The ranges in the numbers of the program, where those of its module say nothing.
    #[serde(borrow, default)]
    custom_ranges: List<Span<'a>, 1_000>,
}

#[derive(Deserialize)]
struct Import<'a> {
    #[serde(borrow)]
    path: Option<Text<'a>>,
}

/// What Go's database adds to a record.
#[derive(Deserialize)]
struct DatabaseSpecific<'a> {
    #[serde(borrow)]
    review_status: Option<Text<'a>>,
}

pub(super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let read: Osv<'_> = document.read()?;
    if let Some(version) = read.schema_version.as_ref().map(Text::as_str)
        && !version.starts_with("1.")
    {
        let remedy = "download it from osv.dev, which serves version 1";
        return Err(document.version_of_format("schema_version", version, "1.x", remedy));
    }
    let record = document.id("id", read.id.as_str())?;
    let mut content = document.content(read.modified.as_ref().and_then(|at| day(at.as_str())));
    let packages = u64::try_from(read.affected.0.len()).unwrap_or(u64::MAX);
    if read.withdrawn.is_some() {
        ignore(&mut content, "the record was withdrawn");
        return Ok(content);
    }
    if record.starts_with("LSN-") {
        ignore(&mut content, "a livepatch notice: which patches a node has is not known");
        return Ok(content);
    }
    let ids = ids(document, &read)?;
    let unknown = packages::parse(document, &mut content, &read, &record, &ids)?;
    let unknown = modules::parse(document, &mut content, &read, &record, &ids, unknown)?;
    let unknown = kernel::parse(document, &mut content, &read, &record, &ids, unknown)?;
    let nameless = unknown.iter().filter(|affected| affected.package.is_none()).count();
    let (nameless, unknown) = (u64::try_from(nameless).unwrap_or(0), u64::try_from(unknown.len()).unwrap_or(0));
    ignore_many(&mut content, "the record names no package", if packages == 0 { 1 } else { nameless });
    ignore_many(&mut content, "the ecosystem runs no node", unknown.saturating_sub(nameless));
    Ok(content)
}

/// The CVEs of a record: what it is another name of, or was made from. Older records name them as related only, newer ones name
/// others there that are merely alike. The record's own id where it names none.
fn ids(document: &Document<'_>, read: &Osv<'_>) -> Result<Vec<String>, FeedError> {
    let own = read.id.as_str();
    let same: BTreeSet<&str> =
        read.aliases.0.iter().chain(&read.upstream.0).map(Text::as_str).chain([own]).filter(|id| is_cve(id)).collect();
    let ids = if same.is_empty() { read.related.0.iter().map(Text::as_str).filter(|id| is_cve(id)).collect() } else { same };
    if ids.is_empty() { Ok(vec![document.id("id", own)?]) } else { Ok(ids.into_iter().map(str::to_owned).collect()) }
}
