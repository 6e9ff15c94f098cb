//! The events of a range, in pairs: from where it is affected to where it is fixed.
//!
//! A range without a fix stays open: there is none yet. One that ends before it starts, and one that says only which version was
//! the last affected when it was written, tell nothing that a verdict could stand on.

use std::cmp::Ordering;

use super::super::document::{Document, ignore};
use super::super::kernel_version::KernelVersion;
use super::super::{Content, FeedError};
use super::{Event, Span};
use crate::versions::compare;
use crate::versions::knowledge::Range;

/// Who numbers the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Dpkg,
    Rpm,
    Semver,
    Kernel,
}

impl Order {
    /// `None` where a version is none of this order's.
    pub(super) fn compare(self, a: &str, b: &str) -> Option<Ordering> {
        match (a, b, self) {
            ("0", "0", _) => Some(Ordering::Equal),
            ("0", _, _) => Some(Ordering::Less),
            (_, "0", _) => Some(Ordering::Greater),
            (_, _, Self::Dpkg) => Some(compare::dpkg(a, b)),
            (_, _, Self::Rpm) => Some(compare::rpm(a, b)),
            (_, _, Self::Semver) => Some(compare::upstream(a)?.cmp_precedence(&compare::upstream(b)?)),
            (_, _, Self::Kernel) => Some(KernelVersion::parse(a)?.cmp(&KernelVersion::parse(b)?)),
        }
    }
}

/// The usable ranges of one package.
pub(super) fn read(
    document: &Document<'_>,
    content: &mut Content,
    order: Order,
    place: &str,
    spans: &[Span<'_>],
) -> Result<Vec<Range>, FeedError> {
    let mut ranges = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        match span.kind.as_str() {
            "ECOSYSTEM" | "SEMVER" => {}
            "GIT" => {
                ignore(content, "a range of commits");
                continue;
            }
            _ => {
                ignore(content, "a range of an unknown type");
                continue;
            }
        }
        let place = format!("{place}.ranges[{index}]");
        match events(document, order, &place, &span.events.0)? {
            Ok(events) => pairs(content, order, events, &mut ranges),
            Err(reason) => ignore(content, reason),
        }
    }
    Ok(ranges)
}

/// A version where something changes.
#[derive(Debug)]
struct Change {
    version: String,
    fixes: bool,
}

/// The changes of a range, or the reason why it is left out.
fn events(
    document: &Document<'_>,
    order: Order,
    place: &str,
    events: &[Event<'_>],
) -> Result<Result<Vec<Change>, &'static str>, FeedError> {
    let mut changes = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let (version, fixes) = match (&event.introduced, &event.fixed, &event.last_affected, &event.limit) {
            (Some(introduced), None, None, None) => (introduced, false),
            (None, Some(fixed), None, None) => (fixed, true),
            (None, None, Some(_), None) => return Ok(Err("a range that names the last affected version and no fix")),
            (None, None, None, Some(limit)) if limit.as_str() == "*" => continue,
            (None, None, None, Some(_)) => return Ok(Err("a range with a limit")),
            (None, None, None, None) => return Ok(Err("a range with an unknown event")),
            _ => return Err(document.invalid(format_args!("{place}.events[{index}]"), "the event says two things at once")),
        };
        let version = document.version(format_args!("{place}.events[{index}]"), version.as_str())?;
        changes.push(Change { version: if order == Order::Semver { plain(&version) } else { version }, fixes });
    }
    if changes.iter().all(|change| change.fixes) {
        return Ok(Err("a range without a start"));
    }
    Ok(Ok(changes))
}

/// A version as semver reads it: without Go's mark for modules that have no `go.mod`, and 19.3.16 for Docker's 19.03.16.
fn plain(version: &str) -> String {
    let version = version.strip_suffix("+incompatible").unwrap_or(version);
    let (numbers, rest) = version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
    let zeroless = |number: &str| match number.trim_start_matches('0') {
        "" if number.is_empty() => String::new(),
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    };
    let numbers: Vec<_> = numbers.split('.').map(zeroless).collect();
    format!("{}{rest}", numbers.join("."))
}

fn pairs(content: &mut Content, order: Order, mut changes: Vec<Change>, ranges: &mut Vec<Range>) {
    let comparable = changes.iter().all(|change| order.compare(&change.version, &change.version).is_some());
    if !comparable {
        ignore(content, "a range with a version that cannot be compared");
        return;
    }
    // As written, where it alternates: sorting would turn a range that ends before it starts into one that never ends.
    let alternates = changes.iter().enumerate().all(|(index, change)| change.fixes == (index % 2 == 1));
    if !alternates {
        changes.sort_by(|a, b| order.compare(&a.version, &b.version).unwrap_or(Ordering::Equal).then(b.fixes.cmp(&a.fixes)));
    }
    let mut open: Option<String> = None;
    for change in changes {
        match (open.take(), change.fixes) {
            (None, false) => open = Some(change.version),
            (Some(introduced), false) => open = Some(introduced),
            (None, true) => {}
            (Some(introduced), true) if order.compare(&introduced, &change.version) == Some(Ordering::Less) => {
                push(ranges, Range { introduced, fixed: Some(change.version) });
            }
            (Some(_), true) => ignore(content, "a range that ends before it starts"),
        }
    }
    if let Some(introduced) = open {
        push(ranges, Range { introduced, fixed: None });
    }
}

/// Adds a range once.
pub(super) fn push(ranges: &mut Vec<Range>, range: Range) {
    if !ranges.contains(&range) {
        ranges.push(range);
    }
}
