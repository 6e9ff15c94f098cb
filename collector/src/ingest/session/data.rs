//! What an agent sends of its state: changes and parts of a snapshot, on their way to the store, and acknowledged once they are there.

use holdfast_checks::entries::{Digest, Entry, Hash, Key, Kind};
use holdfast_proto::v1;
use holdfast_proto::v1::collector_message::Message as Say;

use super::snapshot::{Part, Snapshot};
use super::{Close, Live, Moment, Output, Phase, Session};
use crate::ingest::convert::{self, Incoming};
use crate::store::ingest::{NodeWrite, Opaque, Progress, Refusal, RefusalCode, Written};

impl Session {
    /// Is this sequence number new. One that is already acknowledged is acknowledged again.
    fn fresh(&mut self, seq: u64, now: Moment) -> bool {
        self.heard(None, now);
        let Phase::Live(live) = &mut self.phase else { return false };
        live.busy = true;
        live.mismatches = 0;
        if !live.welcomed {
            self.close(Close::Protocol("data may only follow Welcome".to_owned()));
            return false;
        }
        if seq > convert::MAX_SEQ {
            self.close(Close::Protocol("a sequence number is out of range".to_owned()));
            return false;
        }
        if seq > live.last_seq {
            live.last_seq = seq;
            return true;
        }
        if seq <= live.acked_seq {
            let seq = live.acked_seq;
            self.say(Say::Ack(v1::Ack { seq, refused: Vec::new() }));
        }
        false
    }

    pub(super) fn delta(&mut self, delta: v1::Delta, now: Moment) {
        if !self.fresh(delta.seq, now) {
            return;
        }
        let (entries, foreign) = self.entries(delta.upserts);
        let gone = delta.gone.iter().filter_map(|key| convert::key(key).ok()).collect::<Vec<_>>();
        let said = delta.transitions.len();
        let mut transitions: Vec<_> = delta.transitions.into_iter().filter_map(convert::transition).collect();
        if transitions.len() < said {
            self.out.push(Output::Dropped("malformed_transition", said - transitions.len()));
        }
        let well_formed = transitions.len();
        let foreign = transitions.iter().find(|transition| self.is_judged_here(&transition.key)).map(|one| one.key.clone()).or(foreign);
        transitions.retain(|transition| !self.is_judged_here(&transition.key));
        if transitions.len() < well_formed {
            self.out.push(Output::Dropped("foreign_transition", well_formed - transitions.len()));
        }
        self.foreign(foreign);
        let Phase::Live(live) = &mut self.phase else { return };
        live.snapshot.also(&entries.held(), &gone);
        let progress = if live.snapshot.owed() { Progress::Partial } else { Progress::Delta };
        let write = NodeWrite {
            gone,
            transitions,
            truncated_transitions: delta.truncated_transitions,
            ..live.write(delta.seq, entries, progress, now)
        };
        live.in_flight += 1;
        live.claimed = Digest::from_slice(&delta.digest_after).map(|digest| (delta.seq, digest));
        self.out.push(Output::Write(Box::new(write)));
    }

    pub(super) fn part(&mut self, part: v1::Snapshot, now: Moment) {
        if !self.fresh(part.seq, now) {
            return;
        }
        let (seq, last) = (part.seq, part.last);
        let position = Part { snapshot: part.snapshot, number: part.part, last, digest: Digest::from_slice(&part.digest) };
        let (entries, foreign) = self.entries(part.entries);
        self.foreign(foreign);
        let Phase::Live(live) = &mut self.phase else { return };
        let granted = matches!(live.snapshot, Snapshot::Granted { .. } | Snapshot::Receiving(_));
        let taken = live.snapshot.take(&position, &entries.held(), &entries.refused, now.mono_ms);
        let (progress, broken) = match taken {
            Ok(progress) => (progress, None),
            Err(problem) => (Progress::Partial, Some(problem)),
        };
        let write = live.write(seq, entries, progress, now);
        live.in_flight += 1;
        live.claimed = position.digest.map(|digest| (seq, digest));
        self.out.push(Output::Write(Box::new(write)));
        if granted && (last || broken.is_some()) {
            self.out.push(Output::ReleaseGrant);
        }
        if let Some(problem) = broken {
            // Said as often as another is asked for: an agent may send broken parts without end.
            if now.mono_ms >= live.resync_after_ms {
                tracing::warn!(node = self.identity.name, problem, "snapshot not usable: asking for another");
            }
            self.resync(now);
        }
    }

    /// The entries of a message, and one of them that is not the agent's to say.
    fn entries(&self, wire: Vec<v1::Entry>) -> (Entries, Option<Key>) {
        let mut entries = Entries::of(wire);
        let here = |key: &Key| self.is_judged_here(key);
        let foreign: Vec<(Key, Hash)> = entries.held().into_iter().filter(|(key, _)| here(key)).collect();
        if !foreign.is_empty() {
            entries.known.retain(|entry| !here(&entry.key));
            entries.opaque.retain(|entry| !here(&entry.key));
            entries.refused.extend(foreign.iter().map(|(key, hash)| Refusal {
                kind: i32::from(key.kind().number()),
                key: key.as_str().to_owned(),
                hash: hash.0.to_vec(),
                code: RefusalCode::Foreign,
            }));
        }
        (entries, foreign.into_iter().next().map(|(key, _)| key))
    }

    /// Is this a finding that only the collector makes.
    fn is_judged_here(&self, key: &Key) -> bool {
        key.kind() == Kind::Finding && self.settings.judged_here.contains(key.parts().0)
    }

    fn foreign(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.out.push(Output::Foreign(format!("its agent sent findings of {}, which the collector judges", key.parts().0)));
        }
    }

    pub(super) fn written(&mut self, seq: u64, written: Written, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.in_flight = live.in_flight.saturating_sub(1);
        let Written::Committed { refused, misnamed, digest } = written else { return self.close(Close::Superseded) };
        // Only the store knows, and the agent is not told: it would learn which nodes there are.
        if misnamed {
            self.out.push(Output::Foreign("its agent calls the node as another node of the cluster is called".to_owned()));
        }
        live.stored = digest;
        live.acked_seq = live.acked_seq.max(seq);
        live.heard_ms = live.heard_ms.max(now.mono_ms);
        let done = live.leaving && live.in_flight == 0;
        if live.claimed == Some((seq, digest)) {
            self.out.push(Output::Heard { vitals: None, confirmed: true });
        }
        let ack = v1::Ack { seq: live.acked_seq, refused: refused.into_iter().map(convert::refused).collect() };
        self.say(Say::Ack(ack));
        if done {
            self.close(Close::Bye);
        }
    }
}

/// The entries of one message: those to store, those of which only that they are there, and those to refuse.
#[derive(Debug, Default)]
struct Entries {
    known: Vec<Entry>,
    opaque: Vec<Opaque>,
    refused: Vec<Refusal>,
}

impl Entries {
    fn of(wire: Vec<v1::Entry>) -> Self {
        let mut entries = Self { known: Vec::with_capacity(wire.len()), ..Self::default() };
        for entry in wire {
            match convert::entry(entry) {
                Ok(Incoming::Known(entry)) => entries.known.push(entry),
                Ok(Incoming::Opaque(opaque)) => entries.opaque.push(opaque),
                Err(refusal) => entries.refused.push(refusal),
            }
        }
        entries
    }

    /// What is stored of it, by key and content.
    fn held(&self) -> Vec<(Key, Hash)> {
        let opaque = self.opaque.iter().map(|entry| (entry.key.clone(), entry.hash));
        self.known.iter().map(|entry| (entry.key.clone(), entry.hash)).chain(opaque).collect()
    }
}

impl Live {
    fn write(&self, seq: u64, entries: Entries, progress: Progress, now: Moment) -> NodeWrite {
        let Entries { known, opaque, refused } = entries;
        let empty = NodeWrite::delta(&self.opened, self.greeting.epoch, seq, now.wall_ms);
        NodeWrite { upserts: known, opaque, refused, progress, ..empty }
    }
}
