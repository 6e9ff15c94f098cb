//! endoflife.date: release cycles of products, in two versions of its API.
//!
//! `isEol` and `isMaintained` were true on the day the file was made, so only dates are read; a boolean stands where no date is
//! announced. Must not know which verdict uses a product.

mod products;
mod v0;
mod v1;

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::document::{Document, ignore, ignore_many};
use super::{Content, FeedError};
use crate::versions::knowledge::lifecycle::End;
use crate::versions::knowledge::{Record, Release};

pub(super) use v0::parse as parse_v0;
pub(super) use v1::parse as parse_v1;

/// The most products of a document.
const PRODUCTS: usize = 10_000;
/// The most release cycles of a product.
const RELEASES: usize = 2_000;

/// A release cycle as either version of the API gives it.
struct Cycle<'t> {
    place: String,
    name: &'t str,
    released: Option<&'t str>,
    /// End of the support everybody has; `None` where nothing is said.
    eol: Option<Said<'t>>,
    /// Last day of extended support.
    extended: Option<&'t str>,
    lts: bool,
    latest: Option<&'t str>,
    latest_date: Option<&'t str>,
}

/// A day, or whether it is over.
enum Said<'t> {
    Day(&'t str),
    Over(bool),
}

/// Reads the cycles of a product whose name is known.
fn keep(document: &Document<'_>, content: &mut Content, product: &str, cycles: Vec<Cycle<'_>>) -> Result<(), FeedError> {
    let feed = format!("endoflife/{product}");
    let mut seen = BTreeSet::new();
    if cycles.is_empty() {
        return Err(document.invalid(product, "the product has no releases"));
    }
    for cycle in cycles {
        let place = |field: &str| format!("{} ({product} {}): {field}", cycle.place, cycle.name);
        let name = document.version(place("name"), cycle.name)?;
        if !seen.insert(cycle.name) {
            return Err(document.invalid(place("name"), "the release is listed twice"));
        }
        let date = |field: &str, text: Option<&str>| text.map(|text| document.date(place(field), text)).transpose();
        let eol = match cycle.eol {
            Some(Said::Day(day)) => End::Day(document.date(place("end of life"), day)?),
            Some(Said::Over(over)) => End::Reached(over),
            None => {
                ignore(content, "the release has no statement on its end of life");
                continue;
            }
        };
        let latest = cycle.latest.map(|latest| tag(product, latest));
        let latest = latest.filter(|latest| {
            let spaced = latest.contains(char::is_whitespace);
            ignore_many(content, "a newest release that is no version, like `8 (2111)`", u64::from(spaced));
            !spaced
        });
        let release = Release {
            product: product.to_owned(),
            cycle: name,
            released: date("release date", cycle.released)?,
            eol,
            extended: extension(content, eol, date("end of extended support", cycle.extended)?),
            lts: cycle.lts,
            precision: None,
            latest: latest.map(|latest| document.version(place("latest"), latest)).transpose()?,
            latest_date: date("date of the latest", cycle.latest_date.filter(|_| latest.is_some()))?,
        };
        document.keep(content, &feed, Record::Release(release))?;
    }
    Ok(())
}

/// Extended support that ends before the regular one is a mistake, and does not count.
fn extension(content: &mut Content, eol: End, extended: Option<Date>) -> Option<End> {
    let extended = extended?;
    if eol.day().is_some_and(|eol| extended < eol) {
        ignore(content, "extended support that ends before the regular one");
        return None;
    }
    Some(End::Day(extended))
}

/// The version as it is tagged: the kernel's first release of a series is 7.2, not 7.2.0.
fn tag<'t>(product: &str, version: &'t str) -> &'t str {
    match version.strip_suffix(".0") {
        Some(series) if product == products::KERNEL && series.contains('.') => series,
        _ => version,
    }
}
