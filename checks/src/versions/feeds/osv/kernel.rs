//! Upstream's kernel (`Linux`, `Kernel`): one range a series, made by pairing two sorted lists.
//!
//! Where a series got two fixes the pairing slips, and makes a range that ends before it starts: that one is left out, and the
//! series counts as fixed by the higher.

use std::cmp::Ordering;

use super::super::document::{Document, Text, ignore, ignore_many, title};
use super::super::kernel_version::KernelVersion;
use super::super::{Content, FeedError};
use super::ranges::{self, Order};
use super::{Affected, Osv};
use crate::versions::knowledge::{Advisory, Range, Record};

/// Keeps what the record says of the kernel; the rest is returned.
pub(super) fn parse<'r, 'a>(
    document: &Document<'_>,
    content: &mut Content,
    read: &Osv<'_>,
    record: &str,
    ids: &[String],
    affected: Vec<&'r Affected<'a>>,
) -> Result<Vec<&'r Affected<'a>>, FeedError> {
    let (kernels, rest): (Vec<_>, Vec<_>) =
        affected.into_iter().partition(|affected| affected.package.as_ref().is_some_and(|package| package.ecosystem.as_str() == "Linux"));
    if kernels.is_empty() {
        return Ok(rest);
    }
    let (mut found, mut other) = (Vec::new(), 0);
    for affected in kernels {
        if !affected.package.as_ref().is_some_and(|package| package.name.as_str().eq_ignore_ascii_case("kernel")) {
            other += 1;
            continue;
        }
        let place = format!("affected ({record}, Kernel)");
        let ranges = ranges::read(document, content, Order::Kernel, &place, &affected.ranges.0)?;
        let fixes = affected.ranges.0.iter().filter(|span| span.kind.as_str() != "GIT").flat_map(|span| &span.events.0);
        let fixes: Vec<&str> = fixes.filter_map(|event| event.fixed.as_ref()).map(Text::as_str).collect();
        for range in ranges {
            ranges::push(&mut found, highest(range, &fixes));
        }
    }
    ignore_many(content, "the package is not part of the patch chain", other);
    if found.is_empty() {
        ignore(content, "no release of the kernel is named");
        return Ok(rest);
    }
    for id in ids {
        let advisory = Advisory {
            id: id.clone(),
            aliases: Vec::new(),
            component: "kernel".to_owned(),
            title: read.summary.as_ref().map(|text| title(text.as_str())).unwrap_or_default(),
            ranges: found.clone(),
            builds: Vec::new(),
            needs: Vec::new(),
            only_family: None,
            score: None,
            record: record.to_owned(),
            source: "OSV, Linux".to_owned(),
        };
        document.keep(content, "osv/Linux", Record::Advisory(advisory))?;
    }
    Ok(rest)
}

/// The range, ended by the highest fix of its last series.
fn highest(range: Range, fixes: &[&str]) -> Range {
    let Some(end) = range.fixed.as_deref().and_then(KernelVersion::parse) else { return range };
    let same = |fix: &&&str| KernelVersion::parse(fix).is_some_and(|fix| fix.series() == end.series());
    let highest = fixes.iter().filter(same).max_by(|a, b| Order::Kernel.compare(a, b).unwrap_or(Ordering::Equal));
    Range { fixed: highest.map(|fix| (*fix).to_owned()), ..range }
}
