//! What the collector judges itself, and the alert that follows: inventory in, findings, history and alert out.

use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::catalogue::{Catalogue, Document};
use holdfast_checks::evaluator::Evaluator;
use holdfast_collector::alerts::AlertState;
use holdfast_collector::{alerts, fleet};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Hand, eventually, options};

const CATALOGUE: &str = "
- id: kernel-end-of-life
  title: The kernel is maintained
  severity: high
  area: kernel
  judged_by: collector
  pass: versions.kernel.lifecycle != \"end_of_life\"
  evidence: [versions.kernel.lifecycle, kernel.release]
  why: w
  fix: f
- id: on-the-node
  title: Not judged here
  severity: low
  area: kernel
  judged_by: node
  pass: kernel.release != \"\"
  evidence: [kernel.release]
  why: w
  fix: f
";
const OS: &str = r#"{"id":"debian","id_like":[],"version_id":"11","pretty_name":"Debian GNU/Linux 11","fields":{}}"#;
const KERNEL: &str = r##"{"release":"5.10.0-33-amd64","version":"#1 SMP Debian 5.10.226-1 (2024-10-03)"}"##;
const NEWER: &str = r##"{"release":"5.10.0-34-amd64","version":"#1 SMP Debian 5.10.234-1 (2025-02-24)"}"##;
const DAY: i64 = 24 * 60 * 60 * 1000;
const CHECK: &str = "kernel-end-of-life";
const PASS: i64 = 1;
const FAIL: i64 = 2;
const UNKNOWN: i64 = 4;

fn noon(date: &str) -> i64 {
    format!("{date}T12:00:00Z").parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn start(database: &Database, hand: &Hand) -> CancellationToken {
    let document = Document { name: "test.yaml".to_owned(), text: CATALOGUE.to_owned() };
    let evaluator = Arc::new(Evaluator::new(Catalogue::load(&[document]).unwrap()).unwrap());
    let cancel = CancellationToken::new();
    tokio::spawn(fleet::run(evaluator, database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone()));
    cancel
}

async fn judged(database: &Database, verdict: i64) -> (String, i64, String, String) {
    let found = || async { database.judged().await.into_iter().next().filter(|row| row.1 == verdict) };
    let row = eventually("the verdict is stored", found).await;
    assert_eq!((database.judged().await.len(), row.0.as_str()), (1, CHECK), "only what the collector decides is judged here");
    row
}

#[tokio::test]
async fn a_kernel_whose_support_ended_overnight_is_a_finding_with_history_and_an_alert() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let cancel = start(&database, &hand);
    let stop = cancel.clone();
    let alerting = alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
    tokio::spawn(alerting);
    judged(&database, PASS).await;
    assert_eq!(database.counts().await, [(CHECK.to_owned(), PASS, 1)]);

    hand.forward(10 * 365 * DAY);
    // Any change of a node wakes the task; the minute would, too.
    database.inventory(1, "listener", "tcp/0.0.0.0/22", "{}").await;
    let row = judged(&database, FAIL).await;
    assert!(row.3.starts_with("lifecycle = end_of_life"), "{row:?}");
    assert_eq!(database.counts().await, [(CHECK.to_owned(), FAIL, 1)]);
    let history = |number, from, to| ("collector".to_owned(), number, CHECK.to_owned(), from, to);
    assert_eq!(database.history().await, [history(1, 0, PASS), history(2, PASS, FAIL)]);

    let fired = eventually("it alerts", || async { database.store.stored_alerts().await.unwrap().into_iter().next() }).await;
    assert_eq!(fired.annotations["summary"], "Kernel end of life on 1 node");
    assert_eq!((fired.state, fired.starts_at), (AlertState::Firing, noon("2022-05-01") + 10 * 365 * DAY));
    stop.cancel();
}

#[tokio::test]
async fn a_new_kernel_is_judged_and_what_did_not_change_is_not_written() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let cancel = start(&database, &hand);
    judged(&database, PASS).await;
    let committed = database.last_change().await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    database.inventory(1, "listener", "tcp/0.0.0.0/22", "{}").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(database.last_change().await, committed);

    database.inventory(1, "kernel", "self", NEWER).await;
    eventually("evidence follows", || async { (database.last_change().await > committed).then_some(()) }).await;
    assert_eq!(database.history().await.len(), 1, "a change of evidence alone is no transition");
    cancel.cancel();
}

#[tokio::test]
async fn inventory_that_does_not_parse_is_unknown_and_hurts_nobody_else() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", "{\"release\": [\"<script>\"").await;
    let cancel = start(&database, &hand);
    let row = judged(&database, UNKNOWN).await;
    assert!(row.2.starts_with("malformed: "), "{row:?}");

    database.inventory(1, "kernel", "self", KERNEL).await;
    judged(&database, PASS).await;
    cancel.cancel();
}
