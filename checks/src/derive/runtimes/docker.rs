//! What Docker makes of `daemon.json` and its flags.
//!
//! Sources: dockerd's reference (docs.docker.com/reference/cli/dockerd) and `daemon/config` of Docker 20.10 to 28. A key may stand in
//! the file or among the flags, not in both: the daemon then does not start.

use serde_json::{Value, json};

use super::arguments::{all, last, switch};
use super::layers::{Default, Key, Kind, Layer, Layers, Said, decided_by};
use super::release::Running;
use crate::facts::{Observed, Reason, Runtime, Setting};

pub(super) const PRODUCT: &str = "Docker";

const OFF: Default = |_| Ok(json!(false));
const NONE: Default = |_| Ok(json!(""));
const EMPTY: Default = |_| Ok(json!([]));

pub(super) const KEYS: [Key; 14] = [
    Key::new("default_runtime", &["default-runtime"], Kind::Text, |_| Ok(json!("runc"))).unless_empty(),
    // Empty, or `builtin`: the profile that is built in.
    Key::new("seccomp_profile", &["seccomp-profile"], Kind::Text, NONE),
    Key::new("enable_selinux", &["selinux-enabled"], Kind::Bool, OFF),
    Key::new("tcp_tls_verify", &["tlsverify"], Kind::Bool, OFF),
    Key::new("userns_remap", &["userns-remap"], Kind::Text, NONE),
    Key::new("icc", &["icc"], Kind::Bool, |_| Ok(json!(true))),
    Key::new("live_restore", &["live-restore"], Kind::Bool, OFF),
    Key::new("no_new_privileges", &["no-new-privileges"], Kind::Bool, OFF),
    Key::new("experimental", &["experimental"], Kind::Bool, OFF),
    Key::new("insecure_registries", &["insecure-registries"], Kind::List, EMPTY),
    Key::new("registry_mirrors", &["registry-mirrors"], Kind::List, EMPTY),
    Key::new("authorization_plugins", &["authorization-plugins"], Kind::List, EMPTY),
    Key::new("metrics_address", &["metrics-addr"], Kind::Text, NONE),
    Key::new("hosts", &["hosts"], Kind::List, |_| Ok(json!(["unix:///var/run/docker.sock"]))),
];

const VALUED: [(&str, &str); 4] = [
    ("--default-runtime", "default-runtime"),
    ("--seccomp-profile", "seccomp-profile"),
    ("--userns-remap", "userns-remap"),
    ("--metrics-addr", "metrics-addr"),
];
const SWITCHES: [(&str, &str); 7] = [
    ("--selinux-enabled", "selinux-enabled"),
    ("--tlsverify", "tlsverify"),
    ("--tls", "tls"),
    ("--icc", "icc"),
    ("--live-restore", "live-restore"),
    ("--no-new-privileges", "no-new-privileges"),
    ("--experimental", "experimental"),
];
const LISTS: [(&[&str], &str); 5] = [
    (&["--insecure-registry"], "insecure-registries"),
    (&["--registry-mirror"], "registry-mirrors"),
    (&["--authorization-plugin"], "authorization-plugins"),
    (&["-H", "--host"], "hosts"),
    (&["--exec-opt"], "exec-opts"),
];

pub(super) fn layers(runtime: &Runtime, at: i64) -> Layers {
    let argv = &runtime.argv;
    let given = last(argv, &["--config-file"]).is_some();
    let mut layers = Layers::of(&runtime.documents, given);
    layers.0.extend(VALUED.iter().filter_map(|(name, key)| Some(Layer::flag(name, &[key], last(argv, &[name])?.into(), at))));
    layers.0.extend(SWITCHES.iter().filter_map(|(name, key)| Some(Layer::flag(name, &[key], switch(argv, name)?.into(), at))));
    for (names, key) in LISTS {
        let values = all(argv, names);
        if let Some(name) = names.last().filter(|_| !values.is_empty()) {
            layers.0.push(Layer::flag(name, &[key], values.into_iter().collect(), at));
        }
    }
    for named in all(argv, &["--add-runtime"]) {
        if let Some((name, path)) = named.split_once('=') {
            layers.0.push(Layer::flag("--add-runtime", &["runtimes", name, "path"], path.into(), at));
        }
    }
    layers
}

pub(super) fn further(layers: &Layers, release: Running, at: i64) -> Vec<(&'static str, Observed<Setting>)> {
    vec![
        ("tcp_address", tcp(layers, release, at)),
        (
            "tcp_tls",
            Key::new("", &["tls"], Kind::Bool, OFF).setting(layers, release, PRODUCT, at).map(|setting| or_verify(setting, layers)),
        ),
        ("cgroup_driver", driver(layers, release, at)),
    ]
}

/// `tlsverify` implies `tls`.
fn or_verify(setting: Setting, layers: &Layers) -> Setting {
    match layers.last(&["tlsverify"], false) {
        Said::Value(Value::Bool(true), source, _) => Setting { value: true.into(), source: source.clone(), ..setting },
        _ => setting,
    }
}

/// Where the API is served over the network; empty where it is not.
fn tcp(layers: &Layers, release: Running, at: i64) -> Observed<Setting> {
    let (hosts, source) = match layers.last(&["hosts"], false) {
        Said::Unknown(why) => return Observed::Unavailable(why),
        Said::Nothing => return decided_by("".into(), None, PRODUCT, release, at),
        Said::Value(value, source, _) => (value, source.clone()),
    };
    let tcp = hosts.as_array().into_iter().flatten().filter_map(|host| host.as_str()?.strip_prefix("tcp://"));
    // The most exposed of several. Without an address it is the loopback's (`opts/hosts.go`).
    let reach = |address: &&str| {
        !(address.is_empty() || address.starts_with("127.") || address.starts_with("localhost") || address.starts_with("[::1]"))
    };
    let mut addresses: Vec<&str> = tcp.collect();
    addresses.sort_by_key(|address| !reach(address));
    let value = addresses.first().map_or("", |address| if address.is_empty() { "127.0.0.1:2375" } else { address });
    decided_by(value.into(), Some(source), PRODUCT, release, at)
}

fn driver(layers: &Layers, release: Running, at: i64) -> Observed<Setting> {
    match layers.last(&["exec-opts"], false) {
        Said::Unknown(why) => Observed::Unavailable(why),
        Said::Value(Value::Array(options), source, _)
            if options.iter().any(|option| option.as_str().is_some_and(|option| option.starts_with(DRIVER))) =>
        {
            let driver = options.iter().rev().find_map(|option| option.as_str()?.strip_prefix(DRIVER)).unwrap_or_default();
            decided_by(driver.into(), Some(source.clone()), PRODUCT, release, at)
        }
        _ => Observed::unavailable_because(Reason::NotSupported, "Docker picks its cgroup driver by what the host has"),
    }
}

const DRIVER: &str = "native.cgroupdriver=";
