//! What a judgement goes by: a catalogue of checks, feeds, and the orders of versions.

use std::cmp::Ordering;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use holdfast_checks::catalogue::{Catalogue, Document};
use holdfast_checks::entries::Finding;
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::{Node, NodeFacts, Reason, Unavailable};
use holdfast_checks::versions::compare;
use holdfast_checks::versions::feeds::{self, Limits};
use holdfast_collector::fuzzing as collector;
use tempfile::NamedTempFile;

/// A file of checks; one that is accepted is evaluated on a node of which nothing is known. Unless it has loops within loops: how long
/// those take is up to whoever writes a check.
pub(crate) fn catalogue(data: &[u8]) {
    let document = Document { name: "fuzz.yaml".to_owned(), text: String::from_utf8_lossy(data).into_owned() };
    let loops = ["all(", "exists(", "exists_one(", "map(", "filter("].map(|name| document.text.matches(name).count());
    let Ok(catalogue) = Catalogue::load(&[document]) else { return };
    if loops.iter().sum::<usize>() > 2 {
        return;
    }
    let facts = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not in this test"));
    let evaluator = Evaluator::new(catalogue);
    let findings = evaluator.evaluate(&facts, &Selection::default());
    let findings = findings.unwrap_or_else(|error| unreachable!("facts of which nothing is known are facts: {error}"));
    for check in evaluator.catalogue().checks() {
        assert!(findings.iter().any(|finding| finding.check == check.id.as_str()), "{} has no answer", check.id);
    }
    let named = |finding: &Finding| (finding.check.clone(), finding.subject.clone());
    assert!(findings.windows(2).all(|two| named(&two[0]) < named(&two[1])), "a check answers once for a subject: {findings:?}");
}

/// A document of a feed. The first byte picks its name, which tells the product of one format.
pub(crate) fn feeds(data: &[u8]) {
    let Some((name, data)) = data.split_first() else { return };
    let name = ["linux.json", "x.json", "debian.json", "all.zip"][usize::from(name % 4)];
    let limits = Limits { bytes: 1 << 20, records: 10_000 };
    match feeds::parse(name, data, limits) {
        Ok(content) => {
            let records: usize = content.feeds.values().map(Vec::len).sum();
            assert!(records <= limits.records && records <= data.len(), "{records} records of {} bytes", data.len());
        }
        Err(error) => assert!(error.to_string().len() <= 2_000, "a refusal is a line: {error}"),
    }
}

/// A zip archive of a feed's documents, as a file.
pub(crate) fn archives(data: &[u8]) {
    static FILE: Mutex<Option<NamedTempFile>> = Mutex::new(None);
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = file.get_or_insert_with(|| NamedTempFile::new().unwrap_or_else(|error| unreachable!("a file to write to: {error}")));
    let written = file.as_file().set_len(0).and_then(|()| file.as_file().write_all_at(data, 0));
    written.unwrap_or_else(|error| unreachable!("{}: {error}", file.path().display()));
    if let Err(error) = collector::archive(file.path()) {
        let text = error.to_string();
        assert!(text.len() <= 2_000 && !text.chars().any(char::is_control), "a refusal is a line: {text:?}");
    }
}

/// Three versions, a line each: every order is total.
pub(crate) fn versions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (a, b, c) = (next(), next(), next());
    let orders: [fn(&str, &str) -> Ordering; 3] = [compare::dpkg, compare::rpm, compare::suffixed];
    for order in orders {
        for text in [a, b, c] {
            assert_eq!(order(text, text), Ordering::Equal, "{text:?} equals itself");
        }
        for (x, y) in [(a, b), (b, c), (a, c)] {
            assert_eq!(order(x, y), order(y, x).reverse(), "{x:?} and {y:?} in both directions");
        }
        for [x, y, z] in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
            if order(x, y) != Ordering::Greater && order(y, z) != Ordering::Greater {
                assert_ne!(order(x, z), Ordering::Greater, "{x:?} to {y:?} to {z:?}");
            }
        }
    }
    for text in [a, b, c] {
        assert!(compare::without_backport(text).len() <= text.len() && compare::without_rebuild(text).len() <= text.len());
        drop(compare::upstream(text));
    }
}
