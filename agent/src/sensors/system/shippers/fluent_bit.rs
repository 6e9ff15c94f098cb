//! Fluent Bit's configuration, in its own format and in YAML.

use std::collections::BTreeMap;

use serde_json::Value;

use super::output::{Answer, Output, is_variable};
use super::{Files, Said, config};

/// Where packages and the image put it.
const USUAL: [&str; 4] = [
    "/etc/fluent-bit/fluent-bit.conf",
    "/fluent-bit/etc/fluent-bit.conf",
    "/fluent-bit/etc/conf/fluent-bit.conf",
    "/etc/fluent-bit/fluent-bit.yaml",
];
/// Outputs that stay on this host.
const LOCAL: [&str; 9] = ["counter", "exit", "file", "flowcounter", "lib", "null", "plot", "prometheus_exporter", "stdout"];
/// Outputs that speak to one provider, over TLS alone.
const PROVIDERS: [&str; 12] = [
    "azure",
    "azure_blob",
    "azure_kusto",
    "azure_logs_ingestion",
    "bigquery",
    "chronicle",
    "cloudwatch",
    "cloudwatch_logs",
    "kinesis_firehose",
    "kinesis_streams",
    "s3",
    "stackdriver",
];
/// Outputs with `tls`, which is off where nothing says otherwise.
const WITH_TLS: [&str; 14] = [
    "datadog",
    "es",
    "forward",
    "gelf",
    "http",
    "influxdb",
    "logdna",
    "loki",
    "nats",
    "opensearch",
    "opentelemetry",
    "splunk",
    "syslog",
    "tcp",
];

/// One section: its name, and its keys in lower case.
type Section = (String, BTreeMap<String, String>);

pub(super) fn read(files: &mut Files<'_>, given: Option<&str>) -> Said {
    let path = given.map(str::to_owned).or_else(|| USUAL.into_iter().find(|path| files.root.metadata(path).is_ok()).map(str::to_owned));
    let mut said = Said { local: true, ..Said::default() };
    let Some(path) = path else { return Said { incomplete: true, ..said } };
    let mut sections = Vec::new();
    if matches!(path.rsplit('.').next(), Some("yaml" | "yml")) {
        match files.text(&path).and_then(|text| config::parse(&text).ok()) {
            Some(document) => {
                // More files may be included by name.
                said.incomplete |= document.get("includes").is_some();
                of_yaml(&document, &mut sections);
            }
            None => said.incomplete = true,
        }
    } else if !classic(files, &path, &mut sections, 0) {
        said.incomplete = true;
    }
    outputs(&sections, &mut said);
    said.source = path;
    said
}

/// Was everything read.
fn classic(files: &mut Files<'_>, path: &str, sections: &mut Vec<Section>, depth: u8) -> bool {
    let Some(text) = files.text(path).filter(|_| depth < 8) else { return false };
    let mut whole = true;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push((name.to_ascii_lowercase(), BTreeMap::new()));
            continue;
        }
        let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
        let value = value.trim();
        if key.eq_ignore_ascii_case("@include") {
            // Names are taken from where the file lies.
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let pattern = if value.starts_with('/') { value.to_owned() } else { format!("{directory}/{value}") };
            match files.expand(&pattern) {
                Some(paths) => whole &= paths.iter().all(|path| classic(files, path, sections, depth + 1)),
                None => whole = false,
            }
        } else if let Some((_, keys)) = sections.last_mut() {
            keys.insert(key.to_ascii_lowercase(), value.to_owned());
        }
    }
    whole
}

fn of_yaml(document: &Value, sections: &mut Vec<Section>) {
    let section = |name: &str, value: &Value| {
        let keys = value.as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.to_ascii_lowercase(), scalar(value)?)));
        (name.to_owned(), keys.collect())
    };
    if let Some(service) = document.get("service") {
        sections.push(section("service", service));
    }
    for (list, name) in [("inputs", "input"), ("outputs", "output")] {
        let items = document.get("pipeline").and_then(|pipeline| pipeline.get(list)).and_then(Value::as_array);
        sections.extend(items.into_iter().flatten().map(|item| section(name, item)));
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("on".to_owned()),
        Value::Bool(false) => Some("off".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn outputs(sections: &[Section], said: &mut Said) {
    let of = |wanted: &'static str| sections.iter().filter(move |(name, _)| name == wanted).map(|(_, keys)| keys);
    let has = |keys: &BTreeMap<String, String>, key: &str, value: &str| keys.get(key).is_some_and(|is| is.eq_ignore_ascii_case(value));
    let stored = of("service").any(|keys| keys.contains_key("storage.path"));
    let buffered = Answer::of(stored && of("input").any(|keys| has(keys, "storage.type", "filesystem")));
    for keys in of("output") {
        let name = keys.get("name").map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        if LOCAL.contains(&name.as_str()) {
            continue;
        }
        let get = |key: &str| keys.get(key).map(String::as_str).unwrap_or_default();
        let encrypted = match name.as_str() {
            name if PROVIDERS.contains(&name) => Answer::Yes,
            "kafka" => match get("rdkafka.security.protocol").to_ascii_lowercase().as_str() {
                "ssl" | "sasl_ssl" => Answer::Yes,
                protocol if is_variable(protocol) => Answer::Unknown,
                _ => Answer::No,
            },
            "syslog" if get("mode").eq_ignore_ascii_case("tls") => Answer::Yes,
            name if WITH_TLS.contains(&name) && is_variable(get("tls")) => Answer::Unknown,
            name if WITH_TLS.contains(&name) => Answer::of(["on", "true", "yes", "1"].iter().any(|on| get("tls").eq_ignore_ascii_case(on))),
            _ => Answer::Unknown,
        };
        let host = ["host", "brokers", "url", "endpoint"].into_iter().map(get).find(|value| !value.is_empty()).unwrap_or_default();
        let output = if host.is_empty() {
            Output { place: super::output::short(&name), encrypted, buffered }
        } else {
            Output::of_host(if name == "http" { "http" } else { "tcp" }, host, get("port"), encrypted, buffered)
        };
        said.outputs.push(output);
    }
}
