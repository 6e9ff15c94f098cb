//! What a later version may add: fields, messages, checks, kinds of inventory, kinds of entries. None of it breaks anything.

use holdfast_agent::session::Input;
use holdfast_checks::entries::Hash;
use holdfast_collector::ingest::session as machine;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::collector::Collector;
use crate::conversation::Agent;
use crate::previous::{play, play_all, play_to_agent};
use crate::recorded::{PREVIOUS, capture};

/// A field of every wire type, under numbers nobody has used.
fn fields_of_tomorrow() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(900, WireType::Varint, &mut bytes);
    encode_varint(u64::MAX, &mut bytes);
    encode_key(901, WireType::LengthDelimited, &mut bytes);
    encode_varint(3, &mut bytes);
    bytes.extend(b"new");
    encode_key(902, WireType::SixtyFourBit, &mut bytes);
    bytes.extend([7; 8]);
    encode_key(903, WireType::ThirtyTwoBit, &mut bytes);
    bytes.extend([7; 4]);
    bytes
}

/// One message as a field of another.
fn nested(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(u64::try_from(inner.len()).unwrap(), &mut bytes);
    bytes.extend(inner);
    bytes
}

/// A message of the wire with more fields: in the envelope, and in what it carries.
fn grown(mut message: &[u8]) -> Vec<u8> {
    let (number, _) = decode_key(&mut message).unwrap();
    let length = usize::try_from(decode_varint(&mut message).unwrap()).unwrap();
    let mut inner = message[..length].to_vec();
    inner.extend(fields_of_tomorrow());
    let mut bytes = nested(number, &inner);
    bytes.extend(fields_of_tomorrow());
    bytes
}

/// A collector that has heard a whole first conversation, and the number of its last message.
fn welcomed() -> (Collector, u64) {
    let mut collector = Collector::new();
    let answers = play(&mut collector, &capture(PREVIOUS, "first"), <[u8]>::to_vec);
    let last = answers.iter().filter_map(|answer| if let Hear::Ack(ack) = answer { Some(ack.seq) } else { None }).max().unwrap();
    (collector, last)
}

fn finding(kind: i32, key: &str) -> v1::Entry {
    let body = v1::Finding { verdict: 2, severity: 4, title: "Something new".into(), ..v1::Finding::default() };
    let key = v1::Key { kind, key: key.into() };
    v1::Entry { key: Some(key), hash: vec![5; 16], body: Some(v1::entry::Body::Finding(body)), changed_at: 1 }
}

#[test]
fn fields_of_a_later_agent_change_nothing() {
    play_all(grown);
}

#[test]
fn fields_of_a_later_collector_change_nothing() {
    play_to_agent(grown);
}

#[test]
fn an_entry_with_more_fields_is_stored() {
    let (mut collector, last) = welcomed();
    let mut entry = finding(1, "a-check/node").encode_to_vec();
    entry.extend(fields_of_tomorrow());
    let mut delta = v1::Delta { seq: last + 1, ..v1::Delta::default() }.encode_to_vec();
    delta.extend(nested(2, &entry));
    let answers = collector.hear(&nested(2, &delta));
    assert_eq!(answers[0].message, Some(Hear::Ack(v1::Ack { seq: last + 1, refused: Vec::new() })));
    assert_eq!(collector.finding("a-check/node").2, "Something new");
}

#[test]
fn a_message_nobody_knows_is_heard_and_left_alone() {
    let (mut collector, last) = welcomed();
    assert!(collector.hear(&nested(15, b"\x08\x01")).is_empty() && collector.closed.is_none());
    let delta = Say::Delta(v1::Delta { seq: last + 1, upserts: vec![finding(1, "a-check/node")], ..v1::Delta::default() });
    let answers = collector.hear(&v1::AgentMessage { message: Some(delta) }.encode_to_vec());
    assert!(matches!(&answers[0].message, Some(Hear::Ack(ack)) if ack.seq == last + 1), "{answers:?}");

    let mut agent = Agent::new("0.1.0");
    agent.step(Input::Connected);
    let unknown = v1::CollectorMessage::decode(nested(15, b"\x08\x01").as_slice()).unwrap();
    assert!(agent.step(Input::Received(unknown)).is_empty() && agent.asked.is_empty());
}

#[test]
fn a_check_and_a_kind_of_inventory_nobody_knows_are_kept_as_they_are() {
    let (mut collector, last) = welcomed();
    let document = r#"{"later":[1,{"deep":null}]}"#;
    let inventory = v1::Entry {
        key: Some(v1::Key { kind: 2, key: "kind-of-tomorrow/part".into() }),
        hash: vec![6; 16],
        body: Some(v1::entry::Body::Inventory(v1::Inventory { json: document.into() })),
        changed_at: 1,
    };
    let upserts = vec![finding(1, "check-of-tomorrow/node"), inventory];
    let delta = Say::Delta(v1::Delta { seq: last + 1, upserts, ..v1::Delta::default() });
    let answers = collector.hear(&v1::AgentMessage { message: Some(delta) }.encode_to_vec());
    assert_eq!(answers[0].message, Some(Hear::Ack(v1::Ack { seq: last + 1, refused: Vec::new() })));
    assert_eq!(collector.finding("check-of-tomorrow/node"), (2, 4, "Something new".into(), String::new()));
    assert_eq!(collector.document("kind-of-tomorrow/part"), document);
    let entries = collector.entries();
    assert_eq!(entries[&(1, "check-of-tomorrow/node".into())], Hash([5; 16]).to_string());
    assert_eq!(entries[&(2, "kind-of-tomorrow/part".into())], Hash([6; 16]).to_string());
}

#[test]
fn a_kind_of_entry_nobody_knows_does_not_hold_up_the_others() {
    let (mut collector, last) = welcomed();
    let upserts = vec![finding(9, "what-is-this/node"), finding(1, "a-check/node")];
    let delta = Say::Delta(v1::Delta { seq: last + 1, upserts, ..v1::Delta::default() });
    let answers = collector.hear(&v1::AgentMessage { message: Some(delta) }.encode_to_vec());
    assert_eq!(answers[0].message, Some(Hear::Ack(v1::Ack { seq: last + 1, refused: Vec::new() })), "kept, and not refused");
    assert_eq!(collector.closed, None::<machine::Close>);
    assert_eq!(collector.finding("a-check/node").2, "Something new");
    assert_eq!(collector.opaque(), [(9, "what-is-this/node".to_owned(), Hash([5; 16]).to_string())]);
    // It counts in what both sides compare, and goes when the agent says so.
    let gone = vec![v1::Key { kind: 9, key: "what-is-this/node".into() }];
    let delta = Say::Delta(v1::Delta { seq: last + 2, gone, ..v1::Delta::default() });
    let with = collector.digest();
    let answers = collector.hear(&v1::AgentMessage { message: Some(delta) }.encode_to_vec());
    assert_eq!(answers[0].message, Some(Hear::Ack(v1::Ack { seq: last + 2, refused: Vec::new() })));
    assert!(collector.opaque().is_empty());
    assert_ne!(collector.digest(), with);
}
