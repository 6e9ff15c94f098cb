//! What CRI-O makes of its documents and flags.
//!
//! Sources: CRI-O's repository at the tags v1.24.0 to v1.36.3, `pkg/config/config.go` (`DefaultConfig`, `UpdateFromDropInFile`),
//! `config_linux.go`, `internal/config/{nri,seccomp,apparmor}`, `internal/criocli`; crio.conf(5). A later document replaces single
//! keys; a handler's table whole. Variables of its environment (`CONTAINER_…`) count too and are not read.

use serde_json::{Value, json};

use super::arguments::{all, last, switch};
use super::layers::{Default, Key, Kind, Layer, Layers, decided_by, since};
use super::release::{Release, Running};
use crate::facts::{DocumentRole, Observed, Runtime, Setting, Source, SourceKind};

pub(super) const PRODUCT: &str = "CRI-O";

const OFF: Default = |_| Ok(json!(false));

pub(super) const KEYS: [Key; 12] = [
    // crun from 1.31 on.
    Key::new("default_runtime", &["crio", "runtime", "default_runtime"], Kind::Text, |release| {
        since(release, Release(1, 31, 0), json!("runc"), json!("crun"))
    }),
    // Empty: the profile that is built in.
    Key::new("seccomp_profile", &["crio", "runtime", "seccomp_profile"], Kind::Text, |_| Ok(json!(""))),
    Key::new("disable_apparmor", &["crio", "runtime", "apparmor_profile"], Kind::Is("unconfined"), OFF),
    Key::new("enable_selinux", &["crio", "runtime", "selinux"], Kind::Bool, |_| {
        Err("CRI-O uses SELinux by default where the kernel has it on")
    }),
    Key::new("cgroup_driver", &["crio", "runtime", "cgroup_manager"], Kind::Text, |_| Ok(json!("systemd"))),
    Key::new("device_ownership_from_security_context", &["crio", "runtime", "device_ownership_from_security_context"], Kind::Bool, OFF),
    Key::new("stream_server_address", &["crio", "api", "stream_address"], Kind::Text, |_| Ok(json!("127.0.0.1"))),
    Key::new("stream_server_port", &["crio", "api", "stream_port"], Kind::Port, |_| Ok(json!("0"))),
    Key::new("stream_tls", &["crio", "api", "stream_enable_tls"], Kind::Bool, OFF),
    Key::new("address", &["crio", "api", "listen"], Kind::Text, |_| Ok(json!("/var/run/crio/crio.sock"))),
    Key::new("nri_enabled", &["crio", "nri", "enable_nri"], Kind::Bool, |release| {
        since(release, Release(1, 30, 0), json!(false), json!(true))
    }),
    Key::new("insecure_registries", &["crio", "image", "insecure_registries"], Kind::List, |_| Ok(json!([]))),
];

/// Flags that take a value, with the key they stand for.
const FLAGS: [(&str, &[&str]); 9] = [
    ("--default-runtime", &["crio", "runtime", "default_runtime"]),
    ("--seccomp-profile", &["crio", "runtime", "seccomp_profile"]),
    ("--apparmor-profile", &["crio", "runtime", "apparmor_profile"]),
    ("--cgroup-manager", &["crio", "runtime", "cgroup_manager"]),
    ("--stream-address", &["crio", "api", "stream_address"]),
    ("--stream-port", &["crio", "api", "stream_port"]),
    ("--listen", &["crio", "api", "listen"]),
    ("--metrics-host", &["crio", "metrics", "metrics_host"]),
    ("--metrics-port", &["crio", "metrics", "metrics_port"]),
];

/// Switches, with the key they stand for.
const SWITCHES: [(&str, &[&str]); 5] = [
    ("--selinux", &["crio", "runtime", "selinux"]),
    ("--stream-enable-tls", &["crio", "api", "stream_enable_tls"]),
    ("--enable-metrics", &["crio", "metrics", "enable_metrics"]),
    ("--enable-nri", &["crio", "nri", "enable_nri"]),
    ("--device-ownership-from-security-context", &["crio", "runtime", "device_ownership_from_security_context"]),
];

pub(super) fn layers(runtime: &Runtime, at: i64) -> Layers {
    let argv = &runtime.argv;
    let given = last(argv, &["--config", "-c"]).is_some();
    let mut layers = Layers::of(&runtime.documents, given);
    let valued = FLAGS.iter().filter_map(|(name, path)| Some(Layer::flag(name, path, last(argv, &[name])?.into(), at)));
    layers.0.extend(valued);
    let switched = SWITCHES.iter().filter_map(|(name, path)| Some(Layer::flag(name, path, switch(argv, name)?.into(), at)));
    layers.0.extend(switched);
    let insecure: Vec<&str> = all(argv, &["--insecure-registry"]).into_iter().flat_map(|value| value.split(',')).collect();
    if !insecure.is_empty() {
        let value = insecure.into_iter().collect::<Value>();
        layers.0.push(Layer::flag("--insecure-registry", &["crio", "image", "insecure_registries"], value, at));
    }
    layers
}

pub(super) fn further(runtime: &Runtime, layers: &Layers, release: Running, at: i64) -> Vec<(&'static str, Observed<Setting>)> {
    vec![("metrics_address", metrics(layers, release, at)), ("signature_policy", signature_policy(runtime, at))]
}

/// The address and port of the metrics, empty where they are off.
fn metrics(layers: &Layers, release: Running, at: i64) -> Observed<Setting> {
    let on = Key::new("", &["crio", "metrics", "enable_metrics"], Kind::Bool, OFF).setting(layers, release, PRODUCT, at);
    // Every address before 1.30, which brought the key.
    let host = Key::new("", &["crio", "metrics", "metrics_host"], Kind::Text, |release| {
        since(release, Release(1, 30, 0), json!(""), json!("127.0.0.1"))
    });
    let port = Key::new("", &["crio", "metrics", "metrics_port"], Kind::Port, |_| Ok(json!("9090")));
    let enabled = match &on {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value.clone(),
    };
    if enabled.value == json!(false) {
        return on.map(|setting| Setting { value: "".into(), declared: Vec::new(), ..setting });
    }
    let port = port.setting(layers, release, PRODUCT, at);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (host.setting(layers, release, PRODUCT, at), port) {
        (Observed::Known { value: host, .. }, Observed::Known { value: port, .. }) => {
            let address =
                format!("{}:{}", if host.value == json!("") { "0.0.0.0".to_owned() } else { text(&host.value) }, text(&port.value));
            decided_by(address.into(), Some(enabled.source), PRODUCT, release, at)
        }
        (Observed::Unavailable(why), _) | (_, Observed::Unavailable(why)) => Observed::Unavailable(why),
    }
}

/// What the policy asks of an image that no rule is about: `accept_anything`, `reject` or `signed`; containers-policy.json(5).
fn signature_policy(runtime: &Runtime, at: i64) -> Observed<Setting> {
    let documents = match &runtime.documents {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let unread = || Observed::unavailable_because(crate::facts::Reason::NotSupported, "the image signature policy was not read");
    let Some(policy) = documents.items.iter().rfind(|document| document.role == DocumentRole::SignaturePolicy) else { return unread() };
    let content = match &policy.content {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let accepts = |rules: &Value| {
        rules.as_array().is_some_and(|rules| {
            !rules.is_empty() && rules.iter().all(|rule| rule.get("type").and_then(Value::as_str) == Some("insecureAcceptAnything"))
        })
    };
    let rejects = |rules: &Value| {
        rules.as_array().is_some_and(|rules| rules.iter().any(|rule| rule.get("type").and_then(Value::as_str) == Some("reject")))
    };
    let default = content.get("default").cloned().unwrap_or_default();
    // What comes from registries: its own default counts before the overall one.
    let registries = content.get("transports").and_then(|transports| transports.get("docker"));
    let rules = registries.and_then(|scopes| scopes.get("")).unwrap_or(&default);
    let value = match () {
        () if rules.is_null() => {
            let detail = format!("{}: it has no default, which it must have", policy.path);
            return Observed::unavailable_because(crate::facts::Reason::Malformed, detail);
        }
        () if accepts(rules) => "accept_anything",
        () if rejects(rules) => "reject",
        () => "signed",
    };
    decided_by(value.into(), Some(Source::new(SourceKind::File, policy.path.as_str())), PRODUCT, Running::Unknown, at)
}
