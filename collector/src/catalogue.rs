//! The catalogue in use: the built-in checks and those of a mounted directory. Never received over the network.

use std::path::{Path, PathBuf};

use holdfast_checks::catalogue::{Catalogue, CatalogueError, Document, built_in_documents};

use crate::files::{self, FileError};

/// More files than anyone writes.
const MAX_FILES: usize = 500;

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory cannot be listed.
    #[error("list directory {path} of --catalogue")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// It has more files than a catalogue can have.
    #[error("{path} of --catalogue has more than {MAX_FILES} files: is it the right directory?")]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("file of --catalogue")]
    File(#[from] FileError),
    /// A check is wrong; nothing of a bad catalogue is used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// The built-in checks and every `*.yaml` and `*.yml` of `directory`, by name.
pub fn load(directory: Option<&Path>) -> Result<Catalogue, LoadError> {
    let mut documents = built_in_documents();
    for path in directory.map(list).transpose()?.unwrap_or_default() {
        // The name without its directory: agent and collector compare a hash, wherever each has it mounted.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        documents.push(Document { name, text: files::read_text(&path)? });
    }
    Ok(Catalogue::load(&documents)?)
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Directory { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            return Err(LoadError::TooMany { path: directory.to_owned() });
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::load;

    #[test]
    fn a_bad_file_is_refused_with_its_line_and_reason() {
        let dir = tempfile::tempdir().unwrap();
        let built_in = load(None).unwrap();
        assert_eq!(load(Some(dir.path())).unwrap().hash(), built_in.hash());
        crate::files::create(&dir.path().join("mine.yaml"), b"- id: x\n  titel: y\n", 0o644).unwrap();
        let error = load(Some(dir.path())).unwrap_err();
        let chain = format!("{:#}", anyhow::Error::new(error));
        assert!(chain.contains("mine.yaml") && chain.contains("titel") && chain.contains("line 2"), "{chain}");
    }
}
