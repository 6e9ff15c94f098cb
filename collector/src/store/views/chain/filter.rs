//! What of the patch chain to show: the typed filter of its page, exports and API. Must not know SQL or HTTP.

use holdfast_checks::versions::Headline;
use serde::Serialize;

use super::super::{Filter, Problem, encode};
use crate::store::containers::NOT_KNOWN;

/// The component of a page that names none.
const KERNEL: &str = "kernel";
/// Every component.
const ANY: &str = "any";
/// The longest value taken from a query string, in bytes.
const MAX_VALUE_BYTES: usize = 4096;
/// The filters of nodes and pages that mean something here.
const SHARED: [&str; 6] = ["cluster", "node", "state", "q", "after", "limit"];
/// The filters of the chain.
const OWN: [&str; 11] =
    ["component", "image", "kernel", "running", "headline", "judged_by", "ends", "behind", "waiting", "possible", "group"];

/// What rows are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChainGroup {
    /// One row for what runs alike: headline, component, version, image.
    #[default]
    Running,
    /// One row a link of a node.
    None,
}

impl ChainGroup {
    /// Every one, in display order.
    pub const ALL: [Self; 2] = [Self::Running, Self::None];

    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::None => "none",
        }
    }
}

/// How many days a link is behind, in the classes of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
pub enum Lag {
    /// The newest of its series.
    #[serde(rename = "0")]
    Current,
    /// A week.
    #[serde(rename = "1-7")]
    Week,
    /// A month.
    #[serde(rename = "8-30")]
    Month,
    /// Two months.
    #[serde(rename = "31-60")]
    TwoMonths,
    /// A quarter.
    #[serde(rename = "61-90")]
    Quarter,
    /// Half a year.
    #[serde(rename = "91-180")]
    HalfYear,
    /// Longer.
    #[serde(rename = "181-")]
    Longer,
    /// Not known.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Lag {
    /// Every class, in display order.
    pub const ALL: [Self; 8] =
        [Self::Current, Self::Week, Self::Month, Self::TwoMonths, Self::Quarter, Self::HalfYear, Self::Longer, Self::Unknown];

    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "0",
            Self::Week => "1-7",
            Self::Month => "8-30",
            Self::TwoMonths => "31-60",
            Self::Quarter => "61-90",
            Self::HalfYear => "91-180",
            Self::Longer => "181-",
            Self::Unknown => "unknown",
        }
    }

    /// First and last day of the class, as the store has them.
    pub(super) fn days(self) -> (i64, i64) {
        match self {
            Self::Current => (0, 0),
            Self::Week => (1, 7),
            Self::Month => (8, 30),
            Self::TwoMonths => (31, 60),
            Self::Quarter => (61, 90),
            Self::HalfYear => (91, 180),
            Self::Longer => (181, i64::MAX),
            Self::Unknown => (i64::MIN, -1),
        }
    }
}

/// What to show. Lists are "any of"; an empty list is no restriction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFilter {
    /// Clusters, nodes, their states, text, page.
    pub nodes: Filter,
    /// The component; `None` for every one.
    pub component: Option<String>,
    /// Systems, `debian 12`; [`NOT_KNOWN`] for those not known.
    pub image: Vec<String>,
    /// Releases of the node's kernel, whatever the component.
    pub kernel: Vec<String>,
    /// What runs; [`NOT_KNOWN`] for those not known.
    pub running: Vec<String>,
    /// Headlines.
    pub headline: Vec<Headline>,
    /// Rows of lifecycle data, `debian 12`.
    pub judged_by: Vec<String>,
    /// Last days of support, `2028-06-30`.
    pub ends: Vec<String>,
    /// Days behind.
    pub behind: Vec<Lag>,
    /// Only where something installed waits.
    pub waiting: bool,
    /// Only where something may affect it, which is not certain.
    pub possible: bool,
    /// Grouping.
    pub group: ChainGroup,
}

impl Default for ChainFilter {
    fn default() -> Self {
        Self {
            nodes: Filter::default(),
            component: Some(KERNEL.to_owned()),
            image: Vec::new(),
            kernel: Vec::new(),
            running: Vec::new(),
            headline: Vec::new(),
            judged_by: Vec::new(),
            ends: Vec::new(),
            behind: Vec::new(),
            waiting: false,
            possible: false,
            group: ChainGroup::default(),
        }
    }
}

impl ChainFilter {
    /// Reads decoded pairs of a query string. Keys in `also` belong to the page and are skipped. What is not understood is left out
    /// and returned.
    pub fn read(pairs: &[(String, String)], also: &[&str]) -> (Self, Vec<Problem>) {
        let (own, shared): (Vec<_>, Vec<_>) =
            pairs.iter().filter(|(key, _)| !also.contains(&key.as_str())).cloned().partition(|(key, _)| OWN.contains(&key.as_str()));
        let (meant, foreign): (Vec<_>, Vec<_>) = shared.into_iter().partition(|(key, _)| SHARED.contains(&key.as_str()));
        let (nodes, mut problems) = Filter::read(&meant, &[]);
        problems.extend(foreign.into_iter().map(|(key, _)| Problem { key, problem: "there is no such filter here".to_owned() }));
        let mut filter = Self { nodes, ..Self::default() };
        for (key, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            if value.len() > MAX_VALUE_BYTES {
                problems.push(Problem { key, problem: format!("longer than {MAX_VALUE_BYTES} bytes") });
            } else if let Err(problem) = filter.take(&key, &value) {
                problems.push(Problem { key, problem });
            }
        }
        (filter, problems)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let parts = || value.split(',').filter(|part| !part.is_empty());
        let yes = || match value {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(format!("`{value}` is neither yes nor no")),
        };
        match key {
            "component" => self.component = Some(value.to_owned()).filter(|value| value != ANY),
            "image" => self.image.push(value.to_owned()),
            "kernel" => self.kernel.push(value.to_owned()),
            "running" => self.running.push(value.to_owned()),
            "judged_by" => self.judged_by.push(value.to_owned()),
            "ends" => self.ends.push(value.to_owned()),
            "headline" => {
                for part in parts() {
                    self.headline.push(headline(part)?);
                }
            }
            "behind" => {
                for part in parts() {
                    let lag = Lag::ALL.into_iter().find(|lag| lag.name() == part);
                    let names = || Lag::ALL.map(Lag::name).join(", ");
                    self.behind.push(lag.ok_or_else(|| format!("`{part}` is not one of {}", names()))?);
                }
            }
            "waiting" => self.waiting = yes()?,
            "possible" => self.possible = yes()?,
            _ => {
                let group = ChainGroup::ALL.into_iter().find(|group| group.name() == value);
                self.group = group.ok_or_else(|| format!("`{value}` is not a grouping: use one of running, none"))?;
            }
        }
        Ok(())
    }

    /// The same filter, changed; the page position does not survive.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut filter = self.clone();
        filter.nodes.after = None;
        change(&mut filter);
        filter
    }

    /// The canonical query string, without the leading `?`. What is the default is not written.
    pub fn to_query(&self) -> String {
        let mut pairs: Vec<String> = Vec::new();
        match self.component.as_deref() {
            Some(KERNEL) => {}
            component => pairs.push(format!("component={}", encode(component.unwrap_or(ANY)))),
        }
        let lists = [
            ("image", &self.image),
            ("kernel", &self.kernel),
            ("running", &self.running),
            ("judged_by", &self.judged_by),
            ("ends", &self.ends),
        ];
        for (key, values) in lists {
            pairs.extend(values.iter().map(|value| format!("{key}={}", encode(value))));
        }
        let names = [
            ("headline", self.headline.iter().map(|headline| headline.name()).collect::<Vec<_>>()),
            ("behind", self.behind.iter().map(|lag| lag.name()).collect()),
        ];
        pairs.extend(names.into_iter().filter(|(_, names)| !names.is_empty()).map(|(key, names)| format!("{key}={}", names.join(","))));
        pairs.extend(
            [("waiting", self.waiting), ("possible", self.possible)].iter().filter(|(_, yes)| *yes).map(|(key, _)| format!("{key}=yes")),
        );
        if self.group != ChainGroup::default() {
            pairs.push(format!("group={}", self.group.name()));
        }
        pairs.push(self.nodes.to_query());
        pairs.into_iter().filter(|pair| !pair.is_empty()).collect::<Vec<_>>().join("&")
    }

    /// `path` with this filter: a link.
    pub fn link(&self, path: &str) -> String {
        let query = self.to_query();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The page about one version of one component, with the rest of this filter.
    pub fn link_to(&self, component: &str, running: &str) -> String {
        let running = if running.is_empty() { NOT_KNOWN } else { running };
        let rest = self.with(|rest| {
            (rest.component, rest.group) = (Self::default().component, ChainGroup::default());
            rest.running.clear();
        });
        rest.link(&format!("/kernels/{}/{}", encode(component), encode(running)))
    }

    /// Does it restrict rows, or only choose a component.
    pub fn restricts(&self) -> bool {
        let bare = Self { component: self.component.clone(), group: self.group, ..Self::default() };
        *self != Self { nodes: Filter { after: self.nodes.after.clone(), limit: self.nodes.limit, ..Filter::default() }, ..bare }
    }
}

/// The headline of that name, or what to write instead.
pub(in super::super) fn headline(name: &str) -> Result<Headline, String> {
    let names = || Headline::ALL.map(Headline::name).join(", ");
    Headline::by_name(name).ok_or_else(|| format!("`{name}` is not one of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.replace("%20", " ").replace("%26", "&")));
        text.split('&').filter_map(pair).collect()
    }

    #[test]
    fn a_filter_survives_its_own_link_and_foreign_keys_are_named() {
        let query = "component=any&image=debian%2012&image=-&kernel=6.1&running=x&judged_by=debian%2012&ends=2028-06-30\
                     &headline=known_exploited,unknown&behind=0,181-&waiting=yes&possible=yes&group=none&node=n&q=a%26b";
        let (filter, problems) = ChainFilter::read(&pairs(query), &[]);
        assert_eq!((problems.as_slice(), filter.link("/x")), ([].as_slice(), format!("/x?{query}")));
        let (filter, problems) = ChainFilter::read(&pairs("severity=high&headline=bad&behind=9&waiting=1&group=check&tab=x"), &["tab"]);
        assert_eq!((filter.link("/x").as_str(), filter.restricts()), ("/x", false));
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["severity", "headline", "behind", "waiting", "group"]);
        assert_eq!(filter.link_to("containerd", ""), "/kernels/containerd/-");
    }
}
