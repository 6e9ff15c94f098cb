//! What Alertmanager's v2 API is sent: `POST /api/v2/alerts`.
//!
//! Alertmanager forgets: a firing alert is sent again every interval with an end a few intervals ahead, and a resolved
//! one keeps being sent for five minutes, so that a replica that was away learns of it. Must not know how it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::evaluate::{Alert, AlertState};

/// How long a resolved alert is sent again, as Alertmanager's documentation asks.
const RESEND_RESOLVED_MS: i64 = 5 * 60 * 1000;
/// A firing alert that is not sent again ends by itself after this many intervals.
const INTERVALS_AHEAD: i64 = 4;
/// Alerts in one request.
pub(super) const BATCH: usize = 64;

/// One element of the request's array.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

/// The alerts to send at `now`: those that fire, and those resolved within the last five minutes.
pub(super) fn due(alerts: &[Alert], now: i64) -> Vec<&Alert> {
    let due = |alert: &&Alert| match alert.state {
        AlertState::Firing => true,
        AlertState::Resolved => now.saturating_sub(alert.ends_at) <= RESEND_RESOLVED_MS,
    };
    alerts.iter().filter(due).collect()
}

/// An alert as Alertmanager reads it.
pub(super) fn posted<'a>(alert: &'a Alert, now: i64, interval: Duration, public_url: Option<&str>) -> Posted<'a> {
    let ahead = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).saturating_mul(INTERVALS_AHEAD);
    let ends_at = match alert.state {
        AlertState::Firing => now.saturating_add(ahead),
        AlertState::Resolved => alert.ends_at,
    };
    Posted {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: rfc3339(alert.starts_at),
        ends_at: rfc3339(ends_at),
        generator_url: public_url.map(|url| format!("{url}{}", alert.page())),
    }
}

/// Unix milliseconds as RFC 3339 in UTC. Times that have no date are the epoch.
pub(super) fn rfc3339(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
