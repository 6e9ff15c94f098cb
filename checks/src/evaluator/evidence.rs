//! Evidence: the facts a verdict rests on, with their source and time.

use serde_json::Value;

use super::judge::Bench;
use super::tree::{Step, Tree, source_of, steps};
use crate::entries::Evidence;
use crate::facts::{Source, SourceKind};

/// The most probe answers shown as evidence.
const MAX_ANSWERS: usize = 6;

/// The evidence at `path` (`it.settings.port`, `kernel.lockdown`), with `it` standing at `at`.
///
/// `None` when the path leads nowhere, as it does under something unavailable that is itself not on the path.
pub(super) fn evidence_of(bench: &Bench<'_>, path: &str, at: Option<&str>) -> Option<Evidence> {
    let (base, rest) = match (path.strip_prefix("it."), at) {
        (Some(rest), Some(at)) => (at, rest),
        (Some(_), None) => return None,
        (None, _) => ("", path),
    };
    let on_the_way = [base, rest].into_iter().filter(|part| !part.is_empty());
    // Walk down, so that the nearest observation on the way gives source and time.
    let mut tree = bench.tree;
    let mut observed: Option<(&Source, i64)> = None;
    for step in on_the_way.clone().flat_map(steps) {
        tree = match step {
            Step::Member(name) => tree.member(name)?,
            Step::Element(index) => tree.element(index)?,
        };
        match tree {
            Tree::Known(_, from, at) => observed = Some((from, *at)),
            Tree::Unavailable(why) => {
                let source = format!("{}: {}", why.reason.name(), why.detail);
                return Some(Evidence { path: shown(on_the_way), value: None, source, at: 0 });
            }
            _ => {}
        }
    }
    let derived = Source::new(SourceKind::Derived, "");
    let (source, read_at) = observed.unwrap_or((&derived, 0));
    let name = path.rsplit('.').next().unwrap_or_default();
    // An effective setting carries the source that decided it.
    let (value, source) = match (tree.member("value"), tree.member("source")) {
        (Some(value), Some(decided)) => {
            (value.to_json(), source_of(decided).map_or_else(|_| source.to_string(), |decided| decided.to_string()))
        }
        _ => (legible(name, tree.to_json()), source.to_string()),
    };
    Some(Evidence { path: shown(on_the_way), value: Some(value), source, at: read_at })
}

/// A value as people write it: modes in octal, capability masks in hexadecimal, sockets and probe answers in one line each,
/// without process ids, which are not stable.
fn legible(name: &str, value: Value) -> Value {
    match (name, &value) {
        ("mode", Value::Number(mode)) => mode.as_i64().map_or(value, |mode| format!("{mode:04o}").into()),
        ("cap_effective", Value::Number(mask)) => mask.as_i64().map_or(value, |mask| format!("{mask:#x}").into()),
        ("probes", Value::Array(probes)) => answers(probes),
        ("listeners", Value::Array(listeners)) => listeners.iter().map(socket).collect(),
        _ => value,
    }
}

/// `tcp :: port 10251`.
fn socket(listener: &Value) -> Value {
    let text = |name: &str| listener.get(name).and_then(Value::as_str).unwrap_or_default();
    let port = listener.get("port").and_then(Value::as_i64).unwrap_or_default();
    format!("{} {} port {port}", text("protocol"), text("address")).into()
}

/// What was served first, then what was turned away, then the rest: a few lines, and how many more there were.
fn answers(probes: &[Value]) -> Value {
    let rank = |probe: &&Value| match (probe.get("tls").and_then(Value::as_bool), probe.get("status").and_then(Value::as_i64)) {
        (Some(true), Some(200)) => 0,
        (_, Some(200)) => 1,
        (_, Some(401 | 403)) => 2,
        _ => 3,
    };
    let mut ordered: Vec<&Value> = probes.iter().collect();
    ordered.sort_by_key(rank);
    let mut lines: Vec<Value> = ordered.iter().take(MAX_ANSWERS).map(|probe| answer(probe)).collect();
    if let Some(more) = ordered.len().checked_sub(MAX_ANSWERS).filter(|more| *more > 0) {
        lines.push(format!("and {more} more").into());
    }
    lines.into()
}

/// `https 127.0.0.1 port 10250 /pods: 401`, and who asked when it was not the node itself.
fn answer(probe: &Value) -> Value {
    let text = |name: &str| probe.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| probe.get(name).and_then(Value::as_i64).unwrap_or_default();
    let scheme = if probe.get("tls") == Some(&Value::Bool(true)) { "https" } else { "http" };
    let met = if text("outcome") == "answered" { number("status").to_string() } else { text("outcome").replace('_', " ") };
    let from = if text("vantage") == "node" { String::new() } else { format!(" (from {})", text("vantage")) };
    format!("{scheme} {} port {} {}: {met}{from}", text("address"), number("port"), text("path")).into()
}

/// A path without list positions, which are not stable.
fn shown<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::with_capacity(48);
    for part in parts.flat_map(|part| part.split('.')) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(part.split('[').next().unwrap_or_default());
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::legible;

    #[test]
    fn values_are_shown_as_people_write_them() {
        assert_eq!(legible("mode", 0o600.into()), json!("0600"));
        assert_eq!(legible("mode", json!("iptables")), json!("iptables"), "kube-proxy has a mode too");
        assert_eq!(legible("cap_effective", Value::from(0x1ff_ffff_ffff_i64)), json!("0x1ffffffffff"));
        assert_eq!(legible("uid", 0.into()), json!(0));
        let listener = json!({"protocol": "tcp", "address": "::", "port": 10251, "owner": {"pid": 7}});
        assert_eq!(legible("listeners", json!([listener])), json!(["tcp :: port 10251"]));
        let probe =
            json!({"vantage": "node", "address": "::1", "port": 10250, "path": "/pods", "tls": true, "outcome": "answered", "status": 401});
        let refused = json!({"vantage": "n2", "address": "192.0.2.2", "port": 10255, "path": "/pods", "tls": false, "outcome": "timed_out", "status": 0});
        let shown = json!(["https ::1 port 10250 /pods: 401", "http 192.0.2.2 port 10255 /pods: timed out (from n2)"]);
        assert_eq!(legible("probes", json!([refused, probe])), shown);
        let many = legible("probes", vec![refused; 9].into());
        assert_eq!((many.as_array().map(Vec::len), &many[6]), (Some(7), &json!("and 3 more")));
    }
}
