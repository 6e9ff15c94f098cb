//! Owner, mode and kind of the files Kubernetes rests on: those that processes name, and those at the usual places.

use std::collections::BTreeMap;

use holdfast_checks::facts::{ConfigDocument, FileFact, FileKind, Listing, NodeFacts, Observed, Reason, Skipped, Source, SourceKind};

use super::config::flag;
use super::now;
use super::processes::role_of;
use crate::host::{Host, NodeKind, ReadError, RecordedFile, Root};
use crate::profiles::Location;

/// More than any node has; a directory with more is reported as incomplete.
const MAX_FILES: usize = 2000;
/// A recorded symlink is followed this often.
const MAX_LINKS: usize = 8;

/// A path a process named.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The process whose root the path is below.
    pid: i64,
    /// What that process is.
    component: String,
    path: String,
    role: &'static str,
}

/// In the role's place: a directory (or a file) of manifests.
const MANIFESTS: &str = "manifests";
/// What a manifest's name ends with.
const MANIFEST_ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Flags whose value is a path, by component.
const FLAGS: [(&str, &str, &str); 23] = [
    ("kubelet", "config", "kubelet_config"),
    ("kubelet", "kubeconfig", "kubelet_kubeconfig"),
    ("kubelet", "bootstrap-kubeconfig", "kubelet_kubeconfig"),
    ("kubelet", "client-ca-file", "kubelet_ca"),
    ("kubelet", "pod-manifest-path", MANIFESTS),
    ("kubelet", "tls-cert-file", "pki_certificate"),
    ("kubelet", "tls-private-key-file", "pki_key"),
    ("kube-proxy", "config", "kube_proxy_config"),
    ("kube-proxy", "kubeconfig", "kube_proxy_kubeconfig"),
    ("kube-scheduler", "kubeconfig", "kubeconfig"),
    ("kube-controller-manager", "kubeconfig", "kubeconfig"),
    ("kube-controller-manager", "service-account-private-key-file", "pki_key"),
    ("kube-controller-manager", "cluster-signing-key-file", "pki_key"),
    ("kube-apiserver", "client-ca-file", "pki_certificate"),
    ("kube-apiserver", "tls-cert-file", "pki_certificate"),
    ("kube-apiserver", "tls-private-key-file", "pki_key"),
    ("kube-apiserver", "etcd-keyfile", "pki_key"),
    ("kube-apiserver", "kubelet-client-key", "pki_key"),
    ("kube-apiserver", "service-account-signing-key-file", "pki_key"),
    ("etcd", "cert-file", "pki_certificate"),
    ("etcd", "key-file", "pki_key"),
    ("etcd", "peer-key-file", "pki_key"),
    ("etcd", "data-dir", "etcd_data"),
];

/// Paths that the running kubelets and components name, the kubelets' first.
pub(super) fn named(facts: &NodeFacts) -> Vec<Named> {
    let mut named = Vec::new();
    for kubelet in facts.kubelets.value().iter().flat_map(|listing| &listing.items) {
        let mut add =
            |path: &str, role| named.push(Named { pid: kubelet.pid, component: "kubelet".to_owned(), path: path.to_owned(), role });
        of_flags("kubelet", &kubelet.argv, &mut add);
        for document in documents(&kubelet.documents) {
            add(&document.path, "kubelet_config");
            of_document(document, "/authentication/x509/clientCAFile", "kubelet_ca", &mut add);
            of_document(document, "/staticPodPath", MANIFESTS, &mut add);
        }
    }
    for component in facts.components.value().iter().flat_map(|listing| &listing.items) {
        let name = &component.name;
        let mut add = |path: &str, role| named.push(Named { pid: component.pid, component: name.clone(), path: path.to_owned(), role });
        of_flags(name, &component.argv, &mut add);
        for document in documents(&component.documents).filter(|_| name == "kube-proxy") {
            of_document(document, "/clientConnection/kubeconfig", "kube_proxy_kubeconfig", &mut add);
        }
    }
    named
}

fn documents(documents: &Observed<Listing<ConfigDocument>>) -> impl Iterator<Item = &ConfigDocument> {
    documents.value().into_iter().flat_map(|listing| &listing.items)
}

fn of_document(document: &ConfigDocument, pointer: &str, role: &'static str, add: &mut impl FnMut(&str, &'static str)) {
    let value = document.content.value().and_then(|content| content.pointer(pointer)?.as_str());
    if let Some(path) = value.filter(|path| path.starts_with('/')) {
        add(path, role);
    }
}

fn of_flags(component: &str, argv: &[String], add: &mut impl FnMut(&str, &'static str)) {
    for (_, name, role) in FLAGS.iter().filter(|(of, _, _)| *of == component) {
        if let Some(path) = flag(argv, name).filter(|path| path.starts_with('/')) {
            add(path, role);
        }
    }
}

/// The metadata of every path that is there. What is not there is not listed; what cannot be looked at is skipped.
pub(super) fn read(host: &Host, named: Vec<Named>, locations: &[Location]) -> Observed<Listing<FileFact>> {
    let mut reader = Reader { host, items: BTreeMap::new(), skipped: Vec::new() };
    for Named { pid, component, path, role } in named {
        match root_of(host, pid, &component) {
            Ok(root) if role == MANIFESTS => reader.add_manifests(&root, &path),
            Ok(root) if component == "kubelet" => reader.add(&root, &path, role),
            // Directories of a container's root are not those of the host.
            Ok(root) => drop(reader.add_alone(&root, &path, role)),
            // It ended meanwhile: what it read does not matter any more.
            Err(error) if error.is_absent() => {}
            Err(error) => reader.skip(&path, error.reason()),
        }
    }
    reader.add_located(locations);
    let place = if host.recording.is_some() { SourceKind::Recorded } else { SourceKind::Kernel };
    let listing = Listing { items: reader.items.into_values().collect(), skipped: reader.skipped };
    Observed::known(listing, Source::new(place, "stat"), now())
}

/// The root of the process that named a path, if `pid` is still the same component. What a recording says holds for any root.
fn root_of(host: &Host, pid: i64, component: &str) -> Result<Root, ReadError> {
    if host.recording.as_ref().is_some_and(|recording| !recording.files.is_empty()) {
        return Ok(host.root.clone());
    }
    let process = host.proc.process(pid)?;
    let root = host.proc.root_of(&process)?;
    if role_of(&process).is_some_and(|role| role.name == component) {
        return Ok(root);
    }
    Err(ReadError::Absent { path: component.to_owned() })
}

struct Reader<'a> {
    host: &'a Host,
    items: BTreeMap<String, FileFact>,
    skipped: Vec<Skipped>,
}

impl Reader<'_> {
    /// What lies where the node's profile says.
    fn add_located(&mut self, locations: &[Location]) {
        for Location { role, path, ending } in locations {
            let Some(ending) = ending else {
                self.add(&self.host.root, path, role);
                continue;
            };
            for name in self.names(&self.host.root, path) {
                if name.ends_with(ending.as_str()) {
                    self.add(&self.host.root, &format!("{path}/{name}"), role);
                }
            }
        }
    }

    /// The manifests of a directory that a kubelet names.
    fn add_manifests(&mut self, root: &Root, path: &str) {
        let directory = path.trim_end_matches('/');
        for name in self.names(root, directory) {
            if MANIFEST_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                self.add(root, &format!("{directory}/{name}"), "manifest");
            }
        }
    }

    /// Names in a directory, or in the recording's list of files.
    fn names(&mut self, root: &Root, directory: &str) -> Vec<String> {
        if let Some(recording) = self.host.recording.as_ref().filter(|recording| !recording.files.is_empty()) {
            let below = |path: &String| path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
            let kind = |file: &RecordedFile| file.kind.as_deref() != Some("directory");
            let files = recording.files.iter().filter(|(_, file)| kind(file));
            return files.filter_map(|(path, _)| below(path)).filter(|name| !name.contains('/')).collect();
        }
        match root.list(directory) {
            Ok(entries) => entries.into_iter().filter(|entry| entry.kind != Some(NodeKind::Directory)).map(|entry| entry.name).collect(),
            Err(error) if error.is_absent() => Vec::new(),
            Err(error) => {
                self.skip(directory, error.reason());
                Vec::new()
            }
        }
    }

    fn skip(&mut self, path: &str, reason: Reason) {
        if !self.skipped.iter().any(|skipped| skipped.what == path) {
            self.skipped.push(Skipped { what: path.to_owned(), reason });
        }
    }

    fn add(&mut self, root: &Root, path: &str, role: &str) {
        if self.add_alone(root, path, role) {
            self.add_closed_parent(root, path);
        }
    }

    /// Was a plain file added that has not been there before.
    fn add_alone(&mut self, root: &Root, path: &str, role: &str) -> bool {
        if self.items.contains_key(path) {
            return false;
        }
        if self.items.len() == MAX_FILES {
            self.skip("further files", Reason::TooLarge);
            return false;
        }
        match self.stat(root, path, role) {
            // A volume of a ConfigMap or a Secret: the kubelet sets its modes, and the pod's directory closes it.
            Ok(fact) if fact.target.starts_with("..data/") => false,
            Ok(fact) => {
                let plain = fact.kind == FileKind::File && fact.target.is_empty();
                self.items.insert(path.to_owned(), fact);
                plain
            }
            Err(error) => {
                if !error.is_absent() {
                    self.skip(path, error.reason());
                }
                false
            }
        }
    }

    /// The nearest directory above `path` that only root can enter, if there is one: it closes the file whatever its own mode.
    fn add_closed_parent(&mut self, root: &Root, path: &str) {
        let mut below = path;
        while let Some((directory, _)) = below.rsplit_once('/').filter(|(directory, _)| !directory.is_empty()) {
            // A link on the way leads elsewhere, past the directories above it.
            let Ok(fact) = self.stat(root, directory, "directory") else { return };
            if !fact.target.is_empty() || fact.kind != FileKind::Directory {
                return;
            }
            if fact.uid == 0 && fact.mode | 0o700 == 0o700 {
                self.items.entry(directory.to_owned()).or_insert(fact);
                return;
            }
            below = directory;
        }
    }

    fn stat(&self, root: &Root, path: &str, role: &str) -> Result<FileFact, ReadError> {
        let fact = |kind, mode: u32, uid: u32, gid: u32, target: Option<String>| FileFact {
            subject: format!("file:{path}"),
            path: path.to_owned(),
            role: role.to_owned(),
            kind,
            mode: i64::from(mode),
            uid: i64::from(uid),
            gid: i64::from(gid),
            target: target.unwrap_or_default(),
            acl: Vec::new(),
            way: Observed::unavailable_because(Reason::NotSupported, "not read yet"),
            access: Observed::unavailable_because(Reason::NotSupported, "not derived yet"),
        };
        if let Some(recording) = self.host.recording.as_ref().filter(|recording| !recording.files.is_empty()) {
            let (file, target) = recorded(&recording.files, path)?;
            let kind = match file.kind.as_deref() {
                Some("directory") => FileKind::Directory,
                None | Some("file") => FileKind::File,
                Some(_) => FileKind::Special,
            };
            return Ok(fact(kind, file.mode, file.uid, file.gid, target));
        }
        let status = root.metadata(path)?;
        let kind = match status.kind {
            NodeKind::File => FileKind::File,
            NodeKind::Directory => FileKind::Directory,
            NodeKind::Symlink | NodeKind::Special => FileKind::Special,
        };
        Ok(fact(kind, status.mode, status.uid, status.gid, status.target))
    }
}

/// What a recording says of a path, links followed, and the first link's target.
fn recorded<'a>(files: &'a BTreeMap<String, RecordedFile>, path: &str) -> Result<(&'a RecordedFile, Option<String>), ReadError> {
    let absent = |path: &str| ReadError::Absent { path: path.to_owned() };
    let mut file = files.get(path).ok_or_else(|| absent(path))?;
    let first = file.target.clone();
    for _ in 0..MAX_LINKS {
        let Some(target) = file.target.as_deref().filter(|_| file.kind.as_deref() == Some("symlink")) else {
            return Ok((file, first));
        };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("{parent}/{target}") };
        file = files.get(&target).ok_or_else(|| absent(&target))?;
    }
    Err(ReadError::Malformed { path: path.to_owned(), kind: crate::host::Malformation::Loop })
}
