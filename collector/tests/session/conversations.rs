//! Sessions from Hello to the end: resuming, acknowledging, refusing, losing and coming back.

use std::time::Duration;

use holdfast_checks::entries::{Digest, Kind, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use holdfast_proto::v1::posture_client::PostureClient;
use holdfast_proto::v1::welcome::Resume;
use tokio::time::timeout;
use tonic::Code;

use crate::rig::*;

#[tokio::test]
async fn a_node_reports_reconnects_stops_and_nothing_is_sent_twice() {
    let rig = rig().await;
    let entries = [finding("a", "1", Verdict::Fail), finding("a", "2", Verdict::Pass), finding("b", "1", Verdict::Pass)];
    let mut client = rig.client().await;
    assert_eq!(client.greet(7, 0, digest(&entries)).await.resume(), Resume::Full);
    client.say(part(1, 0, &entries[..2], None)).await;
    client.say(part(2, 1, &entries[2..], Some(digest(&entries)))).await;
    while client.ack().await.seq < 2 {}
    assert_eq!(rig.number("select count(*) from findings").await, 3);
    assert_eq!(rig.text("select cluster || ' ' || name from nodes").await, "test node-1");
    drop(client);

    // In sync: nothing is asked for. Then one change, one acknowledgement.
    let mut client = rig.client().await;
    assert_eq!(client.greet(7, 2, digest(&entries)).await.resume(), Resume::InSync);
    client.say(delta(3, &[finding("b", "1", Verdict::Fail)])).await;
    assert_eq!(client.ack().await.seq, 3);
    assert_eq!(rig.number("select count(*) from findings where verdict = 2").await, 2);
    // The same message again, and a number that goes backwards: acknowledged, nothing else.
    client.say(delta(3, &[finding("b", "1", Verdict::Pass)])).await;
    client.say(delta(1, &[finding("b", "1", Verdict::Pass)])).await;
    assert_eq!((client.ack().await.seq, client.ack().await.seq), (3, 3));
    assert_eq!(rig.number("select count(*) from findings where verdict = 2").await, 2);

    client.say(Say::Bye(v1::Bye { reason: "SIGTERM".into() })).await;
    assert!(client.hear().await.unwrap().is_none(), "the stream ends without an error");
    rig.until("select state || ' ' || state_reason from nodes", "stopped SIGTERM").await;
    let metrics = rig.metrics().await;
    assert!(metrics.contains("holdfast_resume_total{mode=\"in_sync\"} 1"), "{metrics}");
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_lost_stream_is_silence_after_the_grace_and_a_reconnect_ends_it() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    drop(client);
    rig.until("select state from nodes", "silent").await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    rig.until("select state from nodes", "connected").await;
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_collector_that_was_restarted_has_everything_it_acknowledged() {
    let rig = rig().await;
    let entries = [finding("a", "1", Verdict::Fail)];
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    client.say(delta(1, &entries)).await;
    assert_eq!(client.ack().await.seq, 1);
    let stopping = tokio::spawn(rig.stop());
    let drained = async {
        loop {
            match client.hear().await {
                Ok(Some(Hear::Drain(drain))) => return drain,
                Ok(_) => {}
                Err(status) => panic!("ended without Drain: {status}"),
            }
        }
    };
    assert!(drained.await.reconnect_max_ms >= 1_000);
    drop(client);
    let rig = start(stopping.await.unwrap()).await;
    let mut client = rig.client().await;
    assert_eq!(client.greet(7, 1, digest(&entries)).await.resume(), Resume::InSync);
    // The last position, another state: changes are enough.
    drop(client);
    let mut client = rig.client().await;
    assert_eq!(client.greet(7, 1, Digest::EMPTY).await.resume(), Resume::Delta);
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_refused_entry_is_named_and_the_rest_is_stored() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    let good = finding("a", "1", Verdict::Fail);
    let mut bad = wire(&finding("a", "2", Verdict::Fail));
    bad.body = Some(v1::entry::Body::Finding(v1::Finding { verdict: 77, severity: 4, ..v1::Finding::default() }));
    let upserts = vec![wire(&good), bad.clone()];
    client.say(Say::Delta(v1::Delta { seq: 1, upserts, ..v1::Delta::default() })).await;
    let ack = client.ack().await;
    assert_eq!((ack.seq, ack.refused.len()), (1, 1));
    assert_eq!((ack.refused[0].key.clone(), ack.refused[0].code()), (bad.key, v1::refused::Code::Malformed));
    assert_eq!(rig.number("select count(*) from findings").await, 1);
    assert_eq!(rig.number("select count(*) from refused").await, 1);
    // Both sides leave it out of the digest: two heartbeats ask for nothing.
    client.say(heartbeat(digest(std::slice::from_ref(&good)))).await;
    client.say(heartbeat(digest(std::slice::from_ref(&good)))).await;
    client.say(delta(2, &[finding("a", "3", Verdict::Pass)])).await;
    assert_eq!(client.ack().await.seq, 2);
    assert_eq!(good.key.kind(), Kind::Finding);
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_silent_divergence_is_found_by_heartbeats_and_repaired_once() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    let entries = [finding("a", "1", Verdict::Fail), finding("a", "2", Verdict::Fail)];
    client.say(delta(1, &entries)).await;
    client.ack().await;
    let truth = &entries[..1];
    for _ in 0..3 {
        client.say(heartbeat(digest(truth))).await;
    }
    assert!(matches!(client.hear().await.unwrap(), Some(Hear::Resync(_))));
    client.say(part(2, 0, truth, Some(digest(truth)))).await;
    assert_eq!(client.ack().await.seq, 2);
    assert_eq!(rig.number("select count(*) from findings").await, 1);
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_snapshot_whose_digest_is_wrong_deletes_nothing() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    client.say(delta(1, &[finding("a", "1", Verdict::Fail)])).await;
    client.ack().await;
    drop(client);
    let mut client = rig.client().await;
    let other = [finding("a", "2", Verdict::Pass)];
    assert_eq!(client.greet(9, 0, digest(&other)).await.resume(), Resume::Full);
    client.say(part(1, 0, &other, Some(Digest::EMPTY))).await;
    let mut heard = [client.hear().await.unwrap().unwrap(), client.hear().await.unwrap().unwrap()];
    heard.sort_by_key(|message| matches!(message, Hear::Resync(_)));
    assert!(matches!(&heard[..], [Hear::Ack(_), Hear::Resync(_)]));
    assert_eq!(rig.number("select count(*) from findings").await, 2);
    client.say(part(2, 0, &other, Some(digest(&other)))).await;
    assert_eq!(client.ack().await.seq, 2);
    assert_eq!(rig.number("select count(*) from findings").await, 1);
    drop(client);
    rig.stop().await;
}

/// A hundred messages at once, twenty a second from then on, however often the agent connects; and none is refused.
#[tokio::test]
async fn connecting_anew_does_not_reset_the_pace() {
    let rig = rig().await;
    let (began, mut state) = (std::time::Instant::now(), Vec::new());
    for round in 0..6 {
        let mut client = rig.client().await;
        client.greet(7, round, digest(&state)).await;
        for _ in 0..28 {
            client.say(heartbeat(digest(&state))).await;
        }
        let entry = finding("a", &round.to_string(), Verdict::Fail);
        client.say(delta(round + 1, std::slice::from_ref(&entry))).await;
        assert_eq!(client.ack().await.seq, round + 1);
        state.push(entry);
    }
    assert!(began.elapsed() >= Duration::from_millis(3_900), "{:?} for 180 messages", began.elapsed());
    assert_eq!(rig.number("select count(*) from findings").await, 6);
    rig.stop().await;
}

#[tokio::test]
async fn the_newest_session_of_a_node_wins() {
    let rig = rig().await;
    let mut old = rig.client().await;
    let first = old.greet(7, 0, Digest::EMPTY).await.session;
    let mut new = rig.client().await;
    assert!(new.greet(7, 0, Digest::EMPTY).await.session > first);
    old.say(delta(1, &[finding("a", "1", Verdict::Fail)])).await;
    assert_eq!(old.end().await.code(), Code::Aborted);
    assert_eq!(rig.number("select count(*) from findings").await, 0);
    new.say(delta(1, &[finding("a", "2", Verdict::Fail)])).await;
    assert_eq!(new.ack().await.seq, 1);
    drop((old, new));
    rig.stop().await;
}

#[tokio::test]
async fn credentials_that_are_not_known_say_nothing_to_the_agent_and_everything_to_the_operator() {
    let rig = rig().await;
    let refused = Client::open(rig.channel().await, "hf_wrong").await.err().unwrap();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "credentials not accepted"));
    let bare = PostureClient::new(rig.channel().await).session(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(bare.code(), Code::Unauthenticated);
    let metrics = rig.metrics().await;
    assert!(metrics.contains("holdfast_rejections_total{reason=\"unknown_token\"} 1"), "{metrics}");
    assert!(metrics.contains("holdfast_rejections_total{reason=\"no_credentials\"} 1"), "{metrics}");
    rig.stop().await;
}

#[tokio::test]
async fn what_breaks_the_contract_ends_its_own_session_with_a_clear_error() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.say(heartbeat(Digest::EMPTY)).await;
    let status = client.end().await;
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "protocol error: the first message must be Hello"));

    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    client.say(Say::Hello(hello(7, 0, Digest::EMPTY))).await;
    let status = client.end().await;
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "protocol error: Hello may be said only once"));

    let mut client = rig.client().await;
    client.say(Say::Hello(v1::Hello { protocol_min: 7, protocol_max: 9, ..hello(7, 0, Digest::EMPTY) })).await;
    let status = client.end().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("speaks 7 to 9, this collector 1 to 1"), "{status}");

    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    let mut huge = wire(&finding("a", "1", Verdict::Fail));
    huge.hash = vec![0; 40_000];
    client.say(Say::Delta(v1::Delta { seq: 1, upserts: vec![huge], ..v1::Delta::default() })).await;
    // The library may end the stream with its own words; what matters is that it ends and that nobody else notices.
    let ended = async { while let Ok(Some(_)) = client.hear().await {} };
    timeout(PATIENCE, ended).await.unwrap();

    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    client.say(delta(1, &[finding("a", "1", Verdict::Fail)])).await;
    assert_eq!(client.ack().await.seq, 1);
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_token_taken_out_of_the_file_ends_its_session() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    std::fs::write(rig.dir.path().join("tokens.yaml"), "").unwrap();
    assert_eq!(client.end().await.code(), Code::Unauthenticated);
    assert_eq!(Client::open(rig.channel().await, &rig.token).await.err().unwrap().code(), Code::Unauthenticated);
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_rotated_certificate_is_used_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    holdfast_collector::ca::init(&dir.path().join("a"), &["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("a/server.crt"), dir.path().join("a/server.key"));
    let certificate = holdfast_collector::accept::Certificate::load(&cert, &key).unwrap();
    assert!(!certificate.reload().unwrap());
    std::fs::write(&cert, "-----BEGIN CERTIFICATE-----").unwrap();
    assert!(certificate.reload().is_err());
    holdfast_collector::ca::init(&dir.path().join("b"), &["localhost".to_owned()]).unwrap();
    std::fs::copy(dir.path().join("b/server.crt"), &cert).unwrap();
    assert!(certificate.reload().is_err(), "certificate and key do not fit");
    std::fs::copy(dir.path().join("b/server.key"), &key).unwrap();
    assert!(certificate.reload().unwrap());
}

/// Whatever a connection says whose node has a newer one: nothing of it counts, and it is told.
#[tokio::test]
async fn a_zombie_changes_nothing_and_is_told() {
    let rig = rig().await;
    let entries = [finding("a", "1", Verdict::Fail)];
    let mut silent = rig.client().await;
    silent.greet(7, 0, Digest::EMPTY).await;
    let said = [
        delta(1, &[finding("a", "zombie", Verdict::Fail)]),
        part(1, 0, &[finding("a", "zombie", Verdict::Fail)], None),
        heartbeat(digest(&entries)),
        Say::PolicyStatus(v1::PolicyStatus { hash: vec![1; 16], applied: true, reason: String::new() }),
        Say::ProbeResult(v1::ProbeResult::default()),
    ];
    for said in said {
        let mut old = rig.client().await;
        old.greet(7, 0, Digest::EMPTY).await;
        let mut new = rig.client().await;
        let session = new.greet(7, 0, Digest::EMPTY).await.session;
        old.say(said).await;
        let status = old.end().await;
        assert_eq!(status.code(), Code::Aborted);
        assert!(status.message().contains("superseded"), "{status}");
        let newest = i64::try_from(session).unwrap();
        assert_eq!(rig.number("select session from nodes").await, newest);
    }
    let mut leaving = rig.client().await;
    leaving.greet(7, 0, Digest::EMPTY).await;
    let mut new = rig.client().await;
    new.greet(7, 0, Digest::EMPTY).await;
    leaving.say(Say::Bye(v1::Bye { reason: "an older one leaves".into() })).await;
    assert_eq!(leaving.end().await.code(), Code::Aborted);
    assert_eq!(silent.end().await.code(), Code::Aborted, "one that says nothing is told too");
    // Longer than the grace: no end of an older connection is the node's.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.text("select state || state_reason from nodes").await, "connected");
    assert_eq!(rig.number("select (select count(*) from findings) + (select count(*) from transitions)").await, 0);
    new.say(delta(1, &entries)).await;
    assert_eq!(new.ack().await.seq, 1);
    drop((leaving, new, silent));
    rig.stop().await;
}

#[tokio::test]
async fn a_write_that_waits_while_a_newer_session_opens_is_not_stored() {
    let rig = rig().await;
    let mut old = rig.client().await;
    old.greet(7, 0, Digest::EMPTY).await;
    let mut new = rig.client().await;
    let mut lock = rig.raw().await.acquire().await.unwrap();
    sqlx::query("begin immediate").execute(&mut *lock).await.unwrap();
    new.say(Say::Hello(hello(7, 0, Digest::EMPTY))).await;
    // It waits for the store before the other does.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    old.say(delta(1, &[finding("a", "zombie", Verdict::Fail)])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    sqlx::query("rollback").execute(&mut *lock).await.unwrap();
    assert_eq!(old.end().await.code(), Code::Aborted);
    assert!(matches!(new.hear().await.unwrap(), Some(Hear::Welcome(_))));
    assert_eq!(rig.number("select count(*) from findings").await, 0);
    drop((old, new, lock));
    rig.stop().await;
}

#[tokio::test]
async fn what_was_changed_under_the_collector_is_found_after_the_next_change_and_repaired() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    let entries = [finding("a", "1", Verdict::Fail), finding("a", "2", Verdict::Fail), finding("a", "3", Verdict::Pass)];
    client.say(delta(1, &entries[..2])).await;
    client.ack().await;
    let raw = rig.raw().await;
    sqlx::query("delete from findings where subject = '2'").execute(&raw).await.unwrap();
    let left = digest(&entries[..1]).to_string();
    sqlx::query("update nodes set digest = $1").bind(left).execute(&raw).await.unwrap();
    client.say(delta(2, &entries[2..])).await;
    assert_eq!(client.ack().await.seq, 2);
    for _ in 0..3 {
        client.say(heartbeat(digest(&entries))).await;
    }
    assert!(matches!(client.hear().await.unwrap(), Some(Hear::Resync(_))), "by the third heartbeat");
    client.say(part(3, 0, &entries, Some(digest(&entries)))).await;
    assert_eq!(client.ack().await.seq, 3);
    assert_eq!(rig.number("select count(*) from findings").await, 3);
    assert_eq!(rig.text("select digest from nodes").await, digest(&entries).to_string());
    for _ in 0..4 {
        client.say(heartbeat(digest(&entries))).await;
    }
    client.say(delta(4, &[])).await;
    assert_eq!(client.ack().await.seq, 4, "nothing more is asked for");
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn while_nothing_can_be_stored_it_is_said_agents_are_sent_away_and_pages_go_on() {
    let rig = rig().await;
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{}{path}", rig.serving.http_addr)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    client.say(delta(1, &[finding("a", "1", Verdict::Fail)])).await;
    client.ack().await;
    let mut lock = rig.raw().await.acquire().await.unwrap();
    sqlx::query("begin immediate").execute(&mut *lock).await.unwrap();
    client.say(delta(2, &[finding("a", "2", Verdict::Fail)])).await;
    let status = client.end().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the store cannot commit: come back later"));
    let (code, text) = get("/readyz").await;
    assert!(code == 503 && text.contains("locked"), "{code} {text}");
    assert_eq!(Client::open(rig.channel().await, &rig.token).await.err().unwrap().code(), Code::Unavailable);
    let (code, page) = get("/").await;
    assert!(code == 200 && page.contains("Nothing new can be stored"), "{code} {page}");
    assert!(rig.metrics().await.contains("holdfast_collector_store_failing 1"));

    sqlx::query("rollback").execute(&mut *lock).await.unwrap();
    let ready = async {
        while get("/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, ready).await.expect("by itself, with no agent there");
    assert!(!get("/").await.1.contains("Nothing new can be stored"));
    let mut client = rig.client().await;
    assert_eq!(client.greet(7, 1, digest(&[finding("a", "1", Verdict::Fail)])).await.resume(), Resume::InSync);
    client.say(delta(2, &[finding("a", "2", Verdict::Fail)])).await;
    assert_eq!(client.ack().await.seq, 2);
    drop((client, lock));
    rig.stop().await;
}
