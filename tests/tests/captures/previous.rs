//! The version before: its agent with today's collector, and its collector with today's agent.

use std::collections::BTreeMap;

use holdfast_agent::session::{Input, Output};
use holdfast_agent::spool::Spool;
use holdfast_checks::entries::{Entry, Hash};
use holdfast_collector::ingest::session as machine;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;

use crate::collector::{Collector, Entries, History};
use crate::conversation::Agent;
use crate::frames::{Frame, Side};
use crate::recorded::{CONVERSATIONS, PREVIOUS, capture, node, said};

/// What the messages of an agent come to, read without any of today's code but the generated.
#[derive(Default)]
struct Meant {
    epoch: String,
    entries: Entries,
    parts: Entries,
    history: History,
    /// The latest number.
    seq: u64,
}

impl Meant {
    fn take(&mut self, message: Say) {
        let key = |key: &v1::Key| (i64::from(key.kind), key.key.clone());
        let row = |entry: &v1::Entry| (key(entry.key.as_ref().unwrap()), Hash::from_slice(&entry.hash).unwrap().to_string());
        match message {
            Say::Hello(hello) => self.epoch = format!("{:016x}", hello.epoch),
            Say::Snapshot(part) => {
                self.seq = part.seq;
                self.parts.extend(part.entries.iter().map(row));
                if part.last {
                    self.entries = std::mem::take(&mut self.parts);
                }
            }
            Say::Delta(delta) => {
                self.seq = delta.seq;
                self.entries.extend(delta.upserts.iter().map(row));
                delta.gone.iter().for_each(|gone| drop(self.entries.remove(&key(gone))));
                for moved in delta.transitions {
                    let key = moved.key.unwrap().key;
                    // Of another epoch than the first it may be no news: looked at apart.
                    self.history.insert((
                        self.epoch.clone(),
                        i64::try_from(moved.number).unwrap(),
                        key,
                        i64::from(moved.from),
                        i64::from(moved.to),
                    ));
                }
            }
            _ => {}
        }
        self.entries.retain(|(_, key), _| !key.contains('\0'));
        self.history.retain(|(_, _, key, ..)| !key.contains('\0'));
    }
}

fn welcomed(frames: &[Frame]) -> v1::Welcome {
    let welcomes = frames.iter().filter_map(|frame| frame.collector::<v1::CollectorMessage>()?.message);
    welcomes.into_iter().find_map(|message| if let Hear::Welcome(welcome) = message { Some(welcome) } else { None }).unwrap()
}

/// Plays what an agent said to today's collector. `change` may do to the bytes what it likes.
pub(crate) fn play(collector: &mut Collector, frames: &[Frame], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Hear> {
    collector.grants = welcomed(frames).resume() != v1::welcome::Resume::Wait;
    collector.accept();
    let mut answers = Vec::new();
    for frame in frames.iter().filter(|frame| frame.side == Side::Agent) {
        if !collector.grants && matches!(frame.agent::<v1::AgentMessage>().unwrap().message, Some(Say::Snapshot(_))) {
            collector.grants = true;
            answers.extend(collector.step(machine::Input::Granted));
        }
        answers.extend(collector.hear(&change(&frame.bytes)));
    }
    answers.into_iter().filter_map(|answer| answer.message).collect()
}

/// Plays every conversation of the agent before to today's collector, and looks at what is stored after each.
pub(crate) fn play_all(change: impl Fn(&[u8]) -> Vec<u8>) {
    let mut collector = Collector::new();
    let mut meant = Meant::default();
    for name in CONVERSATIONS {
        let frames = capture(PREVIOUS, name);
        let answers = play(&mut collector, &frames, &change);
        said(&frames).into_iter().for_each(|message| meant.take(message));
        let Hear::Welcome(welcome) = &answers[0] else { panic!("{name}: {:?}", answers[0]) };
        assert_eq!(
            (welcome.resume(), welcome.seq),
            (welcomed(&frames).resume(), 0),
            "{name}: resumed as before, and numbered by the agent"
        );
        assert_eq!(collector.entries(), meant.entries, "{name}");
        let acks: Vec<&v1::Ack> = answers.iter().filter_map(|answer| if let Hear::Ack(ack) = answer { Some(ack) } else { None }).collect();
        let data = said(&frames).iter().filter(|message| matches!(message, Say::Delta(_) | Say::Snapshot(_))).count();
        assert_eq!(acks.len(), data, "{name}: every message is acknowledged");
        assert!(data == 0 || acks.last().unwrap().seq == meant.seq, "{name}: the last of them is the last one");
        let refused: usize = acks.iter().map(|ack| ack.refused.len()).sum();
        assert_eq!(refused, usize::from(name == "first"), "{name}: what cannot be stored is refused by name");
        let bye = (name == "in-sync").then_some(machine::Close::Bye);
        assert_eq!(collector.closed, bye, "{name}");
        if name != "wait" {
            assert_eq!(collector.history(), meant.history, "{name}");
        }
    }
    // The last conversation is another epoch: what was known is no news, the rest is.
    let known: BTreeMap<String, i64> = meant.history.iter().filter(|row| row.0.ends_with('1')).map(|row| (row.2.clone(), row.4)).collect();
    let news = meant.history.iter().filter(|row| row.0.ends_with('1') || known.get(&row.2) != Some(&row.4));
    let ids =
        |history: Vec<&(String, i64, String, i64, i64)>| history.into_iter().map(|row| (row.0.clone(), row.1, row.4)).collect::<Vec<_>>();
    assert_eq!(ids(collector.history().iter().collect()), ids(news.collect()));
}

#[test]
fn what_the_agent_before_says_is_stored_exactly_and_acknowledged() {
    play_all(<[u8]>::to_vec);
}

#[test]
fn a_finding_of_the_agent_before_is_shown_as_it_was_said() {
    let mut collector = Collector::new();
    let frames = capture(PREVIOUS, "first");
    play(&mut collector, &frames, <[u8]>::to_vec);
    let Some(Say::Delta(delta)) = said(&frames).into_iter().rfind(|message| matches!(message, Say::Delta(_))) else { panic!("no delta") };
    let mut looked_at = 0;
    for entry in delta.upserts {
        let key = entry.key.unwrap().key;
        match entry.body.unwrap() {
            v1::entry::Body::Finding(said) if !key.contains('\0') => {
                let shown = (i64::from(said.verdict), i64::from(said.severity), said.title, said.reason);
                assert_eq!(collector.finding(&key), shown, "{key}");
            }
            v1::entry::Body::Finding(_) => continue,
            v1::entry::Body::Inventory(said) => assert_eq!(collector.document(&key), said.json, "{key}"),
        }
        looked_at += 1;
    }
    assert!(looked_at > 20, "{looked_at}");
}

/// Plays what the collector before said to today's agent, which does meanwhile what that agent did.
pub(crate) fn play_to_agent(change: impl Fn(&[u8]) -> Vec<u8>) {
    use prost::Message;
    let (before, after, refused) = node();
    let with = |entries: &[Entry]| entries.iter().cloned().chain([refused.clone()]).collect::<Vec<_>>();
    let mut agent = Agent::new("0.1.0");
    agent.scan(before.clone());
    for name in CONVERSATIONS {
        match name {
            "delta" => drop(agent.scan(with(&before[..before.len() / 2]))),
            "wait" => {
                agent.spool = Spool::in_memory(0x5eed_0000_0000_0002);
                agent.scan(after[..after.len() / 2].to_vec());
            }
            _ => {}
        }
        for frame in capture(PREVIOUS, name) {
            let Some(meant) = frame.agent::<v1::AgentMessage>() else {
                agent.step(Input::Received(v1::CollectorMessage::decode(change(&frame.bytes).as_slice()).unwrap()));
                continue;
            };
            match meant.message.unwrap() {
                Say::Hello(_) => drop(agent.step(Input::Connected)),
                Say::Heartbeat(_) => {
                    agent.now_ms += 72_000;
                    agent.step(Input::Tick);
                }
                Say::Delta(delta) if delta.seq > agent.spool.seq() => drop(agent.scan(with(&after))),
                Say::Bye(bye) => drop(agent.step(Input::Stop(bye.reason))),
                _ => {}
            }
        }
        agent.step(Input::Disconnected);
        agent.now_ms += 10_000;
        let spool = &agent.spool;
        assert_eq!((spool.in_flight(), spool.has_unsent()), (0, false), "{name}: everything is acknowledged");
        assert_eq!(spool.refused_entries(), usize::from(matches!(name, "first" | "in-sync" | "delta")), "{name}");
    }
    let asked = |what: fn(&Output) -> bool| agent.asked.iter().filter(|output| what(output)).count();
    assert_eq!(asked(|output| matches!(output, Output::Policy(policy) if policy.full_pass_seconds == 600)), 1);
    assert_eq!(asked(|output| matches!(output, Output::Probe(request) if request.request == 77)), 1);
    assert_eq!(asked(|output| matches!(output, Output::Close(_))), 2, "it said goodbye once, and was drained once: {:?}", agent.asked);
}

#[test]
fn what_the_collector_before_says_is_understood_by_this_agent() {
    play_to_agent(<[u8]>::to_vec);
}
