//! What a webhook is sent: one request for each change of an alert's state, until it is taken.
//!
//! The body is `{"version": "1", "status", "alerts": [{id, status, fingerprint, labels, annotations, startsAt, endsAt,
//! nodes, generatorURL}]}`; `endsAt` is null while firing. A request may arrive twice: `Idempotency-Key` is the same then.
//! Must not know how it is sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::alertmanager::rfc3339;
use super::evaluate::{Alert, AlertState};
use crate::store::Delivery;

/// A resolution that could not be told within an hour is given up.
const GIVE_UP_RESOLVED_MS: i64 = 60 * 60 * 1000;

/// The change an alert last made, `firing since 2026-…` or `resolved at 2026-…`: what a delivery's detail starts with.
pub(super) fn change(alert: &Alert) -> String {
    match alert.state {
        AlertState::Firing => format!("firing since {}", rfc3339(alert.starts_at)),
        AlertState::Resolved => format!("resolved at {}", rfc3339(alert.ends_at)),
    }
}

/// The alerts whose last change the receiver has not taken.
pub(super) fn owed<'a>(alerts: &'a [Alert], told: &BTreeMap<String, Delivery>, now: i64) -> Vec<&'a Alert> {
    let owed = |alert: &&Alert| {
        let too_late = alert.state == AlertState::Resolved && now.saturating_sub(alert.ends_at) > GIVE_UP_RESOLVED_MS;
        let taken = |delivery: &Delivery| delivery.ok && delivery.detail == change(alert);
        !too_late && !told.get(&alert.fingerprint).is_some_and(taken)
    };
    alerts.iter().filter(owed).collect()
}

/// Names the change of one alert for ever: the same key means the same content.
pub(super) fn idempotency_key(alert: &Alert) -> String {
    let at = if alert.state == AlertState::Firing { alert.starts_at } else { alert.ends_at };
    format!("{}-{}-{at}", alert.fingerprint, alert.state.name())
}

/// The request's body.
pub(super) fn body(alert: &Alert, public_url: Option<&str>) -> Value {
    let ends_at = match alert.state {
        AlertState::Firing => None,
        AlertState::Resolved => Some(rfc3339(alert.ends_at)),
    };
    json!({
        "version": "1",
        "status": alert.state.name(),
        "alerts": [{
            "id": idempotency_key(alert),
            "status": alert.state.name(),
            "fingerprint": alert.fingerprint,
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": rfc3339(alert.starts_at),
            "endsAt": ends_at,
            "nodes": alert.nodes,
            "generatorURL": public_url.map(|url| format!("{url}{}", alert.page())),
        }],
    })
}
