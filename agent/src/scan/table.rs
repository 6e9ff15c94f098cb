//! The report for people: what fails first, worst first; then what is not known; the rest as numbers.

use comfy_table::{ContentArrangement, LineStyle, Table, presets};
use holdfast_checks::entries::{Finding, Severity, Verdict};

use super::inert;
use super::report::Report;

/// Longest cell: evidence can be a whole list.
const CELL_CAP: usize = 120;
/// Subjects of one check in one table.
const MAX_SUBJECTS: usize = 10;

/// The whole report as text; fitted to the width of stdout when that is a `terminal`.
pub(super) fn render(report: &Report, terminal: bool) -> String {
    let node = report.node();
    let mut parts = vec![inert::line(&format!("Node {}: {}, {} ({})", node.name, node.role, node.profile, node.profile_because))];
    for severity in Severity::ALL {
        let failed = of(report, Verdict::Fail, severity);
        if !failed.is_empty() {
            parts.push(format!("Failed, {}: {}\n{}", severity.name(), failed.len(), rows(&failed, terminal)));
        }
    }
    for (verdict, heading) in [(Verdict::Unknown, "Not known"), (Verdict::Manual, "To be answered by a person")] {
        let found: Vec<&Finding> = Severity::ALL.into_iter().flat_map(|severity| of(report, verdict, severity)).collect();
        if !found.is_empty() {
            parts.push(format!("{heading}: {}\n{}", found.len(), rows(&found, terminal)));
        }
    }
    parts.push(summary(report));
    parts.join("\n\n")
}

fn of(report: &Report, verdict: Verdict, severity: Severity) -> Vec<&Finding> {
    report.findings().iter().filter(|finding| finding.verdict == verdict && finding.severity == severity).collect()
}

/// One row per finding; a check is named at its first, and after some of its subjects the rest is a number.
fn rows(findings: &[&Finding], terminal: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(["severity", "check", "subject", "because"]);
    if !terminal {
        table.force_no_tty();
    }
    for group in findings.chunk_by(|one, next| one.check == next.check) {
        for (index, finding) in group.iter().take(MAX_SUBJECTS).enumerate() {
            let because = if finding.reason.is_empty() { finding.deciding() } else { finding.reason.clone() };
            let (severity, check) = match (index, group.len()) {
                (0, 1) => (finding.severity.name(), format!("{}\n{}", cell(&finding.check), cell(&finding.title))),
                (0, _) => (finding.severity.name(), cell(&finding.check)),
                (1, _) => ("", cell(&finding.title)),
                (_, _) => ("", String::new()),
            };
            table.add_row([severity.to_owned(), check, cell(&finding.subject), cell(&because)]);
        }
        if let Some(more) = group.len().checked_sub(MAX_SUBJECTS).filter(|more| *more > 0) {
            table.add_row(["", "", &format!("… and {more} more"), ""]);
        }
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
    let counts = Verdict::ALL.map(|verdict| format!("{} {}", count(verdict), verdict.name().replace('_', " ")));
    let coverage = report.coverage();
    let mut text = format!("{}. Decided: {} of {} that apply.\n", counts.join(", "), coverage.decided, coverage.applicable);
    for (group, why) in report.unread() {
        text.push_str(&inert::line(&format!("Not read: {}: {}: {}", group.name(), why.reason.name(), why.detail)));
        text.push('\n');
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
}
