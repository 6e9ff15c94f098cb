//! Certificates and TLS of a node, for its facts: who each is, who signed it, until when; what sockets take.

use serde_json::Value;

use crate::store::views::{At, InventoryRow};

/// A certificate in a file, or why it is not known.
pub(super) struct Certificate {
    pub(super) path: String,
    pub(super) role: String,
    pub(super) what: Result<Named, String>,
}

/// What a certificate says.
pub(super) struct Named {
    /// Whom it names.
    pub(super) name: String,
    /// Who issued it, by name.
    pub(super) issuer: String,
    /// Whose key signed it, in words, as far as a file of the node tells.
    pub(super) signed_by: String,
    pub(super) until: At,
    /// In words: `in 42 days`, `expired 3 days ago`.
    pub(super) left: String,
    pub(super) expired: bool,
    /// `ec, 256 bits`; empty when not said.
    pub(super) key: String,
}

/// What a socket took of a stranger.
pub(super) struct Tls {
    pub(super) from: String,
    pub(super) at: String,
    pub(super) takes: Vec<String>,
    pub(super) refuses: Vec<String>,
    pub(super) suites: Option<Vec<String>>,
    pub(super) asks_certificate: Option<bool>,
    pub(super) certificate: Option<Named>,
}

pub(super) fn certificates(rows: &[InventoryRow], now: i64) -> Vec<Certificate> {
    let certificate = |row: &InventoryRow| {
        let unknown = row.text("unknown");
        let path = if row.text("path").is_empty() { row.name.clone() } else { row.text("path") };
        let user = row.text("user");
        Certificate {
            path: if user.is_empty() { path } else { format!("{path}, user {user}") },
            role: row.text("role").replace('_', " "),
            what: if unknown.is_empty() { named(&row.document, &row.text("issued_by"), now).ok_or_else(unread) } else { Err(unknown) },
        }
    };
    rows.iter().map(certificate).collect()
}

fn unread() -> String {
    "malformed: the node's document does not parse".to_owned()
}

/// `None` for what is no certificate.
fn named(document: &Value, issued_by: &str, now: i64) -> Option<Named> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let until = At(document.get("not_after").and_then(Value::as_i64)?.saturating_mul(1000));
    let days = |millis: i64| super::marks::counted(millis / 86_400_000, "day", "days");
    let expired = until.0 <= now;
    let left = if expired {
        format!("expired {} ago", days(now.saturating_sub(until.0)))
    } else {
        format!("in {}", days(until.0.saturating_sub(now)))
    };
    let key = match document.get("key_bits").and_then(Value::as_i64).filter(|bits| *bits > 0) {
        Some(bits) => format!("{}, {bits} bits", text("key")),
        None => text("key"),
    };
    let own = document.get("self_signed").and_then(Value::as_bool) == Some(true);
    let signed_by = match issued_by {
        _ if own => "by its own key".to_owned(),
        "" => "by no key found on this node".to_owned(),
        file => format!("by the key of {file}"),
    };
    Some(Named { name: text("name"), issuer: text("issuer"), signed_by, until, left, expired, key })
}

pub(super) fn tls(rows: &[InventoryRow], now: i64) -> Vec<Tls> {
    let tls = |row: &InventoryRow| {
        // `<vantage>/<address>/<port>`
        let (from, at) = row.name.split_once('/').unwrap_or(("", &row.name));
        let at = at.rsplit_once('/').map_or_else(|| at.to_owned(), |(address, port)| socket(address, port));
        let versions = row.document.get("versions").and_then(Value::as_object);
        let of = |accepted: bool| {
            let taken = versions.into_iter().flatten().filter(|(_, taken)| taken.as_bool() == Some(accepted));
            taken.map(|(name, _)| name.clone()).collect()
        };
        Tls {
            from: from.to_owned(),
            at,
            takes: of(true),
            refuses: of(false),
            suites: row.document.get("suites").and_then(Value::as_array).map(|suites| suites.iter().filter_map(text).collect()),
            asks_certificate: row.document.get("asks_certificate").and_then(Value::as_bool),
            certificate: row.document.get("certificate").and_then(|certificate| named(certificate, &row.text("issued_by"), now)),
        }
    };
    rows.iter().map(tls).collect()
}

fn socket(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
