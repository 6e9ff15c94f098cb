//! Paths that running kubelets and components name, each meant below the process's own root.

use std::collections::HashMap;

use holdfast_checks::facts::{ConfigDocument, DocumentKind, Listing, NodeFacts, Observed};

use super::places::{COMPONENTS, KUBELET};
use super::tree::Tree;
use crate::host::{Host, ReadError};
use crate::sensors::config::flag;
use crate::sensors::processes::role_of;
use crate::sensors::programs::inside;

/// A path a process named.
#[derive(Debug, Clone)]
pub(in crate::sensors) struct Named {
    /// The process whose root the path is below.
    pub(in crate::sensors) pid: i64,
    /// What that process is.
    component: String,
    /// As it was written; one that is not absolute is meant below `base`.
    pub(in crate::sensors) path: String,
    /// `None`: the process's working directory.
    base: Option<String>,
    pub(in crate::sensors) role: &'static str,
}

/// The same, found.
#[derive(Debug, Clone)]
pub(in crate::sensors) struct Found {
    pub(in crate::sensors) tree: Tree,
    pub(in crate::sensors) pid: i64,
    /// Absolute.
    pub(in crate::sensors) path: String,
    pub(in crate::sensors) role: &'static str,
    /// Named by a kubelet, whose root is as a rule the host's.
    pub(in crate::sensors) kubelet: bool,
}

/// Paths that the running kubelets and components name, the kubelets' first.
pub(in crate::sensors) fn named(facts: &NodeFacts) -> Vec<Named> {
    let mut named = Vec::new();
    // Files of a kubelet with mounts of its own (a node of kind) are not the host's, whatever they are called.
    for kubelet in items(&facts.kubelets).filter(|kubelet| kubelet.host_mounts.value() != Some(&false)) {
        let documents = || items(&kubelet.documents);
        let add = |path: String, base, role| Named { pid: kubelet.pid, component: "kubelet".to_owned(), path, base, role };
        for (name, field, role) in KUBELET {
            let given = given(&kubelet.argv, name).or_else(|| written(documents(), field));
            named.extend(given.map(|(path, base)| add(path, base, role)));
        }
        named.extend(documents().map(|document| add(document.path.clone(), None, "kubelet_config")));
    }
    for component in items(&facts.components) {
        for (_, name, field, role) in COMPONENTS.into_iter().filter(|(of, _, _, _)| *of == component.name) {
            // Only the kubelet takes paths of its file to be relative to the file.
            let given = given(&component.argv, name).or_else(|| written(items(&component.documents), field).map(|(path, _)| (path, None)));
            let add = |(path, base)| Named { pid: component.pid, component: component.name.clone(), path, base, role };
            named.extend(given.map(add));
        }
    }
    named
}

fn items<T>(listing: &Observed<Listing<T>>) -> impl Iterator<Item = &T> {
    listing.value().into_iter().flat_map(|listing| &listing.items)
}

/// A path with the directory it is meant below.
type Path = (String, Option<String>);

fn given(argv: &[String], name: &str) -> Option<Path> {
    flag(argv, name).filter(|path| !path.is_empty()).map(|path| (path.to_owned(), None))
}

/// What the last document that has `field` says. The kubelet takes paths in its main file to be relative to that file, and leaves
/// those of drop-ins as they are (upstream's `configfiles`, 1.36).
fn written<'a>(documents: impl Iterator<Item = &'a ConfigDocument>, field: &str) -> Option<Path> {
    let said = |document: &ConfigDocument| -> Option<Path> {
        let path = document.content.value()?.pointer(field)?.as_str()?;
        let parent = || document.path.rsplit_once('/').map(|(parent, _)| format!("{parent}/"));
        let base = (document.kind == DocumentKind::Main).then(parent).flatten();
        Some((path.to_owned(), base))
    };
    if field.is_empty() {
        return None;
    }
    documents.filter_map(said).last().filter(|(path, _)| !path.is_empty())
}

/// Where each path is, and what could not be found out. A process that ended meanwhile names nothing any more.
pub(in crate::sensors) fn found(host: &Host, named: Vec<Named>) -> (Vec<Found>, Vec<(String, ReadError)>) {
    let mut processes: HashMap<i64, Option<(Tree, String)>> = HashMap::new();
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for Named { pid, component, path, base, role } in named {
        let process = match processes.get(&pid) {
            Some(known) => known.clone(),
            None => match of_process(host, pid, &component) {
                Ok(process) => processes.entry(pid).or_insert(Some(process)).clone(),
                Err(error) => {
                    if !error.is_absent() {
                        failed.push((path, error));
                        continue;
                    }
                    processes.entry(pid).or_insert(None).clone()
                }
            },
        };
        if let Some((tree, cwd)) = process {
            let base = base.unwrap_or(cwd);
            if base.is_empty() && !path.starts_with('/') {
                // Below a working directory that cannot be told.
                failed.push((path.clone(), ReadError::Denied { path }));
                continue;
            }
            let path = if path.starts_with('/') { path } else { joined(&base, &path) };
            found.push(Found { tree, pid, path, role, kubelet: component == "kubelet" });
        }
    }
    (found, failed)
}

/// As Go joins them: `..` goes by the names alone.
fn joined(base: &str, path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in base.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Root and working directory of `pid` (empty where that is not known), if it is still the same component.
fn of_process(host: &Host, pid: i64, component: &str) -> Result<(Tree, String), ReadError> {
    let described = Tree::new(host, host.root.clone());
    let process = match host.proc.process(pid) {
        Err(_) if described.is_recorded() => return Ok((described, String::new())),
        process => process?,
    };
    let cwd = process.link("cwd").map(|link| inside(&process, &link)).unwrap_or_default();
    if described.is_recorded() {
        return Ok((described, cwd));
    }
    let root = host.proc.root_of(&process)?;
    if role_of(&process).is_some_and(|role| role.name == component) {
        return Ok((Tree::new(host, root), cwd));
    }
    Err(ReadError::Absent { path: component.to_owned() })
}
