//! This version's own conversations, kept for the next one: what is said today still reads as it was recorded.
//!
//! Where a change is meant, `HOLDFAST_BLESS=1 cargo test -p holdfast-tests --test captures` records it.

use holdfast_checks::entries::Entry;
use holdfast_proto::v1;

use crate::conversation::conversations;
use crate::frames::{self, Frame, Side};
use crate::recorded::{CONVERSATIONS, TODAY, capture, node, path};

/// What is compared: the messages, not their bytes, which the same library may order otherwise one day.
fn messages(frames: &[Frame]) -> Vec<String> {
    let message = |frame: &Frame| match frame.side {
        Side::Agent => format!("> {:?}", frame.agent::<v1::AgentMessage>().unwrap()),
        Side::Collector => format!("< {:?}", frame.collector::<v1::CollectorMessage>().unwrap()),
    };
    frames.iter().map(message).collect()
}

#[test]
fn what_is_said_today_reads_as_it_was_recorded() {
    // A third of the node's keys is enough to have everything in it.
    let third = |entries: Vec<Entry>| entries.into_iter().filter(|entry| entry.key.as_str().len().is_multiple_of(3)).collect::<Vec<_>>();
    let (before, after, refused) = node();
    let said = conversations(&third(before), &third(after), &refused);
    assert_eq!(said.iter().map(|(name, _)| *name).collect::<Vec<_>>(), CONVERSATIONS);
    for (name, frames) in said {
        let path = path(TODAY, name);
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, frames::write(&frames)).unwrap();
        }
        let (recorded, said) = (messages(&capture(TODAY, name)), messages(&frames));
        let differs = recorded.iter().zip(&said).find(|(recorded, said)| recorded != said);
        assert!(
            differs.is_none() && recorded.len() == said.len(),
            "{name} changed; if that is meant, HOLDFAST_BLESS=1 records it: {differs:#?}"
        );
    }
}
