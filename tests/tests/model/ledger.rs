//! Every transition that was ever made, and what may have become of it.

use std::collections::BTreeMap;

use holdfast_agent::spool::Image;
use holdfast_checks::entries::{Body, Changes, Key, Transition, TransitionEnd, Verdict};
use holdfast_proto::v1;

use super::node::{Node, is_malformed};
use super::steps::Setup;
use super::storage::{Content, Told};

#[derive(Debug)]
struct Made {
    key: Key,
    from: TransitionEnd,
    to: TransitionEnd,
    epoch: u64,
    number: Option<u64>,
    /// It was on the wire.
    sent: bool,
    /// A crash may lose it after it was sent: it was there while no file was kept, or the file itself was lost.
    frail: bool,
    /// Its life ended, and no file held it.
    lost: bool,
    /// The collector's store had it, and was brought back from an older copy.
    undone: bool,
}

impl Made {
    fn held(&self, image: &Image) -> bool {
        image.position.epoch == self.epoch && self.number.is_some_and(|number| image.transitions.contains_key(&number))
    }
}

/// The history of one node as it was made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    made: Vec<Made>,
    /// By key and time of judging, which no two transitions share.
    by_time: BTreeMap<(Key, i64), usize>,
    by_number: BTreeMap<(u64, u64), usize>,
    /// The collector's store was brought back from a copy: it hears of truncations with the next change.
    copied: bool,
}

impl Ledger {
    /// The agent takes these in.
    pub(crate) fn made(&mut self, changes: &Changes, epoch: u64, frail: bool) {
        for transition in &changes.transitions {
            let Transition { key, from, to, at, .. } = transition.clone();
            assert_eq!(self.by_time.insert((key.clone(), at), self.made.len()), None, "the model makes one transition of a key at a time");
            let (number, sent, lost, undone) = (None, false, false, false);
            self.made.push(Made { key, from, to, epoch, number, sent, frail, lost, undone });
        }
    }

    /// This transition was given this number, in a save or on the wire.
    fn numbered(&mut self, epoch: u64, number: u64, key: &Key, at: i64) -> &mut Made {
        let index = self.by_time[&(key.clone(), at)];
        let other = self.by_number.insert((epoch, number), index);
        assert!(other.is_none_or(|other| other == index), "number {number} of epoch {epoch:x} was given out twice");
        let made = &mut self.made[index];
        assert!(made.number.is_none_or(|before| before == number), "a transition got a second number");
        made.number = Some(number);
        made
    }

    pub(crate) fn saved(&mut self, epoch: u64, transitions: &[Transition]) {
        for transition in transitions {
            self.numbered(epoch, transition.number, &transition.key, transition.at);
        }
    }

    /// These leave. `image`: the file, when one is kept.
    pub(crate) fn sent(&mut self, epoch: u64, transitions: &[v1::Transition], image: Option<&Image>) {
        for wire in transitions {
            let key = Key::parse(holdfast_checks::entries::Kind::Finding, &wire.key.as_ref().unwrap().key).unwrap();
            let made = self.numbered(epoch, wire.number, &key, wire.at);
            let durable = image.is_none_or(|image| image.position.epoch == epoch && image.transitions.contains_key(&wire.number));
            let before = made.frail && made.sent;
            assert!(durable || before, "transition {} left before it was durable", wire.number);
            made.sent = true;
        }
    }

    /// From now on no file is kept.
    pub(crate) fn no_file(&mut self) {
        self.made.iter_mut().filter(|made| !made.lost).for_each(|made| made.frail = true);
    }

    /// The agent's file is lost with what it held.
    pub(crate) fn file_lost(&mut self, image: &Image) {
        self.made.iter_mut().filter(|made| made.held(image)).for_each(|made| made.frail = true);
    }

    /// The agent's memory is gone; what is left is the file.
    pub(crate) fn crashed(&mut self, image: Option<&Image>) {
        self.made.iter_mut().for_each(|made| made.lost = !image.is_some_and(|image| made.held(image)));
    }

    /// The collector's store went back to `after`.
    pub(crate) fn undone(&mut self, after: &Content) {
        self.copied = true;
        for made in self.made.iter_mut().filter(|made| made.sent) {
            made.undone |= made.number.is_none_or(|number| !after.history.contains_key(&(made.epoch, number)));
        }
    }

    /// Everything is quiet: is what is stored what was made.
    pub(crate) fn check(&self, content: &Content, node: &Node, setup: &Setup, has: impl Fn(u64, u64) -> Option<bool>) {
        let (epoch, truncated) = (node.spool.epoch(), node.spool.truncated());
        for ((epoch, number), told) in &content.history {
            let index = self.by_number.get(&(*epoch, *number));
            let made = &self.made[*index.unwrap_or_else(|| panic!("{number} of epoch {epoch:x} was never made: {told:?}"))];
            assert_eq!((&told.key, told.to), (&made.key, made.to), "what is stored is what was made");
            assert!(told.from == made.from || made.from.is_none(), "{told:?} was made as {made:?}");
        }
        let (mut missing, mut whole) = (0, true);
        let first = self.made.first().map(|made| made.epoch);
        for made in self.made.iter().filter(|made| !is_malformed(&made.key)) {
            let id = made.number.map(|number| (made.epoch, number));
            if id.is_some_and(|id| content.history.contains_key(&id)) {
                continue;
            }
            // An agent that lost its spool finds everything new again.
            let no_news = made.from.is_none()
                && id.is_some_and(|(epoch, number)| has(epoch, number).unwrap_or(Some(epoch) != first))
                && self.made.iter().any(|other| other.epoch != made.epoch);
            whole &= !made.frail && !made.undone && made.epoch == epoch && !no_news;
            if no_news || made.undone || (made.frail && made.lost) {
                continue;
            }
            if setup.ring > 100 {
                assert!(made.lost && !made.sent, "lost, though it was {}: {made:?}", if made.sent { "sent" } else { "kept" });
            } else if !made.lost && made.epoch == epoch {
                missing += 1;
            }
        }
        assert!(missing <= truncated, "{missing} transitions are missing, {truncated} declared");
        assert!(
            content.truncated >= truncated || self.copied,
            "the collector knows of {} of {truncated} lost transitions",
            content.truncated
        );
        assert!(setup.ring < 100 || truncated == 0, "{truncated} were declared lost, and none was");
        whole &= self.made.iter().all(|made| made.epoch == epoch && !made.frail && !made.undone);
        if whole && setup.ring > 100 {
            self.unbroken(content, node);
        }
    }

    /// Of every finding each transition begins where the one before ended, and the last ends where the finding is now.
    fn unbroken(&self, content: &Content, node: &Node) {
        let mut last: BTreeMap<&Key, Option<Verdict>> = BTreeMap::new();
        for Told { key, from, to } in content.history.values() {
            let before = last.insert(key, *to).flatten();
            assert_eq!(before, *from, "the history of {} has a gap: {:#?}", key.as_str(), content.history);
        }
        for key in self.made.iter().map(|made| &made.key).filter(|key| !is_malformed(key)) {
            let now =
                node.truth.get(key).and_then(|entry| if let Body::Finding(finding) = &entry.body { Some(finding.verdict) } else { None });
            assert_eq!(last.get(key).copied().flatten(), now, "the history of {} ends elsewhere", key.as_str());
        }
    }
}
