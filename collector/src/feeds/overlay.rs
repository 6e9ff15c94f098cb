//! Single records, laid over the feed they belong to: each takes the place of what the feed had of that id.
//!
//! Must not know where records were read.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::versions::knowledge::Record;
use jiff::civil::Date;

use super::FeedStatus;
use super::compiled::{CompiledError, Draft, add_counts, record_id};
use super::import::usable;
use super::shelf::Writing;

/// Records for one feed, by the id they were published under.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    records: BTreeMap<String, Vec<Record>>,
    file: String,
    sha256: String,
    files: u64,
    newest: Option<Date>,
    ignored: BTreeMap<String, u64>,
    count: usize,
}

impl Overlay {
    /// Adds what a file has. What another file had of the same ids is replaced.
    pub(crate) fn add(&mut self, file: &str, sha256: &str, as_of: Date, ignored: &BTreeMap<String, u64>, records: Vec<Record>) {
        let mut fresh: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in records {
            let id = record_id(&record).unwrap_or_default().to_owned();
            fresh.entry(id).or_default().push(record);
        }
        self.count += fresh.values().map(Vec::len).sum::<usize>();
        self.records.append(&mut fresh);
        (self.file, self.sha256) = (file.to_owned(), sha256.to_owned());
        self.files += 1;
        self.newest = self.newest.max(Some(as_of));
        add_counts(&mut self.ignored, ignored.iter().map(|(reason, count)| (reason, *count)));
    }

    /// How many records.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

/// A feed with other records laid over it.
pub(crate) struct Laid {
    /// The feed; `None`: nothing changes.
    pub(crate) draft: Option<Draft>,
    /// Ids that it has no longer.
    pub(crate) gone: BTreeSet<String>,
}

/// A feed with those records, in the feed's order, and without what is `withdrawn`; what is new follows. It is as old as it was: a
/// few newer records do not make the others newer.
pub(crate) fn lay_over(
    writing: &Writing<'_>,
    feed: &str,
    overlay: Overlay,
    withdrawn: &BTreeSet<String>,
    now: i64,
) -> Result<Laid, CompiledError> {
    let mut gone = BTreeSet::new();
    let known = usable(writing.shelf().feed(feed));
    let mut draft = writing.draft()?;
    let mut fresh = overlay.records;
    let mut placed: BTreeSet<String> = BTreeSet::new();
    if let Some(known) = &known {
        for record in known.records()? {
            let record = record?;
            if let Some(id) = record_id(&record).filter(|id| withdrawn.contains(*id) && !fresh.contains_key(*id) && !placed.contains(*id)) {
                gone.insert(id.to_owned());
                continue;
            }
            match record_id(&record).filter(|id| fresh.contains_key(*id) || placed.contains(*id)) {
                None => draft.add(&record)?,
                Some(id) => {
                    if let Some((id, records)) = fresh.remove_entry(id) {
                        records.iter().try_for_each(|record| draft.add(record))?;
                        placed.insert(id);
                    }
                }
            }
        }
    }
    if overlay.count == 0 && gone.is_empty() {
        return Ok(Laid { draft: None, gone });
    }
    fresh.values().flatten().try_for_each(|record| draft.add(record))?;
    let known = known.map(|known| known.header);
    let complete = known.as_ref().is_some_and(|known| known.complete);
    let newest = overlay.newest.unwrap_or(Date::ZERO);
    let day = |known: &str| known.parse().unwrap_or(Date::ZERO);
    let as_of = match &known {
        Some(known) if complete => day(&known.status.as_of),
        Some(known) => newest.max(day(&known.status.as_of)),
        None => newest,
    };
    let of_known = known.as_ref().map(|known| (known.status.file.clone(), known.status.sha256.clone())).unwrap_or_default();
    let mut ignored = known.map(|known| known.status.ignored).unwrap_or_default();
    add_counts(&mut ignored, overlay.ignored);
    let more = overlay.files.saturating_sub(1);
    let file = if more == 0 { overlay.file } else { format!("{} and {more} more", overlay.file) };
    let (file, sha256) = if overlay.count == 0 { of_known } else { (file, overlay.sha256) };
    let status = FeedStatus { name: feed.to_owned(), file, sha256, as_of: as_of.to_string(), imported_at: now, records: 0, ignored };
    draft.finish(status, complete)?;
    Ok(Laid { draft: Some(draft), gone })
}
