//! Alert rules as data: read from YAML, refused with file, line and reason when wrong.
//!
//! Must not know how a rule is evaluated or where alerts go.

use std::collections::BTreeSet;

use holdfast_checks::catalogue::CheckId;
use holdfast_checks::entries::Severity;
use holdfast_checks::versions::Headline;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::text::Template;

/// The rules this build ships.
const BUILT_IN: (&str, &str) = ("rules.yaml", include_str!("../../alerts/rules.yaml"));
/// The longest hold-down: a day.
const MAX_HOLD_SECONDS: i64 = 24 * 60 * 60;
/// The most rules in one file.
const MAX_RULES: usize = 256;

/// Rules, in file order, with distinct ids.
#[derive(Debug, Clone)]
pub struct Rules(Vec<Rule>);

/// One rule, valid by construction.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Kebab-case, ours, for ever: part of the alert's identity.
    pub id: String,
    /// What is wrong, as a short phrase: the label `alertname`.
    pub title: String,
    /// How much it matters: a label.
    pub severity: Severity,
    /// What fires it.
    pub when: Condition,
    /// Labels that split the alert; empty: one alert for the fleet.
    pub group_by: BTreeSet<GroupLabel>,
    /// Where the alert leads instead of to its findings: what of the patch chain to show.
    pub shows: Option<Shows>,
    /// Milliseconds the condition must last.
    pub hold_ms: i64,
    /// One line.
    pub summary: Template,
    /// What it means.
    pub description: Template,
    /// What to do.
    pub runbook: Template,
}

/// What fires a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A failing finding of any of these checks.
    Findings {
        /// Ids of checks.
        checks: BTreeSet<String>,
        /// Findings below it do not count.
        min_severity: Severity,
    },
    /// A node that stopped reporting without a goodbye.
    Silent,
    /// Version knowledge itself, whatever the nodes.
    Knowledge(KnowledgeState),
}

/// What can be wrong with version knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnowledgeState {
    /// An imported feed, or the built-in data where nothing was imported, is older than [`holdfast_checks::versions::STALE_DAYS`].
    Stale,
    /// A file was refused, and nothing was accepted in its place.
    Refused,
}

/// A list of the patch chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shows {
    /// The component, `any` for every one.
    pub component: String,
    /// Headlines; empty for every one.
    #[serde(default)]
    pub headlines: Vec<Headline>,
    /// Only where something that is installed waits.
    #[serde(default)]
    pub waiting: bool,
}

/// A label that can split a rule's alert into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupLabel {
    /// The cluster's name.
    Cluster,
    /// The node's name: an alert per node.
    Node,
    /// The check's id.
    Check,
    /// The namespace of the pod that a finding is about; left out for what is in no pod.
    Namespace,
    /// The node's system, `debian 12`; left out where it is not known.
    Image,
    /// The release of the node's running kernel; left out where it is not known.
    Kernel,
}

impl GroupLabel {
    /// The label's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Check => "check",
            Self::Namespace => "namespace",
            Self::Image => "image",
            Self::Kernel => "kernel",
        }
    }
}

/// Why rules were refused. Nothing of a bad file is used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The file is not YAML of the expected shape; the source gives line and column.
    #[error("{file} is not a list of alert rules")]
    Malformed {
        /// The file.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// One rule is wrong.
    #[error("{file}:{line}: alert rule `{rule}`: {field}: {problem}")]
    Rule {
        /// The file.
        file: String,
        /// The line its `id` stands on.
        line: u64,
        /// Its id as written.
        rule: String,
        /// The field at fault.
        field: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Spanned<String>,
    title: String,
    severity: Severity,
    when: WrittenCondition,
    #[serde(default)]
    group_by: Vec<GroupLabel>,
    shows: Option<Shows>,
    #[serde(default, rename = "for")]
    hold_seconds: i64,
    summary: String,
    description: String,
    runbook: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenCondition {
    Findings(WrittenFindings),
    Node(WrittenNode),
    Knowledge(WrittenKnowledge),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFindings {
    checks: Vec<String>,
    #[serde(default = "least_severity")]
    min_severity: Severity,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNode {
    #[expect(dead_code, reason = "there is one state that can alert; reading it refuses every other")]
    state: AlertingState,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKnowledge {
    state: KnowledgeState,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AlertingState {
    Silent,
}

fn least_severity() -> Severity {
    Severity::Info
}

impl Rules {
    /// The rules this build ships.
    ///
    /// # Errors
    /// Only when a build shipped bad rules, which a test of this crate prevents.
    pub fn built_in() -> Result<Self, RuleError> {
        Self::parse(BUILT_IN.0, BUILT_IN.1)
    }

    /// Reads the text of a rules file called `file`.
    ///
    /// # Errors
    /// The first problem, with file, line and what to write instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, RuleError> {
        let malformed = |source| RuleError::Malformed { file: file.to_owned(), source: Box::new(source) };
        let written: Vec<Written> = serde_saphyr::from_str(text).map_err(malformed)?;
        let mut rules: Vec<Rule> = Vec::new();
        for written in written {
            let (id, line) = (written.id.value.clone(), written.id.referenced.line());
            let refuse = |(field, problem): (&'static str, String)| RuleError::Rule {
                file: file.to_owned(),
                line,
                rule: id.escape_debug().to_string(),
                field,
                problem,
            };
            if rules.iter().any(|rule| rule.id == id) {
                return Err(refuse(("id", "another rule has this id: give one of them another".to_owned())));
            }
            if rules.len() == MAX_RULES {
                return Err(refuse(("id", format!("the file has more than {MAX_RULES} rules: merge some"))));
            }
            rules.push(accept(written).map_err(refuse)?);
        }
        Ok(Self(rules))
    }

    /// The rules, in file order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// Every check that some rule asks about.
    pub fn checks(&self) -> BTreeSet<&str> {
        let asked = self.0.iter().filter_map(|rule| match &rule.when {
            Condition::Findings { checks, .. } => Some(checks),
            Condition::Silent | Condition::Knowledge(_) => None,
        });
        asked.flatten().map(String::as_str).collect()
    }
}

fn accept(written: Written) -> Result<Rule, (&'static str, String)> {
    let id = written.id.value;
    if CheckId::try_new(&id).is_none() {
        return Err(("id", "use lower-case words joined by single hyphens".to_owned()));
    }
    for (field, text) in [("title", &written.title), ("summary", &written.summary), ("runbook", &written.runbook)] {
        if text.trim().is_empty() {
            return Err((field, "it is empty".to_owned()));
        }
    }
    if !(0..=MAX_HOLD_SECONDS).contains(&written.hold_seconds) {
        return Err(("for", format!("{} is not between 0 and {MAX_HOLD_SECONDS} seconds", written.hold_seconds)));
    }
    let when = match written.when {
        WrittenCondition::Node(_) => Condition::Silent,
        WrittenCondition::Knowledge(WrittenKnowledge { state }) => Condition::Knowledge(state),
        WrittenCondition::Findings(WrittenFindings { checks, min_severity }) => {
            if checks.is_empty() {
                return Err(("when.findings.checks", "name at least one check".to_owned()));
            }
            if let Some(bad) = checks.iter().find(|check| CheckId::try_new(check).is_none()) {
                return Err(("when.findings.checks", format!("`{}` is not a check id", bad.escape_debug())));
            }
            Condition::Findings { checks: checks.into_iter().collect(), min_severity }
        }
    };
    let group_by: BTreeSet<GroupLabel> = written.group_by.into_iter().collect();
    let of_findings = [GroupLabel::Check, GroupLabel::Namespace].into_iter().find(|label| group_by.contains(label));
    if let Some(label) = of_findings.filter(|_| when == Condition::Silent) {
        return Err(("group_by", format!("a node's state has no {} to group by", label.name())));
    }
    if let (Condition::Knowledge(_), Some(label)) = (&when, group_by.first()) {
        return Err(("group_by", format!("version knowledge is no node's: it has no {} to group by", label.name())));
    }
    let leads_nowhere = group_by.contains(&GroupLabel::Image) || group_by.contains(&GroupLabel::Kernel);
    if leads_nowhere && written.shows.is_none() {
        return Err((
            "shows",
            "findings have no list by image or kernel: name the component of the patch chain to show, or `any`".to_owned(),
        ));
    }
    let template = |field: &'static str, text: &str| Template::parse(text).map_err(|problem| (field, problem));
    Ok(Rule {
        id,
        title: written.title,
        severity: written.severity,
        when,
        group_by,
        shows: written.shows,
        hold_ms: written.hold_seconds.saturating_mul(1000),
        summary: template("summary", &written.summary)?,
        description: template("description", &written.description)?,
        runbook: template("runbook", &written.runbook)?,
    })
}
