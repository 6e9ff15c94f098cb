//! A conversation with the collector's session, and the files that an operator gives it.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use holdfast_checks::catalogue::{Catalogue, built_in};
use holdfast_checks::entries::Digest;
use holdfast_checks::policy::{MOST_DISABLED, MOST_POOLS};
use holdfast_checks::waivers::Waiver;
use holdfast_collector::fuzzing;
use holdfast_collector::identity::{bearer, certificate};
use holdfast_collector::ingest::Settings;
use holdfast_collector::ingest::session::{Input, MAX_INFLIGHT, Moment, Output, Session};
use holdfast_collector::store::ingest::{NodeWrite, Written};
use holdfast_collector::store::nodes::{NodeIdentity, Opened, Origin, Resume};
use holdfast_proto::v1;
use holdfast_proto::v1::collector_message::Message as Say;
use prost::Message;

use crate::wire::Steps;

const NODE: i64 = 41;
const FENCE: i64 = 7;

/// What is outside of a session: the store, the clock, the queue for grants.
struct World {
    session: Session,
    now: Moment,
    opening: bool,
    writes: VecDeque<NodeWrite>,
    asked: bool,
    committed: u64,
    said: usize,
    heard: usize,
    closed: bool,
}

/// A story: what an agent says, byte by byte, and what else happens, in any order that the connection can bring about.
pub(crate) fn session(data: &[u8]) {
    let now = Moment { mono_ms: 1_000, wall_ms: 1_800_000_000_000 };
    let identity = NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "n".into(), origin: Origin::Agent };
    let session = Session::new(identity, Settings::default(), now);
    let mut world =
        World { session, now, opening: false, writes: VecDeque::new(), asked: false, committed: 0, said: 0, heard: 0, closed: false };
    let mut steps = Steps::new(data);
    while let Some((step, argument)) = steps.next() {
        world.step(step, argument, &mut steps);
    }
}

impl World {
    fn step(&mut self, step: u8, argument: u8, steps: &mut Steps<'_>) {
        match step % 10 {
            // Most of what happens is that the agent says something.
            0..=3 => {
                // The connection takes nothing in while so much is not stored yet.
                if self.writes.len() > usize::try_from(MAX_INFLIGHT).unwrap_or(usize::MAX) {
                    return;
                }
                let bytes = steps.bytes();
                if let Ok(message) = v1::AgentMessage::decode(bytes) {
                    self.heard += bytes.len();
                    self.input(Input::Message(Box::new(message)));
                }
            }
            4 if self.opening => {
                self.opening = false;
                let resume = [Resume::InSync, Resume::Delta, Resume::Full][usize::from(argument % 3)];
                self.committed = u64::from(argument >> 4);
                let opened = Opened { node_id: NODE, session: FENCE, resume, position: self.committed, digest: Digest::EMPTY };
                self.input(Input::Opened(opened, usize::from(argument)));
            }
            5 => {
                if let Some(write) = self.writes.pop_front() {
                    self.committed = self.committed.max(write.seq);
                    let misnamed = argument.is_multiple_of(2);
                    let written = match argument {
                        0 => Written::Fenced,
                        _ => Written::Committed { refused: write.refused, misnamed, digest: Digest::EMPTY },
                    };
                    self.input(Input::Written(write.seq, written));
                }
            }
            6 if self.asked => {
                self.asked = argument.is_multiple_of(2);
                self.input(if self.asked { Input::Queued } else { Input::Granted });
            }
            7 => {
                let ms = u64::from(argument) * 1_000;
                self.now.mono_ms += ms;
                self.now.wall_ms += i64::from(argument) * 1_000;
                self.input(Input::Tick);
            }
            8 => self.input(Input::Policy(Arc::new(v1::Policy { hash: vec![argument; 16], ..v1::Policy::default() }))),
            9 if argument == 0 => self.input(Input::Drain),
            9 => self.input(Input::Probe(v1::ProbeRequest::default())),
            _ => {}
        }
    }

    fn input(&mut self, input: Input) {
        let out = self.session.handle(input, self.now);
        assert!(out.len() <= 16, "one input leads to {} outputs", out.len());
        for output in out {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        assert!(!self.closed, "after the end follows {output:?}");
        match output {
            Output::Send(message) => {
                self.said += message.encoded_len();
                // A refusal repeats what it refuses; everything else is short.
                assert!(self.said <= 64 * 1024 + 64 * self.heard, "{} bytes were said to {} that were heard", self.said, self.heard);
                if let Some(Say::Ack(ack)) = message.message {
                    assert!(ack.seq <= self.committed, "{} is acknowledged, {} is written", ack.seq, self.committed);
                }
            }
            Output::Open(_) => {
                assert!(!self.opening && self.session.opened().is_none(), "a session is opened once");
                self.opening = true;
            }
            Output::Write(write) => {
                assert_eq!((write.node_id, write.session), (NODE, FENCE), "a write is of its own node and under its own fence");
                assert!(self.writes.back().is_none_or(|last| last.seq < write.seq), "writes go on in order");
                self.writes.push_back(*write);
            }
            Output::AskGrant => self.asked = true,
            Output::Close(_) => {
                self.closed = true;
            }
            _ => {}
        }
    }
}

static CATALOGUE: LazyLock<Option<Catalogue>> = LazyLock::new(|| built_in().ok());

/// Tokens, policy, waivers, a kubeconfig: the same text as each.
pub(crate) fn files(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert!(fuzzing::tokens(&text).is_none_or(|tokens| tokens <= text.len() / 64), "a token has a hash of its own");
    if let Some(catalogue) = &*CATALOGUE
        && let Ok(policies) = fuzzing::policies(&text, catalogue)
    {
        for cluster in policies.clusters() {
            let policy = policies.of(cluster);
            assert!(policy.disabled_checks().len() <= MOST_DISABLED && policy.pools().len() <= MOST_POOLS);
        }
    }
    fuzzing::kubeconfig(&text);
    if let Ok(waivers) = Waiver::load("waivers.yaml", &text) {
        assert!(waivers.iter().all(|waiver| waiver.problem().is_none()));
        for waiver in waivers.iter().take(16) {
            for subject in waiver.subjects.iter().take(16) {
                waiver.covers("some-check", subject);
                waiver.covers("some-check", &text);
            }
        }
    }
}

/// What comes from somebody who is not known yet: a signing request, a client certificate, credentials; and the file that says who may.
pub(crate) fn credentials(data: &[u8]) {
    let (key, listed) = fuzzing::enrolment(data);
    assert!(key.is_none_or(|hash| hash.len() == 64 && data.len() <= 4 * 1024));
    assert!(listed.is_none_or(|machines| machines <= data.len() / 64), "a machine has a hash of its own");
    if let Ok(named) = certificate::named(&data.into()) {
        let uri = certificate::uri(&named.cluster, &named.uid);
        assert_eq!(certificate::fuzz(&uri), Some((named.cluster, named.uid)), "a name is read as it is written: {uri}");
    }
    let name = String::from_utf8_lossy(data);
    if let Some((cluster, uid)) = certificate::fuzz(&name) {
        assert!(!cluster.is_empty() && !uid.is_empty() && certificate::uri(&cluster, &uid) == name, "{name} is not written as it is read");
    }
    if let Ok(token) = bearer(Some(data)) {
        assert!(!token.is_empty() && token.len() <= data.len());
    }
}
