//! The charts of the patch chain, from the rows its tables show.

use holdfast_checks::versions::Headline;

use super::super::charts::{AHEAD, Bar, Bars, Mark, Segment, Timeline};
use super::super::{marks, words};
use super::{PATH, Summary};
use crate::store::views::{ChainEnd, ChainFilter, ChainGroupRow, Filter, Lag};

/// Lines of a chart; the rest is put together, or only in the list.
const LINES: usize = 12;

/// A component and what runs of it.
type Running<'a> = (&'a str, &'a str);
/// Nodes by headline.
type ByHeadline = [(Headline, i64); 6];

/// The colour of a headline.
fn class(headline: Headline) -> &'static str {
    match headline {
        Headline::KnownExploited => "exploited",
        Headline::EndOfLife => "over",
        Headline::RebootPending => "waits",
        Headline::PatchBehind => "behind",
        Headline::Unknown => "unknown",
        Headline::Supported => "ahead",
    }
}

fn segment(headline: Headline, n: i64, href: String) -> Segment {
    Segment { class: class(headline), word: words::headline(headline).2, n, href }
}

/// Nodes by headline, a line a component.
pub(super) fn overview(summary: &[Summary]) -> Bars {
    let bar = |row: &Summary| Bar {
        label: words::component(&row.row.component).to_owned(),
        segments: row.headlines.iter().map(|(headline, count)| segment(*headline, count.n, count.href.clone())).collect(),
    };
    let bars = summary.iter().take(LINES + 4).map(bar).collect();
    Bars { id: "chart-chain", title: "Nodes by verdict, for each component", line: "Component", lines: bars }
}

/// Nodes by headline, a line a version; the worst first.
pub(super) fn releases(groups: &[ChainGroupRow], filter: &ChainFilter) -> Bars {
    let mut found: Vec<(Running<'_>, ByHeadline)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for row in groups {
        let key = (row.component.as_str(), row.running.as_deref().unwrap_or_default());
        let place = *places.entry(key).or_insert_with(|| {
            found.push((key, Headline::ALL.map(|headline| (headline, 0))));
            found.len() - 1
        });
        let of = found.get_mut(place).and_then(|(_, of)| of.iter_mut().find(|(headline, _)| *headline == row.headline));
        if let Some((_, n)) = of {
            *n += row.nodes;
        }
    }
    let more = found.len().saturating_sub(LINES);
    let mut bars: Vec<Bar> = found.iter().take(LINES).map(|(key, of)| version(*key, *of, filter)).collect();
    if more > 0 {
        let rest = found.iter().skip(LINES);
        let mut sums = Headline::ALL.map(|headline| (headline, 0));
        for (_, of) in rest {
            sums.iter_mut().zip(of).for_each(|((_, sum), (_, n))| *sum += n);
        }
        let label = marks::counted(i64::try_from(more).unwrap_or(i64::MAX), "other version", "other versions");
        bars.push(Bar { label, segments: sums.map(|(headline, n)| segment(headline, n, String::new())).into() });
    }
    Bars { id: "chart-releases", title: "Nodes by version and verdict", line: "Version", lines: bars }
}

fn version((component, running): Running<'_>, of: ByHeadline, filter: &ChainFilter) -> Bar {
    let name = if running.is_empty() { "not known" } else { running };
    let label = if filter.component.is_none() { format!("{} {name}", words::component(component)) } else { name.to_owned() };
    let link = |headline: Headline| filter.with(|inside| inside.headline = vec![headline]).link_to(component, running);
    Bar { label, segments: of.map(|(headline, n)| segment(headline, n, link(headline))).into() }
}

/// A class of days, as people write it.
pub(super) fn lag(of: Lag) -> &'static str {
    match of {
        Lag::Current => "0",
        Lag::Week => "1–7",
        Lag::Month => "8–30",
        Lag::TwoMonths => "31–60",
        Lag::Quarter => "61–90",
        Lag::HalfYear => "91–180",
        Lag::Longer => "over 180",
        Lag::Unknown => "not known",
    }
}

/// Nodes by days behind.
pub(super) fn lags(of: [(Lag, i64); 8], filter: &ChainFilter) -> Bars {
    let class = |of: Lag| match of {
        Lag::Current | Lag::Week | Lag::Month => "ahead",
        Lag::TwoMonths | Lag::Quarter | Lag::HalfYear | Lag::Longer => "behind",
        Lag::Unknown => "unknown",
    };
    let bar = |(of, n): (Lag, i64)| Bar {
        label: if of == Lag::Unknown { "not known".to_owned() } else { format!("{} days", lag(of)) },
        segments: vec![Segment { class: class(of), word: "Nodes", n, href: filter.with(|filter| filter.behind = vec![of]).link(PATH) }],
    };
    Bars { id: "chart-lags", title: "Nodes by days behind the newest of their series", line: "Days behind", lines: of.map(bar).into() }
}

/// Ends of support, the first first. What was over longest is left out where there are too many.
pub(super) fn ends(of: Vec<ChainEnd>, nodes: &Filter, now: i64) -> Timeline {
    let mark = |end: ChainEnd| {
        let everything = ChainFilter { nodes: nodes.clone(), component: None, ..ChainFilter::default() };
        let href =
            everything.with(|filter| (filter.judged_by, filter.ends) = (vec![end.judged_by.clone()], vec![end.ends.clone()])).link(PATH);
        Some(Mark { days: -marks::age_days(&end.ends, now)?, label: end.judged_by, day: end.ends, n: end.nodes, href })
    };
    let mut marks: Vec<Mark> = of.into_iter().filter_map(mark).collect();
    let surplus = marks.len().saturating_sub(2 * LINES);
    marks.drain(..surplus);
    let month = |days: i64| {
        let at = jiff::Timestamp::from_millisecond(now.saturating_add(days * 86_400_000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        (days, if days == 0 { "today".to_owned() } else { at.strftime("%b %Y").to_string() })
    };
    Timeline {
        id: "chart-ends",
        title: "Last days of support: over, and in the next twelve months",
        marks,
        ticks: [0, AHEAD / 2, AHEAD].map(month).into(),
    }
}
