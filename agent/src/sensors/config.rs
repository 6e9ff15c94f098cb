//! Configuration documents a component names on its command line, read through the component's own root.

use holdfast_checks::facts::{ConfigDocument, DocumentKind, Listing, Observed, Reason, Skipped, Source, SourceKind};
use serde_json::Value;

use super::processes::Seen;
use super::{now, redact};
use crate::host::{Host, NodeKind, ReadError, Root};

/// Drop-in files are small and few; these bounds are far above what anyone writes.
const MAX_DROP_INS: usize = 256;
const MAX_DEPTH: usize = 16;

/// The value of `--<name>` in a command line: the last one, as the flag parser has it.
pub(super) fn flag<'a>(argv: &'a [String], name: &str) -> Option<&'a str> {
    let value = |(index, argument): (usize, &'a String)| {
        // etcd takes one hyphen as well as two.
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-').filter(|flag| flag.len() > 1))?;
        let rest = flag.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => argv.get(index + 1).map(String::as_str),
            None => None,
        }
    };
    argv.iter().enumerate().rev().find_map(value)
}

/// The flags by which a component is given its documents.
fn main_flags(component: &str) -> &'static [&'static str] {
    match component {
        "etcd" => &["config-file"],
        "kube-apiserver" => &["authentication-config", "authorization-config"],
        _ => &["config"],
    }
}

/// The documents of a process: those it is given by name, then what lies under its `--config-dir`, in the order they are merged.
pub(super) fn documents(host: &Host, seen: &Seen) -> Observed<Listing<ConfigDocument>> {
    let source = Source::new(SourceKind::Process, "command line");
    let component = seen.role.map(|role| role.name).unwrap_or_default();
    let given = main_flags(component).iter().filter_map(|name| flag(&seen.argv, name));
    let main: Vec<&str> = given.filter(|path| !path.is_empty()).collect();
    let directory = flag(&seen.argv, "config-dir").filter(|_| component == "kubelet");
    let mut listing = Listing::complete(Vec::new());
    if main.is_empty() && directory.is_none() {
        return Observed::known(listing, source, now());
    }
    let read = with_root(host, seen, |root, cwd| {
        for path in main {
            listing.items.push(document(root, &absolute(path, cwd), DocumentKind::Main));
        }
        if let Some(directory) = directory.filter(|path| !path.is_empty()) {
            drop_ins(root, &absolute(directory, cwd), 0, &mut listing);
        }
        listing
    });
    match read {
        Ok(listing) => Observed::known(listing, source, now()),
        Err(error) => error.observed(),
    }
}

/// Calls `read` with the process's root and working directory, and makes sure that it was the same process to the end.
pub(super) fn with_root<T>(host: &Host, seen: &Seen, read: impl FnOnce(&Root, &str) -> T) -> Result<T, ReadError> {
    let process = host.proc.process(seen.fact.pid)?;
    let root = host.proc.root_of(&process)?;
    let cwd = process.link("cwd").unwrap_or_else(|_| "/".to_owned());
    let result = read(&root, &cwd);
    if seen.still_runs(&process) { Ok(result) } else { Err(ReadError::Absent { path: format!("the process {}", seen.fact.name) }) }
}

/// A path as the process means it.
pub(super) fn absolute(path: &str, cwd: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", cwd.trim_end_matches('/')) }
}

fn document(root: &Root, path: &str, kind: DocumentKind) -> ConfigDocument {
    let source_kind = match kind {
        DocumentKind::Main => SourceKind::File,
        DocumentKind::DropIn => SourceKind::DropIn,
    };
    let content = match root.read_text(path) {
        Ok(text) => match parse(&text) {
            Ok(value) => Observed::known(redact::document(value), Source::new(source_kind, path), now()),
            Err(problem) => Observed::unavailable_because(Reason::Malformed, format!("{path}: not YAML: {problem}")),
        },
        Err(error) => error.observed(),
    };
    ConfigDocument { path: path.to_owned(), kind, content }
}

/// YAML as Kubernetes reads it; JSON is YAML. An empty document is an empty map.
fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    match serde_saphyr::from_str_with_options::<Value>(text, options) {
        Ok(Value::Null) => Ok(Value::Object(serde_json::Map::new())),
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("the document is not a map".to_owned()),
        // The first line says where and what; the lines after it quote the file.
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().chars().take(200).collect()),
    }
}

/// Every `*.conf` under `directory`, in lexical order of the whole path, as the kubelet walks it.
fn drop_ins(root: &Root, directory: &str, depth: usize, listing: &mut Listing<ConfigDocument>) {
    let skipped = |reason| Skipped { what: directory.to_owned(), reason };
    let entries = match root.list(directory) {
        Ok(entries) => entries,
        Err(error) => return listing.skipped.push(error.skipped(directory)),
    };
    if depth == MAX_DEPTH {
        return listing.skipped.push(skipped(Reason::TooLarge));
    }
    for entry in entries {
        let path = format!("{}/{}", directory.trim_end_matches('/'), entry.name);
        if entry.kind == Some(NodeKind::Directory) {
            drop_ins(root, &path, depth + 1, listing);
        } else if entry.name.strip_suffix(".conf").is_some() {
            if listing.items.len() > MAX_DROP_INS {
                return listing.skipped.push(skipped(Reason::TooLarge));
            }
            listing.items.push(document(root, &path, DocumentKind::DropIn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_flag_counts() {
        let argv = ["kubelet", "--config=/a", "--config-dir", "/d", "--config", "/b"].map(str::to_owned);
        assert_eq!(flag(&argv, "config"), Some("/b"));
        assert_eq!(flag(&argv, "config-dir"), Some("/d"));
        assert_eq!(flag(&argv, "conf"), None);
    }

    #[test]
    fn yaml_is_read_as_kubernetes_reads_it() {
        assert_eq!(parse("{\"a\": 1}"), Ok(serde_json::json!({"a": 1})));
        assert_eq!(parse(""), Ok(serde_json::json!({})));
        assert!(parse("a: [1,").is_err());
        assert!(parse("- a").is_err());
        assert_eq!(parse("a: yes\nb: true\n").map(|value| value["b"].clone()), Ok(serde_json::json!(true)));
    }
}
