//! The documents of containerd: its configuration with what it imports, and `hosts.toml` of registries.
//!
//! `LoadConfig` of containerd 1.4 to 2.3 (`services/server/config`, from 2.0 `cmd/containerd/server/config`): the main file, then
//! imports breadth first, each file once, so that a cycle ends by itself. A pattern is one with `*`. Up to 1.7.15 a relative
//! pattern is looked up where the daemon runs, from 1.7.16 beside the file that names it; relative paths always beside it.
//! `/etc/containerd/conf.d/*.toml` is imported only where the main file says so: containerd 2.2 writes it into the configuration
//! that `containerd config default` prints, and reads nothing there by itself.

use std::collections::{BTreeSet, VecDeque};

use holdfast_checks::derive::{imports_beside_the_file, last_argument};
use holdfast_checks::facts::{DocumentRole, Observed, Reason, Skipped};
use serde_json::Value;

use super::documents::{Documents, Format};
use super::glob::glob;
use crate::host::NodeKind;

/// Read where no flag names another.
pub(super) const MAIN: &str = "/etc/containerd/config.toml";
/// Sections that say something about the runtime.
const SECTIONS: [&str; 15] = [
    "version",
    "root",
    "state",
    "grpc",
    "ttrpc",
    "debug",
    "metrics",
    "disabled_plugins",
    "required_plugins",
    "imports",
    "plugins",
    "proxy_plugins",
    "stream_processors",
    "oom_score",
    "cgroup",
];
/// A file that imports one that imports one. Upstream has no end.
const MAX_DEPTH: usize = 16;
/// Where containerd 2.2 and newer look for registries' files by themselves (`internal/cri/config/config_unix.go`).
const CONFIG_PATHS: [&str; 2] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];

pub(super) fn read(documents: &mut Documents<'_>, argv: &[String], version: &Observed<String>) {
    let given = last_argument(argv, &["--config", "-c"]).filter(|path| !path.is_empty());
    let beside = imports_beside_the_file(version.value().map(String::as_str));
    let mut pending = VecDeque::from([(given.unwrap_or(MAIN).to_owned(), 0)]);
    let mut loaded = BTreeSet::new();
    let mut roots: Vec<String> = Vec::new();
    while let Some((path, depth)) = pending.pop_front() {
        if !loaded.insert(path.clone()) {
            continue;
        }
        let role = if depth == 0 { DocumentRole::Main } else { DocumentRole::DropIn };
        let Some(value) = documents.read(&path, role, Format::Toml, &SECTIONS) else { continue };
        roots.extend(config_paths(&value));
        let imports = value.get("imports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for import in imports {
            if depth == MAX_DEPTH {
                documents.skip(Skipped { what: import.to_owned(), reason: Reason::TooLarge });
                continue;
            }
            pending.extend(imported(documents, &path, import, beside).into_iter().map(|path| (path, depth + 1)));
        }
    }
    roots.extend(CONFIG_PATHS.map(str::to_owned));
    let mut seen = BTreeSet::new();
    roots.retain(|root| root.starts_with('/') && seen.insert(root.clone()));
    for root in roots {
        hosts(documents, &root);
    }
}

/// The files that one line of `imports` means.
fn imported(documents: &mut Documents<'_>, parent: &str, import: &str, beside: Option<bool>) -> Vec<String> {
    let directory = parent.rsplit_once('/').map_or("", |(directory, _)| directory);
    let wild = import.contains('*');
    let from = match (import.starts_with('/'), wild, beside) {
        (true, _, _) => "",
        (false, false, _) | (false, true, Some(true)) => directory,
        (false, true, Some(false)) => documents.cwd,
        (false, true, None) => {
            documents.skip(Skipped { what: format!("{import}, imported by {parent}"), reason: Reason::NotSupported });
            return Vec::new();
        }
    };
    let path = clean(&format!("{from}/{import}"));
    if !wild {
        return vec![path];
    }
    let (found, skipped) = glob(documents.root, &path);
    for skipped in skipped {
        documents.skip(skipped);
    }
    found
}

/// Go's `filepath.Clean` of an absolute path.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Every directory of registries' files that a document names.
fn config_paths(document: &Value) -> Vec<String> {
    let plugins = document.get("plugins").and_then(Value::as_object).into_iter().flatten();
    let named = plugins.filter_map(|(_, plugin)| plugin.get("registry")?.get("config_path")?.as_str());
    named.flat_map(|paths| paths.split(':')).filter(|path| !path.is_empty()).map(|path| path.trim_end_matches('/').to_owned()).collect()
}

/// `<root>/<host>/hosts.toml`.
fn hosts(documents: &mut Documents<'_>, root: &str) {
    let entries = match documents.root.list(root) {
        Ok(entries) => entries,
        Err(error) if error.is_absent() => return,
        Err(error) => return documents.skip(error.skipped(root)),
    };
    for entry in entries {
        let path = format!("{root}/{}/hosts.toml", entry.name);
        // A directory with certificates alone has none, and a file beside the directories is nobody's.
        let there = documents.root.look(&path).map_or_else(|error| !error.is_absent(), |_| true);
        if there && entry.kind != Some(NodeKind::File) {
            documents.read(&path, DocumentRole::RegistryHosts, Format::Toml, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        assert_eq!(clean("/etc/containerd/./../x//a.toml"), "/etc/x/a.toml");
        assert_eq!(clean("/../.."), "/");
    }
}
