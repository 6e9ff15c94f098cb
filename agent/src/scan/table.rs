//! The report for people: what fails first, worst first; then what is not known; the rest as numbers.

use comfy_table::{ContentArrangement, Table, presets};
use holdfast_checks::entries::{Finding, Severity, Verdict};

use super::inert;
use super::report::Report;

/// Longest cell: evidence can be a whole list.
const CELL_CAP: usize = 160;

/// The whole report as text.
pub(super) fn render(report: &Report) -> String {
    let node = report.node();
    let mut parts = vec![inert::line(&format!("Node {}: {}, {} ({})", node.name, node.role, node.profile, node.profile_because))];
    for severity in Severity::ALL {
        let failed = of(report, Verdict::Fail, severity);
        if !failed.is_empty() {
            parts.push(format!("Failed, {}: {}\n{}", severity.name(), failed.len(), rows(&failed)));
        }
    }
    for (verdict, heading) in [(Verdict::Unknown, "Not known"), (Verdict::Manual, "To be answered by a person")] {
        let found: Vec<&Finding> = Severity::ALL.into_iter().flat_map(|severity| of(report, verdict, severity)).collect();
        if !found.is_empty() {
            parts.push(format!("{heading}: {}\n{}", found.len(), rows(&found)));
        }
    }
    parts.push(summary(report));
    parts.join("\n\n")
}

fn of(report: &Report, verdict: Verdict, severity: Severity) -> Vec<&Finding> {
    report.findings().iter().filter(|finding| finding.verdict == verdict && finding.severity == severity).collect()
}

fn rows(findings: &[&Finding]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["severity", "subject", "check", "because"]);
    for finding in findings {
        let because = if finding.reason.is_empty() { finding.deciding() } else { finding.reason.clone() };
        table.add_row([
            finding.severity.name().to_owned(),
            cell(&finding.subject),
            format!("{}\n{}", cell(&finding.title), cell(&finding.check)),
            cell(&because),
        ]);
    }
    table
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
