//! Owner, mode and kind of the files Kubernetes rests on: those that processes name, and those at the usual places.

use std::collections::BTreeMap;

use holdfast_checks::facts::{ConfigDocument, FileFact, FileKind, Listing, NodeFacts, Observed, Reason, Skipped, Source, SourceKind};

use super::config::flag;
use super::now;
use crate::host::{Host, NodeKind, ReadError, RecordedFile, Root};

/// More than any node has; a directory with more is reported as incomplete.
const MAX_FILES: usize = 2000;
/// A recorded symlink is followed this often.
const MAX_LINKS: usize = 8;

/// A path a process named.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The process whose root the path is below; `None`: the host's.
    pid: Option<i64>,
    path: String,
    role: &'static str,
}

/// Single files at their usual places.
const USUAL: [(&str, &str); 18] = [
    ("/etc/kubernetes/kubelet.conf", "kubelet_kubeconfig"),
    ("/etc/kubernetes/bootstrap-kubelet.conf", "kubelet_kubeconfig"),
    ("/var/lib/kubelet/config.yaml", "kubelet_config"),
    ("/etc/systemd/system/kubelet.service", "kubelet_unit"),
    ("/usr/lib/systemd/system/kubelet.service", "kubelet_unit"),
    ("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "kubelet_unit"),
    ("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "kubelet_unit"),
    ("/var/lib/kubelet/kubeadm-flags.env", "kubelet_unit"),
    ("/etc/kubernetes/admin.conf", "kubeconfig"),
    ("/etc/kubernetes/super-admin.conf", "kubeconfig"),
    ("/etc/kubernetes/scheduler.conf", "kubeconfig"),
    ("/etc/kubernetes/controller-manager.conf", "kubeconfig"),
    ("/etc/kubernetes/kube-proxy.conf", "kube_proxy_kubeconfig"),
    ("/etc/kubernetes/pki", "pki_directory"),
    ("/etc/kubernetes/pki/etcd", "pki_directory"),
    ("/var/lib/kubelet/pki", "pki_directory"),
    ("/etc/containerd/config.toml", "container_runtime_config"),
    ("/etc/crio/crio.conf", "container_runtime_config"),
];

/// Directories of which every file of a kind counts: directory, ending, role.
const DIRECTORIES: [(&str, &str, &str); 12] = [
    ("/etc/kubernetes/manifests", ".yaml", "manifest"),
    ("/etc/kubernetes/manifests", ".yml", "manifest"),
    ("/etc/kubernetes/manifests", ".json", "manifest"),
    ("/etc/kubernetes/pki", ".crt", "pki_certificate"),
    ("/etc/kubernetes/pki", ".key", "pki_key"),
    ("/etc/kubernetes/pki/etcd", ".crt", "pki_certificate"),
    ("/etc/kubernetes/pki/etcd", ".key", "pki_key"),
    ("/var/lib/kubelet/pki", ".crt", "pki_certificate"),
    ("/var/lib/kubelet/pki", ".key", "pki_key"),
    // Rotated certificates lie beside it under names with a date: the link leads to the one in use.
    ("/var/lib/kubelet/pki", "-current.pem", "pki_key"),
    ("/etc/cni/net.d", ".conf", "cni_config"),
    ("/etc/cni/net.d", ".conflist", "cni_config"),
];

/// Flags whose value is a path, by component.
const FLAGS: [(&str, &str, &str); 22] = [
    ("kubelet", "config", "kubelet_config"),
    ("kubelet", "kubeconfig", "kubelet_kubeconfig"),
    ("kubelet", "bootstrap-kubeconfig", "kubelet_kubeconfig"),
    ("kubelet", "client-ca-file", "kubelet_ca"),
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
        of_flags("kubelet", kubelet.pid, &kubelet.argv, &mut named);
        for document in documents(&kubelet.documents) {
            named.push(Named { pid: Some(kubelet.pid), path: document.path.clone(), role: "kubelet_config" });
            let ca = document.content.value().and_then(|value| value.pointer("/authentication/x509/clientCAFile"));
            push_value(ca, kubelet.pid, "kubelet_ca", &mut named);
        }
    }
    for component in facts.components.value().iter().flat_map(|listing| &listing.items) {
        of_flags(&component.name, component.pid, &component.argv, &mut named);
        for document in documents(&component.documents).filter(|_| component.name == "kube-proxy") {
            let kubeconfig = document.content.value().and_then(|value| value.pointer("/clientConnection/kubeconfig"));
            push_value(kubeconfig, component.pid, "kube_proxy_kubeconfig", &mut named);
        }
    }
    named
}

fn documents(documents: &Observed<Listing<ConfigDocument>>) -> impl Iterator<Item = &ConfigDocument> {
    documents.value().into_iter().flat_map(|listing| &listing.items)
}

fn push_value(value: Option<&serde_json::Value>, pid: i64, role: &'static str, named: &mut Vec<Named>) {
    if let Some(path) = value.and_then(serde_json::Value::as_str).filter(|path| path.starts_with('/')) {
        named.push(Named { pid: Some(pid), path: path.to_owned(), role });
    }
}

fn of_flags(component: &str, pid: i64, argv: &[String], named: &mut Vec<Named>) {
    for (_, name, role) in FLAGS.iter().filter(|(of, _, _)| *of == component) {
        if let Some(path) = flag(argv, name).filter(|path| path.starts_with('/')) {
            named.push(Named { pid: Some(pid), path: path.to_owned(), role });
        }
    }
}

/// The metadata of every path that is there. What is not there is not listed; what cannot be looked at is skipped.
pub(super) fn read(host: &Host, named: Vec<Named>) -> Observed<Listing<FileFact>> {
    let mut reader = Reader { host, items: BTreeMap::new(), skipped: Vec::new() };
    for Named { pid, path, role } in named {
        let root = pid.and_then(|pid| host.proc.process(pid).and_then(|process| host.proc.root_of(&process)).ok());
        reader.add(root.as_ref().unwrap_or(&host.root), &path, role);
    }
    for (path, role) in USUAL {
        reader.add(&host.root, path, role);
    }
    for (directory, ending, role) in DIRECTORIES {
        for name in reader.names(directory) {
            if name.ends_with(ending) {
                reader.add(&host.root, &format!("{directory}/{name}"), role);
            }
        }
    }
    let place = if host.recording.is_some() { SourceKind::Recorded } else { SourceKind::Kernel };
    let listing = Listing { items: reader.items.into_values().collect(), skipped: reader.skipped };
    Observed::known(listing, Source::new(place, "stat"), now())
}

struct Reader<'a> {
    host: &'a Host,
    items: BTreeMap<String, FileFact>,
    skipped: Vec<Skipped>,
}

impl Reader<'_> {
    /// Names in a directory of the host, or of the recording's list of files.
    fn names(&mut self, directory: &str) -> Vec<String> {
        if let Some(recording) = self.host.recording.as_ref().filter(|recording| !recording.files.is_empty()) {
            let below = |path: &String| path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
            let kind = |file: &RecordedFile| file.kind.as_deref() != Some("directory");
            let files = recording.files.iter().filter(|(_, file)| kind(file));
            return files.filter_map(|(path, _)| below(path)).filter(|name| !name.contains('/')).collect();
        }
        match self.host.root.list(directory) {
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
        if self.items.contains_key(path) {
            return;
        }
        if self.items.len() == MAX_FILES {
            return self.skip("further files", Reason::TooLarge);
        }
        match self.stat(root, path, role) {
            Ok(fact) => {
                self.items.insert(path.to_owned(), fact);
            }
            Err(error) if error.is_absent() => {}
            Err(error) => self.skip(path, error.reason()),
        }
    }

    fn stat(&self, root: &Root, path: &str, role: &str) -> Result<FileFact, ReadError> {
        let fact = |kind, mode: u32, uid: u32, gid: u32, target: Option<String>, acl| FileFact {
            subject: format!("file:{path}"),
            path: path.to_owned(),
            role: role.to_owned(),
            kind,
            mode: i64::from(mode),
            uid: i64::from(uid),
            gid: i64::from(gid),
            target: target.unwrap_or_default(),
            acl,
        };
        if let Some(recording) = self.host.recording.as_ref().filter(|recording| !recording.files.is_empty()) {
            let (file, target) = recorded(&recording.files, path)?;
            let kind = match file.kind.as_deref() {
                Some("directory") => FileKind::Directory,
                None | Some("file") => FileKind::File,
                Some(_) => FileKind::Special,
            };
            return Ok(fact(kind, file.mode, file.uid, file.gid, target, false));
        }
        let status = root.metadata(path)?;
        let kind = match status.kind {
            NodeKind::File => FileKind::File,
            NodeKind::Directory => FileKind::Directory,
            NodeKind::Symlink | NodeKind::Special => FileKind::Special,
        };
        Ok(fact(kind, status.mode, status.uid, status.gid, status.target, status.acl))
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
