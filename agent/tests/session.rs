//! The session and the spool step by step, and the size of messages. Random histories against the real collector's machine are
//! `tests/tests/model`.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use holdfast_agent::session::{Closed, Input, Introduction, Moment, Output, Session, Vitals};
use holdfast_agent::spool::{Image, Spool, Unsent};
use holdfast_checks::entries::{Digest, Entry, Evidence, Finding, Hash, Severity, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use proptest::prelude::*;
use prost::Message;

fn introduction() -> Introduction {
    Introduction {
        agent_version: "0.0.0".to_owned(),
        catalogue_hash: Hash::default(),
        boot_id: "b".to_owned(),
        node_name: "n".to_owned(),
        capabilities: 1,
    }
}

fn moment(now_ms: u64) -> Moment {
    Moment { now_ms, wall_ms: 1_700_000_000_000, draw: 0x8000_0000, vitals: Vitals::default() }
}

fn finding(check: &str, subject: &str, verdict: Verdict, detail: &str) -> Entry {
    let evidence = Evidence {
        path: "kubelets.settings.readOnlyPort".to_owned(),
        value: Some(serde_json::Value::String(detail.to_owned())),
        source: "flag --read-only-port".to_owned(),
        at: 1,
    };
    let finding = Finding {
        check: check.to_owned(),
        subject: subject.to_owned(),
        verdict,
        reason: String::new(),
        severity: Severity::High,
        title: "A title".to_owned(),
        evidence: vec![evidence],
        evidence_truncated: false,
    };
    Entry::finding(finding, 5)
}

/// Makes `fresh` the whole truth, as a full pass does.
fn scan(spool: &mut Spool, fresh: Vec<Entry>) {
    let changes = spool.state().compare(fresh, |_| true, 7);
    spool.apply(changes);
}

fn sent(outputs: Vec<Output>) -> Vec<Say> {
    let said = |output| if let Output::Send(message) = output { message.message } else { None };
    outputs.into_iter().filter_map(said).collect()
}

fn welcome(resume: v1::welcome::Resume) -> Input {
    hear(Hear::Welcome(v1::Welcome { session: 1, resume: resume.into(), protocol: 1, heartbeat_seconds: 10, ..v1::Welcome::default() }))
}

fn hear(message: Hear) -> Input {
    Input::Received(v1::CollectorMessage { message: Some(message) })
}

fn ack(seq: u64) -> Input {
    hear(Hear::Ack(v1::Ack { seq, refused: Vec::new() }))
}

/// A session that has been welcomed with `resume`, and what it said after the Hello.
fn open(spool: &mut Spool, resume: v1::welcome::Resume) -> (Session, Vec<Say>) {
    let mut session = Session::new(introduction());
    let hello = sent(session.step(Input::Connected, spool, &moment(0)));
    assert!(matches!(hello.as_slice(), [Say::Hello(_)]), "the first message is Hello and nothing else: {hello:?}");
    let said = sent(session.step(welcome(resume), spool, &moment(1)));
    (session, said)
}

#[test]
fn in_sync_sends_nothing_but_history_nobody_has_seen() {
    let mut spool = Spool::in_memory(1);
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let (mut session, said) = open(&mut spool, v1::welcome::Resume::InSync);
    let [Say::Delta(delta)] = said.as_slice() else { panic!("{said:?}") };
    assert!(delta.upserts.is_empty() && delta.gone.is_empty());
    assert_eq!(delta.transitions.len(), 1);
    assert!(sent(session.step(ack(1), &mut spool, &moment(2))).is_empty());
    assert!(!spool.has_unsent());
}

#[test]
fn a_change_undone_before_it_was_sent_sends_history_only() {
    let mut spool = Spool::in_memory(1);
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
    session.step(ack(2), &mut spool, &moment(2));
    session.step(Input::Disconnected, &mut spool, &moment(3));
    scan(&mut spool, vec![finding("a", "node", Verdict::Fail, "")]);
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    assert!(!spool.has_unsent_entries());
    let flap: Vec<_> = spool.unsent_transitions().map(|transition| (transition.number, transition.to)).collect();
    assert_eq!(flap, [(2, Some(Verdict::Fail)), (3, Some(Verdict::Pass))]);
}

#[test]
fn a_change_undone_after_it_was_lost_in_flight_is_sent() {
    let mut spool = Spool::in_memory(1);
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
    session.step(ack(2), &mut spool, &moment(2));
    scan(&mut spool, vec![finding("a", "node", Verdict::Fail, "")]);
    let said = sent(session.step(Input::Changed, &mut spool, &moment(3)));
    assert!(matches!(said.as_slice(), [Say::Delta(_)]), "{said:?}");
    session.step(Input::Disconnected, &mut spool, &moment(4));
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let (_, said) = open(&mut spool, v1::welcome::Resume::Delta);
    let [Say::Delta(delta)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(delta.upserts.len(), 1, "the collector may hold the lost one");
    assert_eq!(delta.seq, 4, "no other content ever gets the lost message's number");
}

#[test]
fn nothing_is_sent_while_a_snapshot_waits_for_its_grant() {
    let mut spool = Spool::in_memory(1);
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let (mut session, said) = open(&mut spool, v1::welcome::Resume::Wait);
    assert!(said.is_empty());
    let beat = sent(session.step(Input::Tick, &mut spool, &moment(13_000)));
    assert!(matches!(beat.as_slice(), [Say::Heartbeat(_)]), "waiting does not silence heartbeats: {beat:?}");
    let said = sent(session.step(hear(Hear::Resync(v1::Resync::default())), &mut spool, &moment(13_001)));
    let [Say::Snapshot(part), Say::Delta(delta)] = said.as_slice() else { panic!("{said:?}") };
    assert!(part.last && part.entries.len() == 1 && part.digest == spool.digest().to_bytes());
    assert!(delta.upserts.is_empty() && delta.transitions.len() == 1, "history follows a snapshot as a delta");
}

#[test]
fn no_more_is_in_flight_than_welcome_allows() {
    let mut spool = Spool::in_memory(1);
    scan(&mut spool, (0..200).map(|n| finding(&format!("check-{n}"), "node", Verdict::Fail, &"x".repeat(900))).collect());
    let (mut session, said) = open(&mut spool, v1::welcome::Resume::Full);
    assert_eq!(said.len(), 4);
    assert_eq!(sent(session.step(ack(2), &mut spool, &moment(2))).len(), 2);
}

#[test]
fn a_refused_entry_leaves_the_digest_and_is_not_resent_until_it_changes() {
    let mut spool = Spool::in_memory(1);
    let (good, bad) = (finding("a", "node", Verdict::Pass, ""), finding("b", "node", Verdict::Pass, ""));
    scan(&mut spool, vec![good.clone(), bad.clone()]);
    let (mut session, said) = open(&mut spool, v1::welcome::Resume::Full);
    assert_eq!(said.len(), 2);
    let refused = v1::Refused {
        key: Some(v1::Key { kind: 1, key: bad.key.as_str().to_owned() }),
        code: v1::refused::Code::Quota.into(),
        hash: bad.hash.0.to_vec(),
    };
    let said = sent(session.step(hear(Hear::Ack(v1::Ack { seq: 2, refused: vec![refused] })), &mut spool, &moment(2)));
    assert!(said.is_empty(), "{said:?}");
    let mut only_good = Digest::EMPTY;
    only_good.add(&good.key, &good.hash);
    assert_eq!((spool.digest(), spool.refused_entries()), (only_good, 1));
    scan(&mut spool, vec![good, finding("b", "node", Verdict::Fail, "")]);
    let said = sent(session.step(Input::Changed, &mut spool, &moment(3)));
    assert!(matches!(said.as_slice(), [Say::Delta(delta)] if delta.upserts.len() == 1), "{said:?}");
}

/// A collector that was taken could refuse the worst findings, and none after it would ever have heard of them.
#[test]
fn what_one_collector_refused_the_next_one_that_wants_all_is_sent() {
    for resume in [v1::welcome::Resume::Full, v1::welcome::Resume::Wait] {
        let mut spool = Spool::in_memory(1);
        let worst = finding("a", "node", Verdict::Fail, "");
        scan(&mut spool, vec![worst.clone(), finding("b", "node", Verdict::Pass, "")]);
        let all = spool.digest();
        let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
        let key = v1::Key { kind: 1, key: worst.key.as_str().to_owned() };
        let refused = v1::Refused { key: Some(key), code: v1::refused::Code::Malformed.into(), hash: worst.hash.0.to_vec() };
        session.step(hear(Hear::Ack(v1::Ack { seq: 1, refused: vec![refused] })), &mut spool, &moment(2));
        assert_eq!(spool.refused_entries(), 1);
        session.step(Input::Disconnected, &mut spool, &moment(3));

        let (mut session, mut said) = open(&mut spool, resume);
        let resync = hear(Hear::Resync(v1::Resync::default()));
        said.extend(sent(session.step(resync, &mut spool, &moment(4))));
        let entries = said.iter().filter_map(|said| if let Say::Snapshot(part) = said { Some(part.entries.len()) } else { None });
        assert_eq!((entries.max(), spool.digest(), spool.refused_entries()), (Some(2), all, 0), "{resume:?}");
    }
}

#[test]
fn what_the_collector_breaks_closes_the_stream_with_words() {
    let close = |inputs: Vec<Input>| {
        let mut spool = Spool::in_memory(1);
        let mut session = Session::new(introduction());
        session.step(Input::Connected, &mut spool, &moment(0));
        let outputs: Vec<Output> = inputs.into_iter().flat_map(|input| session.step(input, &mut spool, &moment(1))).collect();
        outputs.into_iter().find_map(|output| if let Output::Close(why) = output { Some(why.to_string()) } else { None })
    };
    let full = || welcome(v1::welcome::Resume::InSync);
    let other = v1::Welcome { protocol: 9, resume: 1, ..v1::Welcome::default() };
    let said = [
        close(vec![ack(1)]),
        close(vec![full(), full()]),
        close(vec![full(), ack(99)]),
        close(vec![hear(Hear::Welcome(other))]),
        close(vec![welcome(v1::welcome::Resume::Unspecified)]),
    ];
    insta::assert_debug_snapshot!(said);
}

#[test]
fn silence_is_timed_and_a_drain_ends_with_the_last_acknowledgement() {
    let mut spool = Spool::in_memory(1);
    let mut session = Session::new(introduction());
    let outputs = session.step(Input::Connected, &mut spool, &moment(0));
    assert!(outputs.contains(&Output::WakeAt(20_000)));
    assert!(session.step(Input::Tick, &mut spool, &moment(20_000)).contains(&Output::Close(Closed::Silent("did not answer Hello"))));

    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
    let late = session.step(Input::Tick, &mut spool, &moment(61_000));
    assert!(late.contains(&Output::Close(Closed::Silent("did not acknowledge data"))), "{late:?}");

    let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
    let drain = hear(Hear::Drain(v1::Drain { reconnect_min_ms: 5, reconnect_max_ms: 9 }));
    assert!(sent(session.step(drain, &mut spool, &moment(2))).is_empty());
    let last = spool.seq();
    assert!(session.step(ack(last), &mut spool, &moment(3)).contains(&Output::Close(Closed::Drained { min_ms: 5, max_ms: 9 })));
}

#[test]
fn a_policy_is_handed_out_what_came_of_it_is_said_and_stop_says_bye() {
    let mut spool = Spool::in_memory(1);
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::InSync);
    let policy = v1::Policy { hash: vec![1], ..v1::Policy::default() };
    let handed = session.step(hear(Hear::Policy(policy.clone())), &mut spool, &moment(2));
    assert!(handed.contains(&Output::Policy(policy.clone())), "{handed:?}");
    let status = v1::PolicyStatus { hash: vec![1], applied: true, reason: String::new() };
    assert_eq!(sent(session.step(Input::Policed(status.clone()), &mut spool, &moment(3))), [Say::PolicyStatus(status)]);
    spool.set_policy(policy.encode_to_vec());
    let outputs = session.step(Input::Stop("SIGTERM".to_owned()), &mut spool, &moment(3));
    assert_eq!(outputs.last(), Some(&Output::Close(Closed::Stopping)));
    assert!(matches!(sent(outputs).as_slice(), [Say::Bye(bye)] if bye.reason == "SIGTERM"));
    let said = sent(session.step(Input::Connected, &mut spool, &moment(4)));
    assert!(matches!(said.as_slice(), [Say::Hello(hello)] if hello.policy_hash == [1]), "the next Hello names it: {said:?}");
}

#[test]
fn what_was_saved_goes_on_where_it_was_and_what_was_in_flight_is_sent_again() {
    let mut spool = Spool::in_memory(7);
    spool.keep_in_file();
    let mut image = Image::default();
    scan(&mut spool, vec![finding("a", "node", Verdict::Fail, ""), finding("b", "node", Verdict::Pass, "")]);
    assert_eq!((spool.unsent_transitions().count(), spool.queued()), (0, 4), "history waits until it is durable");
    image.apply(spool.save().unwrap());
    assert!(spool.save().is_none(), "one at a time");
    spool.saved();
    assert_eq!(spool.unsent_transitions().count(), 2);
    let (mut session, said) = open(&mut spool, v1::welcome::Resume::Full);
    assert_eq!(said.len(), 2);
    session.step(ack(2), &mut spool, &moment(2));
    // One more change is on its way when everything is saved for the last time.
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, ""), finding("b", "node", Verdict::Pass, "")]);
    session.step(Input::Changed, &mut spool, &moment(3));
    image.apply(spool.save().unwrap());

    let mut next = Spool::restore(image.clone(), 0);
    assert_eq!((next.epoch(), next.last_acked(), next.seq(), next.digest()), (7, 2, 3, spool.digest()));
    let again: Vec<_> = next.unsent().map(|unsent| matches!(unsent, Unsent::Upsert(entry) if entry.key.as_str() == "a/node")).collect();
    assert_eq!(again, [true], "what was in flight is sent again, and nothing else");
    assert_eq!(next.unsent_transitions().map(|transition| transition.number).collect::<Vec<_>>(), [3]);
    image.apply(next.save().unwrap());
    assert_eq!(Spool::restore(image, u64::MAX).digest(), next.digest());
}

#[test]
fn what_fell_off_the_ring_in_flight_is_declared_lost_by_a_crash() {
    let mut spool = Spool::with_ring(7, 1);
    spool.keep_in_file();
    scan(&mut spool, vec![finding("a", "node", Verdict::Fail, "")]);
    let mut image = Image::default();
    image.apply(spool.save().unwrap());
    spool.saved();
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
    assert_eq!(spool.queued(), 0, "the first transition is on its way");
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    image.apply(spool.save().unwrap());
    spool.saved();
    assert_eq!(spool.truncated(), 0, "it may arrive");
    assert_eq!(Spool::restore_with_ring(image.clone(), 0, 1).truncated(), 1, "nobody would send it again");
    session.step(ack(spool.seq()), &mut spool, &moment(2));
    image.apply(spool.save().unwrap());
    assert_eq!(Spool::restore_with_ring(image, 0, 1).truncated(), 0, "it arrived");
}

/// The agent believed positions up to the highest that a collector takes: put there, it was refused by every collector for ever.
#[test]
fn no_collector_can_put_an_agent_where_others_refuse_it() {
    let at = |seq: u64| {
        let mut spool = Spool::in_memory(1);
        let mut session = Session::new(introduction());
        session.step(Input::Connected, &mut spool, &moment(0));
        let resume = v1::welcome::Resume::InSync.into();
        let welcome = v1::Welcome { session: 1, resume, protocol: 1, seq, ..v1::Welcome::default() };
        let outputs = session.step(hear(Hear::Welcome(welcome)), &mut spool, &moment(1));
        (outputs.iter().any(|output| matches!(output, Output::Close(_))), spool.seq())
    };
    assert_eq!(at(u64::MAX >> 3), (false, u64::MAX >> 3));
    for seq in [(u64::MAX >> 3) + 1, u64::MAX >> 2, u64::MAX] {
        assert_eq!(at(seq), (true, 0));
    }
}

/// A snapshot that was asked for in the middle of a session was believed to have arrived before it was sent: a crash or a loss then
/// led to changes on top of a state that was never there.
#[test]
fn a_snapshot_of_which_nothing_arrived_leaves_everything_to_be_sent_again() {
    let (a, b) = (finding("a", "node", Verdict::Fail, ""), finding("b", "node", Verdict::Pass, ""));
    let crash = |crashed: bool| {
        let mut spool = Spool::in_memory(7);
        spool.keep_in_file();
        let mut image = Image::default();
        scan(&mut spool, vec![a.clone(), b.clone()]);
        let (mut session, _) = open(&mut spool, v1::welcome::Resume::Full);
        image.apply(spool.save().unwrap());
        spool.saved();
        let last = spool.seq();
        session.step(ack(last), &mut spool, &moment(2));
        session.step(Input::Disconnected, &mut spool, &moment(3));
        // `b` goes while nobody listens, and what the collector holds turns out to be something else.
        scan(&mut spool, vec![a.clone()]);
        let (mut session, _) = open(&mut spool, v1::welcome::Resume::Delta);
        session.step(hear(Hear::Resync(v1::Resync::default())), &mut spool, &moment(5));
        image.apply(spool.save().unwrap());
        spool.saved();
        if crashed {
            spool = Spool::restore(image, 0);
        } else {
            session.step(Input::Disconnected, &mut spool, &moment(6));
        }
        let unsent: Vec<String> = spool.unsent().map(|unsent| format!("{unsent:?}").chars().take(6).collect()).collect();
        unsent
    };
    assert_eq!(crash(true), ["Upsert", "Gone(K"]);
    assert_eq!(crash(false), ["Upsert", "Gone(K"]);
}

#[test]
fn a_probe_request_is_handed_out_and_its_result_sent_while_the_session_lasts() {
    let mut spool = Spool::in_memory(1);
    let request = || v1::ProbeRequest { request: 3, address: "10.0.0.1".to_owned(), port: 10250, path: "/pods".to_owned() };
    let result = || v1::ProbeResult { request: 3, outcome: "answered".to_owned(), status: 401, ..v1::ProbeResult::default() };
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::InSync);
    let asked = session.step(hear(Hear::ProbeRequest(request())), &mut spool, &moment(2));
    assert!(asked.contains(&Output::Probe(request())), "{asked:?}");
    assert_eq!(sent(session.step(Input::Probed(result()), &mut spool, &moment(3))), [Say::ProbeResult(result())]);
    // One that comes when the collector is leaving, or the stream is gone, goes nowhere.
    session.step(hear(Hear::ProbeRequest(request())), &mut spool, &moment(4));
    session.step(Input::Disconnected, &mut spool, &moment(5));
    assert!(sent(session.step(Input::Probed(result()), &mut spool, &moment(6))).is_empty());
    // Before Welcome nobody may ask.
    session.step(Input::Connected, &mut spool, &moment(7));
    let early = session.step(hear(Hear::ProbeRequest(request())), &mut spool, &moment(8));
    assert!(matches!(early.as_slice(), [Output::Close(Closed::Protocol(_))]), "{early:?}");
}

fn rotated(token: &str) -> Input {
    Input::Rotated(token.to_owned())
}

fn reauth(token: &str) -> Say {
    Say::Reauth(v1::Reauth { token: token.to_owned() })
}

#[test]
fn a_rotated_token_is_told_once_and_before_anything_else() {
    let mut spool = Spool::in_memory(1);
    let (mut session, _) = open(&mut spool, v1::welcome::Resume::InSync);
    scan(&mut spool, vec![finding("a", "node", Verdict::Pass, "")]);
    let said = sent(session.step(rotated("second"), &mut spool, &moment(2)));
    assert!(matches!(said.as_slice(), [told, Say::Delta(_)] if *told == reauth("second")), "{said:?}");
    let beat = sent(session.step(Input::Tick, &mut spool, &moment(13_000)));
    assert!(matches!(beat.as_slice(), [Say::Heartbeat(_)]), "{beat:?}");
    assert_eq!(sent(session.step(rotated("third"), &mut spool, &moment(13_001))), [reauth("third")]);
    let (mut waiting, _) = open(&mut spool, v1::welcome::Resume::Wait);
    assert_eq!(sent(waiting.step(rotated("fourth"), &mut spool, &moment(2))), [reauth("fourth")], "also while a snapshot waits");
}

#[test]
fn a_token_rotated_while_nobody_listens_is_told_after_the_next_welcome_and_only_the_last_of_them() {
    let mut spool = Spool::in_memory(1);
    let mut session = Session::new(introduction());
    assert!(session.step(rotated("second"), &mut spool, &moment(0)).is_empty(), "there is no stream");
    let greeting = sent(session.step(Input::Connected, &mut spool, &moment(1)));
    assert!(matches!(greeting.as_slice(), [Say::Hello(_)]), "nothing goes before Welcome: {greeting:?}");
    assert!(sent(session.step(rotated("third"), &mut spool, &moment(2))).is_empty());
    assert_eq!(sent(session.step(welcome(v1::welcome::Resume::InSync), &mut spool, &moment(3))), [reauth("third")]);
    // A collector that is about to stop takes acknowledgements only; the next one hears it.
    session.step(hear(Hear::Drain(v1::Drain { reconnect_min_ms: 5, reconnect_max_ms: 9 })), &mut spool, &moment(4));
    assert!(sent(session.step(rotated("fourth"), &mut spool, &moment(5))).is_empty());
    session.step(Input::Disconnected, &mut spool, &moment(6));
    session.step(Input::Connected, &mut spool, &moment(7));
    assert_eq!(sent(session.step(welcome(v1::welcome::Resume::InSync), &mut spool, &moment(8))), [reauth("fourth")]);
    // One that it was told with a stream that ended is what the next stream is opened with.
    session.step(Input::Disconnected, &mut spool, &moment(9));
    session.step(Input::Connected, &mut spool, &moment(10));
    assert!(sent(session.step(welcome(v1::welcome::Resume::InSync), &mut spool, &moment(11))).is_empty());
}

#[test]
fn what_the_agent_can_do_is_said_in_hello() {
    let mut spool = Spool::in_memory(1);
    let said = sent(Session::new(introduction()).step(Input::Connected, &mut spool, &moment(0)));
    assert!(matches!(said.as_slice(), [Say::Hello(hello)] if hello.capabilities == 7), "{said:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever a sensor finds, no message is larger than the contract allows.
    #[test]
    fn nothing_larger_than_a_message_can_be_built(
        texts in proptest::collection::vec(("[a-z]{1,8}", "\\PC{0,1500}", "\\PC{0,2500}", "\\PC{0,900}"), 1..40),
        documents in proptest::collection::vec("[\"\\\\a-zäß]{0,3000}", 0..20),
        resume in prop_oneof![Just(v1::welcome::Resume::Full), Just(v1::welcome::Resume::Delta)],
    ) {
        let mut spool = Spool::in_memory(1);
        let mut fresh: Vec<Entry> = texts.iter().enumerate().map(|(n, (check, subject, value, reason))| {
            let item = |path: &str| Evidence { path: path.to_owned(), value: Some(value.clone().into()), source: reason.clone(), at: i64::MAX };
            let body = Finding {
                check: format!("{check}-{n}"), subject: subject.clone(), verdict: Verdict::Unknown, reason: reason.clone(),
                severity: Severity::Critical, title: value.clone(), evidence: vec![item("a"), item(subject), item("c")], evidence_truncated: false,
            };
            Entry::finding(body, i64::MAX)
        }).collect();
        fresh.extend(documents.iter().enumerate().filter_map(|(n, text)| Entry::inventory("os", &n.to_string(), &text.as_str().into(), i64::MAX)));
        let count = fresh.len();
        scan(&mut spool, fresh);
        let (mut session, mut said) = open(&mut spool, resume);
        let mut upserts = 0;
        while !said.is_empty() {
            for message in &said {
                let length = v1::AgentMessage { message: Some(message.clone()) }.encoded_len() + 5;
                prop_assert!(length <= holdfast_proto::MAX_MESSAGE_BYTES, "{length}");
                upserts += match message { Say::Delta(delta) => delta.upserts.len(), Say::Snapshot(part) => part.entries.len(), _ => 0 };
            }
            let seq = spool.seq();
            said = sent(session.step(ack(seq), &mut spool, &moment(2)));
        }
        prop_assert_eq!(upserts, count);
        prop_assert_eq!(spool.refused_entries(), 0, "every entry within its limits fits a message");
    }
}
