//! Entries: limits hold for any text, the digest is order-free, and comparing and applying converge.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use holdfast_checks::entries::{
    Body, Digest, Entry, Evidence, Finding, Key, Kind, MAX_ENTRY_BYTES, MAX_EVIDENCE_BYTES, MAX_EVIDENCE_ITEMS, MAX_INVENTORY_BYTES,
    MAX_REASON_BYTES, MAX_SUBJECT_BYTES, Severity, State, Verdict,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What an entry takes as a protobuf message of `holdfast.v1`, counting every varint at its longest for such sizes.
fn wire_bytes(entry: &Entry) -> usize {
    const FIELD: usize = 1 + 2;
    const ENUM: usize = 1 + 1;
    const TIME: usize = 1 + 10;
    const HASH: usize = 1 + 1 + 16;
    let key = FIELD + ENUM + FIELD + entry.key.as_str().len();
    let body = match &entry.body {
        Body::Inventory(inventory) => FIELD + inventory.json.len(),
        Body::Finding(finding) => {
            let value = |item: &Evidence| item.value.as_ref().map(Value::to_string).unwrap_or_default().len();
            let item = |item: &Evidence| 4 * FIELD + TIME + item.path.len() + item.source.len() + value(item);
            let evidence: usize = finding.evidence.iter().map(item).sum();
            3 * ENUM + 2 * FIELD + finding.reason.len() + finding.title.len() + evidence
        }
    };
    key + HASH + FIELD + body + TIME
}

/// Text as an attacker would choose it: multi-byte, quotes, escapes, control characters, very long.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("é".to_owned()),
        Just("\"\\".to_owned()),
        Just("\u{1}\u{1b}[31m\n".to_owned()),
        Just("\u{7f}𝕏\u{202e}".to_owned()),
        Just("<script>".to_owned()),
        ".{0,12}",
    ];
    (piece, 0..3000usize).prop_map(|(piece, times)| {
        let times = times.min(6000 / piece.len().max(1));
        piece.repeat(times)
    })
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        hostile().prop_map(|text| Some(Value::String(text))),
        proptest::collection::vec(hostile(), 0..4).prop_map(|texts| Some(json!(texts))),
        (hostile(), any::<i64>()).prop_map(|(key, number)| Some(json!({key: number}))),
    ]
}

fn evidence() -> impl Strategy<Value = Evidence> {
    (hostile(), value(), hostile(), any::<i64>()).prop_map(|(path, value, source, at)| Evidence { path, value, source, at })
}

fn finding() -> impl Strategy<Value = Finding> {
    let texts = ("[a-z]{1,80}", hostile(), hostile(), hostile());
    (texts, proptest::sample::select(Verdict::ALL.to_vec()), proptest::collection::vec(evidence(), 0..12)).prop_map(
        |((check, subject, reason, title), verdict, evidence)| Finding {
            check,
            subject: format!("port:{subject}"),
            verdict,
            reason,
            severity: Severity::High,
            title,
            evidence,
            evidence_truncated: false,
        },
    )
}

fn plain(subject: &str, verdict: Verdict, at: i64) -> Finding {
    let evidence = vec![Evidence { path: "it.port".into(), value: Some(json!(10255)), source: "socket".into(), at }];
    Finding {
        check: "kubelet-port".into(),
        subject: subject.into(),
        verdict,
        reason: String::new(),
        severity: Severity::High,
        title: "closed".into(),
        evidence,
        evidence_truncated: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_finding_can_exceed_its_limits(finding in finding(), changed_at in any::<i64>()) {
        let entry = Entry::finding(finding.clone(), changed_at);
        prop_assert!(wire_bytes(&entry) <= MAX_ENTRY_BYTES, "{} bytes", wire_bytes(&entry));
        let Body::Finding(kept) = &entry.body else { return Err(TestCaseError::fail("a finding became something else")) };
        prop_assert!(kept.subject.len() <= MAX_SUBJECT_BYTES && kept.reason.len() <= MAX_REASON_BYTES);
        prop_assert!(kept.evidence.len() <= MAX_EVIDENCE_ITEMS);
        let value = |item: &Evidence| item.value.as_ref().map(Value::to_string).unwrap_or_default().len();
        prop_assert!(kept.evidence.iter().map(|item| item.path.len() + item.source.len() + value(item)).sum::<usize>() <= MAX_EVIDENCE_BYTES);
        let lost = kept.evidence.len() < finding.evidence.len() || kept.evidence.iter().zip(&finding.evidence).any(|(a, b)| a.value != b.value);
        prop_assert_eq!(kept.evidence_truncated, lost, "cut evidence is marked, whole evidence is not");
        prop_assert_eq!(entry.key.parts(), (kept.check.as_str(), kept.subject.as_str()), "key and body name one subject");
        prop_assert_eq!(Key::parse(Kind::Finding, entry.key.as_str()), Some(entry.key.clone()), "the peer accepts the key");
        prop_assert_eq!(Entry::finding(kept.clone(), 0).hash, entry.hash, "what was cut stays as it is");
    }

    #[test]
    fn no_inventory_entry_can_exceed_its_limits(name in hostile(), text in hostile(), changed_at in any::<i64>()) {
        let document = json!({"exe": text});
        let size = document.to_string().len();
        match Entry::inventory("root-process", &format!("x{name}"), &document, changed_at) {
            None => prop_assert!(size > MAX_INVENTORY_BYTES),
            Some(entry) => {
                prop_assert!(size <= MAX_INVENTORY_BYTES && wire_bytes(&entry) <= MAX_ENTRY_BYTES);
                prop_assert_eq!(Key::parse(Kind::Inventory, entry.key.as_str()), Some(entry.key.clone()));
            }
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_order_and_grows_as_it_is_rebuilt(
        steps in proptest::collection::vec((0..12u8, 0..6u8), 0..60),
    ) {
        let mut state = State::default();
        for (subject, what) in steps {
            let subject = format!("port:tcp/{subject}");
            match Verdict::ALL.get(usize::from(what)) {
                Some(verdict) => state.upsert(Entry::finding(plain(&subject, *verdict, 0), 0)),
                None => drop(state.remove(&Key::finding("kubelet-port", &subject))),
            }
        }
        let mut rebuilt = Digest::EMPTY;
        let mut backwards: Vec<&Entry> = state.iter().collect();
        backwards.reverse();
        for entry in backwards {
            rebuilt.add(&entry.key, &entry.hash);
        }
        prop_assert_eq!(rebuilt, state.digest());
        prop_assert_eq!(Digest::from_slice(&rebuilt.to_bytes()), Some(rebuilt));
        let keys: Vec<Key> = state.iter().map(|entry| entry.key.clone()).collect();
        for key in &keys {
            state.remove(key);
        }
        prop_assert_eq!(state.digest(), Digest::EMPTY);
    }

    #[test]
    fn comparing_and_applying_reach_the_fresh_state(
        old in proptest::collection::btree_map(0..10u8, 0..5usize, 0..10),
        new in proptest::collection::vec((0..10u8, 0..5usize), 0..14),
    ) {
        let entry = |(subject, verdict): (u8, usize)| Entry::finding(plain(&format!("port:tcp/{subject}"), Verdict::ALL[verdict], 0), 0);
        let mut state = State::default();
        old.clone().into_iter().map(entry).for_each(|entry| state.upsert(entry));
        let kept = Entry::inventory("os", "self", &json!({}), 0).expect("small");
        state.upsert(kept.clone());
        let fresh: Vec<Entry> = new.iter().copied().map(entry).collect();
        let mut expected = State::default();
        expected.upsert(kept);
        fresh.iter().rev().cloned().for_each(|entry| expected.upsert(entry));
        let covers = |key: &Key| key.kind() == Kind::Finding;
        let changes = state.compare(fresh.clone(), covers, 5);
        state.apply(&changes);
        prop_assert_eq!(state.digest(), expected.digest());
        prop_assert_eq!(state.iter().map(|entry| &entry.key).collect::<Vec<_>>(), expected.iter().map(|entry| &entry.key).collect::<Vec<_>>());
        prop_assert!(state.compare(fresh, covers, 6).is_empty(), "nothing is left to tell");
        for transition in &changes.transitions {
            prop_assert!(transition.from != transition.to && transition.at == 5);
        }
    }
}

/// A cut value takes five bytes at least, and a cut that leaves fewer must drop it.
#[test]
fn a_value_is_dropped_where_less_is_left_than_a_cut_one_takes() {
    for left in 0..=6 {
        let item =
            |value: usize| Evidence { path: "p".into(), value: Some(Value::String("v".repeat(value))), source: String::new(), at: 0 };
        let mut finding = plain("port:tcp/1", Verdict::Fail, 0);
        // Path and quotes of the first take three bytes, the path of the second one.
        finding.evidence = vec![item(MAX_EVIDENCE_BYTES - 4 - left), item(100)];
        let entry = Entry::finding(finding, 0);
        let Body::Finding(kept) = &entry.body else { unreachable!("a finding") };
        let size: usize = kept.evidence.iter().map(|item| item.path.len() + item.value.as_ref().unwrap().to_string().len()).sum();
        assert!(size <= MAX_EVIDENCE_BYTES && kept.evidence_truncated, "{size} bytes with {left} left");
        assert_eq!(kept.evidence.len(), if left < 5 { 1 } else { 2 }, "{left} left");
    }
}

#[test]
fn the_largest_finding_fits() {
    let evidence = |label: usize, value: usize| Evidence {
        path: "p".repeat(label),
        value: Some(Value::String("v".repeat(value))),
        source: "s".repeat(label),
        at: i64::MIN,
    };
    // Eight items that fill the evidence to the byte, and every text at its limit.
    let mut items = vec![evidence(100, 54); 7];
    items.push(evidence(100, 54));
    let largest = Finding {
        check: "c".repeat(80),
        subject: "s".repeat(MAX_SUBJECT_BYTES),
        verdict: Verdict::Unknown,
        reason: "r".repeat(MAX_REASON_BYTES),
        severity: Severity::High,
        title: "t".repeat(1000),
        evidence: items,
        evidence_truncated: false,
    };
    let entry = Entry::finding(largest, i64::MIN);
    let Body::Finding(kept) = &entry.body else { unreachable!("a finding") };
    assert_eq!((kept.evidence.len(), kept.evidence_truncated), (8, false));
    assert!((MAX_ENTRY_BYTES - 64..=MAX_ENTRY_BYTES).contains(&wire_bytes(&entry)), "{} bytes", wire_bytes(&entry));
}

#[test]
fn times_do_not_change_the_hash_and_everything_else_does() {
    let entry = Entry::finding(plain("port:tcp/10255", Verdict::Fail, 1), 1);
    assert_eq!(entry.hash, Entry::finding(plain("port:tcp/10255", Verdict::Fail, 2), 2).hash);
    let changed = |change: fn(&mut Finding)| {
        let mut finding = plain("port:tcp/10255", Verdict::Fail, 1);
        change(&mut finding);
        Entry::finding(finding, 1).hash
    };
    let edits: [fn(&mut Finding); 9] = [
        |finding| finding.verdict = Verdict::Pass,
        |finding| finding.reason = "why".into(),
        |finding| finding.severity = Severity::Low,
        |finding| finding.title = "open".into(),
        |finding| finding.evidence[0].value = None,
        |finding| finding.evidence[0].value = Some(json!("10255")),
        |finding| finding.evidence[0].source = "flag".into(),
        |finding| finding.evidence[0].path = "it.ports".into(),
        |finding| finding.evidence.clear(),
    ];
    let mut hashes: Vec<_> = edits.into_iter().map(changed).collect();
    hashes.push(entry.hash);
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 10);
}

#[test]
fn two_long_subjects_with_one_prefix_stay_two_keys_and_two_subjects() {
    let long = |end: &str| Entry::finding(plain(&("file:/".to_owned() + &"é".repeat(2000) + end), Verdict::Fail, 0), 0);
    let (one, two) = (long("a"), long("b"));
    assert_ne!(one.key, two.key);
    assert_ne!(one.hash, two.hash);
    let mut state = State::default();
    state.upsert(one);
    state.upsert(two);
    assert_eq!(state.len(), 2);
}

#[test]
fn one_key_twice_in_a_scan_makes_one_transition() {
    let fresh = vec![Entry::finding(plain("port:tcp/1", Verdict::Fail, 0), 0), Entry::finding(plain("port:tcp/1", Verdict::Pass, 0), 0)];
    let changes = State::default().compare(fresh, |_| true, 0);
    assert_eq!((changes.upserts.len(), changes.transitions.len()), (1, 1));
    assert_eq!(changes.transitions[0].to, Some(Verdict::Fail));
}
