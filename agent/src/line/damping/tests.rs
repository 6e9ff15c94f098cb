//! The whole rule against a clock that tests move.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use holdfast_checks::entries::{Evidence, Finding};
use proptest::prelude::*;

use super::*;

const DAY: i64 = 1_700_000_000_000;

fn finding(subject: &str, verdict: Verdict, severity: Severity, detail: &str) -> Entry {
    let value = Some(serde_json::Value::String(detail.to_owned()));
    let evidence = Evidence { path: "it.value".to_owned(), value, source: "flag".to_owned(), at: 0 };
    let finding = Finding {
        check: "a-check".to_owned(),
        subject: subject.to_owned(),
        verdict,
        reason: String::new(),
        severity,
        title: "A title".to_owned(),
        evidence: vec![evidence],
        evidence_truncated: false,
    };
    Entry::finding(finding, 0)
}

fn medium(verdict: Verdict) -> Entry {
    finding("node", verdict, Severity::Medium, "")
}

fn high(verdict: Verdict) -> Entry {
    finding("node", verdict, Severity::High, "")
}

/// A node with one more finding that stands still.
#[derive(Default)]
struct Node {
    damping: Damping,
    told: State,
}

impl Node {
    fn started(first: Entry) -> Self {
        let mut node = Self::default();
        node.judge(0, vec![first]);
        node
    }

    fn judge(&mut self, now_ms: u64, mut entries: Vec<Entry>) -> Changes {
        entries.push(finding("quiet", Verdict::Pass, Severity::Low, ""));
        let at = DAY + i64::try_from(now_ms).unwrap();
        let judgement = Judgement { entries, covers: None, at, took: None };
        let changes = self.damping.admit(judgement, &self.told, now_ms);
        self.told.apply(&changes);
        changes
    }

    fn release(&mut self, now_ms: u64) -> Changes {
        let changes = self.damping.release(&self.told, now_ms);
        self.told.apply(&changes);
        changes
    }

    /// Fail and pass in turn, a second apart, `times` times, beginning with a failure a second after `from_ms`.
    fn flap(&mut self, from_ms: u64, times: u64, make: fn(Verdict) -> Entry) -> Vec<usize> {
        let verdict = |time: u64| if time.is_multiple_of(2) { Verdict::Fail } else { Verdict::Pass };
        (0..times).map(|time| self.judge(from_ms + 1_000 * (time + 1), vec![make(verdict(time))]).transitions.len()).collect()
    }

    fn verdict(&self) -> Option<Verdict> {
        match &self.told.get(&Key::finding("a-check", "node"))?.body {
            Body::Finding(finding) => Some(finding.verdict),
            Body::Inventory(_) => None,
        }
    }
}

#[test]
fn the_thirteenth_change_in_ten_minutes_waits_and_is_told_a_minute_after_the_last() {
    let mut node = Node::started(medium(Verdict::Pass));
    assert_eq!(node.flap(0, 13, medium), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(node.verdict(), Some(Verdict::Pass), "the twelfth was told last");
    let key = Key::finding("a-check", "node");
    let flapping: Vec<Flapping<'_>> = node.damping.flapping().collect();
    assert_eq!(flapping, [Flapping { key: &key, changes: 13, since: DAY + 1_000 }]);
    assert_eq!(node.damping.next_ms(), Some(72_000));
    assert!(node.release(71_999).is_empty());
    let told = node.release(72_000);
    assert_eq!((told.upserts.len(), told.transitions.len(), node.verdict()), (1, 1, Some(Verdict::Fail)));
    assert_eq!(told.transitions[0].at, DAY + 13_000, "dated when it was seen");
    assert!(!told.transitions[0].because.starts_with("the last of"), "nothing was left out");
}

#[test]
fn a_release_says_how_many_changes_it_stands_for() {
    let mut node = Node::started(medium(Verdict::Pass));
    node.flap(0, 12, medium);
    node.flap(12_000, 7, medium);
    let told = node.release(72_000);
    let because = &told.transitions[0].because;
    assert_eq!(because.split_once(": ").unwrap().0, "the last of 7 changes since 2023-11-14T22:13:33Z", "{because}");
    assert_eq!((told.transitions[0].from, told.transitions[0].to), (Some(Verdict::Pass), Some(Verdict::Fail)));
    assert_eq!(node.damping.next_ms(), Some(19_000 + QUIET_MS));
}

#[test]
fn what_flips_back_while_it_is_parked_is_not_told() {
    let mut node = Node::started(medium(Verdict::Pass));
    node.flap(0, 14, medium);
    assert_eq!(node.verdict(), Some(Verdict::Pass));
    assert!(node.release(500_000).is_empty());
    assert_eq!(node.damping.flapping().next().unwrap().changes, 14, "both counted");
}

#[test]
fn a_failure_of_high_severity_waits_ten_seconds_and_its_end_a_minute() {
    let mut node = Node::started(high(Verdict::Pass));
    assert!(node.flap(0, 12, high).iter().all(|told| *told == 1), "the first ones are told as they come");
    assert!(node.judge(13_000, vec![high(Verdict::Fail)]).is_empty());
    assert_eq!(node.damping.next_ms(), Some(22_000));
    assert_eq!(node.release(22_000).transitions.len(), 1);
    assert!(node.judge(60_000, vec![high(Verdict::Pass)]).is_empty(), "the end waits");
    assert_eq!(node.damping.next_ms(), Some(82_000));
    assert_eq!(node.release(82_000).transitions.len(), 1);
    assert_eq!(node.judge(100_000, vec![high(Verdict::Fail)]).transitions.len(), 1, "more than ten seconds later: at once");
}

#[test]
fn what_changes_seldom_is_never_damped() {
    let mut node = Node::started(medium(Verdict::Pass));
    for time in 0..200_u64 {
        let verdict = if time.is_multiple_of(2) { Verdict::Fail } else { Verdict::Pass };
        assert_eq!(node.judge(time * 50_000, vec![medium(verdict)]).transitions.len(), 1);
    }
    assert_eq!((node.damping.len(), node.damping.keys.len()), (0, 1));
}

#[test]
fn half_an_hour_without_a_change_ends_it() {
    let mut node = Node::started(medium(Verdict::Pass));
    node.flap(0, 13, medium);
    node.release(72_000);
    let end = 13_000 + QUIET_MS;
    assert!(node.release(end - 1).is_empty());
    assert_eq!(node.damping.len(), 1);
    assert!(node.release(end).is_empty());
    assert_eq!((node.damping.len(), node.damping.keys.len(), node.damping.next_ms()), (0, 0, None));
    assert_eq!(node.judge(end + 1, vec![medium(Verdict::Pass)]).transitions.len(), 1, "told at once again");
}

#[test]
fn a_port_that_opens_and_closes_all_the_time_is_damped_without_history() {
    let mut node = Node::started(medium(Verdict::Pass));
    let open = || Entry::inventory("listener", "tcp/0.0.0.0/80", &serde_json::json!({}), 0).unwrap();
    for second in 1..=6 {
        assert_eq!(node.judge(second * 2_000, vec![medium(Verdict::Pass), open()]).upserts.len(), 1);
        assert_eq!(node.judge(second * 2_000 + 1_000, vec![medium(Verdict::Pass)]).gone.len(), 1);
    }
    assert!(node.judge(14_000, vec![medium(Verdict::Pass), open()]).is_empty());
    let told = node.release(73_000);
    assert_eq!((told.upserts.len(), told.transitions.len()), (1, 0));
    assert!(node.judge(74_000, vec![medium(Verdict::Pass)]).is_empty());
    assert_eq!(node.release(133_000).gone.len(), 1);
}

#[test]
fn a_partial_judgement_does_not_speak_for_keys_it_does_not_cover() {
    let mut node = Node::started(medium(Verdict::Pass));
    node.flap(0, 13, medium);
    let other = Judgement { covers: Some(["another".to_owned()].into()), ..Judgement::default() };
    assert!(node.damping.admit(other, &node.told, 14_000).is_empty());
    assert_eq!(node.release(72_000).transitions.len(), 1);
}

#[test]
fn memory_is_bounded_and_what_is_not_counted_is_told() {
    let mut node = Node::started(medium(Verdict::Pass));
    let many = |detail: &str| (0..5_000).map(|port| finding(&port.to_string(), Verdict::Pass, Severity::Low, detail)).collect::<Vec<_>>();
    assert_eq!(node.judge(1, many("a")).upserts.len(), 5_000);
    assert_eq!(node.judge(2, many("b")).upserts.len(), 5_000);
    assert_eq!(node.damping.keys.len(), MOST_KEYS);
}

proptest! {
    /// Whatever changes when: what is told is at any time the last judgement or parked, and after quiet it is the last judgement.
    #[test]
    fn nothing_is_lost(steps in proptest::collection::vec((0_u64..40_000, proptest::collection::vec(proptest::option::of(0_u8..6), 3), any::<bool>()), 1..120)) {
        let mut node = Node::default();
        let (mut now_ms, mut last) = (0, Vec::new());
        for (wait, contents, early) in steps {
            now_ms += wait / if early { 20 } else { 1 };
            let make = |(subject, content): (usize, &Option<u8>)| content.map(|content| {
                let verdict = if content % 2 == 0 { Verdict::Fail } else { Verdict::Pass };
                let severity = if subject == 0 { Severity::High } else { Severity::Low };
                finding(&subject.to_string(), verdict, severity, &(content / 2).to_string())
            });
            last = contents.iter().enumerate().filter_map(make).collect::<Vec<_>>();
            node.judge(now_ms, last.clone());
            if let Some(next) = node.damping.next_ms() {
                prop_assert!(next > now_ms || !node.release(now_ms).is_empty() || node.damping.next_ms() > Some(now_ms), "no spin");
            }
        }
        while let Some(next) = node.damping.next_ms() {
            now_ms = now_ms.max(next);
            node.release(now_ms);
        }
        let mut whole = State::default();
        for entry in last.into_iter().chain([finding("quiet", Verdict::Pass, Severity::Low, "")]) {
            whole.upsert(entry);
        }
        prop_assert_eq!(node.told.digest(), whole.digest());
    }
}
