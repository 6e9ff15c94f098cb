//! The directory that is watched for feeds: which files are new, complete and worth reading.
//!
//! What `stat` says decides first, content second: a `ConfigMap` that is mounted again has new files with the same bytes. A file
//! that is still being written is left alone until it looks the same twice. Must not know formats.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::Stamp;

/// The most files that are looked at.
const MAX_FILES: usize = 10_000;

/// What was imported, or refused, from the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The file as it was.
    pub(crate) stamp: Stamp,
    /// Its SHA-256.
    pub(crate) sha256: String,
}

/// The directory, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    /// What was dealt with, by name; kept over restarts.
    pub(crate) seen: BTreeMap<String, Seen>,
    /// What the system did not let us read, by name, with its reason: tried at every look, said once.
    pub(crate) unread: BTreeMap<String, String>,
    /// How files looked last time.
    last: BTreeMap<String, Stamp>,
}

/// What one look showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Files to read, in the order of their names.
    pub(crate) ready: Vec<(String, PathBuf, Stamp)>,
    /// Files that may still be written: look again soon.
    pub(crate) unsettled: usize,
    /// Files that were dealt with and are gone.
    pub(crate) gone: Vec<String>,
}

impl Watched {
    /// With what was dealt with before, and what could not be read.
    pub(crate) fn knowing(seen: BTreeMap<String, Seen>, unread: BTreeMap<String, String>) -> Self {
        Self { seen, unread, last: BTreeMap::new() }
    }

    /// Looks at the directory.
    pub(crate) fn look(&mut self, directory: &Path) -> io::Result<Look> {
        let mut now = BTreeMap::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_wanted(name)) else { continue };
            // Links are followed: a ConfigMap's files are links into a directory that is swapped.
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => drop(now.insert(name.to_owned(), Stamp::of(&metadata))),
                _ => {}
            }
            if now.len() >= MAX_FILES {
                break;
            }
        }
        let mut look = Look::default();
        for (name, stamp) in &now {
            if self.seen.get(name).is_some_and(|seen| seen.stamp == *stamp) {
                continue;
            }
            if self.last.get(name) == Some(stamp) {
                look.ready.push((name.clone(), directory.join(name), *stamp));
            } else {
                look.unsettled += 1;
            }
        }
        look.gone = self.seen.keys().chain(self.unread.keys()).filter(|name| !now.contains_key(*name)).cloned().collect();
        self.last = now;
        Ok(look)
    }
}

/// Feeds by their names; what is hidden is somebody's work in progress.
fn is_wanted(name: &str) -> bool {
    let ends = |end: &str| name.len() > end.len() && name.to_ascii_lowercase().ends_with(end);
    !name.starts_with('.') && (ends(".json") || ends(".zip"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{Look, Seen, Watched};

    fn ready(look: &Look) -> Vec<&str> {
        look.ready.iter().map(|(name, ..)| name.as_str()).collect()
    }

    fn dealt_with(watched: &mut Watched, look: &Look) {
        for (name, _, stamp) in &look.ready {
            watched.seen.insert(name.clone(), Seen { stamp: *stamp, sha256: String::new() });
        }
    }

    #[test]
    fn a_file_that_grows_is_left_alone_until_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut watched = Watched::default();
        std::fs::write(dir.path().join("kev.json"), "{").unwrap();
        std::fs::write(dir.path().join(".part.json"), "{").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "{").unwrap();
        let first = watched.look(dir.path()).unwrap();
        assert_eq!((ready(&first), first.unsettled), (vec![], 1));
        std::fs::write(dir.path().join("kev.json"), "{}").unwrap();
        assert_eq!(watched.look(dir.path()).unwrap().unsettled, 1, "it grew");
        let look = watched.look(dir.path()).unwrap();
        assert_eq!(ready(&look), ["kev.json"]);
        dealt_with(&mut watched, &look);
        assert_eq!(watched.look(dir.path()).unwrap(), Look::default());
        std::fs::remove_file(dir.path().join("kev.json")).unwrap();
        assert_eq!(watched.look(dir.path()).unwrap().gone, ["kev.json"]);
    }

    #[test]
    fn a_config_map_that_is_swapped_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let version = |name: &str, text: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("kev.json"), text).unwrap();
        };
        let point = |at: &str| {
            symlink(at, dir.path().join("..data_tmp")).unwrap();
            std::fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        };
        version("..2026_11_19", "one");
        point("..2026_11_19");
        symlink(Path::new("..data/kev.json"), dir.path().join("kev.json")).unwrap();
        let mut watched = Watched::default();
        watched.look(dir.path()).unwrap();
        let look = watched.look(dir.path()).unwrap();
        assert_eq!(ready(&look), ["kev.json"]);
        dealt_with(&mut watched, &look);
        version("..2026_11_20", "two");
        point("..2026_11_20");
        assert_eq!(watched.look(dir.path()).unwrap().unsettled, 1);
        assert_eq!(ready(&watched.look(dir.path()).unwrap()), ["kev.json"]);
    }
}
