//! The pod network as the container runtime configures it: the first file of its directory by name.

use holdfast_checks::facts::{Cni, Observed, Reason, Source, SourceKind};
use serde_json::Value;

use super::super::now;
use crate::host::{Host, NodeKind, ReadError};
use crate::profiles::Location;

/// What the runtimes read.
const ENDINGS: [&str; 3] = [".conf", ".conflist", ".json"];
/// A chain has a handful of plug-ins.
const MAX_PLUGINS: usize = 64;
/// The longest name kept.
const MAX_NAME: usize = 128;

/// The configuration in use. `enforces_policies` is for derivation: it needs to know what runs.
pub(super) fn read(host: &Host, locations: &[Location]) -> Observed<Cni> {
    let mut directories: Vec<&str> =
        locations.iter().filter(|location| location.role == "cni_config").map(|location| location.path.as_str()).collect();
    directories.dedup();
    for directory in &directories {
        match first(host, directory) {
            Ok(Some(path)) => return configuration(host, &path),
            Ok(None) => {}
            Err(error) if error.is_absent() => {}
            Err(error) => return error.observed(),
        }
    }
    Observed::unavailable_because(Reason::NotPresent, format!("no configuration in {}", directories.join(", ")))
}

fn first(host: &Host, directory: &str) -> Result<Option<String>, ReadError> {
    let entries = host.root.list(directory)?;
    let mut names = entries.into_iter().filter(|entry| entry.kind != Some(NodeKind::Directory)).map(|entry| entry.name);
    let name = names.find(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)));
    Ok(name.map(|name| format!("{directory}/{name}")))
}

fn configuration(host: &Host, path: &str) -> Observed<Cni> {
    let content = match host.root.read(path) {
        Ok(content) => content,
        Err(error) => return error.observed(),
    };
    // The runtime takes no other file when the first is broken: there is no network then, or that of before.
    let malformed = |problem: String| Observed::unavailable_because(Reason::Malformed, format!("{path}: {problem}"));
    let document: Value = match serde_json::from_slice(&content) {
        Ok(document) => document,
        Err(error) => return malformed(format!("not JSON: {error}")),
    };
    let plugins = types(&document);
    if plugins.is_empty() {
        return malformed("names no plug-in".to_owned());
    }
    let name = document.get("name").and_then(Value::as_str).map(short).unwrap_or_default();
    let cni = Cni { path: path.to_owned(), name, plugins, enforces_policies: "unknown".to_owned(), because: "not derived yet".to_owned() };
    Observed::known(cni, Source::new(SourceKind::File, path), now())
}

/// The types of a single plug-in, of a list, and of those that a meta plug-in hands on to.
fn types(document: &Value) -> Vec<String> {
    let list = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut plugins = vec![document.clone()];
    plugins.extend(list(document, "plugins"));
    let handed_on: Vec<Value> = plugins.iter().flat_map(|plugin| list(plugin, "delegates")).collect();
    for delegate in handed_on {
        plugins.extend(list(&delegate, "plugins"));
        plugins.push(delegate);
    }
    plugins.iter().filter_map(|plugin| plugin.get("type")?.as_str()).map(short).take(MAX_PLUGINS).collect()
}

fn short(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"name": "n", "type": "bridge"}), &["bridge"])]
    #[case(json!({"plugins": [{"type": "calico"}, {"type": "portmap"}, {"type": 7}, {}]}), &["calico", "portmap"])]
    #[case(json!({"type": "multus", "delegates": [{"plugins": [{"type": "cilium-cni"}]}, {"type": "x"}]}), &["multus", "cilium-cni", "x"])]
    #[case(json!({"plugins": {"type": "calico"}}), &[])]
    #[case(json!([1]), &[])]
    #[case(json!(null), &[])]
    fn plug_ins_are_named_wherever_they_stand(#[case] document: Value, #[case] expected: &[&str]) {
        assert_eq!(types(&document), expected);
    }
}
