//! Until when it is maintained: by the rows of whoever maintains it, with what upstream says beside.

use jiff::civil::Date;

use super::target::Target;
use super::{Scene, days};
use crate::facts::{Observed, Reason, Source, SourceKind};
use crate::versions::knowledge::Cycle;
use crate::versions::knowledge::lifecycle::{End, Extension, Precision, Standing};
use crate::versions::{SOON_DAYS, STALE_DAYS, Support, SupportState};

/// Products whose series are short: without an announced end, old data of them says nothing. A distribution's releases last years.
const UPSTREAM: [&str; 8] = ["linux-kernel", "kubernetes", "containerd", "cri-o", "docker-engine", "runc", "crun", "etcd"];

/// Judges by the first row that the data has.
pub(super) fn support(scene: &Scene<'_>, target: &Target) -> Observed<Support> {
    let unsupported = |detail: String| Observed::unavailable_because(Reason::NotSupported, detail);
    let Some((named, _)) = target.rows.first() else { return Observed::Unavailable(target.no_rows.clone()) };
    // Where its own vendor has dates for the product, others' do not stand in for a missing row: the last ones are upstream's.
    let own: Vec<_> = target.rows.iter().filter(|(product, _)| product == named).collect();
    let found = own.iter().find_map(|(product, cycle)| Some((*product, scene.knowledge.cycle(product, cycle, scene.today)?)));
    let Some((product, cycle)) = found else {
        let asked = own.iter().map(|(product, cycle)| name(product, cycle)).collect::<Vec<_>>().join(" or ");
        return unsupported(format!("the lifecycle data of {} has no row for {asked}", scene.knowledge.as_of()));
    };
    let mut judged = match row(product, &cycle, scene.today, target.at) {
        Observed::Known { value, source, at } => (value, source, at),
        unknown @ Observed::Unavailable(_) => return unknown,
    };
    judged.0.upstream_says = upstream_says(scene, target, product);
    Observed::known(judged.0, judged.1, judged.2)
}

/// What upstream says of the series, where somebody else's dates decide.
fn upstream_says(scene: &Scene<'_>, target: &Target, decided: &str) -> String {
    let mut upstream = target.rows.iter().filter(|(product, _)| UPSTREAM.contains(product) && *product != decided);
    let found = upstream.find_map(|(product, cycle)| Some((product, scene.knowledge.cycle(product, cycle, scene.today)?)));
    let Some((product, cycle)) = found else { return String::new() };
    let name = name(product, &cycle.row.cycle);
    match cycle.row.eol {
        End::Day(day) if day < scene.today => format!("{name}: ended {day}"),
        End::Day(day) => format!("{name}: ends {day}"),
        End::Reached(true) => format!("{name}: ended"),
        End::Reached(false) => format!("{name}: no end announced on {}", cycle.row.as_of),
    }
}

/// `debian 12`, but `cos-117`.
fn name(product: &str, cycle: &str) -> String {
    if cycle.starts_with(product) { cycle.to_owned() } else { format!("{product} {cycle}") }
}

fn row(product: &str, cycle: &Cycle<'_>, today: Date, at: i64) -> Observed<Support> {
    let Cycle { row, standing } = cycle;
    let judged_by = name(product, &row.cycle);
    let free_end = row.eol.day();
    let last_end = row.extended.and_then(End::day);
    let age = days(row.as_of, today);
    if *standing == Standing::Supported && UPSTREAM.contains(&product) && !row.lts && free_end.is_none() && age > STALE_DAYS {
        let detail = format!("{judged_by} had no end announced on {}, which is {age} days ago: short-lived series end sooner", row.as_of);
        return Observed::unavailable_because(Reason::NotSupported, detail);
    }
    let left = |end: Option<Date>| end.map(|end| days(today, end));
    let (state, days_left) = match standing {
        Standing::Supported if left(free_end).is_some_and(|left| left <= SOON_DAYS) => (SupportState::EolSoon, left(free_end)),
        Standing::Supported => (SupportState::Supported, left(free_end)),
        Standing::Extended(Extension::Free) => (SupportState::ExtendedFree, left(last_end)),
        Standing::Extended(Extension::Paid) => (SupportState::ExtendedPaid, left(last_end)),
        Standing::EndOfLife => (SupportState::Eol, left(last_end.or(free_end))),
    };
    let precision = match row.precision {
        Some(Precision::OnOrBefore) => "; the end was on that day or before",
        Some(Precision::Tentative) => "; the end is planned, not promised",
        None => "",
    };
    let source = format!("{}{precision}", row.source);
    let support = Support {
        state,
        ends: free_end.map(|day| day.to_string()),
        extended_ends: last_end.map(|day| day.to_string()),
        days_left,
        upstream_says: String::new(),
        data_date: row.as_of.to_string(),
        source: source.clone(),
        judged_by: judged_by.clone(),
    };
    Observed::known(support, Source::new(SourceKind::Derived, format!("{judged_by}, data of {}, {source}", row.as_of)), at)
}
