//! What was saved is what comes back, whatever it says and however it came together.

use holdfast_agent::spool::file::SpoolFile;
use holdfast_agent::spool::{Image, Position, Remote, Row, Save};
use holdfast_checks::entries::{Entry, Evidence, Finding, Hash, Key, Severity, Transition, Verdict};
use proptest::prelude::*;
use serde_json::Value;

use crate::samples::{image, large, names, whole};

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000_i32..1000).prop_map(|n| Value::from(f64::from(n) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let parts = (any::<String>(), prop::option::of(json()), any::<String>(), any::<i64>());
    parts.prop_map(|(path, value, source, at)| Evidence { path, value, source, at })
}

fn subject() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-c]", 2 => any::<String>().prop_filter("a subject says something", |text| !text.is_empty()), 1 => "x{1000,1100}"]
}

fn entry() -> impl Strategy<Value = Entry> {
    let words = (any::<String>(), any::<String>(), any::<bool>(), any::<i64>());
    let finding = ("[a-c]{1,2}", subject(), 0_usize..5, 0_usize..5, words, prop::collection::vec(evidence(), 0..4));
    let finding = finding.prop_map(|(check, subject, verdict, severity, (reason, title, evidence_truncated, at), evidence)| {
        let (verdict, severity) = (Verdict::ALL[verdict], Severity::ALL[severity]);
        Entry::finding(Finding { check, subject, verdict, reason, severity, title, evidence, evidence_truncated }, at)
    });
    let inventory = ("[a-c]", subject(), json(), any::<i64>());
    let inventory =
        inventory.prop_filter_map("within the limit", |(kind, name, document, at)| Entry::inventory(&kind, &name, &document, at));
    prop_oneof![3 => finding, 1 => inventory]
}

fn remote() -> impl Strategy<Value = Option<Remote>> {
    prop_oneof![Just(None), Just(Some(Remote::Unsure)), any::<[u8; 16]>().prop_map(|hash| Some(Remote::Holds(Hash(hash))))]
}

fn row() -> impl Strategy<Value = (Key, Option<Row>)> {
    (entry(), any::<bool>(), remote(), any::<bool>()).prop_map(|(entry, here, remote, refused)| {
        let key = entry.key.clone();
        let entry = here.then_some(entry);
        let row = (entry.is_some() || remote.is_some()).then_some(Row { entry, remote, refused });
        (key, row)
    })
}

/// One that an agent may come to: a file with larger ones is no spool.
fn number() -> impl Strategy<Value = u64> {
    0..=u64::MAX >> 2
}

fn transition() -> impl Strategy<Value = Transition> {
    let end = || prop::option::of((0_usize..5).prop_map(|n| Verdict::ALL[n]));
    let words = (any::<String>(), any::<String>(), any::<i64>(), 0_usize..5);
    (prop_oneof![1_u64..30, number()], subject(), end(), end(), words).prop_map(
        |(number, subject, from, to, (reason, because, at, severity))| Transition {
            number,
            key: Key::finding("check", &subject),
            from,
            to,
            reason,
            severity: Severity::ALL[severity],
            because,
            at,
        },
    )
}

fn save() -> impl Strategy<Value = Save> {
    let position = (any::<u64>(), number(), number(), number(), any::<u64>(), any::<Vec<u8>>());
    let position = position.prop_map(|(epoch, seq, last_acked, next_transition, truncated, policy)| Position {
        epoch,
        seq,
        last_acked,
        next_transition,
        truncated,
        policy,
    });
    let lists = (prop::collection::vec(row(), 0..12), prop::collection::vec(transition(), 0..8));
    (prop::bool::weighted(0.2), lists, 0_u64..20, position).prop_map(|(replace, (rows, transitions), transitions_from, position)| Save {
        replace,
        rows,
        transitions,
        transitions_from,
        position,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_does_what_an_image_does(saves in prop::collection::vec(save(), 1..5), reopen in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut image) = (SpoolFile::open(dir.path()).unwrap().file, Image::default());
        for save in saves {
            file.write(&save).unwrap();
            image.apply(save);
            if reopen {
                drop(file);
                let opened = SpoolFile::open(dir.path()).unwrap();
                prop_assert_eq!(opened.image.as_ref(), Some(&image));
                file = opened.file;
            }
        }
        drop(file);
        let opened = SpoolFile::open(dir.path()).unwrap();
        prop_assert!(opened.set_aside.is_none());
        prop_assert_eq!(opened.image, Some(image));
    }
}

/// JSON is read to a depth of 128. What is nested deeper cannot be read back, and one such value must not cost the whole spool.
#[test]
fn an_entry_that_cannot_be_read_back_is_a_key_whose_content_is_unknown() {
    let mut deep = Value::from(1);
    for _ in 0..200 {
        deep = Value::from(vec![deep]);
    }
    let mut image = image(5, 2);
    let key = image.rows.keys().next().unwrap().clone();
    let (check, subject) = key.parts();
    let finding = Finding {
        check: check.to_owned(),
        subject: subject.to_owned(),
        verdict: Verdict::Fail,
        reason: String::new(),
        severity: Severity::High,
        title: String::new(),
        evidence: vec![Evidence { path: "p".into(), value: Some(deep), source: "file".into(), at: 1 }],
        evidence_truncated: false,
    };
    let entry = Entry::finding(finding, 1);
    assert_eq!(entry.key, key);
    let hash = entry.hash;
    image.rows.insert(key.clone(), Row { entry: Some(entry), remote: Some(Remote::Holds(hash)), refused: false });
    let dir = tempfile::tempdir().unwrap();
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    file.write(&whole(&image)).unwrap();
    drop(file);
    image.rows.insert(key, Row { entry: None, remote: Some(Remote::Unsure), refused: false });
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image));
}

/// Saves that replace everything leave pages behind until the next: what would not fit beside them is written to a file of its own.
#[test]
fn a_spool_that_grew_too_large_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path().join("spool.redb")).unwrap());
    let (mut anew, mut last) = (0, Image::default());
    for round in 0..3 {
        let before = inode();
        last = large(1400 + round);
        file.write(&whole(&last)).unwrap();
        // Made anew twice, the name may have its first number again.
        anew += u32::from(inode() != before);
    }
    assert!(anew > 0, "it was not made anew");
    drop(file);
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(last));
    assert_eq!(names(dir.path()), ["spool.redb"]);
}

/// What never fits is an error with words, and the spool is as it was.
#[test]
fn what_does_not_fit_is_refused_and_the_spool_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    file.write(&whole(&image(10, 10))).unwrap();
    let error = file.write(&whole(&large(3500))).unwrap_err();
    assert_eq!(error.reason(), "too_large", "{error}");
    let said = format!("{error}: {}", std::error::Error::source(&error).unwrap()).replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(said, @"cannot begin the spool DIR/spool.redb.new: what is to be kept does not fit into 8 MiB. It fits again once the collector has taken the history that waits: 16846848 bytes are more than the 8454144 a spool may have");
    assert_eq!(file.write(&whole(&image(1, 1))).unwrap_err().reason(), "io");
    drop(file);
    let opened = SpoolFile::open(dir.path()).unwrap();
    assert_eq!(opened.image, Some(image(10, 10)));
    assert_eq!(names(dir.path()), ["spool.redb"]);
}
