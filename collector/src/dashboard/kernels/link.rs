//! One link of the patch chain as a reader sees it: an axis a row, each with what it rests on, then the matches with their evidence.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::Observed;
use holdfast_checks::versions::{
    Activation, ActivationState, FleetPlace, Link, Match, Patch, PatchState, Support, SupportState, Vulnerability,
};

use super::super::marks::{self, Html};
use super::super::words;
use crate::store::views::At;

/// A question about a link, its answer, and what that rests on.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) says: Html,
    pub(crate) rests: Html,
}

/// A link, ready to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) link: Link,
    /// Where it stands, with the date where that is old.
    pub(crate) headline: Html,
    pub(crate) axes: Vec<Axis>,
    /// Those that count.
    pub(crate) matches: Vec<Match>,
    /// Those of which it is not certain.
    pub(crate) possible: Vec<Match>,
    /// Matches that are not listed.
    pub(crate) more: i64,
}

impl Shown {
    pub(crate) fn new(link: Link, now: i64) -> Self {
        let dates = [link.support.value().map(|support| &support.data_date), link.patch.value().map(|patch| &patch.data_date)];
        let oldest = dates.into_iter().flatten().filter(|date| !date.is_empty()).min().cloned();
        let headline = marks::headline_by(link.headline, oldest.as_deref(), now);
        let listed = link.vulnerability.value().map(|vulnerability| &vulnerability.matches);
        let of = |possible: bool| -> Vec<Match> {
            let counts = |found: &&Match| (found.confidence == holdfast_checks::versions::Confidence::Possible) == possible;
            listed.map(|listed| listed.items.iter().filter(counts).cloned().collect()).unwrap_or_default()
        };
        let more = listed.map_or(0, |listed| i64::try_from(listed.skipped.len()).unwrap_or(i64::MAX));
        Self { headline, axes: axes(&link), matches: of(false), possible: of(true), more, link }
    }
}

fn axes(link: &Link) -> Vec<Axis> {
    let mut axes = vec![running(link), axis("Installed", &link.installed, |installed| (marks::whole(installed), Html::fixed("")))];
    axes.push(axis("Support", &link.support, support));
    axes.push(axis("Newest of its series", &link.patch, patch));
    axes.push(axis("Vulnerabilities", &link.vulnerability, vulnerability));
    axes.push(axis("Activation", &link.activation, activation));
    axes.push(axis("Among nodes of the same image", &link.fleet, fleet));
    axes
}

fn axis<T>(name: &'static str, of: &Observed<T>, say: impl FnOnce(&T) -> (Html, Html)) -> Axis {
    let (says, rests) = match of {
        Observed::Known { value, .. } => say(value),
        Observed::Unavailable(why) => {
            let class = serde_json::to_value(why.reason).ok();
            let class = class.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            (marks::verdict(Verdict::Unknown), joined(&[words::reason(&class), &why.detail]))
        }
    };
    Axis { name, says, rests }
}

/// Parts that say something, one behind the other.
fn joined(parts: &[&str]) -> Html {
    marks::whole(parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" · "))
}

fn running(link: &Link) -> Axis {
    let known = |name: &str, of: &Observed<String>| of.value().filter(|value| !value.is_empty()).map(|value| format!("{name} {value}"));
    let vendor = match link.vendor.as_str() {
        "unlisted" => "nothing tells who built it".to_owned(),
        "vanilla" => "upstream's, without a distribution's mark".to_owned(),
        vendor => format!("built by {vendor}"),
    };
    let package = known("package", &link.package).unwrap_or_default();
    let upstream = known("upstream", &link.upstream).unwrap_or_default();
    let tracks = if link.tracks_upstream { "ships upstream's releases as they are" } else { "" };
    let running = if link.running.is_empty() { marks::verdict(Verdict::Unknown) } else { marks::whole(&link.running) };
    Axis { name: "Running", says: running, rests: joined(&[&vendor, &package, &upstream, tracks]) }
}

fn support(of: &Support) -> (Html, Html) {
    let word = Html::fixed(words::support(of.state));
    let left = of.days_left.map(|days| {
        let span = marks::counted(days.saturating_abs(), "day", "days");
        Html::drawn(if days < 0 { format!(" ({span} ago)") } else { format!(" ({span} left)") })
    });
    let left = left.unwrap_or_else(|| Html::fixed(""));
    let end = match (of.state, &of.ends, &of.extended_ends) {
        (SupportState::ExtendedFree | SupportState::ExtendedPaid, _, Some(end)) => {
            Html::joined(&[&Html::fixed(" until "), &marks::day(end)])
        }
        (SupportState::Eol, _, Some(end)) | (SupportState::Eol, Some(end), None) => {
            Html::joined(&[&Html::fixed(" since "), &marks::day(end)])
        }
        (_, Some(end), _) => Html::joined(&[&Html::fixed(" until "), &marks::day(end)]),
        (_, None, _) => Html::fixed(", no end announced"),
    };
    let dated = dated(&of.data_date);
    (Html::joined(&[&word, &end, &left]), joined(&[&of.judged_by, &of.upstream_says, &dated, &of.source]))
}

fn dated(day: &str) -> String {
    if day.is_empty() { String::new() } else { format!("data of {day}") }
}

fn patch(of: &Patch) -> (Html, Html) {
    let dated_newest = |date: &String| Html::joined(&[&Html::fixed(" of "), &marks::day(date)]);
    let newest = of.newest_date.as_ref().map_or_else(|| Html::fixed(""), dated_newest);
    let newest = Html::joined(&[&Html::fixed("newest known: "), &marks::whole(&of.newest), &newest]);
    let says = match (of.state, of.days) {
        (PatchState::Current, _) => Html::joined(&[&Html::fixed("The newest as of "), &marks::day(&of.data_date)]),
        (PatchState::AheadOfData, _) => Html::joined(&[&Html::fixed("Newer than the data knows; "), &newest]),
        (PatchState::Behind, days) => {
            let days = days.map_or_else(
                || "Behind, since when is not known".to_owned(),
                |days| format!("Behind for {}", marks::counted(days, "day", "days")),
            );
            let releases = of.releases.map(|n| format!(", {}", marks::counted(n, "release", "releases"))).unwrap_or_default();
            Html::joined(&[&Html::drawn(days + &releases + "; "), &newest])
        }
    };
    (says, joined(&[&dated(&of.data_date), &of.source]))
}

fn vulnerability(of: &Vulnerability) -> (Html, Html) {
    let mut says = vec![Html::fixed(words::vulnerability(of.state))];
    let counts = [
        (of.affecting, "affect it"),
        (of.exploited, "known to be exploited"),
        (of.public_exploits, "with a published exploit"),
        (of.unreachable, "out of reach here"),
        (of.possible, "possible, which never alert"),
        (of.fixed, "fixed in it"),
    ];
    says.extend(counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| Html::drawn(format!(" · {} {what}", marks::number(n)))));
    if let Some(fixed) = &of.fixed_in {
        says.extend([Html::fixed(" · all fixed in "), marks::whole(fixed)]);
    }
    (Html::joined(&says.iter().collect::<Vec<_>>()), joined(&[&of.judged_by, &dated(&of.data_date)]))
}

fn activation(of: &Activation) -> (Html, Html) {
    let mut says = vec![Html::fixed(words::waits(of.state))];
    if let Some(since) = of.since {
        says.extend([Html::fixed(" since "), marks::moment(At(since.saturating_mul(1000)))]);
    }
    if of.state != ActivationState::Active {
        says.push(Html::fixed(match of.security {
            Some(true) => "; it fixes something that affects what runs",
            Some(false) => "; it fixes nothing that is known to affect what runs",
            None => "; whether it fixes something is not known",
        }));
    }
    (Html::joined(&says.iter().collect::<Vec<_>>()), marks::whole(&of.because))
}

fn fleet(of: &FleetPlace) -> (Html, Html) {
    let word = if of.behind { "Older than the newest" } else { "None is newer" };
    let rests = if of.newest.is_empty() {
        String::new()
    } else {
        format!("{} runs on at least {}", of.newest, marks::counted(of.nodes, "node", "nodes"))
    };
    (Html::fixed(word), joined(&[&rests]))
}
