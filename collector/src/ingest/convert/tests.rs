//! Arbitrary and broken messages: a clear refusal, never a panic; what is accepted is within its limits.

use holdfast_checks::entries::{Body, MAX_ENTRY_BYTES, Severity, Verdict};
use holdfast_proto::v1;
use proptest::prelude::*;
use prost::Message;
use rstest::rstest;

use super::{GreetingError, Incoming, counted, entry, hello, key, refused, transition};
use crate::store::ingest::{Refusal, RefusalCode};

fn wire() -> v1::Entry {
    v1::Entry {
        key: Some(v1::Key { kind: 1, key: "kubelet-anonymous-auth/kubelet".into() }),
        hash: vec![7; 16],
        body: Some(v1::entry::Body::Finding(v1::Finding {
            verdict: 2,
            severity: 5,
            title: "t".into(),
            reason: String::new(),
            evidence: vec![v1::Evidence { path: "p".into(), value: "true".into(), source: "flag".into(), at: 1 }],
            evidence_truncated: false,
        })),
        changed_at: 1,
    }
}

fn with_finding(change: impl FnOnce(&mut v1::Finding)) -> v1::Entry {
    let mut wire = wire();
    if let Some(v1::entry::Body::Finding(finding)) = &mut wire.body {
        change(finding);
    }
    wire
}

fn with_key(kind: i32, key: &str) -> v1::Entry {
    v1::Entry { key: Some(v1::Key { kind, key: key.into() }), ..wire() }
}

#[test]
fn a_finding_comes_through_whole() {
    let Incoming::Known(read) = entry(wire()).unwrap() else { panic!("a known entry") };
    let Body::Finding(finding) = read.body else { panic!("a finding") };
    assert_eq!((finding.check.as_str(), finding.subject.as_str()), ("kubelet-anonymous-auth", "kubelet"));
    assert_eq!((finding.verdict, finding.severity), (Verdict::Fail, Severity::Critical));
    assert_eq!(finding.evidence[0].value, Some(serde_json::Value::Bool(true)));
}

#[rstest]
#[case::no_key(v1::Entry { key: None, ..wire() }, RefusalCode::Malformed)]
#[case::no_kind(with_key(0, "a/b"), RefusalCode::Malformed)]
#[case::negative_kind(with_key(-3, "a/b"), RefusalCode::Malformed)]
#[case::kind_that_is_no_byte(with_key(256, "a/b"), RefusalCode::Malformed)]
#[case::unknown_kind_without_key(with_key(3, ""), RefusalCode::Malformed)]
#[case::unknown_kind_with_nul(with_key(3, "a\0"), RefusalCode::Malformed)]
#[case::unknown_kind_with_a_long_key(with_key(3, &"x".repeat(2000)), RefusalCode::TooLarge)]
#[case::unknown_kind_without_hash(v1::Entry { hash: Vec::new(), ..with_key(3, "a") }, RefusalCode::Malformed)]
#[case::kind_and_body_differ(with_key(2, "a/b"), RefusalCode::Malformed)]
#[case::no_separator(with_key(1, "ab"), RefusalCode::Malformed)]
#[case::no_subject(with_key(1, "a/"), RefusalCode::Malformed)]
#[case::check_is_no_id(with_key(1, "a b/c"), RefusalCode::Malformed)]
#[case::nul_in_subject(with_key(1, "a/b\0c"), RefusalCode::Malformed)]
#[case::long_key(with_key(1, &format!("a/{}", "x".repeat(2000))), RefusalCode::TooLarge)]
#[case::short_hash(v1::Entry { hash: vec![1; 15], ..wire() }, RefusalCode::Malformed)]
#[case::no_verdict(with_finding(|f| f.verdict = 0), RefusalCode::Malformed)]
#[case::unknown_verdict(with_finding(|f| f.verdict = 6), RefusalCode::Malformed)]
#[case::unknown_severity(with_finding(|f| f.severity = -1), RefusalCode::Malformed)]
#[case::long_reason(with_finding(|f| f.reason = "x".repeat(513)), RefusalCode::TooLarge)]
#[case::long_title(with_finding(|f| f.title = "x".repeat(4096)), RefusalCode::TooLarge)]
#[case::too_much_evidence(with_finding(|f| f.evidence = vec![v1::Evidence::default(); 9]), RefusalCode::TooLarge)]
#[case::evidence_is_not_json(with_finding(|f| f.evidence[0].value = "{".into()), RefusalCode::Malformed)]
#[case::nul_in_title(with_finding(|f| f.title = "a\0".into()), RefusalCode::Malformed)]
fn a_broken_entry_is_refused(#[case] wire: v1::Entry, #[case] code: RefusalCode) {
    let sent = wire.key.clone().unwrap_or_default();
    let refusal = entry(wire).unwrap_err();
    assert_eq!((refusal.code, refusal.key), (code, sent.key));
}

#[rstest]
#[case::large(format!("\"{}\"", "x".repeat(4000)), RefusalCode::TooLarge)]
#[case::not_json("{,}".to_owned(), RefusalCode::Malformed)]
#[case::deep("[".repeat(2000), RefusalCode::Malformed)]
fn broken_inventory_is_refused(#[case] json: String, #[case] code: RefusalCode) {
    let wire = v1::Entry { body: Some(v1::entry::Body::Inventory(v1::Inventory { json })), ..with_key(2, "kernel/self") };
    assert_eq!(entry(wire).unwrap_err().code, code);
}

#[test]
fn a_name_with_markup_and_escapes_is_kept() {
    let name = "root-process/process:<script>\u{1b}[31m";
    let Incoming::Known(read) = entry(with_key(1, name)).unwrap() else { panic!("a known entry") };
    assert_eq!(read.key.as_str(), name);
}

#[test]
fn an_unknown_kind_or_body_is_opaque_and_an_unknown_check_or_field_is_not() {
    for wire in [with_key(3, "no separator, any text"), with_key(255, "a/b"), v1::Entry { body: None, ..wire() }] {
        let Incoming::Opaque(read) = entry(wire.clone()).unwrap() else { panic!("opaque") };
        let sent = wire.key.unwrap();
        assert_eq!((i32::from(read.key.kind().number()), read.key.as_str(), read.hash.0), (sent.kind, sent.key.as_str(), [7; 16]));
    }
    assert!(matches!(entry(with_key(1, "a-check-of-next-year/kubelet")).unwrap(), Incoming::Known(_)));
    // A field number nobody has given out yet, in the entry, in the finding and in the message around them.
    let unknown = [0xfa, 0x7f, 0x02, b'h', b'i'];
    let nested = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let finding = with_finding(|finding| finding.evidence.clear());
    let Some(v1::entry::Body::Finding(body)) = &finding.body else { panic!("a finding") };
    let body = nested(0x1a, &[&body.encode_to_vec()[..], &unknown].concat());
    let bytes = [&v1::Entry { body: None, ..finding.clone() }.encode_to_vec()[..], &body, &unknown].concat();
    let bytes = nested(0x12, &[&nested(0x12, &bytes)[..], &unknown].concat());
    let Some(v1::agent_message::Message::Delta(delta)) = v1::AgentMessage::decode(&*bytes).unwrap().message else { panic!("a delta") };
    assert_eq!(entry(delta.upserts[0].clone()).unwrap(), entry(finding).unwrap());
    // A kind of message nobody sends yet is none, not an error.
    assert_eq!(v1::AgentMessage::decode(&unknown[..]).unwrap().message, None);
}

#[test]
fn no_common_protocol_says_who_speaks_what() {
    let wire = v1::Hello { protocol_min: 8, protocol_max: 9, ..v1::Hello::default() };
    let error = hello(wire).unwrap_err();
    assert_eq!(error, GreetingError::Protocol { min: 8, max: 9, ours_min: 1, ours_max: 1 });
    insta::assert_snapshot!(error);
}

#[test]
fn a_hello_beyond_its_bounds_is_refused() {
    let good = v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        state_digest: vec![0; 16],
        catalogue_hash: vec![0; 16],
        policy_hash: vec![1; 16],
        ..v1::Hello::default()
    };
    assert!(hello(good.clone()).is_ok());
    let bad = [
        v1::Hello { node_name: "n".repeat(4 * 1024), ..good.clone() },
        v1::Hello { policy_hash: vec![1; 129], ..good.clone() },
        v1::Hello { boot_id: "b".repeat(129), ..good },
    ];
    for wire in bad {
        assert!(matches!(hello(wire), Err(GreetingError::Malformed(_))));
    }
}

prop_compose! {
    fn any_key()(kind in -1..4, key in "(\\PC{0,12}|[a-z-]{1,8}/\\PC{1,20}|[a-z]{1,3}/.{1,1200})") -> v1::Key {
        v1::Key { kind, key }
    }
}

prop_compose! {
    fn any_evidence()(path in ".{0,40}", value in "(|true|[0-9]{1,9}|.{0,40}|\\[{0,300})", source in ".{0,900}", at in any::<i64>()) -> v1::Evidence {
        v1::Evidence { path, value, source, at }
    }
}

prop_compose! {
    fn any_finding()(
        verdict in -1..8, severity in -1..8, reason in ".{0,600}", title in ".{0,300}",
        evidence in proptest::collection::vec(any_evidence(), 0..10), evidence_truncated in any::<bool>(),
    ) -> v1::Finding {
        v1::Finding { verdict, reason, severity, title, evidence, evidence_truncated }
    }
}

/// All of them were counted as `entry`.
#[test]
fn an_entry_is_counted_by_what_it_was_refused_for_as_the_page_of_refusals_has_it() {
    let page = include_str!("../../../../docs/refusals.md");
    for code in [RefusalCode::Malformed, RefusalCode::TooLarge, RefusalCode::Quota, RefusalCode::Foreign] {
        let told = refused(Refusal { kind: 1, key: "a/b".into(), hash: Vec::new(), code });
        let counted = counted(told.code());
        assert!(page.contains(&format!("`{counted}`: ")), "{counted}");
    }
}

proptest! {
    #[test]
    fn any_entry_is_accepted_within_its_limits_or_refused(
        key in proptest::option::of(any_key()), hash in proptest::collection::vec(any::<u8>(), 0..20),
        finding in any_finding(), json in "(\\{\\}|.{0,50})", which in 0..3, changed_at in any::<i64>(),
    ) {
        let body = match which {
            0 => None,
            1 => Some(v1::entry::Body::Finding(finding)),
            _ => Some(v1::entry::Body::Inventory(v1::Inventory { json })),
        };
        if let Ok(Incoming::Known(entry)) = entry(v1::Entry { key, hash, body, changed_at }) {
            if let Body::Finding(finding) = &entry.body {
                let evidence: usize = finding.evidence.iter().map(|item| item.path.len() + item.source.len()).sum();
                prop_assert!(entry.key.as_str().len() + finding.title.len() + finding.reason.len() + evidence <= MAX_ENTRY_BYTES);
            }
            prop_assert!(!entry.key.as_str().contains('\0'));
        }
    }

    #[test]
    fn any_transition_is_read_or_dropped(
        number in any::<u64>(), wire_key in any_key(), from in -1..8, to in -1..8, severity in -1..8, reason in ".{0,600}", at in any::<i64>(),
    ) {
        let read = transition(v1::Transition { number, key: Some(wire_key.clone()), from, to, reason, severity, because: String::new(), at });
        prop_assert!(read.is_none() || key(&wire_key).is_ok());
    }

    #[test]
    fn random_bytes_are_no_message_or_convert(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let Ok(message) = v1::AgentMessage::decode(bytes.as_slice()) else { return Ok(()) };
        match message.message {
            Some(v1::agent_message::Message::Delta(delta)) => {
                delta.upserts.into_iter().for_each(|wire| drop(entry(wire)));
                delta.transitions.into_iter().for_each(|wire| drop(transition(wire)));
            }
            Some(v1::agent_message::Message::Snapshot(part)) => part.entries.into_iter().for_each(|wire| drop(entry(wire))),
            Some(v1::agent_message::Message::Hello(wire)) => drop(hello(wire)),
            _ => {}
        }
    }
}
