//! What a runtime can run containers with. Must not know how its documents were read and merged.

use serde_json::Value;

use super::Product;
use super::layers::{Layers, Said};
use crate::facts::{Handler, Listing, Observed, Reason, Runtime, Source, SourceKind};

/// More handlers than anybody configures.
const MAX_HANDLERS: usize = 64;

/// Every handler that is configured, and the one that is there by default.
pub(super) fn of(runtime: &Runtime, product: Product, layers: &Layers, at: i64) -> Observed<Listing<Handler>> {
    if let Some(why) = layers.unread() {
        return Observed::Unavailable(why.clone());
    }
    let default = match runtime.settings.get("default_runtime") {
        Some(Observed::Known { value, .. }) => value.value.as_str().unwrap_or_default().to_owned(),
        Some(Observed::Unavailable(why)) => return Observed::Unavailable(why.clone()),
        None => String::new(),
    };
    let table = table(product);
    let mut names = layers.names(table);
    // Built in: containerd's and Docker's runc, whatever CRI-O's default is.
    let built_in = match product {
        Product::Crio => default.as_str(),
        Product::Containerd | Product::Docker => "runc",
    };
    if !built_in.is_empty() && !names.iter().any(|name| name == built_in) {
        names.push(built_in.to_owned());
        names.sort();
    }
    // containerd 1.x: `default_runtime`, deprecated, with a type is the handler `default` (`ValidatePluginConfig`).
    let old = [table.split_last().map_or(&[][..], |(_, outer)| outer), &["default_runtime", "runtime_type"]].concat();
    let old_default =
        product == Product::Containerd && matches!(layers.last(&old, true), Said::Value(..)) && !names.iter().any(|name| name == "default");
    if old_default {
        names.push("default".to_owned());
    }
    let more = names.len().saturating_sub(MAX_HANDLERS);
    let handler = |name: String| {
        let place = if old_default && name == "default" {
            let outer: Vec<&str> = table.split_last().map_or(Vec::new(), |(_, outer)| outer.to_vec());
            [outer, vec!["default_runtime"]].concat()
        } else {
            [table.to_vec(), vec![name.as_str()]].concat()
        };
        let is_default = if old_default { name == "default" } else { name == default };
        one(runtime, product, layers, &place, &name, is_default, at)
    };
    let items = names.into_iter().take(MAX_HANDLERS).map(handler).collect();
    let mut listing = Listing::complete(items);
    if more > 0 {
        listing.skipped.push(crate::facts::Skipped { what: format!("{more} more handlers"), reason: Reason::TooLarge });
    }
    Observed::known(listing, Source::new(SourceKind::Derived, "its configuration"), at)
}

fn table(product: Product) -> &'static [&'static str] {
    match product {
        Product::Containerd => &["runtime", "containerd", "runtimes"],
        Product::Crio => &["crio", "runtime", "runtimes"],
        Product::Docker => &["runtimes"],
    }
}

fn one(runtime: &Runtime, product: Product, layers: &Layers, place: &[&str], name: &str, default: bool, at: i64) -> Handler {
    let source = layers.all(place).last().map_or_else(|| "default".to_owned(), |(_, source)| source.place.clone());
    // CRI-O replaces a handler's table whole.
    let whole = (product == Product::Crio).then(|| layers.all(place).last().map(|(value, _)| value)).flatten();
    let value = |path: &[&str]| -> Option<Value> {
        match whole {
            Some(table) => path.iter().try_fold(table, |here, name| here.get(name)).cloned(),
            None => match layers.last(&[place, path].concat(), false) {
                Said::Value(value, ..) => Some(value.clone()),
                Said::Nothing | Said::Unknown(_) => None,
            },
        }
    };
    let text = |path: &[&str]| value(path).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let flag = |path: &[&str]| value(path).and_then(|value| value.as_bool());
    let (program, kind) = match product {
        Product::Containerd => {
            let program =
                Some(text(&["options", "BinaryName"])).filter(|name| !name.is_empty()).unwrap_or_else(|| text(&["runtime_engine"]));
            let kind = of_containerd(&text(&["runtime_type"]), &program, name);
            (if program.is_empty() { text(&["runtime_path"]) } else { program }, kind)
        }
        Product::Crio => {
            let program = text(&["runtime_path"]);
            let by_type = if text(&["runtime_type"]) == "vm" { Some("kata") } else { None };
            let kind = by_type.unwrap_or_else(|| by_name(if program.is_empty() { name } else { &program }));
            (program, kind)
        }
        Product::Docker => {
            let program = text(&["path"]);
            let kind_of = text(&["runtimeType"]);
            let kind = if kind_of.is_empty() {
                by_name(if program.is_empty() { name } else { &program })
            } else {
                of_containerd(&kind_of, &program, name)
            };
            (program, kind)
        }
    };
    let from = || Source::new(SourceKind::Derived, source.clone());
    let systemd_cgroup = match product {
        Product::Containerd if matches!(kind, "runc" | "crun" | "gvisor") => {
            Observed::known(flag(&["options", "SystemdCgroup"]).unwrap_or(false), from(), at)
        }
        Product::Containerd => Observed::unavailable_because(Reason::NotSupported, "its own configuration says so"),
        Product::Crio | Product::Docker => match runtime.settings.get("cgroup_driver") {
            Some(driver) => driver.clone().map(|setting| setting.value == "systemd"),
            None => Observed::unavailable_because(Reason::NotSupported, "not read"),
        },
    };
    let without_devices = match product {
        Product::Docker => Observed::unavailable_because(Reason::NotSupported, "Docker has no such setting"),
        Product::Containerd | Product::Crio => Observed::known(flag(&["privileged_without_host_devices"]).unwrap_or(false), from(), at),
    };
    Handler {
        name: name.to_owned(),
        default,
        kind: kind.to_owned(),
        version: version(runtime, kind, &program),
        program,
        systemd_cgroup,
        privileged_without_host_devices: without_devices,
        source,
    }
}

/// `io.containerd.runc.v2` starts runc unless told another program.
fn of_containerd(runtime_type: &str, program: &str, name: &str) -> &'static str {
    let last = runtime_type.rsplit('/').next().unwrap_or_default();
    match last {
        "" if program.is_empty() => by_name(name),
        "" => by_name(program),
        of if of.contains("runsc") => "gvisor",
        of if of.contains("kata") => "kata",
        of if ["wasm", "spin", "slight", "wws", "lunatic"].iter().any(|part| of.contains(part)) => "wasm",
        of if of.starts_with("io.containerd.runc.") || of == "io.containerd.runtime.v1.linux" => {
            if program.is_empty() {
                "runc"
            } else {
                by_name(program)
            }
        }
        _ => "other",
    }
}

fn by_name(program: &str) -> &'static str {
    match program.rsplit('/').next().unwrap_or_default() {
        "runc" => "runc",
        "crun" => "crun",
        "runsc" | "gvisor" => "gvisor",
        name if name.contains("kata") => "kata",
        name if name.contains("wasm") => "wasm",
        _ => "other",
    }
}

/// The version of the program it starts: by path, or by the name the runtime searches.
fn version(runtime: &Runtime, kind: &str, program: &str) -> Observed<String> {
    let programs = match &runtime.programs {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let searched = match (program, kind) {
        ("", "gvisor") => "runsc",
        ("", "kata") => "containerd-shim-kata-v2",
        ("", kind) => kind,
        (program, _) => program,
    };
    let is = |path: &str| if searched.starts_with('/') { path == searched } else { path.rsplit('/').next() == Some(searched) };
    let found = programs.items.iter().find(|program| is(&program.path));
    found.map_or_else(
        || Observed::unavailable_because(Reason::NotPresent, format!("{searched} was not found on this host")),
        |program| program.version.clone(),
    )
}

/// The driver by which the default handler makes cgroups; of containerd, which has no setting of its own for that.
pub(super) fn cgroup_driver(handlers: &Observed<Listing<Handler>>) -> Observed<crate::facts::Setting> {
    let handlers = match handlers {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let Some(handler) = handlers.items.iter().find(|handler| handler.default) else {
        return Observed::unavailable_because(Reason::NotPresent, "its default handler is not configured");
    };
    let kind = if handler.source == "default" { SourceKind::Default } else { SourceKind::File };
    let source = Source::new(kind, if kind == SourceKind::Default { "containerd" } else { &handler.source });
    handler.systemd_cgroup.clone().map(|systemd| crate::facts::Setting {
        value: if systemd { "systemd" } else { "cgroupfs" }.into(),
        source,
        declared: Vec::new(),
    })
}
