//! What containerd makes of its documents.
//!
//! Sources: containerd's repository at the tags v1.6.20, v1.7.0 to v1.7.30, v2.0.0, v2.1.0, v2.2.0 and v2.3.0;
//! `services/server/config/config.go` (2.x: `cmd/containerd/server/config/config.go`) for loading and merging,
//! `pkg/cri/config/config_unix.go` (2.x: `internal/cri/config`) for defaults, `plugins/cri/**/plugin.go` for migration.
//!
//! How several documents are merged:
//! - 1.x: of a plugin's section the last document that has one decides alone; what earlier ones say in it is lost.
//! - 2.x: sections are merged key by key.
//! - Outside of plugins, an empty value never replaces another, and lists are joined.
//!
//! By what names plugins go: version 1 (also where none is given) has short ones (`cri`), version 2 `io.containerd.grpc.v1.cri`,
//! version 3 divides that into `io.containerd.cri.v1.runtime`, `io.containerd.cri.v1.images` and the stream server, which keeps the old
//! name; version 4 (2.3) makes plugins of the sockets. containerd 1.x looks only for the names of the version that the merged
//! configuration has: long names without `version = 2` do nothing. 2.0 to 2.2 migrate the merged configuration, by its last
//! version; 2.3 each document by its own.

use serde_json::{Map, Value, json};

use super::layers::{Default, Key, Kind, Layer, Layers, decided_by, since};
use super::release::{Release, Running};
use crate::facts::{Observed, Reason, Runtime, Setting, Settings, SourceKind, Unavailable};

pub(super) const PRODUCT: &str = "containerd";
const CRI: &str = "io.containerd.grpc.v1.cri";
const RUNTIME: &str = "io.containerd.cri.v1.runtime";
const IMAGES: &str = "io.containerd.cri.v1.images";
const NRI: &str = "io.containerd.nri.v1.nri";

const OFF: Default = |_| Ok(json!(false));
const NONE: Default = |_| Ok(json!(""));

/// Effective settings by where the documents, brought into one shape, say them.
pub(super) const KEYS: [Key; 23] = [
    Key::new("default_runtime", &["runtime", "containerd", "default_runtime_name"], Kind::Text, |_| Ok(json!("runc"))),
    // Of containers that ask for none. Empty is no filter; pods get one by the kubelet's `seccompDefault`.
    Key::new("unset_seccomp_profile", &["runtime", "unset_seccomp_profile"], Kind::Text, NONE),
    // The same under the name of other runtimes' default profile.
    Key::new("seccomp_profile", &["runtime", "unset_seccomp_profile"], Kind::Text, NONE),
    Key::new("disable_apparmor", &["runtime", "disable_apparmor"], Kind::Bool, OFF),
    Key::new("enable_selinux", &["runtime", "enable_selinux"], Kind::Bool, OFF),
    Key::new("enable_unprivileged_ports", &["runtime", "enable_unprivileged_ports"], Kind::Bool, SINCE_2),
    Key::new("enable_unprivileged_icmp", &["runtime", "enable_unprivileged_icmp"], Kind::Bool, SINCE_2),
    Key::new("device_ownership_from_security_context", &["runtime", "device_ownership_from_security_context"], Kind::Bool, OFF),
    Key::new("restrict_oom_score_adj", &["runtime", "restrict_oom_score_adj"], Kind::Bool, OFF),
    Key::new("max_container_log_line_size", &["runtime", "max_container_log_line_size"], Kind::Int, |_| Ok(json!(16384))),
    // CDI came with 1.7, off.
    Key::new("cdi_enabled", &["runtime", "enable_cdi"], Kind::Bool, SINCE_2),
    // NRI came with 1.7, off (`pkg/nri/config.go`; 2.x `internal/nri/config.go`).
    Key::new("nri_enabled", &["nri", "disable"], Kind::Not, SINCE_2),
    Key::new("stream_server_address", &["server", "stream_server_address"], Kind::Text, |_| Ok(json!("127.0.0.1"))),
    Key::new("stream_server_port", &["server", "stream_server_port"], Kind::Port, |_| Ok(json!("0"))),
    Key::new("stream_tls", &["server", "enable_tls_streaming"], Kind::Bool, OFF),
    Key::new("registry_config_path", &["images", "registry", "config_path"], Kind::Text, |release| {
        since(release, Release(2, 2, 0), json!(""), json!(CONFIG_PATH))
    })
    .unless_empty(),
    Key::new("address", &["grpc", "address"], Kind::Text, |_| Ok(json!("/run/containerd/containerd.sock"))).unless_empty(),
    Key::new("tcp_address", &["grpc", "tcp_address"], Kind::Text, NONE).unless_empty(),
    Key::new("tcp_tls", &["grpc", "tcp_tls_cert"], Kind::Given, OFF).unless_empty(),
    Key::new("tcp_tls_verify", &["grpc", "tcp_tls_ca"], Kind::Given, OFF).unless_empty(),
    Key::new("debug_address", &["debug", "address"], Kind::Text, NONE).unless_empty(),
    Key::new("metrics_address", &["metrics", "address"], Kind::Text, NONE).unless_empty(),
    Key::new("config_version", &["version"], Kind::Int, |release| since(release, Release(2, 0, 0), json!(1), json!(3))).unless_empty(),
];

const SINCE_2: Default = |release| since(release, Release(2, 0, 0), json!(false), json!(true));
/// Where 2.2 and newer look for `hosts.toml`, unless mirrors are configured the old way.
const CONFIG_PATH: &str = "/etc/containerd/certs.d:/etc/docker/certs.d";

/// How documents are read and merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    One,
    /// 2.0 to 2.2.
    Two,
    /// 2.3 and newer.
    Migrating,
}

/// The documents in one shape: `runtime`, `images`, `server`, `nri`, and the sections outside of plugins.
pub(super) fn layers(runtime: &Runtime, release: Running, at: i64) -> Layers {
    let given = super::arguments::last(&runtime.argv, &["--config", "-c"]).is_some();
    let mut layers = Layers::of(&runtime.documents, given);
    let era = match era(release, &layers) {
        Ok(era) => era,
        Err(why) => {
            layers.0.push(Layer::unread("", why));
            return layers;
        }
    };
    let merged = merged_version(era, &layers);
    for layer in &mut layers.0 {
        if let Ok((document, _)) = &mut layer.content {
            *document = shaped(document, era, merged);
        }
    }
    if era == Era::One {
        only_the_last_section(&mut layers);
    }
    if let Some(address) = super::arguments::last(&runtime.argv, &["--address", "-a"]) {
        layers.0.push(Layer::flag("--address", &["grpc", "address"], address.into(), at));
    }
    layers
}

/// Without a version, one document of a version that both read alike can still be read.
fn era(release: Running, layers: &Layers) -> Result<Era, Unavailable> {
    match release {
        Running::Exact(release) if release >= Release(2, 3, 0) => Ok(Era::Migrating),
        Running::Exact(release) if release >= Release(2, 0, 0) => Ok(Era::Two),
        Running::Exact(_) => Ok(Era::One),
        // All documents of version 3 are read alike by 2.0 and by 2.3.
        Running::AtLeast(_) => Ok(Era::Two),
        Running::Unknown => match layers.all(&[]).map(|(document, _)| version(document)).collect::<Vec<_>>().as_slice() {
            [] | [2] => Ok(Era::One),
            _ => {
                let detail = "what its configuration means depends on the version of containerd, which could not be read";
                Err(Unavailable::new(Reason::NotSupported, detail))
            }
        },
    }
}

/// What is known of the release: version 3 of the configuration came with 2.0.
pub(super) fn running(runtime: &Runtime) -> Running {
    let by_program = Running::of(runtime.version.value().map(String::as_str));
    let layers = Layers::of(&runtime.documents, false);
    let new = || layers.all(&[]).next().is_some() && layers.all(&[]).all(|(document, _)| version(document) == 3);
    if by_program == Running::Unknown && new() { Running::AtLeast(Release(2, 0, 0)) } else { by_program }
}

fn version(document: &Value) -> i64 {
    document.get("version").and_then(Value::as_i64).unwrap_or(0)
}

/// The version that the merged configuration has.
fn merged_version(era: Era, layers: &Layers) -> i64 {
    let start = if era == Era::One { 1 } else { 3 };
    layers.all(&[]).map(|(document, _)| version(document)).fold(start, |before, version| match (era, version) {
        (_, 0) | (Era::Two | Era::Migrating, 1) => before,
        (_, version) => version,
    })
}

/// One document in the shape that [`KEYS`] read.
fn shaped(document: &Value, era: Era, merged: i64) -> Value {
    let own = version(document).max(1);
    let plugins = document.get("plugins").and_then(Value::as_object);
    let plugin = |name: &str| plugins.and_then(|plugins| plugins.get(name)).cloned();
    // 2.x gives short names in documents of version 1 their long ones.
    let renamed = |short: &str, long: &str| if own < 2 { plugin(short).or_else(|| plugin(long)) } else { plugin(long) };
    let (runtime, images, server, nri) = match era {
        Era::One if merged < 2 => (plugin("cri"), plugin("cri"), plugin("cri"), plugin("nri")),
        Era::One => (plugin(CRI), plugin(CRI), plugin(CRI), plugin(NRI)),
        Era::Two | Era::Migrating => {
            let old = renamed("cri", CRI);
            let migrates = if era == Era::Two { merged < 3 } else { own < 3 };
            let below = old.clone().filter(|_| migrates);
            (over(below.clone(), plugin(RUNTIME)), over(below, plugin(IMAGES)), old, renamed("nri", NRI))
        }
    };
    let mut shape = Map::new();
    for name in ["version", "grpc", "ttrpc", "debug", "metrics", "disabled_plugins"] {
        shape.extend(document.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    if era == Era::Migrating {
        sockets(&plugin, &mut shape);
    }
    let sections = [("runtime", runtime), ("images", images), ("server", server), ("nri", nri)];
    shape.extend(sections.into_iter().filter_map(|(name, section)| Some((name.to_owned(), section?))));
    let disabled = shape.get("disabled_plugins").and_then(Value::as_array).cloned().unwrap_or_default();
    let long = |name: Value| if name.as_str() == Some("cri") && own < 2 { CRI.into() } else { name };
    if !disabled.is_empty() {
        shape.insert("disabled_plugins".to_owned(), disabled.into_iter().map(long).collect());
    }
    Value::Object(shape)
}

/// Version 4's plugins for sockets (`plugins/server` of v2.3.0), under the names of the sections they replace.
fn sockets(plugin: &dyn Fn(&str) -> Option<Value>, shape: &mut Map<String, Value>) {
    let mut set = |section: &str, name: &str, value: Option<Value>| {
        let Some(value) = value else { return };
        let section = shape.entry(section.to_owned()).or_insert_with(|| json!({}));
        if let Some(members) = section.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    let member = |plugin_name: &str, name: &str| plugin(plugin_name).and_then(|section| section.get(name).cloned());
    set("grpc", "address", member("io.containerd.server.v1.grpc", "address"));
    set("debug", "address", member("io.containerd.server.v1.debug", "address"));
    set("metrics", "address", member("io.containerd.server.v1.metrics", "address"));
    for (name, old) in [("address", "tcp_address"), ("tls_ca", "tcp_tls_ca"), ("tls_cert", "tcp_tls_cert"), ("tls_key", "tcp_tls_key")] {
        set("grpc", old, member("io.containerd.server.v1.grpc-tcp", name));
    }
}

/// `above` merged over `below`, key by key.
fn over(below: Option<Value>, above: Option<Value>) -> Option<Value> {
    match (below, above) {
        (Some(Value::Object(mut below)), Some(Value::Object(above))) => {
            for (name, value) in above {
                let merged = over(below.remove(&name), Some(value));
                below.extend(merged.map(|value| (name, value)));
            }
            Some(Value::Object(below))
        }
        (below, above) => above.or(below),
    }
}

/// Drops from earlier documents the plugin sections that a later one has too.
fn only_the_last_section(layers: &mut Layers) {
    for section in ["runtime", "images", "server", "nri"] {
        let mut taken = false;
        for layer in layers.0.iter_mut().rev() {
            let Ok((Value::Object(members), _)) = &mut layer.content else { continue };
            if taken {
                members.remove(section);
            }
            taken |= members.contains_key(section);
        }
    }
}

/// Settings that are not one key: what is switched off, and the driver of the default handler.
pub(super) fn further(layers: &Layers, release: Running, at: i64) -> Vec<(&'static str, Observed<Setting>)> {
    let disabled: Vec<Value> = layers.all(&["disabled_plugins"]).filter_map(|(value, _)| value.as_array()).flatten().cloned().collect();
    let names = [CRI, RUNTIME, IMAGES];
    let off = disabled.iter().filter_map(Value::as_str).any(|name| names.contains(&name));
    let source = layers.all(&["disabled_plugins"]).last().map(|(_, source)| source.clone());
    let by = |value: Value| match layers.unread() {
        // One more document cannot switch on what another has switched off.
        Some(why) if !off => Observed::Unavailable(why.clone()),
        _ => decided_by(value, source.clone(), PRODUCT, release, at),
    };
    vec![("disabled_plugins", by(disabled.clone().into())), ("cri_enabled", by((!off).into()))]
}

/// The old way of configuring registries holds where no directory is configured; 2.2 and newer then have no default for that.
pub(super) fn has_mirrors(layers: &Layers) -> bool {
    layers.all(&["images", "registry", "mirrors"]).any(|(value, _)| value.as_object().is_some_and(|mirrors| !mirrors.is_empty()))
}

/// Without a certificate of its own the TCP server speaks no TLS, and asks nobody for one (`cmd/containerd/server/server.go`).
pub(super) fn without_certificate(settings: &mut Settings) {
    let Some(tls) = settings.get("tcp_tls").cloned() else { return };
    match tls {
        Observed::Known { ref value, .. } if value.value == json!(true) => {}
        off_or_unknown => {
            settings.insert("tcp_tls_verify".to_owned(), off_or_unknown);
        }
    }
}

/// The setting without its default where mirrors are configured the old way.
pub(super) fn config_path(setting: Observed<Setting>, layers: &Layers) -> Observed<Setting> {
    setting.map(|mut setting| {
        if setting.source.kind == SourceKind::Default && has_mirrors(layers) {
            setting.value = "".into();
        }
        setting
    })
}

/// Does `imports` of a relative pattern start beside the document (from 1.7.16 on) or where the daemon runs.
pub(super) fn imports_beside_the_file(version: Option<&str>) -> Option<bool> {
    version.and_then(Release::of).map(|release| release >= Release(1, 7, 16))
}
