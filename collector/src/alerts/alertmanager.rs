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
    // Where the clock went back both may be yet to come: Alertmanager refuses what ends before it starts, and takes what ends later for
    // firing.
    let ends_at = match alert.state {
        AlertState::Firing => now.saturating_add(ahead),
        AlertState::Resolved => alert.ends_at.min(now),
    };
    let starts_at = alert.starts_at.min(now).min(ends_at);
    Posted {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: rfc3339(starts_at),
        ends_at: rfc3339(ends_at),
        generator_url: public_url.map(|url| format!("{url}{}", alert.page())),
    }
}

/// Unix milliseconds as RFC 3339 in UTC. Times that have no date are the epoch.
pub(super) fn rfc3339(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use holdfast_checks::entries::Severity;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_800_000_000_000;

    fn alert(state: AlertState, starts_at: i64, ends_at: i64) -> Alert {
        Alert {
            fingerprint: "f".to_owned(),
            rule: "r".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            severity: Severity::High,
            state,
            nodes: 1,
            link: "/findings".to_owned(),
            starts_at,
            ends_at,
            updated_at: starts_at,
        }
    }

    /// Refused by Alertmanager for ending before it starts, or taken for one that fires until the hour is over.
    #[test]
    fn an_alert_of_before_the_clock_was_put_back_is_sent_as_what_it_is_now() {
        let sent = |alert: Alert| {
            let posted = posted(&alert, NOW, Duration::from_mins(1), None);
            (posted.starts_at, posted.ends_at)
        };
        let firing = sent(alert(AlertState::Firing, NOW + HOUR, 0));
        assert_eq!(firing, (rfc3339(NOW), rfc3339(NOW + 240_000)));
        let resolved = sent(alert(AlertState::Resolved, NOW + HOUR, NOW + HOUR + 5));
        assert_eq!(resolved, (rfc3339(NOW), rfc3339(NOW)));
        // And where it was not, as they were.
        assert_eq!(sent(alert(AlertState::Resolved, NOW - HOUR, NOW - 5)), (rfc3339(NOW - HOUR), rfc3339(NOW - 5)));
    }
}
