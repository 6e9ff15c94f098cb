//! From compiled feeds to one [`Library`]: everything that can be used, and what cannot, with the reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_checks::versions::KnowledgeError;
use holdfast_checks::versions::knowledge::{Builder, FeedInfo};
use jiff::civil::Date;

use super::compiled::Compiled;
use super::shelf::{Found, Shelf, ShelfError};
use super::source::name_of;
use super::{FeedStatus, Library, Refused};
use crate::alerts::chain;

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A build shipped bad data.
    #[error("built-in version knowledge")]
    BuiltIn(#[from] KnowledgeError),
    /// Imported feeds cannot be listed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

impl Library {
    /// What this build ships, and what was imported below `data` over it. A compiled feed that is damaged or of a newer version is
    /// left out and said among [`Library::refused`].
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn open(data: &Path, now: i64) -> Result<Self, LibraryError> {
        let shelf = Shelf::of(data);
        let mut bad: BTreeMap<PathBuf, String> = BTreeMap::new();
        // A record that cannot be read is seen when others of its feed are in already: then it is all done again without that feed.
        let (builder, mut feeds) = loop {
            let found = bad.len();
            let built = build(&shelf, &mut bad)?;
            if let Some(built) = built {
                break built;
            }
            debug_assert!(bad.len() > found, "each round leaves one more out");
        };
        feeds.sort_by(|one, other| one.name.cmp(&other.name));
        let mut refused: Vec<Refused> = bad.into_iter().map(|(path, reason)| Refused { file: name_of(&path), at: now, reason }).collect();
        refused.extend(shelf.refused());
        Ok(Self { knowledge: Arc::new(builder.build()), feeds, refused })
    }
}

/// `None`: a feed turned out bad after some of it was used.
fn build(shelf: &Shelf, bad: &mut BTreeMap<PathBuf, String>) -> Result<Option<(Builder, Vec<FeedStatus>)>, LibraryError> {
    let (mut builder, mut feeds) = (Builder::new()?, Vec::new());
    for Found { path, feed } in shelf.feeds()? {
        if bad.contains_key(&path) {
            continue;
        }
        let usable = feed.and_then(|feed| {
            feed.verify()?;
            let records = feed.records()?;
            Ok((feed, records))
        });
        let (feed, records) = match usable {
            Ok(usable) => usable,
            Err(error) => {
                bad.insert(path, chain(&error));
                continue;
            }
        };
        let mut broken = None;
        builder.feed(info(&feed), records.map_while(|record| record.map_err(|error| broken = Some(error)).ok()));
        if let Some(error) = broken {
            bad.insert(path, chain(&error));
            return Ok(None);
        }
        feeds.push(feed.header.status);
    }
    Ok(Some((builder, feeds)))
}

/// What evidence says of a feed.
fn info(feed: &Compiled) -> FeedInfo {
    let status = &feed.header.status;
    FeedInfo {
        name: status.name.clone(),
        as_of: status.as_of.parse().unwrap_or(Date::ZERO),
        source: source_of(&status.name),
        digest: feed.header.body_blake3.clone(),
        complete: feed.header.complete,
    }
}

/// What a person calls the source of a feed.
pub(crate) fn source_of(name: &str) -> String {
    match name.split_once('/').unwrap_or((name, "")) {
        ("endoflife", _) => "endoflife.date".to_owned(),
        ("osv", ecosystem) => format!("OSV, {ecosystem}"),
        ("kev", _) => "CISA KEV".to_owned(),
        ("kernel-releases", _) => "kernel.org releases".to_owned(),
        ("kernel-cve", _) => "kernel CVE records".to_owned(),
        ("kubernetes-cve", _) => "Kubernetes CVE feed".to_owned(),
        _ => name.to_owned(),
    }
}
