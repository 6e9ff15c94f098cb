//! The words, classes and icons of the product. Only these, in this case, everywhere; `/help/words` lists them.

use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::versions::{ActivationState, Confidence, Exposure, Headline, SupportState, VulnerabilityState};

use super::marks::Plain;
use crate::policy::Standing;
use crate::store::views::{At, NodeState, PrivilegeKind, Root};

/// `(class, icon, word)` of a verdict.
pub(crate) fn verdict(of: Verdict) -> (&'static str, &'static str, &'static str) {
    match of {
        Verdict::Pass => ("pass", "✓", "Pass"),
        Verdict::Fail => ("fail", "✗", "Fail"),
        Verdict::Unknown => ("unknown", "?", "Unknown"),
        Verdict::Manual => ("manual", "☰", "Manual"),
        Verdict::NotApplicable => ("na", "–", "Not applicable"),
    }
}

/// `(class, icon, word)` of a severity.
pub(crate) fn severity(of: Severity) -> (&'static str, &'static str, &'static str) {
    match of {
        Severity::Critical => ("critical", "⬣", "Critical"),
        Severity::High => ("high", "▲", "High"),
        Severity::Medium => ("medium", "◆", "Medium"),
        Severity::Low => ("low", "▽", "Low"),
        Severity::Info => ("info", "○", "Info"),
    }
}

/// `(class, icon, word)` of a node's state.
pub(crate) fn state(of: NodeState) -> (&'static str, &'static str, &'static str) {
    match of {
        NodeState::Reporting => ("reporting", "●", "Reporting"),
        NodeState::Recorded => ("recorded", "◉", "Recorded"),
        NodeState::Silent => ("silent", "◌", "Silent"),
        NodeState::Stopped => ("stopped", "⊘", "Stopped"),
        NodeState::Unwatched => ("unwatched", "○", "No agent"),
        NodeState::Gone => ("gone", "✕", "Removed"),
    }
}

/// `(class, icon, word)` of how much root something is. Coloured only where it is the host's, or not known.
pub(crate) fn root(of: impl Plain<Root>) -> (&'static str, &'static str, &'static str) {
    match of.plain() {
        Root::Host => ("s s-high", "▲", "Host root"),
        Root::Unknown => ("v v-unknown", "?", "Unknown"),
        Root::UserNamespace => ("s", "◇", "Root in a user namespace"),
        Root::None => ("s", "–", "Not root"),
    }
}

/// `(class, icon, word)` of something a container may do.
pub(crate) fn privilege(of: PrivilegeKind) -> (&'static str, &'static str, &'static str) {
    match of {
        PrivilegeKind::Privileged => ("s s-high", "▲", "Privileged"),
        PrivilegeKind::HostMounts => ("s s-high", "▲", "Host mount namespace"),
        PrivilegeKind::HostPid => ("s s-high", "▲", "Host PID"),
        PrivilegeKind::HostNetwork => ("s s-medium", "◆", "Host network"),
        PrivilegeKind::HostIpc => ("s s-medium", "◆", "Host IPC"),
        PrivilegeKind::Capabilities => ("s s-medium", "◆", "Capabilities beyond the default"),
        PrivilegeKind::SeccompOff => ("s s-medium", "◆", "Seccomp off"),
        PrivilegeKind::MayGainPrivileges => ("s s-low", "▽", "May gain privileges"),
        PrivilegeKind::WritableRoot => ("s s-low", "▽", "Writable root"),
    }
}

/// `(class, icon, word)` of where a link of the patch chain stands. Coloured only where something is to be done, or not known.
pub(crate) fn headline(of: impl Plain<Headline>) -> (&'static str, &'static str, &'static str) {
    match of.plain() {
        Headline::KnownExploited => ("s s-critical", "⬣", "Known exploited"),
        Headline::EndOfLife => ("s s-high", "▲", "End of life"),
        Headline::RebootPending => ("s s-medium", "◆", "Reboot pending"),
        Headline::PatchBehind => ("s s-low", "▽", "Patch behind"),
        Headline::Unknown => ("v v-unknown", "?", "Unknown"),
        Headline::Supported => ("s", "✓", "Supported"),
    }
}

/// What a link waits for, by its name in the store.
pub(crate) fn activation(name: &str) -> &str {
    match name {
        "active" => "runs what is installed",
        "reboot_pending" => "reboot pending",
        "restart_pending" => "restart pending",
        "newer_not_selected" => "newer one installed, not selected",
        "" => "not known",
        other => other,
    }
}

/// What a link waits for.
pub(crate) fn waits(of: ActivationState) -> &'static str {
    match of {
        ActivationState::Active => "Runs what is installed",
        ActivationState::RebootPending => "Waits for a reboot",
        ActivationState::RestartPending => "Waits for a restart",
        ActivationState::NewerNotSelected => "A newer one is installed and the boot loader would start another",
    }
}

/// Where a link stands in its life.
pub(crate) fn support(of: SupportState) -> &'static str {
    match of {
        SupportState::Supported => "Supported",
        SupportState::EolSoon => "Ends soon",
        SupportState::ExtendedFree => "Extended support, free",
        SupportState::ExtendedPaid => "Extended support, paid",
        SupportState::Eol => "End of life",
    }
}

/// The worst that is known of vulnerabilities.
pub(crate) fn vulnerability(of: VulnerabilityState) -> &'static str {
    match of {
        VulnerabilityState::KnownExploited => "Known exploited",
        VulnerabilityState::PublicExploit => "A published exploit affects it",
        VulnerabilityState::Vulnerable => "Known vulnerabilities affect it",
        VulnerabilityState::Livepatched => "A livepatch is active; what it covers is not known",
        VulnerabilityState::Undecided => "None is certain, and not all could be decided",
        VulnerabilityState::NoneKnown => "None of the known ones affects it",
    }
}

/// How certain a match is.
pub(crate) fn confidence(of: impl Plain<Confidence>) -> &'static str {
    match of.plain() {
        Confidence::Confirmed => "confirmed",
        Confidence::Likely => "likely",
        Confidence::Possible => "possible, not confirmed",
    }
}

/// Is what a vulnerability needs there.
pub(crate) fn exposure(of: impl Plain<Exposure>) -> &'static str {
    match of.plain() {
        Exposure::Exposed => "Exposed",
        Exposure::PreconditionMissing => "What it needs is missing",
        Exposure::Unknown => "Not known",
    }
}

/// A component, as people call it.
pub(crate) fn component(name: &str) -> &str {
    match name {
        "os" => "System",
        "kernel" => "Kernel",
        "cri-o" => "CRI-O",
        "docker" => "Docker",
        other => other,
    }
}

/// A number of seconds, `900 s`; nothing for none.
pub(crate) fn seconds(of: impl Plain<Option<u32>>) -> String {
    of.plain().map(|seconds| format!("{seconds} s")).unwrap_or_default()
}

/// How a node stands to its policy, after the policy's name.
pub(crate) fn standing(of: impl Plain<Standing>) -> &'static str {
    match of.plain() {
        Standing::None => "none",
        Standing::Applied => "applied",
        Standing::Refused => "refused",
        Standing::Pending => "not answered yet",
        Standing::Unsupported => "not supported by its agent",
    }
}

/// The class of a reason, in words.
pub(crate) fn reason(class: &str) -> &str {
    match class {
        "not_present" => "not present",
        "permission_denied" => "permission denied",
        "not_supported" => "not supported here",
        "malformed" => "malformed",
        "timed_out" => "timed out",
        "too_large" => "too large",
        "incomplete" => "list incomplete",
        "check_error" => "check error",
        "no_subject" => "nothing to judge",
        "disabled" => "disabled",
        "" => "no reason given",
        other => other,
    }
}

/// A reason that begins with its class, with the class in words: `permission denied: open /x`.
pub(crate) fn reasoned(text: &str) -> String {
    match text.split_once(": ") {
        Some((class, detail)) => format!("{}: {detail}", reason(class)),
        None => reason(text).to_owned(),
    }
}

/// What would settle an unknown of this class.
pub(crate) fn settles(class: &str) -> &'static str {
    match class {
        "permission_denied" => "Give the agent the privilege it lacks; the finding names the path and the operation.",
        "not_present" => "Nothing was found where the fact should be. If the component runs elsewhere on this node, tell the agent where.",
        "not_supported" => "This host, kernel or version of Holdfast cannot tell. A newer agent or kernel may.",
        "malformed" => "The file or answer does not parse. Correct it on the node; the finding names the place.",
        "timed_out" => "Reading did not finish in time. It is tried again at the next full pass.",
        "too_large" => "It is larger than the agent reads. Make it smaller, or judge it by hand.",
        "incomplete" => "Part of a list could not be read, so the whole is not judged as passing.",
        "check_error" => "The check itself failed. This is a fault in the check: please report it.",
        _ => "The finding says what is missing.",
    }
}

/// A time in full: `20 Nov 2026 08:14:03 UTC`.
pub(crate) fn utc(at: At) -> String {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%-d %b %Y %H:%M:%S UTC").to_string()
}

/// The clock time: `08:14:03 UTC`.
pub(crate) fn clock(at: impl Plain<At>) -> String {
    let time = jiff::Timestamp::from_millisecond(at.plain().0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%H:%M:%S UTC").to_string()
}

/// A framework's name.
pub(crate) fn framework(id: &str) -> &str {
    match id {
        "cis-1.12" => "CIS Kubernetes 1.12",
        "nsa-1.2" => "NSA/CISA hardening 1.2",
        other => other,
    }
}

/// How a session began, by its name in the store.
pub(crate) fn resumed(name: &str) -> &str {
    match name {
        "in_sync" => "both sides held the same, and nothing had to be sent",
        "delta" => "what had changed was sent",
        "full" => "everything was sent",
        other => other,
    }
}

/// Why an agent keeps no file.
pub(crate) fn spool_reason(name: &str) -> &str {
    match name {
        "not_configured" => "it was given no --spool directory",
        "disk_full" => "the disk is full",
        "read_only" => "the file system is read-only",
        "permission_denied" => "permission denied",
        "in_use" => "another agent uses the file",
        "too_large" => "what is to be kept does not fit",
        "io" => "the disk failed",
        "" => "no reason given",
        other => other,
    }
}

/// Who speaks for a node.
pub(crate) fn holder(credential: &str) -> &'static str {
    match credential {
        "pod" => "the agent's pod",
        "enrolment" => "the enrolled machine",
        "token" => "whoever has its token of the tokens file",
        _ => "somebody a later version knows",
    }
}

/// A kind of breach, in words.
pub(crate) fn breach(kind: &str) -> &'static str {
    match kind {
        "duplicate" => "another agent, while the node's own was there",
        "alternation" => "two machines in turns, with the same credentials",
        "foreign_write" => "words that are not this agent's to say",
        _ => "something a later version knows",
    }
}

/// Why an entry is not stored.
pub(crate) fn refused(code: &str) -> &'static str {
    match code {
        "malformed" => "not understood by this collector",
        "too_large" => "longer than allowed",
        "quota" => "the node has too many entries",
        "foreign" => "not this agent's to say: it is about another node, or for the collector to judge",
        _ => "for a reason of a later version",
    }
}

/// How far a clock is off: `2 h 28 min ahead`. Less than a second is the way of a heartbeat.
pub(crate) fn offset(ahead_ms: impl Plain<i64>) -> String {
    let ahead_ms = ahead_ms.plain();
    let off = super::marks::span(ahead_ms.saturating_abs());
    match ahead_ms {
        1_000.. => format!("{off} ahead of the collector's"),
        ..=-1_000 => format!("{off} behind the collector's"),
        _ => "as the collector's, to a second".to_owned(),
    }
}

/// A size as people read memory, to a tenth: `8.6 MiB`.
pub(crate) fn mebibytes(bytes: impl Plain<i64>) -> String {
    let tenths = bytes.plain().max(0) / (1024 * 1024 / 10);
    format!("{}.{} MiB", super::marks::number(tenths / 10), tenths % 10)
}

/// CPU time: `0.4 s`, `12 min`.
pub(crate) fn cpu(millis: impl Plain<i64>) -> String {
    match millis.plain().max(0) {
        short @ 0..10_000 => format!("{}.{} s", short / 1000, short % 1000 / 100),
        long => super::marks::span(long),
    }
}

#[cfg(test)]
mod tests {
    use super::{cpu, mebibytes, offset};

    #[test]
    fn figures_are_read_by_people() {
        assert_eq!(offset(-999), "as the collector's, to a second");
        assert_eq!(offset(61_000), "1 min ahead of the collector's");
        assert_eq!(offset(i64::MIN), "106751991167 d behind the collector's");
        assert_eq!((mebibytes(9_000_000), mebibytes(-1), mebibytes(24 << 20)), ("8.5 MiB".into(), "0.0 MiB".into(), "24.0 MiB".into()));
        assert_eq!((cpu(449), cpu(65_000)), ("0.4 s".to_owned(), "1 min".to_owned()));
    }
}
