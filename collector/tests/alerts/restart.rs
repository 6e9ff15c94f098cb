//! Alerts survive a restart of the collector, on a real database file.

use holdfast_collector::alerts::{Alert, AlertState, run};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Hand, MINUTE, START, eventually, options};

const PORT: &str = "kubelet-read-only-port-listening";

/// Runs alerts until the stored ones are as wanted, stops, and returns them.
async fn run_until(database: &Database, hand: &Hand, wanted: impl Fn(&[Alert]) -> bool) -> Vec<Alert> {
    let cancel = CancellationToken::new();
    let task = run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
    let task = tokio::spawn(task);
    let alerts = eventually("the alerts are as wanted", || async {
        let alerts = database.store.stored_alerts().await.unwrap();
        wanted(&alerts).then_some(alerts)
    })
    .await;
    cancel.cancel();
    task.await.unwrap().unwrap();
    alerts
}

#[tokio::test]
async fn an_alert_keeps_its_start_over_a_restart() {
    let mut database = Database::new().await;
    let hand = Hand::at(START + MINUTE);
    database.node(1, "a1", "connected", START).await;
    database.failing(1, PORT, "port = 10255 (socket)", START).await;
    let before = run_until(&database, &hand, |alerts| !alerts.is_empty()).await;

    database.restart().await;
    hand.forward(10 * MINUTE);
    // Only what happened meanwhile is news.
    database.node(2, "a2", "silent", START + 2 * MINUTE).await;
    let after = run_until(&database, &hand, |alerts| alerts.len() == 2).await;
    assert!(after.contains(&before[0]), "{before:?}\n{after:?}");
}

#[tokio::test]
async fn a_condition_that_ended_while_the_collector_was_down_resolves() {
    let mut database = Database::new().await;
    let hand = Hand::at(START + MINUTE);
    database.node(1, "a1", "connected", START).await;
    database.failing(1, PORT, "port = 10255 (socket)", START).await;
    run_until(&database, &hand, |alerts| !alerts.is_empty()).await;

    database.restart().await;
    database.passing(1, PORT).await;
    hand.forward(MINUTE);
    let after = run_until(&database, &hand, |alerts| alerts[0].state == AlertState::Resolved).await;
    assert_eq!((after[0].starts_at, after[0].ends_at), (START, START + 2 * MINUTE));
}
