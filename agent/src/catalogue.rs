//! The catalogue an agent judges by: the built-in checks and those of a mounted directory. Never received over the network.

use std::io::Read;
use std::path::{Path, PathBuf};

use holdfast_checks::catalogue::{Catalogue, CatalogueError, Document, built_in_documents};

/// A file of checks is some hundred lines.
const FILE_CAP: u64 = 4 * 1024 * 1024;
/// More files than anyone writes.
const MAX_FILES: usize = 500;

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory or a file of it.
    #[error("cannot read {} for --catalogue", path.display())]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A file or a directory beyond what is sensible.
    #[error("{} is too large for a catalogue: at most {MAX_FILES} files of {FILE_CAP} bytes", path.display())]
    TooLarge {
        /// The directory or file.
        path: PathBuf,
    },
    /// A check is wrong; nothing of a bad catalogue is used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// The built-in checks and every `*.yaml` and `*.yml` of `directory`, by name.
///
/// # Errors
/// [`LoadError`] for the first file that cannot be read or used.
pub fn load(directory: Option<&Path>) -> Result<Catalogue, LoadError> {
    let mut documents = built_in_documents();
    if let Some(directory) = directory {
        for path in files(directory)? {
            documents.push(document(&path)?);
        }
    }
    Ok(Catalogue::load(&documents)?)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Read { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && files.len() == MAX_FILES {
            return Err(LoadError::TooLarge { path: directory.to_owned() });
        }
        files.extend(yaml.then_some(path));
    }
    files.sort();
    Ok(files)
}

fn document(path: &Path) -> Result<Document, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_CAP + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_CAP) {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    // The name without its directory: agent and collector compare a hash of both, wherever each has it mounted.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Document { name, text })
}
