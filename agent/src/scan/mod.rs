//! `holdfast-agent scan`: judges this node once, without a collector.
//!
//! Reads the node, or a capture of one, derives, judges, prints. Must not know how facts are read or how a check comes to its verdict.

mod expectations;
mod report;
mod table;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use holdfast_checks::catalogue::Catalogue;
use holdfast_checks::derive::{dates, derive};
use holdfast_checks::entries::{Finding, Severity, Verdict};
use holdfast_checks::evaluator::{Evaluator, Selection, TreeError};
use holdfast_checks::facts::{Group, NodeFacts};
use holdfast_checks::versions::knowledge::Knowledge;
use holdfast_checks::versions::{KnowledgeError, judge};
use holdfast_checks::waivers::{self, WaiverError};

use crate::capture::{self, Capture, ReadError};
use crate::catalogue::{self, LoadError};
use crate::causes::causes;
use crate::cli::{ExpectationsArgs, FAILURE, Output, ScanArgs, TROUBLED, USAGE};
use crate::host::HostError;
use crate::own::Own;
use crate::sensors::Sensors;
use crate::{inert, privileges, progress};
pub use report::{Origin, Report};

/// Exit code: a check of at least `--fail-on` fails.
const FAILED: u8 = 1;

/// Why a scan came to no report.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The catalogue was refused.
    #[error("the catalogue was refused")]
    Catalogue(#[from] LoadError),
    /// No check answers the framework.
    #[error("no check answers the framework `{asked}`: use one of {known}")]
    Framework {
        /// As asked for.
        asked: String,
        /// Those that checks answer.
        known: String,
    },
    /// A build that ships bad version knowledge, which a test prevents.
    #[error("the built-in version knowledge was refused")]
    Knowledge(#[from] KnowledgeError),
    /// A build that ships bad expectations, which a test prevents.
    #[error("the built-in expectations were refused")]
    Expectations(#[from] WaiverError),
    /// The host could not be opened.
    #[error("the host cannot be read")]
    Host(#[from] HostError),
    /// The capture was refused.
    #[error("{} cannot be judged", path.display())]
    Capture {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A bug in a sensor.
    #[error("the facts could not be judged")]
    Facts(#[from] TreeError),
    /// Nothing could be printed.
    #[error("the report could not be printed")]
    Print(#[from] std::io::Error),
    /// A bug in the report.
    #[error("the report could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl ScanError {
    fn code(&self) -> u8 {
        match self {
            Self::Host(HostError::NoOpenat2 | HostError::Profiles { .. })
            | Self::Facts(_)
            | Self::Print(_)
            | Self::Json(_)
            | Self::Knowledge(_)
            | Self::Expectations(_) => FAILURE,
            Self::Catalogue(_) | Self::Framework { .. } | Self::Capture { .. } | Self::Host(_) => USAGE,
        }
    }
}

/// Scans and prints; gives the exit code.
pub fn main(args: &ScanArgs) -> u8 {
    let printed = scan(args).and_then(|report| print(args.output, &report).map(|()| report));
    exit(printed.map(|report| code(&report, args.fail_on)))
}

/// Prints what system workloads are expected to fail; gives the exit code.
pub fn expectations(args: &ExpectationsArgs) -> u8 {
    let text = waivers::built_in().map_err(ScanError::from).and_then(|waivers| Ok(expectations::render(&waivers, args.output)?));
    exit(text.and_then(|text| write(&text)).map(|()| 0))
}

fn exit(done: Result<u8, ScanError>) -> u8 {
    match done {
        Ok(code) => code,
        // Whoever closed the pipe has read enough.
        Err(ScanError::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            // Without stderr the exit code is all there is.
            drop(writeln!(std::io::stderr(), "{}", inert::lines(&format!("holdfast-agent: {}", causes(&error)))));
            error.code()
        }
    }
}

/// Reads one host or its capture, and judges it.
///
/// # Errors
/// [`ScanError`]; a fact that could not be read is not one.
pub fn scan(args: &ScanArgs) -> Result<Report, ScanError> {
    let catalogue = catalogue::load(args.host.catalogue.as_deref())?;
    if let Some(framework) = &args.framework {
        known(&catalogue, framework)?;
    }
    let expectations = waivers::built_in()?;
    let evaluator = Evaluator::new(catalogue);
    let started = jiff::Timestamp::now();
    let (mut facts, troubled, origin) = match &args.facts {
        Some(path) => captured(path)?,
        None => read(args)?,
    };
    derive(&mut facts);
    let today = started.to_zoned(jiff::tz::TimeZone::UTC).date();
    judge(&mut facts, &*Knowledge::built_in()?, today);
    dates(&mut facts, today);
    let mut findings = evaluator.evaluate(&facts, &Selection::default())?;
    if let Some(framework) = &args.framework {
        findings.retain(|finding| answers(evaluator.catalogue(), finding, framework));
    }
    Ok(Report::new(&facts, findings, expectations, &evaluator, troubled, started, origin))
}

/// What the sensors gave, the groups whose sensor had trouble, and where it was read.
type Reading = (NodeFacts, BTreeSet<Group>, Origin);

fn read(args: &ScanArgs) -> Result<Reading, ScanError> {
    let mut sensors = Sensors::open(args.host.sensors())?;
    if args.host.is_live() {
        let tested = privileges::self_test_on(&args.host.host_root, &args.host.proc);
        sensors.set_own(Own::default().tested(tested.privileges()));
    }
    let facts = sensors.read_all(&mut progress::reading);
    progress::clear();
    Ok((facts, sensors.troubled(), Origin::Host))
}

fn captured(path: &Path) -> Result<Reading, ScanError> {
    let Capture { manifest, facts, ignored } =
        capture::open(path).map_err(|source| ScanError::Capture { path: path.to_owned(), source })?;
    let troubled = Group::ALL.into_iter().filter(|group| manifest.troubled.iter().any(|name| name == group.name())).collect();
    Ok((facts, troubled, Origin::Capture { manifest, ignored }))
}

fn known(catalogue: &Catalogue, framework: &str) -> Result<(), ScanError> {
    let mut known: Vec<&str> = catalogue.checks().iter().flat_map(|check| check.frameworks.keys().map(String::as_str)).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&framework) {
        return Ok(());
    }
    Err(ScanError::Framework { asked: framework.to_owned(), known: known.join(", ") })
}

fn answers(catalogue: &Catalogue, finding: &Finding, framework: &str) -> bool {
    catalogue.get(&finding.check).is_some_and(|check| check.frameworks.contains_key(framework))
}

fn print(output: Output, report: &Report) -> Result<(), ScanError> {
    write(&match output {
        Output::Table => table::render(report, std::io::stdout().is_terminal()),
        Output::Json => report.json()?,
    })
}

fn write(text: &str) -> Result<(), ScanError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

fn code(report: &Report, fail_on: Option<Severity>) -> u8 {
    let fails = |finding: &&Finding| {
        let counts = finding.verdict == Verdict::Fail && fail_on.is_some_and(|least| finding.severity >= least);
        counts && report.expected(finding).is_none()
    };
    if report.findings().iter().find(fails).is_some() {
        FAILED
    } else if report.troubled().is_empty() {
        0
    } else {
        TROUBLED
    }
}

#[cfg(test)]
mod tests {
    use holdfast_checks::facts::{Node, Reason, Unavailable};

    use super::*;

    /// A finding about nothing.
    pub(super) fn finding(verdict: Verdict, severity: Severity) -> Finding {
        let text = String::new;
        Finding {
            check: text(),
            subject: text(),
            verdict,
            reason: text(),
            severity,
            title: text(),
            evidence: Vec::new(),
            evidence_truncated: false,
        }
    }

    /// A report on a node of which nothing was read.
    pub(super) fn report(findings: Vec<Finding>, troubled: BTreeSet<Group>) -> Report {
        let text = str::to_owned;
        let node = Node {
            name: text("n1"),
            uid: text(""),
            cluster: text(""),
            role: text("worker"),
            provider: text("none"),
            profile: text("plain"),
            profile_because: text("a kubelet runs here"),
            ..Node::unnamed()
        };
        let facts = NodeFacts::unread(node, &Unavailable::new(Reason::TimedOut, "late"));
        let evaluator = Evaluator::new(catalogue::load(None).unwrap());
        Report::new(&facts, findings, waivers::built_in().unwrap(), &evaluator, troubled, jiff::Timestamp::now(), Origin::Host)
    }

    #[test]
    fn a_finding_outweighs_trouble_and_trouble_outweighs_success() {
        let trouble = || BTreeSet::from([Group::Os]);
        let high = |verdict, troubled| report(vec![finding(verdict, Severity::High)], troubled);
        assert_eq!(code(&high(Verdict::Fail, trouble()), Some(Severity::High)), 1);
        assert_eq!(code(&high(Verdict::Fail, trouble()), Some(Severity::Critical)), 4);
        assert_eq!(code(&high(Verdict::Fail, BTreeSet::new()), None), 0);
        assert_eq!(code(&high(Verdict::Unknown, BTreeSet::new()), Some(Severity::Info)), 0);
        assert_eq!(code(&high(Verdict::Pass, trouble()), None), 4);
    }

    #[test]
    fn what_is_expected_does_not_fail_a_scan_and_nothing_else_is_excused() {
        let failed = |check: &str, subject: &str| {
            let failed = Finding { check: check.to_owned(), subject: subject.to_owned(), ..finding(Verdict::Fail, Severity::High) };
            code(&report(vec![failed], BTreeSet::new()), Some(Severity::Low))
        };
        assert_eq!(failed("pod-privileged", "pod:kube-system/kube-proxy-x7k2p/kube-proxy"), 0);
        assert_eq!(failed("container-runtime-socket", "pod:kube-system/kube-proxy-x7k2p/kube-proxy"), 1);
        assert_eq!(failed("pod-privileged", "pod:default/kube-proxy-x7k2p/kube-proxy"), 1);
    }
}
