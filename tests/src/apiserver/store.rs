//! Objects and what happened to them, by resource version.

#![allow(clippy::indexing_slicing, reason = "of a JSON value, which is null where there is nothing")]

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

/// Events kept: more than any test makes.
const KEPT: usize = 200_000;

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `nodes`
    Nodes,
    /// `pods` of our namespace
    Pods,
    /// `daemonsets` of our namespace
    DaemonSets,
}

impl Kind {
    pub(super) fn of(plural: &str) -> Option<Self> {
        [Self::Nodes, Self::Pods, Self::DaemonSets].into_iter().find(|kind| kind.plural() == plural)
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::DaemonSets => "daemonsets",
        }
    }

    /// `apiVersion` and the kind of one.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Nodes => ("v1", "Node"),
            Self::Pods => ("v1", "Pod"),
            Self::DaemonSets => ("apps/v1", "DaemonSet"),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) version: u64,
    pub(super) kind: Kind,
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub(super) what: &'static str,
    pub(super) object: Value,
}

/// Everything there is.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    /// Before this, nothing is known of what happened.
    oldest: u64,
    objects: BTreeMap<(Kind, String), Value>,
    history: VecDeque<Happened>,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn put(&mut self, kind: Kind, mut object: Value) {
        self.version += 1;
        let version = self.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let name = name(&object).to_owned();
        let known = self.objects.get(&(kind, name.clone())).map(|known| uid(known) == uid(&object));
        if known == Some(false) {
            // Another uid under the same name: the first one was deleted.
            self.delete(kind, &name);
            return self.put(kind, object);
        }
        let what = if known.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert((kind, name), object.clone());
        self.happened(Happened { version, kind, what, object });
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) {
        let Some(mut object) = self.objects.remove(&(kind, name.to_owned())) else { return };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.happened(Happened { version: self.version, kind, what: "DELETED", object });
    }

    fn happened(&mut self, happened: Happened) {
        if self.history.len() >= KEPT {
            self.oldest = self.history.pop_front().map_or(self.oldest, |event| event.version);
        }
        self.history.push_back(happened);
    }

    /// As after a compaction.
    pub(super) fn forget(&mut self) {
        // Whoever saw everything up to now has missed something nevertheless: so it is when nobody can tell.
        self.version += 1;
        self.oldest = self.version;
        self.history.clear();
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Objects after the one called `after`, in order of their names.
    pub(super) fn list<'a>(&'a self, kind: Kind, after: &'a str) -> impl Iterator<Item = &'a Value> {
        let of_kind = self.objects.iter().filter(move |((of, name), _)| *of == kind && name.as_str() > after);
        of_kind.map(|(_, object)| object)
    }

    /// What happened after a version; `None` when nobody knows any longer.
    pub(super) fn since(&self, kind: Kind, version: u64) -> Option<Vec<Happened>> {
        let known = version >= self.oldest;
        let events = self.history.iter().filter(|event| event.version > version && event.kind == kind);
        known.then(|| events.cloned().collect())
    }
}

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
