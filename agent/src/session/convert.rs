//! From entries to the wire. Infallible: an entry is within its limits by construction.

use holdfast_checks::entries::{Body, Entry, Evidence, Finding, Key, Severity, Transition, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::refused::Code;

use crate::spool::Refusal;

pub(super) fn key(key: &Key) -> v1::Key {
    v1::Key { kind: i32::from(key.kind().number()), key: key.as_str().to_owned() }
}

pub(super) fn entry(entry: &Entry) -> v1::Entry {
    let body = match &entry.body {
        Body::Finding(body) => v1::entry::Body::Finding(finding(body)),
        Body::Inventory(document) => v1::entry::Body::Inventory(v1::Inventory { json: document.json.clone() }),
    };
    v1::Entry { key: Some(key(&entry.key)), hash: entry.hash.0.to_vec(), body: Some(body), changed_at: entry.changed_at }
}

pub(super) fn transition(transition: &Transition) -> v1::Transition {
    v1::Transition {
        number: transition.number,
        key: Some(key(&transition.key)),
        from: transition.from.map_or(v1::Verdict::Unspecified, verdict).into(),
        to: transition.to.map_or(v1::Verdict::Unspecified, verdict).into(),
        reason: transition.reason.clone(),
        severity: severity(transition.severity).into(),
        because: transition.because.clone(),
        at: transition.at,
    }
}

fn finding(finding: &Finding) -> v1::Finding {
    v1::Finding {
        verdict: verdict(finding.verdict).into(),
        reason: finding.reason.clone(),
        severity: severity(finding.severity).into(),
        title: finding.title.clone(),
        evidence: finding.evidence.iter().map(evidence).collect(),
        evidence_truncated: finding.evidence_truncated,
    }
}

fn evidence(item: &Evidence) -> v1::Evidence {
    let value = item.value.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::Evidence { path: item.path.clone(), value, source: item.source.clone(), at: item.at }
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Pass => v1::Verdict::Pass,
        Verdict::Fail => v1::Verdict::Fail,
        Verdict::NotApplicable => v1::Verdict::NotApplicable,
        Verdict::Unknown => v1::Verdict::Unknown,
        Verdict::Manual => v1::Verdict::Manual,
    }
}

fn severity(severity: Severity) -> v1::Severity {
    match severity {
        Severity::Info => v1::Severity::Info,
        Severity::Low => v1::Severity::Low,
        Severity::Medium => v1::Severity::Medium,
        Severity::High => v1::Severity::High,
        Severity::Critical => v1::Severity::Critical,
    }
}

/// Is `refused` about this entry as it is now. Compared as text: what was refused may be the key itself.
pub(super) fn is_refused(entry: &Entry, refused: &v1::Refused) -> bool {
    refused.hash == entry.hash.0 && refused.key.as_ref().is_some_and(|named| *named == key(&entry.key))
}

/// A code of a later version reads as unspecified.
pub(super) fn refusal(code: Code) -> Refusal {
    match code {
        Code::Malformed => Refusal::Malformed,
        Code::TooLarge => Refusal::TooLarge,
        Code::Quota => Refusal::Quota,
        Code::Foreign => Refusal::Foreign,
        Code::Unspecified => Refusal::Unknown,
    }
}
