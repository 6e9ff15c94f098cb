//! The one typed filter: what a query string says, for pages, exports and the API alike.
//!
//! Must not know SQL or HTTP. [`super::select`] turns it into predicates; every list, count and export goes through that.

use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::versions::Headline;

use super::codes::NodeState;

/// The most rows of one page.
pub const MAX_LIMIT: i64 = 200;
/// Rows of a page unless told.
pub const DEFAULT_LIMIT: i64 = 50;
/// The longest value taken from a query string, in bytes.
const MAX_VALUE_BYTES: usize = 2048;

/// What rows are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// One row a check.
    Check,
    /// One row a node.
    Node,
    /// One row a finding.
    None,
}

/// In which order rows come. Every order is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Worst severity first, then check, node, subject.
    Severity,
    /// Latest change first.
    Changed,
    /// By node, then severity.
    Node,
    /// By check, then node.
    Check,
}

impl Sort {
    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::Changed => "changed",
            Self::Node => "node",
            Self::Check => "check",
        }
    }
}

impl Group {
    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Node => "node",
            Self::None => "none",
        }
    }
}

/// A part of a query string that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key as written.
    pub key: String,
    /// What is wrong, for a person.
    pub problem: String,
}

/// What to show. Lists are "any of"; an empty list is no restriction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Cluster names.
    pub cluster: Vec<String>,
    /// Node names.
    pub node: Vec<String>,
    /// Check ids.
    pub check: Vec<String>,
    /// Areas of the catalogue.
    pub area: Vec<String>,
    /// Framework ids.
    pub framework: Vec<String>,
    /// Framework rows.
    pub row: Vec<String>,
    /// Severities.
    pub severity: Vec<Severity>,
    /// Verdicts.
    pub verdict: Vec<Verdict>,
    /// Reason classes.
    pub reason: Vec<String>,
    /// Subjects.
    pub subject: Vec<String>,
    /// Deciding values, as shown.
    pub deciding: Vec<String>,
    /// Only what fails as expected, or only what does not.
    pub expected: Option<bool>,
    /// Ids of expectations that cover the findings.
    pub waiver: Vec<String>,
    /// Only nodes whose kernel stands so.
    pub kernel: Vec<Headline>,
    /// Node states; empty: all but gone.
    pub state: Vec<NodeState>,
    /// Only what changed since: `1h`, `24h`, `7d`, or an RFC 3339 time.
    pub since: Option<Since>,
    /// Text to find in check, title, subject, node or deciding value.
    pub q: Option<String>,
    /// Grouping.
    pub group: Option<Group>,
    /// Order.
    pub sort: Option<Sort>,
    /// The signed position after which the page starts.
    pub after: Option<String>,
    /// Rows of a page.
    pub limit: Option<i64>,
    /// `verdict=any` was written: no default verdict is put in.
    pub any_verdict: bool,
}

/// A lower bound in time, kept as written so that links stay relative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// As written.
    pub text: String,
    bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Before(i64),
    At(i64),
}

impl Since {
    /// Reads `24h`, `7d`, `30m` or an RFC 3339 time.
    pub fn read(text: &str) -> Option<Self> {
        let units = [("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let relative = units.into_iter().find_map(|(unit, millis)| {
            let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
            (0..=10_000).contains(&count).then_some(Bound::Before(count * millis))
        });
        let absolute = || text.parse::<jiff::Timestamp>().ok().map(|time| Bound::At(time.as_millisecond()));
        relative.or_else(absolute).map(|bound| Self { text: text.to_owned(), bound })
    }

    /// The bound in Unix milliseconds, as seen at `now`.
    pub fn millis(&self, now: i64) -> i64 {
        match self.bound {
            Bound::Before(span) => now - span,
            Bound::At(at) => at,
        }
    }
}

impl Filter {
    /// Reads decoded pairs of a query string. Keys in `also` belong to the page and are skipped.
    ///
    /// What is not understood is left out and returned: a page says so, the API refuses.
    pub fn read(pairs: &[(String, String)], also: &[&str]) -> (Self, Vec<Problem>) {
        let mut filter = Self::default();
        let mut problems = Vec::new();
        for (key, value) in pairs {
            if also.contains(&key.as_str()) || value.is_empty() {
                continue;
            }
            if value.len() > MAX_VALUE_BYTES && key != "after" {
                problems.push(Problem { key: key.clone(), problem: format!("longer than {MAX_VALUE_BYTES} bytes") });
            } else if let Err(problem) = filter.take(key, value) {
                problems.push(Problem { key: key.clone(), problem });
            }
        }
        (filter, problems)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let list = |value: &str| value.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        match key {
            "cluster" => self.cluster.push(value.to_owned()),
            "node" => self.node.push(value.to_owned()),
            "subject" => self.subject.push(value.to_owned()),
            "deciding" => self.deciding.push(value.to_owned()),
            "row" => self.row.push(value.to_owned()),
            "waiver" => self.waiver.push(value.to_owned()),
            "expected" => {
                self.expected = match value {
                    "yes" => Some(true),
                    "no" => Some(false),
                    _ => return Err(format!("`{value}` is neither yes nor no")),
                }
            }
            "check" => self.check.extend(list(value)),
            "area" => self.area.extend(list(value)),
            "framework" => self.framework.extend(list(value)),
            "reason" => self.reason.extend(list(value)),
            "severity" => {
                for part in list(value) {
                    self.severity.push(part.parse().map_err(|error: holdfast_checks::entries::UnknownName| error.to_string())?);
                }
            }
            "verdict" if value == "any" => self.any_verdict = true,
            "verdict" => {
                for part in list(value) {
                    self.verdict.push(part.parse().map_err(|error: holdfast_checks::entries::UnknownName| error.to_string())?);
                }
            }
            "state" => {
                for part in list(value) {
                    match part.as_str() {
                        "current" => self.state.extend(NodeState::CURRENT),
                        "last_known" => self.state.extend(NodeState::LAST_KNOWN),
                        name => self.state.push(NodeState::of(name).ok_or_else(|| {
                            format!("`{name}` is not a state: use one of current, last_known, reporting, recorded, silent, stopped, unwatched, gone")
                        })?),
                    }
                }
            }
            "kernel" => {
                for part in list(value) {
                    self.kernel.push(super::chain::headline(&part)?);
                }
            }
            "since" => {
                self.since =
                    Some(Since::read(value).ok_or_else(|| format!("`{value}` is not a time: write 24h, 7d or 2026-11-20T10:00:00Z"))?);
            }
            "q" => self.q = Some(value.to_owned()),
            "group" => {
                let groups = [Group::Check, Group::Node, Group::None];
                let found = groups.into_iter().find(|group| group.name() == value);
                self.group = Some(found.ok_or_else(|| format!("`{value}` is not a grouping: use one of check, node, none"))?);
            }
            "sort" => {
                let sorts = [Sort::Severity, Sort::Changed, Sort::Node, Sort::Check];
                let found = sorts.into_iter().find(|sort| sort.name() == value);
                self.sort = Some(found.ok_or_else(|| format!("`{value}` is not an order: use one of severity, changed, node, check"))?);
            }
            "after" => self.after = Some(value.to_owned()),
            "limit" => {
                let limit = value.parse::<i64>().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                self.limit = Some(limit.ok_or_else(|| format!("`{value}` is not a number from 1 to {MAX_LIMIT}"))?);
            }
            _ => return Err("there is no such filter".to_owned()),
        }
        Ok(())
    }

    /// Rows of a page.
    pub fn limit(&self) -> i64 {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// The canonical query string, without the leading `?`; empty when nothing is restricted.
    pub fn to_query(&self) -> String {
        let names = |values: Vec<&str>| values.join(",");
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut each = |key: &'static str, values: &[String]| pairs.extend(values.iter().map(|value| (key, value.clone())));
        each("cluster", &self.cluster);
        each("node", &self.node);
        each("area", &self.area);
        each("check", &self.check);
        each("framework", &self.framework);
        each("row", &self.row);
        pairs.push(("severity", names(self.severity.iter().map(|severity| severity.name()).collect())));
        let verdicts = names(self.verdict.iter().map(|verdict| verdict.name()).collect());
        pairs.push(("verdict", if self.any_verdict { "any".to_owned() } else { verdicts }));
        let mut each = |key: &'static str, values: &[String]| pairs.extend(values.iter().map(|value| (key, value.clone())));
        each("reason", &self.reason);
        each("subject", &self.subject);
        each("deciding", &self.deciding);
        each("waiver", &self.waiver);
        pairs.push(("expected", self.expected.map(|yes| if yes { "yes" } else { "no" }.to_owned()).unwrap_or_default()));
        pairs.push(("kernel", names(self.kernel.iter().map(|headline| headline.name()).collect())));
        pairs.push(("state", self.states_as_written()));
        pairs.push(("since", self.since.as_ref().map(|since| since.text.clone()).unwrap_or_default()));
        pairs.push(("q", self.q.clone().unwrap_or_default()));
        pairs.push(("group", self.group.map(|group| group.name().to_owned()).unwrap_or_default()));
        pairs.push(("sort", self.sort.map(|sort| sort.name().to_owned()).unwrap_or_default()));
        pairs.push(("after", self.after.clone().unwrap_or_default()));
        pairs.push(("limit", self.limit.map(|limit| limit.to_string()).unwrap_or_default()));
        let written = pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}={}", encode(value)));
        written.collect::<Vec<_>>().join("&")
    }

    fn states_as_written(&self) -> String {
        if self.state == NodeState::CURRENT {
            return "current".to_owned();
        }
        if self.state == NodeState::LAST_KNOWN {
            return "last_known".to_owned();
        }
        self.state.iter().map(|state| state.name()).collect::<Vec<_>>().join(",")
    }

    /// `path` with this filter: a link.
    pub fn link(&self, path: &str) -> String {
        let query = self.to_query();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The first page of the list at `path`.
    pub fn first_page(&self, path: &str) -> String {
        self.with(|_| ()).link(path)
    }

    /// The same filter, changed; the page position does not survive.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut filter = self.clone();
        filter.after = None;
        change(&mut filter);
        filter
    }
}

/// Percent-encodes a value for a query string or a path segment.
pub fn encode(value: &str) -> String {
    use std::fmt::Write as _;
    value.bytes().fold(String::with_capacity(value.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' | b':' => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[(&str, &str)]) -> Vec<(String, String)> {
        text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_filter_survives_its_own_query_string() {
        let written = pairs(&[("severity", "critical,high"), ("verdict", "fail"), ("q", "a&b=c"), ("state", "current"), ("since", "24h")]);
        let (filter, problems) = Filter::read(&written, &[]);
        assert_eq!(problems, []);
        assert_eq!(filter.to_query(), "severity=critical,high&verdict=fail&state=current&since=24h&q=a%26b%3Dc");
    }

    #[test]
    fn what_is_not_understood_is_named_and_left_out() {
        let (filter, problems) = Filter::read(&pairs(&[("foo", "1"), ("severity", "worst"), ("limit", "0"), ("tab", "all")]), &["tab"]);
        assert_eq!(filter, Filter::default());
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["foo", "severity", "limit"]);
    }
}
