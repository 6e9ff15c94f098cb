//! What a scan says, and its JSON: the contract `holdfast.scan/1`. Fields are added, never changed.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::{Group, Node, NodeFacts, Unavailable};
use holdfast_checks::waivers::{self, Waiver};
use jiff::Timestamp;
use serde::Serialize;

use crate::capture::Manifest;
use crate::inert;

/// The contract's name.
const SCHEMA: &str = "holdfast.scan/1";

/// Where the facts were read.
#[derive(Debug)]
pub enum Origin {
    /// On this host, now.
    Host,
    /// On another one, or earlier.
    Capture {
        /// What the archive says of itself.
        manifest: Manifest,
        /// Files in it that this version does not know.
        ignored: Vec<String>,
    },
}

/// The outcome of a scan.
#[derive(Debug)]
pub struct Report {
    node: Node,
    catalogue_hash: String,
    started: Timestamp,
    duration_ms: i64,
    findings: Vec<Finding>,
    expectations: Vec<Waiver>,
    frameworks: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    unread: Vec<(Group, Unavailable)>,
    troubled: BTreeSet<Group>,
    origin: Origin,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    agent_version: &'static str,
    catalogue_hash: &'a str,
    /// Only where a capture was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Archive<'a>>,
    node: NodeRow<'a>,
    started_at: String,
    duration_ms: i64,
    coverage: Coverage,
    findings: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Archive<'a> {
    captured_at: String,
    agent_version: &'a str,
    catalogue_hash: &'a str,
    /// Files in it that this version does not know.
    ignored: &'a [String],
}

/// The node, but for what only an agent that keeps running knows of itself.
#[derive(Serialize)]
struct NodeRow<'a> {
    name: &'a str,
    uid: &'a str,
    cluster: &'a str,
    role: &'a str,
    provider: &'a str,
    profile: &'a str,
    profile_because: &'a str,
}

impl<'a> NodeRow<'a> {
    fn of(
        Node {
            name,
            uid,
            cluster,
            role,
            provider,
            profile,
            profile_because,
            process_events: _,
            cri_allowed: _,
            cri: _,
            clock: _,
            admission: _,
            membership: _,
        }: &'a Node,
    ) -> Self {
        Self { name, uid, cluster, role, provider, profile, profile_because }
    }
}

/// How much of what applies was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Coverage {
    pub(super) applicable: usize,
    pub(super) decided: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    check: &'a str,
    subject: &'a str,
    verdict: Verdict,
    reason: &'a str,
    severity: holdfast_checks::entries::Severity,
    title: &'a str,
    evidence: Vec<Item<'a>>,
    frameworks: Option<&'a BTreeMap<String, Vec<String>>>,
    /// Only where a failure is what the subject is built to need.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Expected<'a>>,
}

#[derive(Serialize)]
struct Expected<'a> {
    id: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Item<'a> {
    path: &'a str,
    value: &'a Option<serde_json::Value>,
    source: &'a str,
    at: Option<String>,
}

impl Report {
    pub(super) fn new(
        facts: &NodeFacts,
        findings: Vec<Finding>,
        expectations: Vec<Waiver>,
        evaluator: &Evaluator,
        troubled: BTreeSet<Group>,
        started: Timestamp,
        origin: Origin,
    ) -> Self {
        let checks = evaluator.catalogue().checks();
        Self {
            node: facts.node.clone(),
            catalogue_hash: evaluator.catalogue_hash().to_string(),
            started,
            duration_ms: Timestamp::now().as_millisecond() - started.as_millisecond(),
            findings,
            expectations,
            frameworks: checks.iter().map(|check| (check.id.to_string(), check.frameworks.clone())).collect(),
            unread: Group::ALL.into_iter().filter_map(|group| Some((group, facts.unavailable(group)?.clone()))).collect(),
            troubled,
            origin,
        }
    }

    /// Every check and subject once, sorted by both.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What says that a failure is expected, as the subject is built to need it. What does not fail is not expected to.
    pub fn expected(&self, finding: &Finding) -> Option<&Waiver> {
        Some(finding).filter(|finding| finding.verdict == Verdict::Fail)?;
        waivers::expected(&self.expectations, &finding.check, &finding.subject)
    }

    /// Groups whose sensor timed out or crashed.
    pub fn troubled(&self) -> &BTreeSet<Group> {
        &self.troubled
    }

    /// Where the facts were read.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Groups that are not known, and why.
    pub(super) fn unread(&self) -> &[(Group, Unavailable)] {
        &self.unread
    }

    pub(super) fn coverage(&self) -> Coverage {
        let count = |counts: fn(Verdict) -> bool| self.findings.iter().filter(|finding| counts(finding.verdict)).count();
        Coverage { applicable: count(|verdict| verdict != Verdict::NotApplicable), decided: count(Verdict::decided) }
    }

    /// The contract's document.
    ///
    /// # Errors
    /// Never for facts that a sensor made.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let document = Document {
            schema: SCHEMA,
            agent_version: env!("CARGO_PKG_VERSION"),
            catalogue_hash: &self.catalogue_hash,
            capture: self.captured(),
            node: NodeRow::of(&self.node),
            started_at: self.started.to_string(),
            duration_ms: self.duration_ms,
            coverage: self.coverage(),
            findings: self.findings.iter().map(|finding| self.row(finding)).collect(),
        };
        let mut text = inert::json(&serde_json::to_string_pretty(&document)?);
        text.push('\n');
        Ok(text)
    }

    fn captured(&self) -> Option<Archive<'_>> {
        let Origin::Capture { manifest, ignored } = &self.origin else { return None };
        Some(Archive {
            captured_at: manifest.captured_at.to_string(),
            agent_version: &manifest.agent_version,
            catalogue_hash: &manifest.catalogue_hash,
            ignored,
        })
    }

    fn row<'a>(&'a self, finding: &'a Finding) -> Row<'a> {
        let time = |at: i64| Timestamp::from_millisecond(at).ok().filter(|_| at > 0).map(|at| at.to_string());
        let item = |item: &'a holdfast_checks::entries::Evidence| Item {
            path: &item.path,
            value: &item.value,
            source: &item.source,
            at: time(item.at),
        };
        Row {
            check: &finding.check,
            subject: &finding.subject,
            verdict: finding.verdict,
            reason: &finding.reason,
            severity: finding.severity,
            title: &finding.title,
            evidence: finding.evidence.iter().map(item).collect(),
            frameworks: self.frameworks.get(&finding.check),
            expected: self.expected(finding).map(|waiver| Expected { id: &waiver.id, reason: &waiver.reason }),
        }
    }
}
