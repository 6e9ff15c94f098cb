//! A root as the files sensor sees it: the host's own answers, or what a recording says in their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::host::{Host, Malformation, Metadata, NodeKind, ReadError, RecordedFile, Recording, Root};

/// A recorded symlink is followed this often.
const MAX_LINKS: usize = 8;

/// Files below one root.
#[derive(Debug, Clone)]
pub(in crate::sensors) struct Tree {
    root: Root,
    recording: Option<Arc<Recording>>,
}

impl Tree {
    /// `root`, unless `host` is a recording that describes files: what that says holds for any root.
    pub(in crate::sensors) fn new(host: &Host, root: Root) -> Self {
        let recording = host.recording.clone().filter(|recording| !recording.files.is_empty());
        if recording.is_some() { Self { root: host.root.clone(), recording } } else { Self { root, recording } }
    }

    /// Is `path` the same thing here and there: one file of the host that a container has mounted, as a rule.
    pub(super) fn shares(&self, other: &Self, path: &str) -> bool {
        let stamp = |tree: &Self| tree.root.stamp(path).ok();
        self.is_recorded() || stamp(self).is_some_and(|own| stamp(other).is_some_and(|there| there.same_file(&own)))
    }

    /// Is what is asked answered by a recording.
    pub(in crate::sensors) fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Is the sensor's time over.
    pub(super) fn expired(&self) -> bool {
        self.root.budget().expired()
    }

    /// What `stat` says of `path`, links followed.
    pub(super) fn metadata(&self, path: &str) -> Result<Metadata, ReadError> {
        match &self.recording {
            Some(recording) => followed(&recording.files, path),
            None => self.root.metadata(path),
        }
    }

    /// What `stat` says of `path` itself.
    pub(super) fn look(&self, path: &str) -> Result<Metadata, ReadError> {
        match &self.recording {
            Some(recording) => listed(&recording.files, path).map(recorded),
            None => self.root.look(path),
        }
    }

    /// Names in a directory that are no directories.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>, ReadError> {
        if let Some(recording) = &self.recording {
            let below = |path: &String| path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
            let files = recording.files.iter().filter(|(_, file)| file.kind.as_deref() != Some("directory"));
            return Ok(files.filter_map(|(path, _)| below(path)).filter(|name| !name.contains('/')).collect());
        }
        let entries = self.root.list(directory)?.into_iter();
        Ok(entries.filter(|entry| entry.kind != Some(NodeKind::Directory)).map(|entry| entry.name).collect())
    }

    /// Names of the directories in a directory.
    pub(super) fn directories(&self, directory: &str) -> Result<Vec<String>, ReadError> {
        if let Some(recording) = &self.recording {
            let names = recording.files.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/')?.split_once('/'));
            let mut names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
            names.dedup();
            return Ok(names);
        }
        let entries = self.root.list(directory)?.into_iter();
        Ok(entries.filter(|entry| matches!(entry.kind, Some(NodeKind::Directory) | None)).map(|entry| entry.name).collect())
    }

    /// The content of a small regular file. A recording may list files whose content it does not hold.
    pub(in crate::sensors) fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        self.root.read(path)
    }
}

fn listed<'a>(files: &'a BTreeMap<String, RecordedFile>, path: &str) -> Result<&'a RecordedFile, ReadError> {
    files.get(path).ok_or_else(|| ReadError::Absent { path: path.to_owned() })
}

fn recorded(file: &RecordedFile) -> Metadata {
    let kind = match file.kind.as_deref() {
        None | Some("file") => NodeKind::File,
        Some("directory") => NodeKind::Directory,
        Some("symlink") => NodeKind::Symlink,
        Some(_) => NodeKind::Special,
    };
    let RecordedFile { mode, uid, gid, target, acl, .. } = file.clone();
    Metadata { kind, mode, uid, gid, modified: 0, target, acl: Ok(acl) }
}

/// What a recording says of a path, links followed, with the first link's target.
fn followed(files: &BTreeMap<String, RecordedFile>, path: &str) -> Result<Metadata, ReadError> {
    let mut found = recorded(listed(files, path)?);
    let first = found.target.clone();
    for _ in 0..MAX_LINKS {
        let Some(target) = found.target.as_deref().filter(|_| found.kind == NodeKind::Symlink) else {
            return Ok(Metadata { target: first, ..found });
        };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("{parent}/{target}") };
        found = recorded(listed(files, &target)?);
    }
    Err(ReadError::Malformed { path: path.to_owned(), kind: Malformation::Loop })
}
