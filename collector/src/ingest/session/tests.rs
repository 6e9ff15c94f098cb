//! The machine, input by input: what the sessions over a real socket cannot time or order.

use holdfast_checks::entries::{Digest, Entry, Finding, Hash, Key, Kind, Severity, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Said;
use holdfast_proto::v1::collector_message::Message as Say;
use holdfast_proto::v1::welcome::Resume as How;

use super::{Close, Input, Moment, Output, Session};
use crate::ingest::Settings;
use crate::store::ingest::{NodeWrite, Opaque, Progress, Written};
use crate::store::nodes::{NodeIdentity, Opened, Origin, Resume};

struct Rig {
    session: Session,
    now: Moment,
}

impl Rig {
    fn new() -> Self {
        let now = Moment { mono_ms: 1_000, wall_ms: 1_800_000_000_000 };
        let identity = NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "n".into(), origin: Origin::Agent };
        Self { session: Session::new(identity, Settings::default(), now), now }
    }

    /// A session that was told `resume`; the outputs of opening it.
    fn open(resume: Resume) -> (Self, Vec<Output>) {
        Self::open_with(resume, 0)
    }

    fn open_with(resume: Resume, capabilities: u64) -> (Self, Vec<Output>) {
        let mut rig = Self::new();
        let digest = Digest::EMPTY.to_bytes().to_vec();
        let hello = v1::Hello {
            protocol_min: 1,
            protocol_max: 1,
            state_digest: digest,
            catalogue_hash: vec![0; 16],
            capabilities,
            ..v1::Hello::default()
        };
        let out = rig.say(Said::Hello(hello));
        assert!(matches!(out[..], [Output::Open(_)]));
        let opened = Opened { node_id: 1, session: 5, resume, position: 0, digest: Digest::EMPTY };
        let out = rig.input(Input::Opened(opened, 1));
        (rig, out)
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(input, self.now)
    }

    fn say(&mut self, said: Said) -> Vec<Output> {
        self.input(Input::Message(Box::new(v1::AgentMessage { message: Some(said) })))
    }

    fn after(&mut self, ms: u64, input: Input) -> Vec<Output> {
        self.now.mono_ms += ms;
        self.input(input)
    }

    fn committed(&mut self, seq: u64, digest: Digest) -> Vec<Output> {
        self.input(Input::Written(seq, Written::Committed { refused: Vec::new(), misnamed: false, digest }))
    }

    fn heartbeat(&mut self, digest: Digest, queued: u32) -> Vec<Output> {
        self.say(Said::Heartbeat(v1::Heartbeat { digest: digest.to_bytes().to_vec(), queued, ..v1::Heartbeat::default() }))
    }
}

fn entry(subject: &str) -> Entry {
    let finding = Finding {
        check: "a".into(),
        subject: subject.into(),
        verdict: Verdict::Fail,
        reason: String::new(),
        severity: Severity::High,
        title: String::new(),
        evidence: Vec::new(),
        evidence_truncated: false,
    };
    Entry::finding(finding, 1)
}

fn wire(entry: &Entry) -> v1::Entry {
    let finding = v1::Finding { verdict: 2, severity: 4, ..v1::Finding::default() };
    let key = v1::Key { kind: 1, key: entry.key.as_str().into() };
    v1::Entry { key: Some(key), hash: entry.hash.0.to_vec(), body: Some(v1::entry::Body::Finding(finding)), changed_at: 1 }
}

fn part(seq: u64, number: u32, entries: &[Entry], last: Option<Digest>) -> Said {
    let digest = last.map(|digest| digest.to_bytes().to_vec()).unwrap_or_default();
    let entries = entries.iter().map(wire).collect();
    Said::Snapshot(v1::Snapshot { seq, snapshot: 1, part: number, last: last.is_some(), entries, digest })
}

fn delta(seq: u64, entries: &[Entry]) -> Said {
    Said::Delta(v1::Delta { seq, upserts: entries.iter().map(wire).collect(), ..v1::Delta::default() })
}

fn digest(entries: &[Entry]) -> Digest {
    let mut digest = Digest::EMPTY;
    for entry in entries {
        digest.add(&entry.key, &entry.hash);
    }
    digest
}

fn said(out: &[Output]) -> Vec<&Say> {
    out.iter().filter_map(|output| if let Output::Send(message) = output { message.message.as_ref() } else { None }).collect()
}

fn write(out: &[Output]) -> &NodeWrite {
    out.iter().find_map(|output| if let Output::Write(write) = output { Some(&**write) } else { None }).expect("a write")
}

fn closed(out: &[Output]) -> Option<&Close> {
    out.iter().find_map(|output| if let Output::Close(close) = output { Some(close) } else { None })
}

fn asks_grant(out: &[Output]) -> bool {
    out.iter().any(|output| matches!(output, Output::AskGrant))
}

/// Each may be a question to an API server.
#[test]
fn few_rotated_tokens_are_looked_at() {
    let (mut rig, _) = Rig::open(Resume::InSync);
    let looked_at = |rig: &mut Rig| {
        let out = (0..100).flat_map(|n| rig.say(Said::Reauth(v1::Reauth { token: n.to_string() }))).collect::<Vec<_>>();
        out.iter().filter(|output| matches!(output, Output::Reauth(_))).count()
    };
    assert_eq!(looked_at(&mut rig), 4);
    rig.now.mono_ms += 60_000;
    assert_eq!(looked_at(&mut rig), 4);
}

/// Of a check that the collector judges nothing is stored, whatever the message, and both sides come to the same digest.
#[test]
fn what_is_judged_here_is_refused_in_a_snapshot_too_and_does_not_break_it() {
    let identity = NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "n".into(), origin: Origin::Agent };
    let judged_here = std::sync::Arc::new(["a".to_owned()].into());
    let (mut rig, _) = Rig::open(Resume::Full);
    rig.session = Session::new(identity, Settings { judged_here, ..Settings::default() }, rig.now);
    let digest_of_nothing = Digest::EMPTY.to_bytes().to_vec();
    let hello = v1::Hello { protocol_max: 1, state_digest: digest_of_nothing, catalogue_hash: vec![0; 16], ..v1::Hello::default() };
    rig.say(Said::Hello(v1::Hello { protocol_min: 1, ..hello }));
    rig.input(Input::Opened(Opened { node_id: 1, session: 5, resume: Resume::Full, position: 0, digest: Digest::EMPTY }, 1));
    rig.input(Input::Granted);
    let foreign = entry("x");
    let out = rig.say(part(1, 0, std::slice::from_ref(&foreign), Some(digest(std::slice::from_ref(&foreign)))));
    let written = write(&out);
    assert!(written.upserts.is_empty() && written.refused.len() == 1);
    assert!(matches!(written.progress, Progress::Snapshot { .. }), "it is whole without it");
    assert!(out.iter().any(|output| matches!(output, Output::Foreign(_))));
}

#[test]
fn a_snapshot_waits_for_its_grant_and_heartbeats_do_not_wait() {
    let (mut rig, out) = Rig::open(Resume::Full);
    assert!(asks_grant(&out) && said(&out).is_empty(), "Welcome says whether it is granted, so it waits for that");
    let out = rig.input(Input::Queued);
    assert!(matches!(said(&out)[..], [Say::Welcome(welcome)] if welcome.resume() == How::Wait));
    for _ in 0..3 {
        rig.now.mono_ms += 60_000;
        assert!(said(&rig.heartbeat(digest(&[entry("x")]), 0)).is_empty(), "nothing is asked for twice");
    }
    assert!(matches!(said(&rig.input(Input::Granted))[..], [Say::Resync(_)]));
}

#[test]
fn a_granted_snapshot_that_does_not_come_frees_its_grant() {
    let (mut rig, _) = Rig::open(Resume::Full);
    rig.input(Input::Granted);
    assert!(rig.after(59_000, Input::Tick).is_empty());
    rig.say(part(1, 0, &[], None));
    assert!(rig.after(60_000, Input::Tick).is_empty(), "a part starts the time anew");
    let out = rig.after(1_000, Input::Tick);
    assert!(matches!(out[..], [Output::ReleaseGrant, Output::Close(Close::Late("the snapshot"))]));
}

#[test]
fn parts_move_the_position_only_together_and_a_change_between_them_stays() {
    let (mut rig, _) = Rig::open(Resume::Full);
    rig.input(Input::Granted);
    let (one, two, between) = (entry("1"), entry("2"), entry("between"));
    let out = rig.say(part(1, 0, std::slice::from_ref(&one), None));
    assert_eq!(write(&out).progress, Progress::Partial);
    let out = rig.say(delta(2, std::slice::from_ref(&between)));
    assert_eq!(write(&out).progress, Progress::Partial);
    let out = rig.say(part(3, 1, std::slice::from_ref(&two), Some(digest(&[one.clone(), two.clone()]))));
    let keep = [one.key, two.key, between.key].into();
    assert_eq!(write(&out).progress, Progress::Snapshot { keep });
    assert!(out.iter().any(|output| matches!(output, Output::ReleaseGrant)));
    assert_eq!(write(&rig.say(delta(4, &[]))).progress, Progress::Delta);
}

#[test]
fn a_missing_part_asks_again_at_growing_intervals_and_deletes_nothing() {
    let (mut rig, _) = Rig::open(Resume::Full);
    rig.input(Input::Granted);
    rig.say(part(1, 0, &[entry("1")], None));
    let out = rig.say(part(2, 2, &[entry("3")], Some(digest(&[entry("1"), entry("3")]))));
    assert_eq!(write(&out).progress, Progress::Partial);
    assert!(asks_grant(&out), "the first time at once");
    rig.input(Input::Granted);
    let out = rig.say(part(3, 0, &[], Some(digest(&[entry("9")]))));
    assert!(!asks_grant(&out), "then not before a minute has passed");
    assert!(!asks_grant(&rig.after(59_000, Input::Tick)));
    assert!(asks_grant(&rig.after(1_000, Input::Tick)));
    rig.input(Input::Granted);
    rig.say(part(4, 0, &[], Some(digest(&[entry("9")]))));
    assert!(!asks_grant(&rig.after(119_000, Input::Tick)));
    assert!(asks_grant(&rig.after(1_000, Input::Tick)));
}

#[test]
fn digests_are_compared_only_when_nothing_is_under_way() {
    let (mut rig, _) = Rig::open(Resume::InSync);
    let other = digest(&[entry("x")]);
    assert!(!asks_grant(&rig.heartbeat(other, 0)));
    assert!(!asks_grant(&rig.heartbeat(other, 3)), "the agent has more to send");
    assert!(!asks_grant(&rig.heartbeat(other, 0)));
    rig.say(delta(1, &[entry("x")]));
    assert!(!asks_grant(&rig.heartbeat(other, 0)), "a commit is under way");
    let out = rig.committed(1, other);
    assert!(matches!(said(&out)[..], [Say::Ack(ack)] if ack.seq == 1));
    assert!(!asks_grant(&rig.heartbeat(Digest::EMPTY, 0)));
    assert!(asks_grant(&rig.heartbeat(Digest::EMPTY, 0)), "twice, and quiet");
    let confirmed = |out: &[Output]| out.iter().any(|output| matches!(output, Output::Heard { confirmed: true, .. }));
    assert!(confirmed(&rig.heartbeat(other, 0)) && !confirmed(&rig.heartbeat(Digest::EMPTY, 0)));
}

#[test]
fn three_missed_heartbeats_end_the_session() {
    let (mut rig, _) = Rig::open(Resume::InSync);
    assert!(rig.after(216_000, Input::Tick).is_empty(), "three times a minute and a fifth");
    let out = rig.after(1, Input::Tick);
    assert_eq!(closed(&out), Some(&Close::Late("three heartbeats")));
    assert_eq!(rig.session.opened().map(|opened| opened.session), Some(5), "whoever closes up still knows which it was");
}

#[test]
fn a_good_bye_waits_for_the_last_commit() {
    let (mut rig, _) = Rig::open(Resume::InSync);
    rig.say(delta(1, &[entry("x")]));
    let out = rig.say(Said::Bye(v1::Bye { reason: "update".into() }));
    assert!(matches!(&out[..], [Output::Stopped(reason)] if reason == "update"));
    let out = rig.committed(1, digest(&[entry("x")]));
    assert!(matches!(said(&out)[..], [Say::Ack(_)]));
    assert_eq!(closed(&out), Some(&Close::Bye));
}

/// It would be shown as stopped, which alerts nobody, for as long as it had something under way.
#[test]
fn whoever_said_good_bye_says_nothing_more() {
    let (mut rig, _) = Rig::open(Resume::InSync);
    rig.say(delta(1, &[entry("x")]));
    rig.say(Said::Bye(v1::Bye::default()));
    assert!(rig.say(delta(2, &[entry("y")])).is_empty());
    assert!(rig.say(Said::Bye(v1::Bye::default())).is_empty(), "once is enough");
    assert!(rig.heartbeat(Digest::EMPTY, 0).is_empty());
    assert_eq!(closed(&rig.committed(1, digest(&[entry("x")]))), Some(&Close::Bye));
}

#[test]
fn a_fenced_write_ends_the_session_and_nothing_follows() {
    let (mut rig, _) = Rig::open(Resume::InSync);
    rig.say(delta(1, &[]));
    let out = rig.input(Input::Written(1, Written::Fenced));
    assert_eq!(closed(&out), Some(&Close::Superseded));
    assert!(rig.say(delta(2, &[])).is_empty());
    assert!(rig.after(999_999, Input::Tick).is_empty());
}

#[test]
fn data_before_welcome_is_a_protocol_error() {
    let (mut rig, _) = Rig::open(Resume::Full);
    let out = rig.say(delta(1, &[]));
    assert!(matches!(closed(&out), Some(Close::Protocol(_))));
}

#[test]
fn a_session_that_is_over_says_nothing_more() {
    let (mut rig, _) = Rig::open(Resume::Full);
    assert!(closed(&rig.say(delta(1, &[]))).is_some());
    for input in [Input::Drain, Input::Tick, Input::Granted, Input::Message(Box::default())] {
        assert_eq!(rig.input(input).len(), 0);
    }
}

#[test]
fn a_large_fleet_comes_back_over_a_longer_time() {
    let mut rig = Rig::new();
    let hello =
        v1::Hello { protocol_min: 1, protocol_max: 3, state_digest: vec![0; 16], catalogue_hash: vec![0; 16], ..v1::Hello::default() };
    rig.say(Said::Hello(hello));
    let opened = Opened { node_id: 1, session: 5, resume: Resume::Delta, position: 0, digest: Digest::EMPTY };
    let out = rig.input(Input::Opened(opened, 10_000));
    assert!(matches!(said(&out)[..], [Say::Welcome(welcome)] if welcome.reconnect_spread_ms == 50_000 && welcome.protocol == 1));
    assert!(matches!(said(&rig.input(Input::Drain))[..], [Say::Drain(drain)] if drain.reconnect_max_ms == 50_000));
}

#[test]
fn what_is_not_known_is_part_of_a_snapshot_and_of_its_digest() {
    let (mut rig, _) = Rig::open(Resume::Full);
    rig.input(Input::Granted);
    let (key, hash) = (Key::parse(Kind::Other(3), "future").expect("a key"), Hash([5; 16]));
    let mut all = digest(&[entry("1")]);
    all.add(&key, &hash);
    let Said::Snapshot(mut whole) = part(1, 0, &[entry("1")], Some(all)) else { unreachable!("a part") };
    let future = v1::Key { kind: 3, key: "future".into() };
    whole.entries.push(v1::Entry { key: Some(future), hash: hash.0.to_vec(), ..v1::Entry::default() });
    let out = rig.say(Said::Snapshot(whole));
    assert_eq!(write(&out).progress, Progress::Snapshot { keep: [entry("1").key, key.clone()].into() });
    assert_eq!(write(&out).opaque, [Opaque { key, hash }]);
}

fn numbering(last_acked_seq: u64, sent_seq: u64) -> v1::Hello {
    v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        state_digest: vec![0; 16],
        catalogue_hash: vec![0; 16],
        capabilities: holdfast_proto::NUMBERS_FROM_WELCOME,
        last_acked_seq,
        sent_seq,
        ..v1::Hello::default()
    }
}

#[test]
fn an_agent_that_numbers_from_welcome_is_told_the_position_and_held_to_it() {
    let mut rig = Rig::new();
    let out = rig.say(Said::Hello(numbering(2, 4)));
    assert!(matches!(&out[..], [Output::Open(start)] if (start.last_acked, start.sent) == (2, Some(4))));
    let opened = Opened { node_id: 1, session: 5, resume: Resume::Delta, position: 9, digest: Digest::EMPTY };
    let out = rig.input(Input::Opened(opened, 1));
    assert!(matches!(said(&out)[..], [Say::Welcome(welcome)] if welcome.seq == 9));
    let out = rig.say(delta(9, &[entry("x")]));
    assert!(matches!(said(&out)[..], [Say::Ack(ack)] if ack.seq == 9), "what is below is stored, or was sent and lost");
    assert_eq!(write(&rig.say(delta(10, &[entry("x")]))).seq, 10);
    assert!(matches!(closed(&rig.say(delta(u64::MAX, &[]))), Some(Close::Protocol(_))), "a number nothing can follow");
}

#[test]
fn an_older_agent_is_told_no_position_and_a_snapshot_has_none() {
    for (hello, resume) in [(v1::Hello { capabilities: 0, ..numbering(2, 4) }, Resume::InSync), (numbering(2, 4), Resume::Full)] {
        let mut rig = Rig::new();
        rig.say(Said::Hello(hello));
        let mut out = rig.input(Input::Opened(Opened { node_id: 1, session: 5, resume, position: 2, digest: Digest::EMPTY }, 1));
        out.extend(rig.input(Input::Granted));
        assert!(matches!(said(&out)[0], Say::Welcome(welcome) if welcome.seq == 0), "{out:?}");
        assert_eq!(write(&rig.say(delta(3, &[]))).seq, 3);
    }
}

#[test]
fn numbers_that_cannot_be_end_the_session() {
    for (last_acked, sent) in [(5, 4), (0, u64::MAX), (u64::MAX, u64::MAX), (1 << 62, 1 << 62)] {
        let out = Rig::new().say(Said::Hello(numbering(last_acked, sent)));
        assert!(matches!(closed(&out), Some(Close::Protocol(_))), "{last_acked} {sent}");
    }
    let old = v1::Hello { capabilities: 0, ..numbering(1 << 62, 0) };
    assert!(matches!(closed(&Rig::new().say(Said::Hello(old))), Some(Close::Protocol(_))));
}

proptest::proptest! {
    /// Whatever an agent says in whatever order: no panic, never two ends, nothing stored before Welcome.
    #[test]
    fn any_conversation_ends_at_most_once(steps in proptest::collection::vec((0..11_u8, 0..5_u64, 0..3_u32), 0..60)) {
        let mut rig = Rig::new();
        let mut ends = 0;
        let mut welcomed = false;
        for (what, number, part_number) in steps {
            let out = match what {
                0 => {
                    let hello = v1::Hello { protocol_min: 1, protocol_max: 1, state_digest: vec![0; 16], catalogue_hash: vec![0; 16], ..v1::Hello::default() };
                    rig.say(Said::Hello(hello))
                }
                1 => rig.input(Input::Opened(Opened { node_id: 1, session: 5, resume: Resume::Full, position: 0, digest: Digest::EMPTY }, 1)),
                2 => rig.input(Input::Granted),
                3 => rig.input(Input::Queued),
                4 => rig.say(delta(number, &[entry("x")])),
                5 => rig.say(part(number, part_number, &[entry("y")], None)),
                6 => rig.say(part(number, part_number, &[], Some(Digest::EMPTY))),
                7 => rig.committed(number, Digest::EMPTY),
                8 => rig.heartbeat(digest(&[entry("z")]), 0),
                9 => rig.after(number * 20_000, Input::Tick),
                _ => rig.input(Input::Drain),
            };
            welcomed |= said(&out).iter().any(|say| matches!(say, Say::Welcome(_)));
            proptest::prop_assert!(welcomed || !out.iter().any(|output| matches!(output, Output::Write(_))));
            ends += out.iter().filter(|output| matches!(output, Output::Close(_))).count();
        }
        proptest::prop_assert!(ends <= 1);
    }
}

#[test]
fn probe_requests_wait_for_welcome_and_results_are_handed_on_as_they_are() {
    let request = || v1::ProbeRequest { request: 9, address: "10.0.0.1".into(), port: 10250, path: "/pods".into() };
    let (mut rig, _) = Rig::open(Resume::Full);
    assert!(!rig.session.may_be_asked(), "not welcomed yet");
    assert!(said(&rig.input(Input::Probe(request()))).is_empty());
    let (mut rig, _) = Rig::open(Resume::InSync);
    assert!(rig.session.may_be_asked() && !rig.session.probes_peers(), "this Hello did not say that it does");
    assert!(matches!(said(&rig.input(Input::Probe(request())))[..], [Say::ProbeRequest(sent)] if *sent == request()));
    let result = v1::ProbeResult { request: 77, outcome: "<script>".into(), ..v1::ProbeResult::default() };
    let out = rig.say(Said::ProbeResult(result.clone()));
    assert!(matches!(&out[..], [Output::Probed(heard), Output::Heard { .. }] if *heard == result), "{out:?}");
}

#[test]
fn an_agent_that_probes_peers_says_so_in_hello() {
    let mut rig = Rig::new();
    let digest = Digest::EMPTY.to_bytes().to_vec();
    let hello = v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        state_digest: digest,
        catalogue_hash: vec![0; 16],
        capabilities: holdfast_proto::PROBES_PEERS | 1 << 40,
        ..v1::Hello::default()
    };
    rig.say(Said::Hello(hello));
    rig.input(Input::Opened(Opened { node_id: 1, session: 5, resume: Resume::InSync, position: 0, digest: Digest::EMPTY }, 1));
    assert!(rig.session.probes_peers());
}

/// What is pushed, how the node stands, and what was dropped, in short.
fn policed(out: &[Output]) -> Vec<String> {
    let said = |output: &Output| match output {
        Output::Send(v1::CollectorMessage { message: Some(Say::Policy(policy)) }) => Some(format!("push {}", policy.full_pass_seconds)),
        Output::Policed(policed) => Some(policed.state.to_owned()),
        Output::Dropped(reason, n) => Some(format!("dropped {reason} {n}")),
        _ => None,
    };
    out.iter().filter_map(said).collect()
}

fn policy(seconds: u32) -> Input {
    let hash = vec![u8::try_from(seconds % 251).unwrap(); 16];
    Input::Policy(std::sync::Arc::new(v1::Policy { hash, full_pass_seconds: seconds, ..v1::Policy::default() }))
}

fn status(seconds: u32, applied: bool) -> Said {
    let hash = vec![u8::try_from(seconds % 251).unwrap(); 16];
    Said::PolicyStatus(v1::PolicyStatus { hash, applied, reason: "because".to_owned() })
}

#[test]
fn a_policy_follows_the_welcome_and_changes_while_the_session_lives() {
    let (mut rig, out) = Rig::open_with(Resume::Full, holdfast_proto::TAKES_POLICY);
    assert_eq!(policed(&out), Vec::<String>::new());
    assert_eq!(policed(&rig.input(policy(60))), Vec::<String>::new(), "not before Welcome");
    let out = rig.input(Input::Granted);
    assert!(matches!(out[0], Output::Send(v1::CollectorMessage { message: Some(Say::Welcome(_)) })));
    assert_eq!(policed(&out), ["push 60", "pending"]);
    assert_eq!(policed(&rig.say(status(60, true))), ["applied"]);
    assert_eq!(policed(&rig.input(policy(60))), Vec::<String>::new());
    assert_eq!(policed(&rig.input(policy(120))), ["push 120", "pending"]);
    assert_eq!(policed(&rig.say(status(120, false))), ["refused"]);
    for _ in 0..3 {
        assert_eq!(policed(&rig.input(policy(120))), Vec::<String>::new(), "a refused one is not pushed again");
        assert_eq!(policed(&rig.say(status(120, false))), ["dropped policy_status 1"], "and answered once");
    }
    assert_eq!(policed(&rig.say(status(7, true))), ["dropped policy_status 1"]);
    assert_eq!(policed(&rig.input(policy(180))), ["push 180", "pending"]);
}

#[test]
fn an_agent_without_the_capability_is_pushed_nothing() {
    let (mut rig, _) = Rig::open_with(Resume::InSync, 0);
    assert_eq!(policed(&rig.input(policy(60))), ["unsupported"]);
    assert_eq!(policed(&rig.say(status(60, true))), ["dropped policy_status 1"]);
}
