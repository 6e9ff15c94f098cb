//! The report for people: what fails first, worst first; then what is not known; the rest as numbers.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};
use holdfast_checks::entries::{Finding, Severity, Verdict};

use super::report::{Origin, Report};
use crate::inert;

/// Longest cell: evidence can be a whole list.
const CELL_CAP: usize = 120;
/// Subjects of one check in one list.
const MAX_SUBJECTS: usize = 10;
/// Before a subject, and before it in a list of subjects.
const INDENT: &str = "    ";
/// A terminal narrower than this gets what wraps by itself.
const MIN_WIDTH: u16 = 40;

/// The whole report as text; fitted to the width of stdout when that is a `terminal`.
pub(super) fn render(report: &Report, terminal: bool) -> String {
    let width = if terminal { Table::new().width() } else { None };
    let node = report.node();
    let mut parts =
        vec![inert::line(&format!("Node {}: role {}, profile {} ({})", node.name, node.role, node.profile, node.profile_because))];
    if let Origin::Capture { manifest, ignored } = report.origin() {
        let (at, by) = (manifest.captured_at, &manifest.agent_version);
        let unknown = match ignored.as_slice() {
            [] => String::new(),
            names => format!(". In it, and unknown to this version: {}", names.join(", ")),
        };
        let text = format!("Read {at:.0} by holdfast-agent {by}, judged now from its capture, by today's dates{unknown}");
        parts.push(inert::line(&text));
    }
    for severity in Severity::ALL {
        let failed = of(report, Verdict::Fail, severity);
        if !failed.is_empty() {
            let expected = failed.iter().filter(|finding| report.expected(finding).is_some()).count();
            let heading = format!("Failed, {}: {}{}", severity.name(), failed.len(), of_which_expected(expected));
            parts.push(format!("{heading}\n{}", checks(report, &failed, false, width)));
        }
    }
    for (verdict, heading) in [(Verdict::Unknown, "Not known"), (Verdict::Manual, "To be answered by a person")] {
        let found: Vec<&Finding> = Severity::ALL.into_iter().flat_map(|severity| of(report, verdict, severity)).collect();
        if !found.is_empty() {
            parts.push(format!("{heading}: {}\n{}", found.len(), checks(report, &found, true, width)));
        }
    }
    parts.push(summary(report));
    parts.join("\n\n")
}

fn of(report: &Report, verdict: Verdict, severity: Severity) -> Vec<&Finding> {
    report.findings().iter().filter(|finding| finding.verdict == verdict && finding.severity == severity).collect()
}

fn of_which_expected(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", of which {count} as expected") }
}

/// A line per check, and one below it for each of its subjects, what is expected last; after some of them the rest is a number.
fn checks(report: &Report, findings: &[&Finding], severity: bool, width: Option<u16>) -> String {
    let mut lines = Vec::new();
    for group in findings.chunk_by(|one, next| one.check == next.check) {
        let severity = group.first().filter(|_| severity).map(|first| format!(", {}", first.severity.name())).unwrap_or_default();
        lines.extend(group.first().map(|first| format!("  {}{severity}: {}", cell(&first.check), cell(&first.title))));
        let (expected, others): (Vec<&Finding>, Vec<&Finding>) = group.iter().partition(|finding| report.expected(finding).is_some());
        let rows = subjects(report, others.into_iter().chain(expected).take(MAX_SUBJECTS), width);
        lines.extend(rows.lines().map(|row| format!("{INDENT}{}", row.trim_end())));
        if let Some(more) = group.len().checked_sub(MAX_SUBJECTS).filter(|more| *more > 0) {
            lines.push(format!("{INDENT}… and {more} more"));
        }
    }
    lines.join("\n")
}

/// Subjects and what decided them, in two columns; wrapped where a terminal has a width.
fn subjects<'a>(report: &Report, findings: impl Iterator<Item = &'a Finding>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if let Some(width) = width {
        let room = width.saturating_sub(u16::try_from(INDENT.len()).unwrap_or(0));
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(room.max(MIN_WIDTH));
    }
    for finding in findings {
        let because = if finding.reason.is_empty() { finding.deciding() } else { finding.reason.clone() };
        let because = match report.expected(finding) {
            Some(waiver) => format!("expected of {}: {because}", waiver.id),
            None => because,
        };
        table.add_row([cell(&finding.subject), cell(&because)]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn cell(text: &str) -> String {
    let text = inert::line(text);
    match text.char_indices().nth(CELL_CAP) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn summary(report: &Report) -> String {
    let count = |verdict| report.findings().iter().filter(|finding| finding.verdict == verdict).count();
    let expected = report.findings().iter().filter(|finding| report.expected(finding).is_some()).count();
    let marked = |verdict| if verdict == Verdict::Fail && expected > 0 { format!(" ({expected} as expected)") } else { String::new() };
    let counts = Verdict::ALL.map(|verdict| format!("{} {}{}", count(verdict), verdict.name().replace('_', " "), marked(verdict)));
    let coverage = report.coverage();
    let share = (coverage.decided * 100).checked_div(coverage.applicable).map(|percent| format!(" ({percent} %)")).unwrap_or_default();
    let mut text = format!("{}. Decided: {} of {} that apply{share}.\n", counts.join(", "), coverage.decided, coverage.applicable);
    // Groups that share a reason share a line.
    let mut unread: BTreeMap<(usize, String), Vec<&str>> = BTreeMap::new();
    for (index, (group, why)) in report.unread().iter().enumerate() {
        let why = format!("{}: {}", why.reason.name(), why.detail);
        let first = unread.keys().find(|(_, known)| *known == why).map_or(index, |(first, _)| *first);
        unread.entry((first, why)).or_default().push(group.name());
    }
    for ((_, why), groups) in unread {
        text.push_str(&inert::line(&format!("Not read: {}: {why}", groups.join(", "))));
        text.push('\n');
    }
    if expected > 0 {
        text.push_str("Expected is what system workloads are built to need: `holdfast-agent expectations` lists it and says why.\n");
    }
    text.push_str("`-o json` lists everything, with the evidence.\n");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_checks::entries::Evidence;

    use super::*;
    use crate::scan::tests::{finding, report};

    #[test]
    fn a_check_is_named_once_and_long_lists_are_counted() {
        let evidence =
            |value: &str| Evidence { path: "a.uid".to_owned(), value: Some(value.into()), source: "kernel /proc".to_owned(), at: 1 };
        let mut findings = Vec::new();
        for number in 0..12 {
            let mut failed = finding(Verdict::Fail, Severity::High);
            failed.check = "root-process".to_owned();
            failed.title = "Only services run as root".to_owned();
            failed.subject = format!("pod:ns/p{number:02}/<script>\u{1b}[2J");
            failed.evidence.push(evidence(&"0".repeat(number * 20)));
            findings.push(failed);
        }
        let mut unknown = finding(Verdict::Unknown, Severity::Low);
        unknown.check = "kernel-lockdown".to_owned();
        unknown.title = "Root cannot change the kernel".to_owned();
        unknown.subject = "node".to_owned();
        unknown.reason = "not_present: /sys: not there".to_owned();
        findings.push(unknown);
        findings.push(finding(Verdict::Pass, Severity::Low));
        insta::assert_snapshot!(render(&report(findings, BTreeSet::new()), false));
    }

    #[test]
    fn what_is_expected_is_marked_counted_apart_and_comes_last() {
        let failed = |subject: &str| {
            let mut failed = finding(Verdict::Fail, Severity::High);
            (failed.check, failed.title, failed.subject) = ("pod-privileged".into(), "None is privileged".into(), subject.into());
            failed
        };
        let subjects = ["pod:kube-system/kube-proxy-a/kube-proxy", "pod:kube-system/kube-proxy-b/shell", "pod:shop/web/c"];
        insta::assert_snapshot!(render(&report(subjects.map(failed).into(), BTreeSet::new()), false));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut failed = finding(Verdict::Fail, Severity::High);
        failed.subject = format!("pod:ns/{}", "p".repeat(40));
        failed.reason = "word ".repeat(20);
        let report = report(Vec::new(), BTreeSet::new());
        let text = checks(&report, &[&failed], false, Some(60));
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert_eq!(checks(&report, &[&failed], false, None).lines().count(), 2, "a pipe gets a line per finding");
    }
}
