//! A finding: the verdict of one check on one subject, with its evidence.

use serde::{Deserialize, Serialize};

use super::Hash;

/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 512;
/// The most evidence items.
pub const MAX_EVIDENCE_ITEMS: usize = 8;
/// The most evidence, in bytes over all items.
pub const MAX_EVIDENCE_BYTES: usize = 2 * 1024;
/// The longest title kept, in bytes.
const MAX_TITLE_BYTES: usize = 160;
/// The longest path and source of a piece of evidence kept, in bytes.
const MAX_LABEL_BYTES: usize = 200;
/// The shortest cut value: one `…` in quotes.
const MIN_CUT_BYTES: usize = 5;

/// What a check says about a subject. There is no other outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The fact was read and is as it should be.
    Pass,
    /// The fact was read and is not as it should be.
    Fail,
    /// The question does not arise on this node; the reason says why.
    NotApplicable,
    /// The fact could not be read; the reason says why. Never a pass.
    Unknown,
    /// A person has to answer.
    Manual,
}

/// A name that is not one of an enumeration's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {what}: use one of {allowed}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    allowed: &'static str,
}

impl Verdict {
    /// Every verdict, in the order lists sort by.
    pub const ALL: [Self; 5] = [Self::Fail, Self::Unknown, Self::Manual, Self::Pass, Self::NotApplicable];

    /// The name in JSON, in the store and in filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotApplicable => "not_applicable",
            Self::Unknown => "unknown",
            Self::Manual => "manual",
        }
    }

    /// Does the verdict settle the question: what coverage counts as decided.
    pub fn decided(self) -> bool {
        matches!(self, Self::Pass | Self::Fail)
    }

    /// How bad it is when several verdicts meet on one subject: the larger wins.
    pub fn weight(self) -> u8 {
        match self {
            Self::Fail => 4,
            Self::Unknown => 3,
            Self::Manual => 2,
            Self::Pass => 1,
            Self::NotApplicable => 0,
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|verdict| verdict.name() == name);
        let allowed = "pass, fail, not_applicable, unknown, manual";
        found.ok_or_else(|| UnknownName { what: "verdict", name: name.to_owned(), allowed })
    }
}

/// How much a failure matters. Ordered: `Info < Critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Defence in depth.
    Low,
    /// Helps an attacker who is already near.
    Medium,
    /// A step to the node or the cluster.
    High,
    /// The node or the cluster is open.
    Critical,
}

impl Severity {
    /// Every severity, worst first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The name in JSON, in the store and in filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::str::FromStr for Severity {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|severity| severity.name() == name);
        let allowed = "critical, high, medium, low, info";
        found.ok_or_else(|| UnknownName { what: "severity", name: name.to_owned(), allowed })
    }
}

/// One fact a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The fact's path without list positions: `kubelets.settings.readOnlyPort`.
    pub path: String,
    /// The value; `None` when it was not available, and then `source` says why.
    pub value: Option<serde_json::Value>,
    /// Where it came from, for a person: `flag --read-only-port`.
    pub source: String,
    /// When it was read: Unix milliseconds. Not hashed.
    pub at: i64,
}

/// A verdict on a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's id.
    pub check: String,
    /// What the verdict is about.
    pub subject: String,
    /// The verdict.
    pub verdict: Verdict,
    /// For `not_applicable` and `unknown`: a class name, then `: ` and the detail. Else empty.
    pub reason: String,
    /// The check's severity.
    pub severity: Severity,
    /// The check's title.
    pub title: String,
    /// What the verdict rests on, deciding fact first.
    pub evidence: Vec<Evidence>,
    /// Was evidence cut to fit.
    pub evidence_truncated: bool,
}

impl Finding {
    /// The class of the reason: the text before the first `:`.
    pub fn reason_class(&self) -> &str {
        self.reason.split(':').next().unwrap_or_default()
    }

    /// The first piece of evidence in one line: `readOnlyPort = 10255 (drop-in 20-debug.conf)`. Empty without evidence.
    pub fn deciding(&self) -> String {
        let Some(first) = self.evidence.first() else { return String::new() };
        let name = first.path.rsplit('.').next().unwrap_or_default();
        match &first.value {
            Some(serde_json::Value::String(text)) => format!("{name} = {text} ({})", first.source),
            Some(value) => format!("{name} = {value} ({})", first.source),
            None => format!("{name}: {}", first.source),
        }
    }

    /// The hash of the canonical content: everything but times.
    pub fn hash(&self) -> Hash {
        let mut fields: Vec<Vec<u8>> = [&self.check, &self.subject, self.verdict.name(), &self.reason, self.severity.name(), &self.title]
            .into_iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
        fields.push(vec![u8::from(self.evidence_truncated)]);
        for item in &self.evidence {
            fields.push(item.path.as_bytes().to_vec());
            fields.push(item.value.as_ref().map(ToString::to_string).unwrap_or_default().into_bytes());
            fields.push(item.source.as_bytes().to_vec());
        }
        Hash::of_fields(fields.iter().map(Vec::as_slice))
    }

    /// The same finding within its limits.
    pub(super) fn bounded(mut self) -> Self {
        self.reason.truncate(cut(&self.reason, MAX_REASON_BYTES).len());
        self.title.truncate(cut(&self.title, MAX_TITLE_BYTES).len());
        let mut left = MAX_EVIDENCE_BYTES;
        let mut kept = Vec::new();
        for mut item in std::mem::take(&mut self.evidence) {
            item.path.truncate(cut(&item.path, MAX_LABEL_BYTES).len());
            item.source.truncate(cut(&item.source, MAX_LABEL_BYTES).len());
            let frame = item.path.len() + item.source.len();
            if kept.len() == MAX_EVIDENCE_ITEMS || frame >= left {
                self.evidence_truncated = true;
                break;
            }
            left -= frame;
            let text = item.value.as_ref().map(ToString::to_string).unwrap_or_default();
            if text.len() > left {
                if left < MIN_CUT_BYTES {
                    self.evidence_truncated = true;
                    break;
                }
                // Half, because quoting the cut text as a JSON string may double it.
                item.value = Some(serde_json::Value::String(format!("{}…", cut(&text, (left / 2).saturating_sub(8)))));
                self.evidence_truncated = true;
                kept.push(item);
                break;
            }
            left -= text.len();
            kept.push(item);
        }
        self.evidence = kept;
        self
    }
}

/// The longest prefix of `text` of at most `limit` bytes that ends on a character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
