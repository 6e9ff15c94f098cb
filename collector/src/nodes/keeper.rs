//! Keeps stored states and vitals up with the registry, and the store itself tidy.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Registry;
use crate::enrolment::Enrolments;
use crate::ingest::session::Moment;
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::ingest::Writer;
use crate::store::retention::Retention;

/// How often states are looked at.
const STATES: Duration = Duration::from_secs(1);
/// Every how many looks the vitals are flushed.
const FLUSH_EVERY: u32 = 10;
/// How often rollups are written.
const ROLLUP: Duration = Duration::from_mins(5);
/// Every how many rollups old rows are deleted: hourly.
const SWEEP_EVERY: u32 = 12;

/// Writes states as they fall due and vitals every ten seconds, for ever.
pub async fn keep_states(registry: Arc<Registry>, writer: Writer, metrics: Metrics, now: impl Fn() -> Moment + Send) {
    let mut ticks = interval(STATES);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        let due = registry.due(now());
        if !due.is_empty() {
            match writer.write_states(due.clone()).await {
                Ok(()) => registry.settle(&due),
                // The writer has said it; this comes round every second.
                Err(error) => tracing::debug!(error = cause(&error), "states of nodes not stored: trying again"),
            }
        }
        let breaches = registry.breaches_due();
        if !breaches.is_empty() {
            match writer.write_breaches(breaches.clone()).await {
                Ok(()) => registry.settle_breaches(&breaches),
                Err(error) => tracing::debug!(error = cause(&error), "refusals of nodes not stored: trying again"),
            }
        }
        let (states, totals) = registry.totals();
        for (state, n) in states {
            metrics.nodes(state.name(), n);
        }
        metrics.agents(totals);
        if tick % FLUSH_EVERY == 0 {
            flush(&registry, &writer).await;
        }
    }
}

/// Flushes what was heard since the last time.
pub async fn flush(registry: &Registry, writer: &Writer) {
    let vitals = registry.take_vitals();
    if !vitals.is_empty()
        && let Err(error) = writer.write_vitals(vitals).await
    {
        tracing::debug!(error = cause(&error), "heartbeats not stored: the next ones will be");
    }
}

/// Writes rollups and deletes what is too old, for ever; who is in `enrolments` stays known as enrolled.
pub async fn keep_tidy(
    store: Store,
    registry: Arc<Registry>,
    retention: Retention,
    enrolments: Option<Arc<Enrolments>>,
    now: impl Fn() -> i64 + Send,
) {
    let mut ticks = interval(ROLLUP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        if let Err(error) = store.roll_up(now()).await {
            tracing::error!(error = cause(&error), "rollup not written: trying again in five minutes");
        }
        if tick % SWEEP_EVERY == 0 {
            match store.sweep(retention, now()).await {
                Ok(swept) => {
                    tracing::debug!(?swept, "old rows deleted");
                    match store.known_nodes().await {
                        Ok(stored) => registry.forget_gone(&stored.iter().map(|node| node.node_id).collect()),
                        Err(error) => tracing::debug!(error = cause(&error), "nodes that were deleted are not forgotten yet"),
                    }
                }
                Err(error) => tracing::error!(error = cause(&error), "old rows not deleted: trying again in an hour"),
            }
            let Some(list) = &enrolments else { continue };
            let listed = |cluster: &str, uid: &str| list.node(cluster, uid).is_some();
            match store.forget_enrolled(now().saturating_sub(retention.gone_nodes), listed).await {
                Ok(forgotten) => forgotten.iter().for_each(|enrolled| list.forget(enrolled)),
                Err(error) => tracing::error!(error = cause(&error), "enrolments of old not deleted: trying again in an hour"),
            }
        }
    }
}
