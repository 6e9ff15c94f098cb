//! What a judgement goes by: a catalogue of checks, feeds, and the orders of versions.

use std::cmp::Ordering;

use holdfast_checks::catalogue::{Catalogue, Document};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::{Node, NodeFacts, Reason, Unavailable};
use holdfast_checks::versions::compare;
use holdfast_checks::versions::feeds::{self, Limits};

/// A file of checks; one that is accepted is evaluated on a node of which nothing is known.
pub(crate) fn catalogue(data: &[u8]) {
    let document = Document { name: "fuzz.yaml".to_owned(), text: String::from_utf8_lossy(data).into_owned() };
    let Ok(catalogue) = Catalogue::load(&[document]) else { return };
    let facts = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not in this test"));
    drop(Evaluator::new(catalogue).evaluate(&facts, &Selection::default()));
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
