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

/// The most vulnerabilities shown as evidence.
const MAX_MATCHES: usize = 6;

/// A value as people write it: modes in octal, capability masks in hexadecimal, dates as dates, sockets, handshakes, probe
/// answers and vulnerabilities in one line each, without process ids, which are not stable.
fn legible(name: &str, value: Value) -> Value {
    match (name, &value) {
        ("mode", Value::Number(mode)) => mode.as_i64().map_or(value, |mode| format!("{mode:04o}").into()),
        ("cap_effective", Value::Number(mask)) => mask.as_i64().map_or(value, |mask| format!("{mask:#x}").into()),
        ("probes", Value::Array(probes)) => answers(probes),
        ("listeners", Value::Array(listeners)) => listeners.iter().map(socket).collect(),
        ("handshakes", Value::Array(handshakes)) => handshakes.iter().map(handshake).collect(),
        ("addresses", Value::Array(addresses)) => addresses.iter().map(|address| member(address, "address").clone()).collect(),
        ("unknown_fields", Value::Array(fields)) => fields.iter().map(unknown_field).collect(),
        ("differences", Value::Array(differences)) => differences.iter().map(difference).collect(),
        ("matches", Value::Array(matches)) => vulnerabilities(matches),
        ("sshd", Value::Object(settings)) => settings.iter().map(|(name, setting)| setting_of(name, setting)).collect(),
        ("way", Value::Array(steps)) => steps.iter().map(step).collect(),
        ("access", Value::Object(_)) => access(&value),
        ("not_before" | "not_after" | "since", Value::Number(seconds)) => seconds.as_i64().and_then(date).map_or(value, Value::String),
        _ => value,
    }
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// The texts of a list, joined.
fn joined(list: &Value, by: &str) -> String {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(by)
}

/// `127.0.0.1 port 10250: TLS 1.2, TLS 1.3; TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; CN=n1 by CN=kubernetes`: versions and suites
/// it took and the certificate it showed, with a question mark for what is not known.
fn handshake(handshake: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = member(handshake, "versions").as_array().map(|versions| {
        let taken = versions.iter().filter(|version| member(version, "accepted") == &Value::Bool(true));
        taken.map(|version| text(member(version, "name"))).collect::<Vec<_>>().join(", ")
    });
    let suites = member(handshake, "suites");
    let suites = if suites.is_array() { joined(suites, " ") } else { "?".to_owned() };
    let certificate = member(handshake, "certificate");
    let certificate = if certificate.is_object() {
        let itself = member(certificate, "self_signed") == &Value::Bool(true);
        let by = if itself { "itself".to_owned() } else { text(member(certificate, "issuer")) };
        format!("{} by {by}", text(member(certificate, "name")))
    } else {
        "?".to_owned()
    };
    let port = member(handshake, "port").as_i64().unwrap_or_default();
    let spoken: Vec<String> =
        [versions.unwrap_or_else(|| "?".to_owned()), suites, certificate].into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} port {port}: {}", text(member(handshake, "address")), spoken.join("; ")).into()
}

/// `PermitRootLogin no by file /etc/ssh/sshd_config`.
fn setting_of(name: &str, setting: &Value) -> Value {
    let value = match member(setting, "value") {
        Value::String(text) => text.clone(),
        Value::Null => "?".to_owned(),
        value => value.to_string(),
    };
    let source = serde_json::from_value::<Source>(member(setting, "source").clone());
    let by = source.map(|source| format!(" by {source}")).unwrap_or_default();
    format!("{name} {value}{by}").into()
}

/// `authentication.anonymus in /var/lib/kubelet/config.yaml`.
fn unknown_field(field: &Value) -> Value {
    let text = |name: &str| member(field, name).as_str().unwrap_or_default();
    format!("{} in {}", text("field"), text("path")).into()
}

/// `podPidsLimit: 4096 by file /var/lib/kubelet/config.yaml, the kubelet says -1`.
fn difference(difference: &Value) -> Value {
    let source = serde_json::from_value::<Source>(member(difference, "source").clone());
    let by = source.map(|source| format!(" by {source}")).unwrap_or_default();
    let setting = member(difference, "setting").as_str().unwrap_or_default();
    format!("{setting}: {}{by}, the kubelet says {}", member(difference, "effective"), member(difference, "reported")).into()
}

/// `CVE-2026-31431 Copy Fail, likely: 6.12.48 < 6.12.85 (upstream); exploited since 2026-05-01; by CVE-2026-31431`, the gravest
/// first, as they are listed.
fn vulnerabilities(matches: &[Value]) -> Value {
    let mut lines: Vec<Value> = matches.iter().take(MAX_MATCHES).map(vulnerability).collect();
    if let Some(more) = matches.len().checked_sub(MAX_MATCHES).filter(|more| *more > 0) {
        lines.push(format!("and {more} more").into());
    }
    lines.into()
}

fn vulnerability(found: &Value) -> Value {
    let text = |name: &str| member(found, name).as_str().unwrap_or_default();
    let title = if text("title").is_empty() { String::new() } else { format!(" {}", text("title")) };
    let mut parts = vec![format!("{}{title}, {}: {}", text("id"), text("confidence"), text("compared"))];
    if let Some(added) = member(member(found, "exploited"), "added").as_str() {
        parts.push(format!("exploited since {added}"));
    } else if member(found, "public_exploit") == &Value::Bool(true) {
        parts.push("public exploit".to_owned());
    }
    if !text("exposure_because").is_empty() {
        parts.push(format!("{}: {}", text("exposure").replace('_', " "), text("exposure_because")));
    }
    parts.push(format!("by {}", text("record")));
    parts.join("; ").into()
}

/// `/etc/kubernetes 0755 0:0`.
fn step(step: &Value) -> Value {
    let number = |name: &str| member(step, name).as_i64().unwrap_or_default();
    let acl = if member(step, "acl").as_array().is_some_and(|acl| !acl.is_empty()) { " with an ACL" } else { "" };
    format!("{} {:04o} {}:{}{acl}", member(step, "path").as_str().unwrap_or_default(), number("mode"), number("uid"), number("gid")).into()
}

/// `readers: everyone; writers: root only`, and what closes it.
fn access(access: &Value) -> Value {
    let who = |name: &str| match joined(member(access, name), ", ") {
        nobody if nobody.is_empty() => "root only".to_owned(),
        others => others,
    };
    let closed = match member(access, "closed_by").as_str() {
        Some(path) if !path.is_empty() => format!("; closed by {path}"),
        _ => String::new(),
    };
    format!("readers: {}; writers: {}{closed}", who("readers"), who("writers")).into()
}

/// `2026-11-21`, from Unix seconds.
fn date(seconds: i64) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d").to_string())
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
        let spoken = json!({"address": "::1", "port": 10250, "versions": [{"name": "TLS 1.2", "accepted": true}, {"name": "TLS 1.0", "accepted": false}],
            "suites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "certificate": {"name": "CN=n1", "issuer": "CN=kubernetes", "self_signed": false}});
        let silent = json!({"address": "::1", "port": 2379, "versions": null, "suites": null, "certificate": null});
        let shown =
            json!(["::1 port 10250: TLS 1.2; TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; CN=n1 by CN=kubernetes", "::1 port 2379: ?; ?; ?"]);
        assert_eq!(legible("handshakes", json!([spoken, silent])), shown);
        assert_eq!(legible("way", json!([{"path": "/etc", "mode": 0o755, "uid": 0, "gid": 0, "acl": []}])), json!(["/etc 0755 0:0"]));
        assert_eq!(
            legible("access", json!({"readers": ["everyone"], "writers": [], "closed_by": ""})),
            json!("readers: everyone; writers: root only")
        );
        assert_eq!(
            legible("access", json!({"readers": [], "writers": [], "closed_by": "/root"})),
            json!("readers: root only; writers: root only; closed by /root")
        );
        let differs = json!({"setting": "podPidsLimit", "effective": 4096, "source": {"kind": "file", "place": "/c"}, "reported": -1});
        assert_eq!(legible("differences", json!([differs])), json!(["podPidsLimit: 4096 by file /c, the kubelet says -1"]));
        let root = json!({"PermitRootLogin": {"value": "no", "source": {"kind": "file", "place": "/s"}, "declared": []}, "Port": null});
        assert_eq!(legible("sshd", root), json!(["PermitRootLogin no by file /s", "Port ?"]));
        let unknown = json!({"field": "authentication.anonymus", "path": "/c"});
        assert_eq!(legible("unknown_fields", json!([unknown])), json!(["authentication.anonymus in /c"]));
        assert_eq!(legible("not_after", json!(1_790_000_000)), json!("2026-09-21"));
        let many = legible("probes", vec![refused; 9].into());
        assert_eq!((many.as_array().map(Vec::len), &many[6]), (Some(7), &json!("and 3 more")));
    }
}
