//! The numbers that stand for verdicts and severities in the store, and back: those of `holdfast.v1`.

use holdfast_checks::entries::{Severity, Verdict};

/// The number of a verdict.
pub fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Pass => 1,
        Verdict::Fail => 2,
        Verdict::NotApplicable => 3,
        Verdict::Unknown => 4,
        Verdict::Manual => 5,
    }
}

/// The verdict of a number; `None` for 0, which stands for no finding, and for what this version does not know.
pub fn verdict_from(number: i64) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|verdict| verdict_number(*verdict) == number)
}

/// The number of a severity: larger is worse.
pub fn severity_number(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

/// The severity of a number.
pub fn severity_from(number: i64) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity_number(*severity) == number)
}

/// The severity of a number, for a reader: what this version does not know counts as informational.
pub fn severity_of(number: i64) -> Severity {
    severity_from(number).unwrap_or(Severity::Info)
}
