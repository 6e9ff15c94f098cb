//! Owner, mode, ACL and way of the files Kubernetes rests on: those that processes name, and those at the usual places.
//!
//! `places` says where, `named` what running processes add, `tree` answers for a host or a recording, `way` follows the
//! directories. Must not know who can read what: that is derived.

mod named;
mod places;
mod tree;
mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holdfast_checks::facts::{FileFact, FileKind, Listing, Observed, Reason, Skipped, Source, SourceKind};

use super::now;
use crate::host::{Host, NodeKind, ReadError};
use crate::profiles::Location;
pub(super) use named::{Found, Named, found, named};
pub(super) use places::CURRENT;
use places::{CERTIFICATES, HOMES, KUBELET_PKI, KUBELET_PKI_FILES, MANIFEST_ENDINGS, MANIFESTS, MAX_HOMES, UNITS};
pub(super) use tree::Tree;
use way::Ways;

/// More than any node has; a directory with more is reported as incomplete.
const MAX_FILES: usize = 2000;
/// The most that is named of what could not be looked at.
const MAX_SKIPPED: usize = 500;
/// What stands for everything beyond the bounds.
const FURTHER: &str = "further files";
/// In a pid's place: the host's own root.
const HOST: i64 = 0;

/// The metadata of every path that is there. What is not there is not listed; what cannot be looked at is skipped.
pub(super) fn read(host: &Host, named: Vec<Named>, locations: &[Location]) -> Observed<Listing<FileFact>> {
    let mut reader = Reader::default();
    let (found, failed) = found(host, named);
    for (path, error) in failed {
        reader.refused(&path, &error);
    }
    let host_tree = Tree::new(host, host.root.clone());
    let root = Below { tree: &host_tree, pid: HOST };
    for Found { tree, pid, path, role, kubelet } in found {
        // What a container has mounted from the host is reached on the host's way, not by the container's empty directories.
        let below = if tree.shares(&host_tree, &path) { root } else { Below { tree: &tree, pid } };
        match role {
            MANIFESTS => reader.add_manifests(below, &path),
            CERTIFICATES => reader.add_kubelet_pki(below, &path),
            role if kubelet || below.pid == HOST => reader.add(below, &path, role),
            // Directories of a container's root are not those of the host.
            role => drop(reader.add_alone(below, &path, role)),
        }
    }
    for Location { role, path, ending } in locations {
        match ending {
            Some(ending) => reader.add_all(root, path, ending, role),
            None => reader.add(root, path, role),
        }
    }
    reader.add_units(root);
    reader.add_kubelet_pki(root, KUBELET_PKI);
    reader.add_homes(root);
    let place = if host.recording.is_some() { SourceKind::Recorded } else { SourceKind::Kernel };
    let listing = Listing { items: reader.items.into_values().collect(), skipped: reader.skipped };
    Observed::known(listing, Source::new(place, "stat"), now())
}

/// A root, and whose it is.
#[derive(Debug, Clone, Copy)]
struct Below<'a> {
    tree: &'a Tree,
    pid: i64,
}

#[derive(Default)]
struct Reader {
    items: BTreeMap<String, FileFact>,
    skipped: Vec<Skipped>,
    /// What is skipped already.
    missing: BTreeSet<String>,
    /// By path: the pid whose root the file is below.
    roots: HashMap<String, i64>,
    /// By the pid whose root it is.
    ways: HashMap<i64, Ways>,
    /// Where the listed files of the host's root are: one file is not told twice because a directory has two names.
    places: BTreeSet<String>,
    /// Names in the directories of the host's root.
    names: HashMap<String, Vec<String>>,
}

impl Reader {
    /// The manifests of a directory that a kubelet names.
    fn add_manifests(&mut self, root: Below<'_>, path: &str) {
        for ending in MANIFEST_ENDINGS {
            self.add_all(root, path, ending, "manifest");
        }
    }

    /// What a kubelet keeps of its own certificates.
    fn add_kubelet_pki(&mut self, root: Below<'_>, directory: &str) {
        self.add(root, directory, "pki_directory");
        for (ending, role) in KUBELET_PKI_FILES {
            self.add_all(root, directory, ending, role);
        }
    }

    /// The kubelet's units and their drop-ins.
    fn add_units(&mut self, root: Below<'_>) {
        for directory in UNITS {
            self.add(root, &format!("{directory}/kubelet.service"), "kubelet_unit");
            self.add_all(root, &format!("{directory}/kubelet.service.d"), ".conf", "kubelet_unit");
        }
    }

    /// What people on this host keep.
    fn add_homes(&mut self, root: Below<'_>) {
        self.add(root, "/root/.kube/config", "kubeconfig");
        match root.tree.directories(HOMES) {
            Ok(homes) => {
                for home in homes.iter().take(MAX_HOMES) {
                    self.add(root, &format!("{HOMES}/{home}/.kube/config"), "kubeconfig");
                }
                if homes.len() > MAX_HOMES {
                    self.skip("further homes", Reason::TooLarge);
                }
            }
            Err(error) if error.is_absent() => {}
            Err(error) => self.refused(HOMES, &error),
        }
    }

    /// Every file of `directory` whose name ends with `ending`.
    fn add_all(&mut self, root: Below<'_>, directory: &str, ending: &str, role: &str) {
        let directory = directory.trim_end_matches('/');
        for name in self.names(root, directory) {
            if name.ends_with(ending) && !self.is_full(root) {
                self.add(root, &format!("{directory}/{name}"), role);
            }
        }
    }

    fn names(&mut self, root: Below<'_>, directory: &str) -> Vec<String> {
        if let Some(names) = self.names.get(directory).filter(|_| root.pid == HOST) {
            return names.clone();
        }
        let names = match root.tree.names(directory) {
            Ok(names) => names,
            Err(error) => {
                if !error.is_absent() {
                    self.refused(directory, &error);
                }
                Vec::new()
            }
        };
        if root.pid == HOST {
            self.names.insert(directory.to_owned(), names.clone());
        }
        names
    }

    /// With the privilege that it takes, where that is what is missing.
    fn refused(&mut self, path: &str, error: &ReadError) {
        let skipped = error.skipped(path);
        self.skip(&skipped.what, skipped.reason);
    }

    fn skip(&mut self, path: &str, reason: Reason) {
        let (what, reason) = if self.skipped.len() < MAX_SKIPPED { (path, reason) } else { (FURTHER, Reason::TooLarge) };
        if self.missing.insert(what.to_owned()) {
            self.skipped.push(Skipped { what: what.to_owned(), reason });
        }
    }

    /// Is there neither time nor room for more. A directory that somebody named may hold any number of files.
    fn is_full(&mut self, root: Below<'_>) -> bool {
        if root.tree.expired() {
            self.skip(FURTHER, Reason::TimedOut);
            return true;
        }
        self.missing.contains(FURTHER)
    }

    fn add(&mut self, root: Below<'_>, path: &str, role: &str) {
        if self.add_alone(root, path, role) {
            self.add_closed_parent(root, path);
        }
    }

    /// Was a plain file added that has not been there before.
    fn add_alone(&mut self, root: Below<'_>, path: &str, role: &str) -> bool {
        if let Some(known) = self.items.get_mut(path) {
            if known.role == "directory" {
                // Listed for what it closes; it has a part of its own.
                role.clone_into(&mut known.role);
            }
            // A path names one file of the node. Another of that name, in another container's root, is not told, and that is said.
            if self.roots.get(path) != Some(&root.pid) && root.tree.metadata(path).is_ok() {
                self.skip(&format!("{path}, which is another file to another process"), Reason::NotSupported);
            }
            return false;
        }
        if self.items.len() == MAX_FILES {
            self.skip(FURTHER, Reason::TooLarge);
            return false;
        }
        match self.stat(root, path, role) {
            // A volume of a ConfigMap or a Secret: the kubelet sets its modes, and the pod's directory closes it.
            Ok((fact, _)) if fact.target.starts_with("..data/") => false,
            Ok((_, place)) if root.pid == HOST && self.places.contains(&place) => false,
            Ok((fact, place)) => {
                let plain = fact.kind == FileKind::File && fact.target.is_empty();
                self.items.insert(path.to_owned(), fact);
                self.roots.insert(path.to_owned(), root.pid);
                if root.pid == HOST {
                    self.places.insert(place);
                }
                plain
            }
            Err(error) => {
                if !error.is_absent() {
                    self.refused(path, &error);
                }
                false
            }
        }
    }

    /// The nearest directory above `path` that only root can enter, if there is one: it closes the file whatever its own mode.
    fn add_closed_parent(&mut self, root: Below<'_>, path: &str) {
        let mut below = path;
        while let Some((directory, _)) = below.rsplit_once('/').filter(|(directory, _)| !directory.is_empty()) {
            // A link on the way leads elsewhere, past the directories above it.
            let Ok((fact, _)) = self.stat(root, directory, "directory") else { return };
            if !fact.target.is_empty() || fact.kind != FileKind::Directory {
                return;
            }
            if fact.uid == 0 && fact.mode | 0o700 == 0o700 {
                self.roots.entry(directory.to_owned()).or_insert(root.pid);
                self.items.entry(directory.to_owned()).or_insert(fact);
                return;
            }
            below = directory;
        }
    }

    /// The fact, and where the file is: without links but for the last name.
    fn stat(&mut self, root: Below<'_>, path: &str, role: &str) -> Result<(FileFact, String), ReadError> {
        let found = root.tree.metadata(path)?;
        let way = self.ways.entry(root.pid).or_default().to(root.tree, path, found.target.as_deref());
        let kind = match found.kind {
            NodeKind::File => FileKind::File,
            NodeKind::Directory => FileKind::Directory,
            NodeKind::Symlink | NodeKind::Special => FileKind::Special,
        };
        let source = if root.tree.is_recorded() { SourceKind::Recorded } else { SourceKind::Kernel };
        // Without its ACL nobody can say who reaches it, whatever is known of the way.
        let (acl, way_known) = match found.acl {
            Ok(acl) => (acl, way.steps),
            Err(why) => (Vec::new(), Err(why)),
        };
        let fact = FileFact {
            subject: format!("file:{path}"),
            path: path.to_owned(),
            role: role.to_owned(),
            kind,
            mode: i64::from(found.mode),
            uid: i64::from(found.uid),
            gid: i64::from(found.gid),
            target: found.target.unwrap_or_default(),
            acl,
            way: match way_known {
                Ok(steps) => Observed::known(steps, Source::new(source, "stat"), now()),
                Err(why) => Observed::Unavailable(why),
            },
            access: Observed::unavailable_because(Reason::NotSupported, "not derived yet"),
        };
        Ok((fact, way.place))
    }
}
