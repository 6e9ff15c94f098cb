//! Shippers whose configuration is a document: Vector, Promtail, Filebeat.

use serde_json::{Map, Value};

use super::output::{Answer, Output, is_variable, short};
use super::{Files, Said, config, option};

/// Vector's sinks that stay on this host.
const LOCAL_SINKS: [&str; 6] = ["blackhole", "console", "file", "prometheus_exporter", "unit_test", "websocket_server"];
/// Sinks that speak to one provider, over TLS unless an `endpoint` says otherwise.
const PROVIDER_SINKS: [&str; 4] = ["aws_", "azure_", "gcp_", "datadog_"];
/// Sinks over plain sockets, encrypted where `tls` is enabled.
const SOCKET_SINKS: [&str; 6] = ["amqp", "kafka", "nats", "papertrail", "socket", "vector"];
const VECTOR: [&str; 4] = ["/etc/vector/vector.yaml", "/etc/vector/vector.yml", "/etc/vector/vector.toml", "/etc/vector/vector.json"];

fn document(text: &str, path: &str) -> Option<Value> {
    let ending = path.rsplit('.').next().unwrap_or_default();
    if ending == "toml" { toml::from_str::<Value>(text).ok() } else { config::parse(text).ok() }
}

/// All files it is started with, or that of its package.
pub(super) fn vector(files: &mut Files<'_>, argv: &[String]) -> Said {
    let mut said = Said { local: true, ..Said::default() };
    let mut paths: Vec<String> = Vec::new();
    if let Some(directory) = option(argv, &["--config-dir", "-C"]) {
        for ending in ["json", "toml", "yaml", "yml"] {
            match files.expand(&format!("{}/*.{ending}", directory.trim_end_matches('/'))) {
                Some(found) => paths.extend(found),
                None => said.incomplete = true,
            }
        }
    }
    paths.extend(option(argv, &["--config-yaml", "--config-toml", "--config-json", "--config", "-c"]).map(str::to_owned));
    if paths.is_empty() {
        paths.extend(VECTOR.into_iter().find(|path| files.root.metadata(path).is_ok()).map(str::to_owned));
    }
    said.incomplete |= paths.is_empty();
    for path in paths {
        match files.text(&path).and_then(|text| document(&text, &path)) {
            Some(document) => {
                let sinks = document.get("sinks").and_then(Value::as_object);
                said.outputs.extend(sinks.into_iter().flatten().filter_map(|(_, sink)| vector_sink(sink)));
            }
            None => said.incomplete = true,
        }
        if said.source.is_empty() {
            said.source = path;
        }
    }
    said
}

fn vector_sink(sink: &Value) -> Option<Output> {
    let text = |key: &str| sink.get(key).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    if LOCAL_SINKS.contains(&kind) {
        return None;
    }
    let disk = sink
        .get("buffer")
        .is_some_and(|buffer| of_type(buffer, "disk") || buffer.as_array().is_some_and(|all| all.iter().any(|one| of_type(one, "disk"))));
    let buffered = Answer::of(disk);
    let first = |key: &str| sink.get(key).and_then(Value::as_array).and_then(|all| all.first()).and_then(Value::as_str);
    let address = ["endpoint", "uri", "address", "url", "bootstrap_servers"].into_iter().find_map(text).or_else(|| first("endpoints"));
    let tls = match sink.get("tls").and_then(|tls| tls.get("enabled")) {
        Some(Value::Bool(enabled)) => Answer::of(*enabled),
        Some(_) => Answer::Unknown,
        None => Answer::No,
    };
    let provider = PROVIDER_SINKS.iter().any(|start| kind.starts_with(start));
    Some(match address {
        Some(address) if address.contains("://") => Output::of_url(address, buffered),
        Some(address) if SOCKET_SINKS.contains(&kind) && !is_variable(address) => Output::of_host("tcp", address, "", tls, buffered),
        Some(address) => Output::of_host("tcp", address, "", if tls == Answer::Yes { tls } else { Answer::Unknown }, buffered),
        None => Output { place: short(kind), encrypted: if provider { Answer::Yes } else { Answer::Unknown }, buffered },
    })
}

fn of_type(value: &Value, kind: &str) -> bool {
    value.get("type").and_then(Value::as_str) == Some(kind)
}

/// It follows files and gives up on what cannot be sent for long, unless its write-ahead log is on.
pub(super) fn promtail(files: &mut Files<'_>, given: Option<&str>) -> Said {
    let path = given.unwrap_or("/etc/promtail/config.yml");
    let mut said = Said { source: path.to_owned(), ..Said::default() };
    let Some(document) = files.text(path).and_then(|text| config::parse(&text).ok()) else {
        return Said { incomplete: true, ..said };
    };
    let kept = document.get("wal").and_then(|wal| wal.get("enabled")).and_then(Value::as_bool).unwrap_or(false);
    let clients = document.get("clients").and_then(Value::as_array).into_iter().flatten();
    for client in clients.chain(document.get("client")) {
        if let Some(url) = client.get("url").and_then(Value::as_str) {
            said.outputs.push(Output::of_url(url, Answer::of(kept)));
        }
    }
    said
}

/// Whether it keeps what it cannot send is its queue's; without one on disk the files it follows are what is kept, while they last.
pub(super) fn filebeat(files: &mut Files<'_>, given: Option<&str>) -> Said {
    let path = given.unwrap_or("/etc/filebeat/filebeat.yml");
    // The image is started with a name in its own directory.
    let path = if path.starts_with('/') || files.cwd != "/" { path.to_owned() } else { format!("/usr/share/filebeat/{path}") };
    let mut said = Said { source: path.clone(), local: true, ..Said::default() };
    let Some(document) = files.text(&path).and_then(|text| config::parse(&text).ok()) else {
        return Said { incomplete: true, ..said };
    };
    let buffered = if at(&document, "queue.disk").is_some() { Answer::Yes } else { Answer::Unknown };
    for kind in ["elasticsearch", "logstash", "kafka", "redis"] {
        let Some(output) = at(&document, &format!("output.{kind}")) else { continue };
        if at(&output, "enabled") == Some(Value::Bool(false)) {
            continue;
        }
        let https = at(&output, "protocol").and_then(|protocol| protocol.as_str().map(|word| word.eq_ignore_ascii_case("https")));
        let tls = match (at(&output, "ssl.enabled"), at(&output, "ssl")) {
            (Some(Value::Bool(enabled)), _) => Answer::of(enabled),
            (None, Some(ssl)) if ssl.as_object().is_some_and(|keys| !keys.is_empty()) => Answer::Yes,
            (None, None) => Answer::No,
            _ => Answer::Unknown,
        };
        let hosts = at(&output, "hosts");
        let hosts = hosts.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for host in hosts {
            said.outputs.push(match (kind, host.contains("://")) {
                (_, true) => Output::of_url(host, buffered),
                ("elasticsearch", false) if is_variable(host) => Output::of_host("http", host, "", Answer::Unknown, buffered),
                ("elasticsearch", false) => {
                    let scheme = if https == Some(true) { "https" } else { "http" };
                    Output::of_url(&format!("{scheme}://{host}"), buffered)
                }
                _ => Output::of_host("tcp", host, "", tls, buffered),
            });
        }
    }
    said
}

/// A member by its path, whose parts may be written as one key with dots (`output.logstash:`).
fn at(value: &Value, path: &str) -> Option<Value> {
    let members = value.as_object()?;
    if let Some(found) = members.get(path) {
        return Some(found.clone());
    }
    let nested = path.split_once('.').and_then(|(first, rest)| at(members.get(first)?, rest));
    // What stands below: `output.logstash.hosts` belongs to `output.logstash`.
    let below: Map<String, Value> =
        members.iter().filter_map(|(key, value)| Some((key.strip_prefix(path)?.strip_prefix('.')?.to_owned(), value.clone()))).collect();
    nested.or_else(|| (!below.is_empty()).then_some(Value::Object(below)))
}
