//! Exposure: ports by reach, owner and number, with what is declared, what listens and what answered.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use askama::Template;
use holdfast_checks::entries::Verdict;

use super::marks::{self, Html};
use super::nodes;
use super::pages::{Ask, Rendered};
use crate::http::Failure;
use crate::store::views::{At, Exposed, ExposedOn, Filter, Group, NodeState, PeerAnswer, PeerOutcome, Problem, Reach, is_kubelet, telling};

/// Different answers shown for one port.
const MOST_ANSWERS: usize = 3;

struct Row {
    port: Exposed,
    list: Filter,
    declared: i64,
    listening: i64,
    answers: Vec<(String, i64)>,
    /// Different answers that are not shown.
    more: i64,
    not_probed: i64,
    /// How other nodes reach it, and on how many nodes so; the most reachable first.
    peers: Vec<(Html, i64)>,
    newest: At,
}

struct Single {
    reach: Reach,
    port: String,
    owner: String,
    href: String,
    on: ExposedOn,
}

#[derive(Template)]
#[template(path = "exposure.html")]
struct Exposure {
    now: i64,
    problems: Vec<Problem>,
    chips: Vec<super::findings::Chip>,
    truncated: bool,
    grouped: bool,
    rows: Vec<Row>,
    singles: Vec<Single>,
    total: i64,
    unread: (i64, Filter),
}

pub(super) async fn page(ask: &Ask<'_>) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh"]);
    let exposure = views.exposure(&ask.select(&filter)).await?;
    let grouped = filter.group != Some(Group::None);
    let singles: Vec<Single> = if grouped { Vec::new() } else { exposure.groups.iter().flat_map(singles).collect() };
    let len = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let rows: Vec<Row> = if grouped { exposure.groups.into_iter().map(|port| row(port, &filter)).collect() } else { Vec::new() };
    let silent = Filter { state: NodeState::LAST_KNOWN.to_vec(), cluster: filter.cluster.clone(), ..Filter::default() };
    let page = Exposure {
        now: ask.now,
        problems,
        chips: super::findings::chips("/exposure", &filter),
        truncated: exposure.truncated,
        grouped,
        total: if grouped { len(rows.len()) } else { len(singles.len()) },
        rows,
        singles,
        unread: (views.count_nodes(&ask.select(&silent)).await?, silent),
    };
    Rendered::new(format!("{} ports · Exposure", marks::number(page.total)), &page)
}

fn row(port: Exposed, filter: &Filter) -> Row {
    let count = |fits: fn(&ExposedOn) -> bool| i64::try_from(port.on.iter().filter(|on| fits(on)).count()).unwrap_or(i64::MAX);
    let mut counted: BTreeMap<&str, i64> = BTreeMap::new();
    for answer in port.on.iter().flat_map(|on| &on.answers) {
        *counted.entry(answer).or_default() += 1;
    }
    let mut answers: Vec<(String, i64)> = counted.into_iter().map(|(text, n)| (text.to_owned(), n)).collect();
    // What was served without credentials stands first: it must not hide behind refusals.
    answers.sort_by_key(|(text, n)| (telling(text), Reverse(*n)));
    let left_out: i64 = port.on.iter().map(|on| on.answers_left_out).sum();
    let more = i64::try_from(answers.len().saturating_sub(MOST_ANSWERS)).unwrap_or(i64::MAX).saturating_add(left_out);
    answers.truncate(MOST_ANSWERS);
    Row {
        list: filter.with(|filter| {
            filter.q = Some(port.label());
            filter.group = Some(Group::None);
        }),
        declared: count(|on| !on.declared.is_empty()),
        listening: count(|on| !on.addresses.is_empty()),
        not_probed: count(|on| on.answers.is_empty()),
        peers: peers(&port),
        newest: port.on.iter().map(|on| on.changed_at).max().unwrap_or(At(0)),
        answers,
        more,
        port,
    }
}

fn singles(port: &Exposed) -> Vec<Single> {
    let single = |on: &ExposedOn| Single {
        reach: port.reach,
        port: format!("{}/{}", port.protocol, port.port),
        owner: port.owner.clone(),
        href: format!("{}?tab=listeners", nodes::href(&on.cluster, &on.node)),
        on: on.clone(),
    };
    port.on.iter().map(single).collect()
}

/// How other nodes meet a port. In this order one stands for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    Served,
    Reachable,
    Filtered,
    Refused,
    NotAsked,
}

impl Met {
    fn of(answer: &PeerAnswer) -> Self {
        match answer.outcome {
            _ if answer.stale => Self::NotAsked,
            PeerOutcome::Answered if (200..300).contains(&answer.status) => Self::Served,
            PeerOutcome::Answered | PeerOutcome::CertificateRequired | PeerOutcome::TlsRefused | PeerOutcome::NotHttp => Self::Reachable,
            PeerOutcome::TimedOut | PeerOutcome::Unreachable => Self::Filtered,
            PeerOutcome::Refused => Self::Refused,
            PeerOutcome::RefusedByAgent => Self::NotAsked,
        }
    }

    fn mark(self) -> Html {
        match self {
            Self::Served => Html::fixed("<strong class=\"served\">Reachable and served</strong>"),
            Self::Reachable => Html::fixed("<strong>Reachable</strong>"),
            Self::Filtered => Html::fixed("Filtered"),
            Self::Refused => Html::fixed("Refused"),
            Self::NotAsked => {
                Html::fixed("<span class=\"v v-unknown\"><span class=\"i\" aria-hidden=\"true\">?</span> Unknown</span>: not asked")
            }
        }
    }
}

/// What one other node met: `Reachable from n2: 401 on /pods`.
pub(super) fn met(answer: &PeerAnswer) -> Html {
    let (from, words) = (marks::text(&answer.vantage), answer.words());
    let met = Met::of(answer);
    let mark = if met == Met::NotAsked { marks::verdict(Verdict::Unknown) } else { met.mark() };
    let what = match met {
        Met::NotAsked if answer.outcome != PeerOutcome::RefusedByAgent => format!("asked too long ago, then {words}"),
        _ => words.trim_start_matches("filtered: ").to_owned(),
    };
    Html::joined(&[&mark, &Html::fixed(" from "), &from, &Html::fixed(": "), &marks::text(what)])
}

fn peers(port: &Exposed) -> Vec<(Html, i64)> {
    let mut counts: BTreeMap<Met, i64> = BTreeMap::new();
    for on in &port.on {
        let widest = on.peers.iter().map(Met::of).min().unwrap_or(Met::NotAsked);
        *counts.entry(widest).or_default() += 1;
    }
    counts.into_iter().map(|(met, n)| (met.mark(), n)).collect()
}

/// Where the settings are shown that declare a port.
pub(super) fn settings(on: &ExposedOn, owner: &str) -> String {
    let tab = if is_kubelet(owner) { "kubelet" } else { "facts" };
    format!("{}?tab={tab}", nodes::href(&on.cluster, &on.node))
}
