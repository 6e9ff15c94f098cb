//! The operator's list of programs that belong on a node: `--known-binaries`, in the format of `sha256sum`.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// A list of every release of every program is some hundred KiB.
const CAP: u64 = 8 * 1024 * 1024;
/// SHA-256 in hexadecimal.
const DIGITS: usize = 64;

/// Why a list is refused.
#[derive(Debug, thiserror::Error)]
pub enum KnownBinariesError {
    /// It could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than any list.
    #[error("{} is larger than {CAP} bytes: that is no list of hashes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line is none of `sha256sum`.
    #[error("{} line {line}: write 64 hexadecimal digits, two blanks and a name, as sha256sum does", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
    },
    /// Nothing stands in it.
    #[error("{} has no hash: with an empty list every program would be a stranger", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Hashes of known programs. Names do not count: a program is what it is wherever it lies. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBinaries(Arc<BTreeSet<String>>);

impl KnownBinaries {
    /// Reads the list at `path`.
    ///
    /// # Errors
    /// [`KnownBinariesError`], so that a list that says nothing is not taken for one.
    pub fn load(path: &str) -> Result<Self, KnownBinariesError> {
        let path = PathBuf::from(path);
        let mut text = String::new();
        let opened = std::fs::File::open(&path).and_then(|file| file.take(CAP + 1).read_to_string(&mut text));
        if let Err(source) = opened {
            return Err(KnownBinariesError::Read { path, source });
        }
        if u64::try_from(text.len()).is_ok_and(|length| length > CAP) {
            return Err(KnownBinariesError::TooLarge { path });
        }
        let mut hashes = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // A backslash before the hash says that the name is escaped.
            let hash = line.trim_start_matches('\\').split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            if hash.len() != DIGITS || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(KnownBinariesError::Line { path, line: index + 1 });
            }
            hashes.insert(hash);
        }
        if hashes.is_empty() { Err(KnownBinariesError::Empty { path }) } else { Ok(Self(Arc::new(hashes))) }
    }

    pub(super) fn contains(&self, hash: &str) -> bool {
        self.0.contains(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<KnownBinaries, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let path = file.path().to_str().expect("a path");
        KnownBinaries::load(path).map_err(|error| error.to_string().replace(path, "LIST"))
    }

    #[test]
    fn a_list_is_what_sha256sum_writes_and_nothing_else() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let list = load(&format!("# kubelet 1.34\n{a}  /usr/bin/kubelet\n\n\\{b} *odd\\nname\n")).expect("a list");
        assert!(list.contains(&a) && list.contains(&b.to_ascii_lowercase()) && !list.contains(&"c".repeat(64)));
        insta::assert_snapshot!(load("# nothing\n").unwrap_err(), @"LIST has no hash: with an empty list every program would be a stranger");
        insta::assert_snapshot!(
            load(&format!("{a}  x\nSHA256 (x) = {a}\n")).unwrap_err(),
            @"LIST line 2: write 64 hexadecimal digits, two blanks and a name, as sha256sum does"
        );
        assert!(KnownBinaries::load("/nonexistent/list").unwrap_err().to_string().starts_with("cannot read /nonexistent/list"));
    }
}
