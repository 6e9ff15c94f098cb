//! Bad input on the wire and on the command line: each gets a clear error, nothing dies, nothing is resent for ever.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use holdfast_checks::entries::{State, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::intruder::{Intruder, session};
use holdfast_tests::peer::{Peer, delta, finding};
use holdfast_tests::process::{PATIENCE, output};
use holdfast_tests::site::Site;

use crate::BINARIES;

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_outlives_every_message() {
    let site = Site::new(BINARIES).unwrap();
    let token = site.token("n1").unwrap();
    let mut collector = site.collector(&[]).unwrap();
    let ca = site.path("tls/ca.crt");
    let ca = Path::new(&ca);

    // Not TLS at all, and half of it.
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 0, 0], &[0; 64]] {
        TcpStream::connect(("127.0.0.1", site.grpc)).unwrap().write_all(garbage).unwrap();
    }
    // In a session: no message, and half of one.
    let frames = futures_util::stream::iter([vec![0xff; 300], vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff]]);
    let channel = Intruder::new(site.grpc, ca).unwrap().channel(64 * 1024).await.unwrap();
    let mut answers = session(channel, &std::fs::read_to_string(&token).unwrap(), frames).await.unwrap();
    let ended = async { while let Ok(Some(())) = answers.message().await {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream is closed");
    // A token nobody issued.
    let wrong = site.path("wrong.token");
    std::fs::write(&wrong, "not-a-token").unwrap();
    let refused = Peer::connect(site.grpc, ca, Path::new(&wrong), 1, 0, &State::default()).await.unwrap_err();
    assert!(format!("{refused:#}").contains("token"), "a wrong token is refused as such: {refused:#}");
    // The first message is not Hello.
    let mut peer = Peer::open(site.grpc, ca, &token).await.unwrap();
    peer.say(Message::Heartbeat(v1::Heartbeat::default())).await.unwrap();
    assert!(peer.hear().await.is_err(), "the stream is closed");
    Peer::connect(site.grpc, ca, &token, 1, 0, &State::default()).await.expect("an agent is served as before");
    assert!(collector.ended().unwrap().is_none(), "the collector lives: {}", site.log("collector.log"));
    assert!(site.api().text("/livez").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_entry_is_named_leaves_the_digest_and_the_rest_is_stored() {
    let site = Site::new(BINARIES).unwrap();
    let token = site.token("n1").unwrap();
    let _collector = site.collector(&[]).unwrap();
    let ca = site.path("tls/ca.crt");
    let mut state = State::default();
    let good = finding("hostile-test", "good <script>alert(1)</script>\u{1b}[31m", Verdict::Fail);
    state.upsert(good.clone());
    let (mut peer, _) = Peer::connect(site.grpc, Path::new(&ca), &token, 1, 0, &State::default()).await.unwrap();
    let Message::Delta(mut message) = delta(1, &[good], Vec::new(), state.digest()) else { unreachable!() };
    let bad = v1::Key { kind: 1, key: "no-separator".to_owned() };
    message.upserts.push(v1::Entry { key: Some(bad.clone()), hash: vec![1; 16], body: None, changed_at: 1 });
    peer.say(Message::Delta(message)).await.unwrap();
    let ack = peer.acknowledged(1).await.unwrap();
    assert_eq!(ack.refused.len(), 1, "{ack:?}");
    assert_eq!(ack.refused[0].key.as_ref(), Some(&bad));
    let stored = site.api().findings("check=hostile-test").unwrap();
    assert_eq!(stored.len(), 1);
    // The digest without the refused entry is the collector's: a new session has nothing to send.
    drop(peer);
    let (_peer, welcome) = Peer::connect(site.grpc, Path::new(&ca), &token, 1, 1, &state).await.unwrap();
    assert_eq!(welcome.resume(), v1::welcome::Resume::InSync);
    // And what a node says is inert on every page.
    for path in ["/findings?check=hostile-test&group=none", "/nodes/test/n1", "/"] {
        let page = site.api().text(path).unwrap();
        assert!(!page.contains("<script>alert") && !page.contains('\u{1b}'), "{path}");
    }
}

#[test]
fn a_catalogue_with_a_wrong_field_is_refused_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine.yaml"), "- id: mine\n  titel: wrong\n").unwrap();
    let catalogue = directory.path().display().to_string();
    let (code, _, errors) = output(Path::new(BINARIES.agent), &["scan", "--catalogue", &catalogue, "--no-probe"]).unwrap();
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("mine.yaml") && errors.contains("titel"), "{errors}");
}

#[test]
fn an_unreachable_collector_is_said_and_the_agent_keeps_running() {
    let site = Site::new(BINARIES).unwrap();
    site.token("alone").unwrap();
    let agent = site.agent("alone", &["--no-probe"]).unwrap();
    let said = || site.log("alone.log").contains(&format!("127.0.0.1:{}", site.grpc));
    site.api()
        .wait("the log names the collector", PATIENCE, |_| said())
        .unwrap_or_else(|error| panic!("{error}: {}", site.log("alone.log")));
    assert!(agent.stop(PATIENCE).unwrap().success(), "{}", site.log("alone.log"));
}
