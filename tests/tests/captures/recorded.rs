//! The captures on disk, and what a node was in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_checks::entries::{Entry, Evidence, Finding, Severity, Verdict};
use holdfast_collector::ingest::convert::{self, Incoming};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;

use crate::collector::START;
use crate::frames::{self, Frame};

/// The version before, and today's.
pub(crate) const PREVIOUS: &str = "v1-0.1.0-5";
pub(crate) const TODAY: &str = "v1-0.1.0-6";

/// The conversations of every version, in the order in which they were held.
pub(crate) const CONVERSATIONS: [&str; 4] = ["first", "in-sync", "delta", "wait"];

pub(crate) fn path(version: &str, conversation: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../proto/golden/captures/{version}/{conversation}.bin"))
}

pub(crate) fn capture(version: &str, conversation: &str) -> Vec<Frame> {
    let path = path(version, conversation);
    frames::read(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// What an agent said in a conversation.
pub(crate) fn said(frames: &[Frame]) -> Vec<Say> {
    frames.iter().filter_map(|frame| frame.agent::<v1::AgentMessage>()?.message).collect()
}

/// The node in the first conversation of the version before: as it was, as it became, and an entry that no collector stores.
pub(crate) fn node() -> (Vec<Entry>, Vec<Entry>, Entry) {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    let entry = |wire: v1::Entry| match convert::entry(wire) {
        Ok(Incoming::Known(entry)) => Some((entry.key.clone(), entry)),
        Ok(Incoming::Opaque(_)) | Err(_) => None,
    };
    for message in said(&capture(PREVIOUS, "first")) {
        match message {
            Say::Snapshot(part) => {
                before.extend(part.entries.into_iter().filter_map(entry));
                after.clone_from(&before);
            }
            Say::Delta(delta) => {
                delta.gone.iter().for_each(|key| drop(after.remove(&convert::key(key).unwrap())));
                after.extend(delta.upserts.into_iter().filter_map(entry));
            }
            _ => {}
        }
    }
    let evidence = Evidence { path: "processes.uid".into(), value: Some(0.into()), source: "/proc/4711/status".into(), at: START - 1_000 };
    let refused = Finding {
        check: "process-runs-as-root".into(),
        subject: "process:a\0b".into(),
        verdict: Verdict::Fail,
        reason: String::new(),
        severity: Severity::Medium,
        title: "A process that hides behind a NUL".into(),
        evidence: vec![evidence],
        evidence_truncated: false,
    };
    (before.into_values().collect(), after.into_values().collect(), Entry::finding(refused, START - 1_000))
}
