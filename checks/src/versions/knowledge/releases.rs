//! The days on which versions came out, one by one. Must not know until when they are supported.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::civil::Date;

use super::level::{Level, cycle_numbers};
use super::lifecycle::Row;
use super::{Behind, Dated};

/// Versions by product.
#[derive(Debug, Clone, Default)]
pub(super) struct Releases {
    products: BTreeMap<String, BTreeMap<Level, Day>>,
}

#[derive(Debug, Clone)]
struct Day {
    version: String,
    date: Date,
    as_of: Date,
    source: String,
}

impl Releases {
    /// Keeps a day. Of two about one version the newer statement stands.
    pub(super) fn add(&mut self, dated: Dated, as_of: Date, source: &str) {
        let Some(level) = Level::running(&dated.version) else { return };
        let Dated { product, version, date } = dated;
        let day = Day { version, date, as_of, source: source.to_owned() };
        let known = self.products.entry(product).or_default();
        let newer = known.get(&level).is_none_or(|known| (known.as_of, known.date, &known.source) < (day.as_of, day.date, &day.source));
        if newer {
            known.insert(level, day);
        }
    }

    /// How a version stands to the newest of its cycle.
    pub(super) fn behind(&self, product: &str, cycle: &str, version: &str, row: Option<&Row>) -> Option<Behind> {
        // Container-Optimized OS gives the build and the milestone apart.
        let apart = cycle.starts_with("cos-") && !version.starts_with("cos-");
        let whole = if apart { format!("{cycle}-{}", version.replace('.', "-")) } else { version.to_owned() };
        let running = Level::running(&whole)?;
        let numbers = cycle_numbers(cycle)?;
        let none = BTreeMap::new();
        let known = self.products.get(product).unwrap_or(&none);
        let of_cycle = |(level, _): &(&Level, &Day)| level.within(&numbers) && !level.is_prerelease();
        let told = row.and_then(|row| row.latest.as_ref()).and_then(|latest| Some((Level::running(&latest.version)?, latest)));
        let listed = known.iter().rfind(of_cycle);
        let (newest, mut behind) = match (told, listed) {
            (Some((told, latest)), listed) if listed.is_none_or(|(level, _)| *level < told) => {
                let behind = Behind {
                    newest: latest.version.clone(),
                    newest_date: latest.date,
                    order: running.cmp(&told),
                    // It was there on that day at the latest.
                    overtaken: Some(latest.date.unwrap_or(latest.as_of)),
                    releases: None,
                    as_of: latest.as_of,
                    source: latest.source.clone(),
                };
                (told, behind)
            }
            (told, Some((level, day))) => {
                // The same newest in a later document: true on that day still.
                let again = told.map(|(_, latest)| latest).filter(|latest| Level::running(&latest.version).as_ref() == Some(level));
                let (as_of, source) = again.map_or((day.as_of, &day.source), |latest| (latest.as_of.max(day.as_of), &latest.source));
                let after = (Bound::Excluded(running.clone()), Bound::Unbounded);
                let releases = known.range::<Level, _>(after).filter(of_cycle).count();
                let behind = Behind {
                    newest: day.version.clone(),
                    newest_date: Some(day.date),
                    order: running.cmp(level),
                    overtaken: Some(day.date),
                    releases: i64::try_from(releases).ok(),
                    as_of,
                    source: source.clone(),
                };
                (level.clone(), behind)
            }
            _ => return None,
        };
        if running >= newest {
            (behind.overtaken, behind.releases) = (None, (running == newest).then_some(0));
        } else if let Some((_, next)) = known.range((Bound::Excluded(running), Bound::Unbounded)).find(of_cycle) {
            behind.overtaken = Some(next.date);
        }
        Some(behind)
    }
}
