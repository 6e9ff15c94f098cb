//! Strings that are none, on the wire: no UTF-8, or with a NUL. The session ends or the entry is refused, it is counted, and nothing of it
//! is stored. What a page makes of strings that are some is the business of [`super::hostile_pages`].

use std::path::Path;

use holdfast_checks::entries::State;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::hostile::{MARK, Poison};
use holdfast_tests::intruder::{self, Intruder};
use holdfast_tests::peer::{Peer, hello, wire};
use holdfast_tests::process::PATIENCE;
use holdfast_tests::site::Site;
use serde_json::Value;
use tokio_stream::StreamExt;

use crate::BINARIES;
use crate::hostile_pages::fetch;

/// A message with `text` in one of its strings, as bytes in which `text` can be replaced by what no string may be.
fn with_text(text: &str) -> Vec<(&'static str, Message)> {
    let text = || text.to_owned();
    let good = hello(1, 0, &State::default()).unwrap();
    let mut poison = Poison::new("127.0.0.1:9");
    let mut entry = wire(&poison.finding("theirs", None, holdfast_checks::entries::Verdict::Fail));
    let Some(v1::entry::Body::Finding(finding)) = &mut entry.body else { panic!("a finding") };
    finding.title = text();
    let delta = v1::Delta { seq: 1, upserts: vec![entry], ..v1::Delta::default() };
    let result = v1::ProbeResult { outcome: text(), ..v1::ProbeResult::default() };
    vec![
        ("agent_version", Message::Hello(v1::Hello { agent_version: text(), ..good.clone() })),
        ("boot_id", Message::Hello(v1::Hello { boot_id: text(), ..good.clone() })),
        ("node_name", Message::Hello(v1::Hello { node_name: text(), ..good.clone() })),
        ("a finding", Message::Delta(delta)),
        ("a policy status", Message::PolicyStatus(v1::PolicyStatus { reason: text(), ..v1::PolicyStatus::default() })),
        ("a probe result", Message::ProbeResult(result)),
        ("a token", Message::Reauth(v1::Reauth { token: text() })),
        ("a goodbye", Message::Bye(v1::Bye { reason: text() })),
        ("good", Message::Hello(good)),
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    prost::Message::encode_to_vec(&v1::AgentMessage { message: Some(message.clone()) })
}

/// What protobuf calls no string never becomes one: the session ends, that is counted, and nothing of it is stored. NUL is in a string of
/// protobuf, and in none of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_is_no_utf_8_ends_the_session_is_counted_and_stored_nowhere() {
    let site = Site::new(BINARIES).unwrap();
    let token = std::fs::read_to_string(site.token("n1").unwrap()).unwrap();
    let _collector = site.collector(&[]).unwrap();
    let intruder = Intruder::new(site.grpc, Path::new(&site.path("tls/ca.crt"))).unwrap();
    let counted = |code: &str| site.api().metric(&format!("holdfast_rejections_total{{reason=\"{code}\"}}"));
    let place = "h0ldh0ldh0ld";
    let all = with_text(place);
    let hello = encoded(&all.last().unwrap().1);
    // Overlong, a surrogate, a byte that begins nothing, one that is cut off.
    let wrongs: [&[u8]; 4] = [b"\xc0\xafh0ldh0ldh0", b"h0ld\xed\xa0\x80h0ldh", b"h0ldh0ldh0l\xff", b"h0ldh0ldh0l\xe2"];
    let mut refused = 0.0;
    for (what, message) in &all {
        for wrong in wrongs {
            let mut bytes = encoded(message);
            let Some(at) = bytes.windows(place.len()).position(|window| window == place.as_bytes()) else { continue };
            bytes.splice(at..at + place.len(), wrong.iter().copied());
            let said = if matches!(message, Message::Hello(_)) { vec![bytes] } else { vec![hello.clone(), bytes] };
            // The stream stays open from this side: it is the collector who ends it.
            let said = tokio_stream::iter(said).chain(tokio_stream::pending());
            let channel = intruder.channel(65_535).await.unwrap();
            let ended = tokio::time::timeout(PATIENCE, async {
                let mut heard = intruder::session(channel, &token, said).await?;
                loop {
                    match heard.message().await {
                        Ok(Some(())) => {}
                        ended => break ended,
                    }
                }
            });
            let ended = ended.await.unwrap_or_else(|_| panic!("{what} in {wrong:x?} does not end the session"));
            assert!(ended.is_err(), "{what}: {ended:?}");
            refused += 1.0;
            site.api().wait("it is counted", PATIENCE, |_| counted("protocol") >= refused).unwrap();
            assert_eq!(counted("protocol"), refused, "{what} in {wrong:x?}: {}", site.log("collector.log"));
        }
    }
    assert_eq!(refused, 32.0, "eight strings");
    let nodes = || site.api().list("/api/v1/nodes", "nodes").unwrap_or_default().len();
    site.api().wait("the good Hellos are of a node", PATIENCE, |_| nodes() > 0).unwrap();
    assert_eq!(nodes(), 1);
    assert_eq!(site.api().findings("verdict=any").unwrap(), Vec::<Value>::new());
    for path in ["/api/v1/nodes", "/api/v1/nodes/test/n1", "/api/v1/findings?verdict=any", "/nodes/test/n1"] {
        let (_, text) = fetch(site.http, path, PATIENCE);
        assert!(!text.contains(MARK) && !text.contains('\u{fffd}'), "{path}: {text}");
    }

    // NUL: a Hello is refused as a whole; an entry alone, and the session goes on.
    let ca = site.path("tls/ca.crt");
    let token = site.path("n1.token");
    for (what, message) in with_text("h0ld\0h0ld").into_iter().take(3) {
        let mut peer = Peer::open(site.grpc, Path::new(&ca), Path::new(&token)).await.unwrap();
        peer.say(message).await.unwrap();
        let heard = peer.hear().await;
        // The name that an agent gives itself is looked at by nobody.
        if what == "node_name" {
            assert!(matches!(heard.unwrap().message, Some(v1::collector_message::Message::Welcome(_))));
            continue;
        }
        heard.unwrap_err();
        refused += 1.0;
        site.api().wait("it is counted", PATIENCE, |_| counted("protocol") >= refused).unwrap();
        assert_eq!(counted("protocol"), refused, "{what}: {}", site.log("collector.log"));
    }
    let (mut peer, _) = Peer::connect(site.grpc, Path::new(&ca), Path::new(&token), 1, 0, &State::default()).await.unwrap();
    let [(_, _), (_, _), (_, _), (_, delta), (_, status), (_, result), ..] = &with_text("h0ld\0h0ld")[..] else { panic!("nine") };
    peer.say(delta.clone()).await.unwrap();
    let ack = peer.acknowledged(1).await.unwrap();
    assert_eq!(ack.refused.iter().map(v1::Refused::code).collect::<Vec<_>>(), [v1::refused::Code::Malformed]);
    for message in [status, result] {
        peer.say(message.clone()).await.unwrap();
    }
    // A digest that is none is one that differs, and is answered by asking for everything.
    let heartbeat = v1::Heartbeat { digest: b"\xff\0\x9b".to_vec(), ..v1::Heartbeat::default() };
    peer.say(Message::Heartbeat(heartbeat)).await.unwrap();
    let good = peer_entry("late");
    peer.say(Message::Delta(v1::Delta { seq: 2, upserts: vec![good], ..v1::Delta::default() })).await.unwrap();
    assert_eq!(peer.acknowledged(2).await.unwrap().refused, []);
    assert_eq!(counted("protocol"), refused);
    assert_eq!(site.api().findings("verdict=any").unwrap().len(), 1, "what is well is stored");
    let log = site.log("collector.log");
    assert!(!log.chars().any(|character| (character.is_control() && character != '\n') || character == '\u{fffd}'), "{log}");
}

fn peer_entry(check: &str) -> v1::Entry {
    wire(&holdfast_tests::peer::finding(check, "kubelet", holdfast_checks::entries::Verdict::Pass))
}
