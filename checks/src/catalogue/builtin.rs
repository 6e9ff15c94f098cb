//! The catalogue this build ships: one file per area under `checks/catalogue`.

use super::{Catalogue, CatalogueError, Document};

/// File name and text of every built-in document.
const DOCUMENTS: [(&str, &str); 14] = [
    ("agent.yaml", include_str!("../../catalogue/agent.yaml")),
    ("certificates.yaml", include_str!("../../catalogue/certificates.yaml")),
    ("containers.yaml", include_str!("../../catalogue/containers.yaml")),
    ("contradictions.yaml", include_str!("../../catalogue/contradictions.yaml")),
    ("control-plane.yaml", include_str!("../../catalogue/control-plane.yaml")),
    ("exposure.yaml", include_str!("../../catalogue/exposure.yaml")),
    ("files.yaml", include_str!("../../catalogue/files.yaml")),
    ("kernel.yaml", include_str!("../../catalogue/kernel.yaml")),
    ("kubelet.yaml", include_str!("../../catalogue/kubelet.yaml")),
    ("network.yaml", include_str!("../../catalogue/network.yaml")),
    ("patching.yaml", include_str!("../../catalogue/patching.yaml")),
    ("processes.yaml", include_str!("../../catalogue/processes.yaml")),
    ("runtimes.yaml", include_str!("../../catalogue/runtimes.yaml")),
    ("system.yaml", include_str!("../../catalogue/system.yaml")),
];

/// Loads the built-in catalogue.
///
/// # Errors
/// Only when a build shipped a bad catalogue, which a test of this crate prevents.
pub fn built_in() -> Result<Catalogue, CatalogueError> {
    Catalogue::load(&built_in_documents())
}

/// The documents of the built-in catalogue, to load together with further ones.
pub fn built_in_documents() -> Vec<Document> {
    DOCUMENTS.iter().map(|(name, text)| Document { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}
