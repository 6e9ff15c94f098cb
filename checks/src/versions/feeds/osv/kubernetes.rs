//! Which components of Kubernetes a record of `k8s.io/kubernetes` is about: all are built from that one module.
//!
//! By the packages that it imports, else by what its prose names, else by the project's own announcements. A record that no one
//! of these tells is about all of them, and says so.

use serde::Deserialize;

use super::super::FeedError;
use super::super::document::{Document, Text};
use super::Osv;
use crate::versions::knowledge::Need;

/// The module.
pub(super) const MODULE: &str = "k8s.io/kubernetes";

/// Every component, for records that name none.
const ALL: [&str; 5] = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"];

/// What is said of a record that names none.
const UNNAMED: &str = "the affected component of Kubernetes, which the record does not name";

/// What a record is about.
pub(super) enum About {
    /// These components; with what else it would take.
    Components(Vec<&'static str>, Vec<Need>),
    /// Nothing that runs on a Linux node.
    Nothing(&'static str),
}

/// The prose of a record, read only where it has to tell the component.
#[derive(Deserialize)]
struct Prose<'a> {
    #[serde(borrow, default)]
    details: Text<'a>,
}

pub(super) fn about(document: &Document<'_>, read: &Osv<'_>, ids: &[String], imports: &[String]) -> Result<About, FeedError> {
    let prose: Prose<'_> = document.read()?;
    let summary = read.summary.as_ref().map(|text| text.as_str().to_ascii_lowercase()).unwrap_or_default();
    let details = prose.details.as_str().to_ascii_lowercase();
    let windows = |text: &str| text.contains("windows") && !text.contains("linux");
    if windows(&summary) || windows(&details) || ids.iter().any(|id| WINDOWS.contains(&id.as_str())) {
        return Ok(About::Nothing("only Windows nodes are affected"));
    }
    if summary.contains("kubectl") {
        return Ok(About::Nothing("kubectl runs on no node"));
    }
    let announced = ANNOUNCED.iter().filter(|(id, _)| ids.iter().any(|known| known == id)).map(|(_, component)| *component).collect();
    let told = [by_words(&imports.join(" "), &PATHS), by_words(&summary, &WORDS), by_words(&details, &WORDS), announced];
    let told = told.into_iter().find(|components: &Vec<_>| !components.is_empty());
    Ok(match told {
        Some(components) => About::Components(components, Vec::new()),
        None => About::Components(ALL.to_vec(), vec![Need::Other(UNNAMED.to_owned())]),
    })
}

/// Whose code a package is.
const PATHS: [(&str, &str); 11] = [
    ("kubernetes/cmd/kubelet", "kubelet"),
    ("kubernetes/pkg/controller", "kube-controller-manager"),
    ("kubernetes/pkg/credentialprovider", "kubelet"),
    ("kubernetes/pkg/kubeapiserver", "kube-apiserver"),
    ("kubernetes/pkg/kubelet", "kubelet"),
    ("kubernetes/pkg/proxy", "kube-proxy"),
    ("kubernetes/pkg/registry", "kube-apiserver"),
    ("kubernetes/pkg/scheduler", "kube-scheduler"),
    ("kubernetes/pkg/volume", "kubelet"),
    ("kubernetes/plugin/pkg/admission", "kube-apiserver"),
    ("kubernetes/plugin/pkg/auth", "kube-apiserver"),
];

/// What prose calls them.
const WORDS: [(&str, &str); 10] = [
    ("admission", "kube-apiserver"),
    ("api server", "kube-apiserver"),
    ("apiserver", "kube-apiserver"),
    ("controller manager", "kube-controller-manager"),
    ("controller-manager", "kube-controller-manager"),
    ("kube-proxy", "kube-proxy"),
    ("kube-scheduler", "kube-scheduler"),
    ("kubelet", "kubelet"),
    ("noderestriction", "kube-apiserver"),
    (" kcm ", "kube-controller-manager"),
];

/// Records whose prose is only a title, by the announcements of Kubernetes.
const ANNOUNCED: [(&str, &str); 7] = [
    ("CVE-2020-8557", "kubelet"),
    ("CVE-2020-8558", "kube-proxy"),
    ("CVE-2020-8558", "kubelet"),
    ("CVE-2021-25741", "kubelet"),
    ("CVE-2025-1767", "kubelet"),
    ("CVE-2025-4563", "kube-apiserver"),
    ("CVE-2025-5187", "kube-apiserver"),
];

/// The same, of those that are about Windows nodes.
const WINDOWS: [&str; 1] = ["CVE-2023-5528"];

fn by_words(text: &str, words: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut found: Vec<_> = words.iter().filter(|(word, _)| text.contains(word)).map(|(_, component)| *component).collect();
    found.sort_unstable();
    found.dedup();
    found
}
